//! Why somebody whom a provider sends back is not let in, in words for them.

use std::time::Duration;

use actix_web::http::StatusCode;
use chappe_proto::id::OperatorName;
use chappe_proto::registry::access::Role;

/// Why somebody is not let in, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("no identity provider is set up here: log in by name and password")]
    NotSetUp,
    #[error("the console is not open over HTTPS here: open it by https://…, or on this machine itself")]
    Plain,
    #[error("this login is over, was used already, or began in another browser: begin again")]
    Stale,
    #[error("the provider did not let you in ({0}): begin again, or ask whoever runs the provider")]
    Said(String),
    #[error(
        "this answer is of another provider than this console asked, or does not say of which: begin again; if it \
         happens again, an owner compares the issuer in Settings with the provider's"
    )]
    OtherIssuer,
    #[error("the provider cannot be asked now ({0}): try again, or log in by name and password")]
    Unreachable(String),
    #[error(
        "the provider does not take this console's client id and secret: an owner sets them anew (Settings, Identity \
         provider)"
    )]
    OwnSecret,
    #[error(
        "the provider's ID token is not good ({0}): begin again; if it happens again, an owner tests the provider \
             (Settings, Identity provider)"
    )]
    Token(&'static str),
    #[error(
        "the provider knows you, but gives you no role here: have yourself put into a group that has one, or ask an \
         owner of this cluster"
    )]
    NoRole,
    #[error(
        "people of {0} alone may come in, by an address of mail that the provider has verified: choose another \
         account, or ask an owner of this cluster"
    )]
    Domain(String),
    #[error("{0} is disabled here: an owner can enable you again (Operators)")]
    Disabled(OperatorName),
    #[error(
        "the provider makes you {0}, and you are the last owner: have another owner made first (`chappe admin invite \
         --role owner`), or be given the owner's role at the provider"
    )]
    LastOwner(Role),
    #[error("the name that the provider has for you is taken here: an owner removes or renames who has it")]
    NameTaken,
    #[error("there are as many operators as there may be: an owner removes some first")]
    Full,
    #[error("too many came back in vain from your address: try again in {} s", .0.as_secs().max(1))]
    TooOften(Duration),
    #[error("the cluster cannot decide now: try again")]
    Busy,
}

impl Denied {
    /// What a provider says by `error` (RFC 6749 section 4.1.2.1): in its form, whoever has written it.
    pub(super) fn said(error: &str) -> Self {
        let word = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        Self::Said(error.chars().filter(word).take(64).collect())
    }

    /// As it is answered.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::NotSetUp => StatusCode::NOT_FOUND,
            Self::Stale => StatusCode::BAD_REQUEST,
            Self::TooOften(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unreachable(_) | Self::OwnSecret | Self::Token(_) => StatusCode::BAD_GATEWAY,
            Self::Busy | Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::FORBIDDEN,
        }
    }
}
