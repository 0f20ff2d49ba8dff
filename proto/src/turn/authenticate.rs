//! Who sends a request: the long-term credential mechanism (RFC 8489 section 9.2.4).
//!
//! The nonce is checked before user and integrity, as RFC 5389 had it and coturn does: whoever cannot
//! receive at the address that a request comes from costs one short HMAC, not one of the whole
//! message for each secret in force. A request with a stale nonce and a wrong password is therefore
//! answered 438 where RFC 8489 would have 401; with a good password both say 438.

use std::net::SocketAddr;

use super::api::{FiveTuple, Via};
use super::credential::{User, Username};
use super::server::Server;
use super::table::AllocationId;
use crate::stun::attributes::{NONCE, REALM};
use crate::stun::{Class, Code, Key, Message, Method, Writer};
use crate::time::Now;

/// A request whose sender is known.
pub(super) struct Request<'a> {
    pub(super) message: &'a Message<'a>,
    pub(super) from: &'a FiveTuple,
    pub(super) via: Via,
    pub(super) username: &'a str,
    pub(super) user: User,
    pub(super) key: Key,
    /// The allocation of its five-tuple, of whatever user.
    pub(super) allocation: Option<AllocationId>,
}

/// Why a request is answered without integrity, hence as little as possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Challenge {
    /// It has no credentials: the usual first step.
    Missing,
    /// Its credentials are malformed.
    Malformed,
    /// Its nonce is not, or no longer, one for its source.
    Stale,
    /// Nobody of that name, the wrong password, expired or revoked: not said which.
    Wrong,
}

impl Challenge {
    pub(super) const fn code(self) -> Code {
        match self {
            Self::Missing | Self::Wrong => Code::UNAUTHENTICATED,
            Self::Malformed => Code::BAD_REQUEST,
            Self::Stale => Code::STALE_NONCE,
        }
    }
}

impl Server {
    /// Finds out who sends a request.
    pub(super) fn authenticate<'a>(
        &self,
        now: Now,
        from: &'a FiveTuple,
        via: Via,
        message: &'a Message<'a>,
    ) -> Result<Request<'a>, Challenge> {
        if message.integrity().is_none() {
            return Err(Challenge::Missing);
        }
        let (Ok(Some(username)), Ok(Some(_)), Ok(Some(nonce))) =
            (message.username(), message.realm(), message.nonce())
        else {
            return Err(Challenge::Malformed);
        };
        if !self.nonces.accepts(now, from.client, nonce) {
            return Err(Challenge::Stale);
        }
        let Username { expiry, user } = Username::parse(username).ok_or(Challenge::Wrong)?;
        if self.credentials.is_revoked(&user) {
            return Err(Challenge::Wrong);
        }
        let allocation = self.table.of_client(from);
        // Expiry is asked where an allocation would begin, and nowhere else: browsers keep a port's
        // first username for the port's life.
        if message.method == Method::ALLOCATE && allocation.is_none() && expiry < now.unix {
            return Err(Challenge::Wrong);
        }
        // An allocation's own key comes first: its secret may be out of force by now.
        let own = allocation.and_then(|id| self.table.get(id));
        let own = own.filter(|own| &*own.username == username && message.verify(own.key.as_slice()));
        let key = own.map(|own| own.key).or_else(|| self.credentials.verify(username, message));
        let key = key.ok_or(Challenge::Wrong)?;
        Ok(Request { message, from, via, username, user, key, allocation })
    }

    /// The answer to a request of an unknown sender: no reason phrase, no SOFTWARE, no integrity.
    pub(super) fn challenge(
        &self,
        now: Now,
        client: SocketAddr,
        message: &Message<'_>,
        why: Challenge,
    ) -> Writer {
        let answer = Writer::new(Class::Error, message.method, message.transaction);
        let answer = answer.error_code(why.code(), "");
        if why == Challenge::Malformed {
            return answer;
        }
        answer
            .attribute(REALM, self.credentials.realm().as_bytes())
            .attribute(NONCE, self.nonces.issue(now, client).as_bytes())
    }
}
