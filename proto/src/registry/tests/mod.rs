mod apps;
mod edges;
mod entries;
mod issued;
mod members;
mod properties;
mod revoked;
mod rights;
mod shards;
mod since;
mod voters;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::*;
use crate::id::{
    AppId, EdgeId, Epoch, Generation, Identity, Index, KeyId, NodeId, Region, RoomKey, RoomName, SessionId,
    Shard,
};
use crate::limits::SHARDS;
use crate::mesh::uplink::{EdgeChange, EdgeHello, Listener, PeerPolicy, RelayRange, Secret};
use crate::time::Unix;
use crate::turn::Transport;

/// A registry that is fed one command a second.
#[derive(Default)]
pub(super) struct Log(pub(super) State);

impl Log {
    pub(super) fn says(&mut self, command: Command) -> Outcome {
        let (index, at) = (Index(self.0.index().0 + 1), Unix::from_secs(self.0.now().secs() + 1));
        self.0.apply(index, Entry { at, by: None, note: None, command })
    }

    pub(super) fn does(&mut self, command: Command) {
        let outcome = self.says(command);
        assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    }

    pub(super) fn with_nodes(n: u64) -> Self {
        let mut log = Self::default();
        for node in (1..=n).map(NodeId) {
            log.does(Command::NodeAdd { node, region: region() });
            log.does(up(node));
        }
        log.does(Command::Moved { moves: placement::solve(&log.0) });
        log
    }

    pub(super) fn owned(&self, node: u64) -> Vec<(Shard, Epoch)> {
        let own = self.0.shards().filter(|(_, shard)| shard.owner == Some(NodeId(node)));
        own.map(|(id, shard)| (id, shard.epoch)).collect()
    }
}

pub(super) fn region() -> Region {
    Region::new("here").unwrap()
}

pub(super) fn up(node: NodeId) -> Command {
    Command::NodeUp { node, addresses: NodeAddresses::default(), build: "test".into(), speaks: 1 }
}

fn app(name: &str) -> AppId {
    AppId::new(name).unwrap()
}

fn session(n: u8) -> SessionId {
    SessionId::from_random([n; 15])
}

fn secret(n: u8) -> Secret {
    Secret(vec![n; 32])
}

fn hello(edge: &str, port: u16) -> EdgeHello {
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    EdgeHello {
        edge: EdgeId::new(edge).unwrap(),
        build: "test".into(),
        region: region(),
        coordinates: Some((52.5, 13.4)),
        listeners: vec![Listener {
            transport: Transport::Udp,
            address: (address, port).into(),
            hostname: None,
        }],
        relays: vec![RelayRange { address, first: port, last: port + 9 }],
        capacity: 100,
        feed: None,
        proven: vec![],
        timed: false,
    }
}
