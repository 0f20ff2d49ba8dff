//! `chappe dev`: a whole cluster on this machine, in one process or in many, for trying things out and for
//! developing an app against.

mod banner;
mod edge;
mod https;
mod inside;
mod lan;
mod lan_ca;
mod layout;
mod node;
mod owner;
mod processes;

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Result, bail};
use rustls::pki_types::DnsName;

use self::layout::Layout;
use crate::Process;
use crate::files::Dir;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many nodes; 3 for a new directory, and else what the directory holds.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=5))]
    nodes: Option<u8>,
    /// How many edges; 2 for a new directory, and else what it had.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=5))]
    edges: Option<u8>,
    /// Run each node and each edge as a process of its own, so that one can be killed and watched.
    #[arg(long, conflicts_with_all = ["lan", "certificate", "bind", "accept_loss"])]
    processes: bool,
    /// Serve phones on this network too: HTTPS by a CA of its own, and relays on the LAN address.
    #[arg(long)]
    lan: bool,
    /// The LAN address to serve, where there are several.
    #[arg(long, value_name = "IP", requires = "lan")]
    lan_ip: Option<IpAddr>,
    /// The port of the web page and of signaling, of the first node: the others take the next ones. 0 takes
    /// free ones.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    http: u16,
    /// The port that HTTPS and TURN over TLS share, with --lan or --certificate; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    https: u16,
    /// Serve HTTPS and TURN over TLS too, with the certificate chain of this file (PEM); read again when it
    /// changes.
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "lan")]
    certificate: Option<PathBuf>,
    /// The private key of --certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Browsers trust --certificate, whatever this program's own check says: hand out `turns:` URLs in any
    /// case. Implied by --lan.
    #[arg(long)]
    trust_certificate: bool,
    /// A name of this machine to put into URLs instead of its address: the one in the certificate.
    #[arg(long, value_name = "NAME", value_parser = hostname)]
    hostname: Option<String>,
    /// Reverse proxies whose X-Forwarded-For is believed, as 10.0.0.0/8; may be repeated.
    #[arg(long, value_name = "CIDR")]
    trusted_proxy: Vec<ipnet::IpNet>,
    /// The port of STUN and TURN, over UDP and TCP, of the first edge: the others take the next ones. 0 takes
    /// free ones.
    #[arg(long, value_name = "PORT", default_value_t = 3478)]
    turn: u16,
    /// An address to listen on instead of loopback; then its peers are allowed too.
    #[arg(long, value_name = "IP", conflicts_with = "lan")]
    bind: Option<IpAddr>,
    /// The lowest relay port.
    #[arg(long, value_name = "PORT", default_value_t = 49152)]
    relay_min_port: u16,
    /// The highest relay port.
    #[arg(long, value_name = "PORT", default_value_t = 65535)]
    relay_max_port: u16,
    /// Where everything is kept: the registry, secrets, certificates.
    #[arg(long, value_name = "DIRECTORY", default_value = ".chappe-dev")]
    data: PathBuf,
    /// HTTP worker threads.
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    workers: usize,
    /// Go on although the disk has lost something that was acknowledged.
    #[arg(long)]
    accept_loss: bool,
}

/// A hostname, as URLs and certificates have it.
fn hostname(text: &str) -> Result<String, String> {
    let no_name = |_| format!("{text} is no DNS name");
    if text.parse::<IpAddr>().is_ok() {
        return Err(format!("{text} is an address: leave the option out"));
    }
    DnsName::try_from(text).map(|name| name.as_ref().to_owned()).map_err(no_name)
}

/// The app that it begins with.
const APP: &str = "dev";
/// The realm of its relays' users.
const REALM: &str = "chappe";

impl Args {
    /// The relay ports of the nth edge, counted from 0: edges of one address share the range.
    fn relay_ports(&self, nth: usize, edges: u8) -> Result<(u16, u16)> {
        let (first, last) = (self.relay_min_port, self.relay_max_port);
        let each = last.checked_sub(first).map_or(0, |span| (u32::from(span) + 1) / u32::from(edges.max(1)));
        let nth = u32::try_from(nth)?;
        let begin = u32::from(first) + nth * each;
        let end =
            if nth + 1 == u32::from(edges) { u32::from(last) } else { (begin + each).saturating_sub(1) };
        if each == 0 {
            bail!(
                "--relay-min-port {first} to --relay-max-port {last} leaves no port for each of {edges} edges"
            );
        }
        Ok((u16::try_from(begin)?, u16::try_from(end)?))
    }
}

pub(crate) fn run(args: &Args, log: &str, process: &Process) -> Result<()> {
    let dir = Dir::take(&args.data, "--data OTHER-DIRECTORY --http 0 --turn 0")?;
    let layout = Layout::of(&dir, args.nodes, args.edges)?;
    if args.processes {
        // On this thread: its children die with it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(processes::run(args, log, &dir, &layout));
    }
    actix_rt::System::new().block_on(inside::serve(args, &dir, &layout, process))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_share_the_relay_ports() {
        #[derive(Debug, clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let args = |first: &str, last: &str| {
            let line = ["dev", "--relay-min-port", first, "--relay-max-port", last];
            <Line as clap::Parser>::try_parse_from(line).unwrap().args
        };
        let ports = |args: &Args, edges| -> Vec<_> {
            (0..usize::from(edges)).map(|nth| args.relay_ports(nth, edges).unwrap()).collect()
        };
        assert_eq!(ports(&args("50000", "50009"), 2), [(50_000, 50_004), (50_005, 50_009)]);
        assert_eq!(ports(&args("49152", "65535"), 3)[2].1, 65_535);
        assert_eq!(ports(&args("50000", "50000"), 1), [(50_000, 50_000)]);
        let told = args("50000", "50000").relay_ports(0, 2).unwrap_err().to_string();
        assert!(told.contains("leaves no port"), "{told}");
    }

    #[test]
    fn a_hostname_is_a_dns_name_and_no_address() {
        assert_eq!(hostname("turn.example").unwrap(), "turn.example");
        for (wrong, told) in [
            ("192.0.2.7", "leave the option out"),
            ("2001:db8::1", "leave the option out"),
            ("two words", "no DNS name"),
            ("https://turn.example", "no DNS name"),
            ("", "no DNS name"),
        ] {
            assert!(hostname(wrong).unwrap_err().contains(told), "{wrong}");
        }
    }
}
