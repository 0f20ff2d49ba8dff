//! An edge by itself, for trying TURN clients against it:
//!
//! ```text
//! cargo run --release -p chappe-edge --example standalone -- IP:PORT SECRET [RELAY_IP [ADVERTISED_IP]]
//! turnutils_uclient -W SECRET -u x -e 127.0.0.1 -r PEER_PORT -n 200 -m 4 -c IP -p PORT
//! ```
//!
//! Loopback peers are allowed. It ends with its standard input, and prints its figures then.

#![allow(clippy::print_stdout, reason = "an example")]

use std::error::Error;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};

use chappe_edge::{Config, Credentials, Edge, ListenAt, Source};
use chappe_proto::id::{EdgeId, Region};
use chappe_proto::mesh::uplink::{PeerPolicy, Secret};
use chappe_proto::turn::{Quotas, RelayAddress, Transport};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: standalone IP:PORT SECRET [RELAY_IP [ADVERTISED_IP]]";
    let listen: SocketAddr = args.next().ok_or(usage)?.parse()?;
    let secret = Secret(args.next().ok_or(usage)?.into_bytes());
    let bind: IpAddr = args.next().map_or(Ok(listen.ip()), |text| text.parse())?;
    let advertised: IpAddr = args.next().map_or(Ok(bind), |text| text.parse())?;
    let edge = Edge::start(Config {
        id: EdgeId::new("example")?,
        build: env!("CARGO_PKG_VERSION").to_owned(),
        region: Region::new("here")?,
        coordinates: None,
        listeners: vec![ListenAt::new(Transport::Udp, listen), ListenAt::new(Transport::Tcp, listen)],
        relays: vec![RelayAddress { bind, advertised, first: 49152, last: 65535 }],
        realm: "example".to_owned(),
        classic: false,
        quotas: Quotas { allocations: 16_384, ..Quotas::default() },
        source: Source::Standalone(Credentials {
            secrets: vec![secret],
            peers: PeerPolicy { allow: vec!["127.0.0.0/8".parse()?, "::1/128".parse()?], deny: vec![] },
            ..Credentials::default()
        }),
    })?;
    println!("{}", edge.status()?);
    std::io::stdin().read_to_end(&mut Vec::new())?;
    println!("{:#?}", edge.stats()?);
    edge.stop();
    Ok(())
}
