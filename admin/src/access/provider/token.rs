//! An ID token's signature: a JWT (RFC 7519) as a compact JWS (RFC 7515), by a public key of a JWK set (RFC 7517).
//!
//! By `ring` itself. The `openidconnect` crate would bring 52 others, an RSA of known timing leaks among them, and
//! `jsonwebtoken` takes its cryptography from one provider for the whole process, which is HMAC alone here: no token of
//! a client is judged by what is meant for operators.

use chappe_proto::limits::{PROVIDER_KEYS_MAX, PROVIDER_TOKEN_MAX};
use data_encoding::BASE64URL_NOPAD;
use ring::signature::{
    self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// A public key of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    id: Option<String>,
    /// The only algorithm that it is for, where it says one.
    algorithm: Option<String>,
    of: KeyOf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum KeyOf {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    of: Option<String>,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

/// The keys of a JWK set that sign and are known here; none where it is no such set.
pub(super) fn keys(set: &[u8]) -> Option<Vec<Key>> {
    let set: Set = serde_json::from_slice(set).ok()?;
    let keys = set.keys.into_iter().filter_map(|key| key_of(serde_json::from_value(key).ok()?));
    Some(keys.take(PROVIDER_KEYS_MAX).collect())
}

fn key_of(jwk: Jwk) -> Option<Key> {
    let bytes = |text: &str| BASE64URL_NOPAD.decode(text.trim_end_matches('=').as_bytes()).ok();
    // As SEC 1 section 2.3.3 has it, uncompressed.
    let point = |size: usize| {
        let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
        (x.len() == size && y.len() == size).then(|| [vec![4], x, y].concat())
    };
    let of = match (jwk.kty.as_str(), jwk.crv.as_str()) {
        ("RSA", _) => {
            // Some put a zero before it.
            let n = bytes(&jwk.n)?.into_iter().skip_while(|byte| *byte == 0).collect();
            KeyOf::Rsa { n, e: bytes(&jwk.e)? }
        }
        ("EC", "P-256") => KeyOf::P256(point(32)?),
        ("EC", "P-384") => KeyOf::P384(point(48)?),
        ("OKP", "Ed25519") => KeyOf::Ed25519(bytes(&jwk.x)?),
        _ => return None,
    };
    let signs = jwk.of.is_none_or(|of| of == "sig");
    signs.then_some(Key { id: jwk.kid, algorithm: jwk.alg, of })
}

/// What an ID token's header says of its signature.
#[derive(Debug, Deserialize)]
pub(super) struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// A token, taken apart and not yet believed.
pub(super) struct Unverified<'a> {
    header: Header,
    signed: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart.
    pub(super) fn of(token: &'a str) -> Result<Self, &'static str> {
        const FORM: &str = "it is no signed JWT";
        if token.len() > PROVIDER_TOKEN_MAX {
            return Err("it is too long");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(FORM)?;
        let (header, claims) = signed.split_once('.').ok_or(FORM)?;
        let bytes = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| FORM);
        let header: Header = serde_json::from_slice(&bytes(header)?).map_err(|_| FORM)?;
        if header.crit.is_some() {
            return Err("it asks for what is not known here (crit)");
        }
        if !ALGORITHMS.contains(&header.alg.as_str()) {
            return Err(
                "it is not signed by an algorithm that is taken here: RS256, PS256, ES256, EdDSA and their \
                        longer ones",
            );
        }
        Ok(Self { header, signed, claims, signature: bytes(signature)? })
    }

    /// The claims, where one of these keys has signed them; none where none is the one that the header names.
    pub(super) fn verify(&self, keys: &[Key]) -> Option<Result<Map<String, Value>, &'static str>> {
        let named = |key: &&Key| {
            let id = self.header.kid.is_none() || key.id == self.header.kid;
            id && key.algorithm.as_ref().is_none_or(|only| *only == self.header.alg)
        };
        let mut named = keys.iter().filter(named).peekable();
        named.peek()?;
        if !named.any(|key| key.of.signed(&self.header.alg, self.signed.as_bytes(), &self.signature)) {
            return Some(Err("its signature is not of the provider's key"));
        }
        let claims = BASE64URL_NOPAD.decode(self.claims.as_bytes()).ok();
        let claims = claims.and_then(|claims| serde_json::from_slice(&claims).ok());
        Some(claims.ok_or("its claims are no JSON object"))
    }
}

/// Asymmetric ones alone: `none`, and HMAC by what others know too, prove nothing.
const ALGORITHMS: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

fn rsa(algorithm: &str) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
        "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
        "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

impl KeyOf {
    fn signed(&self, algorithm: &str, message: &[u8], tag: &[u8]) -> bool {
        let by = |of: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(of, key).verify(message, tag).is_ok()
        };
        match (self, algorithm) {
            (Self::Rsa { n, e }, algorithm) => rsa(algorithm)
                .is_some_and(|of| RsaPublicKeyComponents { n, e }.verify(of, message, tag).is_ok()),
            (Self::P256(key), "ES256") => by(&signature::ECDSA_P256_SHA256_FIXED, key),
            (Self::P384(key), "ES384") => by(&signature::ECDSA_P384_SHA384_FIXED, key),
            (Self::Ed25519(key), "EdDSA") => by(&signature::ED25519, key),
            _ => false,
        }
    }
}
