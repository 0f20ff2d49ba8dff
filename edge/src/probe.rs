//! Probes of listeners (`chappe_proto::turn::Probing`) over real sockets: of the edge's own, which it asks as a
//! client would (over TLS as a browser, which wants a certificate that it trusts), and of other edges', for the
//! nodes that ask for it.

mod dtls;
mod link;
pub(crate) mod outside;
mod tls;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use chappe_proto::limits::{PROBE_ALLOCATE_EVERY, PROBE_EVERY, PROBE_WITHIN};
use chappe_proto::mesh::probe::{Cause, Fault, Found, Step};
use chappe_proto::mesh::uplink::Listener;
use chappe_proto::proxy_protocol;
use chappe_proto::time::Mono;
use chappe_proto::turn::{ProbeOutput, Probing, Reach, Transport};
use rustix::io::Errno;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use self::link::Link;
use crate::clock;
use crate::command::{Command, Handle};
use crate::config::ListenAt;
use crate::health::Health;
use crate::listener::Certificate;

/// A listener, as clients reach it and as this host does.
pub(crate) struct Probed {
    listener: Listener,
    to: SocketAddr,
    /// Whether connections begin with a PROXY header.
    proxied: bool,
    /// For TLS and DTLS, of this edge's own.
    certificate: Option<Arc<Certificate>>,
    /// For TLS.
    check: Option<tls::Check>,
}

impl Probed {
    /// A listener of this edge that was bound to `local` as it is told to, with its certificate where it has one.
    pub(crate) fn new(
        told: &ListenAt,
        listener: Listener,
        local: SocketAddr,
        certificate: Option<Arc<Certificate>>,
    ) -> io::Result<Self> {
        let check = match told.transport {
            Transport::Tls => {
                Some(tls::Check::new(&listener, (!told.trusted).then(crate::trust::web_roots))?)
            }
            _ => None,
        };
        Ok(Self { listener, to: reach(local), proxied: !told.proxy_from.is_empty(), certificate, check })
    }

    /// A listener of another edge. Whether browsers trust its certificate that edge finds out itself.
    fn outside(listener: Listener) -> io::Result<Self> {
        let check = match listener.transport {
            Transport::Tls => Some(tls::Check::new(&listener, None)?),
            _ => None,
        };
        Ok(Self { to: listener.address, listener, proxied: false, certificate: None, check })
    }
}

/// Probes the listeners until the edge stops.
pub(crate) async fn run(
    listeners: Vec<Probed>,
    driver: Handle,
    health: Arc<Health>,
    mut stop: watch::Receiver<bool>,
) {
    let mut every = interval(PROBE_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first allocations come a turn after the start: a cluster's secrets have come by then.
    let mut allocated = clock::mono() + PROBE_EVERY / 2 - PROBE_ALLOCATE_EVERY;
    let mut before: BTreeMap<u16, Fault> = BTreeMap::new();
    loop {
        tokio::select! {
            _ = every.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let due = clock::mono().since(allocated) >= PROBE_ALLOCATE_EVERY;
        let mut credential = None;
        if due || before.values().any(|fault| fault.step == Step::Allocate) {
            credential = driver.ask(Command::ProbeCredential).await.ok().flatten();
        }
        if due && credential.is_some() {
            allocated = clock::mono();
        }
        let (mut answered, mut faults) = (Vec::new(), BTreeMap::new());
        for (place, probed) in (0..).zip(&listeners) {
            let known = before.get(&place);
            // What an Allocate said stands until the next one.
            let stands = known.filter(|fault| fault.step == Step::Allocate && credential.is_none());
            let reach = match &credential {
                Some((username, password)) if due || stands.is_some() || known.is_some() => {
                    Reach::Allocation { username: username.clone(), password: password.clone() }
                }
                _ => Reach::Binding,
            };
            let found = ask(probed, reach, PROBE_WITHIN).await;
            let fault = found.fault.or_else(|| stands.cloned());
            if let Some(mut fault) = fault {
                if fault.is_local() {
                    fault.cause = Cause::Unreachable; // its clients are no better off
                }
                if known.is_none() {
                    tracing::error!(address = %probed.to, reason = %fault, "a listener does not answer");
                }
                faults.insert(place, fault);
                answered.push(None);
            } else {
                answered.push(found.answered_us);
            }
        }
        let failed = faults.keys().filter_map(|place| listeners.get(usize::from(*place)));
        health.probed(failed.map(|probed| probed.listener.clone()).collect(), answered, faults.clone());
        before = faults;
        health.look(&driver).await;
    }
}

/// The address to ask: a listener of all addresses is asked by loopback.
fn reach(local: SocketAddr) -> SocketAddr {
    let ip = match local.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, local.port())
}

/// Asks once, for so long.
async fn ask(probed: &Probed, reach: Reach, within: Duration) -> Found {
    let give_up = clock::mono() + within;
    let begun = Probing::new(clock::mono(), probed.listener.clone(), reach.clone(), seed());
    if let Some(why) = probed.certificate.as_ref().and_then(|certificate| certificate.missing()) {
        return begun.finish(Some((Cause::Certificate, &format!("it has none yet: {why}"))));
    }
    let link = match tokio::time::timeout(within, connect(probed)).await {
        Ok(Ok(link)) => link,
        Ok(Err(error)) => return finish(begun, Some(&error)),
        Err(_) => return begun.finish(Some((Cause::Silent, ""))),
    };
    drop(begun);
    let mut probing = Probing::new(clock::mono(), probed.listener.clone(), reach, seed());
    let error = converse(&mut probing, link, give_up).await.err();
    finish(probing, error.as_ref())
}

/// Unpredictable, as transaction ids must be (RFC 8489 section 5). Without random bytes zero, which finds out less.
fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    let _ = getrandom::fill(&mut seed);
    seed
}

/// Whether this host's own system does not let it send. What comes back from the way says `HostUnreachable`: Linux
/// tells a socket nothing else of it.
fn is_local(error: &io::Error) -> bool {
    let own = [Errno::AFNOSUPPORT, Errno::MFILE, Errno::NFILE, Errno::NOBUFS];
    let kinds = matches!(
        error.kind(),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable | io::ErrorKind::PermissionDenied
    );
    kinds || own.iter().any(|own| error.raw_os_error() == Some(own.raw_os_error()))
}

fn finish(probing: Probing, error: Option<&io::Error>) -> Found {
    let Some(error) = error else { return probing.finish(None) };
    if let Some(text) = tls::refused(error) {
        return probing.finish(Some((Cause::Certificate, &text)));
    }
    let cause = match error.kind() {
        _ if is_local(error) => Cause::Local,
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Cause::Refused,
        io::ErrorKind::HostUnreachable => Cause::Unreachable,
        io::ErrorKind::TimedOut => Cause::Silent,
        io::ErrorKind::InvalidData => Cause::Handshake,
        _ => Cause::Other,
    };
    probing.finish(Some((cause, &error.to_string())))
}

/// A way to the listener, its handshakes done.
async fn connect(probed: &Probed) -> io::Result<Link> {
    let transport = probed.listener.transport;
    if !transport.is_stream() {
        let socket = UdpSocket::bind(any(probed.to)).await?;
        socket.connect(probed.to).await?;
        return Ok(match transport {
            Transport::Dtls => Link::Dtls(Box::new(dtls::connect(socket).await?)),
            _ => Link::udp(socket),
        });
    }
    let mut tcp = TcpStream::connect(probed.to).await?;
    tcp.set_nodelay(true)?;
    let local = tcp.local_addr()?;
    if probed.proxied {
        tcp.write_all(&proxy_protocol::LOCAL_HEADER).await?;
    }
    Ok(match &probed.check {
        Some(check) => Link::stream(Box::new(check.connect(tcp).await?), local),
        None => Link::stream(Box::new(tcp), local),
    })
}

/// Any port of the address family, of loopback where that is asked: nobody else shall see such a socket.
fn any(to: SocketAddr) -> SocketAddr {
    match to.ip() {
        loopback if loopback.is_loopback() => SocketAddr::new(loopback, 0),
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// The one loop of a probe, until it is done, or time is up.
async fn converse(probing: &mut Probing, mut link: Link, give_up: Mono) -> io::Result<()> {
    let mut peer: Option<UdpSocket> = None;
    loop {
        let now = clock::mono();
        while let Some(output) = probing.poll_output(now) {
            match output {
                ProbeOutput::Server(message) => link.send(&message).await?,
                ProbeOutput::Relay(to, datagram) => {
                    if peer.is_none() {
                        // Of the address that the server sees the client at.
                        peer = Some(UdpSocket::bind(SocketAddr::new(link.local()?.ip(), 0)).await?);
                    }
                    if let Some(socket) = &peer {
                        // What cannot be sent otherwise does not come, and that is told.
                        if let Err(error) = socket.send_to(&datagram, to).await
                            && is_local(&error)
                        {
                            return Err(error);
                        }
                    }
                }
            }
        }
        if probing.is_done() || now >= give_up {
            return Ok(());
        }
        let next = probing.poll_timeout().min(give_up);
        tokio::select! {
            packet = link.receive() => probing.handle_input(clock::mono(), &packet?),
            () = tokio::time::sleep(next.until(now)) => probing.handle_timeout(clock::mono()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: &str = "127.0.0.1:0";

    async fn ask(transport: Transport, address: SocketAddr) -> Found {
        let listener = Listener { transport, address, hostname: None };
        let probed = Probed::new(&ListenAt::new(transport, address), listener, address, None).unwrap();
        super::ask(&probed, Reach::Binding, Duration::from_millis(700)).await
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_on_does_not_answer() {
        let udp = UdpSocket::bind(ANY).await.unwrap().local_addr().unwrap();
        let fault = ask(Transport::Udp, udp).await.fault.unwrap();
        assert_eq!(fault.cause, Cause::Refused, "{fault}");
        let tcp = tokio::net::TcpListener::bind(ANY).await.unwrap().local_addr().unwrap();
        let fault = ask(Transport::Tcp, tcp).await.fault.unwrap();
        assert_eq!((fault.step, fault.cause), (Step::Connect, Cause::Refused), "{fault}");
    }

    #[tokio::test]
    async fn a_port_that_swallows_everything_is_silent() {
        let socket = UdpSocket::bind(ANY).await.unwrap();
        let fault = ask(Transport::Udp, socket.local_addr().unwrap()).await.fault.unwrap();
        assert_eq!((fault.step, fault.cause), (Step::Binding, Cause::Silent), "{fault}");
        assert!(fault.is_firewall());
    }

    #[tokio::test]
    async fn what_this_host_cannot_send_is_no_fault_of_the_listeners() {
        // Nobody may send there unless a socket asks for it (EACCES), or there is no way (ENETUNREACH).
        let everybody: SocketAddr = "255.255.255.255:3478".parse().unwrap();
        for transport in [Transport::Udp, Transport::Tcp] {
            let fault = ask(transport, everybody).await.fault.unwrap();
            assert!(fault.is_local() && !fault.is_firewall(), "{fault}");
        }
    }

    #[tokio::test]
    async fn silent_listeners_are_waited_for_together() {
        let (within, begun) = (Duration::from_millis(500), clock::mono());
        let silent = UdpSocket::bind(ANY).await.unwrap();
        let address = silent.local_addr().unwrap();
        let listener = |n: usize| Listener {
            transport: Transport::Udp,
            address,
            hostname: Some(format!("{n}.example.net")),
        };
        let probe = chappe_proto::mesh::probe::Probe {
            number: 1,
            edge: chappe_proto::id::EdgeId::new("e").unwrap(),
            listeners: (0..12).map(listener).collect(),
            relays: Vec::new(),
            username: "u".into(),
            password: chappe_proto::mesh::uplink::Secret(b"p".to_vec()),
        };
        let local = tokio::task::LocalSet::new();
        let found = local.run_until(outside::run_within(probe, within)).await;
        assert!(found.len() == 12 && found.iter().all(|found| found.fault.is_some()));
        assert!(clock::mono().since(begun) < 6 * within, "one after the other");
    }

    #[test]
    fn a_listener_of_all_addresses_is_reached_by_loopback() {
        assert_eq!(reach("0.0.0.0:5".parse().unwrap()), "127.0.0.1:5".parse().unwrap());
        assert_eq!(reach("[::]:5".parse().unwrap()), "[::1]:5".parse().unwrap());
        assert_eq!(reach("127.0.0.3:5".parse().unwrap()), "127.0.0.3:5".parse().unwrap());
    }
}
