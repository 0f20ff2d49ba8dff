//! One test for each schedule that once broke a room or a proxy: the fewest frames that show it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panic")]

mod claims;
mod decided;
mod direct;
mod handover;
mod lobby;
mod unheard;
mod unknown;

use std::collections::BTreeMap;
use std::time::Duration;

use bytestring::ByteString;
use chappe_proto::id::{
    AppId, Attach, Change, Epoch, Generation, Identity, NodeId, PeerId, RoomKey, RoomName, SessionId, Shard,
};
use chappe_proto::signal::json::Json;
use chappe_proto::signal::member::{Gateway, Grants, Member, Policy, Profile, Seat, Withheld};
use chappe_proto::signal::proxy::{self, Proxy};
use chappe_proto::signal::room::{self, Room};
use chappe_proto::signal::route::{
    Content, Entry, FromRoom, FromSession, Held, ProxyInput, RoomInput, Signal, Since,
};
use chappe_proto::time::{Mono, Now, Unix};

const START: Now = Now { mono: Mono(Duration::from_secs(1000)), unix: Unix::from_secs(1_700_000_000) };
const G1: Gateway = Gateway { node: NodeId(1), generation: Generation(1) };
const G2: Gateway = Gateway { node: NodeId(2), generation: Generation(1) };
const SHARD: Shard = Shard(7);

fn peer(n: u8) -> PeerId {
    PeerId::from_random([n; 15])
}

fn member(n: u8, attach: u64) -> Member {
    let (session, grants) = (SessionId::from_random([n; 15]), Grants::ANONYMOUS);
    let seat = Seat { peer: peer(n), session, grants, capacity: None, token_until: START.unix, place: None };
    let profile = Profile { identity: None, name: None, metadata: None };
    Member {
        seat,
        profile,
        version: 0,
        attach: Attach(attach),
        away: false,
        admitted: None,
        withheld: Withheld::NONE,
    }
}

fn identified(n: u8, identity: &str) -> Member {
    let mut member = member(n, 1);
    member.profile.identity = Some(Identity::new(identity).unwrap());
    member
}

fn admitted(mut member: Member, epoch: u64, n: u64) -> Member {
    member.admitted = Some((Epoch(epoch), Change(n)));
    member
}

fn entry(gateway: Gateway, member: Member, presented: u64) -> Entry {
    Entry { gateway, member, presented: Attach(presented), age_ms: 0 }
}

fn announce(member: Member, presented: u64, age_ms: u64, attached_ms: u64) -> RoomInput {
    let (marks, presented) = (BTreeMap::new(), Attach(presented));
    RoomInput::Announce { member, marks, presented, age_ms, attached_ms }
}

fn attach(held: Option<Held>) -> RoomInput {
    RoomInput::Attach { held: held.map(Box::new), since: Since::default() }
}

fn signal(from: u8, to: u8, id: u64) -> Signal {
    let (kind, payload) = (ByteString::from_static("x"), Json::NULL);
    let content = Content { connection: None, kind, payload };
    Signal { from: peer(from), to: peer(to), id, settled: 0, content }
}

fn after(ms: u64) -> Now {
    START.after(Duration::from_millis(ms))
}

struct Owner(Room);

impl Owner {
    fn new(epoch: u64) -> Self {
        Self(Room::new(Epoch(epoch), Policy::default()))
    }

    fn hears(&mut self, now: Now, from: Gateway, input: RoomInput) -> Vec<room::Output> {
        let mut out = Vec::new();
        self.0.handle(now, from, input, &|_, _| false, &mut out);
        out
    }

    fn peers(&self) -> Vec<PeerId> {
        self.0.entries().map(|entry| entry.member.seat.peer).collect()
    }
}

struct Follower(Proxy);

impl Follower {
    fn new(gateway: Gateway) -> Self {
        Self(Proxy::new(START, gateway, SHARD, Epoch(1), &mut Vec::new()))
    }

    fn hears(&mut self, now: Now, epoch: u64, body: ProxyInput) -> Vec<proxy::Output> {
        let mut out = Vec::new();
        let room = RoomKey { app: AppId::new("dev").unwrap(), room: RoomName::new("r").unwrap() };
        self.0.handle_room(now, FromRoom { room, shard: SHARD, epoch: Epoch(epoch), body }, &mut out);
        out
    }

    fn moves(&mut self, now: Now, epoch: u64) -> Vec<proxy::Output> {
        let mut out = Vec::new();
        self.0.handle_moved(now, SHARD, Epoch(epoch), &mut out);
        out
    }

    fn says(&mut self, now: Now, input: FromSession) -> Vec<proxy::Output> {
        let mut out = Vec::new();
        self.0.handle_session(now, input, &mut out);
        out
    }

    fn fires(&mut self, now: Now) -> Vec<proxy::Output> {
        let mut out = Vec::new();
        self.0.handle_timeout(now, &mut out);
        out
    }

    /// Peer 1 here, peer 2 at the other gateway, both in the room.
    fn of_two() -> Self {
        let mut gateway = Self::new(G1);
        let (ada, ben) = (admitted(member(1, 1), 1, 1), admitted(member(2, 1), 1, 2));
        let announce = FromSession::Announce {
            member: ada.clone(),
            marks: BTreeMap::new(),
            presented: Attach(0),
            age: Duration::ZERO,
        };
        gateway.says(START, announce);
        let roster = vec![entry(G1, ada, 0), entry(G2, ben, 0)];
        gateway.hears(START, 1, ProxyInput::Here { n: Change(2), roster, left: Vec::new(), broadcasts: 0 });
        gateway
    }
}

/// What a proxy hands over with its attachment.
fn handed_over(out: &[proxy::Output]) -> &Held {
    let held = out.iter().find_map(|output| match output {
        proxy::Output::Room(RoomInput::Attach { held, .. }) => held.as_deref(),
        _ => None,
    });
    held.expect("an attachment with what is held")
}
