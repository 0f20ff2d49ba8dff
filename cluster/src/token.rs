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

#[cfg(test)]
mod tests {
    use super::*;
    use chappe_proto::id::{AppId, Index};
    use chappe_proto::mesh::uplink::Secret;
    use chappe_proto::registry::{AppPolicy, Command, Entry};
    use chappe_proto::time::Unix;

    const SECRET: &[u8] = b"a secret of thirty-two characters";

    /// A registry with one API key.
    fn registry() -> (State, KeyId) {
        let (app, key) = (AppId::new("app").unwrap(), KeyId::from_random([1; 15]));
        let mut state = State::default();
        let policy = AppPolicy::default();
        apply(&mut state, Command::AppAdd { app: app.clone(), name: "App".to_owned(), policy });
        apply(&mut state, Command::KeyAdd { app, key, secret: Secret(SECRET.to_vec()) });
        (state, key)
    }

    fn apply(state: &mut State, command: Command) {
        let index = Index(state.index().0 + 1);
        state
            .apply(index, Entry { at: Unix::from_secs(1), by: None, note: None, command })
            .accepted()
            .unwrap();
    }

    fn token(key: KeyId, secret: &[u8]) -> String {
        let claims = serde_json::json!({
            "iss": key, "aud": "chappe", "exp": 9_999_999_999_u64, "room": "room", "grants": ["join"],
        });
        sign(&claims, secret).unwrap()
    }

    #[test]
    fn a_key_signs_until_it_is_disabled_or_removed() {
        let (mut state, key) = registry();
        let token = token(key, SECRET);
        assert_eq!(verify(&token, &state).unwrap().iss, key);
        apply(&mut state, Command::KeySet { key, disabled: true });
        assert_eq!(verify(&token, &state).unwrap_err().code, ErrorCode::TokenInvalid);
        apply(&mut state, Command::KeySet { key, disabled: false });
        assert!(verify(&token, &state).is_ok());
        apply(&mut state, Command::KeyRemove { key });
        assert_eq!(verify(&token, &state).unwrap_err().code, ErrorCode::TokenInvalid);
    }

    #[test]
    fn another_secret_or_a_changed_claim_is_refused() {
        let (state, key) = registry();
        assert!(verify(&token(key, b"another secret of some thirty-two"), &state).is_err());
        let good = token(key, SECRET);
        let (head, rest) = good.split_once('.').unwrap();
        let (claims, signature) = rest.split_once('.').unwrap();
        let claims = data_encoding::BASE64URL_NOPAD.decode(claims.as_bytes()).unwrap();
        let forged = String::from_utf8(claims).unwrap().replace("\"join\"", "\"admin\"");
        let forged = data_encoding::BASE64URL_NOPAD.encode(forged.as_bytes());
        assert!(verify(&format!("{head}.{forged}.{signature}"), &state).is_err());
        for cut in [0, 1, good.len() / 2, good.len() - 1] {
            assert!(verify(&good[..cut], &state).is_err());
        }
    }
}
