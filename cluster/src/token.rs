//! Checks the signature of a client's JWT and reads its claims; [`Claims::check`] judges them.

use chappe_proto::id::KeyId;
use chappe_proto::registry::State;
use chappe_proto::signal::code::{ErrorCode, Refusal};
use chappe_proto::signal::token::Claims;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::hmac;
use serde::{Deserialize, Serialize};
use signature::{Signer, Verifier};

/// HMAC-SHA256 by `ring`, which TLS brings anyway: the crate's own back ends would bring RSA and the
/// elliptic curves of another family.
struct Hs256(hmac::Key);

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(hmac::sign(&self.0, message).as_ref().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], tag: &Vec<u8>) -> Result<(), signature::Error> {
        hmac::verify(&self.0, message, tag).map_err(|_| signature::Error::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    match algorithm {
        Algorithm::HS256 => Ok(Box::new(Hs256(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    match algorithm {
        Algorithm::HS256 => Ok(Box::new(Hs256(hmac::Key::new(hmac::HMAC_SHA256, key.try_get_as_bytes()?)))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

fn install() {
    // A second installation is refused, and is ours.
    let _ = PROVIDER.install_default();
}

#[derive(Deserialize)]
struct Issuer {
    iss: KeyId,
}

/// The claims of a token that a key of the registry signed.
///
/// # Errors
/// `token_invalid`, whatever is wrong with it: which part is of no use to an honest client.
pub fn verify(token: &str, state: &State) -> Result<Claims, Refusal> {
    install();
    let invalid = |why: &str| Refusal::new(ErrorCode::TokenInvalid, why);
    let Issuer { iss } = jsonwebtoken::dangerous::insecure_decode_claims(token)
        .map_err(|_| invalid("not a JWT whose `iss` is an API key (k_…)"))?;
    let key = state.key(&iss).filter(|key| !key.disabled).ok_or_else(|| invalid("iss: no such API key"))?;
    let mut validation = Validation::new(Algorithm::HS256);
    // `Claims::check` judges these by the node's own clock.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_secret(&key.secret.0), &validation)
        .map(|data| data.claims)
        .map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => invalid("the signature is not of that API key's secret"),
            ErrorKind::InvalidAlgorithm => invalid("alg: must be HS256"),
            _ => invalid("a claim is missing or of the wrong kind (PROTOCOL.md section 4)"),
        })
}

/// Signs claims with a secret: what an app's server does, and tests and tools here.
///
/// # Errors
/// When the claims cannot be written as JSON.
pub fn sign<T: Serialize>(claims: &T, secret: &[u8]) -> Result<String, Error> {
    install();
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret))
}
