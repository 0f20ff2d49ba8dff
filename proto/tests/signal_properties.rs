//! What must hold whatever a client writes on its WebSocket: nothing panics, what is refused is said
//! with a code, and nobody who was welcomed is thrown out for a frame that is wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test fails by panic, and makes small numbers of its own"
)]

use std::time::Duration;

use chappe_proto::id::{AppId, Attach, Change, Epoch, PeerId, RoomKey, RoomName, SessionId};
use chappe_proto::limits;
use chappe_proto::select::Place;
use chappe_proto::signal::code::{CloseCode, ErrorCode};
use chappe_proto::signal::frame::ClientFrame;
use chappe_proto::signal::member::{Grants, Member, Policy, Profile, Seat, Withheld};
use chappe_proto::signal::route::{Content, Signal, ToSession};
use chappe_proto::signal::session::{Output, Session, Start, World};
use chappe_proto::time::{Mono, Now, Unix};
use proptest::prelude::*;
use serde_json::Value;

// ------------------------------------------------------------------------------------------ frames

fn peer(n: u8) -> PeerId {
    PeerId::from_random([n; 15])
}

/// A good frame of each type.
fn frames() -> Vec<String> {
    let (ada, ben) = (peer(1), peer(2));
    [
        r#"{"type":"join","room":"tower","token":"a.b.c","name":"Ada","metadata":{"a":[1,null,"x"]}}"#.to_owned(),
        format!(r#"{{"type":"join","room":"tower","identity":"ada","resume":"xyz","marks":{{"{ben}":7}}}}"#),
        format!(
            r#"{{"type":"signal","to":"{ben}","id":1,"kind":"offer","connection":{{"mine":"x"}},"payload":{{"sdp":"v=0"}}}}"#
        ),
        format!(r#"{{"type":"ack","from":"{ben}","id":1}}"#),
        r#"{"type":"broadcast","payload":{"text":"\u00e4 \ud83d\ude00"}}"#.to_owned(),
        r#"{"type":"ice"}"#.to_owned(),
        r#"{"type":"probes","edges":{"e1":12.5,"e2":0.0}}"#.to_owned(),
        r#"{"type":"ice_failed","edge":"e1","kind":"stalled"}"#.to_owned(),
        format!(
            r#"{{"type":"connections","peers":{{"{ben}":{{"state":"connected","local":"relay","remote":"srflx"}}}}}}"#
        ),
        r#"{"type":"update","name":"Ada L.","metadata":null}"#.to_owned(),
        format!(r#"{{"type":"kick","peer":"{ada}","ban":true}}"#),
        r#"{"type":"leave"}"#.to_owned(),
        r#"{"type":"ping","t":17}"#.to_owned(),
        r#"{"type":"pong"}"#.to_owned(),
    ]
    .to_vec()
}

/// What replaces a value, or a piece of the text.
fn odd() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("-1".to_owned()),
        Just("1e400".to_owned()),
        Just("18446744073709551615".to_owned()),
        Just("18446744073709551616".to_owned()),
        Just("0.5".to_owned()),
        Just("\"\"".to_owned()),
        Just("\"\\ud800\"".to_owned()),
        Just("\"p_\"".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("{\"type\":\"leave\"}".to_owned()),
        Just("[".repeat(200)),
        Just("\"type\":\"signal\",".to_owned()),
        Just(peer(2).to_string()),
        (0usize..20_000).prop_map(|length| format!("\"{}\"", "x".repeat(length))),
        any::<String>(),
    ]
}

/// A frame, bent in a few places, on borders of characters.
fn bent() -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), 0usize..12, odd());
    (any::<prop::sample::Index>(), prop::collection::vec(edit, 0..4)).prop_map(|(which, edits)| {
        let frames = frames();
        let mut text = which.get(&frames).clone();
        for (at, length, with) in edits {
            let borders: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let from = at.index(borders.len());
            let to = (from + length).min(borders.len() - 1);
            text.replace_range(borders[from]..borders[to], &with);
        }
        text
    })
}

/// A frame whose fields have other values, or other names, than they should.
fn swapped() -> impl Strategy<Value = String> {
    let field = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), odd());
    (any::<prop::sample::Index>(), prop::collection::vec(field, 0..3)).prop_map(|(which, fields)| {
        let frames = frames();
        let mut frame: serde_json::Map<String, Value> =
            serde_json::from_str(which.get::<String>(&frames)).unwrap();
        for (from, to, odd) in fields {
            let names: Vec<String> = frame.keys().cloned().collect();
            let value = serde_json::from_str(&odd).unwrap_or(Value::String(odd));
            let (from, to): (&String, &String) = (from.get(&names), to.get(&names));
            let value = if from == to { value } else { frame[from].clone() };
            frame.insert(to.clone(), value);
        }
        Value::Object(frame).to_string()
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![2 => any::<String>(), 4 => bent(), 4 => swapped()]
}

/// Reading a text gives a frame, or a refusal that a client can do something with.
fn read(text: &str) {
    let Err(refusal) = ClientFrame::read(text) else { return };
    let expected = [ErrorCode::Malformed, ErrorCode::UnknownType, ErrorCode::TooLarge, ErrorCode::BadPeer];
    assert!(expected.contains(&refusal.code), "{refusal}");
    assert!(!refusal.message.is_empty() && refusal.message.len() < 400, "{refusal}");
    // What is said about a signal is said by its receiver and number.
    assert_eq!(refusal.to.is_some(), refusal.id.is_some(), "{refusal}");
}

#[test]
fn good_frames_are_read() {
    for frame in frames() {
        ClientFrame::read(&frame).unwrap_or_else(|refusal| panic!("{frame}: {refusal}"));
    }
}

#[test]
fn nesting_is_refused_before_it_fills_the_stack() {
    for open in ["[", "{\"a\":"] {
        let deep = open.repeat(limits::CLIENT_FRAME_MAX / open.len() / 2);
        for frame in [deep.clone(), format!(r#"{{"type":"broadcast","payload":{deep}"#)] {
            assert!(ClientFrame::read(&frame).is_err());
        }
    }
}

#[test]
fn a_frame_over_the_limit_is_refused_whatever_it_holds() {
    let frame = format!(r#"{{"type":"ping","x":"{}"}}"#, "x".repeat(limits::CLIENT_FRAME_MAX));
    assert_eq!(ClientFrame::read(&frame).unwrap_err().code, ErrorCode::TooLarge);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_without_panic(text: String) {
        read(&text);
    }

    #[test]
    fn bent_frames_are_read_without_panic(text in bent()) {
        read(&text);
    }

    #[test]
    fn frames_with_other_values_are_read_without_panic(text in swapped()) {
        read(&text);
    }
}

// ---------------------------------------------------------------------------------------- sessions

const START: Now =
    Now { mono: Mono(Duration::from_secs(1000)), unix: Unix(Duration::from_secs(1_700_000_000)) };

/// A session with a socket, welcomed or not.
fn session(welcomed: bool, policy: Policy, seed: [u8; 32]) -> Session {
    let seat = Seat {
        peer: peer(1),
        session: SessionId::from_random([3; 15]),
        grants: Grants { admin: true, ..Grants::ANONYMOUS },
        capacity: None,
        token_until: Unix::from_secs(1_800_000_000),
        place: None,
    };
    let profile = Profile { identity: None, name: None, metadata: None };
    let member = Member {
        seat,
        profile: profile.clone(),
        version: 0,
        attach: Attach(1),
        away: false,
        admitted: None,
        withheld: Withheld::NONE,
    };
    let room = RoomKey { app: AppId::new("dev").unwrap(), room: RoomName::new("tower").unwrap() };
    let start = Start { room, member, policy, place: Place::default(), rebuilt: None, seed };
    let mut out = Vec::new();
    let mut session = Session::new(START, start, &mut out);
    if welcomed {
        let admitted = ToSession::Admitted {
            withheld: Withheld::NONE,
            attach: Attach(1),
            at: (Epoch(1), Change(1)),
            profile: (profile, 0),
            others: Vec::new(),
            broadcasts: 0,
        };
        session.handle_proxy(START, &World::default(), admitted, &mut out);
        assert!(out.iter().any(|it| matches!(it, Output::Text(text) if text.contains("\"welcome\""))));
    }
    session
}

/// A signal to the session: what it has to acknowledge.
fn signal(id: u64) -> ToSession {
    let ClientFrame::Signal { content, .. } = ClientFrame::read(&frames()[2]).unwrap() else { panic!() };
    let content = Content { payload: content.payload.clone(), ..content };
    ToSession::Signal(Signal { from: peer(2), to: peer(1), id, settled: 0, content })
}

#[derive(Debug, Clone)]
enum Step {
    Text(String),
    Signal,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => text().prop_map(Step::Text),
        1 => Just(Step::Signal),
        1 => (0u64..20_000).prop_map(Step::Wait),
    ]
}

/// Whether this text is a `leave`, by which a client itself ends its session.
fn leaves(text: &str) -> bool {
    matches!(ClientFrame::read(text), Ok(ClientFrame::Leave))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whoever was welcomed stays, whatever it writes, until it leaves. Over its rate its socket is
    /// closed, with a code that resumes; the session is there for it.
    #[test]
    fn no_text_ends_the_session_of_one_who_was_welcomed(
        seed: [u8; 32],
        rate in prop_oneof![3 => Just(limits::FRAMES_PER_SEC), 1 => Just(1u32)],
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let policy = Policy { frames_per_sec: rate, frames_burst: rate.max(2), ..Policy::default() };
        let mut session = session(true, policy, seed);
        let (world, mut now, mut signals, mut closed) = (World::default(), START, 0, false);
        for step in steps {
            let mut out = Vec::new();
            let mut left = false;
            match step {
                Step::Text(text) => {
                    left = leaves(&text);
                    session.handle_text(now, &world, &text, &mut out);
                }
                Step::Signal => {
                    signals += 1;
                    session.handle_proxy(now, &world, signal(signals), &mut out);
                }
                Step::Wait(ms) => {
                    now = now.after(Duration::from_millis(ms));
                    session.handle_timeout(now, &world, &mut out);
                }
            }
            for output in &out {
                match output {
                    Output::Close(code) => {
                        prop_assert!(!closed, "closed twice");
                        let fair = matches!(code, CloseCode::Rate | CloseCode::Silent) || left;
                        prop_assert!(fair, "closed as {:?}", code);
                        closed = true;
                    }
                    Output::Text(text) => {
                        let frame: Value = serde_json::from_str(text).unwrap();
                        prop_assert!(frame["type"].is_string(), "{}", text);
                    }
                    Output::Over => prop_assert!(left || closed, "over"),
                    Output::Proxy(_) => {}
                    Output::IceReport { .. } => prop_assert!(false, "it was handed no edge"),
                }
            }
            if session.is_over() {
                prop_assert!(left || closed);
                break;
            }
            prop_assert!(session.unacknowledged() <= limits::OUTBOXES_MAX * limits::UNACKED_MAX);
        }
        if !closed {
            prop_assert!(!session.is_over());
        }
    }

    /// Before the welcome nothing is done but pings, a goodbye, and refusals.
    #[test]
    fn no_text_passes_before_the_welcome(seed: [u8; 32], texts in prop::collection::vec(text(), 0..40)) {
        let mut session = session(false, Policy::default(), seed);
        for text in texts {
            let mut out = Vec::new();
            session.handle_text(START, &World::default(), &text, &mut out);
            if session.is_over() {
                prop_assert!(leaves(&text) || out.iter().any(|it| matches!(it, Output::Close(CloseCode::Rate))));
                break;
            }
            let only_texts = out.iter().all(|output| matches!(output, Output::Text(_)));
            prop_assert!(only_texts, "{:?}", out);
        }
    }
}
