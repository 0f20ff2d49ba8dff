//! What a verified JWT allows (PROTOCOL.md section 4). The signature is the shell's to check, with
//! the key that `iss` names; everything that the claims say is judged here.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::code::{ErrorCode, Refusal};
use super::json::Json;
use super::member::Grants;
use crate::id::{Identity, KeyId, Region, RoomName};
use crate::limits;
use crate::select::{Coordinates, Place};
use crate::time::Unix;

/// The audience that a token must name.
pub const AUDIENCE: &str = "chappe";

/// The claims of a token. Unknown ones are skipped.
#[derive(Debug, Clone, Deserialize)]
pub struct Claims {
    /// The API key that signed it.
    pub iss: KeyId,
    /// For whom it is: a text or a list of them.
    aud: Audience,
    /// When it ends, in seconds of Unix time.
    exp: u64,
    /// When it begins.
    #[serde(default)]
    nbf: Option<u64>,
    /// Who its holder is.
    #[serde(default)]
    pub sub: Option<Identity>,
    /// A room's name, or a prefix that ends in `*`.
    room: String,
    /// Names of grants.
    #[serde(default)]
    grants: Vec<String>,
    /// A name to show.
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    metadata: Option<Box<RawValue>>,
    /// Peers that the room may hold for this one to come in.
    #[serde(default)]
    pub capacity: Option<u32>,
    /// Where the holder is.
    #[serde(default)]
    pub region: Option<Region>,
    /// The same on the globe: `[latitude, longitude]`, in degrees.
    #[serde(default)]
    pub coordinates: Option<Coordinates>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Claims {
    /// Where its holder is.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { region: self.region.clone(), coordinates: self.coordinates }
    }

    /// Whether the token lets its holder into `room` now.
    ///
    /// # Errors
    /// `token_invalid`, `token_expired` and `forbidden`, saying which claim is wrong.
    pub fn check(&self, room: &RoomName, now: Unix) -> Result<Grants, Refusal> {
        let ours = match &self.aud {
            Audience::One(aud) => aud == AUDIENCE,
            Audience::Many(auds) => auds.iter().any(|aud| aud == AUDIENCE),
        };
        if !ours {
            return Err(invalid("aud: must be `chappe`"));
        }
        if now >= self.until() {
            return Err(Refusal::new(
                ErrorCode::TokenExpired,
                "exp: the token has expired; ask the app for another",
            ));
        }
        if self.nbf.is_some_and(|nbf| now < Unix::from_secs(nbf)) {
            return Err(invalid("nbf: the token is not valid yet"));
        }
        let matches = match self.room.strip_suffix('*') {
            Some(prefix) => room.as_str().starts_with(prefix),
            None => room.as_str() == self.room,
        };
        if !matches {
            return Err(invalid("room: the token is for another room"));
        }
        if self.sub.as_ref().is_some_and(Identity::is_lost_in_paths) {
            return Err(invalid("sub: nobody is called . or .., which paths lose"));
        }
        let grants = Grants::from_names(self.grants.iter().map(String::as_str));
        if !grants.join {
            return Err(Refusal::new(ErrorCode::Forbidden, "grants: `join` is missing"));
        }
        if self.name.as_ref().is_some_and(|name| name.len() > limits::NAME_MAX) {
            return Err(invalid("name: too long"));
        }
        if self.metadata.as_ref().is_some_and(|data| data.get().len() > limits::METADATA_MAX) {
            return Err(invalid("metadata: too long"));
        }
        Ok(grants)
    }

    /// The room that it is for, where it is for one alone.
    #[must_use]
    pub fn only_room(&self) -> Option<RoomName> {
        RoomName::new(&self.room).ok() // a prefix ends in what no name has
    }

    /// When it ends.
    #[must_use]
    pub const fn until(&self) -> Unix {
        Unix::from_secs(self.exp)
    }

    /// The metadata that it gives its holder.
    #[must_use]
    pub fn metadata(&self) -> Option<Json> {
        self.metadata.as_deref().map(Json::from_raw)
    }
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(ErrorCode::TokenInvalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(claims: &str, room: &str) -> Result<Grants, ErrorCode> {
        let iss = KeyId::from_random([0; 15]);
        let text = format!(r#"{{"iss":"{iss}",{claims}}}"#);
        let claims: Claims = serde_json::from_str(&text).unwrap();
        claims.check(&RoomName::new(room).unwrap(), Unix::from_secs(100)).map_err(|r| r.code)
    }

    #[test]
    fn a_token_opens_its_room_only() {
        let claims = r#""aud":"chappe","exp":200,"room":"a","grants":["join","fly"]"#;
        assert_eq!(check(claims, "a"), Ok(Grants { join: true, ..Grants::default() }));
        assert_eq!(check(claims, "ab"), Err(ErrorCode::TokenInvalid));
        let prefix = r#""aud":["x","chappe"],"exp":200,"room":"a*","grants":["join"]"#;
        assert!(check(prefix, "ab").is_ok() && check(prefix, "b").is_err());
    }

    #[test]
    fn each_claim_is_checked() {
        let cases = [
            (r#""aud":"other","exp":200,"room":"a","grants":["join"]"#, ErrorCode::TokenInvalid),
            (r#""aud":"chappe","sub":"..","exp":200,"room":"a","grants":["join"]"#, ErrorCode::TokenInvalid),
            (r#""aud":"chappe","exp":100,"room":"a","grants":["join"]"#, ErrorCode::TokenExpired),
            (r#""aud":"chappe","exp":200,"nbf":150,"room":"a","grants":["join"]"#, ErrorCode::TokenInvalid),
            (r#""aud":"chappe","exp":200,"room":"a","grants":["admin"]"#, ErrorCode::Forbidden),
            (r#""aud":"chappe","exp":200,"room":"a""#, ErrorCode::Forbidden),
        ];
        for (claims, code) in cases {
            assert_eq!(check(claims, "a"), Err(code), "{claims}");
        }
    }
}
