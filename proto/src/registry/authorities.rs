//! The cluster's own certificate authorities: the newest certifies, all of them are trusted.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Numbered, Outcome, Refusal, State, Thing};
use crate::limits::{AUTHORITY_CERTIFICATE_MAX, AUTHORITY_KEY_MAX};
use crate::mesh::uplink::{Certificate, Secret};

/// An authority: its certificate, and the key with which nodes certify in its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// Its certificate.
    pub certificate: Certificate,
    /// Its private key, PKCS #8, DER.
    pub key: Secret,
}

impl Numbered<Authority> {
    /// Their certificates.
    pub(super) fn certificates(&self) -> BTreeMap<u64, Certificate> {
        self.all().iter().map(|(number, authority)| (*number, authority.certificate.clone())).collect()
    }
}

impl State {
    /// The authorities by their number: the highest certifies.
    #[must_use]
    pub fn authorities(&self) -> &Numbered<Authority> {
        &self.authorities
    }

    pub(super) fn authority_add(
        &mut self,
        number: u64,
        certificate: Vec<u8>,
        key: Secret,
    ) -> Result<Outcome, Refusal> {
        // What is in them is for those to judge who read certificates.
        let certificate_fits = (1..=AUTHORITY_CERTIFICATE_MAX).contains(&certificate.len());
        if !certificate_fits || !(1..=AUTHORITY_KEY_MAX).contains(&key.0.len()) {
            return Err(Refusal::Invalid(Thing::Authority));
        }
        let authority = Authority { certificate: Certificate(certificate), key };
        Arc::make_mut(&mut self.authorities).add(Thing::Authority, number, authority)
    }
}
