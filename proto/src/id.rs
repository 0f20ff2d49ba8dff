//! The names of things. Each id is a type of its own, so that none can stand in for another.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32HEX_NOPAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a text is not the id it was read as.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {0}")]
pub struct BadId(pub &'static str);

/// Defines an id of 120 random bits, minted outside, printed as a prefix and 24 characters of
/// base32hex: no padding, no confusion of case, and texts sort as their bytes do.
macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 15]);

        impl $name {
            /// Of random bytes that the shell drew.
            #[must_use]
            pub const fn from_random(bytes: [u8; 15]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; 24];
                BASE32HEX_NOPAD.encode_mut(&self.0, &mut text);
                text.make_ascii_lowercase();
                f.write_str($prefix)?;
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                let bad = BadId(stringify!($name));
                let Some(digits) = text.strip_prefix($prefix) else { return Err(bad) };
                if digits.len() != 24 || digits.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(bad);
                }
                let mut bytes = [0; 15];
                match BASE32HEX_NOPAD.decode_mut(digits.to_ascii_uppercase().as_bytes(), &mut bytes) {
                    Ok(15) => Ok(Self(bytes)),
                    _ => Err(bad),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

random_id!(
    /// A participant of a room. Minted per signaling session and never reused; `to`, `from`, marks
    /// and politeness use it.
    PeerId, "p_"
);
random_id!(
    /// A signaling session: a peer's connection, which outlives its socket. Every TURN username and
    /// every revocation of the session carries it.
    SessionId, "s_"
);
random_id!(
    /// An API key of an app: the public half, which a token names as `iss`.
    KeyId, "k_"
);

random_id!(
    /// A cluster: minted at bootstrap, named in every certificate of its authority.
    ClusterId, "c_"
);

random_id!(
    /// An invitation: lets one node join. Its secret is in the token alone, the registry holds a hash.
    InvitationId, "i_"
);

random_id!(
    /// A one-time link for an operator. Its secret is in the link alone, the registry holds a hash.
    LinkId, "l_"
);
random_id!(
    /// An operator's login at the console. Its secret is in the browser's cookie alone.
    LoginId, "lo_"
);
random_id!(
    /// An access token for a program. Its secret is in the token alone.
    AccessTokenId, "at_"
);
random_id!(
    /// A webhook of an app.
    HookId, "w_"
);

random_id!(
    /// An event that webhooks are told of: the same on every node that tells of it, and with every attempt.
    EventId, "e_"
);

/// Defines a counter or a small number with a name.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A node: its Raft member id. Never reused.
    NodeId(u64)
);
number!(
    /// Counts the starts of a node's process.
    Generation(u64)
);
number!(
    /// One of the fixed number of room buckets, `0..limits::SHARDS`.
    Shard(u16)
);
number!(
    /// Counts a shard's owners; every frame about a room carries it, so that a former owner's are
    /// refused.
    Epoch(u64)
);
number!(
    /// Counts the changes of a room under one epoch.
    Change(u64)
);
number!(
    /// Counts the sockets that a signaling session was attached to; each `welcome` issues the next.
    Attach(u64)
);
number!(
    /// A position in the registry: the Raft index of the last applied entry.
    Index(u64)
);

/// Who operates: 1 to 64 of `a-z 0-9 . _ - + @`, so that no two differ by case alone and none needs quoting.
/// A new one is none of [`Self::RESERVED`]; those that exist are read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct OperatorName(std::sync::Arc<str>);

impl OperatorName {
    /// The longest such name, in bytes: an address of mail, mostly.
    pub const MAX: usize = 64;

    /// What a path means otherwise (RFC 3986, section 5.2.4, takes dots out of it), and what the audit log calls who
    /// has the cluster's own token.
    pub const RESERVED: [&str; 4] = [".", "..", "links", "operator"];

    /// Checks the text.
    ///
    /// # Errors
    /// When it is empty, longer than [`Self::MAX`] bytes, holds anything else, or is one of [`Self::RESERVED`].
    pub fn new(text: &str) -> Result<Self, BadId> {
        let name = Self::read(text)?;
        if name.is_reserved() { Err(BadId("OperatorName")) } else { Ok(name) }
    }

    /// Whether nobody new may be called so.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        Self::RESERVED.contains(&self.as_str())
    }

    /// What may be there, of a time when nothing was reserved.
    fn read(text: &str) -> Result<Self, BadId> {
        let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-+@".contains(&b);
        if text.is_empty() || text.len() > Self::MAX || !text.bytes().all(fine) {
            return Err(BadId("OperatorName"));
        }
        Ok(Self(text.into()))
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OperatorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for OperatorName {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for OperatorName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        Self::read(&text).map_err(de::Error::custom)
    }
}

/// Defines a name that an operator or an app chose: a bounded, printable text.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The longest such name, in bytes.
            pub const MAX: usize = $max;

            /// Checks the text.
            ///
            /// # Errors
            /// When it is empty, longer than [`Self::MAX`] bytes, or holds anything but ASCII
            /// letters, digits and `-_.~:@`.
            pub fn new(text: &str) -> Result<Self, BadId> {
                let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_.~:@".contains(&b);
                if text.is_empty() || text.len() > Self::MAX || !text.bytes().all(fine) {
                    return Err(BadId(stringify!($name)));
                }
                Ok(Self(text.into()))
            }

            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether a URL's path loses it (RFC 3986, section 5.2.4), so that nobody could ask for what has this
            /// name: `.` and `..`.
            #[must_use]
            pub fn is_lost_in_paths(&self) -> bool {
                matches!(&*self.0, "." | "..")
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
                Self::new(&text).map_err(de::Error::custom)
            }
        }
    };
}

name!(
    /// An app: a tenant. Rooms, keys and quotas belong to one.
    AppId, 64
);
name!(
    /// A room's name within its app.
    RoomName, 128
);
name!(
    /// An edge: one `chappe edge` process, by the name in its certificate.
    EdgeId, 64
);
name!(
    /// An operator's name for a place.
    Region, 64
);
name!(
    /// Who a token says one is.
    Identity, 128
);

/// A room, wherever it is run: its app and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RoomKey {
    /// The app that the room belongs to.
    pub app: AppId,
    /// Its name there.
    pub room: RoomName,
}

impl RoomKey {
    /// The shard that every node looks for this room in first.
    ///
    /// FNV-1a of app, a zero byte and name: the same on every node and in every release.
    #[must_use]
    pub fn anchor(&self) -> Shard {
        let text = self.app.as_str().bytes().chain([0]).chain(self.room.as_str().bytes());
        let hash = text.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let folded = (hash >> 32) ^ hash;
        Shard(u16::try_from(folded % u64::from(crate::limits::SHARDS)).unwrap_or(0))
    }
}

impl fmt::Display for RoomKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app, self.room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_sort_as_their_texts() {
        let low = PeerId::from_random([0x0f; 15]);
        let high = PeerId::from_random([0xf0; 15]);
        assert_eq!(low.to_string().parse(), Ok(low));
        assert!(low < high && low.to_string() < high.to_string());
        assert!(low.to_string().parse::<SessionId>().is_err());
        assert!(low.to_string().to_uppercase().parse::<PeerId>().is_err());
    }

    #[test]
    fn names_refuse_what_would_need_escaping() {
        for bad in ["", "a b", "a/b", "<b>", "ä", &"x".repeat(129)] {
            assert!(RoomName::new(bad).is_err(), "{bad:?}");
        }
        assert!(RoomName::new("stand-up_2.0~x:y@z").is_ok());
    }

    #[test]
    fn operators_have_no_reserved_names_but_those_that_exist_are_read() {
        for reserved in OperatorName::RESERVED {
            assert!(OperatorName::new(reserved).is_err() && reserved.parse::<OperatorName>().is_err());
            let read: OperatorName = serde_json::from_str(&format!("{reserved:?}")).unwrap();
            assert!(read.is_reserved());
        }
        assert!(OperatorName::new("operators").is_ok() && OperatorName::new("...").is_ok());
        assert!(serde_json::from_str::<OperatorName>("\"A b\"").is_err());
    }

    #[test]
    fn anchors_never_move() {
        let room = |name| RoomKey { app: AppId::new("dev").unwrap(), room: RoomName::new(name).unwrap() };
        assert_eq!(room("tower").anchor(), room("tower").anchor());
        assert_ne!(room("tower").anchor(), room("tower2").anchor());
        assert_eq!(room("tower").anchor(), Shard(1502));
    }
}
