//! Authentication over real sockets: long-term users, both forms of the mechanism, a listener's realm.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a failure fails the test")]

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use chappe_edge::{Credentials, ListenAt, Source};
use chappe_proto::mesh::uplink::TurnUser;
use chappe_proto::stun::{Algorithm, Code, Integrity, Method};
use chappe_proto::time::Mono;
use chappe_proto::turn::{Authentication, Client, ClientEvent, ClientOptions, Transport};
use support::{PATIENCE, loopback, standalone, start};

/// Runs a client over UDP until something happens to it.
fn event(client: &mut Client, server: SocketAddr) -> ClientEvent {
    let socket = UdpSocket::bind((server.ip(), 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let begin = Instant::now();
    let now = || Mono(begin.elapsed());
    client.allocate(now(), None, None);
    let mut buffer = vec![0; 2048];
    loop {
        while let Some(bytes) = client.poll_transmit() {
            socket.send(&bytes).unwrap();
        }
        if let Some(event) = client.poll_event() {
            return event;
        }
        let length = socket.recv(&mut buffer).unwrap();
        client.handle_input(now(), &buffer[..length]);
    }
}

#[test]
fn long_term_users_in_both_forms_and_the_realm_of_a_listener() {
    let mut config = standalone("127.0.0.1");
    let mut branch = ListenAt::new(Transport::Udp, "127.0.0.1:0".parse().unwrap());
    branch.realm = Some("branch.example".to_owned());
    config.listeners.push(branch);
    let users = [("chappe.test", "secret"), ("branch.example", "other")]
        .map(|(realm, password)| TurnUser::of_password(realm, "ada", password));
    config.source =
        Source::Standalone(Credentials { users: users.into(), peers: loopback(), ..Credentials::default() });
    let edge = start(config);
    let listeners: Vec<SocketAddr> = edge
        .listeners()
        .iter()
        .filter(|(listener, _)| listener.transport == Transport::Udp)
        .map(|(_, local)| *local)
        .collect();
    let login = |server, password, options: ClientOptions| {
        let mut client = Client::new("ada", password, Transport::Udp, [5; 32]).with(options);
        let event = event(&mut client, server);
        (event, client.realm().map(str::to_owned), client.authentication())
    };
    let (modern, old) = (ClientOptions::default(), ClientOptions { algorithms: false, ..Default::default() });
    let old = ClientOptions { anonymity: false, ..old };
    for (server, realm, password) in
        [(listeners[0], "chappe.test", "secret"), (listeners[1], "branch.example", "other")]
    {
        let (event, challenged, used) = login(server, password, modern.clone());
        assert!(matches!(event, ClientEvent::Allocated { .. }), "{event:?}");
        assert_eq!(challenged.as_deref(), Some(realm));
        let expected =
            Authentication { algorithm: Algorithm::Sha256, integrity: Integrity::Sha256, anonymous: true };
        assert_eq!(used, Some(expected));
        let (event, _, used) = login(server, password, old.clone());
        assert!(matches!(event, ClientEvent::Allocated { .. }), "{event:?}");
        let expected =
            Authentication { algorithm: Algorithm::Md5, integrity: Integrity::Sha1, anonymous: false };
        assert_eq!(used, Some(expected));
        let (event, _, _) = login(server, "guess", modern.clone());
        let refused = ClientEvent::Refused { method: Method::ALLOCATE, code: Code::UNAUTHENTICATED };
        assert_eq!(event, refused);
    }
    edge.stop();
}
