//! An OpenID provider in memory, which says what a test has it say.

use std::sync::{Arc, Mutex};

use chappe_proto::time::Unix;
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::cluster::elsewhere::{WebAnswer, WebRequest};
use crate::memory::Memory;

pub(super) const ISSUER: &str = "https://id.example/realms/x";
pub(super) const SECRET: &str = "s3cret of chappe";

/// What it says of itself, its keys, and to whoever has a code: status and body.
pub(super) struct Told {
    pub(super) metadata: Value,
    pub(super) keys: Value,
    pub(super) token: (u16, Value),
}

pub(super) struct Idp {
    ec: EcdsaKeyPair,
    rsa: RsaKeyPair,
    pub(super) told: Arc<Mutex<Told>>,
}

fn text(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

impl Idp {
    /// One that this cluster reaches.
    pub(super) fn new(memory: &Memory) -> Self {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).unwrap();
        let rsa = RsaKeyPair::from_pkcs8(include_bytes!("../provider.pk8")).unwrap();
        let metadata = json!({
            "issuer": ISSUER,
            "authorization_endpoint": format!("{ISSUER}/auth"),
            "token_endpoint": format!("{ISSUER}/token"),
            "jwks_uri": format!("{ISSUER}/certs"),
            "authorization_response_iss_parameter_supported": true,
        });
        let told = Told { metadata, keys: json!({ "keys": [] }), token: (500, Value::Null) };
        let idp = Self { ec, rsa, told: Arc::new(Mutex::new(told)) };
        idp.told.lock().unwrap().keys = idp.keys();
        let told = Arc::clone(&idp.told);
        memory.serves(move |request| answer(&told.lock().unwrap(), request));
        idp
    }

    fn keys(&self) -> Value {
        let point = self.ec.public_key().as_ref();
        let rsa: PublicKeyComponents<Vec<u8>> = self.rsa.public().into();
        json!({ "keys": [
            { "kty": "oct", "kid": "hmac", "k": "AAAA" },
            { "kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig", "x": text(&point[1..33]), "y": text(&point[33..]) },
            { "kty": "RSA", "kid": "rsa", "alg": "RS256", "n": text(&[&[0], &*rsa.n].concat()), "e": text(&rsa.e) },
            { "kty": "RSA", "kid": "other", "use": "enc", "n": text(&rsa.n), "e": text(&rsa.e) },
        ] })
    }

    /// What a token of somebody says who has begun with this nonce.
    pub(super) fn claims(nonce: &str, now: Unix) -> Value {
        json!({
            "iss": ISSUER, "aud": "chappe", "sub": "u-1", "nonce": nonce, "iat": now.secs(), "exp": now.secs() + 300,
            "preferred_username": "Ada", "email": "ada@example.org", "email_verified": true, "groups": ["/admins"],
        })
    }

    pub(super) fn signed(&self, header: &Value, claims: &Value) -> String {
        let signed =
            format!("{}.{}", text(header.to_string().as_bytes()), text(claims.to_string().as_bytes()));
        let random = SystemRandom::new();
        let tag = match header["alg"].as_str().unwrap() {
            "ES256" => self.ec.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec(),
            "RS256" => {
                let mut tag = vec![0; self.rsa.public().modulus_len()];
                self.rsa.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut tag).unwrap();
                tag
            }
            // By what everybody knows: the public key.
            "HS256" => {
                let rsa: PublicKeyComponents<Vec<u8>> = self.rsa.public().into();
                let mut mac = Hmac::<Sha256>::new_from_slice(&rsa.n).unwrap();
                mac.update(signed.as_bytes());
                mac.finalize().into_bytes().to_vec()
            }
            _ => Vec::new(),
        };
        format!("{signed}.{}", text(&tag))
    }

    /// Whoever has a code gets this token for it.
    pub(super) fn gives(&self, token: &str) {
        self.told.lock().unwrap().token = (200, json!({ "id_token": token, "token_type": "Bearer" }));
    }
}

fn answer(told: &Told, request: &WebRequest) -> Result<WebAnswer, String> {
    let (status, body) = match request.url.strip_prefix(ISSUER) {
        Some("/.well-known/openid-configuration") => (200, told.metadata.clone()),
        Some("/certs") => (200, told.keys.clone()),
        Some("/token") => told.token.clone(),
        _ => return Err(format!("nobody is at {}", request.url)),
    };
    Ok(WebAnswer { status, body: body.to_string().into_bytes() })
}
