//! Who may: operators by a cookie of their login, programs by an access token or the cluster's own token, an app's
//! server by its API key.
//!
//! A handler's first argument says who may call it: [`Viewer`], [`Operator`], [`Owner`], or [`OfApp`] where the
//! path is of an app, whose own keys may call it then too.

pub(crate) mod asker;
pub(crate) mod cookies;
pub(crate) mod gate;
mod identify;
mod passwords;
pub(crate) mod provider;
pub(crate) mod secret;
#[cfg(test)]
mod tests;
mod throttle;

use std::future::{Ready, ready};
use std::ops::Deref;

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::{FromRequest, HttpRequest};
use chappe_proto::id::{AccessTokenId, AppId, KeyId, LoginId, OperatorName};
use chappe_proto::limits::AUDIT_TEXT_MAX;
use chappe_proto::registry::Note;
use chappe_proto::registry::access::Role;

use crate::Mount;
use crate::api::problem::Problem;

pub use asker::Asker;
pub(crate) use identify::TOKEN_PREFIX;
pub(crate) use passwords::check as check_password;

/// By what somebody was known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Means {
    /// The cluster's own token.
    Cluster,
    /// A login at the console.
    Login(LoginId),
    /// An access token.
    Token(AccessTokenId),
    /// An app's API key.
    Key(KeyId),
}

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    /// As the audit log has it.
    pub(crate) who: String,
    /// The operator; none where the cluster's own token asks, a token of its, or an app's key.
    pub(crate) operator: Option<OperatorName>,
    /// What it may do.
    pub(crate) role: Role,
    /// By what it was known.
    pub(crate) by: Means,
    /// The only app that it may touch, where it is an app's key.
    pub(crate) app: Option<AppId>,
    /// What requests that change something carry in `Chappe-Csrf`, where a cookie makes them.
    pub(crate) csrf: Option<String>,
    /// The address that it came from.
    pub(crate) from: String,
}

impl Principal {
    /// A line of the audit log: what is done, in words for operators, and never a secret.
    pub(crate) fn note(&self, what: &str) -> Note {
        note(&self.who, what, &self.from)
    }

    /// Who decided something, as they are shown it: apps' servers know their own keys, and no operators by name.
    pub(crate) fn shown(&self, by: String) -> String {
        // No operator's name is one of a key and other words.
        if self.app.is_none() || by.starts_with("key k_") { by } else { "an operator".to_owned() }
    }

    /// Whether they still may what they might when they asked, and by the same means: of what goes on for long.
    pub(crate) fn still(&self, mount: &Mount) -> bool {
        let (access, now) = (mount.cluster.access(), mount.cluster.now().unix);
        let role = match self.by {
            Means::Cluster => Some(Role::Owner),
            Means::Token(id) => access.token(&id).and_then(|held| access.role_of(held, now)),
            Means::Login(id) => {
                let login = access.login(&id).filter(|held| held.holds(now));
                let operator = login.and_then(|held| access.operator(&held.operator));
                operator.filter(|held| !held.disabled).map(|held| held.role)
            }
            Means::Key(id) => {
                let key = mount.cluster.api_key(id).filter(|key| !key.disabled);
                key.filter(|key| Some(&key.app) == self.app.as_ref()).map(|_| self.role)
            }
        };
        role.is_some_and(|role| role >= self.role)
    }

    fn at_least(self, role: Role) -> Result<Self, Problem> {
        if self.app.is_some() {
            let own = "an app's API key opens what is under its own app's path alone".to_owned();
            return Err(Problem::Forbidden(own));
        }
        if self.role < role {
            return Err(Problem::Forbidden(format!(
                "{} has the role {}: this takes {role}; an owner can give it (Operators)",
                self.who, self.role
            )));
        }
        Ok(self)
    }
}

/// A line of the audit log, cut to what one holds.
pub(crate) fn note(who: &str, what: &str, from: &str) -> Note {
    let cut = |text: &str| text[..text.floor_char_boundary(AUDIT_TEXT_MAX)].to_owned();
    Note { who: cut(who), what: cut(what), from: cut(from) }
}

/// Whoever was known: roles are asked for by the types below.
impl FromRequest for Principal {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(identify::principal(request))
    }
}

/// Defines the proof that somebody has a role.
macro_rules! role {
    ($(#[$doc:meta])* $name:ident, $role:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub(crate) struct $name(pub(crate) Principal);

        impl Deref for $name {
            type Target = Principal;
            fn deref(&self) -> &Principal {
                &self.0
            }
        }

        impl FromRequest for $name {
            type Error = Problem;
            type Future = Ready<Result<Self, Problem>>;

            fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
                ready(identify::principal(request).and_then(|who| who.at_least($role)).map(Self))
            }
        }
    };
}

role!(
    /// Proof that the request comes from somebody who may look.
    Viewer,
    Role::Viewer
);
role!(
    /// From somebody who may act: drain, kick, issue, close.
    Operator,
    Role::Operator
);
role!(
    /// From somebody who decides of operators, keys, secrets, tokens, the authority.
    Owner,
    Role::Owner
);

/// Proof that the request is about an app, which the path names as `{app}`, and comes from that app's key or from
/// somebody who may do so with any app: look by GET and HEAD, act by everything else.
#[derive(Debug, Clone)]
pub(crate) struct OfApp(pub(crate) Principal);

impl Deref for OfApp {
    type Target = Principal;
    fn deref(&self) -> &Principal {
        &self.0
    }
}

impl FromRequest for OfApp {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let looks = matches!(*request.method(), Method::GET | Method::HEAD);
        let of = |who: Principal| {
            let Some(own) = &who.app else {
                return who.at_least(if looks { Role::Viewer } else { Role::Operator });
            };
            // As it is matched against the route, so as handlers get it.
            let asked = actix_web::web::Path::<AppPath>::extract(request).into_inner();
            match asked {
                Ok(path) if path.app == own.as_str() => Ok(who),
                _ => Err(Problem::NotFound("app")),
            }
        };
        ready(identify::principal(request).and_then(of).map(Self))
    }
}

#[derive(serde::Deserialize)]
struct AppPath {
    app: String,
}
