//! `chappe edge`: a relay, of a cluster or by itself.
#![allow(clippy::print_stdout)]

pub(crate) mod identity;
mod listeners;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Result, bail};
use chappe_edge::{Config, Edge, Source};
use chappe_proto::id::{EdgeId, Region};
use chappe_proto::limits;
use chappe_proto::mesh::uplink::PeerPolicy;
use chappe_proto::turn::{Quotas, RelayAddress};
use ipnet::IpNet;

use self::identity::Identity;
use self::listeners::Listeners;
use crate::acme::Awaited;
use crate::credentials::Files;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Serve without a cluster, with the credentials of a file; what changes there is in force within
    /// two seconds.
    #[arg(long, required_unless_present = "identity", conflicts_with = "identity")]
    standalone: bool,
    /// Serve a cluster, as the edge of these files, which `chappe cluster edge` writes.
    #[arg(long, value_name = "DIRECTORY")]
    identity: Option<PathBuf>,
    /// Where it stands, for a cluster to know which clients are near.
    #[arg(long, value_name = "NAME", default_value = "here")]
    region: Region,
    /// The shared secret of TURN REST credentials (`expiry:name`): one a line, all of them valid.
    #[arg(long, value_name = "FILE", conflicts_with = "identity")]
    secret_file: Option<PathBuf>,
    /// Secrets, long-term users, realms of origins and peers, in TOML; `chappe turn key --toml` prints a
    /// user, and `chappe turn import` writes the file from what coturn has.
    #[arg(long, value_name = "FILE", conflicts_with = "identity")]
    credentials: Option<PathBuf>,
    #[command(flatten)]
    listeners: Listeners,
    /// The address that clients reach listeners and relays by, behind 1:1 NAT; one of each family.
    #[arg(long, value_name = "IP")]
    advertise: Vec<IpAddr>,
    /// The address to relay from; the first listener's where it is not given.
    #[arg(long, value_name = "IP")]
    relay_ip: Vec<IpAddr>,
    /// The lowest relay port.
    #[arg(long, value_name = "PORT", default_value_t = 49152)]
    min_port: u16,
    /// The highest relay port.
    #[arg(long, value_name = "PORT", default_value_t = 65535)]
    max_port: u16,
    /// The realm of the long-term credential mechanism; a cluster has its own.
    #[arg(long, value_name = "NAME", default_value = "chappe", conflicts_with = "identity")]
    realm: String,
    /// Answer the Binding requests of RFC 3489 too, which old phones still send.
    #[arg(long)]
    classic_stun: bool,
    /// Peers that may be reached although their addresses are private or special, as 10.0.0.0/8.
    #[arg(long, value_name = "CIDR", conflicts_with = "identity")]
    allow_peer: Vec<IpNet>,
    /// Peers that may not be reached.
    #[arg(long, value_name = "CIDR", conflicts_with = "identity")]
    deny_peer: Vec<IpNet>,
    /// Allocations at most.
    #[arg(long, value_name = "NUMBER", default_value_t = 16_384)]
    capacity: u32,
    /// Allocations of one user at most (the name in `expiry:name`).
    #[arg(long, value_name = "NUMBER", default_value_t = limits::ALLOCATIONS_PER_USER)]
    user_quota: u32,
    /// Allocations of one source address at most; an IPv6 /64 is one.
    #[arg(long, value_name = "NUMBER", default_value_t = limits::ALLOCATIONS_PER_SOURCE)]
    source_quota: u32,
    /// Answers to unauthenticated requests that one source address gets a second; four times as many at
    /// once. More than that is silence.
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = limits::CHALLENGES_PER_SEC,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    challenge_rate: u32,
    /// Bits a second that one allocation may have relayed each way, as 50m; 0 is no limit.
    #[arg(long, value_name = "RATE", default_value = "50m", value_parser = rate)]
    allocation_bandwidth: u64,
    /// Bits a second that the edge relays each way, as 10g; beyond it each allocation is held to its fair
    /// share. 0 is no limit.
    #[arg(long, value_name = "RATE", default_value = "10g", value_parser = rate)]
    bandwidth: u64,
}

/// Bits a second: a number, or one with k, m or g for thousands, millions or billions.
fn rate(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (text.get(..at), 1_000),
        Some((at, 'm' | 'M')) => (text.get(..at), 1_000_000),
        Some((at, 'g' | 'G')) => (text.get(..at), 1_000_000_000),
        _ => (Some(text), 1),
    };
    let number: Option<u64> = digits.and_then(|digits| digits.parse().ok());
    let rate = number.and_then(|number| number.checked_mul(unit));
    let rate =
        rate.ok_or_else(|| format!("{text:?} is no rate: write bits a second, as 800k, 50m or 10g"))?;
    if rate != 0 && rate < limits::BANDWIDTH_MIN {
        return Err(format!(
            "{text} is {rate} bits a second, too few for one packet: at least {}k, or 0 for no limit",
            limits::BANDWIDTH_MIN / 1000
        ));
    }
    Ok(rate)
}

/// Seconds of `--challenge-rate` that a source may spend at once.
const CHALLENGE_BURST: u32 = limits::CHALLENGES_BURST / limits::CHALLENGES_PER_SEC;

pub(crate) fn run(args: &Args) -> Result<()> {
    one_of_each_family(&args.advertise)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let awaited = args.listeners.awaited(args.identity.as_deref())?;
    let config = |id, realm, source| config(args, awaited.as_ref(), id, realm, source);
    let (edge, follow) = match &args.identity {
        Some(dir) => {
            let (identity, source) = Identity::load(dir)?;
            (Edge::start(config(identity.edge, identity.realm, source)?)?, None)
        }
        None => {
            let files = files(args)?;
            let stamps = files.stamps();
            let source = Source::Standalone(files.load()?);
            let edge = Edge::start(config(EdgeId::new("standalone")?, args.realm.clone(), source)?)?;
            (edge, Some((files, stamps)))
        }
    };
    // Its listeners answer challenges by now.
    let acme = awaited.map(Awaited::run).transpose()?;
    // Before the last line is printed: whoever has read it may stop us.
    let stop = runtime.block_on(async { crate::signals::stop() })?;
    for (listener, bound) in edge.listeners() {
        println!("{} {bound}, reached by {}", listener.transport.name(), listener.address);
    }
    println!("Ctrl-C stops it.");
    runtime.block_on(async {
        match follow {
            Some((files, stamps)) => tokio::select! {
                () = stop => {}
                never = files.follow(&edge, stamps) => match never {},
            },
            None => stop.await,
        }
    });
    drop(acme);
    edge.stop();
    Ok(())
}

fn one_of_each_family(advertised: &[IpAddr]) -> Result<()> {
    let v4 = advertised.iter().filter(|ip| ip.is_ipv4()).count();
    if v4 > 1 || advertised.len() - v4 > 1 {
        bail!("--advertise takes one address of each family");
    }
    Ok(())
}

/// Where the credentials come from.
fn files(args: &Args) -> Result<Files> {
    if args.secret_file.is_none() && args.credentials.is_none() {
        bail!("--standalone needs --secret-file FILE or --credentials FILE");
    }
    Ok(Files {
        secrets: args.secret_file.clone(),
        credentials: args.credentials.clone(),
        peers: PeerPolicy { allow: args.allow_peer.clone(), deny: args.deny_peer.clone() },
        realm: args.realm.clone(),
    })
}

/// The address that one of this family is reached by, where that is another one.
fn reached(advertised: &[IpAddr], bind: IpAddr) -> Option<IpAddr> {
    advertised.iter().copied().find(|ip| ip.is_ipv4() == bind.is_ipv4())
}

fn config(
    args: &Args,
    awaited: Option<&Awaited>,
    id: EdgeId,
    realm: String,
    source: Source,
) -> Result<Config> {
    let first = args.listeners.listen.first().map(SocketAddr::ip);
    let relays = if args.relay_ip.is_empty() { first.into_iter().collect() } else { args.relay_ip.clone() };
    Ok(Config {
        id,
        build: env!("CARGO_PKG_VERSION").to_owned(),
        region: args.region.clone(),
        coordinates: None,
        listeners: args.listeners.all(awaited, |bind| reached(&args.advertise, bind))?,
        relays: relays
            .into_iter()
            .map(|bind| RelayAddress {
                bind,
                advertised: reached(&args.advertise, bind).unwrap_or(bind),
                first: args.min_port,
                last: args.max_port,
            })
            .collect(),
        realm,
        classic: args.classic_stun,
        quotas: Quotas {
            allocations: args.capacity,
            per_user: args.user_quota,
            per_source: args.source_quota,
            challenges_burst: args.challenge_rate.saturating_mul(CHALLENGE_BURST),
            challenges_per_sec: args.challenge_rate,
            allocation_bandwidth: args.allocation_bandwidth,
            bandwidth: args.bandwidth,
            ..Quotas::default()
        },
        source,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

    use super::rate;

    #[test]
    fn rates_are_bits_a_second_with_or_without_a_unit() {
        let expected = [("0", 0), ("800k", 800_000), ("50m", 50_000_000), ("10G", 10_000_000_000)];
        for (text, bits) in expected {
            assert_eq!(rate(text), Ok(bits));
        }
        for text in ["", "m", "-1", "1.5m", "50mb", "99999999999g"] {
            assert!(rate(text).unwrap_err().contains("10g"), "{text}");
        }
        for text in ["1", "50", "127999"] {
            assert!(rate(text).unwrap_err().contains("at least 128k"), "{text}");
        }
    }
}
