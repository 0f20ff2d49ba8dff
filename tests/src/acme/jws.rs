//! What each request is: a JWS by the account's key, over its URL and a nonce (RFC 8555 section 6.2).

use data_encoding::BASE64URL_NOPAD;
use ring::digest::{SHA256, digest};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};

/// A request whose form is right; its signature is looked at once its key is known.
pub(super) struct Jws {
    pub(super) protected: Value,
    /// `None` for the empty payload of POST-as-GET.
    pub(super) payload: Option<Value>,
    signed: String,
    signature: Vec<u8>,
}

/// A public key on P-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    x: Vec<u8>,
    y: Vec<u8>,
}

fn decoded(text: &Value) -> Result<Vec<u8>, String> {
    let text = text.as_str().ok_or("a part is missing")?;
    BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|error| error.to_string())
}

impl Jws {
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        let whole: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let object = |bytes: &[u8]| serde_json::from_slice(bytes).map_err(|error| error.to_string());
        let payload = decoded(&whole["payload"])?;
        Ok(Self {
            protected: object(&decoded(&whole["protected"])?)?,
            payload: if payload.is_empty() { None } else { Some(object(&payload)?) },
            signed: format!(
                "{}.{}",
                whole["protected"].as_str().unwrap_or_default(),
                whole["payload"].as_str().unwrap_or_default()
            ),
            signature: decoded(&whole["signature"])?,
        })
    }

    pub(super) fn verify(&self, key: &Key) -> Result<(), String> {
        if self.protected["alg"] != "ES256" {
            return Err(format!("alg {}", self.protected["alg"]));
        }
        let point = [&[4][..], &key.x, &key.y].concat();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        key.verify(self.signed.as_bytes(), &self.signature).map_err(|_| "the signature is wrong".to_owned())
    }
}

impl Key {
    /// Of a JWK (RFC 7517).
    pub(super) fn read(jwk: &Value) -> Result<Self, String> {
        if jwk["kty"] != "EC" || jwk["crv"] != "P-256" {
            return Err(format!("{jwk} is no key on P-256"));
        }
        Ok(Self { x: decoded(&jwk["x"])?, y: decoded(&jwk["y"])? })
    }

    /// Its thumbprint (RFC 7638), which is in every key authorization.
    pub(super) fn thumbprint(&self) -> String {
        let part = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        // Members in the order of their names, as serde_json's map has them.
        let text = json!({ "crv": "P-256", "kty": "EC", "x": part(&self.x), "y": part(&self.y) }).to_string();
        BASE64URL_NOPAD.encode(digest(&SHA256, text.as_bytes()).as_ref())
    }
}
