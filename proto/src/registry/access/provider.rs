//! Logins by an OpenID provider: how it is asked, which of its people may come, and as what.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Access, NewLogin, Role};
use crate::hooks::url::Target;
use crate::id::{Index, LoginId, OperatorName};
use crate::limits::{
    PROVIDER_LABEL_MAX, PROVIDER_RULES_MAX, PROVIDER_SCOPES_MAX, PROVIDER_SEAL_BYTES, PROVIDER_SECRET_MAX,
    PROVIDER_SUBJECT_MAX, PROVIDER_TEXT_MAX,
};
use crate::mesh::uplink::Secret;
use crate::registry::{Refusal, Thing};
use crate::time::Unix;

/// How an OpenID provider is asked, and what its people may do here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderPlan {
    /// Its issuer identifier (OpenID Connect Discovery 1.0), exactly as its tokens have it in `iss`.
    pub issuer: String,
    /// What it calls this console.
    pub client: String,
    /// The word on the button.
    pub label: String,
    /// Where browsers open the console, an origin: `https://chappe.example`.
    pub console: String,
    /// What is asked for beyond `openid`.
    pub scopes: Vec<String>,
    /// The claim of the ID token that gives roles: a name, or a path of names with dots between.
    pub claim: String,
    /// The roles that its values give.
    pub roles: BTreeMap<String, Role>,
    /// The role of everybody whom no value gives one.
    pub everybody: Option<Role>,
    /// The only domain of addresses of mail, verified by the provider, that may come.
    pub domain: Option<String>,
}

impl ProviderPlan {
    /// Checks the form of all of it.
    ///
    /// # Errors
    /// The field that is wrong, and what to do.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let text = |field, text: &str, max: usize| {
            let fine = !text.is_empty() && text.len() <= max && !text.chars().any(char::is_control);
            if fine { Ok(()) } else { Err((field, format!("1 to {max} bytes without control characters"))) }
        };
        let issuer = Target::of(&self.issuer).map_err(|bad| ("issuer", bad.to_string()))?;
        if issuer.path.contains('?') {
            return Err(("issuer", "leave out what follows the `?`: an issuer has none".to_owned()));
        }
        let console = Target::of(&self.console).map_err(|bad| ("console_url", bad.to_string()))?;
        if !console.path.is_empty() {
            return Err(("console_url", "an origin without a path, as https://chappe.example".to_owned()));
        }
        text("client_id", &self.client, PROVIDER_TEXT_MAX)?;
        text("label", &self.label, PROVIDER_LABEL_MAX)?;
        text("roles_claim", &self.claim, PROVIDER_TEXT_MAX)?;
        // RFC 6749 section 3.3.
        let scope = |b: u8| b.is_ascii_graphic() && !b"\"\\".contains(&b);
        let named =
            |held: &String| !held.is_empty() && held.len() <= PROVIDER_LABEL_MAX && held.bytes().all(scope);
        if self.scopes.len() > PROVIDER_SCOPES_MAX || !self.scopes.iter().all(named) {
            return Err(("scopes", format!("{PROVIDER_SCOPES_MAX} names at most, without spaces in them")));
        }
        if self.roles.len() > PROVIDER_RULES_MAX {
            return Err((
                "roles",
                format!("{PROVIDER_RULES_MAX} values at most: let the provider group people"),
            ));
        }
        self.roles.keys().try_for_each(|value| text("roles", value, PROVIDER_TEXT_MAX))?;
        if self.roles.is_empty() && self.everybody.is_none() {
            return Err((
                "roles",
                "give a role to a value, or one to everybody: else nobody comes in".to_owned(),
            ));
        }
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b);
        let domain = |held: &String| (1..=253).contains(&held.len()) && held.bytes().all(letter);
        if !self.domain.as_ref().is_none_or(domain) {
            return Err(("email_domain", "a name in lower case, as example.org".to_owned()));
        }
        Ok(())
    }

    /// The role of somebody whose claim has these values: the highest that one of them gives.
    #[must_use]
    pub fn role_of<'a>(&self, values: impl IntoIterator<Item = &'a str>) -> Option<Role> {
        let given = values.into_iter().filter_map(|value| self.roles.get(value).copied()).max();
        given.or(self.everybody)
    }

    /// Where the provider sends people back to: registered there.
    #[must_use]
    pub fn redirect(&self) -> String {
        format!("{}/admin/login/callback", self.console)
    }
}

/// The provider by which operators log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// How it is.
    pub plan: ProviderPlan,
    /// By which this console is known to it.
    pub secret: Secret,
    /// Since when it has that.
    pub secret_since: Unix,
    /// Seals what a browser keeps while somebody is with the provider: [`PROVIDER_SEAL_BYTES`].
    pub seal: Secret,
    /// The entry that changed it last.
    pub changed: Index,
}

/// Whom a provider knows an operator as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct External {
    /// The provider's issuer identifier.
    pub issuer: String,
    /// What it calls them: never given to another (OpenID Connect Core 1.0 section 2).
    pub subject: String,
}

/// Somebody whom the provider has sent back.
pub(super) struct Arrival {
    pub(super) id: LoginId,
    pub(super) login: NewLogin,
    pub(super) subject: String,
    pub(super) role: Role,
    pub(super) since: Index,
    pub(super) replaces: Option<LoginId>,
}

impl Access {
    /// The provider by which operators log in, if there is one.
    #[must_use]
    pub const fn provider(&self) -> Option<&Arc<Provider>> {
        self.provider.as_ref()
    }

    /// Who is known to a provider so.
    #[must_use]
    pub fn operator_of(&self, external: &External) -> Option<&OperatorName> {
        let known = |held: &super::Operator| held.external.as_ref() == Some(external);
        self.operators().find(|(_, held)| known(held)).map(|(name, _)| name)
    }

    pub(super) fn provider_set(
        &mut self,
        plan: ProviderPlan,
        secret: Option<Secret>,
        seal: Secret,
        index: Index,
        now: Unix,
    ) -> Result<(), Refusal> {
        plan.check().map_err(|_| Refusal::Invalid(Thing::Provider))?;
        // A secret is told to nobody but the provider that gave it.
        let held = self.provider.as_deref();
        let held = held.filter(|held| held.plan.issuer == plan.issuer && held.plan.client == plan.client);
        let (secret, secret_since) = match (secret, held) {
            (Some(secret), _) => (secret, now),
            (None, Some(held)) => (held.secret.clone(), held.secret_since),
            (None, None) => return Err(Refusal::Invalid(Thing::Secret)),
        };
        let fine = (1..=PROVIDER_SECRET_MAX).contains(&secret.0.len()) && seal.0.len() == PROVIDER_SEAL_BYTES;
        if !fine {
            return Err(Refusal::Invalid(Thing::Secret));
        }
        self.provider = Some(Arc::new(Provider { plan, secret, secret_since, seal, changed: index }));
        Ok(())
    }

    pub(super) fn provider_remove(&mut self) -> Result<(), Refusal> {
        self.provider.take().map(drop).ok_or(Refusal::Unknown(Thing::Provider))
    }

    /// The operator is made, or has the role that the provider gives it now, and is logged in: or nothing of it.
    pub(super) fn provider_login(
        &mut self,
        arrival: Arrival,
        index: Index,
        now: Unix,
    ) -> Result<(), Refusal> {
        let Arrival { id, login, subject, role, since, replaces } = arrival;
        let provider = self.provider.as_deref().ok_or(Refusal::Unknown(Thing::Provider))?;
        if provider.changed != since {
            return Err(Refusal::Changed(Thing::Provider));
        }
        if !(1..=PROVIDER_SUBJECT_MAX).contains(&subject.len()) {
            return Err(Refusal::Invalid(Thing::Login));
        }
        self.login_fits(&id, &login)?;
        let (name, external) =
            (login.operator.clone(), External { issuer: provider.plan.issuer.clone(), subject });
        match self.operator_of(&external) {
            Some(known) if *known != name => return Err(Refusal::Changed(Thing::Operator)),
            Some(_) => {
                if self.operator(&name).is_some_and(|held| held.disabled) {
                    return Err(Refusal::Changed(Thing::Operator));
                }
                self.operator_set(&name, role, false, None, index)?;
            }
            None => self.operator_add(name, role, super::operators::Means::External(external), index, now)?,
        }
        self.login_insert(id, login, replaces, true, now);
        Ok(())
    }
}
