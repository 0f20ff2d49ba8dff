//! Binding: where a request came from (RFC 8489 section 12, and RFC 3489 where that is on).

use super::answer::Refusal;
use super::api::{FiveTuple, Output, Via};
use super::server::Server;
use crate::stun::attributes::{KNOWN, XOR_MAPPED_ADDRESS};
use crate::stun::{Class, ClassicBinding, Message, Writer};

impl Server {
    /// Answers a Binding request, which needs no credentials.
    pub(super) fn binding(&mut self, from: &FiveTuple, via: Via, message: &Message<'_>) {
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
        if let Err(cause) = self.answer_stranger(*from, via, message, answer) {
            self.dropped(cause);
        }
    }

    /// Answers a Binding request of RFC 3489, if that is on; whether it was one.
    pub(super) fn classic_binding(&mut self, from: &FiveTuple, via: Via, packet: &[u8]) -> bool {
        let request = ClassicBinding::parse(packet).filter(|_| self.classic);
        let Some(request) = request else { return false };
        self.counters.bindings += 1;
        let bytes = request.response(from.client);
        self.outputs.push_back(Output::Send { client: *from, via, bytes });
        true
    }
}
