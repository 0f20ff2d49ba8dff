//! What operators see and decide of the relays.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chappe_admin::control::Fault;
use chappe_admin::turn::{
    Allocation, AllocationCursor, AllocationPage, AllocationWish, Closed, IssueAt, IssueWish, IssuedStatus,
    NewCredential, Relays, SecretStatus,
};
use chappe_admin::{Answer, Changed, Unavailable};
use chappe_proto::id::{AppId, EdgeId, NodeId, RoomKey, SessionId};
use chappe_proto::limits::{ALLOCATION_SESSIONS_MAX, ALLOCATIONS_PAGE, ISSUED_SERVERS_MAX};
use chappe_proto::mesh::allocations::{AllocationFilter, EdgeAnswer, EdgeAsk};
use chappe_proto::mesh::node::{Answer as Reply, Ask};
use chappe_proto::mesh::uplink::{PeerPolicy, Secret, TurnUser};
use chappe_proto::registry::{Command, EdgeState, Note, Refusal, State, Thing};
use chappe_proto::select::ice::{credential, turn_urls};
use chappe_proto::select::{Client, Measured, Place, draw_of};
use chappe_proto::signal::session::World;
use chappe_proto::time::{Mono, Unix};
use data_encoding::BASE64URL_NOPAD;
use futures_util::future::join_all;

use super::{Admin, NODE_WITHIN};
use crate::clock;

/// Where each edge is asked: the nodes that it reports to.
pub(super) type Ways = BTreeMap<EdgeId, Vec<NodeId>>;

impl Admin {
    async fn now(&self) -> Result<std::sync::Arc<State>, Fault> {
        let unread = |_| Fault::Unavailable("the registry cannot be read right now; try again".to_owned());
        self.state().await.map_err(unread)
    }

    /// The edges that are meant, and the nodes that hear them.
    pub(super) async fn ways(&self, only: Option<&EdgeId>) -> Result<Ways, Fault> {
        let state = self.node.registry.state();
        let there = state.edges().filter(|(_, held)| held.state != EdgeState::Removed);
        let meant = there.map(|(edge, _)| edge).filter(|edge| only.is_none_or(|only| only == *edge));
        let mut ways: Ways = meant.map(|edge| (edge.clone(), Vec::new())).collect();
        if let Some(edge) = only
            && !ways.contains_key(edge)
        {
            return Err(Fault::NotThere("edge"));
        }
        let said = self.said(state.nodes().map(|(id, _)| id).filter(|id| self.node.reaches(*id))).await;
        for (node, status) in said {
            for edge in &status.edges {
                if let Some(way) = ways.get_mut(edge) {
                    way.push(node);
                }
            }
        }
        Ok(ways)
    }

    /// What an edge answers by way of any of these nodes; nothing where it does not. That it has too many questions, or
    /// knows none like this, where none of the ways brings more.
    pub(super) async fn of_edge(&self, edge: &EdgeId, nodes: &[NodeId], ask: &EdgeAsk) -> Option<EdgeAnswer> {
        let mut refused = None;
        for node in nodes {
            let ask = Ask::Edge { edge: edge.clone(), ask: ask.clone() };
            match self.node.mesh.request(*node, ask, NODE_WITHIN).await {
                Ok(Reply::Edge(answer @ (EdgeAnswer::Busy | EdgeAnswer::Unknown))) => refused = Some(answer),
                Ok(Reply::Edge(answer)) => return Some(answer),
                answer => tracing::debug!(%edge, %node, ?answer, "an edge is not asked"),
            }
        }
        refused
    }

    /// The filter with the sessions of the room that is meant.
    async fn resolved(&self, wish: AllocationWish) -> Result<AllocationFilter, Fault> {
        let mut filter = wish.filter;
        let Some(room) = wish.room else { return Ok(filter) };
        let there = self.of_owner(&room, Ask::Peers { room: room.clone() }).await;
        let Ok(Reply::Peers(Some(entries))) = there else { return Err(Fault::NotThere("room")) };
        let sessions: BTreeSet<SessionId> = entries.iter().map(|entry| entry.member.seat.session).collect();
        if sessions.len() > ALLOCATION_SESSIONS_MAX {
            let words = format!("more than {ALLOCATION_SESSIONS_MAX} are in that room: ask for one session");
            return Err(Fault::Conflict(words));
        }
        filter.sessions = Some(sessions);
        Ok(filter)
    }
}

/// The URLs of each edge that an issued credential is told of, best first.
fn urls(
    world: &World,
    now: Mono,
    at: &IssueAt,
    app: Option<&AppId>,
    id: SessionId,
) -> Result<Vec<Vec<String>>, Fault> {
    let near = |place: &Place| {
        let place = world.edges.place(place, None, None);
        let (measured, shunned) = (Measured::default(), BTreeSet::new());
        let draw = draw_of(&id.to_string());
        let client =
            Client { place: &place, app, draw, measured: &measured, offered: &[], shunned: &shunned };
        let best = world.edges.choose(now, &client).best;
        best.iter().map(|ranked| ranked.edge.edge.clone()).collect::<Vec<_>>()
    };
    let mut edges = match at {
        IssueAt::Edges(edges) => edges.clone(),
        IssueAt::Near(place) => near(place),
        IssueAt::Everywhere => {
            let all: BTreeSet<_> = world.edges.edges().iter().map(|edge| &edge.region).collect();
            let km = |region| world.edges.km(&Place::default(), region).unwrap_or(f64::INFINITY);
            let mut all: Vec<_> = all.into_iter().map(|region| (km(region), region)).collect();
            all.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            let best = |(_, region): (f64, &chappe_proto::id::Region)| {
                near(&Place { region: Some(region.clone()), coordinates: None }).into_iter().next()
            };
            all.into_iter().filter_map(best).collect()
        }
    };
    let mut told = BTreeSet::new();
    edges.retain(|edge| told.insert(edge.clone()));
    let most = if matches!(at, IssueAt::Edges(_)) { usize::MAX } else { ISSUED_SERVERS_MAX };
    let urls = |edge: &EdgeId| {
        let status = world.edges.edge(edge).ok_or(Fault::NotThere("edge"))?;
        if let Some(app) = app.filter(|app| !world.edges.is_for(status, app)) {
            return Err(Fault::Conflict(format!(
                "the edge {edge} is not for {app}: a rule of the selection keeps it from there; name another, or none"
            )));
        }
        Ok(turn_urls(&status.listeners))
    };
    edges.iter().take(most).map(urls).collect()
}

impl Relays for Admin {
    fn turn_users(&self) -> Answer<'_, Result<Vec<TurnUser>, Unavailable>> {
        Box::pin(async { Ok(self.state().await?.turn_users().collect()) })
    }

    fn turn_user_set(&self, user: TurnUser, note: Note) -> Answer<'_, Changed> {
        Box::pin(self.change(Command::TurnUserSet(user), note))
    }

    fn turn_user_remove(&self, realm: String, name: String, note: Note) -> Answer<'_, Changed> {
        Box::pin(self.change(Command::TurnUserRemove { realm, name }, note))
    }

    fn turn_origins(&self) -> Answer<'_, Result<BTreeMap<String, String>, Unavailable>> {
        Box::pin(async { Ok(self.state().await?.turn_origins().clone()) })
    }

    fn turn_origins_set(&self, origins: BTreeMap<String, String>, note: Note) -> Answer<'_, Changed> {
        Box::pin(self.change(Command::TurnOriginsSet { origins }, note))
    }

    fn turn_peers(&self) -> Answer<'_, Result<PeerPolicy, Unavailable>> {
        Box::pin(async { Ok(self.state().await?.peers().clone()) })
    }

    fn turn_peers_set(&self, peers: PeerPolicy, note: Note) -> Answer<'_, Changed> {
        Box::pin(self.change(Command::PeersSet(peers), note))
    }

    fn turn_secrets(&self) -> Answer<'_, Result<Vec<SecretStatus>, Fault>> {
        Box::pin(async { Ok(SecretStatus::of(&*self.now().await?, clock::unix())) })
    }

    fn turn_secret_add(&self, secret: Secret, note: Note) -> Answer<'_, Changed> {
        Box::pin(async move {
            let Ok(state) = self.state().await else { return Changed::Unavailable };
            let secrets = state.turn_secrets();
            if secrets.all().values().any(|held| *held == secret) {
                return Changed::Done;
            }
            // Where another one took the number in between, whoever asked is told and asks again.
            self.change(Command::TurnSecretAdd { number: secrets.next(), secret }, note).await
        })
    }

    fn turn_secret_rotate(&self, overlap: Option<Duration>, note: Note) -> Answer<'_, Result<u64, Fault>> {
        Box::pin(async move {
            let number = self.now().await?.turn_secrets().next();
            // As the first one of a cluster: 256 bits as a text that other programs take.
            let secret = Secret(BASE64URL_NOPAD.encode(&clock::random::<32>()).into_bytes());
            let until = overlap.map(|overlap| clock::unix() + overlap);
            self.commit(Command::TurnSecretRotate { number, secret, until }, note).await?;
            Ok(number)
        })
    }

    fn turn_secret_end(&self, number: u64, note: Note) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async move { self.commit(Command::TurnSecretRemove { number }, note).await.map(drop) })
    }

    fn issue(&self, wish: IssueWish, note: Note) -> Answer<'_, Result<NewCredential, Fault>> {
        Box::pin(async move {
            let IssueWish { label, app, life, at } = wish;
            let id = SessionId::from_random(clock::random());
            let edges = urls(&self.node.world(), clock::mono(), &at, app.as_ref(), id)?;
            let until = Unix::from_secs((clock::unix() + life).secs());
            let mut tries = 2; // the secret may be rotated in between
            loop {
                let state = self.now().await?;
                let newest = state.turn_secrets().newest();
                let (number, secret) = newest.ok_or_else(|| {
                    Fault::Conflict("no shared secret issues: add one, or rotate".to_owned())
                })?;
                let (label, app, by) = (label.clone(), app.clone(), note.who.clone());
                let command = Command::IssuedAdd { id, label, app, until, by, secret: number };
                tries -= 1;
                match self.commit(command, note.clone()).await {
                    Ok(_) => {
                        let made = credential(secret, &id.to_string(), until);
                        return Ok(NewCredential::new(id, until, made, edges));
                    }
                    Err(Fault::Refused(Refusal::Unknown(Thing::TurnSecret))) if tries > 0 => {}
                    Err(Fault::Refused(Refusal::Unknown(Thing::App))) => return Err(Fault::NotThere("app")),
                    Err(fault) => return Err(fault),
                }
            }
        })
    }

    fn issued(&self) -> Answer<'_, Result<Vec<IssuedStatus>, Fault>> {
        Box::pin(async { Ok(IssuedStatus::of(&*self.now().await?, clock::unix())) })
    }

    fn issued_revoke(&self, id: SessionId, note: Note) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async move { self.commit(Command::IssuedRevoke { id }, note).await.map(drop) })
    }

    fn allocations(
        &self,
        wish: AllocationWish,
        from: Option<AllocationCursor>,
        limit: usize,
    ) -> Answer<'_, Result<AllocationPage, Fault>> {
        Box::pin(async move {
            let ways = self.ways(wish.edge.as_ref()).await?;
            let filter = self.resolved(wish).await?;
            let state = self.node.registry.state();
            let mut page = AllocationPage::default();
            let (first, mut place) = from.map_or((None, 0), |(edge, place)| (Some(edge), place));
            for (edge, nodes) in ways.iter().filter(|(edge, _)| first.as_ref().is_none_or(|at| at <= *edge)) {
                // An edge that has gone meanwhile is not the next one.
                let mut next =
                    Some(if first.as_ref() == Some(edge) { std::mem::take(&mut place) } else { 0 });
                while let Some(from) = next {
                    if page.allocations.len() >= limit {
                        page.next = Some((edge.clone(), from));
                        return Ok(page);
                    }
                    let left = (limit - page.allocations.len()).min(ALLOCATIONS_PAGE);
                    let limit = u16::try_from(left).unwrap_or(u16::MAX);
                    let ask = EdgeAsk::Allocations { filter: filter.clone(), from, limit };
                    let answer = self.of_edge(edge, nodes, &ask).await;
                    let Some(EdgeAnswer::Allocations { page: found, next: then }) = answer else {
                        page.missing.push(edge.clone());
                        break;
                    };
                    let now = clock::unix();
                    let room = |session: Option<SessionId>| -> Option<RoomKey> {
                        self.node.usage.room_of(&session?)
                    };
                    page.allocations.extend(found.into_iter().map(|report| {
                        let room = room(report.session);
                        Allocation::new(edge, report, &state, room, now)
                    }));
                    next = then;
                }
            }
            Ok(page)
        })
    }

    fn allocation_close(&self, edge: EdgeId, number: u64, note: Note) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async move {
            let ways = self.ways(Some(&edge)).await?;
            let nodes = ways.get(&edge).map(Vec::as_slice).unwrap_or_default();
            self.commit(Command::Note, note).await?;
            match self.of_edge(&edge, nodes, &EdgeAsk::Close { allocation: number }).await {
                Some(EdgeAnswer::Closed { closed: 0 }) => Err(Fault::NotThere("allocation")),
                Some(EdgeAnswer::Closed { .. }) => Ok(()),
                _ => Err(Fault::Unavailable(format!("the edge {edge} does not answer; try again"))),
            }
        })
    }

    fn allocations_close(&self, of: AllocationFilter, note: Note) -> Answer<'_, Result<Closed, Fault>> {
        Box::pin(async move {
            let ways = self.ways(None).await?;
            self.commit(Command::Note, note).await?;
            let ask = EdgeAsk::CloseAll { filter: of };
            let answers = join_all(ways.iter().map(|(edge, nodes)| self.of_edge(edge, nodes, &ask))).await;
            let mut all = Closed::default();
            for (edge, answer) in ways.keys().zip(answers) {
                match answer {
                    Some(EdgeAnswer::Closed { closed }) => all.closed = all.closed.saturating_add(closed),
                    _ => all.missing.push(edge.clone()),
                }
            }
            Ok(all)
        })
    }
}
