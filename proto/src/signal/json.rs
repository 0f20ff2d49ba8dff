//! JSON that is carried and not looked into.

use bytestring::ByteString;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

/// The text of one JSON value. Cloning it costs a reference count.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(ByteString);

impl Json {
    /// The value `null`.
    pub const NULL: Self = Self(ByteString::from_static("null"));

    /// Of a value that a JSON reader has already delimited.
    #[must_use]
    pub fn from_raw(raw: &RawValue) -> Self {
        Self(ByteString::from(raw.get()))
    }

    /// Of any text, checked.
    ///
    /// # Errors
    /// When it is not exactly one JSON value.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        Ok(Self::from_raw(serde_json::from_str::<&RawValue>(text)?))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Json({} bytes)", self.0.len())
    }
}

/// Into JSON as it stands, into MessagePack as a text.
impl Serialize for Json {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if !to.is_human_readable() {
            return to.serialize_str(&self.0);
        }
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(to)
    }
}

/// From MessagePack only, also within a tagged frame, whose buffer claims to be human-readable. What
/// clients send is delimited by a JSON reader ([`Json::from_raw`]).
impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crosses_both_wires_unchanged() {
        let json = Json::parse(r#"{"sdp": "v=0\r\n", "n": 1.50}"#).unwrap();
        assert_eq!(serde_json::to_string(&json).unwrap(), json.as_str());
        let bytes = crate::wire::encode(&json).unwrap();
        assert_eq!(crate::wire::decode::<Json>(&bytes, 1000).unwrap(), json);

        #[derive(PartialEq, Debug, Serialize, Deserialize)]
        #[serde(tag = "t")]
        enum Frame {
            Payload { payload: Json },
        }
        let frame = Frame::Payload { payload: json };
        let bytes = crate::wire::encode(&frame).unwrap();
        assert_eq!(crate::wire::decode::<Frame>(&bytes, 1000).unwrap(), frame);
        assert!(Json::parse("{} {}").is_err());
    }
}
