//! The addresses of a name.

use std::net::SocketAddr;
use std::time::Duration;

use chappe_cluster::clock;
use chappe_proto::stun::attributes::Family;

use super::diagnose::{Context, diagnose};
use super::fault::Fault;
use super::ice_servers::Target;
use super::report::{Section, Step};
use super::url::Host;

/// Addresses of one family that are tried.
const EACH: usize = 2;
const NAME: &str = "Name";

/// Looks the host up: what is to be told of that, where it is a name, and the addresses.
pub(super) async fn resolve(target: &Target, wait: Duration) -> (Option<Section>, Vec<SocketAddr>) {
    let url = &target.url;
    let name = match &url.host {
        Host::Ip(ip) => return (None, vec![SocketAddr::new(*ip, url.port)]),
        Host::Name(name) => name,
    };
    let begin = clock::mono();
    let found = tokio::time::timeout(wait, tokio::net::lookup_host((name.as_str(), url.port))).await;
    let took = clock::mono().since(begin);
    let found = match found {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(error)) => Err(fault(name, &error)),
        Err(_) => Err(Fault::Resolver(format!("no answer within {} s", wait.as_secs()))),
    };
    let section = |step: Step| {
        Some(Section { server: None, transport: url.transport.name(), steps: vec![step.took(took)] })
    };
    let found: Vec<SocketAddr> = match found.and_then(|found: Vec<_>| match found.is_empty() {
        true => Err(Fault::UnknownName(name.clone())),
        false => Ok(found),
    }) {
        Ok(found) => found,
        Err(fault) => {
            let context = Context {
                server: SocketAddr::new([0; 4].into(), url.port),
                transport: url.transport,
                answered: false,
                username: None,
                made: false,
                now: clock::unix(),
            };
            let diagnosis = diagnose(&fault, &context);
            return (section(Step::failed(NAME, fault.to_string(), diagnosis)), Vec::new());
        }
    };
    let (tried, text) = choose(&found);
    let all: Vec<_> = found.iter().map(|address| address.ip().to_string()).collect();
    (section(Step::ok(NAME, text).fact("addresses", all)), tried)
}

/// The addresses that are tried, and the text that tells of all.
fn choose(found: &[SocketAddr]) -> (Vec<SocketAddr>, String) {
    let mut tried = Vec::new();
    let mut text = Vec::new();
    for (family, kind) in [(Family::V4, "IPv4"), (Family::V6, "IPv6")] {
        let mut of: Vec<_> = found.iter().copied().filter(|address| Family::of(*address) == family).collect();
        of.dedup();
        let more = of.len().saturating_sub(EACH);
        of.truncate(EACH);
        let shown: Vec<_> = of.iter().map(|address| address.ip().to_string()).collect();
        let more = if more == 0 { String::new() } else { format!(" and {more} more, not tried") };
        text.push(if of.is_empty() { format!("no {kind}") } else { format!("{}{more}", shown.join(", ")) });
        tried.extend(of);
    }
    (tried, text.join("; "))
}

fn fault(name: &str, error: &std::io::Error) -> Fault {
    let text = error.to_string();
    // What getaddrinfo(3) says, by glibc and musl.
    let unknown = ["not known", "No address associated", "does not resolve"];
    if unknown.iter().any(|part| text.contains(part)) {
        return Fault::UnknownName(name.to_owned());
    }
    let said = text.rsplit(": ").next().unwrap_or(&text);
    Fault::Resolver(said.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn some_of_each_family_are_tried() {
        let found = addresses(&["[2001:db8::1]:1", "192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"]);
        let (tried, text) = choose(&found);
        assert_eq!(tried, addresses(&["192.0.2.1:1", "192.0.2.2:1", "[2001:db8::1]:1"]));
        assert_eq!(text, "192.0.2.1, 192.0.2.2 and 1 more, not tried; 2001:db8::1");
        assert_eq!(choose(&found[1..2]).1, "192.0.2.1; no IPv6");
    }

    #[test]
    fn no_such_name_is_told_from_no_resolver() {
        let of = |text: &str| fault("a.org", &std::io::Error::other(text));
        let unknown = "failed to lookup address information: Name or service not known";
        assert_eq!(of(unknown), Fault::UnknownName("a.org".to_owned()));
        let down = "failed to lookup address information: Temporary failure in name resolution";
        assert_eq!(of(down), Fault::Resolver("Temporary failure in name resolution".to_owned()));
    }
}
