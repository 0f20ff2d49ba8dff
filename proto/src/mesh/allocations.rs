//! What nodes ask of an edge for operators, and what it answers. About its allocations piece by piece, since the loop
//! that relays is asked; about its process, which is not.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::uplink::Traffic;
use crate::id::SessionId;
use crate::logs::{Level, LogPage, Wanted};
use crate::settings::Setting;
use crate::turn::Transport;
use crate::wire;

/// Which allocations are meant: those of which each that is given is true. Nothing given means all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationFilter {
    /// Of one of these signaling sessions, or issued credentials; at most
    /// [`crate::limits::ALLOCATION_SESSIONS_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<BTreeSet<SessionId>>,
    /// Of the user of this name, who is no session: by the REST convention without its expiry, or long-term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of this realm, of long-term users alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,
    /// Of clients at this address, as the edge sees it.
    #[serde(default, with = "text", skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
}

/// An address as a text, where there is one.
mod text {
    use std::net::IpAddr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(ip: &Option<IpAddr>, to: S) -> Result<S::Ok, S::Error> {
        match ip {
            Some(ip) => to.collect_str(ip),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<IpAddr>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(de::Error::custom)).transpose()
    }
}

impl AllocationFilter {
    /// Those of one session.
    #[must_use]
    pub fn of_session(session: SessionId) -> Self {
        Self { sessions: Some(BTreeSet::from([session])), ..Self::default() }
    }

    /// Whether it says of whom: who closes by one that does not would close all.
    #[must_use]
    pub const fn names_a_user(&self) -> bool {
        self.sessions.is_some() || self.name.is_some()
    }
}

/// What a node asks of an edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "a", rename_all = "snake_case")]
pub enum EdgeAsk {
    /// The next of the allocations.
    Allocations {
        /// Which.
        #[serde(default)]
        filter: AllocationFilter,
        /// Where to go on: what the last answer said, 0 at first.
        #[serde(default)]
        from: u32,
        /// So many at most, and no more than [`crate::limits::ALLOCATIONS_PAGE`].
        limit: u16,
    },
    /// One allocation ends.
    Close {
        /// Its number.
        allocation: u64,
    },
    /// All of these end. A filter that names no user ends none.
    CloseAll {
        /// Which.
        filter: AllocationFilter,
    },
    /// Its process's options, as they are in force.
    Settings,
    /// Lines of its process's log.
    Logs(Wanted),
    /// Say and keep lines of Chappe's own parts up to this level, for so long; then what it was told at its start.
    LogLevel {
        /// Up to which; none ends it now.
        #[serde(default)]
        level: Option<Level>,
        /// For how long, in seconds, up to [`crate::limits::LEVEL_FOR_MAX`].
        #[serde(default)]
        secs: u32,
    },
    /// What a newer release asks.
    #[serde(other)]
    Unknown,
}

/// What an edge answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "a", rename_all = "snake_case")]
pub enum EdgeAnswer {
    /// Some of its allocations.
    Allocations {
        /// Those.
        page: Vec<AllocationReport>,
        /// Where to go on; nothing where these were the last ones.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<u32>,
    },
    /// So many have ended.
    Closed {
        /// How many; none where there was no such allocation.
        closed: u32,
    },
    /// Its process's options, in the order of its command line.
    Settings {
        /// Those, [`crate::limits::SETTINGS_MAX`] at most.
        settings: Vec<Setting>,
    },
    /// Lines of its process's log.
    Logs(LogPage),
    /// It is done.
    Done,
    /// It does what others have asked: ask again.
    Busy,
    /// It does not know what is asked; or what a newer release answers.
    #[serde(other)]
    Unknown,
}

/// An allocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationReport {
    /// Its number: none of its edge had it before, in this life of its process.
    pub number: u64,
    /// How the client reaches the edge.
    pub transport: Transport,
    /// The client's address as the edge sees it.
    #[serde(with = "wire::text")]
    pub client: SocketAddr,
    /// The listener's address that it sends to.
    #[serde(with = "wire::text")]
    pub server: SocketAddr,
    /// The relayed transport addresses, as advertised: one of each family that it has.
    #[serde(with = "wire::texts")]
    pub relayed: Vec<SocketAddr>,
    /// The session or the issued credential in its username.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The name of any other user, without the expiry of the REST convention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The realm of a long-term user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,
    /// How long ago it began, in milliseconds.
    pub age_ms: u64,
    /// In how many milliseconds it ends unless it is refreshed.
    pub left_ms: u64,
    /// Permissions in force.
    pub permissions: u32,
    /// Channels in force.
    pub channels: u32,
    /// Payload from the client to peers.
    pub sent: Traffic,
    /// Payload from peers to the client.
    pub received: Traffic,
}
