//! `chappe dev`: a node, an edge and the call page in one process, for trying things out and for
//! developing an app against.

mod banner;
mod edge;
mod https;
mod lan;
mod lan_ca;
mod node;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::{Context, Result};
use chappe_proto::id::AppId;
use rustls::pki_types::DnsName;

use crate::files::Dir;
use crate::{keys, signals};
use https::Https;
use lan::Lan;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Serve phones on this network too: HTTPS by a CA of its own, and relays on the LAN address.
    #[arg(long)]
    lan: bool,
    /// The LAN address to serve, where there are several.
    #[arg(long, value_name = "IP", requires = "lan")]
    lan_ip: Option<IpAddr>,
    /// The port of the web page and of signaling; 0 takes a free one.
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
    /// The port of STUN and TURN, over UDP and TCP; 0 takes free ones.
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

pub(crate) fn run(args: &Args) -> Result<()> {
    actix_rt::System::new().block_on(serve(args))
}

async fn serve(args: &Args) -> Result<()> {
    let dir = Dir::take(&args.data, "--data OTHER-DIRECTORY --http 0 --turn 0")?;
    let lan = if args.lan { Some(Lan::find(args.lan_ip)?) } else { None };
    let address =
        lan.as_ref().map_or(args.bind.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), |lan| lan.address);
    let https = Https::open(args, &dir, address, lan.as_ref())?;
    let mut node = node::start(args, &dir, address, lan.as_ref(), https.as_ref()).await?;
    let edge = edge::start(args, address, https.as_ref(), &node)?;
    edge::wait(&node).await?;
    keys::keep(&dir, &node, &AppId::new("dev")?)?;
    // Before the banner: whoever has read it may stop us.
    let stop = signals::stop()?;
    banner::print(&node, &edge, &dir, https.as_ref());

    let stopped = tokio::select! {
        () = stop => Ok(()),
        failed = node.failed() => match failed {
            Ok(()) => Ok(()),
            Err(error) => Err(error).context("the registry has ended; what was acknowledged is on disk"),
        },
    };
    banner::stopping();
    // What clients are told goes through the edge, where it shares its port.
    node.dismiss().await;
    // Its uplink says goodbye while the node still listens.
    let _ = tokio::task::spawn_blocking(move || edge.stop()).await;
    node.stop().await;
    stopped
}

#[cfg(test)]
mod tests {
    use super::*;

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
