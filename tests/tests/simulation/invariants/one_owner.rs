//! One owner admits, removes and changes in a room: under one epoch one life of one node, and once an
//! epoch has changed anything, none before it ever does again (CLUSTER.md 3 and 4).

use std::collections::BTreeMap;

use chappe_proto::id::{Epoch, RoomKey, Shard};
use chappe_proto::signal::member::Gateway;

#[derive(Default)]
pub(crate) struct Owners(BTreeMap<(RoomKey, Shard), (Epoch, Gateway)>);

impl Owners {
    /// A room made a change.
    pub(crate) fn changed(
        &mut self,
        room: &RoomKey,
        shard: Shard,
        epoch: Epoch,
        by: Gateway,
    ) -> Result<(), String> {
        let last = self.0.entry((room.clone(), shard)).or_insert((epoch, by));
        let (known, owner) = *last;
        if epoch < known {
            return Err(format!(
                "{room}: {by:?} changes it at epoch {epoch}, after {owner:?} did at {known}"
            ));
        }
        if epoch == known && owner != by {
            return Err(format!("{room}: {by:?} and {owner:?} both change it at epoch {epoch}"));
        }
        *last = (epoch, by);
        Ok(())
    }
}
