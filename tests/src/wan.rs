//! A network of three regions for one test: a router's namespace, and around it the namespaces of hosts, some of
//! them behind a NAT. What goes from one host to another passes the router's TUN device, where a small program
//! holds it up for as long as the regions lie apart.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::netns::Namespace;
use crate::process::{Process, WITHIN};

/// The regions.
pub const REGIONS: [&str; 3] = ["eu", "us", "asia"];

/// Milliseconds from region to region, one way. Apart by more than a busy machine adds.
const DELAYS: [[u32; 3]; 3] = [[1, 30, 60], [30, 1, 45], [60, 45, 1]];

/// What every address begins with. Edges relay to global addresses only, so these are some; the namespaces
/// lead nowhere.
const FIRST_BYTE: u8 = 44;

/// The router, as its hosts see it.
const ROUTER: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// The TUN device, and the routing table of what goes there.
const DEVICE: &str = "far";
const TABLE: &str = "100";

/// What makes network devices of programs; absent in some containers.
const TUN: &str = "/dev/net/tun";
/// What a NAT's other side has.
const INSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
const BEHIND: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 2);

const PYTHON: &str = "/usr/bin/python3";
const DELAY: &str = include_str!("wan/delay.py");

/// The network. Its namespaces are gone when they are dropped.
pub struct Wan {
    router: Namespace,
    hosts: AtomicU8,
    _delay: Process,
}

impl Wan {
    /// A network of one's own, or nothing without root's rights, which network namespaces need, or without Python.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!(
                "SKIPPED: this test makes network namespaces and needs root (`sudo -E cargo test ...`)"
            );
            return None;
        }
        if !Path::new(PYTHON).exists() {
            eprintln!("SKIPPED: this test holds packets up by {PYTHON}, which is not installed");
            return None;
        }
        if !Path::new(TUN).exists() {
            eprintln!("SKIPPED: this test needs {TUN} (modprobe tun)");
            return None;
        }
        let router = Namespace::new(ROUTER);
        router.forward();
        let all = |row: &[u32; 3]| json!({ "1": row[0], "2": row[1], "3": row[2] });
        let delays = json!({ "1": all(&DELAYS[0]), "2": all(&DELAYS[1]), "3": all(&DELAYS[2]) }).to_string();
        let delay = Process::start(router.command(PYTHON).args(["-c", DELAY, DEVICE, &delays]));
        assert!(delay.stdout.wait_for("ready", WITHIN), "no delays: {}", delay.stderr.text());
        router.ip(&["link", "set", DEVICE, "addrgenmode", "none", "up"]);
        router.ip(&["route", "add", "default", "dev", DEVICE, "table", TABLE]);
        Some(Self { router, hosts: AtomicU8::new(1), _delay: delay })
    }

    /// How long a packet takes from one region to another and back.
    ///
    /// # Panics
    /// When there is no such region.
    #[must_use]
    pub fn round_trip(from: &str, to: &str) -> Duration {
        Duration::from_millis(u64::from(2 * DELAYS[number(from)][number(to)]))
    }

    /// Another host in a region, with an address that everybody reaches.
    ///
    /// # Panics
    /// When there is no such region, or no room for it.
    pub fn host(&self, region: &str) -> Namespace {
        let host = self.hosts.fetch_add(1, Ordering::Relaxed);
        let region = u8::try_from(number(region) + 1).expect("three regions");
        let address = Ipv4Addr::new(FIRST_BYTE, region, 0, host);
        let namespace = Namespace::new(address);
        self.link(&namespace, &format!("h{host}"));
        namespace
    }

    /// Links a host to the router: what comes from there goes to the device, what comes from the device there.
    fn link(&self, host: &Namespace, port: &str) {
        let address = format!("{}/32", host.address());
        self.router.connect(port, host, "eth0");
        self.router.ip(&["addr", "add", &format!("{ROUTER}/32"), "dev", port]);
        self.router.ip(&["route", "add", &address, "dev", port]);
        self.router.ip(&["rule", "add", "iif", port, "lookup", TABLE, "pref", TABLE]);
        host.ip(&["addr", "add", &address, "dev", "eth0"]);
        host.ip(&["route", "add", &format!("{ROUTER}/32"), "dev", "eth0"]);
        host.ip(&["route", "add", "default", "via", &ROUTER.to_string()]);
    }

    /// Another host in a region, behind a NAT of its own: nobody reaches it who was not reached first.
    pub fn behind_nat(&self, region: &str) -> Behind {
        let nat = self.host(region);
        let host = Namespace::new(BEHIND);
        nat.forward();
        nat.connect("inside", &host, "eth0");
        nat.ip(&["addr", "add", &format!("{INSIDE}/24"), "dev", "inside"]);
        host.ip(&["addr", "add", &format!("{BEHIND}/24"), "dev", "eth0"]);
        host.ip(&["route", "add", "default", "via", &INSIDE.to_string()]);
        nat.masquerade("eth0");
        Behind { host, nat }
    }
}

/// A region by its place in [`REGIONS`].
fn number(region: &str) -> usize {
    REGIONS.iter().position(|name| *name == region).unwrap_or_else(|| panic!("no region {region}"))
}

/// A host and the NAT before it.
#[derive(Debug)]
pub struct Behind {
    /// The host, with a private address.
    pub host: Namespace,
    /// The NAT; its address is what others see.
    pub nat: Namespace,
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::netns::now;

    /// Asks whoever echoes there, and says how long the answer took, and whom the other one saw.
    fn ask(host: &Namespace, at: (Ipv4Addr, u16)) -> Option<Duration> {
        host.within(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            let began = now();
            socket.send_to(&[7; 3000], at).unwrap();
            socket.recv_from(&mut [0; 4000]).ok().map(|_| now() - began)
        })
    }

    #[test]
    fn regions_lie_apart_and_a_nat_hides_who_is_behind_it() {
        let Some(wan) = Wan::new() else { return };
        let (server, near, far) = (wan.host("eu"), wan.host("eu"), wan.behind_nat("asia"));
        let socket = server.within(|| UdpSocket::bind("0.0.0.0:7000").unwrap());
        let (tell, seen) = std::sync::mpsc::sync_channel(8);
        std::thread::spawn(move || {
            let mut packet = [0; 4000];
            while let Ok((len, from)) = socket.recv_from(&mut packet) {
                let _ = socket.send_to(&packet[..len], from);
                if tell.send(from.ip()).is_err() {
                    return;
                }
            }
        });
        let at = (server.address(), 7000);
        let (one, other) = (ask(&near, at).unwrap(), ask(&far.host, at).unwrap());
        assert!(one >= Wan::round_trip("eu", "eu") && other >= Wan::round_trip("asia", "eu"));
        assert!(one < other, "{one:?} {other:?}");
        assert_eq!(seen.recv().unwrap(), near.address());
        assert_eq!(seen.recv().unwrap(), far.nat.address());
        drop(seen);
        ask(&near, at); // ends the server
    }
}
