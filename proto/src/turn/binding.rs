//! Binding: where a request came from (RFC 8489 section 12, and RFC 3489 where that is on).

use super::answer::Refusal;
use super::api::{FiveTuple, Forward, Output, Transport, Via};
use super::counters::Drop;
use super::limit::Limit;
use super::server::Server;
use crate::stun::attributes::{KNOWN, XOR_MAPPED_ADDRESS};
use crate::stun::{Class, ClassicBinding, Message, Writer};
use crate::time::Now;

impl Server {
    /// Answers a Binding request, which needs no credentials.
    pub(super) fn binding(
        &mut self,
        now: Now,
        from: &FiveTuple,
        via: Via,
        message: &Message<'_>,
    ) -> Result<Forward, Drop> {
        self.limit_bindings(now, from)?;
        let answer = match Refusal::of_unknown(message.unknown(&KNOWN)) {
            Ok(()) => {
                self.counters.bindings += 1;
                Writer::new(Class::Success, message.method, message.transaction)
                    .xor_address(XOR_MAPPED_ADDRESS, from.client)
            }
            // Anyone may ask, under anyone's address: hence no reason phrase.
            Err(refusal) => Writer::new(Class::Error, message.method, message.transaction)
                .error_code(refusal.code, "")
                .unknown_attributes(&refusal.unknown),
        };
        self.answer_stranger(*from, via, message, answer)?;
        Ok(Forward::None)
    }

    /// Answers a Binding request of RFC 3489, if that is on.
    pub(super) fn classic_binding(
        &mut self,
        now: Now,
        from: &FiveTuple,
        via: Via,
        packet: &[u8],
    ) -> Result<Forward, Drop> {
        let request = ClassicBinding::parse(packet).filter(|_| self.classic).ok_or(Drop::Malformed)?;
        self.limit_bindings(now, from)?;
        self.counters.bindings += 1;
        let bytes = request.response(from.client);
        self.outputs.push_back(Output::Send { client: *from, via, bytes });
        Ok(Forward::None)
    }

    /// A source may be a victim's, but where a handshake has proved it.
    fn limit_bindings(&mut self, now: Now, from: &FiveTuple) -> Result<(), Drop> {
        if from.transport != Transport::Udp || self.bindings.take(now.mono, from.client.ip()) {
            return Ok(());
        }
        self.limited(now, Limit::Bindings, None, from.client.ip());
        Err(Drop::RateLimited)
    }
}
