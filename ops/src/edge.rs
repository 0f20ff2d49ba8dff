//! `chappe edge`: a relay, of a cluster or by itself.
#![allow(clippy::print_stdout)]

mod health;
pub(crate) mod identity;
mod join;
mod listeners;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use chappe_edge::{Config, Edge, Source, Uplink};
use chappe_proto::id::{EdgeId, Region};
use chappe_proto::limits;
use chappe_proto::mesh::uplink::PeerPolicy;
use chappe_proto::turn::{Quotas, RelayAddress};
use ipnet::IpNet;

use self::identity::Identity;
use self::listeners::Listeners;
use crate::acme::Awaited;
use crate::credentials::Files;
use crate::exit::Exit;
use crate::files::Dir;
use crate::{Process, settings};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Serve without a cluster, with the credentials of a file; what changes there is in force within
    /// two seconds.
    #[arg(long, required_unless_present = "data", conflicts_with = "data")]
    standalone: bool,
    /// Serve a cluster, as the edge of this directory: it joins first, by --join, where the directory is empty.
    #[arg(long, value_name = "DIRECTORY", visible_alias = "identity")]
    data: Option<PathBuf>,
    #[command(flatten)]
    join: join::Options,
    /// Where it stands, for a cluster to know which clients are near, as eu-west; needed to join.
    #[arg(long, value_name = "NAME", env = "CHAPPE_REGION")]
    region: Option<Region>,
    /// Where it stands in degrees, north and east positive, as 52.52,13.4.
    #[arg(long, value_name = "LAT,LON", value_parser = coordinates, allow_hyphen_values = true)]
    coordinates: Option<Place>,
    /// The shared secret of TURN REST credentials (`expiry:name`): one a line, all of them valid.
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    secret_file: Option<PathBuf>,
    /// Secrets, long-term users, realms of origins and peers, in TOML; `chappe turn key --toml` prints a
    /// user, and `chappe turn import` writes the file from what coturn has.
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
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
    #[arg(long, value_name = "NAME", default_value = "chappe", conflicts_with = "data")]
    realm: String,
    /// Answer the Binding requests of RFC 3489 too, which old phones still send.
    #[arg(long)]
    classic_stun: bool,
    /// Peers that may be reached although their addresses are private or special, as 10.0.0.0/8.
    #[arg(long, value_name = "CIDR", conflicts_with = "data")]
    allow_peer: Vec<IpNet>,
    /// Peers that may not be reached.
    #[arg(long, value_name = "CIDR", conflicts_with = "data")]
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
    #[command(flatten)]
    health: health::Options,
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

/// Latitude and longitude in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place(f64, f64);

fn coordinates(text: &str) -> Result<Place, String> {
    let number = |text: &str| text.trim().parse::<f64>().ok();
    match text.split_once(',').map(|(lat, lon)| (number(lat), number(lon))) {
        Some((Some(lat), Some(lon))) if lat.abs() <= 90.0 && lon.abs() <= 180.0 => Ok(Place(lat, lon)),
        _ => Err(format!("{text:?} is no place: latitude and longitude in degrees, as 52.52,13.4")),
    }
}

/// Seconds of `--challenge-rate` that a source may spend at once.
const CHALLENGE_BURST: u32 = limits::CHALLENGES_BURST / limits::CHALLENGES_PER_SEC;

pub(crate) fn run(args: &Args, process: &Process) -> Result<()> {
    one_of_each_family(&args.advertise)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Held as long as the edge runs: two of one name would take each other's uplinks.
    let dir = match &args.data {
        Some(path) => Some(Dir::take(path, "--data OTHER-DIRECTORY")?),
        None => None,
    };
    let awaited = args.listeners.awaited(args.data.as_deref())?;
    let health = args.health.bind()?;
    let config = |id, region, realm, source| config(args, awaited.as_ref(), id, region, realm, source);
    let mut name = None;
    let (edge, follow) = match &args.data {
        Some(path) => {
            let identity = runtime.block_on(identity(args, path))?;
            let region = args.region.clone().or_else(|| identity.region.clone());
            let mut process = process.clone();
            if let (None, Some(region)) = (&args.region, &region) {
                settings::kept(&mut process.settings, "region", region.as_str());
            }
            let process: Arc<dyn chappe_edge::Process> = Arc::new(process);
            let source = Source::Uplink(Uplink { process: Some(process), ..identity.uplink(path)? });
            let config = config(identity.edge.clone(), region, identity.realm.clone(), source)?;
            reachable(&config)?;
            println!("edge {} in {}, data {}", identity.edge, config.region, path.display());
            name = Some(identity.edge);
            (Edge::start(config)?, None)
        }
        None => {
            let files = files(args)?;
            let stamps = files.stamps();
            let source = Source::Standalone(files.load()?);
            let (id, region) = (EdgeId::new("standalone")?, args.region.clone());
            let edge = Edge::start(config(id, region, args.realm.clone(), source)?)?;
            (edge, Some((files, stamps)))
        }
    };
    let health = health.map(|listener| health::serve(listener, edge.observer())).transpose()?;
    // Its listeners answer challenges by now.
    let acme = awaited.map(Awaited::run).transpose()?;
    // Before the last line is printed: whoever has read it may stop us.
    let stop = runtime.block_on(async { crate::signals::stop() })?;
    for (listener, bound) in edge.listeners() {
        println!("{} {bound}, reached by {}", listener.transport.name(), listener.address);
    }
    if let Some(health) = &health {
        println!("health http://{}/", health.at);
    }
    println!("Ctrl-C stops it.");
    let removed = runtime.block_on(async {
        match follow {
            Some((files, stamps)) => tokio::select! {
                () = stop => None,
                never = files.follow(&edge, stamps) => match never {},
            },
            None => tokio::select! {
                () = stop => None,
                why = edge.removed() => Some(why),
            },
        }
    });
    drop(acme);
    // Load balancers hear that it stops before its listeners are gone.
    drop(health);
    edge.stop();
    drop(dir);
    match (removed, name) {
        (Some(why), Some(edge)) => Err(Exit::EdgeRemoved { why, edge }.into()),
        _ => Ok(()),
    }
}

/// Who the edge of a directory is: one that is there already, or one that joins by its token.
async fn identity(args: &Args, dir: &Path) -> Result<Identity> {
    let token = args.join.token()?;
    let held = Identity::of(dir)?;
    let has_ended = held.is_some() && Identity::has_ended(dir)?;
    match (held, token) {
        (Some(held), None) if has_ended => {
            bail!(
                "the certificate in {} has ended, if this machine's clock is right: start once with `--join` and a \
                 token of `chappe cluster invite --edge {}`",
                dir.display(),
                held.edge
            )
        }
        (Some(held), token) if !has_ended => {
            if token.is_some() {
                tracing::info!("the directory holds an edge already, which starts again as who it was");
            }
            Ok(held)
        }
        (_, None) => bail!(
            "{} holds no edge yet: join a cluster by `--join TOKEN`, which `chappe cluster invite --edge` prints",
            dir.display()
        ),
        (held, Some(token)) => {
            let region = args.region.clone().or_else(|| held.and_then(|held| held.region));
            let Some(region) = region else {
                bail!("--region NAME is needed: where this edge stands, as eu-west")
            };
            args.join.join(&token, region, dir).await
        }
    }
}

/// Where nodes are elsewhere, clients are too.
fn reachable(config: &Config) -> Result<()> {
    let Source::Uplink(uplink) = &config.source else { return Ok(()) };
    if uplink.nodes.iter().any(|node| node.address.ip().is_loopback()) {
        return Ok(());
    }
    let listeners = config.listeners.iter().map(|listener| listener.advertised.unwrap_or(listener.bind).ip());
    let relays = config.relays.iter().map(|relay| relay.advertised);
    match listeners.chain(relays).find(IpAddr::is_loopback) {
        None => Ok(()),
        Some(ip) => bail!(
            "clients cannot reach {ip}: say where to listen by `--listen IP:3478`, and behind NAT the address that \
             clients reach by `--advertise IP`"
        ),
    }
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
    region: Option<Region>,
    realm: String,
    source: Source,
) -> Result<Config> {
    let first = args.listeners.listen.first().map(SocketAddr::ip);
    let relays = if args.relay_ip.is_empty() { first.into_iter().collect() } else { args.relay_ip.clone() };
    Ok(Config {
        id,
        build: env!("CARGO_PKG_VERSION").to_owned(),
        region: match region {
            Some(region) => region,
            None => Region::new("here")?,
        },
        coordinates: args.coordinates.map(|Place(latitude, longitude)| (latitude, longitude)),
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

    use super::{Place, coordinates, rate};

    #[test]
    fn a_place_is_latitude_and_longitude() {
        assert_eq!(coordinates("52.52,13.4"), Ok(Place(52.52, 13.4)));
        assert_eq!(coordinates("-33.9, 151.2"), Ok(Place(-33.9, 151.2)));
        for text in ["", "52.52", "52.52;13.4", "91,0", "0,181", "NaN,0", "1,2,3"] {
            assert!(coordinates(text).unwrap_err().contains("52.52,13.4"), "{text}");
        }
    }

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
