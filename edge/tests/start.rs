//! What an edge that cannot start says.

mod support;

use std::net::UdpSocket;

use chappe_edge::{Edge, ListenAt, StartError};
use chappe_proto::turn::Transport;
use support::{listener, standalone, start};

#[test]
fn a_port_in_use_is_named_with_its_transport_and_the_fix() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut config = standalone("127.0.0.1");
    config.listeners[0].bind = address;
    let error = Edge::start(config).unwrap_err();
    assert!(
        matches!(error, StartError::Listener { transport: Transport::Udp, address: at, .. } if at == address)
    );
    let text = error.to_string();
    let port = address.port();
    assert!(text.contains(&format!("cannot listen on {address} over UDP: port {port} is in use")), "{text}");
    assert!(text.contains("choose another port"), "{text}");
}

#[test]
fn a_second_edge_on_the_same_tcp_port_does_not_start() {
    let edge = start(standalone("127.0.0.1"));
    let mut config = standalone("127.0.0.1");
    config.listeners = vec![ListenAt::new(Transport::Tcp, listener(&edge, Transport::Tcp))];
    let text = Edge::start(config).unwrap_err().to_string();
    assert!(text.contains("over TCP") && text.contains("is in use"), "{text}");
}

#[test]
fn an_address_of_no_interface_is_named() {
    let mut config = standalone("127.0.0.1");
    config.listeners[0].bind = "192.0.2.1:3478".parse().unwrap();
    let text = Edge::start(config).unwrap_err().to_string();
    assert!(text.contains("192.0.2.1:3478") && text.contains("no interface of this host"), "{text}");

    let mut config = standalone("127.0.0.1");
    config.relays[0].bind = "192.0.2.1".parse().unwrap();
    let text = Edge::start(config).unwrap_err().to_string();
    assert!(text.contains("relayed sockets to 192.0.2.1") && text.contains("advertised"), "{text}");
}

#[test]
fn a_configuration_that_contradicts_itself_is_refused() {
    let mut config = standalone("127.0.0.1");
    config.relays[0].first = 50_000;
    config.relays[0].last = 49_999;
    assert!(Edge::start(config).unwrap_err().to_string().contains("range of ports is empty"));
    let mut config = standalone("127.0.0.1");
    config.relays[0].advertised = "2001:db8::1".parse().unwrap();
    assert!(Edge::start(config).unwrap_err().to_string().contains("different families"));
    let mut config = standalone("127.0.0.1");
    config.listeners.clear();
    assert!(matches!(Edge::start(config).unwrap_err(), StartError::Missing(_)));
}

#[test]
fn a_stopped_edge_frees_its_ports() {
    let edge = start(standalone("127.0.0.1"));
    let (udp, tcp) = (listener(&edge, Transport::Udp), listener(&edge, Transport::Tcp));
    edge.stop();
    let mut config = standalone("127.0.0.1");
    config.listeners = vec![ListenAt::new(Transport::Udp, udp), ListenAt::new(Transport::Tcp, tcp)];
    start(config);
}

#[test]
fn a_realm_that_no_401_has_room_for_is_named() {
    let mut config = standalone("127.0.0.1");
    config.realm = "r".repeat(65);
    let text = Edge::start(config).unwrap_err().to_string();
    assert!(text.contains("longer than 64 bytes") && text.contains("--realm"), "{text}");
}
