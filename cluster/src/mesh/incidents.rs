//! What was refused, told once for each time that it begins.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chappe_proto::id::NodeId;
use chappe_proto::time::Mono;

use super::handler::Incident;
use super::hello::Refusal;

/// Sources whose last refusal is remembered.
const SOURCES: usize = 1024;
/// The same refusal of the same source is told again after this.
const AGAIN: Duration = Duration::from_secs(60);
/// So many different ones of one source are told within that: whoever is refused may choose among them.
const DIFFERENT: usize = 8;

/// An address, the node that its certificate names, and whether this side refused.
type Source = (IpAddr, Option<NodeId>, bool);

/// The refusals that were told lately, by source.
#[derive(Default)]
pub(crate) struct Incidents(Mutex<BTreeMap<Source, Vec<(Refusal, Mono)>>>);

impl Incidents {
    /// Notes a refusal: what is to be told, unless it was told lately.
    pub(crate) fn note(
        &self,
        now: Mono,
        address: SocketAddr,
        node: Option<NodeId>,
        refusal: Refusal,
        ours: bool,
    ) -> Option<Incident> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (address.ip(), node, ours);
        if held.len() >= SOURCES && !held.contains_key(&key) {
            held.clear();
        }
        let told = held.entry(key).or_default();
        told.retain(|(_, at)| now.since(*at) < AGAIN);
        if told.len() >= DIFFERENT || told.iter().any(|(told, _)| *told == refusal) {
            return None;
        }
        told.push((refusal.clone(), now));
        Some(Incident { address, node, refusal, ours })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_refused_for_ever_new_reasons_fills_no_log() {
        let incidents = Incidents::default();
        let address = "127.0.0.1:1".parse().unwrap();
        let told = (0..600_u32).filter(|n| {
            let now = Mono(Duration::from_millis(100) * *n);
            incidents.note(now, address, None, Refusal::Theirs(n.to_string()), true).is_some()
        });
        assert_eq!(told.count(), DIFFERENT);
    }

    #[test]
    fn what_repeats_is_told_once_a_minute() {
        let incidents = Incidents::default();
        let address = "127.0.0.1:1".parse().unwrap();
        let at = |secs| Mono(Duration::from_secs(secs));
        let note = |now, refusal| incidents.note(now, address, Some(NodeId(2)), refusal, true).is_some();
        assert!(note(at(1), Refusal::NoHello));
        assert!(!note(at(2), Refusal::NoHello));
        assert!(note(at(3), Refusal::Stranger), "another reason");
        assert!(!note(at(4), Refusal::NoHello), "nor does it help to say the two in turn");
        assert!(note(at(90), Refusal::Stranger), "again after a while");
        assert!(incidents.note(at(90), address, Some(NodeId(3)), Refusal::Stranger, true).is_some());
    }
}
