//! Who sends a request: the long-term credential mechanism (RFC 8489 section 9.2.4).
//!
//! The nonce is checked before user and integrity, as RFC 5389 had it and coturn does: whoever cannot
//! receive at the address that a request comes from costs one short HMAC, not one of the whole
//! message for each secret in force. A request with a stale nonce and a wrong password is therefore
//! answered 438 where RFC 8489 would have 401; with a good password both say 438.
//!
//! A name is looked up among the realm's long-term users first, whatever its form: a user called
//! `1700000000:ada` is that user, and no password of the REST convention opens it.

use std::net::SocketAddr;
use std::sync::Arc;

use super::allocation::Allocation;
use super::answer::Protection;
use super::api::{FiveTuple, Transport, Via};
use super::credential::{User, Username};
use super::nonce::{Form, Offer};
use super::server::Server;
use super::table::AllocationId;
use crate::limits;
use crate::stun::attributes::PASSWORD_ALGORITHMS;
use crate::stun::{Algorithm, BadAttribute, Code, Integrity, Key, Message, Method, user_hash};
use crate::time::{Now, Unix};

/// A request whose sender is known.
pub(super) struct Request<'a> {
    pub(super) message: &'a Message<'a>,
    pub(super) from: &'a FiveTuple,
    pub(super) via: Via,
    pub(super) username: Box<str>,
    pub(super) realm: Arc<str>,
    pub(super) user: User,
    pub(super) protection: Protection,
    /// The allocation of its five-tuple, of whatever user.
    pub(super) allocation: Option<AllocationId>,
}

/// Why a request is answered without integrity, hence as little as possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Challenge {
    /// It has no credentials: the usual first step.
    Missing,
    /// It has none, and new clients are to go elsewhere.
    Elsewhere(SocketAddr),
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
            Self::Elsewhere(_) => Code::TRY_ALTERNATE,
            Self::Malformed => Code::BAD_REQUEST,
            Self::Stale => Code::STALE_NONCE,
        }
    }
}

impl From<BadAttribute> for Challenge {
    fn from(_: BadAttribute) -> Self {
        Self::Malformed
    }
}

/// What a request says of its sender.
struct Claim<'a> {
    name: Name<'a>,
    realm: &'a str,
    nonce: &'a str,
}

/// How a request names its sender.
enum Name<'a> {
    Plain(&'a str),
    Hash([u8; 32]),
}

impl<'a> Claim<'a> {
    /// Reads it. TURN allows no shortened MESSAGE-INTEGRITY-SHA256 (RFC 8489 section 14.6).
    fn read(message: &Message<'a>) -> Result<Self, Challenge> {
        let name = match (message.username()?, message.user_hash()?) {
            (Some(name), None) => Name::Plain(name),
            (None, Some(hash)) => Name::Hash(hash),
            _ => return Err(Challenge::Malformed),
        };
        let (Some(realm), Some(nonce), false) = (message.realm()?, message.nonce()?, message.is_truncated())
        else {
            return Err(Challenge::Malformed);
        };
        Ok(Self { name, realm, nonce })
    }

    /// Whether it is of an allocation's user, and by the algorithm of its key.
    fn is_of(&self, own: &Allocation, algorithm: Algorithm) -> bool {
        let same = *own.realm == *self.realm && own.protection.key.algorithm() == algorithm;
        same && match &self.name {
            Name::Plain(name) => *own.username == **name,
            Name::Hash(hash) => user_hash(&own.username, &own.realm) == *hash,
        }
    }
}

/// By which algorithm a request's key is made, and what its answer is protected with (RFC 8489 section
/// 9.2.4). A list that is not the one that went with the nonce shows that somebody between has
/// shortened it.
fn algorithm(form: Form, message: &Message<'_>) -> Result<(Algorithm, Integrity), Challenge> {
    let chosen = message.password_algorithm()?;
    let echoed = message.get(PASSWORD_ALGORITHMS);
    match (form.offer, echoed, chosen) {
        // As though it were MD5, and as RFC 5389 had it.
        (_, None, None) | (Offer::Nothing, _, None) => Ok((Algorithm::Md5, Integrity::Sha1)),
        (Offer::Nothing, _, Some(chosen)) => Ok((chosen, Integrity::Sha256)),
        (offer, Some(echoed), Some(chosen)) if offer.is(echoed) && offer.algorithms().contains(&chosen) => {
            Ok((chosen, Integrity::Sha256))
        }
        _ => Err(Challenge::Malformed),
    }
}

/// Who sent a request, and by which key.
struct Sender {
    username: Box<str>,
    realm: Arc<str>,
    user: User,
    key: Key,
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
        let allocation = self.table.of_client(from);
        if message.integrity().is_none() {
            let new = message.method == Method::ALLOCATE && allocation.is_none();
            let elsewhere = self.alternate(from).filter(|_| new);
            return Err(elsewhere.map_or(Challenge::Missing, Challenge::Elsewhere));
        }
        let claim = Claim::read(message)?;
        let form = self.nonces.accepts(now, from.client, claim.nonce).ok_or(Challenge::Stale)?;
        let (algorithm, integrity) = algorithm(form, message)?;
        // An allocation's own key comes first: its secret may be out of force by now, its user may have
        // another password, its realm may be none for others. By the other algorithm a request needs
        // what is in force.
        let own = allocation.and_then(|id| self.table.get(id));
        let own =
            own.filter(|own| claim.is_of(own, algorithm) && message.verify(own.protection.key.as_slice()));
        let sender = match own {
            Some(own) => Sender {
                username: own.username.clone(),
                realm: own.realm.clone(),
                user: own.user.clone(),
                key: own.protection.key,
            },
            None => {
                // Expiry is asked where an allocation would begin, and nowhere else: browsers keep a
                // port's first username for the port's life.
                let begins = message.method == Method::ALLOCATE && allocation.is_none();
                let until = begins.then_some(now.unix);
                self.sender(until, &claim, algorithm, message).ok_or(Challenge::Wrong)?
            }
        };
        let Sender { username, realm, user, key } = sender;
        let protection = Protection { key, integrity };
        Ok(Request { message, from, via, username, realm, user, protection, allocation })
    }

    /// Who has the name and the key, of those in force; a name of the REST form only if it has not
    /// expired by then.
    fn sender(
        &self,
        until: Option<Unix>,
        claim: &Claim<'_>,
        algorithm: Algorithm,
        message: &Message<'_>,
    ) -> Option<Sender> {
        let Some((realm, users)) = self.realms.get(claim.realm) else { return nobody(message) };
        let long_term = match &claim.name {
            Name::Plain(name) => users.of_name(name),
            Name::Hash(hash) => users.of_hash(hash),
        };
        if let Some((name, keys)) = long_term {
            let Some(key) = keys.get(algorithm) else { return nobody(message) };
            let user = User::LongTerm { realm: realm.clone(), name: name.clone() };
            let sender = Sender { username: (**name).into(), realm: realm.clone(), user, key };
            return message.verify(key.as_slice()).then_some(sender);
        }
        let name = match claim.name {
            Name::Plain(name) if name.len() <= limits::TURN_NAME_MAX => name,
            Name::Plain(_) | Name::Hash(_) => return nobody(message),
        };
        let Some(Username { expiry, user }) = Username::parse(name) else { return nobody(message) };
        if until.is_some_and(|until| expiry < until) || self.credentials.is_revoked(&user) {
            return None;
        }
        // The name is reserved: an app that lets its users choose theirs gives them longer.
        let longest = 2 * limits::PROBE_CREDENTIAL_TTL;
        if user == User::Probe && until.is_some_and(|now| expiry > now + longest) {
            return None;
        }
        let key = self.credentials.verify(algorithm, name, realm, message)?;
        Some(Sender { username: name.into(), realm: realm.clone(), user, key })
    }

    /// Where a new client of this address is to go instead, over what it came by: browsers would check
    /// a certificate of the other's bare address, so never over TLS and DTLS (RFC 8489 section 14.15:
    /// the same family). Nor to a loopback address, which browsers refuse. Of several, clients are sent to one by
    /// their port, so that they spread.
    fn alternate(&self, from: &FiveTuple) -> Option<SocketAddr> {
        let all = match &self.alternates[..] {
            [] if self.draining || self.is_full() => &self.standby,
            alternates => alternates,
        };
        if !matches!(from.transport, Transport::Udp | Transport::Tcp) {
            return None;
        }
        let other = |alternate: &&SocketAddr| {
            alternate.is_ipv4() == from.client.is_ipv4()
                && **alternate != from.server
                && !alternate.ip().is_loopback()
        };
        let others = || all.iter().filter(other).copied();
        let count = others().count();
        others().nth(usize::from(from.client.port()).checked_rem(count)?)
    }
}

/// Nobody, found out in the time that a wrong password takes: the time of an answer does not tell who
/// is a user.
fn nobody(message: &Message<'_>) -> Option<Sender> {
    std::hint::black_box(message.verify(&[0; 32]));
    None
}
