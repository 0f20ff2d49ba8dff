//! An allocation: made, refreshed, deleted.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use chappe_cluster::clock;
use chappe_proto::stun::attributes::Family;
use chappe_proto::stun::{Code, Method};
use chappe_proto::turn::ClientEvent;

use super::super::fault::{Fault, Refusal};
use super::super::report::{Outcome, Step};
use super::super::run::Check;
use super::super::talk::{Answer, Talk};
use super::relay::permit;

/// RFC 8656 section 7.2: what a server gives where nothing is asked, in seconds.
const LIFETIME: u32 = 600;

/// How often a deleted allocation is asked about, and how long in between.
const GONE_TRIES: usize = 4;
/// See [`GONE_TRIES`].
const GONE_EVERY: Duration = Duration::from_millis(500);

/// An allocation and the conversation that it belongs to.
pub(in super::super) struct Allocation {
    pub(in super::super) talk: Talk,
    pub(in super::super) relayed: SocketAddr,
}

/// What an Allocate came to.
pub(in super::super) struct Granted {
    pub(in super::super) relayed: SocketAddr,
    pub(in super::super) lifetime: u32,
    pub(in super::super) took: Duration,
}

pub(in super::super) async fn allocate(talk: &mut Talk, family: Option<Family>) -> Result<Granted, Fault> {
    let answer = talk.ask(Method::ALLOCATE, |client, now| client.allocate(now, family, None)).await?;
    match answer {
        Answer { event: ClientEvent::Allocated { relayed, lifetime, .. }, took } => {
            Ok(Granted { relayed, lifetime, took })
        }
        _ => Err(Fault::Incomplete(Method::ALLOCATE)),
    }
}

/// Whether nobody but the server's neighbours can send to the relayed address, although the server
/// itself is reached from further away.
pub(in super::super) fn is_unreachable(relayed: IpAddr, server: IpAddr) -> bool {
    let near = |ip: IpAddr| match ip.to_canonical() {
        IpAddr::V4(v4) => {
            // RFC 6598: the carriers' own side of their NAT.
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xC0 == 0x40;
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    };
    relayed.is_unspecified() || (near(relayed) && !near(server))
}

/// The first allocation.
pub(in super::super) async fn run(check: &mut Check<'_>, mut talk: Talk) -> Option<Allocation> {
    const NAME: &str = "Allocate";
    let mut granted = allocate(&mut talk, None).await;
    // Without a family IPv4 is meant (RFC 8656 section 7.1), which a server may not have.
    if matches!(&granted, Err(Fault::Code(Refusal { code: Code::ADDRESS_FAMILY_NOT_SUPPORTED, .. }))) {
        granted = allocate(&mut talk, Some(Family::V6)).await;
    }
    let Granted { relayed, lifetime, took } = match granted {
        Ok(granted) => granted,
        Err(fault) if check.follows(NAME, &fault) => return None,
        Err(fault) => {
            check.fail(NAME, &fault);
            return None;
        }
    };
    let short = if lifetime < LIFETIME { " (shorter than usual)" } else { "" };
    let step = Step::ok(NAME, format!("relayed {relayed} for {lifetime} s{short}"));
    let step = if is_unreachable(relayed.ip(), check.server.ip()) {
        let diagnosis = check.diagnose(&Fault::UnreachableRelay(relayed));
        Step { diagnosis: Some(diagnosis), outcome: Outcome::Failed, ..step }
    } else {
        step
    };
    let step = step.took(took).fact("relayed", relayed.to_string()).fact("lifetime", lifetime);
    check.put(step.fact("algorithm", talk.algorithm()));
    Some(Allocation { talk, relayed })
}

/// Prolongs it.
pub(in super::super) async fn refresh(check: &mut Check<'_>, allocation: &mut Allocation) {
    const NAME: &str = "Refresh";
    check.begin(NAME);
    match allocation.talk.ask(Method::REFRESH, |client, now| client.refresh(now, None)).await {
        Ok(Answer { event: ClientEvent::Refreshed { lifetime }, took }) => {
            check.put(Step::ok(NAME, format!("for {lifetime} s")).took(took).fact("lifetime", lifetime));
        }
        Ok(_) => check.fail(NAME, &Fault::Incomplete(Method::REFRESH)),
        Err(fault) => check.fail(NAME, &fault),
    }
}

/// Deletes it, and asks whether it is gone.
pub(in super::super) async fn delete(check: &mut Check<'_>, mut allocation: Allocation) {
    const NAME: &str = "Delete";
    check.begin(NAME);
    let Allocation { talk, relayed } = &mut allocation;
    let took = match talk.ask(Method::REFRESH, |client, now| client.refresh(now, Some(0))).await {
        Ok(answer) => answer.took,
        Err(fault) => return check.fail(NAME, &fault),
    };
    // Asked by CreatePermission: a Refresh of a server that is slow to delete would prolong.
    let begin = clock::mono();
    for _ in 0..GONE_TRIES {
        match permit(talk, *relayed).await {
            // coturn takes a second, and says 400 then.
            Err(Fault::Code(Refusal {
                code: code @ (Code::ALLOCATION_MISMATCH | Code::BAD_REQUEST),
                ..
            })) => {
                let after = clock::mono().since(begin);
                let late = if after < GONE_EVERY { "" } else { " a second later" };
                return check.put(Step::ok(NAME, format!("and it is gone{late} ({})", code.0)).took(took));
            }
            // A stream may end with its allocation.
            Err(Fault::Closed) => {
                return check.put(Step::ok(NAME, "and the connection is closed").took(took));
            }
            Ok(_) | Err(Fault::Code(_)) => tokio::time::sleep(GONE_EVERY).await,
            Err(fault) => return check.fail(NAME, &fault),
        }
    }
    let diagnosis = check.diagnose(&Fault::StillThere);
    check.put(Step::warning(NAME, Fault::StillThere.to_string(), diagnosis).took(took));
}

impl Allocation {
    /// Gives it back without a word: what was to be told of it has been.
    pub(in super::super) async fn release(mut self) {
        let _ = self.talk.ask(Method::REFRESH, |client, now| client.refresh(now, Some(0))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_relay_of_a_public_server_is_of_no_use() {
        let is =
            |relayed: &str, server: &str| is_unreachable(relayed.parse().unwrap(), server.parse().unwrap());
        for relayed in ["10.0.0.5", "172.16.3.4", "192.168.1.1", "127.0.0.1", "169.254.1.1", "100.64.0.1"] {
            assert!(is(relayed, "198.51.100.7"), "{relayed}");
            assert!(!is(relayed, "192.168.1.9"), "{relayed}: a server within");
        }
        for relayed in ["fd00::1", "fe80::1", "::1", "::ffff:10.0.0.1"] {
            assert!(is(relayed, "2001:db8::1"), "{relayed}");
        }
        assert!(is("0.0.0.0", "127.0.0.1") && is("::", "::1"));
        assert!(!is("198.51.100.7", "198.51.100.7") && !is("100.128.0.1", "198.51.100.7"));
    }
}
