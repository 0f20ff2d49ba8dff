//! The DTLS front of an edge: what it makes of datagrams, of clients that shake hands as they should
//! and of whatever is done to their packets on the way. The edge's own files are compiled in; of the
//! crate around them only what they ask for.
#![no_main]
#![allow(dead_code, unreachable_pub)]

#[path = "../../../proto/tests/fuzz/input.rs"]
mod input;

mod listener;

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use chappe_proto::limits::{DTLS_MAX, DTLS_PER_SOURCE, HALF_OPEN_PER_SOURCE};
use chappe_proto::time::{Mono, Now, Unix};
use chappe_proto::turn::{FiveTuple, Transport};
use dimpl::{Config, Dtls, DtlsCertificate, Output};
use input::Input;
use listener::certificate::{Certificate, Certified, Key};
use listener::dtls::{Associations, Effects, Epoch};

const CLIENTS: usize = 3;
const WAITS: [u64; 8] = [0, 10, 500, 1000, 3000, 10_000, 60_000, 700_000];

struct Client {
    dtls: Dtls,
    tuple: FiveTuple,
    /// What it has written and the network has not delivered.
    sent: VecDeque<Vec<u8>>,
    received: Vec<Vec<u8>>,
    alive: bool,
}

struct World {
    associations: Associations,
    certificate: &'static Certificate,
    clients: Vec<Client>,
    start: Instant,
    now: Mono,
}

fn identity() -> &'static (Certificate, Vec<u8>) {
    static IDENTITY: OnceLock<(Certificate, Vec<u8>)> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["edge.example".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        let key = key.serialize_der();
        let certified = Certified { cert: vec![certificate.clone()] };
        (Certificate { certified, key: Key(key) }, certificate)
    })
}

impl World {
    fn new() -> Self {
        let (certificate, der) = identity();
        let start = Instant::now();
        let now = Mono(Duration::from_secs(1_000_000));
        let associations = Associations::new(Epoch { mono: now, instant: start }).unwrap();
        let config = Arc::new(Config::builder().build().unwrap());
        let clients = (0..CLIENTS).map(|n| {
            let key = certificate.key.0.clone();
            let identity = DtlsCertificate { certificate: der.clone(), private_key: key };
            let mut dtls = Dtls::new_12(config.clone(), identity, start);
            dtls.set_active(true);
            let client = format!("192.0.2.{}:5000", 1 + n / 2).parse().unwrap();
            let tuple =
                FiveTuple { transport: Transport::Dtls, client, server: "203.0.113.5:5349".parse().unwrap() };
            let tuple =
                FiveTuple { client: std::net::SocketAddr::new(tuple.client.ip(), 5000 + n as u16), ..tuple };
            Client { dtls, tuple, sent: VecDeque::new(), received: Vec::new(), alive: true }
        });
        let clients = clients.collect();
        Self { associations, certificate, clients, start, now }
    }

    fn instant(&self) -> Instant {
        self.start + self.now.since(Mono(Duration::from_secs(1_000_000)))
    }

    /// What a client writes now.
    fn pump(&mut self, index: usize) {
        let at = self.instant();
        let client = &mut self.clients[index];
        if !client.alive || client.dtls.handle_timeout(at).is_err() {
            client.alive = false;
            return;
        }
        let mut buffer = vec![0; 4096];
        for _ in 0..32 {
            match client.dtls.poll_output(&mut buffer) {
                Output::Packet(packet) if client.sent.len() < 64 => client.sent.push_back(packet.to_vec()),
                Output::Packet(_) => {}
                Output::ApplicationData(data) => client.received.push(data.to_vec()),
                Output::Timeout(_) => break,
                _ => {}
            }
        }
    }

    /// A datagram of a client's address arrives.
    fn deliver(&mut self, index: usize, datagram: &[u8]) {
        let tuple = self.clients[index].tuple;
        let before = self.associations.len();
        let mut effects = Effects::default();
        let received =
            self.associations.receive(self.now, 0, self.certificate, &tuple, datagram, &mut effects);
        let bytes: usize = effects.packets().map(<[u8]>::len).sum();
        if before == 0 && self.associations.len() == 0 {
            // To a stranger never more than came.
            assert!(bytes <= datagram.len(), "{bytes} for {}", datagram.len());
        }
        for ended in &received.ended {
            assert!(self.clients.iter().any(|client| client.tuple == *ended));
        }
        if let Some(known) = received.index.filter(|known| self.associations.of(*known).is_some()) {
            assert_eq!(self.associations.of(known).unwrap().0, tuple);
        }
        self.answered(index, &effects);
    }

    /// What the server writes reaches the client.
    fn answered(&mut self, index: usize, effects: &Effects) {
        let packets: Vec<Vec<u8>> = effects.packets().map(<[u8]>::to_vec).collect();
        let client = &mut self.clients[index];
        for packet in packets {
            if client.alive && client.dtls.handle_packet(&packet).is_err() {
                client.alive = false;
            }
        }
        self.pump(index);
    }

    fn wait(&mut self, time: u64) {
        let until = self.now + Duration::from_millis(time);
        let mut turns = 0;
        while let Some(due) = self.associations.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            let Some(index) = self.associations.due(self.now) else { break };
            let mut effects = Effects::default();
            let _ = self.associations.handle_timeout(self.now, index, &mut effects);
            turns += 1;
            assert!(turns < 10_000, "timers that stay due");
        }
        self.now = until;
        let overdue: Vec<usize> = self.associations.overdue(self.now).map(|(index, _)| index).collect();
        for index in overdue {
            self.associations.close(index, &mut Effects::default());
        }
        (0..CLIENTS).for_each(|index| self.pump(index));
    }

    fn check(&self) {
        let count = self.associations.len();
        assert!(count <= CLIENTS && count <= DTLS_MAX && count <= DTLS_PER_SOURCE as usize * CLIENTS);
        assert!(self.associations.half_open() <= count);
        assert!(self.associations.half_open() <= HALF_OPEN_PER_SOURCE as usize * CLIENTS);
    }
}

fn run(data: &[u8]) {
    let mut input = Input(data);
    let mut world = World::new();
    (0..CLIENTS).for_each(|index| world.pump(index));
    let mut steps = 0;
    while !input.is_empty() && steps < 120 {
        let client = input.below(CLIENTS);
        match input.below(10) {
            0..=3 => {
                // The network as it should be, for a while.
                for _ in 0..1 + input.below(8) {
                    let Some(packet) = world.clients[client].sent.pop_front() else { break };
                    world.deliver(client, &packet);
                }
            }
            4 => {
                let count = usize::from(input.u8());
                world.deliver(client, &input.bytes(count).to_vec());
            }
            5 => {
                // Bent, cut, from another's address, twice, or not at all.
                let Some(mut packet) = world.clients[client].sent.pop_front() else { continue };
                let (how, at, with) = (input.u8(), usize::from(input.u16()), input.u8());
                if how & 1 != 0 {
                    let at = at % packet.len();
                    packet[at] ^= with;
                }
                if how & 2 != 0 {
                    packet.truncate(at % (packet.len() + 1));
                }
                let to = if how & 4 != 0 { (client + 1) % CLIENTS } else { client };
                for _ in 0..how >> 6 {
                    world.deliver(to, &packet);
                }
            }
            6 => world.wait(WAITS[input.below(8)]),
            7 => {
                let data = vec![7; usize::from(input.u8())];
                if world.clients[client].alive {
                    let _ = world.clients[client].dtls.send_application_data(&data);
                }
                world.pump(client);
            }
            8 => {
                let (index, length) = (input.below(CLIENTS), usize::from(input.u8()) * 8);
                let of = world.associations.of(index).map(|(tuple, _)| tuple);
                let mut effects = Effects::default();
                world.associations.send(index, [&[0x40; 4], &vec![7; length]], 0, &mut effects);
                if let Some(to) = of.and_then(|of| world.clients.iter().position(|it| it.tuple == of)) {
                    world.answered(to, &effects);
                }
            }
            _ => {
                let mut effects = Effects::default();
                world.associations.close(input.below(CLIENTS), &mut effects);
            }
        }
        world.check();
        steps += 1;
    }
    // All are silent: nothing is left.
    world.wait(700_000);
    world.wait(700_000);
    assert_eq!(world.associations.len(), 0);
    assert_eq!(world.associations.half_open(), 0);
    assert_eq!(world.associations.poll_timeout(), None);
    let _ = Now { mono: world.now, unix: Unix::default() };
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
