//! A peer outside of the server: what the relay ports let in and out. From relay to relay may stay
//! within the server, and then meets no firewall.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use chappe_cluster::clock;
use chappe_proto::stun::attributes::{Family, XOR_MAPPED_ADDRESS};
use chappe_proto::stun::{Class, Code, Message, Method, TransactionId, Writer};
use chappe_proto::time::Mono;
use tokio::net::UdpSocket;

use super::super::fault::{Fault, Refusal};
use super::super::report::Step;
use super::super::run::Check;
use super::super::talk::Talk;
use super::allocate::Allocation;
use super::relay::permit;

const NAME: &str = "Outside peer";
/// How often something is sent until it is answered.
const TRIES: u32 = 3;
/// How long each of them waits for an answer at least.
const PATIENCE: Duration = Duration::from_millis(400);

/// The lowest relay port that RFC 8656 section 7.2 recommends.
const RELAY_PORTS: u16 = 49_152;
/// How many ports of the kernel's choice are passed over.
const PORTS: usize = 16;

/// When something is sent again, and when it is given up.
struct Tries {
    left: u32,
    due: Mono,
    patience: Duration,
}

impl Tries {
    const fn new(patience: Duration) -> Self {
        Self { left: TRIES, due: Mono(Duration::ZERO), patience }
    }

    /// Whether it is to be sent now; `None` where it has been often enough.
    fn now(&mut self) -> Option<bool> {
        let now = clock::mono();
        if now < self.due {
            return Some(false);
        }
        self.left = self.left.checked_sub(1)?;
        self.due = now + self.patience;
        Some(true)
    }

    async fn wait(&self) {
        tokio::time::sleep(self.due.until(clock::mono())).await;
    }
}

/// Sends to the relayed address from a socket of this machine, and back.
pub(in super::super) async fn run(check: &mut Check<'_>, allocation: &mut Allocation) {
    check.begin(NAME);
    match exchange(check, allocation).await {
        Ok(step) => check.put(step),
        Err(fault) => check.fail(NAME, &fault),
    }
}

async fn exchange(check: &Check<'_>, allocation: &mut Allocation) -> Result<Step, Fault> {
    let Allocation { talk, relayed } = allocation;
    let patience = PATIENCE.max(2 * check.baseline.unwrap_or_default());
    if Family::of(check.server) != Family::of(*relayed) {
        return Ok(Step::skipped(NAME, "the relayed address is of another family than the server's"));
    }
    let socket = outside(*relayed).await?;
    let Some(seen) = mapped(&socket, check.server, patience).await? else {
        let text =
            "UDP to the server is not answered: whether its relay ports are open is not to be told here";
        return Ok(Step::skipped(NAME, text));
    };
    match permit(talk, seen).await {
        Ok(_) => {}
        Err(Fault::Code(Refusal { code: Code::FORBIDDEN, .. })) => {
            let text = format!("{} is no peer for this relay (403): try from another network", seen.ip());
            return Ok(Step::skipped(NAME, text).fact("peer", seen.to_string()));
        }
        Err(fault) => return Err(fault),
    }
    let mark: [u8; 16] = clock::random();
    let Some((from, took)) = inward(&socket, talk, *relayed, &mark, patience).await? else {
        // A server lets only relay ports of its own address in, unless it is told otherwise.
        if seen.ip() == relayed.ip() {
            let text = "no other port of the relay's own address is its peer: try from another machine";
            return Ok(Step::skipped(NAME, text).fact("peer", seen.to_string()));
        }
        return Err(Fault::RelayClosed { relayed: *relayed });
    };
    if !outward(&socket, talk, from, &mark, patience).await? {
        return Err(Fault::RelayMute { peer: from });
    }
    let own = from.ip() == check.server.ip();
    let own = if own { " (on the server's own machine: no firewall between)" } else { "" };
    let step = Step::ok(NAME, format!("{from} reaches the relayed address, and is reached{own}"));
    Ok(step.took(took).fact("peer", from.to_string()))
}

/// A socket whose port is none of the server's relay ports, were it on the server's own machine.
async fn outside(relayed: SocketAddr) -> Result<UdpSocket, Fault> {
    let any = if relayed.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let mut others = Vec::new();
    loop {
        let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
        if socket.local_addr()?.port() < RELAY_PORTS || others.len() == PORTS {
            return Ok(socket);
        }
        others.push(socket);
    }
}

/// Where a socket is seen, if the server answers over UDP.
async fn mapped(
    socket: &UdpSocket,
    server: SocketAddr,
    patience: Duration,
) -> Result<Option<SocketAddr>, Fault> {
    let transaction = TransactionId(clock::random());
    let request = Writer::new(Class::Request, Method::BINDING, transaction).finish();
    let mut buffer = [0; 1500];
    let mut tries = Tries::new(patience);
    while let Some(send) = tries.now() {
        if send {
            socket.send_to(&request, server).await?;
        }
        tokio::select! {
            got = socket.recv_from(&mut buffer) => {
                let message = Message::parse(&buffer[..got?.0]).ok();
                let message = message.filter(|message| message.transaction == transaction);
                if let Some(seen) = message.and_then(|message| message.xor_address(XOR_MAPPED_ADDRESS).ok()?) {
                    return Ok(Some(seen));
                }
            }
            () = tries.wait() => {}
        }
    }
    Ok(None)
}

/// From the socket to the relay: whom the relay sees, and how long it took.
async fn inward(
    socket: &UdpSocket,
    talk: &mut Talk,
    relayed: SocketAddr,
    mark: &[u8],
    patience: Duration,
) -> Result<Option<(SocketAddr, Duration)>, Fault> {
    let mut sent = clock::mono();
    let mut tries = Tries::new(patience);
    while let Some(send) = tries.now() {
        if send {
            sent = clock::mono();
            socket.send_to(mark, relayed).await?;
        }
        tokio::select! {
            packet = talk.packet() => match packet? {
                Some((from, payload)) if payload == mark => return Ok(Some((from, clock::mono().since(sent)))),
                _ => {}
            },
            () = tries.wait() => {}
        }
    }
    Ok(None)
}

/// From the relay to the socket.
async fn outward(
    socket: &UdpSocket,
    talk: &mut Talk,
    peer: SocketAddr,
    mark: &[u8],
    patience: Duration,
) -> Result<bool, Fault> {
    let mut buffer = [0; 1500];
    let mut tries = Tries::new(patience);
    while let Some(send) = tries.now() {
        if send {
            talk.send(peer, mark).await?;
        }
        tokio::select! {
            got = socket.recv_from(&mut buffer) => {
                if buffer[..got?.0] == *mark {
                    return Ok(true);
                }
            }
            () = tries.wait() => {}
        }
    }
    Ok(false)
}
