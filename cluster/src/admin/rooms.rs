//! What operators see and decide of rooms.

use std::collections::{BTreeMap, BTreeSet};

use chappe_admin::control::Fault;
use chappe_admin::rooms::{
    Ban, RoomCount, RoomLine, RoomPage, RoomReport, Rooms, RoomsWanted, Waiting, bans_of,
};
use chappe_admin::{Answer, Peer};
use chappe_proto::id::{AppId, Identity, Index, NodeId, PeerId, RoomKey, RoomName, SessionId};
use chappe_proto::limits::{AUDIT_TEXT_MAX, ROOMS_LOOKED_AT};
use chappe_proto::mesh::node::{Answer as Reply, Ask, RoomSeen};
use chappe_proto::registry::{Command, Note, RoomPolicy, State};
use chappe_proto::signal::json::Json;
use chappe_proto::signal::lobby::Verdict;
use chappe_proto::signal::member::Muting;
use chappe_proto::signal::route::Entry;
use chappe_proto::usage::UsageOf;
use futures_util::future::join_all;

use super::{Admin, NODE_WITHIN};
use crate::clock;
use crate::node::Node;

type Done<T> = Result<T, Fault>;

/// Rooms that run, and on which node: how many are in each.
type Running = BTreeMap<RoomKey, (NodeId, u32)>;

impl Admin {
    /// The nodes that are up.
    fn up(&self) -> Vec<NodeId> {
        Node::gateways(&self.node.registry.state()).map(|gateway| gateway.node).collect()
    }

    /// Asks all these nodes for rooms, of which each answers with `full` at most.
    async fn ask_rooms(&self, nodes: &[NodeId], ask: &Ask, full: usize) -> Said {
        let requests = nodes.iter().map(|node| self.node.mesh.request(*node, ask.clone(), NODE_WITHIN));
        let rooms = join_all(requests).await.into_iter().map(|answer| match answer {
            Ok(Reply::Rooms(rooms)) => Some(rooms),
            _ => None,
        });
        Said::merged(nodes.iter().copied().zip(rooms), full)
    }

    /// The next rooms behind `after` by name, as many as `many` or all that there are; and nodes that do not answer.
    async fn next_rooms(
        &self,
        state: &State,
        wanted: &RoomsWanted,
        after: Option<&RoomKey>,
        many: usize,
    ) -> (Vec<RoomLine>, Vec<NodeId>) {
        let behind = |key: &&RoomKey| after.is_none_or(|after| *key > after) && wanted.names(key);
        let made: Vec<RoomKey> =
            state.made_rooms().map(|(key, _)| key).filter(behind).take(many).cloned().collect();
        let nodes = wanted.node.map_or_else(|| self.up(), |node| vec![node]);
        let said = if wanted.only_made() {
            self.ask_rooms(&nodes, &Ask::RoomsNamed { rooms: made.clone() }, usize::MAX).await
        } else {
            let (app, text) = (wanted.app.clone(), wanted.text.clone());
            let limit = u32::try_from(many).unwrap_or(u32::MAX);
            let ask = Ask::RoomsLike { app, text, after: after.cloned(), limit };
            self.ask_rooms(&nodes, &ask, many).await
        };
        let names = said.first(made, many);
        let line = |key: RoomKey| {
            let (made, runs) = (state.made_room(&key), said.running.get(&key).copied());
            RoomLine::new(key, made, runs)
        };
        (names.into_iter().map(line).collect(), said.silent)
    }

    /// Puts into the audit log what is to be done in a room that is there, and asks the node that runs it to do that.
    /// What then could not be done is put there too.
    async fn act(&self, room: &RoomKey, ask: Ask, missing: &'static str, note: Note) -> Done<()> {
        self.there(room, &ask, missing).await?;
        self.commit(Command::Note, note.clone()).await?;
        let done = self.of_room(room, ask, missing).await;
        if let Err(fault) = &done {
            self.undone(note, fault).await;
        }
        done
    }

    /// Whether the room that is asked is there, and who it is about: the log tells of nothing that never was.
    async fn there(&self, room: &RoomKey, ask: &Ask, missing: &'static str) -> Done<()> {
        let seen = match self.of_owner(room, Ask::Room { room: room.clone() }).await {
            Ok(Reply::Room(seen)) => seen.filter(is_there),
            Ok(_) | Err(()) => return Err(unasked()),
        };
        let seen = seen.ok_or(Fault::NotThere(missing))?;
        let there = match ask {
            Ask::Mute { peer, .. } | Ask::Kick { peer, .. } => {
                seen.roster.iter().any(|entry| entry.member.seat.peer == *peer)
            }
            Ask::Judge { peer, .. } => seen.waiting.iter().any(|knock| knock.peer == *peer),
            _ => true,
        };
        if there { Ok(()) } else { Err(Fault::NotThere(missing)) }
    }

    /// Asks the node that runs a room.
    async fn of_room(&self, room: &RoomKey, ask: Ask, missing: &'static str) -> Done<()> {
        match self.of_owner(room, ask).await {
            Ok(Reply::Done) => Ok(()),
            Ok(Reply::NotThere) => Err(Fault::NotThere(missing)),
            Ok(Reply::Refused(refusal)) => {
                Err(Fault::Conflict(format!("the room has no place: {}", refusal.message)))
            }
            Ok(Reply::Failed(failure)) => Err(Fault::Unavailable(format!("{failure}; try again"))),
            Ok(_) | Err(()) => Err(unasked()),
        }
    }

    /// What the audit log says of what was not done after all, as far as this node knows.
    pub(super) async fn undone(&self, note: Note, fault: &Fault) {
        let text = format!("was not answered that it is done: {}", note.what);
        let what = text[..text.floor_char_boundary(AUDIT_TEXT_MAX)].to_owned();
        if let Err(unwritten) = self.commit(Command::Note, Note { what, ..note }).await {
            tracing::warn!(%fault, %unwritten, "the audit log does not say that this failed");
        }
    }
}

/// Whether somebody is in it, or waits to be.
const fn is_there(seen: &RoomSeen) -> bool {
    !(seen.roster.is_empty() && seen.waiting.is_empty())
}

fn unasked() -> Fault {
    Fault::Unavailable("the node that runs the room cannot be asked; try again".to_owned())
}

/// What nodes said of their rooms.
#[derive(Default)]
struct Said {
    running: Running,
    /// Up to here everything is known: the first of the last words of those who have more.
    whole_to: Option<RoomKey>,
    silent: Vec<NodeId>,
}

impl Said {
    fn merged(answers: impl IntoIterator<Item = (NodeId, Option<Vec<(RoomKey, u32)>>)>, full: usize) -> Self {
        let mut said = Self::default();
        for (node, answer) in answers {
            let Some(rooms) = answer else {
                said.silent.push(node);
                continue;
            };
            if let Some((last, _)) = rooms.last().filter(|_| rooms.len() >= full)
                && said.whole_to.as_ref().is_none_or(|whole_to| last < whole_to)
            {
                said.whole_to = Some(last.clone());
            }
            for (key, peers) in rooms {
                // Of one that moves two may have some: where more are is the room.
                let held = said.running.entry(key).or_insert((node, peers));
                if held.1 < peers {
                    *held = (node, peers);
                }
            }
        }
        said
    }

    /// The first rooms by name, of those and of the first `many` that are `made`: fewer than `many` are all.
    fn first(&self, made: Vec<RoomKey>, many: usize) -> Vec<RoomKey> {
        let all: BTreeSet<RoomKey> = made.into_iter().chain(self.running.keys().cloned()).collect();
        let whole = |key: &RoomKey| self.whole_to.as_ref().is_none_or(|whole_to| key <= whole_to);
        all.into_iter().filter(whole).take(many).collect()
    }
}

/// Who is in a room, with what they relayed.
async fn people(admin: &Admin, room: RoomKey, roster: Vec<Entry>) -> Vec<Peer> {
    let usage = admin.usage_of(&UsageOf::Room(room)).await.unwrap_or_default();
    let relayed = |session: SessionId| usage.parts.get(&session.to_string()).map(|tally| tally.relayed);
    let peer = |Entry { gateway, member, .. }: Entry| Peer {
        relayed: relayed(member.seat.session).unwrap_or_default(),
        peer: member.seat.peer,
        node: gateway.node,
        identity: member.profile.identity.map(|identity| identity.to_string()),
        name: member.profile.name,
        away: member.away,
        grants: member.seat.grants.names(),
        withheld: member.withheld.names(),
    };
    roster.into_iter().map(peer).collect()
}

impl Rooms for Admin {
    fn rooms(&self, wanted: RoomsWanted) -> Answer<'_, Done<RoomPage>> {
        Box::pin(async move {
            let state = self.node.registry.state();
            let (mut page, mut after, mut looked_at) = (RoomPage::default(), wanted.after.clone(), 0);
            loop {
                let many = wanted.limit + 1;
                let (lines, silent) = self.next_rooms(&state, &wanted, after.as_ref(), many).await;
                let more = lines.len() >= many;
                page.silent = silent;
                looked_at += lines.len();
                for line in lines {
                    let key = line.key();
                    if wanted.is(&line) {
                        if page.rooms.len() == wanted.limit {
                            page.next = after.map(|last| last.to_string());
                            return Ok(page);
                        }
                        page.rooms.push(line);
                    }
                    after = Some(key);
                }
                if !more {
                    return Ok(page);
                }
                if looked_at >= ROOMS_LOOKED_AT {
                    page.next = after.map(|last| last.to_string());
                    return Ok(page);
                }
            }
        })
    }

    fn room(&self, room: RoomKey) -> Answer<'_, Done<RoomReport>> {
        Box::pin(async move {
            // What was decided through another node a moment ago is seen, where a leader can be asked.
            let state = self.state().await.unwrap_or_else(|_| self.node.registry.state());
            let made = state.made_room(&room);
            let seen = match self.of_owner(&room, Ask::Room { room: room.clone() }).await {
                Ok(Reply::Room(seen)) => seen.filter(is_there),
                Ok(_) | Err(()) => return Err(unasked()),
            };
            if seen.is_none() && made.is_none() {
                return Err(Fault::NotThere("room"));
            }
            let mut report = RoomReport::new(room.clone(), made);
            if let Some(seen) = seen {
                (report.node, report.broadcasts) = (Some(seen.node), seen.broadcasts);
                report.peers = people(self, room, seen.roster).await;
                report.waiting = seen.waiting.into_iter().map(Waiting::from).collect();
            }
            Ok(report)
        })
    }

    fn room_set(&self, room: RoomKey, policy: RoomPolicy, since: Index, note: Note) -> Answer<'_, Done<()>> {
        let (by, since) = (note.who.clone(), Some(since));
        Box::pin(
            async move { self.commit(Command::RoomSet { room, policy, by, since }, note).await.map(drop) },
        )
    }

    fn room_close(&self, room: RoomKey, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move {
            self.act(&room, Ask::Close { room: room.clone() }, "room with somebody in it", note).await
        })
    }

    fn room_forget(&self, room: RoomKey, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move {
            let state = self.state().await.map_err(|_| unread())?;
            state.made_room(&room).ok_or(Fault::NotThere("room"))?;
            self.commit(Command::RoomRemove { room }, note).await.map(drop)
        })
    }

    fn room_message(&self, room: RoomKey, payload: Json, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move {
            let ask = Ask::Tell { room: room.clone(), payload };
            self.act(&room, ask, "room with somebody in it", note).await
        })
    }

    fn peer_mute(&self, room: RoomKey, peer: PeerId, muting: Muting, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move {
            let ask = Ask::Mute { room: room.clone(), peer, muting };
            self.act(&room, ask, "peer in that room", note).await
        })
    }

    fn judge(&self, room: RoomKey, peer: PeerId, verdict: Verdict, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move {
            let ask = Ask::Judge { room: room.clone(), peer, verdict };
            self.act(&room, ask, "peer who waits for that room", note).await
        })
    }

    fn peer_kick(&self, room: RoomKey, peer: PeerId, ban: bool, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move {
            let ask = Ask::Kick { room: room.clone(), peer, ban };
            self.act(&room, ask, "peer in that room", note).await
        })
    }

    fn peer_move(&self, room: RoomKey, peer: PeerId, to: RoomName, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(self.move_peer(room, peer, to, note))
    }

    fn bans(&self, app: AppId) -> Answer<'_, Done<Vec<Ban>>> {
        Box::pin(async move {
            let state = self.state().await.map_err(|_| unread())?;
            bans_of(&state, &app, clock::unix())
        })
    }

    fn ban_lift(&self, room: RoomKey, identity: Identity, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move { self.commit(Command::Pardon { room, identity }, note).await.map(drop) })
    }

    fn room_counts(&self) -> Answer<'_, Vec<RoomCount>> {
        Box::pin(async {
            let nodes = self.up();
            let ask = |node: &NodeId| self.node.mesh.request(*node, Ask::RoomCounts, NODE_WITHIN);
            let answers = join_all(nodes.iter().map(ask)).await;
            let mut counts = Vec::new();
            for (node, answer) in nodes.into_iter().zip(answers) {
                let Ok(Reply::RoomCounts(of)) = answer else { continue };
                let count = |(app, rooms, peers)| RoomCount { node, app, rooms, peers };
                counts.extend(of.into_iter().map(count));
            }
            counts
        })
    }
}

pub(super) fn unread() -> Fault {
    Fault::Unavailable("the registry cannot be read right now; try again".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> RoomKey {
        RoomKey { app: AppId::new("app").unwrap(), room: RoomName::new(&format!("room-{n:05}")).unwrap() }
    }

    /// As a node answers.
    fn page(rooms: &Running, of: NodeId, after: Option<&RoomKey>, many: usize) -> Vec<(RoomKey, u32)> {
        let own =
            rooms.iter().filter(|(key, (node, _))| *node == of && after.is_none_or(|after| *key > after));
        own.take(many).map(|(key, (_, peers))| (key.clone(), *peers)).collect()
    }

    #[test]
    fn ten_thousand_rooms_are_listed_by_pages_each_once_and_nobody_is_asked_for_all() {
        // The first node has the first half of them to itself.
        let node = |n| if n < 5_000 { NodeId(1) } else { NodeId(1 + n as u64 % 3) };
        let rooms: Running = (0..10_000).map(|n| (key(n), (node(n), 5))).collect();
        let made: Vec<RoomKey> = (9_990..10_010).map(key).collect();
        let (many, mut listed, mut peers, mut pages) = (51, Vec::new(), 0, 0);
        loop {
            let after: Option<&RoomKey> = listed.last();
            let answers = (1..=3).map(|id| (NodeId(id), Some(page(&rooms, NodeId(id), after, many))));
            let said = Said::merged(answers, many);
            let made = made.iter().filter(|key| after.is_none_or(|after| *key > after));
            let names = said.first(made.take(many).cloned().collect(), many);
            pages += 1;
            peers +=
                names.iter().filter_map(|key| said.running.get(key)).map(|(_, peers)| peers).sum::<u32>();
            let last = names.len() < many;
            listed.extend(names);
            if last {
                break;
            }
        }
        assert!(listed.iter().eq((0..10_010).map(key).collect::<Vec<_>>().iter()), "each once, in order");
        assert_eq!((peers, pages), (50_000, 10_010 / 51 + 1));
    }

    #[test]
    fn who_does_not_answer_is_named_and_of_two_places_the_fuller_is_the_room() {
        let answers =
            [(NodeId(1), Some(vec![(key(1), 1)])), (NodeId(2), None), (NodeId(3), Some(vec![(key(1), 4)]))];
        let said = Said::merged(answers, 9);
        assert_eq!((said.silent, said.running[&key(1)]), (vec![NodeId(2)], (NodeId(3), 4)));
    }
}
