//! A node that drains is rid of its clients in time: none has its socket there for longer than
//! it takes to ask each, to wait, and to close it.

use std::collections::BTreeMap;
use std::time::Duration;

use chappe_proto::id::NodeId;

use crate::dice::ms;

/// A node that drains gives its clients so long.
pub(crate) const WITHIN: Duration = ms(1200);
/// Who comes just after the others were asked has until the next round ends; and then some.
const LONGEST: Duration = ms(2 * 1200 + 400);

#[derive(Default)]
pub(crate) struct Drained(BTreeMap<NodeId, BTreeMap<u32, Duration>>);

impl Drained {
    /// A process that runs has these sockets, and `drains` as far as it knows.
    pub(crate) fn looks(
        &mut self,
        now: Duration,
        node: NodeId,
        drains: bool,
        sockets: impl Iterator<Item = u32>,
    ) -> Result<(), String> {
        let before = self.0.remove(&node).unwrap_or_default();
        if !drains {
            return Ok(());
        }
        let since = |socket| (socket, before.get(&socket).copied().unwrap_or(now));
        let here: BTreeMap<u32, Duration> = sockets.map(since).collect();
        let late = here.iter().find(|(_, since)| now - **since > LONGEST).map(|(socket, _)| *socket);
        self.0.insert(node, here);
        late.map_or(Ok(()), |socket| Err(format!("node {node} drains, and socket {socket} is there still")))
    }

    /// A process does not run: nothing is asked of it.
    pub(crate) fn stands_still(&mut self, node: NodeId) {
        self.0.remove(&node);
    }
}
