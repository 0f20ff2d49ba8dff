//! The sockets of a process, as `/proc` shows them.

use std::fs;
use std::net::{IpAddr, SocketAddr};

/// One socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    pub udp: bool,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// TCP that listens.
    pub listens: bool,
}

/// All TCP and UDP sockets of a process.
///
/// # Panics
/// When the process has ended.
#[must_use]
pub fn of(pid: i32) -> Vec<Socket> {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let inodes: Vec<String> = fds
        .filter_map(|fd| fs::read_link(fd.ok()?.path()).ok())
        .filter_map(|to| Some(to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut sockets = Vec::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        // No table of IPv6 where the kernel has none.
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/net/{table}")) else { continue };
        for line in text.lines().skip(1) {
            let field: Vec<&str> = line.split_whitespace().collect();
            if inodes.iter().any(|inode| inode == field[9]) {
                let (local, remote) = (address(field[1]), address(field[2]));
                let udp = table.starts_with("udp");
                sockets.push(Socket { udp, local, remote, listens: !udp && field[3] == "0A" });
            }
        }
    }
    sockets
}

/// `0100007F:1F90`: words of 32 bits in the machine's order, and a port (proc(5), `/proc/net/tcp`).
fn address(text: &str) -> SocketAddr {
    let (ip, port) = text.split_once(':').unwrap();
    let word = |at: usize| u32::from_str_radix(&ip[8 * at..8 * at + 8], 16).unwrap().to_ne_bytes();
    let bytes: Vec<u8> = (0..ip.len() / 8).flat_map(word).collect();
    let ip = match <[u8; 4]>::try_from(&bytes[..]) {
        Ok(v4) => IpAddr::from(v4),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(&bytes[..]).unwrap()).to_canonical(),
    };
    SocketAddr::new(ip, u16::from_str_radix(port, 16).unwrap())
}
