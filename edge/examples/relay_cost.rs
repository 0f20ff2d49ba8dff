//! What a TURN server spends on a relayed packet: its CPU time, user and system, per packet that arrived.
//!
//! ```text
//! relay_cost turn IP:PORT SECRET PID [PACKETS]     a TURN server over UDP, with REST credentials
//! relay_cost floor [PACKETS]                       bare forwarders, which this program starts itself
//! ```
//!
//! The load runs here, in a process of its own, and sends the next packet (or burst) when the one before
//! has arrived: the server's own cost shows, not how well it batches a backlog. Pin server and load to the
//! same processor (`taskset -c 1`): on virtual machines waking another one costs several times what the
//! relay does, and is charged to whoever sends.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "an example that measures")]
#![allow(unsafe_code, reason = "two socket options and a gathered send")]
#![allow(clippy::cast_precision_loss, reason = "figures to read")]

#[path = "../tests/support/client.rs"]
#[allow(dead_code, unreachable_pub, clippy::panic, reason = "a part of it is used")]
mod client;
#[path = "../tests/support/dtls.rs"]
#[allow(dead_code, unreachable_pub, clippy::panic, clippy::unwrap_used, reason = "a part of it is used")]
mod dtls;

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use chappe_proto::turn::Transport;
use client::{Client, channel_data};

const UDP_SEGMENT: libc::c_int = 103;
const UDP_GRO: libc::c_int = 104;
const CHANNEL: u16 = 0x4000;

fn option(socket: &UdpSocket, name: libc::c_int, value: libc::c_int) {
    let size = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap();
    // SAFETY: the kernel reads `size` bytes from a pointer to a live integer.
    let done =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, name, (&raw const value).cast(), size) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// Nanoseconds that all threads of a process have run.
fn cpu(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let run = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(path.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    tasks.filter_map(|task| run(task.unwrap().path())).sum()
}

/// A way that packets take: from a socket that is connected to its first hop, to another socket.
struct Way {
    from: UdpSocket,
    to: UdpSocket,
    /// What is sent before the payload.
    framed: bool,
}

impl Way {
    /// Sends `packets` packets of `size` bytes of payload, `burst` at a time; answers the server's
    /// nanoseconds per packet.
    fn measure(&self, pid: u32, size: usize, burst: usize, packets: usize) -> f64 {
        let payload = vec![0x80; size];
        let packet = if self.framed { channel_data(CHANNEL, &payload) } else { payload };
        let bytes = packet.repeat(burst);
        let segment = if burst > 1 { i32::try_from(packet.len()).unwrap() } else { 0 };
        option(&self.from, UDP_SEGMENT, segment);
        option(&self.to, UDP_GRO, 1);
        let mut buffer = vec![0; 65_536];
        let mut turns = |count: usize| {
            for _ in 0..count {
                self.from.send(&bytes).unwrap();
                let mut awaited = burst * size;
                while awaited > 0 {
                    let len = self.to.recv(&mut buffer).unwrap();
                    // Of ChannelData the head does not count.
                    let heads = if len.is_multiple_of(size) { 0 } else { len / (size + 4) * 4 };
                    awaited = awaited.saturating_sub(len - heads);
                }
            }
        };
        turns(packets / burst / 10);
        let before = cpu(pid);
        turns(packets / burst);
        let spent = cpu(pid) - before;
        option(&self.from, UDP_SEGMENT, 0);
        spent as f64 / (packets / burst * burst) as f64
    }

    fn report(&self, name: &str, pid: u32, packets: usize) {
        for (size, burst) in [(172, 1), (1200, 1), (1200, 8)] {
            let cost = self.measure(pid, size, burst, packets) / 1000.0;
            println!("{name:36} {size:5} B, {burst} at a time  {cost:6.2} µs a packet");
        }
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

fn copy(client: &Client) -> UdpSocket {
    client.udp().try_clone().unwrap()
}

fn turn(server: SocketAddr, secret: &str, pid: u32, packets: usize) {
    let new = || Client::new(Transport::Udp, server, secret.as_bytes(), None);
    let (mut left, mut right, peer) = (new(), new(), socket());
    let relayed = left.allocate().unwrap();
    left.bind(CHANNEL, peer.local_addr().unwrap()).unwrap();
    let out = Way { from: copy(&left), to: peer.try_clone().unwrap(), framed: true };
    out.report("client to outside peer", pid, packets);
    peer.connect(relayed).unwrap();
    Way { from: peer, to: copy(&left), framed: false }.report("outside peer to client", pid, packets);

    let to_right = right.allocate().unwrap();
    let mut third = new();
    let to_third = third.allocate().unwrap();
    third.bind(CHANNEL, to_right).unwrap();
    right.bind(CHANNEL, to_third).unwrap();
    let pair = Way { from: copy(&third), to: copy(&right), framed: true };
    pair.report("client to client, both relayed", pid, packets);
}

/// Forwards what comes to one address: nothing else is done, so nothing can be cheaper with
/// these calls.
fn forward(to: SocketAddr, segment: i32) -> (SocketAddr, u32) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // SAFETY: this process has one thread, so the child may do as it likes.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let out = UdpSocket::bind("127.0.0.1:0").unwrap();
        if segment > 0 {
            option(&socket, UDP_GRO, 1);
            option(&out, UDP_SEGMENT, segment);
        }
        let mut buffer = vec![0; 65_536];
        loop {
            let (len, _) = socket.recv_from(&mut buffer).unwrap();
            out.send_to(&buffer[..len], to).unwrap();
        }
    }
    (address, u32::try_from(pid).unwrap())
}

fn floor(packets: usize) {
    for (size, burst) in [(172, 1), (1200, 1), (1200, 8)] {
        let to = socket();
        let segment = if burst > 1 { i32::try_from(size).unwrap() } else { 0 };
        let (first, pid) = forward(to.local_addr().unwrap(), segment);
        let from = socket();
        from.connect(first).unwrap();
        let cost = Way { from, to, framed: false }.measure(pid, size, burst, packets) / 1000.0;
        println!("{:36} {size:5} B, {burst} at a time  {cost:6.2} µs a packet", "floor: recvfrom, sendto");
        // SAFETY: the child that was made above.
        unsafe { libc::kill(libc::pid_t::try_from(pid).unwrap(), libc::SIGKILL) };
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let packets = |at: usize| args.get(at).map_or(200_000, |text| text.parse().unwrap());
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["turn", server, secret, pid, ..] => {
            turn(server.parse().unwrap(), secret, pid.parse().unwrap(), packets(4));
        }
        ["floor", ..] => floor(packets(1)),
        _ => println!("usage: relay_cost turn IP:PORT SECRET PID [PACKETS] | floor [PACKETS]"),
    }
}
