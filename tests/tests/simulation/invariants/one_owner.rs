//! One owner admits, removes and changes in a room: in one shard, under one epoch one life of one node, and once
//! an epoch has changed anything, none before it ever does again. Of a room that moves the
//! later home alone does.

use std::collections::BTreeMap;

use chappe_proto::id::{Epoch, RoomKey, Shard};
use chappe_proto::signal::member::Gateway;
use chappe_proto::signal::route::Since;

#[derive(Default)]
pub(crate) struct Owners {
    epochs: BTreeMap<(RoomKey, Shard), (Epoch, Gateway)>,
    homes: BTreeMap<RoomKey, (Since, Shard)>,
}

impl Owners {
    /// A room made a change.
    pub(crate) fn changed(
        &mut self,
        room: &RoomKey,
        (shard, epoch): (Shard, Epoch),
        since: Since,
        by: Gateway,
    ) -> Result<(), String> {
        self.at_home(room, shard, since, by)?;
        let last = self.epochs.entry((room.clone(), shard)).or_insert((epoch, by));
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

    /// Who does not know yet whether the room is there lets nobody in, and is no home.
    fn at_home(&mut self, room: &RoomKey, shard: Shard, since: Since, by: Gateway) -> Result<(), String> {
        if since == Since::default() {
            return Ok(());
        }
        let last = self.homes.entry(room.clone()).or_insert((since, shard));
        let (known, home) = *last;
        if since < known || (since == known && shard != home) {
            return Err(format!(
                "{room}: {by:?} changes it in {shard} since {since:?}, and in {home} it is since {known:?}"
            ));
        }
        *last = (since, shard);
        Ok(())
    }
}
