//! What a request of an unknown sender is answered. Its source may be a victim's: the answer is as
//! small as RFC 8489 allows, without SOFTWARE and without a reason phrase, at most 2.6 times the
//! request, and limited by source.

use super::api::{FiveTuple, Forward, Via};
use super::authenticate::Challenge;
use super::counters::Drop;
use super::limit::Limit;
use super::nonce::Form;
use super::server::Server;
use crate::limits::AMPLIFICATION_TENTHS;
use crate::stun::attributes::{NONCE, REALM};
use crate::stun::{Class, Message, Writer};
use crate::time::Now;

/// The headers of IP and UDP, in bytes: 20 and 8, or 40 and 8.
const fn headers(from: &FiveTuple) -> usize {
    if from.client.is_ipv4() { 28 } else { 48 }
}

/// How long an answer to a request of `size` bytes may be. The source of a stream has proved itself by
/// its handshake.
const fn room(from: &FiveTuple, size: usize) -> usize {
    if from.transport.is_stream() {
        return usize::MAX;
    }
    (size + headers(from)) * AMPLIFICATION_TENTHS / 10 - headers(from)
}

/// How long an answer will be: with a FINGERPRINT where the request had one.
const fn whole(answer: &Writer, message: &Message<'_>) -> usize {
    answer.size() + if message.fingerprint { 8 } else { 0 }
}

impl Server {
    /// Answers a request whose sender is unknown, unless its source got too many answers.
    pub(super) fn unauthenticated(
        &mut self,
        now: Now,
        from: &FiveTuple,
        via: Via,
        message: &Message<'_>,
        why: &Challenge,
    ) -> Result<Forward, Drop> {
        if !self.challenges.take(now.mono, from.client.ip()) {
            self.limited(now, Limit::Challenges, None, from.client.ip());
            return Err(Drop::RateLimited);
        }
        // Where nothing but a full table is the reason, the alternate may be full as well, and send it back: after a
        // few times it is challenged, and then told the truth, which is 508.
        let full = matches!(why, Challenge::Elsewhere(_)) && !self.draining && self.alternates.is_empty();
        let again = full && !self.redirects.take(now.mono, from.client.ip());
        let why = if again { &Challenge::Missing } else { why };
        let answer = self.challenge(now, from, message, why);
        self.answer_stranger(*from, via, message, answer)?;
        if *why == Challenge::Wrong {
            self.refused(*from, why.code());
        }
        Ok(Forward::None)
    }

    /// Sends an answer to an unknown sender, if it is short enough.
    pub(super) fn answer_stranger(
        &mut self,
        from: FiveTuple,
        via: Via,
        message: &Message<'_>,
        answer: Writer,
    ) -> Result<(), Drop> {
        if whole(&answer, message) > room(&from, message.size()) {
            return Err(Drop::Amplifying);
        }
        self.answer(from, via, answer, None, message.fingerprint);
        Ok(())
    }

    /// The answer to a request of an unknown sender. Where the form of RFC 8489 is too long, it is that
    /// of RFC 5389.
    fn challenge(&self, now: Now, from: &FiveTuple, message: &Message<'_>, why: &Challenge) -> Writer {
        let answer = Writer::new(Class::Error, message.method, message.transaction);
        let answer = answer.error_code(why.code(), "");
        let named = match why {
            Challenge::Malformed => return answer,
            Challenge::Elsewhere(alternate) => return answer.alternate_server(*alternate),
            Challenge::Missing => None,
            // The realm that the client has a password for.
            Challenge::Stale | Challenge::Wrong => message.realm().ok().flatten(),
        };
        // An allocation may outlive its realm.
        let held = || self.table.of_client(from).and_then(|id| self.table.get(id)).map(|own| &own.realm);
        let realm = named.and_then(|named| {
            let known = self.realms.get(named).map(|(realm, _)| realm);
            known.or_else(|| held().filter(|held| ***held == *named))
        });
        let realm = realm.unwrap_or_else(|| self.realms.default(from.server, message.origins()));
        let answer = answer.attribute(REALM, realm.as_bytes());
        let issue = |answer: Writer, form: Form| {
            let answer = answer.attribute(NONCE, self.nonces.issue(now, from.client, form).as_bytes());
            match form.offer.algorithms() {
                [] => answer,
                algorithms => answer.password_algorithms(algorithms),
            }
        };
        let form = self.realms.form(realm, self.credentials.has_secrets());
        let room = room(from, message.size());
        let fits = whole(&answer, message) + form.length() <= room;
        issue(answer, if fits { form } else { Form::CLASSIC })
    }
}
