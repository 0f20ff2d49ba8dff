//! Invitations: each lets one node or one edge join. The registry holds a hash of each secret, so that whoever reads a
//! backup joins nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::edges::Enrolment;
use super::{NodeAddresses, Outcome, Refusal, State, Thing};
use crate::id::{EdgeId, InvitationId, NodeId, Region};
use crate::limits::{
    APPLICANT_BYTES, INVITATION_HASH_BYTES, INVITATION_TTL_MAX, INVITATIONS_MAX, SWEEP_EVERY,
};
use crate::mesh::uplink::Secret;
use crate::time::Unix;

/// An invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// SHA-256 of its secret.
    pub hash: Secret,
    /// Where its node or edge is to stand, if that is to be there alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// That it is for an edge, and for which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<InvitedEdge>,
    /// Until when.
    pub until: Unix,
    /// Who joined by it. It is kept until it expires, so that whoever comes after is told why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
}

/// Which edge an invitation is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitedEdge {
    /// The one of this name: that may be there already, and is put in its place. Else any new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<EdgeId>,
}

/// Who asks to join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joiner<'a> {
    /// A node.
    Node,
    /// The edge of this name.
    Edge(&'a EdgeId),
}

/// Who joined by an invitation: a node or an edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// The node's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The edge's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<EdgeId>,
    /// The hash of its public key.
    #[serde(with = "serde_bytes")]
    pub applicant: Vec<u8>,
}

impl Used {
    /// Whether it was this one who joined; nodes have no names of their own.
    fn is(&self, joiner: Joiner<'_>) -> bool {
        match joiner {
            Joiner::Node => self.edge.is_none(),
            Joiner::Edge(edge) => self.edge.as_ref() == Some(edge),
        }
    }
}

impl Invitation {
    /// What the registry keeps of a secret.
    #[must_use]
    pub fn hash(secret: &[u8]) -> Secret {
        Secret(Sha256::digest(secret).to_vec())
    }

    /// Whether `secret` is this invitation's, in constant time.
    #[must_use]
    pub fn is_opened_by(&self, secret: &[u8]) -> bool {
        Self::hash(secret).0.ct_eq(&self.hash.0).into()
    }

    /// Whether a node or an edge may join by it at `now`.
    ///
    /// # Errors
    /// [`Refusal::IsFor`], where the one asks and the other is invited; [`Refusal::IsForEdge`];
    /// [`Refusal::Expired`]; [`Refusal::OtherRegion`]; [`Refusal::Used`] and [`Refusal::UsedByEdge`], unless
    /// `applicant` is who used it.
    pub fn check(
        &self,
        now: Unix,
        joiner: Joiner<'_>,
        region: &Region,
        applicant: &[u8],
    ) -> Result<(), Refusal> {
        match (joiner, &self.edge) {
            (Joiner::Node, Some(_)) => return Err(Refusal::IsFor(Thing::Edge)),
            (Joiner::Edge(_), None) => return Err(Refusal::IsFor(Thing::Node)),
            (Joiner::Edge(edge), Some(InvitedEdge { name: Some(name) })) if name != edge => {
                return Err(Refusal::IsForEdge(name.clone()));
            }
            _ => {}
        }
        match &self.used {
            // It has joined: its answer was lost. It stays who it is.
            Some(used) if used.applicant == applicant && used.is(joiner) => return Ok(()),
            Some(Used { edge: Some(edge), .. }) => return Err(Refusal::UsedByEdge { edge: edge.clone() }),
            Some(used) => return Err(Refusal::Used { node: used.node.unwrap_or(NodeId(0)) }),
            None => {}
        }
        if self.until <= now {
            return Err(Refusal::Expired(Thing::Invitation));
        }
        match &self.region {
            Some(wanted) if wanted != region => Err(Refusal::OtherRegion(wanted.clone())),
            _ => Ok(()),
        }
    }
}

impl State {
    /// An invitation, used and expired ones included until they are swept.
    #[must_use]
    pub fn invitation(&self, id: &InvitationId) -> Option<&Invitation> {
        self.invitations.get(id)
    }

    /// All invitations by id.
    pub fn invitations(&self) -> impl Iterator<Item = (&InvitationId, &Invitation)> {
        self.invitations.iter()
    }

    pub(super) fn invitation_add(
        &mut self,
        id: InvitationId,
        hash: Secret,
        region: Option<Region>,
        edge: Option<InvitedEdge>,
        until: Unix,
    ) -> Result<Outcome, Refusal> {
        if hash.0.len() != INVITATION_HASH_BYTES {
            return Err(Refusal::Invalid(Thing::Secret));
        }
        if until <= self.now {
            return Err(Refusal::Expired(Thing::Invitation));
        }
        if until > self.now + INVITATION_TTL_MAX {
            return Err(Refusal::Invalid(Thing::Lifetime));
        }
        if self.invitations.contains_key(&id) {
            return Err(Refusal::Exists(Thing::Invitation));
        }
        if self.invitations.len() >= INVITATIONS_MAX {
            let now = self.now;
            let open = |invitation: &Invitation| invitation.until > now && invitation.used.is_none();
            Arc::make_mut(&mut self.invitations).retain(|_, invitation| open(invitation));
        }
        if self.invitations.len() >= INVITATIONS_MAX {
            return Err(Refusal::Full { thing: Thing::Invitation, max: INVITATIONS_MAX as u64 });
        }
        let fresh = Invitation { hash, region, edge, until, used: None };
        Arc::make_mut(&mut self.invitations).insert(id, fresh);
        Ok(Outcome::Done)
    }

    pub(super) fn invitation_remove(&mut self, id: &InvitationId) -> Result<Outcome, Refusal> {
        if !self.invitations.contains_key(id) {
            return Err(Refusal::Unknown(Thing::Invitation));
        }
        Arc::make_mut(&mut self.invitations).remove(id);
        Ok(Outcome::Done)
    }

    pub(super) fn node_join(
        &mut self,
        id: &InvitationId,
        region: Region,
        addresses: NodeAddresses,
        applicant: Vec<u8>,
    ) -> Result<Outcome, Refusal> {
        if !APPLICANT_BYTES.contains(&applicant.len()) {
            return Err(Refusal::Invalid(Thing::Applicant));
        }
        let held = self.invitations.get(id).ok_or(Refusal::Unknown(Thing::Invitation))?;
        held.check(self.now, Joiner::Node, &region, &applicant)?;
        if let Some(Used { node: Some(node), .. }) = held.used {
            return match self.node(node) {
                Some(_) => Ok(Outcome::Joined { node }),
                None => Err(self.no_node(node)),
            };
        }
        let node = self.next_node();
        self.node_insert(node, region, addresses)?;
        if let Some(held) = Arc::make_mut(&mut self.invitations).get_mut(id) {
            held.used = Some(Used { node: Some(node), edge: None, applicant });
        }
        Ok(Outcome::Joined { node })
    }

    pub(super) fn edge_join(
        &mut self,
        id: &InvitationId,
        edge: EdgeId,
        region: Region,
        applicant: Vec<u8>,
    ) -> Result<Outcome, Refusal> {
        if !APPLICANT_BYTES.contains(&applicant.len()) {
            return Err(Refusal::Invalid(Thing::Applicant));
        }
        let held = self.invitations.get(id).ok_or(Refusal::Unknown(Thing::Invitation))?;
        held.check(self.now, Joiner::Edge(&edge), &region, &applicant)?;
        let (is_used, is_named) =
            (held.used.is_some(), held.edge.as_ref().is_some_and(|invited| invited.name.is_some()));
        let how = match (is_used, is_named) {
            (true, _) => Enrolment::Again,
            (_, true) => Enrolment::Named,
            _ => Enrolment::New,
        };
        self.edge_enrol(&edge, region, applicant.clone(), how)?;
        if !is_used && let Some(held) = Arc::make_mut(&mut self.invitations).get_mut(id) {
            held.used = Some(Used { node: None, edge: Some(edge), applicant });
        }
        Ok(Outcome::Done)
    }

    /// Once in [`SWEEP_EVERY`] entries, what has expired goes.
    pub(super) fn sweep_invitations(&mut self) {
        let now = self.now;
        if self.index.0.is_multiple_of(SWEEP_EVERY)
            && self.invitations.values().any(|invitation| invitation.until <= now)
        {
            Arc::make_mut(&mut self.invitations).retain(|_, invitation| invitation.until > now);
        }
    }
}
