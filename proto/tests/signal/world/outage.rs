//! An outage: fair weather, an owner that cannot be reached, and a limit on how long signals among those
//! present may take.

use std::time::Duration;

use chappe_proto::limits;
use chappe_proto::signal::member::Policy;
use rand_chacha::rand_core::Rng;

use super::super::client::Fact;
use super::super::cluster::Weather;
use super::{Later, STEP, Schedule, Sum};

impl Schedule {
    /// Those present talk while the owner cannot be reached: nobody waits long.
    pub(crate) fn outage(mut self) -> Result<Sum, String> {
        self.cluster.weather =
            Weather { delay: Duration::from_millis(20), doubled: 20, ..Weather::default() };
        let default = Policy::default();
        self.cluster.policy = Policy {
            frames_per_sec: default.frames_per_sec,
            frames_burst: default.frames_burst,
            ..self.cluster.policy
        };
        let how = self.rng.next_u32() % 4;
        if how != 1 {
            // A gateway beside the owner ends with it, and what a cut between two nodes takes from it the mesh
            // carries by one hop.
            self.cluster.owner_at = None;
        }
        self.settle_in()?;
        self.talk(Duration::from_secs(1))?;
        let allowed = self.lose_owner(how);
        self.note(|| format!("allowed: {allowed:?}"));
        // What was with the owner then is said again in its own time: measured is what is sent from now on.
        self.longest = Duration::ZERO;
        self.under_way.clear();
        self.talk(Duration::from_secs(4))?;
        let end = self.now() + allowed;
        while self.now() < end {
            self.step(STEP)?;
        }
        if let Some((signal, sent)) = self.under_way.iter().next() {
            return Err(format!("{signal:?} of {sent:?} was not taken or acknowledged in {allowed:?}"));
        }
        if self.longest > allowed {
            return Err(format!("a signal took {:?}, more than {allowed:?}", self.longest));
        }
        self.later.push((self.now(), if self.cluster.frozen { Later::Thaws } else { Later::NewOwner }));
        self.calm()?;
        let live = self.live();
        self.referee.end(&live, &self.cluster.forgotten)?;
        self.rosters()?;
        Ok(Sum { taken: self.referee.taken, ..Sum::default() })
    }

    /// Everybody comes in.
    fn settle_in(&mut self) -> Result<(), String> {
        let end = self.now() + Duration::from_secs(5);
        let all = self.clients.len();
        while self.live().len() < all || self.clients.iter().any(|client| client.roster.len() + 1 < all) {
            self.step(STEP)?;
            if self.now() > end {
                return Err("not all come in".to_owned());
            }
        }
        Ok(())
    }

    fn talk(&mut self, how_long: Duration) -> Result<(), String> {
        let end = self.now() + how_long;
        while self.now() < end {
            if self.one_in(4) {
                let client = self.rng.next_u32() as usize % self.clients.len();
                self.signals(client, 1);
            }
            self.step(STEP)?;
        }
        Ok(())
    }

    /// The owner cannot be reached any more, by all or by one; how long signals may take by then.
    fn lose_owner(&mut self, how: u32) -> Duration {
        let node = self.rng.next_u32() as usize % self.cluster.nodes.len();
        let suspected = Duration::from_millis(550);
        match how {
            0 => self.cluster.stop_owner(),
            1 => self.cluster.freeze_owner(true),
            2 => {
                // Nobody notices: acknowledgements are lost until the sender asks again.
                self.cluster.nodes[node].mute = true;
                return limits::RESEND_AFTER + suspected;
            }
            _ => {
                (self.cluster.nodes[node].deaf, self.cluster.nodes[node].mute) = (true, true);
                self.cluster.tell_link(node, false);
                return limits::RESEND_AFTER + suspected; // the owner takes, and cannot pass on
            }
        }
        suspected
    }

    /// How long a signal takes until its sender knows that it has arrived.
    pub(super) fn time(&mut self, fact: &Fact) {
        match *fact {
            Fact::Sent { from, to, id, .. } => {
                self.under_way.insert((from, to, id), self.now());
            }
            Fact::Delivered { from, to, id } => {
                if let Some(sent) = self.under_way.remove(&(from, to, id)) {
                    self.longest = self.longest.max(self.now() - sent);
                }
            }
            _ => {}
        }
    }
}
