//! Who may have a link, and who may not: each refusal has a code for the other side and a reason in words.

use chappe_proto::id::{ClusterId, EdgeId, InvitationId, NodeId};
use chappe_proto::mesh::join::JoinRefusal;
use chappe_proto::mesh::node::{Hello, Loss, WIRE, WIRE_OLDEST};
use chappe_proto::mesh::uplink;
use chappe_proto::registry::{State, VERSION};
use quinn::{ConnectionError, VarInt};

/// The close code of a node that stops.
pub(crate) const STOPPING: VarInt = VarInt::from_u32(2);
/// The close code of a link whose place a newer one between the same nodes has taken.
pub(crate) const REPLACED: VarInt = VarInt::from_u32(3);
/// The close code of a connection by which the node with the higher id has only said that it is there: the
/// other side connects.
pub(crate) const KNOCKED: VarInt = VarInt::from_u32(4);
/// The close code of a connection whose work is done.
pub(crate) const DONE: VarInt = VarInt::from_u32(0);

/// Why a link is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// TLS has refused it: no certificate, one of another authority, one that has expired.
    #[error("its certificate is not one of this cluster's authority: {0}")]
    Foreign(String),
    /// The certificate names no node of this cluster.
    #[error("its certificate names no node of this cluster")]
    Stranger,
    /// The certificate names another node than the one that speaks.
    #[error("its certificate is of node {certified}, and it calls itself node {says}")]
    Impostor {
        /// Whom the certificate names.
        certified: NodeId,
        /// Who it says it is.
        says: NodeId,
    },
    /// It is of another cluster.
    #[error("it is a node of cluster {theirs}, and this one is {ours}")]
    OtherCluster {
        /// This node's.
        ours: ClusterId,
        /// Its.
        theirs: ClusterId,
    },
    /// An operator has removed it.
    #[error("node {node} was removed from the cluster: it may come back with a new join token")]
    Removed {
        /// Which.
        node: NodeId,
    },
    /// Its release writes nothing that this one reads.
    #[error(
        "it runs {build}, whose frames begin at form {oldest}, and this release reads {WIRE_OLDEST} to {WIRE}: \
         upgrade one release after the other"
    )]
    TooNew {
        /// Its build.
        build: String,
        /// The oldest form that it reads.
        oldest: u32,
    },
    /// Its release is too old for this one, or for the cluster.
    #[error(
        "it runs {build} (frames {wire}, cluster version {speaks}), too old for this cluster (frames from \
         {WIRE_OLDEST}, cluster version {version}): upgrade it"
    )]
    TooOld {
        /// Its build.
        build: String,
        /// The newest form that it reads.
        wire: u32,
        /// The newest cluster version that it understands.
        speaks: u32,
        /// The cluster's.
        version: u32,
    },
    /// It asked to join, and may not.
    #[error("a join{}: {refusal}", .invitation.map_or_else(String::new, |id| format!(" with the invitation {id}")))]
    Join {
        /// The invitation that it has shown the secret of: a name that anybody may choose would be another
        /// refusal each time.
        invitation: Option<InvitationId>,
        /// Why, as it was told.
        refusal: JoinRefusal,
    },
    /// An edge's uplink, and why it is refused.
    #[error("an uplink of the edge {edge}: {why}")]
    Edge {
        /// Whom its certificate names.
        edge: EdgeId,
        /// Why, as it was told.
        why: String,
    },
    /// Its disk has forgotten something, as it says itself: it does not start.
    #[error("{}", forgetful(.0))]
    Forgetful(Loss),
    /// It said nothing in time, or something else first.
    #[error("no hello in time, or not as the first frame")]
    NoHello,
    /// The other side says that this node was removed, in its words.
    #[error("{0}")]
    RemovedThis(String),
    /// The other side's reason, in its words.
    #[error("{0}")]
    Theirs(String),
}

/// The close code of [`Refusal::Removed`].
const REMOVED: u32 = uplink::REMOVED;
/// The close code of [`Refusal::Forgetful`]: who has said that of itself knows by it that it was heard.
pub(crate) const FORGETFUL: u32 = 26;

fn forgetful(loss: &Loss) -> String {
    let what = match (loss.found, loss.pledged) {
        (Some(found), Some(pledged)) => format!("{found} of {pledged} batches of the registry are left"),
        _ => "nobody knows what is left of the registry".to_owned(),
    };
    format!(
        "its disk has lost what it had acknowledged ({what}): it does not start, and its log says what to do"
    )
}

impl Refusal {
    /// The QUIC application close code.
    pub(crate) const fn code(&self) -> VarInt {
        VarInt::from_u32(match self {
            Self::Foreign(_) => 16,
            Self::Stranger => 17,
            Self::Impostor { .. } => 18,
            Self::OtherCluster { .. } => 19,
            Self::Removed { .. } | Self::RemovedThis(_) => REMOVED,
            Self::TooNew { .. } => 21,
            Self::TooOld { .. } => 22,
            Self::NoHello => 23,
            Self::Theirs(_) => 24,
            Self::Join { .. } => 25,
            Self::Forgetful(_) => FORGETFUL,
            Self::Edge { .. } => uplink::REFUSED,
        })
    }

    /// The refusal that a connection ended with, where the other side refused it.
    pub(crate) fn of(error: &ConnectionError) -> Option<Self> {
        match error {
            ConnectionError::ApplicationClosed(close) if close.error_code >= VarInt::from_u32(16) => {
                let reason = String::from_utf8_lossy(&close.reason).into_owned();
                let removed = close.error_code == VarInt::from_u32(REMOVED);
                Some(if removed { Self::RemovedThis(reason) } else { Self::Theirs(reason) })
            }
            // The alert of TLS (RFC 9001 section 4.8), whichever side raised it.
            ConnectionError::TransportError(error) if is_crypto(error.code) => {
                Some(Self::Foreign(error.reason.clone()))
            }
            ConnectionError::ConnectionClosed(close) if is_crypto(close.error_code) => {
                Some(Self::Foreign(String::from_utf8_lossy(&close.reason).into_owned()))
            }
            _ => None,
        }
    }
}

/// CRYPTO_ERROR codes are 0x0100 to 0x01ff (RFC 9000 section 20.1).
fn is_crypto(code: quinn::TransportErrorCode) -> bool {
    (0x100..0x200).contains(&u64::from(code))
}

/// Whether the node that a certificate names may have a link, by what it says of itself.
pub(crate) fn check(
    hello: &Hello,
    certified: NodeId,
    cluster: ClusterId,
    state: &State,
) -> Result<(), Refusal> {
    if hello.cluster != cluster {
        return Err(Refusal::OtherCluster { ours: cluster, theirs: hello.cluster });
    }
    if hello.node != certified {
        return Err(Refusal::Impostor { certified, says: hello.node });
    }
    if hello.oldest > WIRE {
        return Err(Refusal::TooNew { build: hello.build.clone(), oldest: hello.oldest });
    }
    if hello.wire < WIRE_OLDEST || hello.speaks < state.version() {
        let (wire, speaks, version) = (hello.wire, hello.speaks, state.version());
        return Err(Refusal::TooOld { build: hello.build.clone(), wire, speaks, version });
    }
    if is_removed(state, certified) {
        return Err(Refusal::Removed { node: certified });
    }
    if let Some(loss) = hello.loss {
        return Err(Refusal::Forgetful(loss));
    }
    Ok(())
}

/// Whether a node was in the registry and is no more. Ids grow: one that is not there and not below the next
/// is a newcomer of whom this node has not heard yet.
pub(crate) fn is_removed(state: &State, node: NodeId) -> bool {
    state.node(node).is_none() && node < state.next_node()
}

const _: () = assert!(WIRE_OLDEST <= WIRE && VERSION >= 1);

#[cfg(test)]
mod tests {
    use chappe_proto::id::{Index, Region};
    use chappe_proto::registry::{Command, Entry};
    use chappe_proto::time::Unix;

    use super::*;

    fn cluster(n: u8) -> ClusterId {
        ClusterId::from_random([n; 15])
    }

    fn hello(change: impl Fn(&mut Hello)) -> Hello {
        let mut hello = Hello {
            cluster: cluster(1),
            node: NodeId(2),
            build: "1.2.3".to_owned(),
            wire: WIRE,
            oldest: WIRE_OLDEST,
            life: 1,
            speaks: VERSION,
            reaches: Vec::new(),
            loss: None,
        };
        change(&mut hello);
        hello
    }

    fn refusal(state: &State, change: impl Fn(&mut Hello)) -> Option<Refusal> {
        check(&hello(change), NodeId(2), cluster(1), state).err()
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let state = State::default();
        assert_eq!(refusal(&state, |_| ()), None);
        let other = Refusal::OtherCluster { ours: cluster(1), theirs: cluster(2) };
        assert_eq!(refusal(&state, |hello| hello.cluster = cluster(2)), Some(other));
        let impostor = Refusal::Impostor { certified: NodeId(2), says: NodeId(1) };
        assert_eq!(refusal(&state, |hello| hello.node = NodeId(1)), Some(impostor));
        assert_eq!(refusal(&state, |hello| hello.wire = WIRE + 1), None, "it reads ours too");
        let newer = |hello: &mut Hello| (hello.wire, hello.oldest) = (WIRE + 2, WIRE + 1);
        assert!(matches!(refusal(&state, newer), Some(Refusal::TooNew { .. })));
        let older = |hello: &mut Hello| hello.wire = WIRE_OLDEST - 1;
        assert!(matches!(refusal(&state, older), Some(Refusal::TooOld { .. })));
        let unknowing = |hello: &mut Hello| hello.speaks = state.version() - 1;
        assert!(matches!(refusal(&state, unknowing), Some(Refusal::TooOld { .. })));
    }

    #[test]
    fn who_was_removed_is_told_from_who_is_not_known_yet() {
        let mut state = State::default();
        let mut apply = |command| {
            let index = Index(state.index().0 + 1);
            let entry = Entry { at: Unix::from_secs(1), by: None, note: None, command };
            state.apply(index, entry).accepted().unwrap();
            (is_removed(&state, NodeId(2)), is_removed(&state, NodeId(3)))
        };
        let region = Region::new("r").unwrap();
        assert_eq!(apply(Command::NodeAdd { node: NodeId(2), region }), (false, false));
        assert_eq!(apply(Command::NodeRemove { node: NodeId(2) }), (true, false));

        // Nor is it believed what it says of its disk.
        let loss = Loss { found: Some(3), pledged: Some(5) };
        let said = |state: &State| refusal(state, |hello| hello.loss = Some(loss));
        assert_eq!(said(&State::default()), Some(Refusal::Forgetful(loss)));
        assert_eq!(said(&state), Some(Refusal::Removed { node: NodeId(2) }));
    }

    #[test]
    fn what_a_disk_has_forgotten_is_said_in_words() {
        let text = |loss| Refusal::Forgetful(loss).to_string();
        let behind = text(Loss { found: Some(3), pledged: Some(5) });
        assert!(behind.contains("(3 of 5 batches of the registry are left)"), "{behind}");
        assert!(text(Loss::default()).contains("nobody knows what is left of the registry"));
    }

    #[test]
    fn codes_are_told_apart_from_other_ends() {
        assert!(Refusal::Foreign(String::new()).code() > KNOCKED.max(REPLACED).max(STOPPING).max(DONE));
    }
}
