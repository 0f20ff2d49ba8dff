//! A room whose owner holds no lease, or whose shard is moving: it goes on relaying directed
//! signals and acknowledgements among the peers it has, and nothing else happens in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::code::{ErrorCode, Refusal};
use super::super::follow::digest;
use super::super::member::Gateway;
use super::super::route::{ProxyInput, RoomInput, Since};
use super::{Output, Revocation, Room};
use crate::id::{Generation, NodeId, PeerId};
use crate::limits;
use crate::time::{Mono, Now};

/// What waits for the lease.
#[derive(Debug)]
pub(super) struct Frozen {
    since: Mono,
    /// Gateways that would attach.
    knocked: BTreeSet<Gateway>,
    /// Gateways that have no sessions of the room any more.
    detached: BTreeSet<Gateway>,
    /// Lives of gateways that have ended.
    lost: BTreeMap<NodeId, Generation>,
    /// Kicks and bans that have been committed.
    revoked: BTreeMap<PeerId, Revocation>,
}

impl Frozen {
    pub(super) fn knocks(&self) -> bool {
        !self.knocked.is_empty()
    }

    pub(super) fn knocked(&self) -> impl Iterator<Item = Gateway> {
        self.knocked.iter().copied()
    }
}

impl Room {
    /// Whether the owner may not change the room: without its lease, or once the shard is said to move.
    ///
    /// While it may not, nobody comes in, leaves, or runs out of grace, and broadcasts are refused; what
    /// gateways say of their sessions they say again. Kicks that are committed meanwhile take effect in the
    /// end, and those who were away have a part of their grace left, at least [`limits::THAWED_GRACE`].
    pub fn set_frozen(&mut self, now: Now, frozen: bool, out: &mut Vec<Output>) {
        if frozen && self.frozen.is_none() {
            let (knocked, detached, lost, revoked) = Default::default();
            self.frozen = Some(Box::new(Frozen { since: now.mono, knocked, detached, lost, revoked }));
        } else if !frozen && let Some(frozen) = self.frozen.take() {
            self.thaw(now, *frozen, out);
        }
    }

    /// Whether it is frozen.
    #[must_use]
    pub const fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Who detached while it was frozen is asked again.
    pub(super) fn forget_detached(&mut self) {
        if let Some(frozen) = &mut self.frozen {
            frozen.detached.clear();
        }
    }

    fn thaw(&mut self, now: Now, frozen: Frozen, out: &mut Vec<Output>) {
        let passed = now.mono.since(frozen.since);
        let grace = self.policy.grace;
        // Not so long that it would end before those who came back can say so.
        let latest = now.mono - (grace.saturating_sub(limits::THAWED_GRACE));
        let later = |since: Mono| (since + passed).max(latest).min(now.mono);
        for present in self.present.values_mut() {
            present.absent_since = present.absent_since.map(later);
        }
        self.settling_since = self.settling_since.map(later);
        self.thaw_lobby(now);
        for (node, generation) in frozen.lost {
            self.handle_gateway_lost(now, Gateway { node, generation }, out);
        }
        for gateway in frozen.detached {
            self.detach(now, gateway, out);
        }
        for revocation in frozen.revoked.values() {
            self.handle_revoked(revocation, true, out);
        }
        for gateway in &self.gateways {
            self.here(now, *gateway, out);
        }
        if !self.expected.is_empty() {
            self.ask_at = now.mono;
        }
        let knocked = frozen.knocked.iter().filter(|gateway| !self.gateways.contains(gateway));
        out.extend(knocked.map(|gateway| Output::To(*gateway, ProxyInput::Ask { since: Since::default() })));
    }

    /// A frame that came while the room is frozen.
    pub(super) fn handle_frozen(&mut self, now: Now, from: Gateway, input: RoomInput, out: &mut Vec<Output>) {
        match input {
            RoomInput::Signal(signal) => self.signal(from, signal, out),
            RoomInput::Ack(ack) => self.ack(from, ack, out),
            RoomInput::Attach { held, .. } => self.knock(now, from, held.is_some(), out),
            RoomInput::Detach => {
                if let Some(frozen) = &mut self.frozen {
                    frozen.knocked.remove(&from);
                    frozen.detached.insert(from);
                }
            }
            RoomInput::Check { n, digest: theirs, .. } => {
                if n != self.n || theirs != digest(self.entries()) {
                    self.here(now, from, out);
                }
            }
            RoomInput::Kick { by, peer, ban } => self.kick(now, from, by, peer, ban, out),
            RoomInput::Broadcast { from: peer, .. }
            | RoomInput::Mute { by: peer, .. }
            | RoomInput::Judge { by: peer, .. } => {
                if self.holds(from, peer) {
                    let message = "the room's owner is waiting for the cluster";
                    let refusal =
                        Refusal::new(ErrorCode::Unavailable, message).retry_after(Duration::from_secs(1));
                    out.push(Output::To(from, ProxyInput::Error { peer, refusal }));
                }
            }
            // They are said again.
            RoomInput::Announce { .. } | RoomInput::Leave { .. } => {}
            RoomInput::Follows { .. } | RoomInput::AtHome { .. } => {} // the site's
        }
    }

    fn knock(&mut self, now: Now, from: Gateway, holds: bool, out: &mut Vec<Output>) {
        if let Some(frozen) = &mut self.frozen {
            frozen.detached.remove(&from);
            if !self.gateways.contains(&from) || holds {
                if frozen.knocked.len() < limits::NODES_MAX {
                    frozen.knocked.insert(from);
                }
                return;
            }
        }
        self.here(now, from, out); // it asks again for what it follows: nothing changes by that
    }

    /// Keeps for later that a gateway's life has ended. False where the room is not frozen.
    pub(super) fn lost_while_frozen(&mut self, lost: Gateway) -> bool {
        let Some(frozen) = &mut self.frozen else { return false };
        let generation = frozen.lost.entry(lost.node).or_insert(lost.generation);
        *generation = lost.generation.max(*generation);
        true
    }

    /// Keeps a committed revocation for later. False where the room is not frozen.
    pub(super) fn revoked_while_frozen(&mut self, revocation: &Revocation) -> bool {
        let Some(frozen) = &mut self.frozen else { return false };
        frozen.revoked.insert(revocation.peer, revocation.clone());
        true
    }
}
