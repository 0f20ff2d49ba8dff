//! What is live of a cluster in memory: one room, `dev/tower`, whose signals a test puts.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chappe_proto::history::Wanted;
use chappe_proto::id::{AppId, EdgeId, Generation, NodeId, PeerId, Region, RoomKey, RoomName, SessionId};
use chappe_proto::inspect::session::shown_address;
use chappe_proto::inspect::{EdgeWay, SessionCounts, SessionDetails, SignalsPage, Tap};
use chappe_proto::mesh::uplink::Traffic;
use chappe_proto::registry::{Command, Note};
use chappe_proto::signal::connection::{CandidateType, Connection, ConnectionState};
use chappe_proto::signal::member::Gateway;
use chappe_proto::signal::room::Output;
use chappe_proto::signal::route::{ProxyInput, RoomInput, Signal};
use chappe_proto::time::{Mono, Now, Unix};
use chappe_proto::usage::Relayed;

use super::Memory;
use crate::control::{Fault, Member};
use crate::history::{History, NodeHistory, Sample};
use crate::inspect::{Inspect, SignalsAsk};
use crate::past::Figures;
use crate::path::{Path, Relay};
use crate::peers::{PeerDetails, Peers};
use crate::{Answer, Changed};

/// When it all happens.
const NOW: Now = Now { mono: Mono(Duration::from_secs(1)), unix: Unix::from_secs(1_000) };

/// What there is of that.
#[derive(Default)]
pub(crate) struct Live {
    /// The watch of the one room, where somebody is in it.
    tap: Mutex<Option<Tap>>,
}

/// The one room.
pub(crate) fn tower() -> RoomKey {
    RoomKey { app: AppId::new("dev").unwrap(), room: RoomName::new("tower").unwrap() }
}

impl Live {
    fn tap(&self) -> MutexGuard<'_, Option<Tap>> {
        self.tap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody is in the room from now on, or nobody any more.
    pub(crate) fn begin(&self, begin: bool) {
        *self.tap() = begin.then(|| Tap::new(NOW, [1; 32]));
    }

    /// A signal passes.
    pub(crate) fn signal(&self, signal: Signal) {
        let gateway = Gateway { node: NodeId(1), generation: Generation(1) };
        let out = [Output::To(gateway, ProxyInput::Signal(signal.clone()))];
        let told = (gateway, RoomInput::Signal(signal));
        self.tap().as_mut().unwrap().handle(NOW, Some(&told), &out, |_, _| false);
    }
}

impl Inspect for Memory {
    fn signals(&self, room: RoomKey, ask: SignalsAsk) -> Answer<'_, Result<SignalsPage, Fault>> {
        let mut tap = self.live.tap();
        let page = match tap.as_mut().filter(|_| room == tower()) {
            Some(tap) => Ok(tap.page(NOW, ask.after, &ask.filter, ask.limit as usize, ask.plain)),
            None => Err(Fault::NotThere("room")),
        };
        Box::pin(async { page })
    }

    fn looked(&self, note: Note) -> Answer<'_, Result<(), Fault>> {
        let changed = self.change(Command::Note, note);
        Box::pin(async {
            match changed.await {
                Changed::Done => Ok(()),
                Changed::Refused(refusal) => Err(refusal.into()),
                Changed::Unavailable => Err(Fault::Unavailable("no leader".to_owned())),
            }
        })
    }
}

impl Figures for Memory {
    /// Each node has the same of its own; one that is not reached does not answer.
    fn histories(&self, wanted: Wanted, of: Option<NodeId>) -> Answer<'_, Vec<NodeHistory>> {
        let mut history = History::default();
        for at in (0..=self.time().unix.secs()).step_by(10) {
            let mut sample = Sample::default();
            sample.gauge("sessions", at as f64 / 10.0);
            sample.gauge("allocations", 7.0);
            sample.gauge("allocations.region.eu", 4.0);
            sample.gauge("allocations.edge.edge-eu", 4.0);
            sample.gauge("allocations.edge.edge-us", 3.0);
            sample.gauge("nodes", 3.0);
            ["eu", "us", "ap"].iter().for_each(|region| sample.gauge(format!("nodes.region.{region}"), 1.0));
            history.add(Unix::from_secs(at), sample);
        }
        let members = self.members(|status| status.members.clone());
        let one = |member: Member| {
            let sampled = member.reachable.then(|| history.sampled(&wanted, |edge| edge == "edge-eu"));
            NodeHistory { node: member.node, region: member.region, sampled }
        };
        let asked = members.into_iter().filter(|member| of.is_none_or(|of| member.node == of));
        let told = asked.map(one).collect();
        Box::pin(async { told })
    }
}

/// Who is in the room.
pub(crate) fn ada() -> PeerId {
    PeerId::from_random([1; 15])
}

/// And whose client tells nothing of its connections.
pub(crate) fn ben() -> PeerId {
    PeerId::from_random([2; 15])
}

impl Peers for Memory {
    fn peer(&self, room: RoomKey, peer: PeerId, plain: bool) -> Answer<'_, Result<PeerDetails, Fault>> {
        let traffic = Traffic { packets: 2, bytes: 300 };
        let edge = EdgeId::new("edge-eu").unwrap();
        let (state, local, remote) = (ConnectionState::Connected, CandidateType::Relay, CandidateType::Srflx);
        let to_ben = Connection { state, local: Some(local), remote: Some(remote) };
        let session = SessionDetails {
            session: SessionId::from_random([1; 15]),
            peer,
            node: NodeId(2),
            protocol: "native".to_owned(),
            address: Some(shown_address([192, 0, 2, 77].into(), plain)),
            agent: Some("Mozilla/5.0".to_owned()),
            joined: Unix::from_secs(10),
            connected: Some(Unix::from_secs(20)),
            rtt_us: Some(12_500),
            counts: SessionCounts { heard: traffic, signals_sent: 1, resumes: 6, ..SessionCounts::default() },
            told: traffic,
            unacknowledged: 0,
            edges: vec![EdgeWay { edge, place: Some(1), rtt_ms: Some(8.5), failed: false }],
            credential_until: Some(Unix::from_secs(30)),
            connections: (peer == ada()).then(|| BTreeMap::from([(ben(), to_ben)])),
        };
        let relay = Relay {
            edge: EdgeId::new("edge-eu").unwrap(),
            region: Region::new("eu").ok(),
            transport: "udp".to_owned(),
            allocations: 1,
            bytes_per_s: 150_000,
            in_use: true,
        };
        let details = PeerDetails {
            peer,
            identity: Some("ada".to_owned()),
            name: Some("Ada".to_owned()),
            away: false,
            grants: vec!["join"],
            region: None,
            gateway: NodeId(2),
            relayed: Relayed::default(),
            session: Some(session),
            path: Path { relays: vec![relay], unknown: vec![EdgeId::new("edge-us").unwrap()] },
        };
        let found = (room == tower() && [ada(), ben()].contains(&peer)).then_some(details);
        Box::pin(async { found.ok_or(Fault::NotThere("peer in that room")) })
    }
}
