//! Reading what a client sends.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytestring::ByteString;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::super::code::{ErrorCode, Refusal};
use super::super::connection::Connection;
use super::super::json::Json;
use super::super::lobby::Verdict;
use super::super::member::Muting;
use super::super::route::Content;
use crate::id::{EdgeId, Identity, PeerId, RoomName};
use crate::limits;

/// What a client sends.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientFrame {
    /// The first frame: a fresh join, or with `resume` a return.
    Join(Box<Join>),
    /// A directed signal.
    Signal {
        /// The receiver.
        to: PeerId,
        /// Its id.
        id: u64,
        /// What it says.
        content: Content,
    },
    /// Every signal of `from` up to `id` has been taken.
    Ack {
        /// The sender.
        from: PeerId,
        /// The last id taken.
        id: u64,
    },
    /// To all others.
    Broadcast(Json),
    /// Asks for fresh `ice_servers`.
    Ice,
    /// Round-trip times to edges, in milliseconds.
    Probes(BTreeMap<EdgeId, f64>),
    /// ICE did not work over an edge.
    IceFailed {
        /// Which.
        edge: EdgeId,
        /// How.
        kind: IceFailure,
    },
    /// How the media connections to others are, all of them: for operators alone.
    Connections(BTreeMap<PeerId, Connection>),
    /// Another name, other metadata.
    Update {
        /// The name, where it changes.
        name: Option<String>,
        /// The metadata, where it changes.
        metadata: Option<Json>,
    },
    /// Removes a peer.
    Kick {
        /// Whom.
        peer: PeerId,
        /// And keeps it out.
        ban: bool,
    },
    /// Takes grants of a peer away, or gives them back.
    Mute {
        /// Whose.
        peer: PeerId,
        /// Which.
        muting: Muting,
    },
    /// Answers one who waits to be let in.
    Judge {
        /// Whom.
        peer: PeerId,
        /// How.
        verdict: Verdict,
    },
    /// Goodbye.
    Leave,
    /// Are you there?
    Ping(Option<Json>),
    /// I am.
    Pong,
}

/// How ICE did not work over an edge. An edge is judged by how many clients say so, of those who use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IceFailure {
    /// None of its URLs gave a relayed address, while another edge's did or a direct path was found.
    NoRelay,
    /// A connection over it had come about, and received nothing any more.
    Stalled,
    /// What a newer release of a client says.
    #[serde(other)]
    Other,
}

/// A `join`.
#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    /// The room.
    pub room: RoomName,
    /// A JWT.
    pub token: Option<String>,
    /// Who one is, where anonymous joins are allowed.
    pub identity: Option<Identity>,
    /// A name to show.
    pub name: Option<String>,
    /// Whatever the app wants others to see.
    pub metadata: Option<Json>,
    /// A resume token.
    pub resume: Option<String>,
    /// With `resume`: the last signal taken of each sender.
    pub marks: BTreeMap<PeerId, u64>,
}

/// Every field that any frame has, so that a frame is read once, whatever its `type`. What is in a
/// field is looked at only where it belongs to the frame.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(rename = "type", borrow, default, deserialize_with = "any_value")]
    kind_of_frame: Field<'a>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    room: Field<'a>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    token: Field<'a>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    identity: Field<'a>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    name: Field<'a>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    metadata: Field<'a>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    resume: Field<'a>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    marks: Field<'a>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    to: Field<'a>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    from: Field<'a>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    peer: Field<'a>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    id: Field<'a>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    connection: Field<'a>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    kind: Field<'a>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    payload: Field<'a>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    edges: Field<'a>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    edge: Field<'a>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    peers: Field<'a>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    ban: Field<'a>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    grants: Field<'a>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    reason: Field<'a>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    t: Field<'a>,
}

type Field<'a> = Option<&'a RawValue>;

/// `null` is a value too (of `payload`); without this it would read as none.
fn any_value<'de, D: Deserializer<'de>>(from: D) -> Result<Field<'de>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

impl ClientFrame {
    /// Reads one text frame.
    ///
    /// # Errors
    /// `malformed`, `unknown_type` and `too_large`, with the field that is wrong.
    pub fn read(text: &str) -> Result<Self, Refusal> {
        if text.len() > limits::CLIENT_FRAME_MAX {
            return Err(too_large("frame", text.len(), limits::CLIENT_FRAME_MAX));
        }
        if !text.trim_ascii_start().starts_with('{') {
            return Err(malformed("a frame is a JSON object")); // serde would take an array for one
        }
        let raw: Raw<'_> =
            serde_json::from_str(text).map_err(|e| Refusal::new(ErrorCode::Malformed, e.to_string()))?;
        match &*need(words(raw.kind_of_frame, "type")?, "type")? {
            "join" => raw.join(),
            "signal" => raw.signal(),
            "ack" => Ok(Self::Ack { from: peer(raw.from, "from")?, id: number(raw.id, "id")? }),
            "broadcast" => Ok(Self::Broadcast(payload(raw.payload)?)),
            "ice" => Ok(Self::Ice),
            "probes" => raw.probes(),
            "ice_failed" => raw.ice_failed(),
            "connections" => raw.connections(),
            "update" => raw.update(),
            "kick" => {
                let ban = read(raw.ban, "ban", "true or false")?.unwrap_or(false);
                Ok(Self::Kick { peer: peer(raw.peer, "peer")?, ban })
            }
            "mute" => raw.mute(true),
            "unmute" => raw.mute(false),
            "admit" => Ok(Self::Judge { peer: peer(raw.peer, "peer")?, verdict: Verdict::Admit }),
            "deny" => raw.deny(),
            "leave" => Ok(Self::Leave),
            "ping" => {
                // A number that others read too: not 1e400.
                let number = |t: &&RawValue| serde_json::from_str::<f64>(t.get()).is_ok();
                let t = raw.t.filter(|t| t.get().len() <= 32).filter(number);
                Ok(Self::Ping(t.map(Json::from_raw)))
            }
            "pong" => Ok(Self::Pong),
            other => {
                let shown: String = other.chars().take(40).collect();
                Err(Refusal::new(ErrorCode::UnknownType, format!("no frame has the type {shown:?}")))
            }
        }
    }
}

macro_rules! bad_name {
    ($field:literal) => {
        concat!("`", $field, "` is not 1 to 128 of A-Z a-z 0-9 -_.~:@, or is . or ..")
    };
}
impl Raw<'_> {
    fn join(self) -> Result<ClientFrame, Refusal> {
        let room = need(words(self.room, "room")?, "room")?;
        let identity = match words(self.identity, "identity")? {
            Some(text) => {
                let fine = Identity::new(&text).ok().filter(|identity| !identity.is_lost_in_paths());
                Some(fine.ok_or_else(|| malformed(bad_name!("identity")))?)
            }
            None => None,
        };
        let room = RoomName::new(&room).ok().filter(|room| !room.is_lost_in_paths());
        let token = |field, name| match words(field, name)? {
            Some(text) => within(name, text.len(), limits::TOKEN_MAX).map(|()| Some(text.into_owned())),
            None => Ok(None),
        };
        let marks: BTreeMap<PeerId, u64> =
            read(self.marks, "marks", "an object of peer ids and whole numbers")?.unwrap_or_default();
        within("marks", marks.len(), limits::MARKS_MAX)?;
        Ok(ClientFrame::Join(Box::new(Join {
            room: room.ok_or_else(|| malformed(bad_name!("room")))?,
            token: token(self.token, "token")?,
            identity,
            name: shown_name(self.name)?,
            metadata: metadata(self.metadata)?,
            resume: token(self.resume, "resume")?,
            marks,
        })))
    }

    fn signal(self) -> Result<ClientFrame, Refusal> {
        let (to, id) = (peer(self.to, "to")?, number(self.id, "id")?);
        let content = || {
            let kind = need(words(self.kind, "kind")?, "kind")?;
            if kind.is_empty() {
                return Err(malformed("`kind` is empty"));
            }
            within("kind", kind.len(), limits::KIND_MAX)?;
            let connection = self.connection.filter(|connection| connection.get() != "null");
            // Two ids and their punctuation.
            let connection_max = 2 * limits::CONNECTION_MAX + 64;
            within("connection", connection.map_or(0, |c| c.get().len()), connection_max)?;
            Ok(Content {
                connection: connection.map(Json::from_raw),
                kind: ByteString::from(&*kind),
                payload: payload(self.payload)?,
            })
        };
        let content = content().map_err(|refusal: Refusal| refusal.about(to, id))?;
        Ok(ClientFrame::Signal { to, id, content })
    }

    fn probes(self) -> Result<ClientFrame, Refusal> {
        let of = "an object of edges and milliseconds";
        let edges: BTreeMap<EdgeId, f64> = need(read(self.edges, "edges", of)?, "edges")?;
        within("edges", edges.len(), limits::PROBES_MAX)?;
        if edges.values().any(|rtt| !rtt.is_finite() || *rtt < 0.0) {
            return Err(malformed("`edges` is not an object of edges and milliseconds"));
        }
        Ok(ClientFrame::Probes(edges))
    }

    fn ice_failed(self) -> Result<ClientFrame, Refusal> {
        let edge: EdgeId = need(read(self.edge, "edge", "an edge")?, "edge")?;
        let kind = need(read(self.kind, "kind", "a text")?, "kind")?;
        Ok(ClientFrame::IceFailed { edge, kind })
    }

    fn connections(self) -> Result<ClientFrame, Refusal> {
        let of = "an object of peer ids and {state, local?, remote?}";
        let peers: BTreeMap<PeerId, Connection> = need(read(self.peers, "peers", of)?, "peers")?;
        within("peers", peers.len(), limits::CONNECTIONS_MAX)?;
        Ok(ClientFrame::Connections(peers))
    }

    fn mute(self, on: bool) -> Result<ClientFrame, Refusal> {
        let said = "a list of `publish` and `broadcast`";
        let names: Option<Vec<Cow<'_, str>>> = read(self.grants, "grants", said)?;
        let muting = match &names {
            Some(names) => Muting::of_names(names.iter().map(|name| &**name), on),
            None => Muting::of_names(["publish"], on),
        };
        let muting =
            muting.ok_or_else(|| malformed("`grants` is not a list of `publish` and `broadcast`"))?;
        Ok(ClientFrame::Mute { peer: peer(self.peer, "peer")?, muting })
    }

    fn deny(self) -> Result<ClientFrame, Refusal> {
        let reason = deny_reason(words(self.reason, "reason")?.as_deref())?;
        Ok(ClientFrame::Judge { peer: peer(self.peer, "peer")?, verdict: Verdict::Deny { reason } })
    }

    fn update(self) -> Result<ClientFrame, Refusal> {
        let (name, metadata) = (shown_name(self.name)?, metadata(self.metadata)?);
        Ok(ClientFrame::Update { name, metadata })
    }
}

/// The value of a field, where it is there and not `null`; `what` says what it must be.
fn read<'a, T: Deserialize<'a>>(field: Field<'a>, name: &str, what: &str) -> Result<Option<T>, Refusal> {
    let Some(raw) = field.filter(|raw| raw.get() != "null") else { return Ok(None) };
    let wrong = |_| Refusal::new(ErrorCode::Malformed, format!("`{name}` is not {what}"));
    serde_json::from_str(raw.get()).map(Some).map_err(wrong)
}

fn words<'a>(field: Field<'a>, name: &str) -> Result<Option<Cow<'a, str>>, Refusal> {
    /// Borrows where it can, as `Cow` by itself does not.
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    Ok(read::<Text<'_>>(field, name, "a text")?.map(|text| text.0))
}

fn number(field: Field<'_>, name: &str) -> Result<u64, Refusal> {
    need(read(field, name, "a whole number")?, name)
}

fn payload(field: Field<'_>) -> Result<Json, Refusal> {
    let payload = need(field, "payload")?;
    within("payload", payload.get().len(), limits::PAYLOAD_MAX)?;
    Ok(Json::from_raw(payload))
}

fn malformed(message: &str) -> Refusal {
    Refusal::new(ErrorCode::Malformed, message)
}

fn too_large(what: &str, len: usize, max: usize) -> Refusal {
    Refusal::new(ErrorCode::TooLarge, format!("{what}: {len}, at most {max} allowed"))
}

fn within(what: &str, len: usize, max: usize) -> Result<(), Refusal> {
    if len > max { Err(too_large(what, len, max)) } else { Ok(()) }
}

fn need<T>(field: Option<T>, name: &str) -> Result<T, Refusal> {
    field.ok_or_else(|| Refusal::new(ErrorCode::Malformed, format!("`{name}` is missing")))
}

fn peer(field: Field<'_>, name: &str) -> Result<PeerId, Refusal> {
    let bad = |_| Refusal::new(ErrorCode::BadPeer, format!("`{name}` is not a peer id"));
    need(words(field, name)?, name)?.parse().map_err(bad)
}

fn shown_name(field: Field<'_>) -> Result<Option<String>, Refusal> {
    let Some(name) = words(field, "name")? else { return Ok(None) };
    within("name", name.len(), limits::NAME_MAX)?;
    Ok(Some(name.chars().filter(|c| !c.is_control()).collect()))
}

/// What somebody who is not let in is told: without control characters, none where nothing is left.
///
/// # Errors
/// `too_large` beyond [`limits::DENY_REASON_MAX`].
pub fn deny_reason(text: Option<&str>) -> Result<Option<String>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    within("reason", text.len(), limits::DENY_REASON_MAX)?;
    let text: String = text.trim().chars().filter(|c| !c.is_control()).collect();
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn metadata(field: Field<'_>) -> Result<Option<Json>, Refusal> {
    let Some(raw) = field.filter(|raw| raw.get() != "null") else { return Ok(None) };
    within("metadata", raw.get().len(), limits::METADATA_MAX)?;
    Ok(Some(Json::from_raw(raw)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> ErrorCode {
        ClientFrame::read(text).unwrap_err().code
    }

    #[test]
    fn reads_each_frame() {
        let peer = PeerId::from_random([7; 15]);
        let signal = format!(
            r#"{{"type":"signal","to":"{peer}","id":3,"connection":{{"mine":"a","yours":null}},"kind":"offer","payload":{{"sdp":"x"}},"new":1}}"#
        );
        let ClientFrame::Signal { to, id, content } = ClientFrame::read(&signal).unwrap() else {
            panic!("not a signal")
        };
        assert_eq!((to, id, &*content.kind), (peer, 3, "offer"));
        assert_eq!(content.payload.as_str(), r#"{"sdp":"x"}"#);
        let join = format!(r#"{{"type":"join","room":"r","resume":"x","marks":{{"{peer}":4}}}}"#);
        let ClientFrame::Join(join) = ClientFrame::read(&join).unwrap() else { panic!("not a join") };
        assert_eq!(join.marks[&peer], 4);
        assert_eq!(ClientFrame::read(r#"{"type":"leave"}"#).unwrap(), ClientFrame::Leave);
        for (t, back) in [("17", true), ("1.5e3", true), ("null", false), ("1e400", false), ("\"x\"", false)]
        {
            let frame = ClientFrame::read(&format!(r#"{{"type":"ping","t":{t}}}"#)).unwrap();
            assert_eq!(frame, ClientFrame::Ping(back.then(|| Json::parse(t).unwrap())), "{t}");
        }
        let mute = |kind: &str, more: &str| {
            let frame = ClientFrame::read(&format!(r#"{{"type":"{kind}","peer":"{peer}"{more}}}"#)).unwrap();
            let ClientFrame::Mute { peer: whom, muting } = frame else { panic!("not a mute") };
            assert_eq!(whom, peer);
            (muting.publish, muting.broadcast, muting.on)
        };
        assert_eq!(mute("mute", ""), (true, false, true), "what a mute is of where nothing is named");
        assert_eq!(mute("unmute", r#","grants":["broadcast","publish"]"#), (true, true, false));
        let judge = |kind: &str, more: &str| {
            let frame = ClientFrame::read(&format!(r#"{{"type":"{kind}","peer":"{peer}"{more}}}"#)).unwrap();
            let ClientFrame::Judge { peer: whom, verdict } = frame else { panic!("not an answer") };
            assert_eq!(whom, peer);
            verdict
        };
        assert_eq!(judge("admit", ""), Verdict::Admit);
        assert_eq!(judge("deny", r#","reason":" \n""#), Verdict::Deny { reason: None });
        let reason = Some("not now".to_owned());
        assert_eq!(judge("deny", r#","reason":"not\u0007 now""#), Verdict::Deny { reason });
        let failed = |kind: &str| {
            ClientFrame::read(&format!(r#"{{"type":"ice_failed","edge":"fra-1","kind":"{kind}"}}"#)).unwrap()
        };
        let edge = EdgeId::new("fra-1").unwrap();
        let of = |kind| ClientFrame::IceFailed { edge: edge.clone(), kind };
        assert_eq!(failed("no_relay"), of(IceFailure::NoRelay));
        assert_eq!(failed("stalled"), of(IceFailure::Stalled));
        assert_eq!(failed("of a later release"), of(IceFailure::Other));
    }

    #[test]
    fn refuses_by_name() {
        assert_eq!(code("{"), ErrorCode::Malformed);
        assert_eq!(code("[]"), ErrorCode::Malformed);
        assert_eq!(code(r#"{"type":"dance"}"#), ErrorCode::UnknownType);
        assert_eq!(code(r#"{"type":"join"}"#), ErrorCode::Malformed);
        for grants in ["[]", r#"["admin"]"#, r#""publish""#] {
            let peer = PeerId::from_random([7; 15]);
            let text = format!(r#"{{"type":"mute","peer":"{peer}","grants":{grants}}}"#);
            assert_eq!(code(&text), ErrorCode::Malformed, "{grants}");
        }
        let long = "x".repeat(limits::DENY_REASON_MAX + 1);
        let peer = PeerId::from_random([7; 15]);
        let deny = format!(r#"{{"type":"deny","peer":"{peer}","reason":"{long}"}}"#);
        assert_eq!(code(&deny), ErrorCode::TooLarge);
        assert_eq!(code(r#"{"type":"admit","peer":"ada"}"#), ErrorCode::BadPeer);
        assert_eq!(code(r#"{"type":"ice_failed","edge":"e"}"#), ErrorCode::Malformed);
        assert_eq!(code(r#"{"type":"ice_failed","edge":"e/e","kind":"stalled"}"#), ErrorCode::Malformed);
        for peers in
            ["[]".to_owned(), format!(r#"{{"{peer}":{{}}}}"#), r#"{"ada":{"state":"new"}}"#.to_owned()]
        {
            let text = format!(r#"{{"type":"connections","peers":{peers}}}"#);
            assert_eq!(code(&text), ErrorCode::Malformed, "{peers}");
        }
        let many = |n: usize| {
            let id = |i: usize| PeerId::from_random([u8::try_from(i).unwrap(); 15]);
            let all: Vec<String> = (0..n).map(|i| format!(r#""{}":{{"state":"new"}}"#, id(i))).collect();
            ClientFrame::read(&format!(r#"{{"type":"connections","peers":{{{}}}}}"#, all.join(",")))
        };
        assert!(many(limits::CONNECTIONS_MAX).is_ok());
        assert_eq!(many(limits::CONNECTIONS_MAX + 1).unwrap_err().code, ErrorCode::TooLarge);
        assert_eq!(code(r#"{"type":"join","room":"a/b"}"#), ErrorCode::Malformed);
        for lost in [".", ".."] {
            let refusal = ClientFrame::read(&format!(r#"{{"type":"join","room":"{lost}"}}"#)).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::Malformed);
            assert!(refusal.message.starts_with("`room` ") && refusal.message.ends_with(" or is . or .."));
            let text = format!(r#"{{"type":"join","room":"r","identity":"{lost}"}}"#);
            assert_eq!(code(&text), ErrorCode::Malformed);
        }
        assert!(ClientFrame::read(r#"{"type":"join","room":"...","identity":".a"}"#).is_ok());
        assert_eq!(code(&" ".repeat(limits::CLIENT_FRAME_MAX + 1)), ErrorCode::TooLarge);
        let long = format!(r#"{{"type":"broadcast","payload":"{}"}}"#, "x".repeat(limits::PAYLOAD_MAX));
        assert_eq!(code(&long), ErrorCode::TooLarge);
    }

    #[test]
    fn a_refused_signal_is_named() {
        let peer = PeerId::from_random([7; 15]);
        let text = format!(r#"{{"type":"signal","to":"{peer}","id":9,"kind":"x"}}"#);
        let refusal = ClientFrame::read(&text).unwrap_err();
        assert_eq!((refusal.to, refusal.id), (Some(peer), Some(9)));
    }
}
