//! Bandwidth limits: nobody passes more than the limits, and under overload the shares are fair.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]
#![allow(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "shares are compared as floats")]

use std::net::SocketAddr;
use std::time::Duration;

use chappe_proto::limits::{BANDWIDTH_BURST, BANDWIDTH_WINDOW};
use chappe_proto::mesh::uplink::{EdgeView, Secret};
use chappe_proto::time::{Mono, Now, Unix};
use chappe_proto::turn::{
    Client, Config, FiveTuple, Forward, Limit, Output, Quotas, RelayAddress, RelayId, Server, Transport, Via,
    password,
};
use proptest::prelude::*;

/// IPv4 and UDP.
const HEADERS: u64 = 28;

fn peer() -> SocketAddr {
    "198.51.100.1:9".parse().unwrap()
}

struct Caller {
    tuple: FiveTuple,
    via: Via,
    client: Client,
    relay: RelayId,
}

struct World {
    server: Server,
    now: Now,
    callers: Vec<Caller>,
}

impl World {
    /// A server of these limits in bits a second, and callers with a permission for [`peer`].
    fn new(allocation_bandwidth: u64, bandwidth: u64, callers: usize) -> Self {
        let ip = "203.0.113.5".parse().unwrap();
        let relay = RelayAddress { bind: ip, advertised: ip, first: 50000, last: 51000 };
        let mut config = Config::new("chappe", vec![relay]);
        config.quotas = Quotas { allocation_bandwidth, bandwidth, ..Quotas::default() };
        let now = Now { mono: Mono(Duration::from_secs(1_000_000)), unix: Unix::from_secs(1_700_000_000) };
        let mut server = Server::new(config, [3; 32], now);
        let secret = Secret(b"a secret".to_vec());
        let mut view = EdgeView { secrets: [(1, secret.clone())].into(), ..EdgeView::default() };
        view.peers.allow = vec!["198.51.100.0/24".parse().unwrap()];
        server.set_view(now, &view);
        let mut world = Self { server, now, callers: Vec::new() };
        for number in 0..callers {
            let username = format!("1800000000:{number}");
            let client = Client::new(&username, &password(&secret, &username), Transport::Udp, [1; 32]);
            let address = SocketAddr::from(([192, 0, 2, number as u8 + 1], 5000));
            let server = "203.0.113.5:3478".parse().unwrap();
            let tuple = FiveTuple { transport: Transport::Udp, client: address, server };
            world.callers.push(Caller { tuple, via: Via(number as u32), client, relay: RelayId(u32::MAX) });
            world.callers[number].client.allocate(now.mono, None, None);
            world.settle(number);
            world.callers[number].client.permit(now.mono, &[peer()]);
            world.settle(number);
        }
        world
    }

    /// Passes messages between a client and the server until neither has any.
    fn settle(&mut self, number: usize) {
        let caller = &mut self.callers[number];
        while let Some(bytes) = caller.client.poll_transmit() {
            self.server.handle_client(self.now, &caller.tuple, caller.via, &bytes);
            while let Some(output) = self.server.poll_output() {
                match output {
                    Output::BindRelay { relay, ip, ports } => {
                        caller.relay = relay;
                        self.server.handle_bound(self.now, relay, Ok(SocketAddr::new(ip, ports[0])));
                    }
                    Output::Send { bytes, .. } => {
                        caller.client.handle_input(self.now.mono, &bytes);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Sends a payload to the peer; whether it passed.
    fn send(&mut self, number: usize, length: usize) -> bool {
        let caller = &mut self.callers[number];
        let mut bytes = Vec::new();
        caller.client.send(peer(), &vec![7; length], &mut bytes);
        let forward = self.server.handle_client(self.now, &caller.tuple, caller.via, &bytes);
        matches!(forward, Forward::ToPeer { .. })
    }

    /// The peer sends one back; whether it passed.
    fn receive(&mut self, number: usize, length: usize) -> bool {
        let relay = self.callers[number].relay;
        let forward = self.server.handle_peer(self.now, relay, peer(), &vec![7; length]);
        matches!(forward, Forward::ToClient { .. })
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
        while self.server.poll_output().is_some() {}
    }

    fn met(&self, limit: Limit) -> u64 {
        self.server.limits()[limit as usize]
    }
}

/// The level at which demands fit into a limit.
fn water_level(demands: &[f64], limit: f64) -> f64 {
    let mut sorted = demands.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut left = limit;
    for (index, demand) in sorted.iter().enumerate() {
        let level = left / (sorted.len() - index) as f64;
        if *demand > level {
            return level;
        }
        left -= demand;
    }
    f64::INFINITY
}

#[test]
fn an_allocation_has_its_bandwidth_for_long_and_half_a_second_of_it_at_once() {
    let rate = 1_000_000 / 8;
    for receive in [false, true] {
        let mut world = World::new(1_000_000, 0, 2);
        let pass = |world: &mut World, number| {
            if receive { world.receive(number, 972) } else { world.send(number, 972) }
        };
        let burst = (0..1000).filter(|_| pass(&mut world, 0)).count() as u64 * 1000;
        assert_eq!(burst, rate / 2 / 1000 * 1000, "a burst of {BANDWIDTH_BURST:?}");
        // Twice what it may have for ten seconds.
        let mut passed = 0;
        for _ in 0..2500 {
            world.wait(Duration::from_millis(4));
            passed += u64::from(pass(&mut world, 0)) * 1000;
        }
        assert!((rate * 10 - 1000..=rate * 10 + 1000).contains(&passed), "{passed}");
        assert!(pass(&mut world, 1), "each by itself");
        let met = world.met(Limit::AllocationBandwidth);
        assert!(met > 1000 && world.met(Limit::Bandwidth) == 0, "{met}");
    }
}

#[test]
fn what_is_below_every_limit_is_never_held() {
    let mut world = World::new(50_000_000, 10_000_000_000, 3);
    for step in 0..20_000 {
        assert!(world.send(step % 3, 1200) && world.receive(step % 3, 1200));
        world.wait(Duration::from_millis(1));
    }
    assert_eq!(world.server.limits().iter().sum::<u64>(), 0);
}

#[test]
fn the_smallest_limit_is_one() {
    let mut edge = World::new(0, 1, 1);
    assert!(!edge.send(0, 100), "none is zero");
    let mut allocation = World::new(1, 0, 1);
    assert!(allocation.send(0, 100), "a packet longer than all that is had at once");
    assert!(!allocation.send(0, 100));
}

#[test]
fn no_limit_is_none() {
    let mut world = World::new(0, 0, 1);
    assert!((0..20_000).all(|_| world.send(0, 1200)));
}

#[test]
fn a_packet_longer_than_what_is_had_at_once_passes_when_all_of_it_is_there() {
    let mut world = World::new(16_000, 0, 1);
    assert!(world.send(0, 2000));
    assert!(!world.send(0, 2000));
    world.wait(Duration::from_millis(500));
    assert!(world.send(0, 2000));
}

/// What a caller asks for: packets a window, and their payload.
fn demand() -> impl Strategy<Value = (u32, usize)> {
    (prop_oneof![1..40_u32, 40..200_u32, 200..2000_u32], 700..800_usize)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// A megabyte a window for up to twelve callers, each with a constant demand.
    #[test]
    fn shares_are_fair(demands in prop::collection::vec(demand(), 2..12)) {
        const WINDOWS: usize = 6;
        const WARM: usize = 2;
        let limit = 1_000_000_u64;
        let mut world = World::new(0, limit * 80, demands.len());
        let asked: Vec<f64> =
            demands.iter().map(|(packets, size)| f64::from(*packets) * (*size as f64 + 28.0)).collect();
        let level = water_level(&asked, limit as f64);
        let mut passed = vec![0_u64; demands.len()];
        let mut lost = vec![0_u64; demands.len()];
        let (mut total, mut since) = (0_u64, 0_u64);
        // Two hundred steps a window; each sends its packets spread evenly over them.
        let mut due = vec![0_f64; demands.len()];
        for step in 0..WINDOWS * 200 {
            for (number, (packets, size)) in demands.iter().enumerate() {
                due[number] += f64::from(*packets) / 200.0;
                while due[number] >= 1.0 {
                    due[number] -= 1.0;
                    let bytes = *size as u64 + HEADERS;
                    let pass = world.send(number, *size);
                    total += u64::from(pass) * bytes;
                    if step >= WARM * 200 {
                        since += u64::from(pass) * bytes;
                        passed[number] += u64::from(pass) * bytes;
                        lost[number] += u64::from(!pass);
                    }
                }
            }
            world.wait(BANDWIDTH_WINDOW / 200);
        }
        prop_assert!(total <= limit * (WINDOWS as u64 + 1), "{total}");
        let windows = (WINDOWS - WARM) as u64;
        prop_assert!(since <= limit * (windows + 1));
        if level.is_infinite() {
            if asked.iter().sum::<f64>() < limit as f64 * 0.95 {
                prop_assert_eq!(lost.iter().sum::<u64>(), 0);
            }
            return Ok(());
        }
        for (number, asked) in asked.iter().enumerate() {
            let got = passed[number] as f64 / windows as f64;
            if asked + 1700.0 < level * 0.93 {
                prop_assert_eq!(lost[number], 0, "{} of {} at {}", number, asked, level);
            } else {
                // A thirty-second is left over, and a packet that does not fit.
                let fair = asked.min(level);
                prop_assert!(got > fair * 0.93 - 1700.0, "{number} got {got} of {fair}");
                prop_assert!(got < level * 1.07 + 1700.0, "{number} got {got} above {level}");
            }
        }
        prop_assert!(world.met(Limit::Bandwidth) > 0);
    }

    /// Any history: the limit holds over any time.
    #[test]
    fn the_limit_holds(steps in prop::collection::vec((0..4_usize, 1..1200_usize, 0..400_u32, 0..150_u64), 1..80)) {
        let limit = 50_000_u64;
        let mut world = World::new(0, limit * 80, 4);
        let began = world.now;
        let mut total = 0;
        for (number, size, count, pause) in steps {
            for _ in 0..count {
                total += u64::from(world.send(number, size)) * (size as u64 + HEADERS);
            }
            let windows = world.now.mono.since(began.mono).as_millis() as u64 / 100;
            prop_assert!(total <= limit * (windows + 2), "{total} in {windows} windows");
            world.wait(Duration::from_millis(pause));
        }
    }
}
