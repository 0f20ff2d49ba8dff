use super::super::{Config, FiveTuple, Forward, Output, RelayAddress, Server, Via, password};
use super::*;
use crate::mesh::uplink::{Alternate, EdgeChange, EdgeView, Secret, TurnUser};
use crate::stun::{Algorithm, Integrity};
use crate::time::{Now, Unix};

/// A server and two clients.
struct Pair {
    server: Server,
    clients: [Client; 2],
    now: Now,
    got: Vec<(usize, SocketAddr, Vec<u8>)>,
}

fn tuple(transport: Transport, client: usize) -> FiveTuple {
    let client = SocketAddr::new([192, 0, 2, u8::try_from(client).unwrap()].into(), 5000);
    FiveTuple { transport, client, server: "203.0.113.5:3478".parse().unwrap() }
}

impl Pair {
    fn new(transport: Transport) -> Self {
        let ip = "203.0.113.5".parse().unwrap();
        let relays = vec![RelayAddress { bind: ip, advertised: ip, first: 50000, last: 50009 }];
        let now = Now { mono: Mono(Duration::from_secs(1000)), unix: Unix::from_secs(1_700_000_000) };
        let mut server = Server::new(Config::new("chappe", relays), [1; 32], now);
        let secret = Secret(b"secret".to_vec());
        let clients = [2, 3].map(|seed| {
            let username = format!("1700003600:user{seed}");
            Client::new(&username, &password(&secret, &username), transport, [seed; 32])
        });
        let view = EdgeView { secrets: [(1, secret)].into(), ..EdgeView::default() };
        server.set_view(now, &view);
        Self { server, clients, now, got: Vec::new() }
    }

    fn deliver(&mut self, from: usize, bytes: &[u8]) {
        let transport = self.clients[from].transport;
        let forward = self.server.handle_client(self.now, &tuple(transport, from), Via(0), bytes);
        if let Forward::ToClient { client, head, body, pad, .. } = forward {
            let mut packet = [head.as_slice(), &bytes[body]].concat();
            packet.resize(packet.len() + usize::from(pad), 0);
            self.hand_over(client, &packet);
        }
    }

    fn hand_over(&mut self, client: FiveTuple, packet: &[u8]) {
        let to = (0..2).find(|to| tuple(client.transport, *to) == client).unwrap();
        if let Some((peer, body)) = self.clients[to].handle_input(self.now.mono, packet) {
            self.got.push((to, peer, packet[body].to_vec()));
        }
    }

    fn run(&mut self) -> Vec<(usize, ClientEvent)> {
        loop {
            let sent: Vec<_> =
                (0..2).filter_map(|from| Some((from, self.clients[from].poll_transmit()?))).collect();
            if sent.is_empty() {
                break;
            }
            for (from, bytes) in sent {
                self.deliver(from, &bytes);
                while let Some(output) = self.server.poll_output() {
                    match output {
                        Output::BindRelay { relay, ip, ports } => {
                            self.server.handle_bound(self.now, relay, Ok(SocketAddr::new(ip, ports[0])));
                        }
                        Output::Send { client, bytes, .. } => self.hand_over(client, &bytes),
                        _ => {}
                    }
                }
            }
        }
        let events = |(at, client): (usize, &mut Client)| {
            std::iter::from_fn(|| client.poll_event()).map(|event| (at, event)).collect::<Vec<_>>()
        };
        self.clients.iter_mut().enumerate().flat_map(events).collect()
    }
}

#[test]
fn two_clients_talk_through_one_server() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut pair = Pair::new(transport);
        let now = pair.now.mono;
        pair.clients.iter_mut().for_each(|client| client.allocate(now, None, None));
        let events = pair.run();
        let relayed: Vec<_> = events
            .iter()
            .map(|(_, event)| match event {
                ClientEvent::Allocated { relayed, lifetime: 600, .. } => *relayed,
                other => panic!("{other:?}"),
            })
            .collect();
        pair.clients[0].bind(now, relayed[1]);
        pair.clients[1].permit(now, &[relayed[0]]);
        let bound = ClientEvent::Bound { peer: relayed[1], number: 0x4000 };
        assert_eq!(pair.run(), [(0, bound), (1, ClientEvent::Permitted(vec![relayed[0]]))]);
        let (mut there, mut back) = (Vec::new(), Vec::new());
        pair.clients[0].send(relayed[1], b"hello", &mut there);
        pair.clients[1].send(relayed[0], b"hi", &mut back);
        pair.deliver(0, &there);
        pair.deliver(1, &back);
        assert_eq!(pair.got, [(1, relayed[0], b"hello".to_vec()), (0, relayed[1], b"hi".to_vec())]);
        pair.clients[0].refresh(now, Some(0));
        assert_eq!(pair.run(), [(0, ClientEvent::Refreshed { lifetime: 0 })]);
        assert_eq!(pair.server.allocations(), 1);
    }
}

#[test]
fn a_stale_nonce_is_replaced_and_a_wrong_password_is_final() {
    let mut pair = Pair::new(Transport::Udp);
    pair.clients[0].allocate(pair.now.mono, None, Some(3600));
    assert!(matches!(pair.run()[..], [(0, ClientEvent::Allocated { .. })]));
    for _ in 0..2 {
        pair.now = pair.now.after(Duration::from_secs(1900));
        pair.clients[0].refresh(pair.now.mono, Some(3600));
        assert_eq!(pair.run(), [(0, ClientEvent::Refreshed { lifetime: 3600 })]);
    }
    pair.clients[1].password.push('x');
    pair.clients[1].allocate(pair.now.mono, None, None);
    let refused = ClientEvent::Refused { method: Method::ALLOCATE, code: Code::UNAUTHENTICATED };
    assert_eq!(pair.run(), [(1, refused)]);
}

#[test]
fn what_is_lost_is_sent_again_and_in_the_end_given_up() {
    let mut pair = Pair::new(Transport::Udp);
    let start = pair.now.mono;
    pair.clients[0].binding(start);
    let lost = pair.clients[0].poll_transmit().unwrap();
    let mut at = Vec::new();
    let client = &mut pair.clients[0];
    while let Some(due) = client.poll_timeout() {
        client.handle_timeout(due);
        at.push(due.since(start).as_millis());
        if let Some(again) = client.poll_transmit() {
            assert_eq!(again, lost);
        }
    }
    // RFC 8489 section 6.2.1's own example.
    assert_eq!(at, [500, 1500, 3500, 7500, 15500, 31500, 39500]);
    assert_eq!(client.poll_event(), Some(ClientEvent::TimedOut(Method::BINDING)));
    pair.clients[0].binding(start);
    pair.clients[0].poll_transmit();
    pair.clients[0].handle_timeout(start + RTO);
    let mapped = "192.0.2.0:5000".parse().unwrap();
    assert_eq!(pair.run(), [(0, ClientEvent::Mapped(mapped))]);
    assert_eq!(pair.clients[0].poll_timeout(), None);
}

/// A server with these users, and a client of one of them.
fn with_users(users: &[TurnUser], options: Options) -> Pair {
    let mut pair = Pair::new(Transport::Udp);
    let view = EdgeView { users: users.to_vec(), ..EdgeView::default() };
    pair.server.set_view(pair.now, &view);
    let client = Client::new("ada", "secret", Transport::Udp, [9; 32]).with(options);
    pair.clients[0] = client;
    pair
}

#[test]
fn a_client_takes_what_is_offered_or_none_of_it() {
    let both = TurnUser::of_password("chappe", "ada", "secret");
    let md5 = TurnUser { sha256: None, ..both.clone() };
    let modern = Options::default();
    let plain = Options { anonymity: false, ..modern.clone() };
    let old = Options { algorithms: false, anonymity: false, origin: None };
    let (sha256, sha1) = (Integrity::Sha256, Integrity::Sha1);
    for (user, options, algorithm, integrity, anonymous) in [
        (&both, &modern, Algorithm::Sha256, sha256, true),
        (&both, &plain, Algorithm::Sha256, sha256, false),
        (&both, &old, Algorithm::Md5, sha1, false),
        (&md5, &modern, Algorithm::Md5, sha256, true),
        (&md5, &old, Algorithm::Md5, sha1, false),
    ] {
        let mut pair = with_users(std::slice::from_ref(user), options.clone());
        let now = pair.now.mono;
        pair.clients[0].allocate(now, None, None);
        assert!(matches!(pair.run()[..], [(0, ClientEvent::Allocated { .. })]));
        let expected = Authentication { algorithm, integrity, anonymous };
        assert_eq!(pair.clients[0].authentication(), Some(expected));
        assert_eq!(pair.clients[0].realm(), Some("chappe"));
        pair.clients[0].refresh(now, None);
        assert_eq!(pair.run(), [(0, ClientEvent::Refreshed { lifetime: 600 })]);
        // A stale nonce is replaced in either form.
        pair.now = pair.now.after(Duration::from_secs(3601));
        pair.clients[0].allocate(pair.now.mono, None, None);
        assert!(matches!(pair.run()[..], [(0, ClientEvent::Allocated { .. })]));
    }
}

#[test]
fn a_list_that_was_taken_out_is_noticed() {
    let mut pair = with_users(&[TurnUser::of_password("chappe", "ada", "secret")], Options::default());
    pair.clients[0].allocate(pair.now.mono, None, None);
    let request = pair.clients[0].poll_transmit().unwrap();
    let transaction = Message::parse(&request).unwrap().transaction;
    let challenge = |nonce: &str| {
        Writer::new(Class::Error, Method::ALLOCATE, transaction)
            .error_code(Code::UNAUTHENTICATED, "")
            .attribute(crate::stun::attributes::REALM, b"chappe")
            .attribute(crate::stun::attributes::NONCE, nonce.as_bytes())
            .finish()
    };
    pair.clients[0].handle_input(pair.now.mono, &challenge("obMatJos2AAABxyz"));
    assert_eq!(pair.clients[0].poll_transmit(), None, "RFC 8489 section 9.2.5: not again");
    let refused = ClientEvent::Refused { method: Method::ALLOCATE, code: Code::UNAUTHENTICATED };
    assert_eq!(pair.clients[0].poll_event(), Some(refused));
}

#[test]
fn exchanges_tell_what_became_of_each_request() {
    let mut pair = with_users(&[TurnUser::of_password("chappe", "ada", "secret")], Options::default());
    let now = pair.now.mono;
    pair.clients[0].allocate(now, None, None);
    pair.clients[0].poll_transmit();
    pair.clients[0].handle_timeout(now + RTO);
    pair.now = pair.now.after(RTO + Duration::from_millis(30));
    pair.run();
    let first = pair.clients[0].poll_exchange().unwrap();
    let outcome = Outcome::Refused { code: Code::UNAUTHENTICATED, reason: String::new() };
    assert_eq!((first.outcome, first.realm.as_deref()), (outcome, Some("chappe")));
    assert_eq!((first.elapsed, first.transmissions), (RTO + Duration::from_millis(30), 2));
    let second = pair.clients[0].poll_exchange().unwrap();
    assert_eq!((second.method, second.outcome), (Method::ALLOCATE, Outcome::Success));
    assert_eq!((second.elapsed, second.transmissions), (Duration::ZERO, 1));
    assert_eq!(pair.clients[0].poll_exchange(), None);

    let software = Writer::new(Class::Error, Method::REFRESH, {
        pair.clients[0].refresh(pair.now.mono, None);
        Message::parse(&pair.clients[0].poll_transmit().unwrap()).unwrap().transaction
    })
    .error_code(Code::FORBIDDEN, "No")
    .attribute(crate::stun::attributes::SOFTWARE, b"other 1.0");
    pair.clients[0].handle_input(pair.now.mono, &software.finish());
    let third = pair.clients[0].poll_exchange().unwrap();
    assert_eq!(third.outcome, Outcome::Refused { code: Code::FORBIDDEN, reason: "No".to_owned() });
    assert_eq!(third.software.as_deref(), Some("other 1.0"));
}

#[test]
fn a_client_learns_where_else_to_go() {
    let mut pair = Pair::new(Transport::Tcp);
    let address = "203.0.113.9:3478".parse().unwrap();
    let alternates = vec![Alternate { address }];
    pair.server.apply(pair.now, &EdgeChange::Alternates { alternates });
    pair.clients[0].allocate(pair.now.mono, None, None);
    assert_eq!(pair.run(), [(0, ClientEvent::Redirected(address))]);
}

#[test]
fn a_server_of_rfc_5389_is_served_as_ever() {
    // With a realm so long that the other form would be too much for a stranger.
    let realm = "r".repeat(crate::limits::CHALLENGE_REALM_MAX);
    let mut pair = Pair::new(Transport::Udp);
    let ip = "203.0.113.5".parse().unwrap();
    let relays = vec![RelayAddress { bind: ip, advertised: ip, first: 50000, last: 50009 }];
    let server = |seed| {
        let mut server = Server::new(Config::new(&*realm, relays.clone()), [seed; 32], pair.now);
        let secrets = [(1, Secret(b"secret".to_vec()))].into();
        server.set_view(pair.now, &EdgeView { secrets, ..EdgeView::default() });
        server
    };
    let (first, restarted) = (server(1), server(2));
    pair.server = first;
    pair.clients[0].allocate(pair.now.mono, None, None);
    assert!(matches!(pair.run()[..], [(0, ClientEvent::Allocated { .. })]));
    let expected = Authentication { algorithm: Algorithm::Md5, integrity: Integrity::Sha1, anonymous: false };
    assert_eq!(pair.clients[0].authentication(), Some(expected));
    // A longer request has room for the other form: from its stale nonce on the client uses it.
    pair.server = restarted;
    pair.clients[0].allocate(pair.now.mono, None, None);
    assert!(matches!(pair.run()[..], [(0, ClientEvent::Allocated { .. })]));
    let expected =
        Authentication { algorithm: Algorithm::Sha256, integrity: Integrity::Sha256, anonymous: false };
    assert_eq!(pair.clients[0].authentication(), Some(expected));
}
