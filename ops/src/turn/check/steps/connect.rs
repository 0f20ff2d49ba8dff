//! The connection, where there is one, and its certificate.

use std::net::SocketAddr;
use std::time::Duration;

use chappe_cluster::clock;
use chappe_proto::time::Mono;
use chappe_proto::turn::Transport;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use super::super::certificate::{CertificateFault, Verdict, judge};
use super::super::diagnose::Diagnosis;
use super::super::dtls;
use super::super::fault::Fault;
use super::super::ice_servers::Target;
use super::super::link::Link;
use super::super::report::{Outcome, Step};
use super::super::run::{Check, Options};
use super::super::talk::Talk;
use super::super::tls::{self, Handshake};
use super::super::url::{Host, Url};

/// A certificate that expires within so many days is warned of: renewals come 30 days before.
const SOON: i64 = 14;

async fn tcp(server: SocketAddr, wait: Duration) -> Result<TcpStream, Fault> {
    let Ok(connected) = tokio::time::timeout(wait, TcpStream::connect(server)).await else {
        return Err(Fault::NoConnection(wait));
    };
    let stream = connected.map_err(|error| match error.kind() {
        std::io::ErrorKind::TimedOut => Fault::NoConnection(wait),
        _ => error.into(),
    })?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The name that a certificate must be of.
fn server_name(url: &Url) -> Result<ServerName<'static>, Fault> {
    match &url.host {
        Host::Ip(ip) => Ok(ServerName::from(*ip)),
        Host::Name(name) => {
            ServerName::try_from(name.clone()).map_err(|error| Fault::Handshake(error.to_string()))
        }
    }
}

/// One more connection of the same kind, of which nothing is told.
pub(in super::super) async fn link(
    target: &Target,
    server: SocketAddr,
    options: &Options,
) -> Result<Link, Fault> {
    match target.url.transport {
        Transport::Udp => Link::udp(server).await,
        Transport::Dtls => {
            let (dtls, _) = dtls::connect(server, options.wait).await?;
            Ok(Link::Dtls(Box::new(dtls)))
        }
        Transport::Tcp => {
            let tcp = tcp(server, options.wait).await?;
            let local = tcp.local_addr()?;
            Ok(Link::stream(Box::new(tcp), local))
        }
        Transport::Tls => {
            let tcp = tcp(server, options.wait).await?;
            let local = tcp.local_addr()?;
            let (stream, _) = tls::connect(tcp, server_name(&target.url)?, options.wait).await?;
            Ok(Link::stream(Box::new(stream), local))
        }
    }
}

/// Connects, and tells how.
pub(in super::super) async fn run(check: &mut Check<'_>) -> Option<Talk> {
    check.begin("connecting");
    match check.target.url.transport {
        Transport::Udp => match Link::udp(check.server).await {
            Ok(link) => Some(check.talk(link)),
            Err(fault) => unreached(check, &fault),
        },
        Transport::Dtls => {
            let begin = clock::mono();
            let shaken = dtls::connect(check.server, check.options.wait).await;
            let (dtls, handshake) = shaken_hands(check, "DTLS handshake", begin, shaken)?;
            trusts(check, &handshake).then(|| check.talk(Link::Dtls(Box::new(dtls))))
        }
        Transport::Tcp | Transport::Tls => stream(check).await,
    }
}

async fn stream(check: &mut Check<'_>) -> Option<Talk> {
    let begin = clock::mono();
    let tcp = match tcp(check.server, check.options.wait).await {
        Ok(tcp) => tcp,
        Err(fault) => return unreached(check, &fault),
    };
    let local = tcp.local_addr().ok()?;
    check.put(Step::ok("Connect", format!("from {local}")).took(clock::mono().since(begin)));
    if check.target.url.transport == Transport::Tcp {
        return Some(check.talk(Link::stream(Box::new(tcp), local)));
    }
    check.begin("TLS handshake");
    let begin = clock::mono();
    let name = server_name(&check.target.url).ok()?;
    let shaken = tls::connect(tcp, name, check.options.wait).await;
    let (stream, handshake) = shaken_hands(check, "TLS handshake", begin, shaken)?;
    trusts(check, &handshake).then(|| check.talk(Link::stream(Box::new(stream), local)))
}

/// Tells of a handshake.
fn shaken_hands<T>(
    check: &mut Check<'_>,
    name: &'static str,
    begin: Mono,
    shaken: Result<(T, Handshake), Fault>,
) -> Option<(T, Handshake)> {
    match shaken {
        Err(fault) => {
            check.fail(name, &fault);
            None
        }
        Ok((link, handshake)) => {
            let Handshake { version, cipher, .. } = &handshake;
            let text = [*version, cipher].into_iter().filter(|part| !part.is_empty());
            let step = Step::ok(name, text.collect::<Vec<_>>().join(", "))
                .took(clock::mono().since(begin))
                .fact("version", *version)
                .fact("cipher", cipher.as_str());
            check.put(step);
            Some((link, handshake))
        }
    }
}

fn unreached(check: &mut Check<'_>, fault: &Fault) -> Option<Talk> {
    if *fault == Fault::NoRoute && check.server.is_ipv6() {
        let diagnosis = check.diagnose(fault);
        check.put(Step { diagnosis: Some(diagnosis), ..Step::skipped("Connect", fault.to_string()) });
    } else {
        check.fail("Connect", fault);
    }
    None
}

/// Tells what a browser would say of the certificate. Whether to go on.
fn trusts(check: &mut Check<'_>, handshake: &Handshake) -> bool {
    const NAME: &str = "Certificate";
    let Ok(name) = server_name(&check.target.url) else { return false };
    let mut verdict = judge(&handshake.chain, &name, clock::unix(), &check.options.trust);
    // The chain behind the certificate is not to be seen there.
    let lone = |fault: &CertificateFault| matches!(fault, CertificateFault::Lone { .. });
    let unseen = check.target.url.transport == Transport::Dtls && verdict.faults.iter().any(lone);
    if unseen {
        verdict.faults.retain(|fault| !lone(fault));
    }
    let Verdict { subject, issuer, names, days, sent, faults } = verdict;
    let (outcome, text, diagnosis) = match faults.first() {
        None => {
            let outcome = if days < SOON { Outcome::Warning } else { Outcome::Ok };
            let trust = if unseen { "its chain is not looked at over DTLS" } else { "trusted" };
            (outcome, format!("{}, by {issuer}, {trust}, {days} days left", names.join(", ")), None)
        }
        Some(_) => {
            let texts: Vec<_> = faults.iter().map(ToString::to_string).collect();
            let diagnoses = faults.iter().map(|fault| check.diagnose(&Fault::Certificate(fault.clone())));
            let diagnosis =
                diagnoses.reduce(|all, next| Diagnosis { fix: format!("{} {}", all.fix, next.fix), ..all });
            let insecure = check.options.insecure;
            let goes_on = if insecure { " (--insecure goes on)" } else { "" };
            let outcome = if insecure { Outcome::Warning } else { Outcome::Failed };
            (outcome, texts.join("; ") + goes_on, diagnosis)
        }
    };
    let step = Step { diagnosis, ..Step::new(NAME, outcome, text) }
        .fact("subject", subject)
        .fact("issuer", issuer)
        .fact("names", names)
        .fact("days", days)
        .fact("sent", sent)
        .fact("trusted", faults.is_empty() && !unseen);
    check.put(step);
    outcome != Outcome::Failed
}
