//! A server, and all that its shell and its clients would hold.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use chappe_proto::id::SessionId;
use chappe_proto::mesh::uplink::{EdgeChange, PeerPolicy, Secret, TurnUser};
use chappe_proto::stun::{Algorithm, Class, Key, Message, Method, Writer};
use chappe_proto::time::{Mono, Now, Unix};
use chappe_proto::turn::{
    BindError, Config, Counters, FiveTuple, Quotas, RelayAddress, RelayId, Server, Transport, Via, password,
};

use super::{begin, view};
use crate::input::Input;

pub(crate) const CLIENTS: usize = 4;
pub(crate) const REALM: &str = "chappe";
/// Ports of each relay address.
pub(crate) const PORTS: u16 = 6;

/// What a client knows.
#[derive(Default)]
pub(crate) struct Client {
    pub(crate) nonce: String,
    pub(crate) realm: String,
    /// The value of PASSWORD-ALGORITHMS, as the server sent it.
    pub(crate) algorithms: Option<Vec<u8>>,
    pub(crate) token: Option<[u8; 8]>,
}

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) now: Now,
    pub(crate) quotas: Quotas,
    pub(crate) relays: Vec<RelayAddress>,
    pub(crate) clients: [Client; CLIENTS],
    pub(crate) messages: u32,
    /// Sockets asked for and not answered.
    pub(crate) waiting: Vec<(RelayId, IpAddr, Vec<u16>)>,
    pub(crate) open: BTreeMap<RelayId, SocketAddr>,
    /// Until when a client may exchange data with an address, as it was told.
    pub(crate) permitted: BTreeMap<(usize, IpAddr), Mono>,
    /// Peers of requests that are not answered.
    pub(crate) asked: BTreeMap<[u8; 12], Vec<IpAddr>>,
    pub(crate) policy: PeerPolicy,
    /// The last packet of any client.
    pub(crate) last: Vec<u8>,
    pub(crate) counters: Counters,
}

pub(crate) fn tuple(client: usize) -> FiveTuple {
    let (transport, address) = [
        (Transport::Udp, "192.0.2.1:5000"),
        (Transport::Tcp, "192.0.2.1:5001"),
        (Transport::Tls, "192.0.2.2:5000"),
        (Transport::Dtls, "[2001:db8:2::1]:5000"),
    ][client];
    FiveTuple { transport, client: address.parse().unwrap(), server: "203.0.113.5:3478".parse().unwrap() }
}

/// Two clients share a session.
pub(crate) fn session(client: usize) -> SessionId {
    SessionId::from_random([(client / 2) as u8; 15])
}

pub(crate) fn secret(number: u64) -> Secret {
    Secret(format!("secret {number}").into_bytes())
}

/// The long-term user, with keys by MD5, SHA-256 or both.
pub(crate) fn user(keys: u64) -> TurnUser {
    let key = |algorithm| Secret(Key::derive(algorithm, "ada", REALM, "engine").as_slice().to_vec());
    TurnUser {
        realm: REALM.to_owned(),
        name: "ada".to_owned(),
        md5: (keys != 1).then(|| key(Algorithm::Md5)),
        sha256: (keys != 2).then(|| key(Algorithm::Sha256)),
    }
}

/// Name and password of a client: the last is the long-term user, the others have credentials of the
/// REST form.
pub(crate) fn credentials(client: usize) -> (String, String) {
    if client == CLIENTS - 1 {
        return ("ada".to_owned(), "engine".to_owned());
    }
    let name = format!("{}:{}", 1_700_020_000 + client, session(client));
    let password = password(&secret(1), &name);
    (name, password)
}

impl World {
    pub(crate) fn new(input: &mut Input<'_>) -> Self {
        let (how, more) = (input.u8(), input.u8());
        let relay = |bind: &str, advertised: &str| {
            let (bind, advertised) = (bind.parse().unwrap(), advertised.parse().unwrap());
            RelayAddress { bind, advertised, first: 50000, last: 50000 + PORTS - 1 }
        };
        let (v4, v6) = (relay("10.0.0.5", "203.0.113.5"), relay("2001:db8::5", "2001:db8::5"));
        let relays = match how % 4 {
            0 => vec![v4],
            1 => vec![v6],
            _ => vec![v4, v6],
        };
        let mut config = Config::new(REALM, relays.clone());
        config.listeners = vec!["203.0.113.5:3478".parse().unwrap(), "0.0.0.0:3479".parse().unwrap()];
        config.classic = how & 4 != 0;
        config.quotas.allocations = 1 + u32::from(more & 3);
        config.quotas.per_user = 1 + u32::from(more >> 2 & 1);
        config.quotas.per_source = 1 + u32::from(more >> 3 & 1);
        config.quotas.permissions = 3;
        config.quotas.channels = 2;
        config.quotas.challenges_burst = 8 << (more >> 4 & 3);
        let quotas = config.quotas;
        let now = Now { mono: Mono(Duration::from_secs(1_000_000)), unix: Unix::from_secs(1_700_000_000) };
        let mut server = Server::new(config, [how; 32], now);
        let policy = policy(false);
        server.set_view(now, &view(policy.clone()));
        Self {
            server,
            now,
            quotas,
            relays,
            clients: std::array::from_fn(|_| Client { realm: REALM.to_owned(), ..Client::default() }),
            messages: 0,
            waiting: Vec::new(),
            open: BTreeMap::new(),
            permitted: BTreeMap::new(),
            asked: BTreeMap::new(),
            policy,
            last: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// A message with a transaction id of its own.
    pub(crate) fn writer(&mut self, class: Class, method: Method) -> Writer {
        self.messages += 1;
        begin(class, method, self.messages)
    }

    /// A client's packet, and what becomes of it.
    pub(crate) fn packet(&mut self, client: usize, bytes: &[u8]) {
        self.last = bytes.to_vec();
        self.note(bytes);
        let via = Via(client as u32);
        let forward = self.server.handle_client(self.now, &tuple(client), via, bytes);
        self.check_forward(&forward, bytes.len(), Some(client), None);
        let unprotected = self.settle();
        // RFC 8489 knows no bound; we promise 2.6 times what came, headers of IPv4 and UDP counted.
        assert!((unprotected + 28) * 10 <= (bytes.len() + 28) * 26, "{unprotected} for {}", bytes.len());
    }

    /// Remembers whom a request would permit: one that was refused may come again.
    fn note(&mut self, bytes: &[u8]) {
        let Ok(message) = Message::parse(bytes) else { return };
        let peers = message.peers().flatten().map(|peer| peer.ip()).collect();
        self.asked.insert(message.transaction.0, peers);
    }

    /// A peer's packet.
    pub(crate) fn peer(&mut self, relay: RelayId, peer: SocketAddr, length: usize) {
        let payload = vec![7; length];
        let forward = self.server.handle_peer(self.now, relay, peer, &payload);
        self.check_forward(&forward, length, None, Some(peer));
    }

    /// Answers one of the questions for sockets.
    pub(crate) fn bound(&mut self, which: usize, error: Option<BindError>) {
        if self.waiting.is_empty() {
            return;
        }
        let (relay, ip, ports) = self.waiting.remove(which % self.waiting.len());
        let taken = |port: &u16| self.open.values().any(|open| *open == SocketAddr::new(ip, *port));
        let free = ports.iter().copied().find(|port| !taken(port));
        assert!(free.is_some(), "every offered port is open already");
        let result = match (error, free) {
            (None, Some(port)) => Ok(SocketAddr::new(ip, port)),
            (error, _) => Err(error.unwrap_or(BindError::InUse)),
        };
        if let Ok(address) = result {
            self.open.insert(relay, address);
        }
        self.server.handle_bound(self.now, relay, result);
        self.settle();
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        let until = self.now.after(time);
        while let Some(due) = self.server.poll_timeout().filter(|due| *due <= until.mono) {
            self.now = self.now.after(due.until(self.now.mono));
            self.server.handle_timeout(self.now);
            assert!(self.server.poll_timeout().is_none_or(|next| next > due), "a timer that stays due");
            self.settle();
        }
        self.now = until;
    }

    pub(crate) fn closed(&mut self, client: usize) {
        self.server.handle_closed(self.now, &tuple(client));
        self.forget(client);
    }

    /// The operator denies or allows what was allowed at first.
    pub(crate) fn policy(&mut self, denies: bool) {
        self.policy = policy(denies);
        let change = EdgeChange::Peers(self.policy.clone());
        self.server.apply(self.now, &change);
        if denies {
            // Those of the fleet and of ourselves are allowed by other rules.
            self.permitted.retain(|(_, ip), _| !self.policy.deny.iter().any(|net| net.contains(ip)));
        }
    }

    /// A client has no allocation any more.
    pub(crate) fn forget(&mut self, client: usize) {
        self.permitted.retain(|(owner, _), _| *owner != client);
    }

    /// All ends: nothing may be left.
    pub(crate) fn finish(&mut self) {
        while !self.waiting.is_empty() {
            self.bound(0, None);
        }
        self.settle();
        self.wait(Duration::from_secs(3601));
        assert_eq!(self.server.allocations(), 0);
        assert!(self.open.is_empty(), "{:?} are open", self.open);
        self.wait(Duration::from_secs(120));
        assert_eq!(self.server.free_ports(self.now), self.relays.len() * usize::from(PORTS));
        assert_eq!(self.server.poll_timeout(), None);
    }
}

fn policy(denies: bool) -> PeerPolicy {
    let nets: Vec<_> = ["198.51.100.0/24", "2001:db8:1::/48"].map(|net| net.parse().unwrap()).into();
    if denies {
        PeerPolicy { allow: Vec::new(), deny: nets }
    } else {
        PeerPolicy { allow: nets, deny: Vec::new() }
    }
}
