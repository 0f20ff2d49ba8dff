//! The relays of a cluster in memory.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use chappe_proto::id::{EdgeId, SessionId};
use chappe_proto::mesh::allocations::AllocationFilter;
use chappe_proto::mesh::uplink::{PeerPolicy, Secret, TurnUser};
use chappe_proto::registry::{Command, Note};
use chappe_proto::select::ice::credential;
use chappe_proto::time::Unix;

use super::Memory;
use crate::cluster::turn::{
    Allocation, AllocationCursor, AllocationPage, AllocationWish, Closed, IssueAt, IssueWish, IssuedStatus,
    NewCredential, Relays, SecretStatus,
};
use crate::control::Fault;
use crate::{Answer, Changed, Unavailable};

/// The time of a cluster in memory.
const NOW: Unix = Unix(Duration::from_secs(1));

impl Memory {
    async fn done(&self, command: Command, note: Note) -> Result<(), Fault> {
        match self.change(command, note).await {
            Changed::Done => Ok(()),
            Changed::Refused(refusal) => Err(refusal.into()),
            Changed::Unavailable => Err(Fault::Unavailable("not now".to_owned())),
        }
    }

    /// Asks what is relayed.
    pub(crate) fn relaying<T>(&self, ask: impl FnOnce(&mut Vec<Allocation>) -> T) -> T {
        ask(&mut self.allocations.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn takes(filter: &AllocationFilter, held: &Allocation) -> bool {
    filter.sessions.as_ref().is_none_or(|all| held.session.is_some_and(|session| all.contains(&session)))
        && filter.name.as_ref().is_none_or(|name| held.user.as_ref() == Some(name))
        && filter.realm.as_ref().is_none_or(|realm| held.realm.as_ref() == Some(realm))
        && filter.client.is_none_or(|ip| held.client.starts_with(&ip.to_string()))
}

impl Relays for Memory {
    fn turn_users(&self) -> Answer<'_, Result<Vec<TurnUser>, Unavailable>> {
        let users = self.with(|state| state.turn_users().collect());
        Box::pin(async { Ok(users) })
    }

    fn turn_user_set(&self, user: TurnUser, note: Note) -> Answer<'_, Changed> {
        self.change(Command::TurnUserSet(user), note)
    }

    fn turn_user_remove(&self, realm: String, name: String, note: Note) -> Answer<'_, Changed> {
        self.change(Command::TurnUserRemove { realm, name }, note)
    }

    fn turn_origins(&self) -> Answer<'_, Result<BTreeMap<String, String>, Unavailable>> {
        let origins = self.with(|state| state.turn_origins().clone());
        Box::pin(async { Ok(origins) })
    }

    fn turn_origins_set(&self, origins: BTreeMap<String, String>, note: Note) -> Answer<'_, Changed> {
        self.change(Command::TurnOriginsSet { origins }, note)
    }

    fn turn_peers(&self) -> Answer<'_, Result<PeerPolicy, Unavailable>> {
        let peers = self.with(|state| state.peers().clone());
        Box::pin(async { Ok(peers) })
    }

    fn turn_peers_set(&self, peers: PeerPolicy, note: Note) -> Answer<'_, Changed> {
        self.change(Command::PeersSet(peers), note)
    }

    fn turn_secrets(&self) -> Answer<'_, Result<Vec<SecretStatus>, Fault>> {
        let all = self.with(|state| SecretStatus::of(state, NOW));
        Box::pin(async { Ok(all) })
    }

    fn turn_secret_add(&self, secret: Secret, note: Note) -> Answer<'_, Changed> {
        let (held, number) = self.with(|state| {
            let secrets = state.turn_secrets();
            (secrets.all().values().any(|held| *held == secret), secrets.next())
        });
        if held {
            return Box::pin(async { Changed::Done });
        }
        self.change(Command::TurnSecretAdd { number, secret }, note)
    }

    fn turn_secret_rotate(&self, overlap: Option<Duration>, note: Note) -> Answer<'_, Result<u64, Fault>> {
        let number = self.with(|state| state.turn_secrets().next());
        let secret = Secret(vec![u8::try_from(number).unwrap(); 32]);
        let until = overlap.map(|overlap| NOW + overlap);
        Box::pin(async move {
            self.done(Command::TurnSecretRotate { number, secret, until }, note).await.map(|()| number)
        })
    }

    fn turn_secret_end(&self, number: u64, note: Note) -> Answer<'_, Result<(), Fault>> {
        Box::pin(self.done(Command::TurnSecretRemove { number }, note))
    }

    fn issue(&self, wish: IssueWish, note: Note) -> Answer<'_, Result<NewCredential, Fault>> {
        let IssueWish { label, app, life, at } = wish;
        let there = self.with(|state| state.all_issued().count());
        let id = SessionId::from_random([u8::try_from(there + 1).unwrap(); 15]);
        let newest = self.with(|state| state.turn_secrets().newest().map(|(n, secret)| (n, secret.clone())));
        let names = match at {
            IssueAt::Edges(edges) => edges.iter().map(ToString::to_string).collect(),
            IssueAt::Near(place) => vec![format!("near-{}", place.region.unwrap())],
            IssueAt::Everywhere => vec!["eu".to_owned(), "us".to_owned()],
        };
        Box::pin(async move {
            let (number, secret) = newest.ok_or_else(|| Fault::Conflict("no secret issues".to_owned()))?;
            let until = NOW + life;
            let by = note.who.clone();
            self.done(Command::IssuedAdd { id, label, app, until, by, secret: number }, note).await?;
            let urls = names.iter().map(|name| vec![format!("turn:{name}:3478?transport=udp")]).collect();
            Ok(NewCredential::new(id, until, credential(&secret, &id.to_string(), until), urls))
        })
    }

    fn issued(&self) -> Answer<'_, Result<Vec<IssuedStatus>, Fault>> {
        let all = self.with(|state| IssuedStatus::of(state, NOW));
        Box::pin(async { Ok(all) })
    }

    fn issued_revoke(&self, id: SessionId, note: Note) -> Answer<'_, Result<(), Fault>> {
        Box::pin(self.done(Command::IssuedRevoke { id }, note))
    }

    fn allocations(
        &self,
        wish: AllocationWish,
        from: Option<AllocationCursor>,
        limit: usize,
    ) -> Answer<'_, Result<AllocationPage, Fault>> {
        let found = self.relaying(|all| {
            let asked = |held: &&Allocation| {
                wish.edge.as_ref().is_none_or(|edge| held.edge == *edge) && takes(&wish.filter, held)
            };
            all.iter().filter(asked).cloned().collect::<Vec<_>>()
        });
        let begin = from.map_or(0, |(_, place)| place as usize);
        let allocations: Vec<_> = found.iter().skip(begin).take(limit).cloned().collect();
        let end = begin + allocations.len();
        let next = found.get(end).map(|held| (held.edge.clone(), u32::try_from(end).unwrap()));
        let room = wish.room.is_some();
        Box::pin(async move {
            if room {
                return Err(Fault::NotThere("room"));
            }
            Ok(AllocationPage { allocations, missing: vec![EdgeId::new("edge-us").unwrap()], next })
        })
    }

    fn allocation_close(&self, edge: EdgeId, number: u64, note: Note) -> Answer<'_, Result<(), Fault>> {
        let is_it = |held: &Allocation| held.edge == edge && held.id == format!("{number:016x}");
        let closed = self.relaying(|all| {
            let before = all.len();
            all.retain(|held| !is_it(held));
            before > all.len()
        });
        Box::pin(async move {
            if !closed {
                return Err(Fault::NotThere("allocation"));
            }
            self.done(Command::Note, note).await
        })
    }

    fn allocations_close(&self, of: AllocationFilter, note: Note) -> Answer<'_, Result<Closed, Fault>> {
        let closed = self.relaying(|all| {
            let before = all.len();
            all.retain(|held| !takes(&of, held));
            u32::try_from(before - all.len()).unwrap()
        });
        Box::pin(async move {
            self.done(Command::Note, note).await?;
            Ok(Closed { closed, missing: Vec::new() })
        })
    }
}
