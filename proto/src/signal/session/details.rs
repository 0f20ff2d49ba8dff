//! What operators see of a session: counted on the way, for little.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::connection::Connection;
use super::Session;
use crate::id::{NodeId, PeerId};
use crate::inspect::{SessionCounts, SessionDetails};
use crate::mesh::uplink::Traffic;
use crate::time::{Mono, Now, Unix};

/// What is noted of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) counts: SessionCounts,
    connected: Unix,
    /// When the present socket was asked whether it is there.
    asked: Option<Mono>,
    rtt: Option<Duration>,
    pub(super) credential_until: Option<Unix>,
    /// How its client says that its connections are; none until it has.
    pub(super) connections: Option<BTreeMap<PeerId, Connection>>,
}

impl Seen {
    pub(super) fn begin(now: Now) -> Self {
        Self { connected: now.unix, ..Self::default() }
    }

    pub(super) const fn heard(&mut self, text: &str) {
        let frame = Traffic { packets: 1, bytes: text.len() as u64 };
        self.counts.heard = self.counts.heard.plus(frame);
    }

    pub(super) const fn asked(&mut self, now: Now) {
        self.asked = Some(now.mono);
    }

    /// Its client says that it is there. What comes without having been asked for says nothing of the way.
    pub(super) fn answered(&mut self, now: Now) {
        if let Some(asked) = self.asked.take() {
            self.rtt = Some(now.mono.since(asked));
        }
    }

    pub(super) const fn resumed(&mut self, now: Now) {
        self.counts.resumes += 1;
        (self.connected, self.asked, self.rtt) = (now.unix, None, None);
    }

    /// Somebody has left for good.
    pub(super) fn left(&mut self, peer: &PeerId) {
        if let Some(connections) = &mut self.connections {
            connections.remove(peer);
        }
    }
}

impl Session {
    /// What it has done here.
    #[must_use]
    pub const fn counts(&self) -> SessionCounts {
        self.seen.counts
    }

    /// How it is. Its shell knows the rest: address, agent, and what it was told.
    #[must_use]
    pub fn details(&self, now: Now, node: NodeId) -> SessionDetails {
        let rtt = self.seen.rtt.map(|rtt| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX));
        SessionDetails {
            session: self.member.seat.session,
            peer: self.member.seat.peer,
            node,
            protocol: "native".to_owned(),
            address: None,
            agent: None,
            joined: self.joined,
            connected: self.socket.map(|_| self.seen.connected),
            rtt_us: rtt.filter(|_| self.socket.is_some()),
            counts: self.seen.counts,
            told: Traffic::default(),
            unacknowledged: u32::try_from(self.unacknowledged()).unwrap_or(u32::MAX),
            edges: self.ways_seen(now.mono),
            credential_until: self.seen.credential_until,
            connections: self.seen.connections.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Output, Start, World};
    use super::*;
    use crate::id::{AppId, Attach, Change, Epoch, PeerId, RoomKey, RoomName, SessionId};
    use crate::limits::PING_EVERY;
    use crate::select::Place;
    use crate::signal::member::{Grants, Member, Policy, Profile, Seat, Withheld};
    use crate::signal::route::ToSession;

    fn at(ms: u64) -> Now {
        let time = Duration::from_millis(ms);
        Now { mono: Mono(time), unix: Unix::from_secs(1_000) + time }
    }

    fn session() -> Session {
        let seat = Seat {
            peer: PeerId::from_random([1; 15]),
            session: SessionId::from_random([1; 15]),
            grants: Grants::ANONYMOUS,
            capacity: None,
            token_until: Unix::from_secs(2_000),
            place: None,
        };
        let profile = Profile { identity: None, name: None, metadata: None };
        let withheld = Withheld::default();
        let member =
            Member { seat, profile, version: 0, attach: Attach(1), away: false, admitted: None, withheld };
        let room = RoomKey { app: AppId::new("a").unwrap(), room: RoomName::new("r").unwrap() };
        let (policy, place) = (Policy::default(), Place::default());
        let start = Start { room, member, policy, place, rebuilt: None, seed: [0; 32] };
        let mut session = Session::new(at(0), start, &mut Vec::new());
        let admitted = ToSession::Admitted {
            attach: Attach(1),
            at: (Epoch(1), Change(1)),
            profile: (Profile { identity: None, name: None, metadata: None }, 0),
            others: Vec::new(),
            broadcasts: 0,
            withheld: Withheld::default(),
        };
        session.handle_proxy(at(0), &World::default(), admitted, &mut Vec::new());
        session
    }

    fn say(session: &mut Session, now: Now, text: &str) -> Vec<Output> {
        let mut out = Vec::new();
        session.handle_text(now, &World::default(), text, &mut out);
        out
    }

    #[test]
    fn the_way_of_a_ping_and_back_is_measured_and_no_other() {
        let mut session = session();
        let rtt = |session: &Session| session.details(at(0), NodeId(1)).rtt_us;
        say(&mut session, at(10), r#"{"type":"pong"}"#);
        assert_eq!(rtt(&session), None, "nobody has asked");
        let asked = 10 + u64::try_from(PING_EVERY.as_millis()).unwrap();
        session.handle_timeout(at(asked), &World::default(), &mut Vec::new());
        say(&mut session, at(asked + 5), r#"{"type":"ice"}"#);
        say(&mut session, at(asked + 42), r#"{"type":"pong"}"#);
        say(&mut session, at(asked + 90), r#"{"type":"pong"}"#);
        assert_eq!(rtt(&session), Some(42_000));
        session.handle_socket_lost(at(asked + 100), &mut Vec::new());
        let details = session.details(at(asked + 100), NodeId(1));
        assert_eq!((details.rtt_us, details.connected), (None, None));
    }

    #[test]
    fn how_connections_are_is_as_their_client_told_last_and_goes_no_further() {
        use crate::signal::code::LeaveReason;
        use crate::signal::connection::CandidateType::{Relay, Srflx};
        use crate::signal::connection::ConnectionState::{Connected, Failed, New};
        use crate::signal::route::{ChangeNews, RoomChange};

        let (ben, cleo) = (PeerId::from_random([2; 15]), PeerId::from_random([3; 15]));
        let mut session = session();
        let of = |session: &Session| session.details(at(9), NodeId(1)).connections;
        assert_eq!(of(&session), None, "it has not told");
        let tell = |session: &mut Session, peers: &str| {
            say(session, at(1), &format!(r#"{{"type":"connections","peers":{peers}}}"#))
        };
        let first = format!(r#"{{"{ben}":{{"state":"new"}},"{cleo}":{{"state":"failed"}}}}"#);
        assert!(tell(&mut session, &first).is_empty(), "it is told to nobody");
        let one = |state, local, remote| Connection { state, local, remote };
        assert_eq!(
            of(&session),
            Some(BTreeMap::from([(ben, one(New, None, None)), (cleo, one(Failed, None, None))]))
        );
        let second = format!(r#"{{"{ben}":{{"state":"connected","local":"relay","remote":"srflx"}}}}"#);
        assert!(tell(&mut session, &second).is_empty());
        let told = Some(BTreeMap::from([(ben, one(Connected, Some(Relay), Some(Srflx)))]));
        assert_eq!(of(&session), told, "a frame tells of all");
        for bad in [
            format!(r#"{{"{ben}":{{"state":"well"}}}}"#),
            format!(r#"{{"{ben}":{{"state":"connected","local":"192.0.2.7"}}}}"#),
        ] {
            let out = tell(&mut session, &bad);
            assert!(matches!(&out[..], [Output::Text(text)] if text.contains("`peers` is not")), "{out:?}");
        }
        assert_eq!(of(&session), told, "what is refused changes nothing");
        session.handle_socket_lost(at(2), &mut Vec::new());
        assert_eq!(of(&session), told, "media may go on without the socket");
        let change = RoomChange::Left { peer: ben, reason: LeaveReason::Left };
        let news = ToSession::Changed(Arc::new(ChangeNews { change, text: None }));
        session.handle_proxy(at(3), &World::default(), news, &mut Vec::new());
        assert_eq!(of(&session), Some(BTreeMap::new()), "who has left has no connection");
    }

    #[test]
    fn what_passes_is_counted() {
        let mut session = session();
        let to = PeerId::from_random([2; 15]);
        let frames = [
            format!(r#"{{"type":"signal","to":"{to}","id":1,"kind":"chat","payload":1}}"#),
            format!(r#"{{"type":"signal","to":"{to}","id":1,"kind":"chat","payload":1}}"#),
            format!(r#"{{"type":"signal","to":"{to}","id":9,"kind":"chat","payload":1}}"#),
        ];
        for frame in &frames {
            say(&mut session, at(1), frame);
        }
        let before = session.counts();
        let bytes = frames.iter().map(|frame| frame.len() as u64).sum();
        assert_eq!((before.heard, before.signals_sent), (Traffic { packets: 3, bytes }, 1));
        assert_eq!(session.details(at(1), NodeId(1)).unacknowledged, 1);
        let undelivered = ToSession::Undelivered { to, id: 1, was_here: false };
        session.handle_proxy(at(2), &World::default(), undelivered, &mut Vec::new());
        for _ in 0..500 {
            say(&mut session, at(2), r#"{"type":"ping"}"#);
        }
        let more = session.counts().minus(before);
        assert_eq!((more.undelivered, more.signals_sent), (1, 0));
        assert!(more.rate_refusals > 0 && more.heard.packets > 0, "{more:?}");
        assert_eq!(session.details(at(2), NodeId(7)).node, NodeId(7));
    }
}
