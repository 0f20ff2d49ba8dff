//! What of a room's changes is an event.
//!
//! An owner that takes a room over hears of everybody in it from their gateways, which says nothing new: only one whom
//! this very change let in has joined. The ids of joins and departures are made of their peer, which joins once and
//! leaves once; so whoever tells of them, and however often, they are the same.

use std::collections::BTreeMap;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::event::{Event, EventKind};
use crate::id::{Change, Epoch, EventId, Identity, PeerId, RoomKey, Shard};
use crate::signal::lobby::Knock;
use crate::signal::member::Profile;
use crate::signal::route::{Entry, RoomChange};
use crate::time::Unix;

/// A change, and where it happened.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// In which room.
    pub room: &'a RoomKey,
    /// Under which epoch of which shard.
    pub place: (Shard, Epoch),
    /// Its number there.
    pub n: Change,
    /// When.
    pub at: Unix,
    /// What.
    pub change: &'a RoomChange,
}

/// Follows one room.
#[derive(Debug, Default)]
pub struct Tap {
    present: BTreeMap<PeerId, Known>,
}

/// What is told of one who is gone.
#[derive(Debug, Clone, Default)]
struct Known {
    identity: Option<Identity>,
    name: Option<Box<str>>,
}

impl From<&Profile> for Known {
    fn from(profile: &Profile) -> Self {
        Self { identity: profile.identity.clone(), name: profile.name.as_deref().map(Into::into) }
    }
}

impl Tap {
    /// What of this is told to those who want to know it.
    pub fn handle(&mut self, heard: Heard<'_>, wanted: impl Fn(EventKind) -> bool) -> Vec<Event> {
        let mut told = Telling { heard, wanted, events: Vec::new() };
        match heard.change {
            RoomChange::Joined(entry) => self.joined(entry, &mut told),
            RoomChange::Left { peer, reason } => {
                let known = self.present.remove(peer);
                let was_there = known.is_some();
                let Known { identity, name } = known.unwrap_or_default();
                told.tell(
                    EventKind::PeerLeft,
                    &[&peer.to_string()],
                    || json!({ "peer": peer, "identity": identity, "name": name, "reason": reason }),
                );
                if was_there && self.present.is_empty() {
                    told.tell(EventKind::RoomEnded, &[&peer.to_string()], || json!({}));
                }
            }
            RoomChange::Away { peer, .. } => self.attached(EventKind::PeerAway, *peer, &mut told),
            RoomChange::Back { peer, .. } => self.attached(EventKind::PeerBack, *peer, &mut told),
            RoomChange::Updated { peer, profile, .. } => {
                if let Some(known) = self.present.get_mut(peer) {
                    *known = profile.into();
                }
            }
            RoomChange::Withheld { .. } => {} // an operator's doing, or an admin's
        }
        told.events
    }

    fn joined<F: Fn(EventKind) -> bool>(&mut self, entry: &Entry, told: &mut Telling<'_, F>) {
        let (member, (_, epoch)) = (&entry.member, told.heard.place);
        let (peer, profile) = (member.seat.peer, &member.profile);
        let first = self.present.is_empty();
        self.present.insert(peer, profile.into());
        let is_new = member.admitted == Some((epoch, told.heard.n));
        if !is_new {
            if first {
                let place = told.place();
                told.tell(EventKind::RoomResumed, &[&place], || json!({}));
            }
            return;
        }
        if first {
            told.tell(EventKind::RoomStarted, &[&peer.to_string()], || json!({}));
        }
        told.tell(EventKind::PeerJoined, &[&peer.to_string()], || {
            json!({
                "peer": peer,
                "identity": profile.identity,
                "name": profile.name,
                "hidden": member.seat.grants.hidden,
                "metadata": profile.metadata,
            })
        });
    }

    fn attached<F: Fn(EventKind) -> bool>(&self, kind: EventKind, peer: PeerId, told: &mut Telling<'_, F>) {
        let known = self.present.get(&peer).cloned().unwrap_or_default();
        let place = told.place();
        told.tell(
            kind,
            &[&place, &peer.to_string()],
            || json!({ "peer": peer, "identity": known.identity, "name": known.name }),
        );
    }
}

/// The event of somebody who begins to wait to be let in at `at`; a new owner of the room tells of the same.
#[must_use]
pub fn waiting(room: &RoomKey, knock: &Knock, at: Unix) -> Event {
    let Knock { peer, profile, .. } = knock;
    let id = event_id(room, EventKind::PeerWaiting, &[&peer.to_string()]);
    let data = json!({
        "app": room.app.as_str(),
        "room": room.room.as_str(),
        "peer": peer,
        "identity": profile.identity,
        "name": profile.name,
        "metadata": profile.metadata,
    });
    Event::new(id, EventKind::PeerWaiting, Some(room.room.clone()), at, &data)
}

struct Telling<'a, F> {
    heard: Heard<'a>,
    wanted: F,
    events: Vec<Event>,
}

impl<F: Fn(EventKind) -> bool> Telling<'_, F> {
    /// Where and as which change it happened.
    fn place(&self) -> String {
        let (shard, epoch) = self.heard.place;
        format!("{shard}.{epoch}.{}", self.heard.n)
    }

    /// `of` is what makes it another event than all others of its kind in this room.
    fn tell(&mut self, kind: EventKind, of: &[&str], data: impl FnOnce() -> serde_json::Value) {
        if !(self.wanted)(kind) {
            return;
        }
        let Heard { room, at, .. } = self.heard;
        let mut data = data();
        data["app"] = room.app.as_str().into();
        data["room"] = room.room.as_str().into();
        let id = event_id(room, kind, of);
        self.events.push(Event::new(id, kind, Some(room.room.clone()), at, &data));
    }
}

fn event_id(room: &RoomKey, kind: EventKind, of: &[&str]) -> EventId {
    let mut hash = Sha256::new();
    for part in [room.app.as_str(), room.room.as_str(), kind.name()].iter().chain(of) {
        hash.update(part.as_bytes());
        hash.update([0]); // which none of them has
    }
    let mut bytes = [0; 15];
    bytes.copy_from_slice(&hash.finalize()[..15]);
    EventId::from_random(bytes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::id::{AppId, Attach, Generation, NodeId, RoomName, SessionId};
    use crate::signal::code::LeaveReason;
    use crate::signal::json::Json;
    use crate::signal::member::{Gateway, Grants, Member, Policy, Seat, Withheld};
    use crate::signal::room::{Output, Room};
    use crate::signal::route::{Held, ProxyInput, RoomInput, Since};
    use crate::time::{Mono, Now};

    const NOW: Now = Now { mono: Mono(Duration::from_secs(9)), unix: Unix::from_secs(1_000) };
    const GATEWAY: Gateway = Gateway { node: NodeId(1), generation: Generation(1) };

    /// A room and what is told of it.
    struct Told {
        room: Room,
        tap: Tap,
        epoch: u64,
    }

    impl Told {
        fn new(epoch: u64) -> Self {
            Self { room: Room::new(Epoch(epoch), Policy::default()), tap: Tap::default(), epoch }
        }

        fn says(&mut self, input: RoomInput) -> Vec<Event> {
            let mut out = Vec::new();
            self.room.handle(NOW, GATEWAY, input, &|_, _| false, &mut out);
            let room = RoomKey { app: AppId::new("a").unwrap(), room: RoomName::new("r").unwrap() };
            let mut events = Vec::new();
            for output in &out {
                if let Output::All(ProxyInput::Changed { n, change, .. }) = output {
                    let place = (Shard(7), Epoch(self.epoch));
                    let heard = Heard { room: &room, place, n: *n, at: NOW.unix, change };
                    events.extend(self.tap.handle(heard, |_| true));
                }
            }
            events
        }
    }

    fn member(n: u8, away: bool) -> Member {
        let seat = Seat {
            peer: PeerId::from_random([n; 15]),
            session: SessionId::from_random([n; 15]),
            grants: Grants::ANONYMOUS,
            capacity: None,
            token_until: Unix::from_secs(2_000),
            place: None,
        };
        let identity = Some(Identity::new(&format!("i{n}")).unwrap());
        let metadata = Some(Json::parse(r#"{"team":[1,2]}"#).unwrap());
        let profile = Profile { identity, name: Some("Ada \"A\"".into()), metadata };
        let (attach, withheld) = (Attach(1), Withheld::NONE);
        Member { seat, profile, version: 0, attach, away, admitted: None, withheld }
    }

    fn announce(member: Member) -> RoomInput {
        let (presented, age_ms, attached_ms) = (Attach(0), 0, 0);
        RoomInput::Announce { member, marks: BTreeMap::new(), presented, age_ms, attached_ms }
    }

    fn leave(n: u8) -> RoomInput {
        RoomInput::Leave { peer: PeerId::from_random([n; 15]), reason: LeaveReason::Left }
    }

    fn kinds(events: &[Event]) -> Vec<&'static str> {
        events.iter().map(|event| event.kind.name()).collect()
    }

    #[test]
    fn a_room_begins_with_the_first_and_ends_with_the_last() {
        let mut told = Told::new(1);
        told.says(RoomInput::attach());
        let first = told.says(announce(member(1, false)));
        assert_eq!(kinds(&first), ["room_started", "peer_joined"]);
        let body: Value = serde_json::from_str(&first[1].body).unwrap();
        assert_eq!(body["type"], "peer_joined");
        assert_eq!(body["timestamp"], "1970-01-01T00:16:40.000Z");
        let peer = PeerId::from_random([1; 15]).to_string();
        let data = json!({
            "app": "a", "room": "r", "peer": peer, "identity": "i1", "name": "Ada \"A\"", "hidden": false,
            "metadata": { "team": [1, 2] },
        });
        assert_eq!(body["data"], data);
        assert_eq!(kinds(&told.says(announce(member(1, false)))), [""; 0], "a repetition is none");
        assert_eq!(kinds(&told.says(announce(member(2, false)))), ["peer_joined"]);
        assert_eq!(kinds(&told.says(announce(member(2, true)))), ["peer_away"]);
        assert_eq!(kinds(&told.says(announce(member(2, false)))), ["peer_back"]);
        assert_eq!(kinds(&told.says(leave(1))), ["peer_left"]);
        let last = told.says(leave(2));
        assert_eq!(kinds(&last), ["peer_left", "room_ended"]);
        let body: Value = serde_json::from_str(&last[0].body).unwrap();
        assert_eq!((&body["data"]["reason"], &body["data"]["identity"]), (&json!("left"), &json!("i2")));
        let again = told.says(announce(member(3, false)));
        assert_eq!(kinds(&again), ["room_started", "peer_joined"]);
        assert!(again[0].id != first[0].id, "another beginning");
    }

    #[test]
    fn a_new_owner_tells_of_no_join_again() {
        let mut former = Told::new(1);
        former.says(RoomInput::attach());
        let joined = former.says(announce(member(1, false)));
        former.says(announce(member(2, false)));
        let roster: Vec<Entry> = former.room.entries().cloned().collect();

        let mut next = Told::new(2);
        let held = Held { roster, left: Vec::new(), broadcasts: 0, returns: Vec::new() };
        let adopted = next.says(RoomInput::Attach { held: Some(Box::new(held)), since: Since::default() });
        assert_eq!(kinds(&adopted), ["room_resumed"]);
        assert_eq!(kinds(&next.says(announce(member(3, false)))), ["peer_joined"]);
        let body: Value = serde_json::from_str(&next.says(leave(1))[0].body).unwrap();
        assert_eq!(body["data"]["identity"], "i1", "whom it has adopted");

        // Should the former one's join be told of again, it is the same event.
        let mut twice = Told::new(1);
        twice.says(RoomInput::attach());
        let again = twice.says(announce(member(1, false)));
        assert_eq!(
            joined.iter().map(|e| e.id).collect::<Vec<_>>(),
            again.iter().map(|e| e.id).collect::<Vec<_>>()
        );
    }

    #[test]
    fn who_waits_is_told_of_once_whoever_tells() {
        let room = RoomKey { app: AppId::new("a").unwrap(), room: RoomName::new("r").unwrap() };
        let knock = |n| Knock {
            peer: PeerId::from_random([n; 15]),
            profile: member(n, false).profile,
            since: NOW.unix,
        };
        let first = waiting(&room, &knock(1), NOW.unix);
        let body: Value = serde_json::from_str(&first.body).unwrap();
        assert_eq!((&body["type"], &body["data"]["identity"]), (&json!("peer_waiting"), &json!("i1")));
        assert_eq!(
            (&body["data"]["room"], &body["data"]["metadata"]),
            (&json!("r"), &json!({ "team": [1, 2] }))
        );
        assert_eq!(waiting(&room, &knock(1), Unix::from_secs(9)).id, first.id);
        assert_ne!(waiting(&room, &knock(2), NOW.unix).id, first.id);
    }

    #[test]
    fn nothing_is_made_that_nobody_wants() {
        let mut tap = Tap::default();
        let room = RoomKey { app: AppId::new("a").unwrap(), room: RoomName::new("r").unwrap() };
        let change = RoomChange::Left { peer: PeerId::from_random([1; 15]), reason: LeaveReason::Lost };
        let heard =
            Heard { room: &room, place: (Shard(1), Epoch(1)), n: Change(1), at: NOW.unix, change: &change };
        assert!(tap.handle(heard, |_| false).is_empty());
        let told = tap.handle(heard, |kind| kind != EventKind::RoomEnded);
        assert_eq!(kinds(&told), ["peer_left"], "of one who was never heard of, too");
    }
}
