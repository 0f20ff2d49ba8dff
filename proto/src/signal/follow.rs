//! Following a room from afar: the changes that lead from one roster to another, and their frames.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::code::LeaveReason;
use super::frame::{PeerChange, PeerView, ServerFrame};
use super::member::Gateway;
use super::route::{Entry, RoomChange};
use crate::id::PeerId;

/// A room's peers as a proxy holds them.
pub type Roster = BTreeMap<PeerId, Entry>;

/// The changes that lead from one roster to another; `gone` is who left, and why, as far as the owner
/// remembers. Beyond that sessions of `own` are told that they were lost, so that their clients join afresh.
#[must_use]
pub fn differences(
    old: &Roster,
    new: &Roster,
    gone: &[(PeerId, LeaveReason)],
    own: Gateway,
) -> Vec<RoomChange> {
    let left = |(peer, entry): (&PeerId, &Entry)| {
        let known = gone.iter().find(|(gone, _)| gone == peer).map(|(_, reason)| *reason);
        let unknown = if entry.gateway == own { LeaveReason::Lost } else { LeaveReason::Left };
        RoomChange::Left { peer: *peer, reason: known.unwrap_or(unknown) }
    };
    let mut changes: Vec<RoomChange> =
        old.iter().filter(|(peer, _)| !new.contains_key(peer)).map(left).collect();
    for (peer, entry) in new {
        let (now, peer, gateway) = (&entry.member, *peer, entry.gateway);
        let Some(before) = old.get(&peer) else {
            changes.push(RoomChange::Joined(entry.clone()));
            continue;
        };
        let moved = before.member.attach != now.attach || before.gateway != gateway;
        let attach = now.attach;
        if now.away && (!before.member.away || moved) {
            changes.push(RoomChange::Away { peer, attach, gateway });
        } else if !now.away && (before.member.away || moved) {
            let (marks, presented) = (BTreeMap::new(), entry.presented);
            changes.push(RoomChange::Back { peer, attach, gateway, marks, presented });
        }
        if before.member.version != now.version {
            let (profile, version) = (now.profile.clone(), now.version);
            changes.push(RoomChange::Updated { peer, profile, version });
        }
        if before.member.withheld != now.withheld {
            changes.push(RoomChange::Withheld { peer, withheld: now.withheld });
        }
    }
    changes
}

/// Makes one change in a roster.
pub fn apply(roster: &mut Roster, change: RoomChange) {
    match change {
        RoomChange::Joined(entry) => {
            roster.insert(entry.member.seat.peer, entry);
        }
        RoomChange::Left { peer, .. } => {
            roster.remove(&peer);
        }
        RoomChange::Away { peer, attach, gateway } => {
            if let Some(entry) = roster.get_mut(&peer) {
                (entry.member.away, entry.member.attach, entry.gateway) = (true, attach, gateway);
            }
        }
        RoomChange::Back { peer, attach, gateway, presented, .. } => {
            if let Some(entry) = roster.get_mut(&peer) {
                (entry.member.away, entry.member.attach, entry.gateway) = (false, attach, gateway);
                entry.presented = presented;
            }
        }
        RoomChange::Updated { peer, profile, version } => {
            if let Some(entry) = roster.get_mut(&peer) {
                (entry.member.profile, entry.member.version) = (profile, version);
            }
        }
        RoomChange::Withheld { peer, withheld } => {
            if let Some(entry) = roster.get_mut(&peer) {
                entry.member.withheld = withheld;
            }
        }
    }
}

/// What clients are told of a change.
#[must_use]
pub fn change_frame(change: &RoomChange) -> ServerFrame<'_> {
    let updated =
        |peer, change| ServerFrame::PeerUpdated { peer, change, name: None, metadata: None, withheld: None };
    match change {
        RoomChange::Joined(entry) => ServerFrame::PeerJoined(PeerView::from(&entry.member)),
        RoomChange::Left { peer, reason } => ServerFrame::PeerLeft { peer: *peer, reason: *reason },
        RoomChange::Away { peer, .. } => updated(*peer, PeerChange::Away),
        RoomChange::Back { peer, .. } => updated(*peer, PeerChange::Back),
        RoomChange::Updated { peer, profile, .. } => ServerFrame::PeerUpdated {
            peer: *peer,
            change: PeerChange::Metadata,
            name: profile.name.as_deref(),
            metadata: profile.metadata.as_ref(),
            withheld: None,
        },
        RoomChange::Withheld { peer, withheld } => ServerFrame::PeerUpdated {
            peer: *peer,
            change: PeerChange::Withheld,
            name: None,
            metadata: None,
            withheld: Some(withheld.names()),
        },
    }
}

/// A number for a whole roster, by which owner and proxy notice that theirs differ:
/// the same on every node and in every release.
#[must_use]
pub fn digest<'a>(entries: impl Iterator<Item = &'a Entry>) -> u64 {
    let mut sum = Fnv::default();
    for Entry { gateway, member, .. } in entries {
        let (node, generation) = (gateway.node, gateway.generation);
        let (peer, attach, away, version) = (member.seat.peer, member.attach, member.away, member.version);
        // Writing into a number cannot fail.
        let _ = write!(sum, "{peer} {node} {generation} {attach} {away} {version};");
        if member.withheld.n > 0 {
            let _ = write!(sum, "{};", member.withheld.n);
        }
    }
    sum.0
}

/// FNV-1a, 64 bits.
pub(super) struct Fnv(pub(super) u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}
