//! A node's own probe of an edge from outside (`chappe_proto::turn::Probing`), where there are too few other edges
//! to ask: over UDP and TCP. Of a listener of TLS it finds out whether it takes connections, of one of DTLS nothing:
//! their firewall is the same.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use chappe_proto::limits::{PROBE_LISTENERS_AT_ONCE, PROBE_LISTENERS_MAX, PROBE_OUTSIDE_WITHIN};
use chappe_proto::mesh::probe::{Cause, Found, Probe};
use chappe_proto::mesh::uplink::Listener;
use chappe_proto::stun::frame;
use chappe_proto::time::Mono;
use chappe_proto::turn::{ProbeOutput, Probing, Reach, Transport};
use futures_util::stream::{self, StreamExt};
use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::clock;

/// The longest datagram, or part of a stream, that is read at once: a STUN message is short.
const CHUNK: usize = 4096;

/// A way to a listener.
enum Link {
    Udp(UdpSocket),
    Tcp(TcpStream, Vec<u8>),
}

impl Link {
    async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(message).await.map(drop),
            Self::Tcp(stream, _) => stream.write_all(message).await,
        }
    }

    /// The next message. Nothing is lost when this is dropped before it is done.
    async fn receive(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Udp(socket) => {
                let mut datagram = vec![0; CHUNK];
                let length = socket.recv(&mut datagram).await?;
                datagram.truncate(length);
                Ok(datagram)
            }
            Self::Tcp(stream, buffer) => loop {
                match frame(buffer) {
                    Ok(Some(whole)) => return Ok(buffer.drain(..whole).collect()),
                    Ok(None) => {}
                    Err(_) => return Err(io::ErrorKind::InvalidData.into()),
                }
                buffer.reserve(CHUNK);
                if stream.read_buf(buffer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            },
        }
    }

    fn local(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::Tcp(stream, _) => stream.local_addr(),
        }
    }
}

/// Probes every listener that a node can, some at once.
pub(crate) async fn run(probe: Probe) -> Vec<Found> {
    let Probe { listeners, relays, username, password, .. } = probe;
    let password = String::from_utf8_lossy(&password.0).into_owned();
    let known = listeners.into_iter().filter(|listener| listener.transport != Transport::Dtls);
    let asked = known.take(PROBE_LISTENERS_MAX).map(|listener| {
        let reach =
            Reach::Relay { username: username.clone(), password: password.clone(), relays: relays.clone() };
        ask(listener, reach)
    });
    stream::iter(asked).buffered(PROBE_LISTENERS_AT_ONCE).collect().await
}

async fn ask(listener: Listener, reach: Reach) -> Found {
    let give_up = clock::mono() + PROBE_OUTSIDE_WITHIN;
    let mut probing = Probing::new(clock::mono(), listener.clone(), reach, clock::random());
    let connected = match timeout(PROBE_OUTSIDE_WITHIN, connect(&listener)).await {
        Ok(connected) => connected,
        Err(_) => return probing.finish(Some((Cause::Silent, ""))),
    };
    let asked = match connected {
        Ok(Some(link)) => converse(&mut probing, link, give_up).await,
        Ok(None) => return Found { listener, answered_us: None, fault: None, relay: None },
        Err(error) => Err(error),
    };
    match asked {
        Ok(()) => probing.finish(None),
        Err(error) => probing.finish(Some((cause(&error), &error.to_string()))),
    }
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

fn cause(error: &io::Error) -> Cause {
    if is_local(error) {
        return Cause::Local;
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Cause::Refused,
        io::ErrorKind::HostUnreachable => Cause::Unreachable,
        io::ErrorKind::TimedOut => Cause::Silent,
        io::ErrorKind::InvalidData => Cause::Garbage,
        _ => Cause::Other,
    }
}

/// A way to the listener; none where connections are all that is asked of it.
async fn connect(listener: &Listener) -> io::Result<Option<Link>> {
    let to = listener.address;
    if listener.transport.is_stream() {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        return Ok((listener.transport == Transport::Tcp).then(|| Link::Tcp(stream, Vec::new())));
    }
    let any = match to {
        loopback if loopback.ip().is_loopback() => SocketAddr::new(loopback.ip(), 0),
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(to).await?;
    Ok(Some(Link::Udp(socket)))
}

/// The one loop of a probe, until it is done, or time is up.
async fn converse(probing: &mut Probing, mut link: Link, give_up: Mono) -> io::Result<()> {
    // Of the address that the server sees the client at.
    let peer = UdpSocket::bind(SocketAddr::new(link.local()?.ip(), 0)).await?;
    loop {
        let now = clock::mono();
        while let Some(output) = probing.poll_output(now) {
            match output {
                ProbeOutput::Server(message) => link.send(&message).await?,
                ProbeOutput::Relay(to, datagram) => {
                    // What cannot be sent otherwise does not come, and that is told.
                    if let Err(error) = peer.send_to(&datagram, to).await
                        && is_local(&error)
                    {
                        return Err(error);
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
