//! Several members in one process, over calls, with networks that part and disks that stall.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use chappe_cluster::consensus::{
    Barrier, Config, Ended, Fdatasync, Message, Registry, Status, Synced, Transport, Unsent,
};
use chappe_proto::id::NodeId;
use chappe_proto::limits::DISK_FREE_MIN;
use protobuf::Message as _;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, MessageType};
use tokio::sync::watch;

use crate::common::{close, marked};
use crate::until;

/// Members by id; what is sent to one that is not here, or beyond a cut, is lost.
#[derive(Clone)]
pub(crate) struct Net {
    members: Arc<Mutex<BTreeMap<u64, Registry>>>,
    /// From whom to whom nothing comes.
    cuts: Arc<Mutex<BTreeSet<(u64, u64)>>>,
    /// Heartbeats that came.
    pub(crate) heartbeats: watch::Sender<u64>,
    /// The longest message so far.
    pub(crate) longest: Arc<AtomicU32>,
}

impl Net {
    /// Parts a member from all others, or not any more.
    pub(crate) fn part(&self, member: u64, parted: bool) {
        let mut cuts = self.cuts.lock().unwrap();
        for other in 1..=9 {
            for pair in [(member, other), (other, member)] {
                if parted {
                    cuts.insert(pair);
                } else {
                    cuts.remove(&pair);
                }
            }
        }
    }
}

impl Transport for Net {
    fn send(&mut self, message: Message) -> Result<(), Unsent> {
        self.longest.fetch_max(message.compute_size(), Ordering::Relaxed);
        if self.cuts.lock().unwrap().contains(&(message.from, message.to)) {
            // As a network does: nobody says so.
            return Ok(());
        }
        let members = self.members.lock().unwrap();
        let to = members.get(&message.to).ok_or(Unsent)?;
        let (from, member, kind) = (message.from, NodeId(message.to), message.get_msg_type());
        to.deliver(message)?;
        if kind == MessageType::MsgHeartbeat {
            self.heartbeats.send_modify(|count| *count += 1);
        }
        match members.get(&from) {
            Some(sender) if kind == MessageType::MsgSnapshot => sender.snapshot_sent(member, true),
            _ => Ok(()),
        }
    }
}

/// Lets syncs through while it is open.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>, Arc<AtomicBool>);

impl Gate {
    pub(crate) fn shut(&self, shut: bool) {
        *self.0.0.lock().unwrap() = shut;
        self.0.1.notify_all();
    }

    /// Little room is left, or enough.
    pub(crate) fn low(&self, low: bool) {
        self.1.store(low, Ordering::Relaxed);
    }
}

impl Barrier for Gate {
    fn sync(&mut self, which: Synced, file: &File) -> io::Result<()> {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |shut| *shut).unwrap());
        Fdatasync.sync(which, file)
    }

    fn free(&self, _: &Path) -> io::Result<u64> {
        Ok(if self.1.load(Ordering::Relaxed) { DISK_FREE_MIN - 1 } else { DISK_FREE_MIN })
    }
}

pub(crate) struct Cluster {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) net: Net,
    ended: HashMap<u64, Ended>,
    pub(crate) gates: HashMap<u64, Gate>,
}

impl Cluster {
    pub(crate) fn of(founders: &[u64]) -> Self {
        let net = Net {
            members: Arc::default(),
            cuts: Arc::default(),
            heartbeats: watch::Sender::default(),
            longest: Arc::default(),
        };
        let (ended, gates) = (HashMap::new(), HashMap::new());
        let mut cluster = Self { dir: tempfile::tempdir().unwrap(), net, ended, gates };
        for member in founders {
            cluster.start(*member, founders);
        }
        cluster
    }

    pub(crate) fn start(&mut self, member: u64, founders: &[u64]) {
        let dir = self.dir.path().join(member.to_string());
        let founders = founders.iter().copied().map(NodeId).collect();
        let (transport, gate) = (Box::new(self.net.clone()), Gate::default());
        let barrier = Box::new(gate.clone());
        let config = Config { founders, transport, barrier, ..Config::alone(dir, NodeId(member)) };
        let (registry, ended) = Registry::open(config).unwrap();
        self.net.members.lock().unwrap().insert(member, registry);
        self.ended.insert(member, ended);
        self.gates.insert(member, gate);
    }

    pub(crate) async fn stop(&mut self, member: u64) {
        let registry = self.net.members.lock().unwrap().remove(&member).unwrap();
        close(registry, self.ended.remove(&member).unwrap()).await;
    }

    pub(crate) fn member(&self, member: u64) -> Registry {
        self.net.members.lock().unwrap()[&member].clone()
    }

    /// Whoever all that run agree on.
    pub(crate) async fn leader(&self) -> u64 {
        let members: Vec<_> = self.net.members.lock().unwrap().values().cloned().collect();
        loop {
            let mut seen = Vec::new();
            for member in &members {
                let known =
                    |status: &Status| status.leader.is_some_and(|leader| self.ended.contains_key(&leader.0));
                let status = until(member.watch_status(), known).await;
                seen.push((status.leader.unwrap().0, status.term));
            }
            seen.dedup();
            if let [(leader, _)] = seen[..] {
                return leader;
            }
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn has(&self, member: u64, n: u64) {
        self.member(member).watch().wait_for(|state| marked(state, n)).await.unwrap();
    }
}

pub(crate) fn change(kind: ConfChangeType, ids: &[u64]) -> ConfChangeV2 {
    let mut change = ConfChangeV2::default();
    for id in ids {
        change.mut_changes().push(ConfChangeSingle { change_type: kind, node_id: *id, ..Default::default() });
    }
    change
}
