//! The first frame of a socket: who is it, and which session is theirs. Who was moved is in [`moved`].

mod moved;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use bytestring::ByteString;
use chappe_proto::id::{Attach, Identity, PeerId, RoomKey, SessionId};
use chappe_proto::limits;
use chappe_proto::registry::{App, State};
use chappe_proto::select::Place;
use chappe_proto::signal::code::{ErrorCode, Refusal};
use chappe_proto::signal::frame::{ClientFrame, GoneReason, Join, ServerFrame};
use chappe_proto::signal::member::{Grants, Member, Profile, Seat, Withheld};
use chappe_proto::signal::moved::MoveToken;
use chappe_proto::signal::resume::{OpenError, Presented, ResumeToken};
use chappe_proto::signal::session::{Rebuilt, Start};
use chappe_proto::time::Now;

use self::moved::by_move;
use super::session::{Begun, Resume, SessionActor};
use super::socket::Socket;
use crate::clock;
use crate::node::Node;
use crate::token;

/// Where a socket comes from.
#[derive(Debug, Clone)]
pub struct Source {
    /// The client's address, as the connection or a trusted proxy says.
    pub ip: IpAddr,
    /// The `Origin` that a browser sent.
    pub origin: Option<String>,
    /// What the client calls itself, cut to [`limits::AGENT_MAX`].
    pub agent: Option<Arc<str>>,
}

/// The answer of an existing session to a resume.
pub type ResumeAnswer = Pin<Box<dyn Future<Output = Result<(), GoneReason>>>>;

/// What the first frame comes to.
pub enum Greeting {
    /// A session was made for the socket.
    Attached(Arc<Addr<SessionActor>>),
    /// A session of this node is asked to take the socket.
    Resuming(Arc<Addr<SessionActor>>, ResumeAnswer),
    /// The session cannot be resumed; the client may join afresh on this socket.
    Gone(GoneReason),
    /// Not a join, and answered.
    Answered(ByteString),
    /// Refused; the client may try again on this socket.
    Refused(Refusal),
}

/// Reads the first frame of a socket, and gives the socket to its session.
pub fn greet(node: &Arc<Node>, source: &Source, text: &str, socket: Socket) -> Greeting {
    let now = clock::now();
    let join = match ClientFrame::read(text) {
        Ok(ClientFrame::Join(join)) => join,
        Ok(ClientFrame::Ping(t)) => return Greeting::Answered(ServerFrame::Pong { t: t.as_ref() }.text()),
        Ok(_) => return Greeting::Refused(Refusal::new(ErrorCode::NotJoined, "the first frame is `join`")),
        Err(refusal) => return Greeting::Refused(refusal),
    };
    // Who was here before goes before who is new.
    let sources = if join.resume.is_some() { &node.resumes } else { &node.joins };
    if let Err(wait) = sources.take(now.mono, source.ip) {
        let refusal = Refusal::new(ErrorCode::Busy, "too many joins from this address");
        return Greeting::Refused(refusal.retry_after(wait + jitter()));
    }
    match &join.resume {
        Some(resume) => {
            let resume = resume.clone();
            return_to(node, now, source, &resume, *join, socket)
        }
        None if !node.admits() => Greeting::Refused(without_lease()),
        None => match admit(node, now, source, *join) {
            Ok(start) => attach(node, start, socket),
            Err(refusal) => Greeting::Refused(refusal),
        },
    }
}

/// A gateway that hears no leader takes nobody in: it may be cut off, and not know who was removed.
pub fn without_lease() -> Refusal {
    let message = "this node hears no leader of its cluster; try another node, or this one again";
    Refusal::new(ErrorCode::Unavailable, message).retry_after(limits::BUSY_RETRY + jitter())
}

fn attach(node: &Arc<Node>, start: Start, socket: Socket) -> Greeting {
    match SessionActor::begin(node, start, socket) {
        Begun::Here(session) => Greeting::Attached(session),
        Begun::Already { session, presented, marks, place, socket } => {
            ask(session, presented, marks, place, socket)
        }
        Begun::Full => {
            let refusal = Refusal::new(ErrorCode::Busy, "this node holds as many sessions as it can");
            Greeting::Refused(refusal.retry_after(Duration::from_secs(5)))
        }
    }
}

/// Asks a session to take the socket.
fn ask(
    session: Arc<Addr<SessionActor>>,
    presented: Presented,
    marks: BTreeMap<PeerId, u64>,
    place: Place,
    socket: Socket,
) -> Greeting {
    let asked = session.send(Resume { presented, marks, place, socket });
    let answer = async move { asked.await.unwrap_or(Err(GoneReason::Unknown)) }; // ended just now
    Greeting::Resuming(session, Box::pin(answer))
}

/// A return with a resume token.
fn return_to(
    node: &Arc<Node>,
    now: Now,
    source: &Source,
    resume: &str,
    join: Join,
    socket: Socket,
) -> Greeting {
    let state = node.registry.state();
    let token = match open(&state, now, resume) {
        Ok(token) if token.room.room == join.room => token,
        Ok(_) => return Greeting::Gone(GoneReason::Unknown),
        Err(greeting) => return *greeting,
    };
    if is_revoked(&state, now, &token.room, token.seat.session, token.identity.as_ref()) {
        return Greeting::Gone(GoneReason::Revoked);
    }
    if let Some(session) = node.sessions.get(&token.seat.session).filter(|session| session.connected()) {
        let place = node.place(&said(&token.seat), source.ip);
        return ask(session, token.presented(), join.marks, place, socket);
    }
    if !node.admits() {
        return Greeting::Refused(without_lease());
    }
    match rebuild(&state, now, token, join) {
        Some(start) => {
            let place = node.place(&said(&start.member.seat), source.ip);
            attach(node, Start { place, ..start }, socket)
        }
        None => Greeting::Gone(GoneReason::Unknown),
    }
}

/// Opens a resume token; or says what becomes of who brings it.
fn open(state: &State, now: Now, text: &str) -> Result<ResumeToken, Box<Greeting>> {
    ResumeToken::open(text, &Node::sealing_keys(state), now.unix).map_err(|error| {
        let newer = ResumeToken::sealed_by(text).is_some_and(|key| state.may_have_begun(key, now.unix));
        Box::new(match error {
            // Another gateway's registry is ahead of this one's by a key: the session is not lost.
            OpenError::Unknown if newer => Greeting::Refused(unheard_key()),
            OpenError::Unknown => Greeting::Gone(GoneReason::Unknown),
            OpenError::Expired => Greeting::Gone(GoneReason::Expired),
        })
    })
}

/// Another node or a moment later will open the token.
fn unheard_key() -> Refusal {
    let message = "the token is sealed with a key that this node has not heard of yet";
    Refusal::new(ErrorCode::Unavailable, message).retry_after(limits::BUSY_RETRY + jitter())
}

/// A session that every node has forgotten, made anew from its token: the same peer, its counters
/// and marks being its client's.
fn rebuild(state: &State, now: Now, token: ResumeToken, join: Join) -> Option<Start> {
    let policy = Node::policy(state, &token.room)?;
    let presented = token.presented();
    // What its client says now counts more than what the room still holds, and that more than the token.
    let says = join.name.is_some() || join.metadata.is_some();
    let (name, metadata) = (join.name.or(token.name), join.metadata.or(token.metadata));
    let member = Member {
        profile: Profile { identity: token.identity, name, metadata },
        version: if says { now.unix.millis() } else { 0 },
        attach: Attach(presented.attach.0 + 1),
        away: false,
        admitted: Some(token.admitted),
        withheld: token.withheld,
        seat: token.seat,
    };
    let rebuilt = Some(Rebuilt { presented, marks: join.marks });
    let place = Place::default();
    Some(Start { room: token.room, member, policy, place, rebuilt, seed: clock::random() })
}

/// What a token says of where its holder is.
fn said(seat: &Seat) -> Place {
    seat.place.as_deref().cloned().unwrap_or_default()
}

/// A fresh join.
fn admit(node: &Arc<Node>, now: Now, source: &Source, join: Join) -> Result<Start, Refusal> {
    let state = node.registry.state();
    let mut start = match join.token.clone() {
        Some(text) if MoveToken::is_one(&text) => by_move(&state, now, &text, join)?,
        Some(text) => by_token(&state, now, &text, join)?,
        None => anonymous(&state, now, join)?,
    };
    let app =
        state.app(&start.room.app).ok_or_else(|| Refusal::new(ErrorCode::TokenInvalid, "no such app"))?;
    check_origin(app, source.origin.as_deref())?;
    let identity = start.member.profile.identity.as_ref();
    if is_revoked(&state, now, &start.room, start.member.seat.session, identity) {
        return Err(Refusal::new(ErrorCode::Banned, "an admin removed you from this room"));
    }
    start.place = node.place(&start.place, source.ip);
    start.seed = clock::random();
    Ok(start)
}

/// Whether pages of this `Origin` may use an app's tokens; who sends none is no page.
///
/// # Errors
/// `forbidden`, with the origin.
pub fn check_origin(app: &App, origin: Option<&str>) -> Result<(), Refusal> {
    let allowed = &app.policy.origins;
    match origin {
        Some(origin) if !allowed.is_empty() && !allowed.iter().any(|allowed| allowed == origin) => {
            let message = format!("pages of {origin} may not join rooms of this app");
            Err(Refusal::new(ErrorCode::Forbidden, message))
        }
        _ => Ok(()),
    }
}

fn by_token(state: &State, now: Now, text: &str, join: Join) -> Result<Start, Refusal> {
    let claims = token::verify(text, state)?;
    let grants = claims.check(&join.room, now.unix)?;
    let key = state
        .key(&claims.iss)
        .ok_or_else(|| Refusal::new(ErrorCode::TokenInvalid, "iss: no such API key"))?;
    let metadata = join.metadata.or_else(|| claims.metadata());
    let until = claims.until();
    let place = claims.place();
    let seat =
        Seat { capacity: claims.capacity, place: place.clone().known(), token_until: until, ..seat(grants) };
    let profile = Profile { identity: claims.sub, name: join.name.or(claims.name), metadata };
    start(state, RoomKey { app: key.app.clone(), room: join.room }, seat, profile)
        .map(|start| Start { place, ..start })
}

fn anonymous(state: &State, now: Now, join: Join) -> Result<Start, Refusal> {
    let open = state.apps().find(|(_, app)| app.policy.anonymous);
    let Some((app, _)) = open else {
        return Err(Refusal::new(ErrorCode::TokenMissing, "token: needed; ask the app's server for one"));
    };
    let seat = Seat { token_until: now.unix, ..seat(Grants::ANONYMOUS) };
    let profile = Profile { identity: join.identity, name: join.name, metadata: join.metadata };
    start(state, RoomKey { app: app.clone(), room: join.room }, seat, profile)
}

fn seat(grants: Grants) -> Seat {
    Seat {
        peer: PeerId::from_random(clock::random()),
        session: SessionId::from_random(clock::random()),
        grants,
        capacity: None,
        token_until: chappe_proto::time::Unix::default(),
        place: None,
    }
}

fn start(state: &State, room: RoomKey, seat: Seat, profile: Profile) -> Result<Start, Refusal> {
    let unknown = || Refusal::new(ErrorCode::TokenInvalid, "no such app");
    let policy = Node::policy(state, &room).ok_or_else(unknown)?;
    let member = Member {
        seat,
        profile,
        version: 0,
        attach: Attach(1),
        away: false,
        admitted: None,
        withheld: Withheld::NONE,
    };
    Ok(Start { room, member, policy, place: Place::default(), rebuilt: None, seed: [0; 32] })
}

/// Whether a session, or an identity in this room, was kicked or banned.
pub fn is_revoked(
    state: &State,
    now: Now,
    room: &RoomKey,
    session: SessionId,
    identity: Option<&Identity>,
) -> bool {
    state.revoked(&session, now.unix).is_some()
        || identity.is_some_and(|identity| state.banned(room, identity, now.unix).is_some())
}

/// So that those who were told to wait do not all come back at once.
fn jitter() -> Duration {
    let [byte] = clock::random::<1>();
    limits::RETRY_JITTER * u32::from(byte) / 256
}

#[cfg(test)]
mod tests {
    use chappe_proto::id::Index;
    use chappe_proto::mesh::uplink::Secret;
    use chappe_proto::registry::{Command, Entry};
    use chappe_proto::time::{Mono, Unix};

    use super::*;

    #[test]
    fn a_token_of_a_key_that_is_not_applied_here_yet_ends_no_session() {
        let (mut state, unix) = (State::default(), Unix::from_secs(1_800_000_000));
        for number in 1..=2 {
            let command = Command::SealingKeyAdd { number, key: Secret(vec![9; 32]) };
            let entry = Entry { at: unix, by: None, note: None, command };
            state.apply(Index(number), entry).accepted().unwrap();
        }
        let greeting = |text, after| {
            let now = Now { mono: Mono::default(), unix: unix + after };
            open(&state, now, text).map(|_| ()).map_err(|greeting| *greeting)
        };
        let day = limits::SEALING_KEY_FOR;
        let Err(Greeting::Refused(refusal)) = greeting("r1.3.AAAA", day) else {
            panic!("it may be there soon")
        };
        assert_eq!(refusal.code, ErrorCode::Unavailable);
        assert!(refusal.retry_after_ms.is_some());
        for gone in ["r1.1.AAAA", "r1.2.AAAA", "r1.0.AAAA", "r1.x.AAAA", "r1.99.AAAA", "junk"] {
            assert!(matches!(greeting(gone, day), Err(Greeting::Gone(GoneReason::Unknown))), "{gone}");
        }
        // A cluster that was founded anew takes those of the one before it as newcomers.
        let early = greeting("r1.3.AAAA", Duration::ZERO);
        assert!(matches!(early, Err(Greeting::Gone(GoneReason::Unknown))), "the newest has only begun");
    }
}
