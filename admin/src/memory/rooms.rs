//! A few rooms of the app `dev`: `lobby` on node 1 with Ada and Ben in it, `tower` on node 2 with Cat.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use chappe_proto::id::{AppId, Identity, Index, NodeId, PeerId, RoomKey, RoomName, SessionId};
use chappe_proto::registry::{Command, Note, RoomPolicy};
use chappe_proto::signal::json::Json;
use chappe_proto::signal::lobby::Verdict;
use chappe_proto::signal::member::{Muting, Withheld};
use chappe_proto::time::Unix;
use chappe_proto::usage::Relayed;

use super::Memory;
use crate::control::Fault;
use crate::rooms::{Ban, RoomCount, RoomLine, RoomPage, RoomReport, Rooms, RoomsWanted, Waiting};
use crate::{Answer, Peer};

type Done<T> = Result<T, Fault>;

/// The rooms that run, and what was said in them.
pub(crate) struct Running {
    rooms: BTreeMap<RoomKey, (NodeId, Vec<Peer>)>,
    waiting: Vec<(RoomKey, Waiting)>,
    pub(crate) said: Vec<String>,
}

pub(crate) fn key(room: &str) -> RoomKey {
    RoomKey { app: AppId::new("dev").unwrap(), room: RoomName::new(room).unwrap() }
}

pub(crate) fn peer(n: u8) -> PeerId {
    PeerId::from_random([n; 15])
}

impl Default for Running {
    fn default() -> Self {
        let somebody = |n, name: &str| Peer {
            peer: peer(n),
            node: NodeId(1),
            identity: Some(name.to_lowercase()),
            name: Some(name.to_owned()),
            away: false,
            grants: vec!["join"],
            withheld: Vec::new(),
            relayed: Relayed::default(),
        };
        let lobby = (NodeId(1), vec![somebody(1, "Ada"), somebody(2, "Ben")]);
        let tower = (NodeId(2), vec![somebody(3, "Cat")]);
        Self {
            rooms: [(key("lobby"), lobby), (key("tower"), tower)].into(),
            waiting: Vec::new(),
            said: Vec::new(),
        }
    }
}

impl Memory {
    pub(crate) fn running<T>(&self, ask: impl FnOnce(&mut Running) -> T) -> T {
        ask(&mut self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Does something with the people of a room, and notes it.
    async fn of_room(
        &self,
        room: &RoomKey,
        note: Note,
        step: impl FnOnce(&mut Running, &RoomKey) -> Done<()>,
    ) -> Done<()> {
        let there = self.running(|running| running.rooms.contains_key(room));
        if !there {
            return Err(Fault::NotThere("room with somebody in it"));
        }
        self.commit(Command::Note, note)?;
        self.running(|running| step(running, room))
    }
}

impl Running {
    /// Somebody comes into a room that runs.
    pub(crate) fn enters(&mut self, room: &RoomKey, peer: Peer) {
        self.rooms.get_mut(room).unwrap().1.push(peer);
    }

    /// Somebody waits to be let into a room: the fourth is one too many for it.
    pub(crate) fn knocks(&mut self, room: &RoomKey, n: u8, name: &str) {
        let (peer, identity, since) =
            (peer(n), Identity::new(&format!("i{n}")).ok(), Unix::from_secs(n.into()));
        let metadata = Json::parse(r#"{"hat":"</b>"}"#).ok();
        let waits = Waiting { peer, identity, name: Some(name.to_owned()), metadata, since };
        self.waiting.push((room.clone(), waits));
    }

    /// All rooms end.
    pub(crate) fn end(&mut self) {
        self.rooms.clear();
    }

    fn peer(&mut self, room: &RoomKey, peer: PeerId) -> Done<&mut Peer> {
        let (_, all) = self.rooms.get_mut(room).ok_or(Fault::NotThere("room with somebody in it"))?;
        all.iter_mut().find(|held| held.peer == peer).ok_or(Fault::NotThere("peer in that room"))
    }
}

impl Rooms for Memory {
    fn rooms(&self, wanted: RoomsWanted) -> Answer<'_, Done<RoomPage>> {
        let runs: BTreeMap<RoomKey, (NodeId, u32)> = self.running(|running| {
            let line = |(key, (node, all)): (&RoomKey, &(NodeId, Vec<Peer>))| {
                (key.clone(), (*node, u32::try_from(all.len()).unwrap()))
            };
            running.rooms.iter().map(line).collect()
        });
        let lines = self.with(|state| {
            let made = state.made_rooms().map(|(key, _)| key.clone());
            let mut keys: Vec<_> = runs.keys().cloned().chain(made).collect();
            keys.sort();
            keys.dedup();
            let line = |key: RoomKey| {
                let (made, runs) = (state.made_room(&key), runs.get(&key).copied());
                RoomLine::new(key, made, runs)
            };
            let behind = keys.into_iter().filter(|key| wanted.after.as_ref().is_none_or(|after| key > after));
            let meant = behind.filter(|key| wanted.names(key)).map(line).filter(|line| wanted.is(line));
            meant.take(wanted.limit + 1).collect::<Vec<_>>()
        });
        let more = lines.len() > wanted.limit;
        let rooms: Vec<_> = lines.into_iter().take(wanted.limit).collect();
        let next = rooms.last().filter(|_| more).map(|last| last.key().to_string());
        Box::pin(async { Ok(RoomPage { rooms, next, silent: Vec::new() }) })
    }

    fn room(&self, room: RoomKey) -> Answer<'_, Done<RoomReport>> {
        let made = self.with(|state| state.made_room(&room).cloned());
        let runs = self.running(|running| running.rooms.get(&room).cloned());
        let waiting = self.running(|running| running.waiting.clone());
        Box::pin(async move {
            if made.is_none() && runs.is_none() {
                return Err(Fault::NotThere("room"));
            }
            let mut report = RoomReport::new(room.clone(), made.as_ref());
            if let Some((node, peers)) = runs {
                (report.node, report.peers) = (Some(node), peers);
            }
            let here = waiting.into_iter().filter(|(key, _)| *key == room);
            report.waiting = here.map(|(_, waits)| waits).collect();
            Ok(report)
        })
    }

    fn room_set(&self, room: RoomKey, policy: RoomPolicy, since: Index, note: Note) -> Answer<'_, Done<()>> {
        let (by, since) = (note.who.clone(), Some(since));
        Box::pin(async move { self.commit(Command::RoomSet { room, policy, by, since }, note) })
    }

    fn room_close(&self, room: RoomKey, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move {
            let close = |running: &mut Running, room: &RoomKey| {
                running.rooms.remove(room);
                Ok(())
            };
            self.of_room(&room, note, close).await
        })
    }

    fn room_forget(&self, room: RoomKey, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move {
            self.with(|state| state.made_room(&room).map(drop)).ok_or(Fault::NotThere("room"))?;
            self.commit(Command::RoomRemove { room }, note)
        })
    }

    fn room_message(&self, room: RoomKey, payload: Json, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move {
            let say = |running: &mut Running, _: &RoomKey| {
                running.said.push(payload.as_str().to_owned());
                Ok(())
            };
            self.of_room(&room, note, say).await
        })
    }

    fn peer_mute(&self, room: RoomKey, peer: PeerId, muting: Muting, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move {
            self.running(|running| running.peer(&room, peer).map(drop))?;
            let mute = |running: &mut Running, room: &RoomKey| {
                let held = running.peer(room, peer)?;
                let has = |name| held.withheld.contains(&name);
                let before = Withheld { publish: has("publish"), broadcast: has("broadcast"), n: 0 };
                held.withheld = before.after(muting).unwrap_or(before).names();
                Ok(())
            };
            self.of_room(&room, note, mute).await
        })
    }

    fn judge(&self, room: RoomKey, peer: PeerId, verdict: Verdict, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move {
            let waits = |running: &mut Running| {
                running.waiting.iter().any(|(key, waits)| *key == room && waits.peer == peer)
            };
            if !self.running(waits) {
                return Err(Fault::NotThere("peer who waits for that room"));
            }
            let judge = |running: &mut Running, room: &RoomKey| {
                let at = running.waiting.iter().position(|(key, waits)| key == room && waits.peer == peer);
                let at = at.ok_or(Fault::NotThere("peer who waits for that room"))?; // it has just gone
                if verdict == Verdict::Admit && running.rooms.get(room).is_some_and(|(_, all)| all.len() > 2)
                {
                    return Err(Fault::Conflict("the room has no place: 3 of 3 are here".to_owned()));
                }
                let (_, waits) = running.waiting.remove(at);
                if let (Verdict::Admit, Some((_, all))) = (&verdict, running.rooms.get_mut(room)) {
                    let identity = waits.identity.map(|identity| identity.to_string());
                    all.push(Peer { peer, identity, name: waits.name, ..all[0].clone() });
                }
                Ok(())
            };
            self.of_room(&room, note, judge).await
        })
    }

    fn peer_kick(&self, room: RoomKey, peer: PeerId, ban: bool, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move {
            let kick = |running: &mut Running, room: &RoomKey| {
                running.peer(room, peer)?;
                if let Some((_, all)) = running.rooms.get_mut(room) {
                    all.retain(|held| held.peer != peer);
                }
                Ok(())
            };
            let identity =
                self.running(|running| running.peer(&room, peer).map(|held| held.identity.clone()))?;
            self.of_room(&room, note.clone(), kick).await?;
            let banned = identity.filter(|_| ban).map(|name| (room, Identity::new(&name).unwrap()));
            let (sessions, until) = (vec![SessionId::from_random([1; 15])], Unix::from_secs(99));
            self.commit(Command::Revoke { sessions, banned, until, banned_until: None }, note)
        })
    }

    fn peer_move(&self, room: RoomKey, peer: PeerId, to: RoomName, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move {
            let target = RoomKey { app: room.app.clone(), room: to };
            let locked = self.with(|state| state.rules(&target).locked);
            let go = |running: &mut Running, room: &RoomKey| {
                let there = running.peer(room, peer)?.clone();
                if there.away {
                    return Err(Fault::Conflict("it has no connection right now".to_owned()));
                }
                if locked {
                    let words = format!("{} would not let it in: it is locked", target.room);
                    return Err(Fault::Conflict(words));
                }
                running.rooms.entry(target.clone()).or_insert((NodeId(1), Vec::new())).1.push(there);
                running.rooms.entry(room.clone()).and_modify(|(_, all)| all.retain(|held| held.peer != peer));
                Ok(())
            };
            self.of_room(&room, note, go).await
        })
    }

    fn bans(&self, app: AppId) -> Answer<'_, Done<Vec<Ban>>> {
        let bans = self.with(|state| crate::rooms::bans_of(state, &app, Unix::from_secs(1)));
        Box::pin(async { bans })
    }

    fn ban_lift(&self, room: RoomKey, identity: Identity, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move { self.commit(Command::Pardon { room, identity }, note) })
    }

    fn room_counts(&self) -> Answer<'_, Vec<RoomCount>> {
        let app = key("lobby").app;
        let counts = [(NodeId(1), 2), (NodeId(2), 1)];
        let counts = counts.map(|(node, peers)| RoomCount { node, app: app.clone(), rooms: 1, peers });
        Box::pin(async move { counts.to_vec() })
    }
}
