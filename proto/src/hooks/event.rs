//! Events: what webhooks are told, and how it is written.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::id::{BadId, EventId, RoomName};
use crate::time::Unix;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The first one came into a room.
    RoomStarted,
    /// The last one is gone.
    RoomEnded,
    /// Another node runs the room from now on; what the former one had not delivered when it died is lost.
    RoomResumed,
    /// Somebody came in.
    PeerJoined,
    /// Somebody is gone for good.
    PeerLeft,
    /// Somebody has no socket for the moment.
    PeerAway,
    /// Has one again.
    PeerBack,
    /// Somebody waits to be let in.
    PeerWaiting,
    /// A test that an operator asked for; no webhook can choose it.
    Ping,
}

impl EventKind {
    /// All that a webhook can choose.
    pub const CHOICE: [Self; 8] = [
        Self::RoomStarted,
        Self::RoomEnded,
        Self::RoomResumed,
        Self::PeerJoined,
        Self::PeerLeft,
        Self::PeerAway,
        Self::PeerBack,
        Self::PeerWaiting,
    ];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RoomStarted => "room_started",
            Self::RoomEnded => "room_ended",
            Self::RoomResumed => "room_resumed",
            Self::PeerJoined => "peer_joined",
            Self::PeerLeft => "peer_left",
            Self::PeerAway => "peer_away",
            Self::PeerBack => "peer_back",
            Self::PeerWaiting => "peer_waiting",
            Self::Ping => "ping",
        }
    }

    /// Whether a webhook that chose nothing is told: all but what a bad network says every few seconds.
    #[must_use]
    pub const fn is_usual(self) -> bool {
        !matches!(self, Self::PeerAway | Self::PeerBack)
    }

    /// Whether a webhook that chose these is told; one that chose none is told of the usual ones.
    #[must_use]
    pub fn is_chosen(self, chosen: &BTreeSet<Self>) -> bool {
        if chosen.is_empty() { self.is_usual() } else { chosen.contains(&self) }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for EventKind {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        Self::CHOICE.into_iter().find(|kind| kind.name() == text).ok_or(BadId("event"))
    }
}

/// An event as it is sent: the same to every webhook, and with every attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id, the `webhook-id` of each request.
    pub id: EventId,
    /// What happened.
    pub kind: EventKind,
    /// In which room: what happens there is told in order.
    pub room: Option<RoomName>,
    /// When.
    pub at: Unix,
    /// What is sent, JSON.
    pub body: Arc<str>,
}

impl Event {
    /// Of its data, a JSON object.
    #[must_use]
    pub fn new(
        id: EventId,
        kind: EventKind,
        room: Option<RoomName>,
        at: Unix,
        data: &impl Serialize,
    ) -> Self {
        #[derive(Serialize)]
        struct Body<'a, T> {
            r#type: EventKind,
            timestamp: String,
            data: &'a T,
        }
        let body = Body { r#type: kind, timestamp: date_time(at), data };
        // Text and numbers under names of ours: nothing that JSON could not say.
        let body = serde_json::to_string(&body).unwrap_or_else(|_| json!({ "type": kind }).to_string());
        Self { id, kind, room, at, body: body.into() }
    }
}

/// `2026-11-21T23:09:34.120Z` (RFC 3339).
#[must_use]
pub fn date_time(at: Unix) -> String {
    let (secs, millis) = (at.secs(), at.0.subsec_millis());
    let (days, rest) = (secs / 86_400, secs % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Howard Hinnant's `civil_from_days`, for days since 1970 only.
const fn date(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_827_696, "2000-02-29T12:34:56.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(date_time(Unix::from_secs(secs)), text);
        }
        assert_eq!(date_time(Unix(Duration::from_millis(1_007))), "1970-01-01T00:00:01.007Z");
    }

    #[test]
    fn names_read_back_and_the_usual_ones_are_told_without_being_chosen() {
        for kind in EventKind::CHOICE {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            assert!(kind.is_chosen(&[kind].into()));
        }
        assert!("ping".parse::<EventKind>().is_err(), "no webhook can choose it");
        let told: Vec<_> = EventKind::CHOICE.into_iter().filter(|kind| !kind.is_chosen(&[].into())).collect();
        assert_eq!(told, [EventKind::PeerAway, EventKind::PeerBack]);
        assert!(!EventKind::PeerJoined.is_chosen(&[EventKind::PeerLeft].into()));
    }
}
