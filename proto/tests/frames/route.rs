//! One of each frame between proxies and rooms.

use std::collections::BTreeMap;

use bytestring::ByteString;
use chappe_proto::id::{Attach, Change, Epoch, Generation, Identity, NodeId, Region, Shard};
use chappe_proto::mesh::node::Body;
use chappe_proto::select::{Coordinates, Place};
use chappe_proto::signal::code::{ErrorCode, LeaveReason, Refusal};
use chappe_proto::signal::frame::GoneReason;
use chappe_proto::signal::json::Json;
use chappe_proto::signal::lobby::{Knock, Verdict};
use chappe_proto::signal::member::{Gateway, Grants, Member, Muting, Profile, Seat, Withheld};
use chappe_proto::signal::route::{
    Ack, Content, Direct, DirectBody, Entry, FromRoom, Held, Home, ProxyInput, Returned, RoomChange,
    RoomInput, Signal, Since, ToRoom,
};
use chappe_proto::time::Unix;

use super::Samples;
use super::samples::{parcel, peer, room, session};

const GATEWAY: Gateway = Gateway { node: NodeId(1), generation: Generation(2) };

fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

fn member() -> Member {
    let seat = Seat {
        peer: peer(1),
        session: session(),
        grants: Grants::ANONYMOUS,
        capacity: Some(4),
        token_until: Unix::from_secs(5),
        place: None,
    };
    let identity = Identity::new("ada").ok();
    let profile = Profile { identity, name: Some("Ada".into()), metadata: Some(json(r#"{"a": 1}"#)) };
    let (attach, admitted, withheld) = (Attach(1), Some((Epoch(1), Change(2))), Withheld::NONE);
    Member { seat, profile, version: 2, attach, away: true, admitted, withheld }
}

/// What was taken away from one.
const WITHHELD: Withheld = Withheld { publish: true, broadcast: false, n: 3 };

/// One whose token says where it is.
fn placed() -> Member {
    let mut member = member();
    member.seat.place =
        Place { region: Region::new("eu").ok(), coordinates: Coordinates::new(50.0, 8.5).ok() }.known();
    member
}

pub(crate) fn entry() -> Entry {
    Entry { gateway: GATEWAY, member: member(), presented: Attach(1), age_ms: 6 }
}

/// Somebody who waits to be let in.
pub(crate) fn knock() -> Knock {
    Knock { peer: peer(3), profile: member().profile, since: Unix::from_secs(6) }
}

fn signal() -> Signal {
    let content = Content {
        connection: Some(json(r#"{"mine":"x"}"#)),
        kind: ByteString::from_static("offer"),
        payload: json(r#"{"sdp": "v=0\r\n"}"#),
    };
    Signal { from: peer(1), to: peer(2), id: u64::MAX, settled: 0, content }
}

fn ack() -> Ack {
    Ack { from: peer(1), to: peer(2), id: 3 }
}

pub(crate) fn add(all: &mut Samples) {
    to_rooms(all);
    from_rooms(all);
    for (name, body) in [(".signal", DirectBody::Signal(signal())), (".ack", DirectBody::Ack(ack()))] {
        match &body {
            DirectBody::Signal(_) | DirectBody::Ack(_) => {}
        }
        parcel(all, name, Body::Direct(Direct { room: room(), gateway: GATEWAY, body }));
    }
}

fn home() -> Home {
    Home { shard: Shard(5), since: Since(Epoch(2), 3) }
}

fn to_rooms(all: &mut Samples) {
    let left = vec![(peer(9), LeaveReason::Lost)];
    let held = Held { roster: vec![entry()], left, broadcasts: 7, returns: Vec::new() };
    let returned = Returned { member: member(), presented: Attach(4), age_ms: 5, attached_ms: 6 };
    let came_back = Held { returns: vec![returned], ..Held::default() };
    let (marks, presented) = (BTreeMap::from([(peer(2), 3)]), Attach(4));
    let bodies = [
        RoomInput::Attach { held: Some(Box::new(held)), since: Since::default() },
        RoomInput::Attach { held: None, since: home().since },
        RoomInput::Attach { held: Some(Box::new(came_back)), since: Since::default() },
        RoomInput::Follows { home: home() },
        RoomInput::AtHome {
            site: (Shard(5), Epoch(6)),
            asked: 7,
            held: Some(home().since),
            to: Some(Shard(8)),
        },
        RoomInput::Check { n: Change(3), digest: u64::MAX, lobby: None },
        RoomInput::Check { n: Change(3), digest: u64::MAX, lobby: Some(4) },
        RoomInput::Detach,
        RoomInput::Announce { member: member(), marks, presented, age_ms: 5, attached_ms: 4 },
        RoomInput::Announce {
            member: placed(),
            marks: BTreeMap::new(),
            presented,
            age_ms: 5,
            attached_ms: 4,
        },
        RoomInput::Leave { peer: peer(1), reason: LeaveReason::Left },
        RoomInput::Signal(signal()),
        RoomInput::Signal(Signal { settled: u64::MAX - 1, ..signal() }),
        RoomInput::Ack(ack()),
        RoomInput::Broadcast { from: peer(1), payload: json("[null, 1.50]") },
        RoomInput::Kick { by: peer(1), peer: peer(2), ban: true },
        RoomInput::Mute {
            by: peer(1),
            peer: peer(2),
            muting: Muting { publish: true, broadcast: false, on: true },
        },
        RoomInput::Announce {
            member: Member { withheld: WITHHELD, ..member() },
            marks: BTreeMap::new(),
            presented,
            age_ms: 5,
            attached_ms: 4,
        },
    ];
    for body in bodies.into_iter().chain(verdicts()) {
        let name = input_name(&body);
        let frame = ToRoom { room: room(), shard: Shard(1), epoch: Epoch(2), gateway: GATEWAY, body };
        parcel(all, name, Body::ToRoom(frame));
    }
}

fn input_name(input: &RoomInput) -> &'static str {
    match input {
        RoomInput::Attach { held: Some(held), .. } if !held.returns.is_empty() => ".attach_returns",
        RoomInput::Attach { since: Since(_, 0), .. } => ".attach",
        RoomInput::Attach { .. } => ".attach_homed",
        RoomInput::Follows { .. } => ".follows",
        RoomInput::AtHome { .. } => ".at_home",
        RoomInput::Check { lobby: Some(_), .. } => ".check_lobby",
        RoomInput::Check { .. } => ".check",
        RoomInput::Detach => ".detach",
        RoomInput::Announce { member, .. } if member.seat.place.is_some() => ".announce_placed",
        RoomInput::Announce { member, .. } if member.withheld.n > 0 => ".announce_muted",
        RoomInput::Announce { .. } => ".announce",
        RoomInput::Leave { .. } => ".leave",
        RoomInput::Signal(Signal { settled: 0, .. }) => ".signal",
        RoomInput::Signal(_) => ".signal_settled",
        RoomInput::Ack(_) => ".ack",
        RoomInput::Broadcast { .. } => ".broadcast",
        RoomInput::Kick { .. } => ".kick",
        RoomInput::Mute { .. } => ".mute",
        RoomInput::Judge { verdict: Verdict::Admit, .. } => ".admit",
        RoomInput::Judge { .. } => ".deny",
    }
}

fn verdicts() -> [RoomInput; 2] {
    let (by, peer) = (peer(1), peer(2));
    let deny = Verdict::Deny { reason: Some("no".into()) };
    [Verdict::Admit, deny].map(|verdict| RoomInput::Judge { by, peer, verdict })
}

fn from_rooms(all: &mut Samples) {
    let (peer, to, attach) = (peer(1), peer(2), Attach(2));
    let left = vec![(self::peer(9), LeaveReason::Lost)];
    let refusal = Refusal::new(ErrorCode::RoomFull, "full").about(peer, 3);
    let bodies = [
        ProxyInput::Here { n: Change(3), roster: vec![entry()], broadcasts: 2, left },
        ProxyInput::Homed { shard: Shard(5), epoch: Epoch(6), since: Since::default() },
        ProxyInput::Homed { shard: Shard(5), epoch: Epoch(6), since: home().since },
        ProxyInput::Home { site: (Shard(5), Epoch(6)), asked: 7, home: home() },
        ProxyInput::Ask { since: Since::default() },
        ProxyInput::Ask { since: home().since },
        ProxyInput::Refused { epoch: Epoch(6) },
        ProxyInput::NotAdmitted { peer, refusal: refusal.clone() },
        ProxyInput::Gone { peer, attach, reason: GoneReason::Replaced, presented: attach, tie: true },
        ProxyInput::Signal(signal()),
        ProxyInput::Taken { from: peer, to, id: 3 },
        ProxyInput::Ack(ack()),
        ProxyInput::Undelivered { from: peer, to, id: 3, was_here: true },
        ProxyInput::Broadcast { from: Some(peer), n: 3, payload: json("null") },
        ProxyInput::Broadcast { from: None, n: 4, payload: json("null") },
        ProxyInput::Error { peer, refusal },
        ProxyInput::Waits { peer, position: 3 },
        ProxyInput::Lobby { waiting: vec![knock()] },
        ProxyInput::Knock(knock()),
        ProxyInput::KnockGone { peer },
    ];
    for body in bodies.into_iter().chain(changes()) {
        let name = match &body {
            ProxyInput::Here { .. } => ".here",
            ProxyInput::Homed { since: Since(_, 0), .. } => ".homed",
            ProxyInput::Homed { .. } => ".homed_since",
            ProxyInput::Home { .. } => ".home",
            ProxyInput::Ask { since: Since(_, 0) } => ".ask",
            ProxyInput::Ask { .. } => ".ask_since",
            ProxyInput::Refused { .. } => ".refused",
            ProxyInput::Changed { change, .. } => change_name(change),
            ProxyInput::NotAdmitted { .. } => ".not_admitted",
            ProxyInput::Gone { .. } => ".gone",
            ProxyInput::Signal(_) => ".signal",
            ProxyInput::Taken { .. } => ".taken",
            ProxyInput::Ack(_) => ".ack",
            ProxyInput::Undelivered { .. } => ".undelivered",
            ProxyInput::Broadcast { from: None, .. } => ".broadcast_operator",
            ProxyInput::Broadcast { .. } => ".broadcast",
            ProxyInput::Error { .. } => ".error",
            ProxyInput::Waits { .. } => ".waits",
            ProxyInput::Lobby { .. } => ".lobby",
            ProxyInput::Knock(_) => ".knock",
            ProxyInput::KnockGone { .. } => ".knock_gone",
        };
        let frame = FromRoom { room: room(), shard: Shard(1), epoch: Epoch(2), body };
        parcel(all, name, Body::FromRoom(frame));
    }
}

const fn change_name(change: &RoomChange) -> &'static str {
    match change {
        RoomChange::Joined(_) => ".changed.joined",
        RoomChange::Left { .. } => ".changed.left",
        RoomChange::Away { .. } => ".changed.away",
        RoomChange::Back { .. } => ".changed.back",
        RoomChange::Updated { .. } => ".changed.updated",
        RoomChange::Withheld { .. } => ".changed.withheld",
    }
}

fn changes() -> impl Iterator<Item = ProxyInput> {
    let (peer, attach, gateway) = (peer(1), Attach(2), GATEWAY);
    let marks = BTreeMap::from([(peer, 3)]);
    [
        RoomChange::Joined(entry()),
        RoomChange::Left { peer, reason: LeaveReason::Replaced },
        RoomChange::Away { peer, attach, gateway },
        RoomChange::Back { peer, attach, gateway, marks, presented: attach },
        RoomChange::Updated { peer, profile: member().profile, version: 9 },
        RoomChange::Withheld { peer, withheld: WITHHELD },
    ]
    .into_iter()
    .map(|change| ProxyInput::Changed { n: Change(4), broadcasts: 5, change })
}
