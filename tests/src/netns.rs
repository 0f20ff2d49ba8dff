//! A small network for one test: a namespace with a bridge, where the server is, and a namespace for
//! each client, linked to the bridge by a veth pair. Faults are nftables rules in a client's namespace.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where the server is in each [`Lan`].
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// The server's name, which every namespace knows.
pub const NAME: &str = "relay.test";

/// The number of the next namespace of this process.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// Two cores decode the video of one test at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Waits until it is this test's turn; it is until the guard is dropped.
pub fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One network: the server's namespace, and the clients' that were added to it.
#[derive(Debug)]
pub struct Lan {
    server: Namespace,
    hosts: AtomicU32,
}

impl Lan {
    /// A network of one's own, or nothing without root's rights, which network namespaces need.
    pub fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!(
                "SKIPPED: this test makes network namespaces and needs root (`sudo -E cargo test ...`)"
            );
            return None;
        }
        let server = Namespace::new(SERVER);
        server.ip(&["link", "add", "br0", "type", "bridge"]);
        server.ip(&["addr", "add", &format!("{SERVER}/24"), "dev", "br0"]);
        server.ip(&["link", "set", "br0", "up"]);
        Some(Self { server, hosts: AtomicU32::new(2) })
    }

    /// The server's namespace.
    pub fn server(&self) -> &Namespace {
        &self.server
    }

    /// Another client's namespace.
    pub fn host(&self) -> Namespace {
        let number = self.hosts.fetch_add(1, Ordering::Relaxed);
        let host = Namespace::new(Ipv4Addr::new(10, 77, 0, u8::try_from(number).expect("few hosts")));
        let port = format!("p{number}");
        self.server.connect(&port, &host, "eth0");
        self.server.ip(&["link", "set", &port, "master", "br0"]);
        host.ip(&["addr", "add", &format!("{}/24", host.address), "dev", "eth0"]);
        host.ip(&["route", "add", "default", "via", &SERVER.to_string()]);
        host
    }
}

/// A network namespace, gone when it is dropped, with every process in it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    address: Ipv4Addr,
}

impl Namespace {
    pub(crate) fn new(address: Ipv4Addr) -> Self {
        let name = format!("chappe-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(Command::new("ip").args(["netns", "add", &name]), "");
        let namespace = Self { name, address };
        namespace.ip(&["link", "set", "lo", "up"]);
        // `ip netns exec` mounts it over /etc/hosts: browsers ask no name server, of which there is none.
        let files = namespace.files();
        fs::create_dir_all(&files).expect("a directory for its hosts file");
        // Chromium looks up the names in TURN URLs with a dot at their end.
        let hosts = format!("127.0.0.1 localhost\n{SERVER} {NAME} {NAME}.\n");
        fs::write(files.join("hosts"), hosts).expect("its hosts file");
        namespace
    }

    /// A cable to another one: `port` here, `theirs` there, both up.
    pub(crate) fn connect(&self, port: &str, other: &Self, theirs: &str) {
        self.ip(&["link", "add", port, "type", "veth", "peer", "name", theirs, "netns", &other.name]);
        // No link-local IPv6: it would appear seconds later, and a browser that sees its network change
        // fails what it is loading.
        self.ip(&["link", "set", port, "addrgenmode", "none", "up"]);
        other.ip(&["link", "set", theirs, "addrgenmode", "none", "up"]);
    }

    /// It passes on what is for others, whatever way their answers take.
    pub(crate) fn forward(&self) {
        let settings = "cd /proc/sys/net/ipv4 && echo 1 > ip_forward && echo 0 > conf/all/rp_filter \
                        && echo 0 > conf/default/rp_filter";
        run(self.command("sh").args(["-c", settings]), "");
    }

    /// What leaves by that device is sent from its address (RFC 3022): this is a NAT from now on.
    pub(crate) fn masquerade(&self, device: &str) {
        let rules = format!(
            "table ip nat {{
                chain postrouting {{
                    type nat hook postrouting priority 100;
                    oifname {device} masquerade
                }};
            }}"
        );
        run(self.command("nft").args(["-f", "-"]), &rules);
    }

    fn files(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.name)
    }

    /// Its address on the network.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A command that runs in it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs `job` on a thread in the namespace: its sockets are the namespace's.
    pub fn within<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        let space = File::open(format!("/run/netns/{}", self.name)).expect("the namespace is there");
        let inside = move || {
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).expect("setns");
            job()
        };
        std::thread::scope(|scope| scope.spawn(inside).join()).expect("the job in the namespace")
    }

    /// Runs a job in the namespace, to its end, by a runtime of its own.
    ///
    /// # Panics
    /// When the job does.
    pub fn run<T: Send>(&self, job: impl AsyncFnOnce() -> T + Send) -> T {
        self.within(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(job())
        })
    }

    /// Takes another address in the place of its own, as a phone that moves to another network does.
    pub fn readdress(&mut self, last: u8) {
        let [a, b, c, _] = self.address.octets();
        let new = Ipv4Addr::new(a, b, c, last);
        self.ip(&["addr", "del", &format!("{}/24", self.address), "dev", "eth0"]);
        self.ip(&["addr", "add", &format!("{new}/24"), "dev", "eth0"]);
        self.ip(&["route", "replace", "default", "via", &SERVER.to_string()]);
        self.address = new;
    }

    /// Drops every UDP packet from and to it, as a strict firewall does.
    pub fn drop_udp(&self) {
        self.filter("meta l4proto udp drop", "meta l4proto udp drop");
    }

    /// Lets nothing out or in but TCP to that port, as the strictest firewalls do. For good: faults may come
    /// and go beside it.
    pub fn only_tcp(&self, port: u16) {
        let rules = format!(
            "table inet firewall {{
                chain output {{
                    type filter hook output priority 1; policy drop;
                    oifname lo accept
                    tcp dport {port} accept
                }};
                chain input {{
                    type filter hook input priority 1; policy drop;
                    iifname lo accept
                    tcp sport {port} accept
                }};
            }}"
        );
        run(self.command("nft").args(["-f", "-"]), &rules);
    }

    /// Drops UDP that comes to these ports, as a server's firewall does that was not opened for its relay
    /// ports.
    pub fn drop_udp_to(&self, first: u16, last: u16) {
        self.filter("", &format!("udp dport {first}-{last} drop"));
    }

    /// Drops UDP and TCP that comes to these ports from elsewhere, as a firewall does that somebody has closed.
    pub fn close(&self, ports: &[(u16, u16)]) {
        let all: Vec<String> = ports.iter().map(|(first, last)| format!("{first}-{last}")).collect();
        let all = all.join(", ");
        let rules = format!("iifname lo accept\n udp dport {{ {all} }} drop\n tcp dport {{ {all} }} drop");
        self.filter("", &rules);
    }

    /// The same for UDP alone.
    pub fn close_udp(&self, port: u16) {
        self.filter("", &format!("iifname lo accept\n udp dport {port} drop"));
    }

    /// Drops all TCP to and from that port of the server: neither side is told.
    pub fn black_hole(&self, port: u16) {
        self.filter(&format!("tcp dport {port} drop"), &format!("tcp sport {port} drop"));
    }

    /// Drops what that port of the server sends: what goes there arrives, and nobody here learns of it.
    pub fn deafen(&self, port: u16) {
        self.filter("", &format!("tcp sport {port} drop"));
    }

    /// Drops what goes to that port of the server; what comes from there arrives.
    pub fn gag(&self, port: u16) {
        self.filter(&format!("tcp dport {port} drop"), "");
    }

    /// Drops everything from and to these hosts: neither side is told.
    pub fn cut(&self, others: &[Ipv4Addr]) {
        let all = set(others);
        self.filter(&format!("ip daddr {all} drop"), &format!("ip saddr {all} drop"));
    }

    /// Drops what goes to these hosts; what comes from there arrives.
    pub fn mute(&self, others: &[Ipv4Addr]) {
        self.filter(&format!("ip daddr {} drop", set(others)), "");
    }

    /// Drops what comes from these hosts; what goes there arrives.
    pub fn deaf(&self, others: &[Ipv4Addr]) {
        self.filter("", &format!("ip saddr {} drop", set(others)));
    }

    /// Answers all TCP to and from that port of the server by resets: both sides are told at once.
    pub fn reset(&self, port: u16) {
        // The resets themselves come by here too.
        let unless_reset = "tcp flags & rst == rst accept";
        self.filter(
            &format!("{unless_reset}\n tcp dport {port} reject with tcp reset"),
            &format!("{unless_reset}\n tcp sport {port} reject with tcp reset"),
        );
    }

    fn filter(&self, output: &str, input: &str) {
        let rules = format!(
            "table inet fault {{
                chain output {{
                    type filter hook output priority 0;
                    {output}
                }};
                chain input {{
                    type filter hook input priority 0;
                    {input}
                }};
            }}"
        );
        run(self.command("nft").args(["-f", "-"]), &rules);
    }

    /// Ends the fault.
    pub fn heal(&self) {
        run(self.command("nft").args(["delete", "table", "inet", "fault"]), "");
    }

    /// Sends a signal to every process in it.
    pub fn signal(&self, signal: Signal) {
        for pid in self.pids() {
            // One that ends just now needs no signal.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    fn pids(&self) -> Vec<Pid> {
        let Ok(output) = Command::new("ip").args(["netns", "pids", &self.name]).output() else {
            return Vec::new();
        };
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().filter_map(|line| Pid::from_raw(line.trim().parse().ok()?)).collect()
    }

    pub(crate) fn ip(&self, arguments: &[&str]) {
        run(Command::new("ip").args(["-n", &self.name]).args(arguments), "");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        // The name goes at once; the namespace itself with the last process in it.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
        let _ = fs::remove_dir_all(self.files());
    }
}

/// Addresses as nftables takes them.
fn set(addresses: &[Ipv4Addr]) -> String {
    let all: Vec<String> = addresses.iter().map(Ipv4Addr::to_string).collect();
    format!("{{ {} }}", all.join(", "))
}

/// Runs a command to its end, with that on its standard input.
///
/// # Panics
/// When it fails.
fn run(command: &mut Command, input: &str) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none in time, saying `what` was waited for.
pub fn wait<T>(what: &str, within: Duration, ask: impl FnMut() -> Option<T>) -> T {
    eventually(within, ask).unwrap_or_else(|| panic!("waited {within:?} in vain: {what}"))
}

/// Asks again and again until there is an answer, or the time is up.
pub fn eventually<T>(within: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let began = now();
    loop {
        let answer = ask();
        if answer.is_some() || now() - began >= within {
            return answer;
        }
        pause();
    }
}

/// The time since the machine started.
pub fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Another process has no event to wait for: it is asked ten times a second.
#[allow(clippy::disallowed_methods, reason = "see above")]
fn pause() {
    std::thread::sleep(Duration::from_millis(100));
}
