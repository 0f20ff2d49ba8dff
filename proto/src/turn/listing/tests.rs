use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::*;
use crate::id::SessionId;
use crate::mesh::uplink::{EdgeView, Secret, TurnUser};
use crate::time::Unix;
use crate::turn::{Client, Config, FiveTuple, Output, RelayAddress, Transport, Via, password};

fn peer() -> SocketAddr {
    "198.51.100.1:9".parse().unwrap()
}

fn session(n: u8) -> SessionId {
    SessionId::from_random([n; 15])
}

fn tuple(n: u16) -> FiveTuple {
    let [high, low] = n.to_be_bytes();
    FiveTuple {
        transport: Transport::Udp,
        client: SocketAddr::from(([192, 0, high + 2, low], 5000)),
        server: "203.0.113.5:3478".parse().unwrap(),
    }
}

struct World {
    server: Server,
    now: Now,
    secret: Secret,
}

impl World {
    fn new() -> Self {
        let ip = "203.0.113.5".parse().unwrap();
        let relay = RelayAddress { bind: ip, advertised: ip, first: 10_000, last: 30_000 };
        let now = Now { mono: Mono(Duration::from_secs(1_000_000)), unix: Unix::from_secs(1_700_000_000) };
        let mut config = Config::new("chappe", vec![relay]);
        config.quotas.per_user = u32::MAX;
        let mut server = Server::new(config, [3; 32], now);
        let secret = Secret(b"a secret of sixteen".to_vec());
        let mut view = EdgeView { secrets: [(1, secret.clone())].into(), ..EdgeView::default() };
        view.peers.allow = vec!["198.51.100.0/24".parse().unwrap()];
        view.users = vec![TurnUser::of_password("chappe", "ben", "word")];
        server.set_view(now, &view);
        Self { server, now, secret }
    }

    /// The client of this number allocates as a user of the REST form.
    fn allocate(&mut self, n: u16, user: &str) -> Client {
        let username = format!("1800000000:{user}");
        let client = Client::new(&username, &password(&self.secret, &username), Transport::Udp, [1; 32]);
        self.settled(n, client, |client, now| client.allocate(now, None, None))
    }

    fn settled(&mut self, n: u16, mut client: Client, ask: impl FnOnce(&mut Client, Mono)) -> Client {
        ask(&mut client, self.now.mono);
        while let Some(bytes) = client.poll_transmit() {
            self.server.handle_client(self.now, &tuple(n), Via(n.into()), &bytes);
            while let Some(output) = self.server.poll_output() {
                match output {
                    Output::BindRelay { relay, ip, ports } => {
                        self.server.handle_bound(self.now, relay, Ok(SocketAddr::new(ip, ports[0])));
                    }
                    Output::Send { bytes, .. } => drop(client.handle_input(self.now.mono, &bytes)),
                    _ => {}
                }
            }
        }
        client
    }

    /// All of them by pages of so many: numbers.
    fn all(&self, filter: &AllocationFilter, limit: usize) -> Vec<u64> {
        let (mut all, mut from) = (Vec::new(), Some(0));
        while let Some(place) = from {
            let (page, next) = self.server.page(self.now, filter, place, limit);
            assert!(page.len() <= limit.min(ALLOCATIONS_PAGE));
            all.extend(page.into_iter().map(|report| report.number));
            from = next;
        }
        all
    }
}

#[test]
fn one_is_told_with_its_figures() {
    let mut world = World::new();
    let client = world.allocate(1, &session(1).to_string());
    let mut client = world.settled(1, client, |client, now| client.permit(now, &[peer()]));
    let mut bytes = Vec::new();
    client.send(peer(), &[7; 100], &mut bytes);
    world.now = world.now.after(Duration::from_secs(60));
    world.server.handle_client(world.now, &tuple(1), Via(1), &bytes);
    let (page, next) = world.server.page(world.now, &AllocationFilter::default(), 0, 10);
    let [report] = &page[..] else { panic!("{page:?}") };
    assert_eq!((report.client, report.server), (tuple(1).client, tuple(1).server));
    assert_eq!((report.session, &report.name, &report.realm), (Some(session(1)), &None, &None));
    assert_eq!((report.relayed.len(), report.relayed[0].ip()), (1, "203.0.113.5".parse().unwrap()));
    assert_eq!((report.age_ms, report.left_ms), (60_000, 540_000));
    assert_eq!((report.permissions, report.channels), (1, 0));
    assert_eq!((report.sent.packets, report.sent.bytes, report.received.packets), (1, 100, 0));
    assert!(next.is_none_or(|next| {
        world.server.page(world.now, &AllocationFilter::default(), next, 10).0.is_empty()
    }));
}

#[test]
fn each_that_stays_is_listed_once_while_others_come_and_go() {
    let mut world = World::new();
    for n in 0..40 {
        world.allocate(n, &format!("u{n}"));
    }
    let all = AllocationFilter::default();
    let stays: BTreeSet<u64> = world.all(&all, 3).into_iter().collect();
    assert_eq!(stays.len(), 40);
    let gone: Vec<u64> = stays.iter().copied().filter(|number| number % 3 == 0).collect();
    let (mut seen, mut from, mut turn) = (Vec::new(), Some(0), 0);
    while let Some(place) = from {
        let (page, next) = world.server.page(world.now, &all, place, 3);
        seen.extend(page.into_iter().map(|report| report.number));
        from = next;
        // After each page one goes, and another one comes into its place, or behind all.
        if let Some(number) = gone.get(turn) {
            assert!(world.server.close(world.now, *number));
            world.allocate(100 + u16::try_from(turn).unwrap(), "new");
        }
        turn += 1;
    }
    assert!(turn >= gone.len(), "some were not closed: {turn}");
    let once: BTreeSet<u64> = seen.iter().copied().collect();
    assert_eq!(once.len(), seen.len(), "one was listed twice");
    for number in stays.iter().filter(|number| !gone.contains(number)) {
        assert!(once.contains(number), "one that stayed was not listed");
    }
}

#[test]
fn closing_one_leaves_the_others_and_its_number_is_nobodys() {
    let mut world = World::new();
    for n in 0..3 {
        world.allocate(n, &session(1).to_string());
    }
    let numbers = world.all(&AllocationFilter::default(), 10);
    assert!(world.server.close(world.now, numbers[1]));
    let mut ended = Vec::new();
    while let Some(output) = world.server.poll_output() {
        if let Output::Event(crate::turn::Event::Ended { client, why, .. }) = output {
            ended.push((client, why));
        }
    }
    assert_eq!(ended, [(tuple(1), EndReason::Closed)]);
    assert_eq!(world.all(&AllocationFilter::default(), 10), [numbers[0], numbers[2]]);
    // The next one has its place, and another number.
    world.allocate(9, "new");
    assert!(!world.server.close(world.now, numbers[1]), "it is over");
    assert!(!world.server.close(world.now, 77));
    assert_eq!(world.all(&AllocationFilter::default(), 10).len(), 3);
}

#[test]
fn filters_take_who_is_meant_and_nobody_else() {
    let mut world = World::new();
    world.allocate(1, &session(1).to_string());
    world.allocate(2, &session(2).to_string());
    world.allocate(3, "ada");
    let (username, password) = world.server.probe_credential(world.now).unwrap();
    let client = Client::new(&username, &password, Transport::Udp, [1; 32]);
    world.settled(4, client, |client, now| client.allocate(now, None, None));
    let client = Client::new("ben", "word", Transport::Udp, [1; 32]);
    world.settled(5, client, |client, now| client.allocate(now, None, None));
    assert_eq!(world.server.list(world.now).count(), 5);
    let found = |filter: AllocationFilter| {
        let (page, _) = world.server.page(world.now, &filter, 0, 10);
        page.iter().map(|report| report.client.ip()).collect::<Vec<_>>()
    };
    let of = |numbers: &[u16]| numbers.iter().map(|n| tuple(*n).client.ip()).collect::<Vec<_>>();
    let named = |name: &str| AllocationFilter { name: Some(name.into()), ..AllocationFilter::default() };
    assert_eq!(found(AllocationFilter::default()), of(&[1, 2, 3, 5]), "a probe is nobody's");
    assert_eq!(found(AllocationFilter::of_session(session(2))), of(&[2]));
    assert_eq!(found(named("ada")), of(&[3]));
    assert_eq!(found(named("ben")), of(&[5]));
    assert_eq!(found(AllocationFilter { realm: Some("chappe".into()), ..named("ben") }), of(&[5]));
    assert_eq!(found(AllocationFilter { realm: Some("other".into()), ..named("ben") }), of(&[]));
    assert_eq!(found(AllocationFilter { realm: Some("chappe".into()), ..named("ada") }), of(&[]));
    assert_eq!(found(named("chappe-probe")), of(&[]));
    let at = AllocationFilter { client: Some(tuple(3).client.ip()), ..AllocationFilter::default() };
    assert_eq!(found(at.clone()), of(&[3]));
    assert_eq!(found(AllocationFilter { client: at.client, ..named("ben") }), of(&[]));
    // Who names nobody closes nothing.
    assert_eq!(world.server.close_some(world.now, &at, 0), (0, None));
    assert_eq!(world.server.close_some(world.now, &AllocationFilter::default(), 0), (0, None));
    assert_eq!(world.server.close_some(world.now, &AllocationFilter::of_session(session(1)), 0).0, 1);
    assert_eq!(world.server.list(world.now).count(), 4);
}

/// However many there are, a turn looks at a part of them, and says where to go on.
#[test]
fn a_turn_is_bounded() {
    let mut world = World::new();
    let many = u16::try_from(ALLOCATIONS_TURN + 300).unwrap();
    for n in 0..many {
        world.allocate(n, if n + 1 == many { "last" } else { "ada" });
    }
    let named = |name: &str| AllocationFilter { name: Some(name.into()), ..AllocationFilter::default() };
    let (page, next) = world.server.page(world.now, &named("last"), 0, 10);
    assert_eq!((page.len(), next), (0, Some(ALLOCATIONS_TURN)));
    assert_eq!(world.all(&named("last"), 10).len(), 1);
    let (page, next) = world.server.page(world.now, &named("ada"), 0, usize::MAX);
    assert_eq!((page.len(), next), (ALLOCATIONS_PAGE, Some(u32::try_from(ALLOCATIONS_PAGE).unwrap())));
    assert_eq!(world.all(&named("ada"), usize::MAX).len(), usize::from(many) - 1);
    let (closed, next) = world.server.close_some(world.now, &named("ada"), 0);
    assert_eq!((closed as usize, next), (ALLOCATIONS_PAGE, Some(u32::try_from(ALLOCATIONS_PAGE).unwrap())));
}
