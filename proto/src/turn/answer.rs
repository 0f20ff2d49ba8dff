//! What a request is answered with.

use super::api::{Event, FiveTuple, Output, Via};
use super::authenticate::Request;
use super::server::Server;
use crate::stun::{BadAttribute, Class, Code, Integrity, Key, Message, Writer};

/// What an answer is protected with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Protection {
    /// The key of the request, or of the allocation.
    pub(super) key: Key,
    /// MESSAGE-INTEGRITY-SHA256 where the request named its algorithm, else MESSAGE-INTEGRITY
    /// (RFC 8489 section 9.2.4).
    pub(super) integrity: Integrity,
}

/// What became of a request that was not refused.
pub(super) enum Answer {
    /// A success response, but for its integrity.
    Success(Writer),
    /// The answer follows when a relayed socket is bound, or has been given already.
    Later,
}

/// Why a request is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: Code,
    /// What a 420 names.
    pub(super) unknown: Vec<u16>,
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self { code, unknown: Vec::new() }
    }
}

impl From<BadAttribute> for Refusal {
    fn from(_: BadAttribute) -> Self {
        Code::BAD_REQUEST.into()
    }
}

impl Refusal {
    /// A 420 where there are any.
    pub(super) fn of_unknown(unknown: Vec<u16>) -> Result<(), Self> {
        if unknown.is_empty() { Ok(()) } else { Err(Self { code: Code::UNKNOWN_ATTRIBUTE, unknown }) }
    }

    /// The error response, but for its integrity.
    pub(super) fn response(&self, message: &Message<'_>) -> Writer {
        let answer = Writer::new(Class::Error, message.method, message.transaction);
        let answer = answer.error_code(self.code, self.code.reason());
        if self.unknown.is_empty() { answer } else { answer.unknown_attributes(&self.unknown) }
    }
}

impl Request<'_> {
    /// A success response without attributes.
    pub(super) fn success(&self) -> Writer {
        Writer::new(Class::Success, self.message.method, self.message.transaction)
    }
}

impl Server {
    /// Sends an answer with its integrity; a FINGERPRINT where the request had one.
    pub(super) fn answer(
        &mut self,
        client: FiveTuple,
        via: Via,
        answer: Writer,
        protection: Option<Protection>,
        fingerprint: bool,
    ) {
        let answer = match protection {
            Some(Protection { key, integrity }) => answer.protect(integrity, key.as_slice()),
            None => answer,
        };
        let answer = if fingerprint { answer.fingerprint() } else { answer };
        self.outputs.push_back(Output::Send { client, via, bytes: answer.finish() });
    }

    /// Counts a refusal and says so.
    pub(super) fn refused(&mut self, client: FiveTuple, code: Code) {
        self.counters.refused += 1;
        self.outputs.push_back(Output::Event(Event::Refused { client, code: code.0 }));
    }
}
