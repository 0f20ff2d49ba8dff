//! One request and what became of it, for whoever looks for a fault.

use std::time::Duration;

use crate::stun::attributes::SOFTWARE;
use crate::stun::{Class, Code, Message, Method};

/// One request and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Its method.
    pub method: Method,
    /// What became of it.
    pub outcome: Outcome,
    /// From its first transmission to the answer, or until it was given up. A round trip where it was
    /// sent once (RFC 8489 section 6.2.1: Karn's algorithm).
    pub elapsed: Duration,
    /// How often it was sent.
    pub transmissions: u32,
    /// The answer's REALM.
    pub realm: Option<String>,
    /// The answer's SOFTWARE.
    pub software: Option<String>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A success response.
    Success,
    /// An error response.
    Refused {
        /// Its number; a 400 where it had none.
        code: Code,
        /// Its reason phrase, which may be empty. A stranger's text.
        reason: String,
    },
    /// No response.
    TimedOut,
}

impl Exchange {
    pub(super) fn answered(message: &Message<'_>, elapsed: Duration, transmissions: u32) -> Self {
        let outcome = if message.class == Class::Success {
            Outcome::Success
        } else {
            let code = message.error_code().ok().flatten().unwrap_or(Code::BAD_REQUEST);
            Outcome::Refused { code, reason: message.reason().to_owned() }
        };
        let software = message.get(SOFTWARE).map(|value| String::from_utf8_lossy(value).into_owned());
        let realm = message.realm().ok().flatten().map(str::to_owned);
        Self { method: message.method, outcome, elapsed, transmissions, realm, software }
    }

    pub(super) const fn timed_out(method: Method, elapsed: Duration, transmissions: u32) -> Self {
        let outcome = Outcome::TimedOut;
        Self { method, outcome, elapsed, transmissions, realm: None, software: None }
    }
}
