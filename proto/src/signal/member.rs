//! A peer as the servers know it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::json::Json;
use crate::id::{Attach, Change, Epoch, Generation, Identity, NodeId, PeerId, Region, SessionId};
use crate::limits;
use crate::select::Place;
use crate::time::Unix;

/// What a token allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grants {
    /// Join a room that exists.
    pub join: bool,
    /// Make a room by joining it.
    pub create: bool,
    /// Kick and ban.
    pub admin: bool,
    /// Be in the room unseen.
    pub hidden: bool,
    /// Send broadcasts.
    pub broadcast: bool,
}

impl Grants {
    /// What an anonymous peer of a development cluster may do.
    pub const ANONYMOUS: Self =
        Self { join: true, create: true, admin: false, hidden: false, broadcast: true };

    /// The grants by the names that tokens use; unknown names are skipped.
    #[must_use]
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut grants = Self::default();
        for name in names {
            match name {
                "join" => grants.join = true,
                "create" => grants.create = true,
                "admin" => grants.admin = true,
                "hidden" => grants.hidden = true,
                "broadcast" => grants.broadcast = true,
                _ => {}
            }
        }
        grants
    }

    /// Their names.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        [
            (self.join, "join"),
            (self.create, "create"),
            (self.admin, "admin"),
            (self.hidden, "hidden"),
            (self.broadcast, "broadcast"),
        ]
        .into_iter()
        .filter_map(|(granted, name)| granted.then_some(name))
        .collect()
    }
}

/// Grants that a peer has for the time being not, whatever its token says. The room's word: it survives a return, another
/// owner and another place of the room, as those who follow the room hold it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Withheld {
    /// May not send media. Media does not go by the servers: its client obeys, and the others see it.
    pub publish: bool,
    /// May not send broadcasts.
    pub broadcast: bool,
    /// Counts the changes: of two words the higher is true.
    pub n: u64,
}

/// Some grants are taken away, or given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Muting {
    /// Whether sending media is among them,
    pub publish: bool,
    /// and broadcasting.
    pub broadcast: bool,
    /// Whether they are taken away.
    pub on: bool,
}

impl Withheld {
    /// Nothing is withheld, and never was.
    pub const NONE: Self = Self { publish: false, broadcast: false, n: 0 };

    /// Their names.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        let all = [(self.publish, "publish"), (self.broadcast, "broadcast")];
        all.into_iter().filter_map(|(withheld, name)| withheld.then_some(name)).collect()
    }

    /// After some were taken away or given back; none where that changes nothing.
    #[must_use]
    pub fn after(self, muting: Muting) -> Option<Self> {
        let Muting { publish, broadcast, on } = muting;
        let publish = if publish { on } else { self.publish };
        let broadcast = if broadcast { on } else { self.broadcast };
        let changed = (publish, broadcast) != (self.publish, self.broadcast);
        changed.then_some(Self { publish, broadcast, n: self.n + 1 })
    }
}

impl Muting {
    /// Of the grants with these names; none where one has another name, or there is none at all.
    #[must_use]
    pub fn of_names<'a>(names: impl IntoIterator<Item = &'a str>, on: bool) -> Option<Self> {
        let mut muting = Self { publish: false, broadcast: false, on };
        for name in names {
            match name {
                "publish" => muting.publish = true,
                "broadcast" => muting.broadcast = true,
                _ => return None,
            }
        }
        (muting.publish || muting.broadcast).then_some(muting)
    }
}

/// The node that holds a session's socket, in the life of its process that it does so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Gateway {
    /// The node.
    pub node: NodeId,
    /// Its generation.
    pub generation: Generation,
}

impl Gateway {
    /// Whether it is over where `lost` is: the same life of its node, or one before.
    #[must_use]
    pub fn ended_with(self, lost: Self) -> bool {
        self.node == lost.node && self.generation <= lost.generation
    }
}

/// What others see of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Who its token says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// A name to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whatever the app put there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Json>,
}

/// What a join brought with it and a session keeps for life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// The peer.
    pub peer: PeerId,
    /// Its session.
    pub session: SessionId,
    /// What it may do.
    pub grants: Grants,
    /// How many peers the token lets into the room.
    #[serde(default)]
    pub capacity: Option<u32>,
    /// When the token that it joined with expires.
    pub token_until: Unix,
    /// Where its token says it is: `region` and `coordinates` among the others. Boxed, as most have none.
    #[serde(flatten, with = "said")]
    pub place: Option<Box<Place>>,
}

impl Seat {
    /// In which region its token says it is.
    #[must_use]
    pub fn region(&self) -> Option<&Region> {
        self.place.as_ref()?.region.as_ref()
    }
}

/// A place among the fields of what it is said of.
mod said {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Place;

    #[expect(clippy::ref_option, reason = "serde's form")]
    pub(super) fn serialize<S: Serializer>(place: &Option<Box<Place>>, to: S) -> Result<S::Ok, S::Error> {
        place.as_deref().unwrap_or(&Place::default()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<Place>>, D::Error> {
        Place::deserialize(from).map(Place::known)
    }
}

/// A peer as its gateway announces it and its room holds it. An announcement is the whole truth
/// about one session: repeating it changes nothing, and after the loss of an owner the new room is
/// built from announcements alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// What it keeps for life.
    #[serde(flatten)]
    pub seat: Seat,
    /// What others see; grows a new `version` with each change.
    pub profile: Profile,
    /// Counts the changes of `profile`.
    #[serde(default)]
    pub version: u64,
    /// The socket it is attached by, or was last.
    pub attach: Attach,
    /// No socket right now.
    #[serde(default)]
    pub away: bool,
    /// When a room let it in, where one has: it is never refused for want of room again.
    #[serde(default)]
    pub admitted: Option<(Epoch, Change)>,
    /// What was taken away from it.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub withheld: Withheld,
}

fn is_nothing(withheld: &Withheld) -> bool {
    *withheld == Withheld::NONE
}

/// What was decided of one room beforehand, as far as the room itself obeys it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    /// Peers that it holds: in the place of the app's number, and no token's is higher.
    pub capacity: Option<u32>,
    /// Whether nobody new comes in.
    pub locked: bool,
    /// When it is closed; nobody gets in after it.
    pub expires: Option<Unix>,
    /// Whether newcomers wait until somebody lets them in.
    pub lobby: bool,
}

impl Rules {
    /// Whether its time is over.
    #[must_use]
    pub fn has_expired(&self, now: Unix) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// What an app lets its rooms and sessions do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Joins without a token.
    pub anonymous: bool,
    /// Peers of a room, where a token says nothing.
    pub capacity: u32,
    /// How long a session outlives its socket.
    pub grace: Duration,
    /// How long a TURN credential lasts.
    pub credential_ttl: Duration,
    /// Frames that a session may send in a burst.
    pub frames_burst: u32,
    /// Frames a second that it may send for long.
    pub frames_per_sec: u32,
    /// What was decided of the room.
    #[serde(default)]
    pub rules: Rules,
}

impl Policy {
    /// How many peers the room may hold for one to come in whose token says `token`.
    #[must_use]
    pub fn capacity_for(&self, token: Option<u32>) -> u32 {
        match self.rules.capacity {
            Some(most) => token.map_or(most, |token| token.min(most)),
            None => token.unwrap_or(self.capacity),
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            anonymous: false,
            capacity: u32::try_from(limits::ROOM_CAPACITY).unwrap_or(u32::MAX),
            grace: limits::GRACE,
            credential_ttl: limits::CREDENTIAL_TTL,
            frames_burst: limits::FRAMES_BURST,
            frames_per_sec: limits::FRAMES_PER_SEC,
            rules: Rules::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::Coordinates;
    use crate::wire;

    /// As releases before wrote it.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Former {
        peer: PeerId,
        session: SessionId,
        grants: Grants,
        #[serde(default)]
        capacity: Option<u32>,
        token_until: Unix,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        region: Option<Box<Region>>,
    }

    #[test]
    fn a_place_is_kept_whole_and_former_releases_read_its_region() {
        let (eu, at) = (Region::new("eu").ok(), Coordinates::new(50.0, 8.5).ok());
        for (region, coordinates) in [(None, None), (eu.clone(), None), (None, at), (eu, at)] {
            let place = Place { region: region.clone(), coordinates }.known();
            let (peer, session) = (PeerId::from_random([1; 15]), SessionId::from_random([2; 15]));
            let (grants, token_until) = (Grants::ANONYMOUS, Unix::from_secs(5));
            let seat = Seat { peer, session, grants, capacity: None, token_until, place };
            let region = region.map(Box::new);
            let former = Former { peer, session, grants, capacity: None, token_until, region };
            let bytes = wire::encode(&seat).unwrap();
            assert_eq!(wire::decode::<Seat>(&bytes, 1000).unwrap(), seat);
            assert_eq!(wire::decode::<Former>(&bytes, 1000).unwrap(), former);
            if coordinates.is_none() {
                assert_eq!(bytes, wire::encode(&former).unwrap());
            }
            // Within a member, which has the same fields beside its own.
            let profile = Profile { identity: None, name: None, metadata: None };
            let member = Member {
                seat,
                profile,
                version: 0,
                attach: Attach(1),
                away: false,
                admitted: None,
                withheld: Withheld::NONE,
            };
            assert_eq!(wire::decode::<Member>(&wire::encode(&member).unwrap(), 1000).unwrap(), member);
        }
        assert_eq!(size_of::<Seat>(), size_of::<Former>());
    }
}
