//! Passwords: argon2id with 46 MiB, one pass and one lane (OWASP Password Storage), on threads that may block, a few
//! at once.

use std::sync::Arc;

use actix_web::rt::task::spawn_blocking;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use chappe_proto::limits::{
    HASHES_OF_KNOWN, HASHES_OF_STRANGERS, HASHES_WAITING, PASSWORD_ADVISED, PASSWORD_MAX, PASSWORD_MIN,
};
use chappe_proto::mesh::uplink::Secret;
use tokio::sync::Semaphore;

use super::secret::random;
use crate::api::problem::Problem;

/// KiB of memory, passes, lanes.
const COST: (u32, u32, u32) = (47_104, 1, 1);

/// Verified where there is no such operator, so that the answer takes as long: of a password that nobody has.
const NOBODY: &str =
    "$argon2id$v=19$m=47104,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Checks the form of a new password: a length and nothing else (OWASP ASVS 5.0, 6.2.5 forbids rules of composition).
///
/// # Errors
/// With what to do.
pub(crate) fn check(password: &str) -> Result<(), Problem> {
    if (PASSWORD_MIN..=PASSWORD_MAX).contains(&password.chars().count()) {
        return Ok(());
    }
    let fix = format!(
        "{PASSWORD_MIN} to {PASSWORD_MAX} characters; {PASSWORD_ADVISED} and more are advised, and any will do"
    );
    Err(Problem::Field { field: "password", fix })
}

/// Who waits for whom: strangers never for those who are known, nor the other way round.
pub(super) struct Hashing {
    strangers: Arc<Semaphore>,
    known: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Hashing {
    fn default() -> Self {
        let of = |permits| Arc::new(Semaphore::new(permits));
        Self { strangers: of(HASHES_OF_STRANGERS), known: of(HASHES_OF_KNOWN), waiting: of(HASHES_WAITING) }
    }
}

fn busy() -> Problem {
    Problem::NotNow("too many log in at once; try again in a few seconds".to_owned())
}

impl Hashing {
    /// Runs something that takes a core and 46 MiB for a while.
    async fn run<T: Send + 'static>(
        &self,
        known: bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        // Strangers alone can be too many: the known are counted one by one.
        let waiting = if known {
            None
        } else {
            Some(Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| busy())?)
        };
        let gate = if known { &self.known } else { &self.strangers };
        let permit = Arc::clone(gate).acquire_owned().await.map_err(|_| busy())?;
        let done = spawn_blocking(move || {
            // Held until it is done, also where nobody waits for it any more.
            let _held = (permit, waiting);
            work()
        });
        done.await.map_err(|_| busy())
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// As [`check`]; where this node has no randomness or no time.
    pub(super) async fn hash(&self, password: String) -> Result<Secret, Problem> {
        check(&password)?;
        let salt: [u8; 16] = random()?;
        let hashed = self.run(true, move || -> Option<Secret> {
            let (memory, passes, lanes) = COST;
            let params = Params::new(memory, passes, lanes, None).ok()?;
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            let hash: PasswordHash = argon2.hash_password_with_salt(password.as_bytes(), &salt).ok()?;
            Some(Secret(hash.to_string().into_bytes()))
        });
        hashed.await?.ok_or_else(|| Problem::NotNow("the password cannot be hashed here".to_owned()))
    }

    /// Whether a password is the one of this hash; of none, it is not, and takes as long.
    ///
    /// # Errors
    /// Where too many ask at once.
    pub(super) async fn verify(
        &self,
        password: String,
        held: Option<Secret>,
        known: bool,
    ) -> Result<bool, Problem> {
        // A longer one is nobody's.
        let fits = password.len() <= 4 * PASSWORD_MAX;
        self.run(known, move || {
            let is_there = held.is_some() && fits;
            let held = held.unwrap_or_else(|| Secret(NOBODY.as_bytes().to_vec()));
            let hash = std::str::from_utf8(&held.0).ok().and_then(|text| PasswordHash::new(text).ok());
            let given = if fits { password.as_bytes() } else { b"" };
            let fine = hash.is_some_and(|hash| Argon2::default().verify_password(given, &hash).is_ok());
            fine && is_there
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn a_password_opens_its_own_hash_alone() {
        let hashing = Hashing::default();
        let hash = hashing.hash("correct horse battery".to_owned()).await.unwrap();
        let text = String::from_utf8(hash.0.clone()).unwrap();
        assert!(text.starts_with("$argon2id$v=19$m=47104,t=1,p=1$"), "{text}");
        assert!(text.len() <= chappe_proto::limits::PASSWORD_HASH_MAX);
        let verify = async |password: &str, held: Option<&Secret>| {
            hashing.verify(password.to_owned(), held.cloned(), false).await.unwrap()
        };
        assert!(verify("correct horse battery", Some(&hash)).await);
        assert!(!verify("correct horse batterz", Some(&hash)).await);
        assert!(!verify("correct horse battery", None).await);
        assert!(!verify("", None).await, "nobody has no password");
        assert!(!verify(&"x".repeat(10_000), Some(&hash)).await);
        let other = hashing.hash("correct horse battery".to_owned()).await.unwrap();
        assert_ne!(hash, other, "salted");
    }

    #[test]
    fn nobody_has_a_hash_of_the_same_cost() {
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let (memory, passes, lanes) = COST;
        for (name, cost) in [("m", memory), ("t", passes), ("p", lanes)] {
            assert_eq!(nobody.params.get_decimal(name), Some(cost));
        }
    }

    #[test]
    fn a_length_is_all_that_is_asked() {
        for fine in ["aaaaaaaa", "pass word", "ünïcödé!", &"x".repeat(128)] {
            assert!(check(fine).is_ok(), "{fine}");
        }
        for wrong in ["", "1234567", &"x".repeat(129)] {
            assert!(check(wrong).unwrap_err().to_string().contains("8 to 128"), "{wrong}");
        }
    }

    #[actix_rt::test]
    async fn strangers_do_not_keep_the_known_waiting() {
        let hashing = Hashing::default();
        let all = u32::try_from(HASHES_OF_STRANGERS).unwrap();
        let _strangers = hashing.strangers.try_acquire_many(all).unwrap();
        assert!(!hashing.verify("x".to_owned(), None, true).await.unwrap());
        let waiting = u32::try_from(HASHES_WAITING).unwrap();
        let _waiting = hashing.waiting.try_acquire_many(waiting).unwrap();
        let refused = hashing.verify("x".to_owned(), None, false).await.unwrap_err();
        assert!(refused.to_string().contains("try again"));
    }
}
