//! A server, its clients and its clock. The commands:
//!
//! - `server [v4|v6|dual|nat] [classic] [nodf] [users] [realm=TEXT] [listener=ADDRESS=REALM] [ports=N]
//!   [QUOTA=N]...` begins anew, at second 0, with `users` without a shared secret. `nat`, the
//!   default, has relays bound at 10.0.0.5 and advertised as 203.0.113.5; peers of 198.51.100.0/24 and
//!   2001:db8:1::/48 are allowed.
//! - `client NAME ADDRESS [tcp|tls|dtls] [at=ADDRESS] [realm=TEXT] [rfc8489] [as=USER]
//!   [expiry=SECONDS] [secret=N] [username=TEXT] [password=TEXT]` introduces a client, of the listener
//!   at ADDRESS; its username is `expiry:session`, the session being of USER, by default its own. With
//!   `rfc8489` it takes what a challenge offers, else it is one of RFC 5389.
//! - `user REALM NAME PASSWORD [md5|sha256]` sets a long-term user with both keys or one, `remove REALM
//!   NAME` removes it; `view REALM NAME PASSWORD` is a whole view with this one user and no secret.
//! - `origins [ORIGIN=REALM]...`, `alternates [ADDRESS]...` replace these, and `standby [ADDRESS]...`.
//! - `NAME METHOD WORDS...` sends a message: see `request`.
//! - `NAME datagram HEX`, `NAME data NUMBER TEXT [pad|short]` send other packets.
//! - `peer ADDRESS to NAME TEXT` is a datagram at NAME's relayed address; `icmp ADDRESS to NAME TYPE
//!   CODE MTU` an error.
//! - `sockets take|refuse|wait` says what becomes of sockets that the machine asks for; `bound`
//!   and `unbound` answer the first that waits.
//! - `wait SECONDS`, `closed NAME`, `revoke USER`, `leave USER`, `secret add|remove N`, `drain on|off`,
//!   `allow PREFIX...`, `deny PREFIX...`, `fleet ADDRESS FIRST LAST`.
//! - `ports`, `allocations`, `drops`, `limits` print figures.
//!
//! `$NAME` is NAME's relayed address as advertised, `$NAME.bound` as bound.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use chappe_proto::id::SessionId;
use chappe_proto::mesh::uplink::{Alternate, EdgeChange, EdgeView, PeerPolicy, RelayRange, Secret, TurnUser};
use chappe_proto::stun::{Key, TransactionId};
use chappe_proto::time::{Mono, Now, Unix};
use chappe_proto::turn::{
    BindError, Config, Drop, EndReason, FiveTuple, IcmpError, Limit, Output, RelayAddress, RelayId, Server,
    Transport, Via, password,
};

use crate::{request, show};

pub(crate) const REALM: &str = "chappe";
/// The wall clock at second 0.
const EPOCH: u64 = 1_700_000_000;

pub(crate) struct Client {
    pub(crate) tuple: FiveTuple,
    pub(crate) via: Via,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) realm: String,
    pub(crate) rfc8489: bool,
    pub(crate) nonce: Option<String>,
    /// The value of PASSWORD-ALGORITHMS that it got.
    pub(crate) offered: Option<Vec<u8>>,
    /// The key of the last request.
    pub(crate) key: Option<Key>,
    /// Of the last request.
    pub(crate) transaction: TransactionId,
    pub(crate) token: Option<[u8; 8]>,
    relay: Option<RelayId>,
    /// Its relayed address as advertised and as bound.
    relayed: Option<(SocketAddr, SocketAddr)>,
}

#[derive(Clone, Copy)]
enum Sockets {
    Take,
    Refuse,
    Wait,
}

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) now: Now,
    pub(crate) clients: BTreeMap<String, Client>,
    pub(crate) requests: u32,
    /// Who sent last: two users may share a five-tuple.
    pub(crate) speaker: String,
    relays: BTreeMap<RelayId, SocketAddr>,
    waiting: Vec<(RelayId, SocketAddr)>,
    sockets: Sockets,
    policy: PeerPolicy,
}

pub(crate) fn secret(number: u64) -> Secret {
    Secret(format!("secret {number}").into_bytes())
}

/// The session of a user: of one letter of its name.
pub(crate) fn session(user: &str) -> SessionId {
    SessionId::from_random([user.as_bytes()[0]; 15])
}

/// The value of the word `name=value`.
pub(crate) fn value<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

pub(crate) fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap(),
        None => text.parse().unwrap_or_else(|_| panic!("a number: {text}")),
    }
}

pub(crate) fn command(world: &mut Option<World>, words: &[&str]) -> Vec<String> {
    if words[0] == "server" {
        *world = Some(World::new(&words[1..]));
        return Vec::new();
    }
    let world = world.as_mut().expect("a script begins with `server`");
    let words: Vec<String> = words.iter().map(|word| world.expand(word)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut out = Vec::new();
    world.command(&words, &mut out);
    world.settle(&mut out);
    out
}

impl World {
    fn new(words: &[&str]) -> Self {
        let ports = value(words, "ports").map_or(8, number) as u16;
        let relay = |bind: &str, advertised: &str| {
            let (bind, advertised) = (bind.parse().unwrap(), advertised.parse().unwrap());
            RelayAddress { bind, advertised, first: 50000, last: 50000 + ports - 1 }
        };
        let v6 = relay("2001:db8::5", "2001:db8::5");
        let relays = match words {
            _ if words.contains(&"v4") => vec![relay("203.0.113.5", "203.0.113.5")],
            _ if words.contains(&"v6") => vec![v6],
            _ if words.contains(&"dual") => vec![relay("203.0.113.5", "203.0.113.5"), v6],
            _ => vec![relay("10.0.0.5", "203.0.113.5")],
        };
        let mut config = Config::new(value(words, "realm").unwrap_or(REALM), relays);
        config.listener_realms.extend(value(words, "listener").map(|text| {
            let (address, realm) = text.split_once('=').unwrap();
            (address.parse().unwrap(), realm.to_owned())
        }));
        config.listeners = vec!["203.0.113.5:3478".parse().unwrap()];
        config.classic = words.contains(&"classic");
        config.dont_fragment = !words.contains(&"nodf");
        let quotas = &mut config.quotas;
        for (name, quota) in [
            ("allocations", &mut quotas.allocations),
            ("per_user", &mut quotas.per_user),
            ("per_source", &mut quotas.per_source),
            ("challenges_burst", &mut quotas.challenges_burst),
            ("challenges_per_sec", &mut quotas.challenges_per_sec),
        ] {
            *quota = value(words, name).map_or(*quota, |value| number(value) as u32);
        }
        for (name, quota) in
            [("bandwidth", &mut quotas.bandwidth), ("allocation_bandwidth", &mut quotas.allocation_bandwidth)]
        {
            *quota = value(words, name).map_or(*quota, number);
        }
        for (name, quota) in [("permissions", &mut quotas.permissions), ("channels", &mut quotas.channels)] {
            *quota = value(words, name).map_or(*quota, |value| number(value) as usize);
        }
        let now = Now { mono: Mono(Duration::from_secs(100_000)), unix: Unix::from_secs(EPOCH) };
        let allow = ["198.51.100.0/24", "2001:db8:1::/48"].map(|net| net.parse().unwrap());
        let policy = PeerPolicy { allow: allow.into(), deny: Vec::new() };
        let secrets = if words.contains(&"users") { BTreeMap::new() } else { [(1, secret(1))].into() };
        let view = EdgeView { secrets, peers: policy.clone(), ..EdgeView::default() };
        let mut server = Server::new(config, [7; 32], now);
        server.set_view(now, &view);
        Self {
            server,
            now,
            clients: BTreeMap::new(),
            requests: 0,
            speaker: String::new(),
            relays: BTreeMap::new(),
            waiting: Vec::new(),
            sockets: Sockets::Take,
            policy,
        }
    }

    /// Puts in relayed addresses.
    fn expand(&self, word: &str) -> String {
        let mut word = word.to_owned();
        for (name, client) in &self.clients {
            if let Some((advertised, bound)) = client.relayed {
                word = word.replace(&format!("${name}.bound"), &bound.to_string());
                word = word.replace(&format!("${name}"), &advertised.to_string());
            }
        }
        word
    }

    fn command(&mut self, words: &[&str], out: &mut Vec<String>) {
        let now = self.now;
        match *words {
            ["client", name, address, ref rest @ ..] => self.client(name, address, rest),
            ["wait", seconds] => self.wait(seconds, out),
            ["sockets", what] => {
                self.sockets = match what {
                    "take" => Sockets::Take,
                    "refuse" => Sockets::Refuse,
                    _ => Sockets::Wait,
                }
            }
            ["bound"] => {
                let (relay, address) = self.waiting.remove(0);
                self.server.handle_bound(now, relay, Ok(address));
            }
            ["unbound"] => {
                let (relay, _) = self.waiting.remove(0);
                self.server.handle_bound(now, relay, Err(BindError::InUse));
            }
            ["peer", address, "to", name, text] => {
                let text = if text == "\"\"" { "" } else { text };
                let relay = self.clients[name].relay.unwrap();
                let forward = self.server.handle_peer(now, relay, address.parse().unwrap(), text.as_bytes());
                out.extend(show::forward(self, &forward, text.as_bytes()));
            }
            ["icmp", address, "to", name, kind, code, mtu] => {
                let relay = self.clients[name].relay.unwrap();
                let [kind, code] = [kind, code].map(|text| number(text) as u8);
                let error = IcmpError { kind, code, mtu: number(mtu) as u32 };
                self.server.handle_icmp(now, relay, address.parse().unwrap(), error);
            }
            ["view", realm, name, password] => {
                let users = vec![TurnUser::of_password(realm, name, password)];
                let peers = self.policy.clone();
                self.server.set_view(now, &EdgeView { users, peers, ..EdgeView::default() });
            }
            ["closed", name] => self.server.handle_closed(now, &self.clients[name].tuple),
            ["leave", user] => self.server.end(now, session(user), EndReason::Left),
            [what @ ("ports" | "allocations" | "drops" | "limits")] => self.figures(what, out),
            [name, "datagram", hex] => {
                let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
                self.packet(name, &bytes, out);
            }
            [name, "data", channel, text, ref rest @ ..] => {
                let mut bytes = (number(channel) as u16).to_be_bytes().to_vec();
                bytes.extend((text.len() as u16).to_be_bytes());
                bytes.extend(text.as_bytes());
                if rest.contains(&"pad") {
                    bytes.resize(bytes.len().next_multiple_of(4), 0xEE);
                }
                if rest.contains(&"short") {
                    bytes.pop();
                }
                self.packet(name, &bytes, out);
            }
            [name, method, ref rest @ ..] if self.clients.contains_key(name) => {
                let bytes = request::build(self, name, method, rest);
                self.packet(name, &bytes, out);
            }
            ["standby", ref addresses @ ..] => {
                let alternate = |address: &&str| Alternate { address: address.parse().unwrap() };
                self.server.set_standby(&addresses.iter().map(alternate).collect::<Vec<_>>());
            }
            _ => {
                let change = self.change(words);
                self.server.apply(now, &change);
            }
        }
    }

    fn figures(&mut self, what: &str, out: &mut Vec<String>) {
        let named = |name: &str, count: u64| (count > 0).then(|| format!("{name} {count}"));
        match what {
            "ports" => out.push(format!("{} free", self.server.free_ports(self.now))),
            "allocations" => out.extend(show::allocations(self)),
            "drops" => {
                let drops = Drop::ALL.iter().zip(self.server.counters().drops);
                out.extend(drops.filter_map(|(cause, count)| named(cause.name(), count)));
            }
            _ => {
                let limits = Limit::ALL.iter().zip(self.server.limits());
                out.extend(limits.filter_map(|(limit, count)| named(limit.name(), *count)));
            }
        }
    }

    fn client(&mut self, name: &str, address: &str, rest: &[&str]) {
        let client: SocketAddr = address.parse().unwrap();
        let of_name = |transport: &Transport| rest.contains(&transport.name().to_lowercase().as_str());
        let transport = Transport::ALL.into_iter().find(of_name).unwrap_or(Transport::Udp);
        let server = value(rest, "at").unwrap_or("203.0.113.5:3478").parse().unwrap();
        let expiry = value(rest, "expiry").map_or(3600, number) + EPOCH;
        let user = value(rest, "as").unwrap_or(name);
        let username =
            value(rest, "username").map_or_else(|| format!("{expiry}:{}", session(user)), str::to_owned);
        let secret = secret(value(rest, "secret").map_or(1, number));
        let client = Client {
            tuple: FiveTuple { transport, client, server },
            via: Via(self.clients.len() as u32),
            password: value(rest, "password").map_or_else(|| password(&secret, &username), str::to_owned),
            username,
            realm: value(rest, "realm").unwrap_or(REALM).to_owned(),
            rfc8489: rest.contains(&"rfc8489"),
            nonce: None,
            offered: None,
            key: None,
            transaction: TransactionId([0; 12]),
            token: None,
            relay: None,
            relayed: None,
        };
        self.clients.insert(name.to_owned(), client);
    }

    fn change(&mut self, words: &[&str]) -> EdgeChange {
        match *words {
            ["revoke", user] => {
                EdgeChange::Revoked { session: session(user), until: Unix::from_secs(EPOCH + 100_000) }
            }
            ["secret", "add", text] => {
                EdgeChange::SecretAdded { number: number(text), secret: secret(number(text)) }
            }
            ["secret", _, text] => EdgeChange::SecretRemoved { number: number(text) },
            ["user", realm, name, password, ref keys @ ..] => {
                let mut user = TurnUser::of_password(realm, name, password);
                if keys.contains(&"md5") {
                    user.sha256 = None;
                } else if keys.contains(&"sha256") {
                    user.md5 = None;
                }
                EdgeChange::UserSet(user)
            }
            ["remove", realm, name] => {
                EdgeChange::UserRemoved { realm: realm.to_owned(), name: name.to_owned() }
            }
            ["origins", ref pairs @ ..] => {
                let pair =
                    |pair: &&str| pair.split_once('=').map(|(origin, realm)| (origin.into(), realm.into()));
                EdgeChange::Origins { origins: pairs.iter().filter_map(pair).collect() }
            }
            ["alternates", ref addresses @ ..] => {
                let alternate = |address: &&str| Alternate { address: address.parse().unwrap() };
                EdgeChange::Alternates { alternates: addresses.iter().map(alternate).collect() }
            }
            ["drain", how] => EdgeChange::Draining { draining: how == "on" },
            ["allow", ref nets @ ..] => {
                self.policy.allow = nets.iter().map(|net| net.parse().unwrap()).collect();
                EdgeChange::Peers(self.policy.clone())
            }
            ["deny", ref nets @ ..] => {
                self.policy.deny = nets.iter().map(|net| net.parse().unwrap()).collect();
                EdgeChange::Peers(self.policy.clone())
            }
            ["fleet", address, first, last] => {
                let [first, last] = [first, last].map(|text| number(text) as u16);
                EdgeChange::Fleet {
                    relays: vec![RelayRange { address: address.parse().unwrap(), first, last }],
                }
            }
            _ => panic!("no command: {words:?}"),
        }
    }

    /// Hands a packet to the server and shows where it goes.
    pub(crate) fn packet(&mut self, name: &str, bytes: &[u8], out: &mut Vec<String>) {
        name.clone_into(&mut self.speaker);
        let (tuple, via) = (self.clients[name].tuple, self.clients[name].via);
        let forward = self.server.handle_client(self.now, &tuple, via, bytes);
        out.extend(show::forward(self, &forward, bytes));
    }

    /// Time passes; timers fire when they are due.
    fn wait(&mut self, seconds: &str, out: &mut Vec<String>) {
        let seconds = Duration::try_from_secs_f64(seconds.parse().unwrap()).unwrap();
        let until = self.now.after(seconds);
        while let Some(due) = self.server.poll_timeout().filter(|due| *due <= until.mono) {
            self.now = self.now.after(due.until(self.now.mono));
            self.server.handle_timeout(self.now);
            self.settle(out);
        }
        self.now = until;
    }

    /// Carries out what the machine asks for.
    fn settle(&mut self, out: &mut Vec<String>) {
        while let Some(output) = self.server.poll_output() {
            match &output {
                Output::BindRelay { relay, ip, ports } => {
                    let address = SocketAddr::new(*ip, ports[0]);
                    match self.sockets {
                        Sockets::Take => {
                            self.relays.insert(*relay, address);
                            self.server.handle_bound(self.now, *relay, Ok(address));
                        }
                        Sockets::Refuse => {
                            self.server.handle_bound(self.now, *relay, Err(BindError::InUse));
                        }
                        Sockets::Wait => self.waiting.push((*relay, address)),
                    }
                }
                Output::Send { client, bytes, .. } => {
                    request::learn(self, client, bytes);
                    self.learn_relay(client, bytes);
                }
                _ => {}
            }
            out.extend(show::output(self, &output));
        }
    }

    /// Remembers which socket a client's relayed address is.
    fn learn_relay(&mut self, tuple: &FiveTuple, bytes: &[u8]) {
        let Some(relayed) = request::relayed(bytes) else { return };
        let bound = self
            .relays
            .iter()
            .rev()
            .find(|(_, bound)| bound.port() == relayed.port() && bound.is_ipv4() == relayed.is_ipv4());
        let relay = bound.map(|(relay, _)| *relay);
        for client in self.clients.values_mut().filter(|client| client.tuple == *tuple) {
            client.relay = relay.or(client.relay);
            client.relayed = bound.map(|(_, bound)| (relayed, *bound)).or(client.relayed);
        }
    }
}
