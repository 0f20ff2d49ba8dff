//! What the registry has acknowledged survives every crash: each acknowledged request is in the log that
//! all agree on, where it was said to be, and carried out once.

use std::collections::BTreeMap;

use chappe_proto::id::Index;
use chappe_proto::registry::RequestId;

#[derive(Default)]
pub(crate) struct Durable {
    acknowledged: BTreeMap<RequestId, Index>,
    applied: BTreeMap<Index, RequestId>,
}

impl Durable {
    /// Somebody was told that its request is committed.
    pub(crate) fn acknowledged(&mut self, request: RequestId, index: Index) {
        self.acknowledged.entry(request).or_insert(index);
    }

    /// A request was applied somewhere.
    pub(crate) fn applied(&mut self, request: RequestId, index: Index) -> Result<(), String> {
        let known = *self.applied.entry(index).or_insert(request);
        if known == request { Ok(()) } else { Err(format!("{request:?} and {known:?} are both at {index}")) }
    }

    /// In the end.
    pub(crate) fn end(&self) -> Result<(), String> {
        for (request, index) in &self.acknowledged {
            if self.applied.get(index) != Some(request) {
                return Err(format!("{request:?} was acknowledged at {index} and is not there"));
            }
        }
        Ok(())
    }
}
