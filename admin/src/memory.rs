//! A cluster of nothing but a registry in memory, for tests.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use chappe_proto::id::{Index, PeerId, RoomKey};
use chappe_proto::mesh::uplink::{PeerPolicy, Secret, TurnUser};
use chappe_proto::registry::{Command, Entry, Note, State};
use chappe_proto::time::Unix;

use crate::{Answer, Changed, Cluster, Kicked, Overview, Peer, Registry, Unavailable};

/// The registry.
#[derive(Default)]
pub(crate) struct Memory(Mutex<State>);

impl Memory {
    /// Asks the state.
    pub(crate) fn with<T>(&self, ask: impl FnOnce(&mut State) -> T) -> T {
        ask(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<'a>(&self, command: Command, note: Note) -> Answer<'a, Changed> {
        let outcome = self.with(|state| {
            let entry = Entry { at: Unix::from_secs(1), by: None, note: Some(note), command };
            state.apply(Index(state.index().0 + 1), entry)
        });
        let changed = outcome.accepted().map_or_else(Changed::Refused, |_| Changed::Done);
        Box::pin(async { changed })
    }
}

impl Cluster for Memory {
    fn overview(&self) -> Answer<'_, Overview> {
        let registry = Registry { term: 1, applied: 2, leads: true };
        let overview = Overview { build: "x", sessions: 0, rooms: vec![], edges: vec![], registry };
        Box::pin(async move { overview })
    }

    fn room(&self, _: RoomKey) -> Answer<'_, Option<Vec<Peer>>> {
        Box::pin(async { None })
    }

    fn kick(&self, _: RoomKey, _: PeerId, _: bool) -> Answer<'_, Kicked> {
        Box::pin(async { Kicked::NotThere })
    }

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

    fn turn_peers(&self) -> Answer<'_, Result<PeerPolicy, Unavailable>> {
        let peers = self.with(|state| state.peers().clone());
        Box::pin(async { Ok(peers) })
    }

    fn turn_peers_set(&self, peers: PeerPolicy, note: Note) -> Answer<'_, Changed> {
        self.change(Command::PeersSet(peers), note)
    }
}
