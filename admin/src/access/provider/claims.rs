//! What an ID token says of somebody (OpenID Connect Core 1.0, section 3.1.3.7), once its signature is checked.

use chappe_proto::limits::{PROVIDER_LEEWAY, PROVIDER_SUBJECT_MAX};
use chappe_proto::registry::access::{ProviderPlan, Role};
use chappe_proto::time::Unix;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;

use super::denied::Denied;

/// Somebody, as the provider knows them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Claims {
    /// What it calls them for ever.
    pub(super) subject: String,
    /// What it calls them now.
    pub(super) name: String,
    all: Map<String, Value>,
}

impl Claims {
    /// Checks for whom, by whom and when a token was made.
    pub(super) fn of(
        all: Map<String, Value>,
        plan: &ProviderPlan,
        nonce: &str,
        now: Unix,
    ) -> Result<Self, Denied> {
        let must = |fine: bool, words| if fine { Ok(()) } else { Err(Denied::Token(words)) };
        let text = |name: &str| all.get(name).and_then(Value::as_str);
        must(text("iss") == Some(plan.issuer.as_str()), "iss: another provider has made it")?;
        let client = Some(plan.client.as_str());
        let many = all.get("aud").and_then(Value::as_array);
        let ours = many.map_or(text("aud") == client, |many| many.iter().any(|one| one.as_str() == client));
        must(ours, "aud: it is not for this console")?;
        let alone = many.is_none_or(|many| many.len() <= 1);
        let party = all.get("azp");
        must(party.map_or(alone, |party| party.as_str() == client), "azp: it was made for another")?;
        let (now, leeway) = (seconds(now), PROVIDER_LEEWAY.as_secs_f64());
        let time = |name: &str| all.get(name).and_then(Value::as_f64);
        must(time("exp").is_some_and(|until| now < until + leeway), "exp: it has expired")?;
        must(
            time("iat").is_some_and(|at| at <= now + leeway),
            "iat: it is of a time to come: compare the clocks",
        )?;
        must(
            time("nbf").is_none_or(|from| from <= now + leeway),
            "nbf: it is not good yet: compare the clocks",
        )?;
        let same = text("nonce").is_some_and(|held| held.as_bytes().ct_eq(nonce.as_bytes()).into());
        must(same, "nonce: it was made for another login")?;
        let subject = text("sub").filter(|held| (1..=PROVIDER_SUBJECT_MAX).contains(&held.len()));
        let subject = subject.ok_or(Denied::Token("sub: it names nobody"))?.to_owned();
        let filled = |name: &str| text(name).filter(|held| !held.is_empty());
        let name = filled("preferred_username").or_else(|| filled("email")).unwrap_or(&subject).to_owned();
        Ok(Self { subject, name, all })
    }

    /// What they may do.
    pub(super) fn role(&self, plan: &ProviderPlan) -> Result<Role, Denied> {
        if let Some(domain) = &plan.domain {
            let mail = self.all.get("email").and_then(Value::as_str).map(str::to_ascii_lowercase);
            let within = mail.as_deref().and_then(|mail| mail.rsplit_once('@'));
            // Some write it as a text.
            let verified = self.all.get("email_verified");
            let verified = verified.is_some_and(|held| *held == true || *held == "true");
            if !verified || within.is_none_or(|(_, of)| of != domain) {
                return Err(Denied::Domain(domain.clone()));
            }
        }
        plan.role_of(values(&self.all, &plan.claim)).ok_or(Denied::NoRole)
    }
}

#[allow(clippy::cast_precision_loss, reason = "seconds of this era")]
fn seconds(now: Unix) -> f64 {
    now.secs() as f64
}

/// The texts of a claim: by its name, or by a path of names.
fn values<'a>(all: &'a Map<String, Value>, claim: &str) -> Vec<&'a str> {
    let by_path = || {
        let mut names = claim.split('.');
        let first = all.get(names.next()?)?;
        names.try_fold(first, |held, name| held.get(name))
    };
    match all.get(claim).or_else(by_path) {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}
