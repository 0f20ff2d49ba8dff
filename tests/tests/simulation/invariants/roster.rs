//! Once everything is mended, and the grace is over: everybody sees everybody of its room and nobody
//! else, the owner has them and each of them once, no gateway holds a session that nobody has, and
//! nothing waits for an answer.

use std::collections::{BTreeMap, BTreeSet};

use chappe_proto::id::{PeerId, RoomKey};
use chappe_proto::signal::room::Room;

use crate::client::{Client, State, live};

/// What one client sees.
pub(crate) fn seen(client: &Client, clients: &[Client]) -> Result<(), String> {
    let name = &client.who.identity;
    if client.barred || client.state == State::Done {
        return if client.is_live() { Err(format!("{name} is in, and was sent away")) } else { Ok(()) };
    }
    let Some(peer) = client.peer.filter(|_| client.is_live()) else {
        return Err(format!("{name} is not in: {:?}", client.state));
    };
    let all = live(clients, &client.who.room);
    let due: BTreeMap<PeerId, bool> =
        all.iter().filter(|other| **other != peer).map(|other| (*other, false)).collect();
    if client.roster != due {
        return Err(format!("{name} sees {:?}, not {due:?}", client.roster));
    }
    if !client.is_settled() {
        return Err(format!("{name} still waits for an answer to a signal"));
    }
    Ok(())
}

/// What the owners hold.
pub(crate) fn held<'a>(
    key: &RoomKey,
    rooms: impl Iterator<Item = &'a Room>,
    clients: &[Client],
) -> Result<(), String> {
    let all = live(clients, key);
    let rooms: Vec<&Room> = rooms.collect();
    if rooms.len() > 1 {
        return Err(format!("{key} runs on {} nodes", rooms.len()));
    }
    let held: BTreeSet<PeerId> =
        rooms.iter().flat_map(|room| room.entries()).map(|entry| entry.member.seat.peer).collect();
    if held == all { Ok(()) } else { Err(format!("{key}: its owner has {held:?}, not {all:?}")) }
}
