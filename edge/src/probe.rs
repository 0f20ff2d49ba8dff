//! The edge asks each of its listeners a Binding request, as a client would: over TLS as a browser, which
//! wants a certificate that it trusts.

mod dtls;
mod tls;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::{io, mem};

use chappe_proto::limits::{PROBE_EVERY, PROBE_WITHIN};
use chappe_proto::mesh::uplink::Listener;
use chappe_proto::proxy_protocol;
use chappe_proto::turn::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::config::ListenAt;
use crate::health::Health;
use crate::listener::Certificate;

/// A listener, as clients reach it and as this host does.
pub(crate) struct Probed {
    listener: Listener,
    local: SocketAddr,
    /// Whether connections begin with a PROXY header.
    proxied: bool,
    certificate: Option<Arc<Certificate>>,
    how: How,
}

/// What is spoken before STUN.
enum How {
    Plain,
    Tls(tls::Check),
    Dtls(dtls::Check),
}

impl Probed {
    /// A listener that was bound to `local` as it is told to, with its certificate where it has one.
    pub(crate) fn new(
        told: &ListenAt,
        listener: Listener,
        local: SocketAddr,
        certificate: Option<Arc<Certificate>>,
    ) -> io::Result<Self> {
        let how = match (told.transport, certificate.clone()) {
            (Transport::Tls, _) => {
                How::Tls(tls::Check::new(&listener, (!told.trusted).then(crate::trust::web_roots))?)
            }
            (Transport::Dtls, Some(certificate)) => How::Dtls(dtls::Check::new(certificate)?),
            _ => How::Plain,
        };
        Ok(Self { listener, local, proxied: !told.proxy_from.is_empty(), certificate, how })
    }
}

/// Probes the listeners until the edge stops.
pub(crate) async fn run(listeners: Vec<Probed>, health: Arc<Health>, mut stop: watch::Receiver<bool>) {
    let mut every = interval(PROBE_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Vec::new();
    loop {
        tokio::select! {
            _ = every.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let mut failed = Vec::new();
        for probed in &listeners {
            let answer = timeout(PROBE_WITHIN, ask(probed)).await;
            let reason = match answer {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {PROBE_WITHIN:?}"),
            };
            if !before.contains(&probed.listener) {
                tracing::error!(address = %probed.local, reason, "a listener does not answer");
            }
            failed.push(probed.listener.clone());
        }
        health.failed(failed.clone());
        drop(mem::replace(&mut before, failed));
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

/// Asks once.
async fn ask(probed: &Probed) -> io::Result<()> {
    if let Some(why) = probed.certificate.as_ref().and_then(|certificate| certificate.missing()) {
        return Err(io::Error::other(format!("it has no certificate yet: {why}")));
    }
    let to = reach(probed.local);
    let request = binding()?;
    let mut answer = [0; 20];
    if probed.listener.transport.is_stream() {
        let mut stream = TcpStream::connect(to).await?;
        if probed.proxied {
            stream.write_all(&proxy_protocol::LOCAL_HEADER).await?;
        }
        match &probed.how {
            How::Tls(check) => tls::ask(&mut stream, check, &request, &mut answer).await?,
            _ => {
                stream.write_all(&request).await?;
                stream.read_exact(&mut answer).await?;
            }
        }
    } else {
        let socket = UdpSocket::bind(SocketAddr::new(to.ip(), 0)).await?;
        socket.connect(to).await?;
        match &probed.how {
            How::Dtls(check) => dtls::ask(&socket, check, &request, &mut answer).await?,
            _ => {
                socket.send(&request).await?;
                socket.recv(&mut answer).await?;
            }
        }
    }
    // A Binding success response (0x0101) with the cookie and the transaction id of the request.
    let fine = answer[..2] == [1, 1] && answer[4..] == request[4..];
    if fine { Ok(()) } else { Err(io::Error::other("not the answer to a Binding request")) }
}

/// A Binding request without attributes (RFC 8489 section 5).
fn binding() -> io::Result<[u8; 20]> {
    let mut request = [0; 20];
    request[1] = 1;
    request[4..8].copy_from_slice(&0x2112_A442_u32.to_be_bytes());
    getrandom::fill(&mut request[8..]).map_err(io::Error::other)?;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: &str = "127.0.0.1:0";

    async fn ask(transport: Transport, address: SocketAddr) -> io::Result<()> {
        let listener = Listener { transport, address, hostname: None };
        super::ask(&Probed::new(&ListenAt::new(transport, address), listener, address, None)?).await
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_on_does_not_answer() {
        let udp = UdpSocket::bind(ANY).await.unwrap().local_addr().unwrap();
        assert!(ask(Transport::Udp, udp).await.is_err());
        let tcp = tokio::net::TcpListener::bind(ANY).await.unwrap().local_addr().unwrap();
        assert!(ask(Transport::Tcp, tcp).await.is_err());
    }

    #[tokio::test]
    async fn only_a_success_response_of_the_same_transaction_is_an_answer() {
        let server = UdpSocket::bind(ANY).await.unwrap();
        let address = server.local_addr().unwrap();
        for (turned, fine) in [([1, 1], true), ([1, 0x11], false), ([0, 1], false)] {
            let answer = async {
                let mut request = [0; 20];
                let (_, from) = server.recv_from(&mut request).await.unwrap();
                request[..2].copy_from_slice(&turned);
                server.send_to(&request, from).await.unwrap();
            };
            let (asked, ()) = tokio::join!(ask(Transport::Udp, address), answer);
            assert_eq!(asked.is_ok(), fine, "{turned:?}");
        }
    }

    #[test]
    fn a_listener_of_all_addresses_is_reached_by_loopback() {
        assert_eq!(reach("0.0.0.0:5".parse().unwrap()), "127.0.0.1:5".parse().unwrap());
        assert_eq!(reach("[::]:5".parse().unwrap()), "[::1]:5".parse().unwrap());
        assert_eq!(reach("127.0.0.3:5".parse().unwrap()), "127.0.0.3:5".parse().unwrap());
    }
}
