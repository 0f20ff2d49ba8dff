//! What directives an edge has carried out, so that it does none of them twice: neither one that the same node
//! gives again since it never heard that it was done, nor one that another node gives too.

use std::collections::{BTreeMap, HashSet, VecDeque};

use chappe_proto::id::SessionId;
use chappe_proto::limits::DIRECTIVES_MAX;
use chappe_proto::mesh::uplink::Directive;

/// Lives of nodes that are remembered: more than a cluster has, restarts included, within the hour for which they
/// keep a directive.
const LIVES: usize = 256;

/// The directives that were carried out.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Up to which number, by the lives of the nodes; and when each was heard last, as a count.
    lives: BTreeMap<u64, (u64, u64)>,
    heard: u64,
    /// The sessions that were ended, the latest last.
    ended: VecDeque<SessionId>,
    is_ended: HashSet<SessionId>,
}

impl Done {
    /// Whether a directive is yet to be done. From now on it is not.
    pub(super) fn begin(&mut self, life: u64, seq: u64, directive: &Directive) -> bool {
        // A node of an older release, which numbers anew after a while.
        if life != 0 {
            self.heard += 1;
            let (done, heard) = self.lives.entry(life).or_default();
            *heard = self.heard;
            if seq <= *done {
                return false;
            }
            *done = seq;
            self.forget_a_life();
        }
        match directive {
            Directive::End { session } => self.end(*session),
            Directive::Probe(_) | Directive::Unknown => true,
        }
    }

    fn forget_a_life(&mut self) {
        if self.lives.len() > LIVES
            && let Some(oldest) =
                self.lives.iter().min_by_key(|(_, (_, heard))| *heard).map(|(life, _)| *life)
        {
            self.lives.remove(&oldest);
        }
    }

    /// A session ends once: its id never comes again.
    fn end(&mut self, session: SessionId) -> bool {
        if !self.is_ended.insert(session) {
            return false;
        }
        self.ended.push_back(session);
        if self.ended.len() > DIRECTIVES_MAX
            && let Some(oldest) = self.ended.pop_front()
        {
            self.is_ended.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(n: u16) -> Directive {
        let mut bytes = [0; 15];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        Directive::End { session: SessionId::from_random(bytes) }
    }

    #[test]
    fn nothing_is_done_twice() {
        let mut done = Done::default();
        assert!(done.begin(1, 1, &end(1)));
        assert!(!done.begin(1, 1, &end(1)), "the node has not heard that it is done");
        assert!(!done.begin(2, 7, &end(1)), "another node was told of the same");
        assert!(done.begin(2, 8, &end(2)));
        assert!(!done.begin(1, 2, &end(2)));
        assert!(done.begin(1, 3, &Directive::Unknown) && !done.begin(1, 3, &Directive::Unknown));
        // The same node in its next life.
        assert!(done.begin(3, 1, &end(3)));
        // One of an older release numbers for each edge anew.
        assert!(done.begin(0, 1, &end(4)) && done.begin(0, 1, &end(5)));
    }

    #[test]
    fn it_remembers_a_bounded_part() {
        let mut done = Done::default();
        for n in 0..=u16::try_from(DIRECTIVES_MAX).unwrap() {
            assert!(done.begin(1 + u64::from(n), 1, &end(n)));
        }
        assert_eq!(
            (done.lives.len(), done.ended.len(), done.is_ended.len()),
            (LIVES, DIRECTIVES_MAX, DIRECTIVES_MAX)
        );
        assert!(!done.begin(9999, 9, &end(1)) && done.begin(9999, 10, &end(0)));
    }
}
