//! Every frame between proxy and room reads back from the mesh's bytes as it was written.

#![allow(clippy::unwrap_used, reason = "a test fails by panic")]

use std::collections::BTreeMap;

use bytestring::ByteString;
use chappe_proto::id::{
    AppId, Attach, Change, Epoch, Generation, NodeId, PeerId, RoomKey, RoomName, SessionId, Shard,
};
use chappe_proto::signal::code::{ErrorCode, LeaveReason, Refusal};
use chappe_proto::signal::frame::GoneReason;
use chappe_proto::signal::json::Json;
use chappe_proto::signal::member::{Gateway, Grants, Member, Profile, Seat};
use chappe_proto::signal::route::{
    Ack, Content, Direct, DirectBody, Entry, FromRoom, Held, Home, ProxyInput, Returned, RoomChange,
    RoomInput, Signal, Since, ToRoom,
};
use chappe_proto::time::Unix;
use chappe_proto::wire;

const GATEWAY: Gateway = Gateway { node: NodeId(1), generation: Generation(2) };

fn peer(n: u8) -> PeerId {
    PeerId::from_random([n; 15])
}

fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

fn room() -> RoomKey {
    RoomKey { app: AppId::new("dev").unwrap(), room: RoomName::new("r").unwrap() }
}

fn member() -> Member {
    let (peer, session) = (peer(1), SessionId::from_random([3; 15]));
    let seat =
        Seat { peer, session, grants: Grants::ANONYMOUS, capacity: Some(4), token_until: Unix::from_secs(5) };
    let profile = Profile { identity: None, name: Some("Ada".into()), metadata: Some(json(r#"{"a": 1}"#)) };
    Member { seat, profile, version: 2, attach: Attach(1), away: true, admitted: Some((Epoch(1), Change(2))) }
}

fn home() -> Home {
    Home { shard: Shard(5), since: Since(Epoch(2), u64::MAX) }
}

fn signal() -> Signal {
    let content = Content {
        connection: Some(json(r#"{"mine":"x"}"#)),
        kind: ByteString::from_static("offer"),
        payload: json(r#"{"sdp": "v=0\r\n"}"#),
    };
    Signal { from: peer(1), to: peer(2), id: u64::MAX, settled: u64::MAX - 1, content }
}

#[test]
fn from_proxies() {
    let entry = Entry { gateway: GATEWAY, member: member(), presented: Attach(1), age_ms: 7 };
    let returned = Returned { member: member(), presented: Attach(4), age_ms: 5, attached_ms: 6 };
    let (left, returns) = (vec![(peer(9), LeaveReason::Lost)], vec![returned]);
    let held = Held { roster: vec![entry], left, broadcasts: 7, returns };
    let bodies = [
        RoomInput::Attach { held: None, since: Since::default() },
        RoomInput::Attach { held: Some(Box::new(held)), since: Since(Epoch(2), 3) },
        RoomInput::Follows { home: home() },
        RoomInput::AtHome {
            site: (Shard(5), Epoch(6)),
            asked: 7,
            held: Some(home().since),
            to: Some(Shard(8)),
        },
        RoomInput::Check { n: Change(3), digest: u64::MAX },
        RoomInput::Detach,
        RoomInput::Announce {
            member: member(),
            marks: BTreeMap::from([(peer(2), 3)]),
            presented: Attach(4),
            age_ms: 5,
            attached_ms: 6,
        },
        RoomInput::Leave { peer: peer(1), reason: LeaveReason::Left },
        RoomInput::Signal(signal()),
        RoomInput::Ack(Ack { from: peer(1), to: peer(2), id: 3 }),
        RoomInput::Broadcast { from: peer(1), payload: json("[null, 1.50]") },
        RoomInput::Kick { by: peer(1), peer: peer(2), ban: true },
    ];
    for body in bodies {
        let frame = ToRoom { room: room(), shard: Shard(1), epoch: Epoch(2), gateway: GATEWAY, body };
        let bytes = wire::encode(&frame).unwrap();
        let back = wire::decode::<ToRoom>(&bytes, bytes.len());
        assert_eq!(back.map_err(|e| e.to_string()), Ok(frame.clone()));
    }
}

#[test]
fn from_rooms() {
    let entry = Entry { gateway: GATEWAY, member: member(), presented: Attach(1), age_ms: 7 };
    let (peer, attach, gateway) = (peer(1), Attach(2), GATEWAY);
    let changed = |change| ProxyInput::Changed { n: Change(4), broadcasts: 5, change };
    let refusal = Refusal::new(ErrorCode::RoomFull, "full").about(peer, 3);
    let bodies = [
        ProxyInput::Here {
            n: Change(3),
            roster: vec![entry.clone()],
            left: vec![(peer, LeaveReason::Kicked)],
            broadcasts: 2,
        },
        ProxyInput::Homed { shard: Shard(5), epoch: Epoch(6), since: home().since },
        ProxyInput::Home { site: (Shard(5), Epoch(6)), asked: 7, home: home() },
        ProxyInput::Ask { since: home().since },
        ProxyInput::Refused { epoch: Epoch(6) },
        changed(RoomChange::Joined(entry)),
        changed(RoomChange::Left { peer, reason: LeaveReason::Replaced }),
        changed(RoomChange::Away { peer, attach, gateway }),
        changed(RoomChange::Back {
            peer,
            attach,
            gateway,
            marks: BTreeMap::from([(peer, 3)]),
            presented: attach,
        }),
        changed(RoomChange::Updated { peer, profile: member().profile, version: 9 }),
        ProxyInput::NotAdmitted { peer, refusal: refusal.clone() },
        ProxyInput::Gone { peer, attach, presented: attach, reason: GoneReason::Replaced, tie: true },
        ProxyInput::Signal(signal()),
        ProxyInput::Taken { from: peer, to: peer, id: 3 },
        ProxyInput::Ack(Ack { from: peer, to: peer, id: 3 }),
        ProxyInput::Undelivered { from: peer, to: peer, id: 3, was_here: true },
        ProxyInput::Broadcast { from: peer, n: 3, payload: json("null") },
        ProxyInput::Error { peer, refusal },
    ];
    for body in bodies {
        let frame = FromRoom { room: room(), shard: Shard(1), epoch: Epoch(2), body };
        let bytes = wire::encode(&frame).unwrap();
        let back = wire::decode::<FromRoom>(&bytes, bytes.len());
        assert_eq!(back.map_err(|e| e.to_string()), Ok(frame.clone()));
    }
}

#[test]
fn from_gateways() {
    let ack = Ack { from: peer(1), to: peer(2), id: 3 };
    for body in [DirectBody::Signal(signal()), DirectBody::Ack(ack)] {
        let frame = Direct { room: room(), gateway: GATEWAY, body };
        let bytes = wire::encode(&frame).unwrap();
        let back = wire::decode::<Direct>(&bytes, bytes.len());
        assert_eq!(back.map_err(|e| e.to_string()), Ok(frame.clone()));
    }
}
