//! The answer to a join or a return: who the client is, who else is here, and its next resume token.

use std::sync::Arc;

use rand_chacha::rand_core::Rng;

use super::super::frame::{KnockView, LimitsView, PeerView, ServerFrame, Welcome};
use super::super::member::{Member, Profile};
use super::super::resume::ResumeToken;
use super::{Entering, Output, Phase, Session, World};
use crate::id::{Attach, Change, Epoch};
use crate::limits;
use crate::time::{Mono, Now};

impl Session {
    pub(super) fn admitted(
        &mut self,
        attach: Attach,
        at: (Epoch, Change),
        (profile, version): (Profile, u64),
    ) {
        self.member.attach = attach;
        self.member.admitted = Some(at);
        if version > self.member.version {
            // It was made anew from its token while the room still had it.
            (self.member.profile, self.member.version) = (profile, version);
        }
    }

    pub(super) fn welcome(
        &mut self,
        now: Now,
        world: &World,
        admitted: (Epoch, Change),
        others: &[Member],
        broadcasts: u64,
        out: &mut Vec<Output>,
    ) {
        let Phase::Entering(entering) = self.phase else { return };
        self.phase = Phase::Present;
        self.unavailable_at = Mono::NEVER;
        let offer = self.fresh_offer(now, world);
        let mut nonce = [0; 24];
        self.rng.fill_bytes(&mut nonce);
        let token = ResumeToken {
            room: self.room.clone(),
            seat: self.member.seat.clone(),
            identity: self.member.profile.identity.clone(),
            name: self.member.profile.name.clone(),
            metadata: self.member.profile.metadata.clone(),
            withheld: self.member.withheld,
            issuer: self.issuer,
            attach: self.member.attach,
            admitted,
            joined: self.joined,
            until: now.unix + limits::RESUME_TTL,
        };
        let (nodes, lobby) = (self.nodes(world), Arc::clone(&self.lobby));
        self.waits = None;
        let capacity = self.policy.capacity_for(self.member.seat.capacity);
        let mut view = LimitsView::new(self.policy.grace, capacity);
        (view.frames_burst, view.frames_per_sec) = (self.policy.frames_burst, self.policy.frames_per_sec);
        let welcome = Box::new(Welcome {
            session: self.member.seat.session,
            resume: token.seal(&world.sealing, nonce).unwrap_or_default(),
            peer: self.member.seat.peer,
            room: &self.room.room,
            identity: self.member.profile.identity.as_ref(),
            grants: self.member.seat.grants.names(),
            withheld: self.member.withheld.names(),
            roster: others.iter().map(PeerView::from).collect(),
            waiting: lobby.iter().map(KnockView::from).collect(),
            broadcasts,
            ice_servers: &offer.servers,
            ice_ttl_ms: self.ice_ttl_ms(),
            edges: &offer.edges,
            draining: &world.draining,
            nodes: &nodes,
            limits: view,
        });
        let frame = match entering {
            Entering::New => ServerFrame::Welcome(welcome),
            Entering::Resumed => ServerFrame::Resumed(welcome),
            Entering::Rebuilt => ServerFrame::Rebuilt(welcome),
        };
        let text = frame.text();
        self.push(text, out);
        self.tell_moving(now, out);
        self.tell_moved(now, world, out);
    }
}

impl Session {
    /// The nearest nodes first: those of one region in another order for each session, so that those of a lost node
    /// spread over the others. Regions of which nothing is known come last.
    pub(super) fn nodes(&mut self, world: &World) -> Vec<String> {
        let place = self.place();
        let nodes = shuffled(&world.nodes, &mut self.rng);
        world.nearest_nodes(&place, nodes).into_iter().map(|(url, _)| url.clone()).collect()
    }
}

fn shuffled<'a, T>(nodes: &'a [T], rng: &mut impl Rng) -> Vec<&'a T> {
    let mut nodes: Vec<&T> = nodes.iter().collect();
    for last in (1..nodes.len()).rev() {
        let any = rng.next_u64() % (last as u64 + 1);
        nodes.swap(last, usize::try_from(any).unwrap_or(last));
    }
    nodes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand_chacha::ChaCha12Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;
    use crate::id::Region;
    use crate::select::{Catalog, Place};

    #[test]
    fn each_order_of_nodes_comes_up_and_none_is_left_out() {
        let nodes: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let mut rng = ChaCha12Rng::from_seed([1; 32]);
        let orders: BTreeSet<Vec<&String>> = (0..100).map(|_| shuffled(&nodes, &mut rng)).collect();
        assert_eq!(orders.len(), 6);
        assert!(
            orders.iter().all(|order| nodes.iter().all(|node| order.contains(&node)) && order.len() == 3)
        );
        assert!(shuffled::<String>(&[], &mut rng).is_empty());
    }

    #[test]
    fn the_nearest_nodes_are_told_however_many_there_are() {
        let at = |region: &str| Region::new(region).unwrap();
        let mut nodes: Vec<(String, Region)> =
            (0..2 * limits::NODES_TOLD).map(|n| (format!("https://n{n}.example"), at("far"))).collect();
        nodes.push(("https://near.example".to_owned(), at("near")));
        let edges = Catalog::new(Vec::new(), Arc::default(), Some(at("near")));
        let world = World { nodes, edges, ..World::default() };
        let told = world.nearest_nodes(&Place::default(), &world.nodes);
        assert_eq!((told.len(), told[0].0.as_str()), (limits::NODES_TOLD, "https://near.example"));
        assert_eq!(told[1].0, "https://n0.example", "the others as they were");
    }
}
