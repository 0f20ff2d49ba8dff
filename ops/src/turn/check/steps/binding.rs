//! Binding: where the client is seen.

use std::net::SocketAddr;
use std::time::Duration;

use chappe_proto::stun::attributes::{MAPPED_ADDRESS, SOFTWARE, XOR_MAPPED_ADDRESS};
use chappe_proto::stun::{Class, Message, Method};

use super::super::fault::{Fault, Refusal, plain_address, shown};
use super::super::report::Step;
use super::super::run::Check;
use super::super::talk::{Response, Talk};

/// What this step is called.
pub(in super::super) const NAME: &str = "Binding";
/// Requests whose round-trip times are compared with the relay's.
const TIMES: usize = 3;

/// Asks where this client is seen, and how long that takes.
pub(in super::super) async fn run(check: &mut Check<'_>, talk: &mut Talk) -> Result<(), Fault> {
    check.begin(NAME);
    let mut times: Vec<Duration> = Vec::new();
    let mut last = None;
    for _ in 0..TIMES {
        match talk.raw(Method::BINDING, |writer| writer).await {
            Ok(response) => {
                times.push(response.took);
                last = Some(response);
            }
            Err(fault) => {
                check.fail(NAME, &fault);
                return Err(fault);
            }
        }
    }
    times.sort();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    check.baseline = Some(median);
    let Some(last) = last else { return Ok(()) };
    match mapped(&last, talk.local()?) {
        Ok(step) => check.put(step.took(median)),
        Err(fault) if check.follows(NAME, &fault) => {}
        Err(fault) => check.fail(NAME, &fault),
    }
    Ok(())
}

fn mapped(response: &Response, local: SocketAddr) -> Result<Step, Fault> {
    let message = Message::parse(&response.bytes).map_err(|_| Fault::NotStun)?;
    if message.class == Class::Error {
        return Err(Fault::Code(Refusal::of(&message)));
    }
    let old = || message.get(MAPPED_ADDRESS).and_then(plain_address);
    let mapped = message.xor_address(XOR_MAPPED_ADDRESS).ok().flatten().or_else(old);
    let mapped = mapped.ok_or(Fault::Incomplete(Method::BINDING))?;
    let nat = mapped.ip().to_canonical() != local.ip().to_canonical();
    let between = match (nat, mapped.port() == local.port()) {
        (false, true) => "no NAT between",
        (false, false) => "this address, by another port",
        (true, _) => "behind a NAT",
    };
    let retried = if response.sent > 1 { format!(" (asked {} times)", response.sent) } else { String::new() };
    let step = Step::ok(NAME, format!("seen as {mapped}, {between}{retried}"))
        .fact("mapped", mapped.to_string())
        .fact("local", local.to_string())
        .fact("nat", nat);
    Ok(match message.get(SOFTWARE) {
        Some(software) => step.fact("software", shown(software)),
        None => step,
    })
}

#[cfg(test)]
mod tests {
    use chappe_proto::stun::{TransactionId, Writer};

    use super::*;

    fn response(writer: impl FnOnce(Writer) -> Writer) -> Response {
        let bytes = writer(Writer::new(Class::Success, Method::BINDING, TransactionId([1; 12]))).finish();
        Response { bytes, request: 20, took: Duration::ZERO, sent: 1 }
    }

    #[test]
    fn a_nat_is_an_address_that_is_not_ours() {
        let local: SocketAddr = "10.0.0.2:5000".parse().unwrap();
        let of = |address: &str| {
            let address = address.parse().unwrap();
            mapped(&response(|writer| writer.xor_address(XOR_MAPPED_ADDRESS, address)), local).unwrap()
        };
        assert!(of("10.0.0.2:5000").text.contains("no NAT"));
        assert!(of("192.0.2.1:5000").text.contains("behind a NAT"));
        assert!(of("10.0.0.2:6000").text.contains("another port"));
        let old = response(|writer| writer.attribute(MAPPED_ADDRESS, &[0, 1, 0, 9, 192, 0, 2, 1]));
        assert!(mapped(&old, local).unwrap().text.contains("192.0.2.1:9"), "RFC 3489's form");
        let nothing = response(|writer| writer);
        assert_eq!(mapped(&nothing, local), Err(Fault::Incomplete(Method::BINDING)));
    }
}
