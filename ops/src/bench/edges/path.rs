//! Which pair of relayed addresses media goes over: what is left of ICE (RFC 8445) where everybody has relayed
//! candidates alone. No sockets, no clock.

use std::net::SocketAddr;

/// A relayed address of one's own, by the number of its allocation; of which restart; how preferred, 0 first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Local {
    pub(super) id: u32,
    pub(super) generation: u32,
    pub(super) order: usize,
}

/// The other side's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) at: SocketAddr,
    pub(super) generation: u32,
    pub(super) order: usize,
}

/// Candidates of both sides, and what is known of their pairs.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// How often this side has begun anew.
    pub(super) generation: u32,
    /// How often the other one has.
    pub(super) theirs: u32,
    locals: Vec<Local>,
    remotes: Vec<Remote>,
    valid: Vec<(Local, Remote)>,
    selected: Option<(Local, Remote)>,
}

impl Paths {
    /// This side begins anew: what was selected stays in use until a new pair works.
    pub(super) fn restart(&mut self) {
        self.generation += 1;
    }

    /// The other side has said of which restart its candidates are. Whether it has begun anew.
    pub(super) fn hear(&mut self, generation: u32) -> bool {
        let anew = generation > self.theirs;
        self.theirs = self.theirs.max(generation);
        anew
    }

    pub(super) fn add_local(&mut self, local: Local) {
        self.locals.push(local);
    }

    pub(super) fn add_remote(&mut self, remote: Remote) {
        if !self.remotes.contains(&remote) {
            self.remotes.push(remote);
        }
    }

    /// The other side's addresses, of the latest restart.
    pub(super) fn remotes(&self) -> impl Iterator<Item = &Remote> {
        self.remotes.iter().filter(|remote| remote.generation == self.theirs)
    }

    fn fresh(&self) -> impl Iterator<Item = (Local, Remote)> {
        let locals = self.locals.iter().filter(|local| local.generation == self.generation);
        locals.flat_map(|local| self.remotes().map(|remote| (*local, *remote)))
    }

    /// Pairs of the latest restart that were not found to work yet.
    pub(super) fn to_check(&self) -> impl Iterator<Item = (Local, Remote)> {
        self.fresh().filter(|pair| !self.valid.contains(pair))
    }

    /// A check over a pair was answered. Whether media goes over another pair from now on.
    pub(super) fn answered(&mut self, local: u32, remote: SocketAddr) -> bool {
        let pair = self.to_check().find(|(ours, theirs)| ours.id == local && theirs.at == remote);
        self.valid.extend(pair);
        let usable = self
            .valid
            .iter()
            .filter(|(ours, theirs)| ours.generation == self.generation && theirs.generation == self.theirs);
        let best = usable.min_by_key(|(ours, theirs)| (ours.order, theirs.order)).copied();
        let moves = best.is_some() && best != self.selected;
        if moves {
            self.selected = best;
        }
        moves
    }

    /// An allocation is no more.
    pub(super) fn remove(&mut self, local: u32) {
        self.locals.retain(|ours| ours.id != local);
        self.valid.retain(|(ours, _)| ours.id != local);
        self.selected = self.selected.filter(|(ours, _)| ours.id != local);
    }

    /// What media goes over.
    pub(super) fn selected(&self) -> Option<(Local, Remote)> {
        self.selected
    }

    /// Whether the selected pair is of the latest restart of this side.
    pub(super) fn is_settled(&self) -> bool {
        self.selected.is_some_and(|(local, _)| local.generation == self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn the_first_pair_that_works_is_used_until_a_better_one_does() {
        let mut paths = Paths::default();
        for n in 0..2_u16 {
            paths.add_local(Local { id: n.into(), generation: 0, order: n.into() });
            paths.add_remote(Remote { at: at(n), generation: 0, order: n.into() });
        }
        assert_eq!(paths.to_check().count(), 4);
        assert!(paths.answered(1, at(1)) && !paths.answered(1, at(1)));
        assert!(paths.answered(0, at(1)));
        assert!(!paths.answered(1, at(0)), "one's own order counts first");
        let (local, remote) = paths.selected().unwrap();
        assert_eq!((local.id, remote.at), (0, at(1)));
        assert_eq!(paths.to_check().count(), 1);
        assert!(!paths.answered(7, at(9)), "nobody asked");
    }

    #[test]
    fn what_was_used_before_a_restart_is_used_until_a_new_pair_works() {
        let mut paths = Paths::default();
        paths.add_local(Local { id: 0, generation: 0, order: 0 });
        paths.add_remote(Remote { at: at(0), generation: 0, order: 0 });
        assert!(paths.answered(0, at(0)));
        paths.restart();
        assert!(paths.hear(1) && !paths.hear(1));
        assert_eq!((paths.to_check().count(), paths.is_settled()), (0, false));
        assert_eq!(paths.selected().unwrap().0.id, 0);
        paths.add_local(Local { id: 5, generation: 1, order: 1 });
        paths.add_remote(Remote { at: at(5), generation: 1, order: 0 });
        assert_eq!(paths.to_check().count(), 1);
        assert!(paths.answered(5, at(5)) && paths.is_settled());
        paths.remove(5);
        assert_eq!(paths.selected(), None);
    }
}
