//! Who leads, where that is not left to elections: transfers, a leader that is removed, a leader whose
//! disk is nearly full.

use chappe_proto::id::NodeId;
use chappe_proto::limits::HANDOVER_EVERY;
use chappe_proto::time::Mono;
use raft::StateRole;

use super::member::{Member, Output};
use super::types::{Ticket, TransferError};

impl Member {
    /// Hands the leadership to another voter; answered by [`Output::Transferred`].
    pub fn handle_transfer(&mut self, ticket: Ticket, to: NodeId) {
        let refused = if self.node.raft.state != StateRole::Leader {
            Some(TransferError::NoLeader { leader: self.leader() })
        } else if self.transfer.is_some() {
            Some(TransferError::Busy)
        } else if !self.node.store().members().voters.contains(&to.0) {
            Some(TransferError::NoVoter)
        } else {
            None
        };
        match refused {
            Some(error) => self.out.push(Output::Transferred(ticket, Err(error))),
            None if to.0 == self.id => self.out.push(Output::Transferred(ticket, Ok(()))),
            None => {
                self.node.transfer_leader(to.0);
                self.transfer = Some((ticket, to.0));
            }
        }
    }

    /// A leader that is no voter any more leads no longer, which raft leaves to us: the others learn what
    /// is committed, and who has most of the log is to stand at once.
    pub(super) fn resign(&mut self) {
        let raft = &mut self.node.raft;
        if raft.state != StateRole::Leader || raft.promotable() {
            return;
        }
        raft.bcast_append();
        let voters = raft.prs().conf().voters().ids();
        let known =
            raft.prs().iter().filter(|(id, progress)| voters.contains(**id) && progress.recent_active);
        let next = known.max_by_key(|(id, progress)| (progress.matched, **id)).map(|(id, _)| *id);
        if let Some(next) = next {
            raft.send_timeout_now(next);
        }
        let term = raft.term;
        raft.become_follower(term, raft::INVALID_ID);
    }

    /// raft gives a transfer up after the shortest election timeout.
    pub(super) fn settle_transfer(&mut self) {
        let Some((ticket, to)) = self.transfer else { return };
        let raft = &self.node.raft;
        let answer = if raft.leader_id == to {
            Ok(())
        } else if raft.state == StateRole::Leader {
            if raft.lead_transferee == Some(to) {
                return;
            }
            Err(TransferError::Failed)
        } else if raft.leader_id == raft::INVALID_ID {
            return;
        } else {
            Err(TransferError::Failed)
        };
        self.transfer = None;
        self.out.push(Output::Transferred(ticket, answer));
    }

    /// A leader that may propose nothing hands over to one that perhaps may; where all disks are nearly
    /// full, every now and then to the next.
    pub(super) fn hand_over(&mut self, now: Mono) {
        let leads = self.node.raft.state == StateRole::Leader;
        if !self.disk_low || !leads || self.transfer.is_some() || now < self.next_handover {
            return;
        }
        let (near, heard) = (self.caught_up(), self.recent(now));
        let members = self.node.store().members();
        let able = members.voters.iter().filter(|id| {
            let node = NodeId(**id);
            **id != self.id && near.contains(&node) && heard.contains(&node)
        });
        // Round, so that each has its turn.
        let next = able.clone().filter(|id| **id > self.id).min().or_else(|| able.min());
        if let Some(next) = next.copied() {
            tracing::warn!(to = next, "the disk is nearly full: the leadership is handed over");
            self.next_handover = now + HANDOVER_EVERY;
            self.node.transfer_leader(next);
        }
    }
}
