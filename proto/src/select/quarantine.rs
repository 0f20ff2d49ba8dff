//! Edges on which ICE fails, as their clients say it: a firewall closed between some networks and an edge, or relay
//! ports that nobody reaches, show in nothing that the edge itself can see.
//!
//! Jitsi's bridges are taken for failing for ten minutes once more than a tenth of at least thirty participants had
//! to restart ICE within two minutes. Here not clients are counted but the networks that they come from, IPv4 by
//! /24 and IPv6 by /48: whoever has one network, however many addresses of it, is one voice of thirty. A failure
//! counts for its time, whatever works for others there: a measurement reaches the listener, and says nothing of relay
//! ports. A network on which nothing works, whichever edge it tries, is no voice at all. No more than a third of the
//! edges, rounded up, is ever put away at once, and one that is stays the last resort: so whoever lies from many
//! networks moves sessions at most, and takes the relays from nobody.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::EdgeStatus;
use super::condition::State;
use super::reason::Reason;
use crate::id::EdgeId;
use crate::limits::ICE_VOICES_MAX;
use crate::time::Mono;

/// A word counts for this long (Jitsi's).
pub const WINDOW: Duration = Duration::from_secs(120);
/// So many networks must have spoken of an edge (Jitsi's, of participants).
pub const VOICES_MIN: usize = 30;
/// And more than this part of them must have failed (Jitsi's).
pub const FAILING_OVER: f64 = 0.1;
/// An edge is put away for this long (Jitsi's); then it begins as a newcomer does, with nothing said of it.
pub const QUARANTINE: Duration = Duration::from_secs(600);
/// The part of the fleet that may be put away at once.
const PART_MAX: usize = 3;

#[derive(Debug, Clone, Copy)]
struct Voice {
    at: Mono,
    worked: bool,
}

/// What was said of each edge lately.
#[derive(Debug, Clone, Default)]
pub struct IceFailures {
    voices: BTreeMap<EdgeId, BTreeMap<IpAddr, Voice>>,
    until: BTreeMap<EdgeId, Mono>,
}

impl IceFailures {
    /// A client at this address could use an edge, or could not.
    pub fn handle_report(&mut self, now: Mono, edge: &EdgeId, ip: IpAddr, worked: bool) {
        if self.until.contains_key(edge) {
            return; // who still tries it has not heard, or has nothing else
        }
        let (network, held) = (network(ip), self.voices.values().map(BTreeMap::len).sum::<usize>());
        let of = self.voices.entry(edge.clone()).or_default();
        let failed = of.get(&network).is_some_and(|voice| !voice.worked && now.since(voice.at) < WINDOW);
        if worked && failed {
            return;
        }
        if held < ICE_VOICES_MAX || of.contains_key(&network) {
            of.insert(network, Voice { at: now, worked });
        }
    }

    /// Says of each edge whether it is put away: [`EdgeStatus::failing`].
    pub fn mark(&mut self, now: Mono, edges: &mut [EdgeStatus]) {
        self.until.retain(|_, until| *until > now);
        self.voices.retain(|edge, voices| {
            voices.retain(|_, voice| now.since(voice.at) < WINDOW);
            !voices.is_empty() && edges.iter().any(|status| status.edge == *edge)
        });
        let most = edges.len() / PART_MAX + usize::from(!edges.len().is_multiple_of(PART_MAX));
        let mut failing: Vec<(f64, EdgeId)> =
            self.voices.keys().filter_map(|edge| Some((self.part(edge)?, edge.clone()))).collect();
        failing.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        for (_, edge) in failing {
            if self.until.len() < most {
                self.voices.remove(&edge);
                self.until.insert(edge, now + QUARANTINE);
            }
        }
        for status in edges {
            if self.until.contains_key(&status.edge) {
                status.failing = true;
                status.condition.reasons.push(Reason::Quarantine);
                if status.condition.state == State::Up {
                    status.condition.state = State::Degraded;
                }
            }
        }
    }

    /// The part of its voices for which an edge failed, where that is too much.
    fn part(&self, edge: &EdgeId) -> Option<f64> {
        let voices = self.voices.get(edge)?;
        let fails_everywhere = |network: &IpAddr| {
            let others = self.voices.iter().filter(|(other, _)| *other != edge);
            let mut said = others.filter_map(|(_, voices)| voices.get(network)).peekable();
            said.peek().is_some() && said.all(|voice| !voice.worked)
        };
        let failed =
            voices.iter().filter(|(network, voice)| !voice.worked && !fails_everywhere(network)).count();
        let counted = voices.values().filter(|voice| voice.worked).count() + failed;
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let part = failed as f64 / counted.max(1) as f64;
        (counted >= VOICES_MIN && part > FAILING_OVER).then_some(part)
    }
}

/// The network that an address is of: what one host, or one customer, has at least.
pub(crate) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) & !0xff).into()),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !(u128::MAX >> 48)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Region;

    fn id(name: &str) -> EdgeId {
        EdgeId::new(name).unwrap()
    }

    fn fleet(names: &[&str]) -> Vec<EdgeStatus> {
        names.iter().map(|name| EdgeStatus::new(id(name), Region::new("r").unwrap(), vec![])).collect()
    }

    fn ip(network: u8, host: u8) -> IpAddr {
        IpAddr::from([192, 0, network, host])
    }

    /// What becomes of `e` after these words of it.
    fn failing(words: impl IntoIterator<Item = (IpAddr, bool)>) -> bool {
        let (mut failures, mut edges) = (IceFailures::default(), fleet(&["e", "f", "g"]));
        for (ip, worked) in words {
            failures.handle_report(Mono::default(), &id("e"), ip, worked);
        }
        failures.mark(Mono::default(), &mut edges);
        edges[0].failing
    }

    #[test]
    fn a_tenth_of_thirty_networks() {
        let words = |networks: u8, failed: u8| (0..networks).map(move |n| (ip(n, 1), n >= failed));
        assert!(!failing(words(29, 29)), "too few to tell");
        assert!(!failing(words(30, 3)), "a tenth is not over a tenth");
        assert!(failing(words(30, 4)));
    }

    #[test]
    fn one_client_or_one_network_is_one_voice() {
        let fine = (0..40).map(|n| (ip(n, 1), true));
        let liars = (0..=255).map(|host| (ip(200, host), false));
        assert!(!failing(fine.clone().chain(liars)));
        let v6 = (0..1000u32).map(|n| (format!("2001:db8:1:{n:x}::1").parse().unwrap(), false));
        assert!(!failing(fine.clone().chain(v6)));
        let again = (0..1000).map(|_| (ip(7, 9), false));
        assert!(!failing(fine.clone().chain(again)));
        // A neighbour's measurement does not unsay a failure.
        let failed = (0..40).map(|n| (ip(n, 1), n >= 10));
        assert!(failing(failed.chain(fine)));
    }

    #[test]
    fn who_fails_everywhere_says_nothing_of_an_edge() {
        let (mut failures, mut edges) = (IceFailures::default(), fleet(&["e", "f", "g"]));
        let now = Mono::default();
        for n in 0..40 {
            failures.handle_report(now, &id("e"), ip(n, 1), n >= 10);
            failures.handle_report(now, &id("f"), ip(n, 1), n >= 10);
        }
        failures.mark(now, &mut edges);
        assert!(edges.iter().all(|edge| !edge.failing));
        // Seven of those ten reach `f`: the trouble is with `e`.
        let mut failures = IceFailures::default();
        for n in 0..40 {
            failures.handle_report(now, &id("e"), ip(n, 1), n >= 10);
            failures.handle_report(now, &id("f"), ip(n, 1), !(7..10).contains(&n));
        }
        failures.mark(now, &mut edges);
        assert_eq!(edges.iter().map(|edge| edge.failing).collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn ten_minutes_and_never_the_whole_fleet() {
        let (mut failures, mut edges) = (IceFailures::default(), fleet(&["e", "f", "g"]));
        let at = |secs| Mono(Duration::from_secs(secs));
        for edge in ["e", "f", "g"] {
            for n in 0..40u8 {
                failures.handle_report(at(0), &id(edge), ip(n, 1), edge != "f" && n >= 10);
            }
        }
        failures.mark(at(0), &mut edges);
        let away = |edges: &[EdgeStatus]| edges.iter().filter(|edge| edge.failing).count();
        assert_eq!(away(&edges), 1);
        edges = fleet(&["e", "f", "g"]);
        failures.mark(at(599), &mut edges);
        assert_eq!(away(&edges), 1);
        assert!(edges.iter().any(|edge| edge.condition.reasons == [Reason::Quarantine]));
        edges = fleet(&["e", "f", "g"]);
        failures.mark(at(600), &mut edges);
        assert_eq!(away(&edges), 0, "and what was said is too old to count");
    }

    #[test]
    fn memory_is_bounded() {
        let mut failures = IceFailures::default();
        for n in 0..u32::try_from(ICE_VOICES_MAX).unwrap() + 1000 {
            failures.handle_report(Mono::default(), &id("e"), IpAddr::V4((n << 8).into()), false);
        }
        assert_eq!(failures.voices[&id("e")].len(), ICE_VOICES_MAX);
    }
}
