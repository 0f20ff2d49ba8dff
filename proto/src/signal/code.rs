//! The codes by which a client learns what went wrong (PROTOCOL.md section 8).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::PeerId;

/// Why a frame was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not JSON, or a field missing or of the wrong kind.
    Malformed,
    /// No such frame.
    UnknownType,
    /// Over a limit of length.
    TooLarge,
    /// Before the welcome.
    NotJoined,
    /// After the welcome.
    AlreadyJoined,
    /// Anonymous joins are not allowed here.
    TokenMissing,
    /// The token is not one, or is not for this room.
    TokenInvalid,
    /// The token's time is over.
    TokenExpired,
    /// A grant is missing.
    Forbidden,
    /// This identity was banned from this room, or kicked with this token.
    Banned,
    /// The capacity is reached.
    RoomFull,
    /// Nobody new comes in.
    Locked,
    /// The room's time is over.
    RoomClosed,
    /// There is no such room, and the token does not allow making it.
    NoRoom,
    /// A signal's id with a gap before it.
    BadId,
    /// Not a peer that one can address.
    BadPeer,
    /// Too much is unacknowledged, or the cluster is too busy.
    Busy,
    /// Over the rate; not taken.
    RateLimited,
    /// No owner for the room right now.
    Unavailable,
    /// Who could let it in did not.
    Denied,
    /// Too many wait to be let in.
    LobbyFull,
    /// It waited to be let in, and nobody has answered.
    Unanswered,
    /// A newer release's code.
    #[serde(other)]
    Internal,
}

impl ErrorCode {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownType => "unknown_type",
            Self::TooLarge => "too_large",
            Self::NotJoined => "not_joined",
            Self::AlreadyJoined => "already_joined",
            Self::TokenMissing => "token_missing",
            Self::TokenInvalid => "token_invalid",
            Self::TokenExpired => "token_expired",
            Self::Forbidden => "forbidden",
            Self::Banned => "banned",
            Self::RoomFull => "room_full",
            Self::NoRoom => "no_room",
            Self::BadId => "bad_id",
            Self::BadPeer => "bad_peer",
            Self::Busy => "busy",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Locked => "locked",
            Self::RoomClosed => "room_closed",
            Self::Denied => "denied",
            Self::LobbyFull => "lobby_full",
            Self::Unanswered => "unanswered",
            Self::Internal => "internal",
        }
    }

    /// Whether the same may well be taken a little later, or by another node: nobody's session ends for it.
    #[must_use]
    pub const fn passes(self) -> bool {
        matches!(self, Self::Busy | Self::RateLimited | Self::Unavailable | Self::Internal)
    }
}

/// A refusal, as it is told to the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code:?}: {message}")]
pub struct Refusal {
    /// What kind.
    pub code: ErrorCode,
    /// What is wrong and what to do, for the developer who reads it.
    pub message: String,
    /// When to try again, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The receiver of the signal that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<PeerId>,
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
}

impl Refusal {
    /// A refusal with a message.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None, to: None, id: None }
    }

    /// The same, with the time after which to try again.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after_ms = Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
        self
    }

    /// The same, about one signal.
    #[must_use]
    pub fn about(mut self, to: PeerId, id: u64) -> Self {
        self.to = Some(to);
        self.id = Some(id);
        self
    }
}

/// Why a server closes a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseCode {
    /// The peer asked for it.
    Left,
    /// The client did not read.
    Slow,
    /// The node stops.
    Shutdown,
    /// No answer to pings.
    Silent,
    /// The same resume token was presented on another node.
    Elsewhere,
    /// This node takes nobody in for now: an error that passes came before.
    Unavailable,
    /// Another socket or another session took the place.
    Replaced,
    /// Sent away by an admin.
    Kicked,
    /// Sent away for good.
    Banned,
    /// The room was closed.
    RoomClosed,
    /// Away for longer than its grace.
    Lost,
    /// Binary frames, or too many errors.
    Protocol,
    /// Went on over the rate.
    Rate,
    /// No `join` in time.
    JoinTimeout,
    /// The `join` was refused; an `error` came before.
    Refused,
    /// Moved to another room, as `moved` said before.
    Moved,
}

impl CloseCode {
    /// The WebSocket close code (RFC 6455 section 7.4.2: 4000 to 4999 are an application's own).
    #[must_use]
    pub const fn websocket(self) -> u16 {
        match self {
            Self::Left => 1000,
            Self::Slow => 4001,
            Self::Shutdown => 4002,
            Self::Silent => 4003,
            Self::Elsewhere => 4004,
            Self::Unavailable => 4005,
            Self::Replaced => 4010,
            Self::Kicked => 4011,
            Self::Banned => 4012,
            Self::RoomClosed => 4013,
            Self::Lost => 4014,
            Self::Protocol => 4020,
            Self::Rate => 4021,
            Self::JoinTimeout => 4022,
            Self::Refused => 4023,
            Self::Moved => 4015,
        }
    }

    /// Whether the client should resume.
    #[must_use]
    pub const fn resumes(self) -> bool {
        matches!(self, Self::Slow | Self::Shutdown | Self::Silent | Self::Elsewhere | Self::Unavailable)
    }

    /// A sentence for the developer who reads it.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Left => "you left",
            Self::Slow => "too much was waiting to be read; resume to go on",
            Self::Shutdown => "this node stops; resume on another",
            Self::Silent => "no answer to pings; resume to go on",
            Self::Elsewhere => "another socket came back with the same token; resume to go on",
            Self::Unavailable => "this node takes nobody in right now; resume on another",
            Self::Replaced => "the same identity joined again, or another socket resumed this session",
            Self::Kicked => "an admin removed you from the room",
            Self::Banned => "an admin banned you from the room",
            Self::RoomClosed => "the room was closed",
            Self::Lost => "you were away for too long; join again",
            Self::Protocol => "not frames of this protocol",
            Self::Rate => "too many frames, and on after being told so",
            Self::JoinTimeout => "no join frame in time",
            Self::Refused => "the join was refused",
            Self::Moved => "you were moved to another room: join it with the token of `moved`",
        }
    }
}

/// Why a peer is no longer in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaveReason {
    /// It said so.
    Left,
    /// It was away for longer than its grace.
    Lost,
    /// The same identity joined again.
    Replaced,
    /// An admin removed it.
    Kicked,
    /// An admin removed it and its identity may not return.
    Banned,
    /// The room was closed.
    Closed,
    /// It was moved to another room.
    Moved,
}

impl LeaveReason {
    /// How the peer's own socket is closed for this reason.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Left => CloseCode::Left,
            Self::Lost => CloseCode::Lost,
            Self::Replaced => CloseCode::Replaced,
            Self::Kicked => CloseCode::Kicked,
            Self::Banned => CloseCode::Banned,
            Self::Closed => CloseCode::RoomClosed,
            Self::Moved => CloseCode::Moved,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_resumes_is_told_by_its_number_too() {
        use CloseCode::{
            Banned, Elsewhere, JoinTimeout, Kicked, Left, Lost, Moved, Protocol, Rate, Refused, Replaced,
            RoomClosed, Shutdown, Silent, Slow, Unavailable,
        };
        for code in [Slow, Shutdown, Silent, Elsewhere, Unavailable] {
            assert!(code.resumes() && (4000..4010).contains(&code.websocket()), "{code:?}");
        }
        let ends =
            [Left, Replaced, Kicked, Banned, RoomClosed, Lost, Protocol, Rate, JoinTimeout, Refused, Moved];
        for code in ends {
            assert!(!code.resumes() && !(4000..4010).contains(&code.websocket()), "{code:?}");
        }
    }
}
