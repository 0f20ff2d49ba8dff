//! What befalls processes, and who leads.

use super::*;
use crate::registry::profile::ProfileName;

impl Sim {
    /// Somebody who runs leads from now on; the one before hears of it when it does.
    pub(super) fn elect(&mut self) {
        let fit: Vec<_> = self.processes.iter().filter(|p| self.runs(p)).map(|p| p.id).collect();
        if fit.is_empty() {
            return;
        }
        self.term += 1;
        let at = self.dice.below(fit.len() as u64);
        self.leader = fit[usize::try_from(at).unwrap()];
        self.begins = self.append(None, Command::Note);
        let (leader, term) = (self.leader, self.term);
        self.process(leader).steward = Some((term, None));
    }

    /// What befalls processes and operators.
    pub(super) fn fate(&mut self) {
        if self.calm {
            return;
        }
        let id = NodeId(1 + self.dice.below(NODES));
        let (now, long) = (self.now, self.dice.ms(4000));
        match self.dice.below(450) {
            0..4 => self.process(id).paused = now + long,
            4..8 => self.process(id).stalled = now + long,
            8..10 => self.crash(id),
            10..14 => self.elect(),
            14..17 => {
                let (weight, draining) = (1, self.dice.one_in(2));
                self.ask(None, Command::NodeSet { node: id, weight, draining });
            }
            17 => {
                let profile = if self.dice.one_in(2) { ProfileName::Lan } else { ProfileName::Wan };
                self.ask(None, Command::ProfileSet { profile });
            }
            _ => {}
        }
        let leader = self.leader;
        let deaf = !self.processes.iter().any(|p| p.id == leader && self.runs(p));
        if deaf && self.dice.one_in(30) {
            self.elect();
        }
        for i in 0..self.processes.len() {
            if !self.processes[i].alive && self.dice.one_in(50) {
                self.processes[i].alive = true;
                self.processes[i].starts += 1;
            }
        }
    }

    fn crash(&mut self, id: NodeId) {
        let process = self.process(id);
        (process.alive, process.lease, process.steward) = (false, None, None);
        (process.asked, process.arrival) = (None, Mono::default());
        process.inbox.clear();
        process.proposals.clear();
    }
}
