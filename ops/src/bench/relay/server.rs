//! The servers under test: started here, or running already.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;

use anyhow::{Context, Result};
use chappe_cluster::clock;
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::turn::password;
use data_encoding::HEXLOWER;

use super::Args;
use super::client::TurnClient;
use crate::bench::child::{self, Child};
use crate::bench::files::Files;
use crate::bench::process::Process;
use crate::bench::report::progress;
use crate::files;

/// Credentials last longer than any bench.
const CREDENTIAL_SECS: u64 = 24 * 3600;

/// How a server is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    /// The floor.
    Forwarder,
    /// TURN with REST credentials of this secret.
    Secret(String),
    /// TURN as this user.
    User(String, String),
}

/// A server under test. One that was started here ends when this is dropped.
pub(super) struct Server {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pub(super) way: Way,
    pub(super) process: Option<Process>,
    _child: Option<Child>,
    _files: Option<Files>,
}

impl Server {
    /// The credentials of a client by its number.
    pub(super) fn credentials(&self, client: usize) -> (String, String) {
        match &self.way {
            Way::Forwarder => Default::default(),
            Way::Secret(secret) => {
                let expiry = clock::unix().secs() + CREDENTIAL_SECS;
                let username = format!("{expiry}:bench-{client}");
                let password = password(&Secret(secret.clone().into_bytes()), &username);
                (username, password)
            }
            Way::User(name, password) => (name.clone(), password.clone()),
        }
    }
}

/// Starts those that are to be started, and finds the one that runs.
pub(super) fn start(args: &Args, cpu: Option<usize>) -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    let wanted = |name: &str| args.servers.iter().any(|server| server == name);
    if wanted("floor") {
        servers.push(floor(cpu).context("the bare forwarder")?);
    }
    if wanted("edge") {
        servers.push(edge(cpu).context("the edge")?);
    }
    if wanted("coturn") {
        match child::find("turnserver") {
            Some(program) => servers.push(coturn(&program, cpu).context("coturn")?),
            None => progress("coturn is not installed (apt-get install coturn): it is left out"),
        }
    }
    if let Some(address) = args.server {
        let way = match (&args.secret, &args.username, &args.password) {
            (Some(secret), ..) => Way::Secret(secret.clone()),
            (None, Some(name), Some(password)) => Way::User(name.clone(), password.clone()),
            _ => anyhow::bail!("--server needs --secret, or --username and --password"),
        };
        let (name, process) = (address.to_string(), args.pid.map(Process));
        servers.push(Server { name, address, way, process, _child: None, _files: None });
    }
    Ok(servers)
}

fn started(name: &str, address: SocketAddr, way: Way, child: Child, files: Option<Files>) -> Server {
    let process = Some(Process(child.id()));
    Server { name: name.to_owned(), address, way, process, _child: Some(child), _files: files }
}

/// The address in a line `UDP IP:PORT…`.
fn listening(line: &str) -> Option<SocketAddr> {
    line.strip_prefix("UDP ")?.split([',', ' ']).next()?.parse().ok()
}

fn floor(cpu: Option<usize>) -> Result<Server> {
    let child = Child::start_self(&["bench", "forwarder"], cpu)?;
    let address = child.wait_for(listening)?;
    Ok(started("floor", address, Way::Forwarder, child, None))
}

fn secret() -> String {
    HEXLOWER.encode(&clock::random::<32>())
}

/// An edge of its own, whose quotas do not get into the way of many clients at one address.
fn edge(cpu: Option<usize>) -> Result<Server> {
    let (files, secret) = (Files::new()?, secret());
    let file = files.join("secret");
    files::write_private(&file, &secret)?;
    let file = file.to_str().context("a path that is no text")?;
    let arguments = [
        "edge",
        "--standalone",
        "--secret-file",
        file,
        "--listen",
        "127.0.0.1:0",
        "--allow-peer",
        "127.0.0.0/8",
        // Apart from coturn's, which holds its ports for a while, and from the kernel's own choice.
        "--min-port",
        "10000",
        "--max-port",
        "32767",
        "--user-quota",
        "1000000",
        "--source-quota",
        "1000000",
        "--challenge-rate",
        "1000000",
        "--allocation-bandwidth",
        "0",
        "--bandwidth",
        "1000g",
    ];
    let child = Child::start_self(&arguments, cpu)?;
    let address = child.wait_for(listening)?;
    Ok(started("edge", address, Way::Secret(secret), child, Some(files)))
}

/// Coturn with one relay thread, loopback peers allowed as in the edge, and nothing else to do: no TCP,
/// no TLS, no RFC 5780, no log.
fn coturn(program: &Path, cpu: Option<usize>) -> Result<Server> {
    let (files, secret) = (Files::new()?, secret());
    let address = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let text = format!(
        "listening-ip=127.0.0.1\nrelay-ip=127.0.0.1\nlistening-port={}\nmin-port=49152\nmax-port=65535\n\
         relay-threads=1\nlt-cred-mech\nuse-auth-secret\nstatic-auth-secret={secret}\nrealm=chappe\n\
         allow-loopback-peers\nno-tcp\nno-tls\nno-dtls\nno-cli\nno-rfc5780\nno-stdout-log\n\
         log-file=/dev/null\nuserdb={}\npidfile={}\n",
        address.port(),
        files.join("db").display(),
        files.join("pid").display(),
    );
    let file = files.join("turnserver.conf");
    files::write_private(&file, &text)?;
    let arguments = ["-c".to_owned(), file.to_str().context("a path that is no text")?.to_owned()];
    let child = Child::start(program, &arguments, cpu)?;
    // It is there when it answers; what is sent before that is sent again.
    let mut probe = TurnClient::new(Ipv4Addr::LOCALHOST.into(), address, &Default::default())?;
    probe.machine.binding(clock::mono());
    probe.wait().context("it does not answer")?;
    Ok(started("coturn", address, Way::Secret(secret), child, Some(files)))
}
