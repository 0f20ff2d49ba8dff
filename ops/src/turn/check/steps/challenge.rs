//! Allocate without credentials: what the server demands of strangers, and tells them.

use std::time::Duration;

use chappe_proto::stun::attributes::SOFTWARE;
use chappe_proto::stun::{Algorithm, Class, Code, Features, Message, Method};

use super::super::fault::{Fault, Refusal, shown};
use super::super::report::Step;
use super::super::run::Check;
use super::super::talk::{Response, Talk};

const NAME: &str = "Without a password";
/// IPv4 and UDP headers, or IPv6 and UDP headers.
const HEADERS: [usize; 2] = [28, 48];
/// What a stranger is met with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Challenge {
    /// Credentials are wanted.
    Wanted,
    /// None are: there was an allocation.
    None,
}

/// Asks for an allocation as a stranger.
pub(in super::super) async fn run(check: &mut Check<'_>, talk: &mut Talk) -> Option<Challenge> {
    check.begin(NAME);
    let response = match talk.raw(Method::ALLOCATE, |writer| writer.requested_transport(17)).await {
        Ok(response) => response,
        Err(fault) => {
            check.fail(NAME, &fault);
            return None;
        }
    };
    let took = response.took;
    match judge(check, &response) {
        Ok(step) => check.put(step.took(took)),
        Err(fault) if check.follows(NAME, &fault) => return None,
        Err(Fault::OpenRelay) => return open(check, talk, took).await,
        Err(fault) => {
            check.fail(NAME, &fault);
            return None;
        }
    }
    Some(Challenge::Wanted)
}

/// There is an allocation already: given back.
async fn open(check: &mut Check<'_>, talk: &mut Talk, took: Duration) -> Option<Challenge> {
    let diagnosis = check.diagnose(&Fault::OpenRelay);
    check.put(Step::warning(NAME, Fault::OpenRelay.to_string(), diagnosis).took(took).fact("open", true));
    match talk.raw(Method::REFRESH, |writer| writer.lifetime(0)).await {
        Ok(_) => Some(Challenge::None),
        Err(fault) => {
            check.fail("Delete", &fault);
            None
        }
    }
}

fn judge(check: &Check<'_>, response: &Response) -> Result<Step, Fault> {
    let message = Message::parse(&response.bytes).map_err(|_| Fault::NotStun)?;
    if message.class == Class::Success {
        return Err(Fault::OpenRelay);
    }
    let refusal = Refusal::of(&message);
    if refusal.code != Code::UNAUTHENTICATED {
        return Err(Fault::Code(refusal));
    }
    let headers = HEADERS[usize::from(check.server.is_ipv6())];
    let step = challenge(&message, response, headers);
    // Over a stream nobody else's address can be given for one's own.
    let datagrams = !check.target.url.transport.is_stream();
    Ok(if datagrams { step.fact("amplification", factor(response, headers)) } else { step })
}

/// How much larger the answer is than the request on the wire, headers counted.
fn factor(response: &Response, headers: usize) -> f64 {
    let bytes = |length: usize| f64::from(u32::try_from(length + headers).unwrap_or(u32::MAX));
    (bytes(response.bytes.len()) / bytes(response.request) * 100.0).round() / 100.0
}

fn challenge(message: &Message<'_>, response: &Response, headers: usize) -> Step {
    let realm = message.realm().ok().flatten().map(|realm| shown(realm.as_bytes())).unwrap_or_default();
    let nonce = message.nonce().ok().flatten().unwrap_or_default();
    let software = message.get(SOFTWARE).map(shown);
    let sha256 =
        message.password_algorithms().ok().flatten().is_some_and(|list| list.contains(&Algorithm::Sha256));
    let mut text = format!("401, realm {realm:?}");
    if let Some(software) = &software {
        text.push_str(&format!(", {software}"));
    }
    text.push_str(if sha256 { ", SHA-256 offered" } else { ", no SHA-256" });
    text.push_str(&format!(", answer {:.1}× the request", factor(response, headers)));
    Step::ok(NAME, text)
        .fact("realm", realm)
        .fact("software", software)
        .fact("sha256", sha256)
        .fact("nonce_length", nonce.len())
        .fact("nonce_cookie", Features::read(nonce).is_some())
        .fact("request_bytes", response.request)
        .fact("answer_bytes", response.bytes.len())
}

#[cfg(test)]
mod tests {
    use chappe_proto::stun::attributes::{NONCE, REALM};
    use chappe_proto::stun::{TransactionId, Writer};

    use super::*;

    #[test]
    fn what_a_challenge_says() {
        let bytes = Writer::new(Class::Error, Method::ALLOCATE, TransactionId([1; 12]))
            .error_code(Code::UNAUTHENTICATED, "")
            .attribute(REALM, b"example.org")
            .attribute(NONCE, b"obMatJos2AAAAnonce")
            .attribute(SOFTWARE, b"Some Server 1.0")
            .password_algorithms(&[Algorithm::Md5, Algorithm::Sha256])
            .finish();
        let response = Response { bytes, request: 28, took: Duration::ZERO, sent: 1 };
        let message = Message::parse(&response.bytes).unwrap();
        let step = challenge(&message, &response, 28);
        assert!(
            step.text.starts_with("401, realm \"example.org\", Some Server 1.0, SHA-256"),
            "{}",
            step.text
        );
        assert_eq!(step.facts["nonce_cookie"], true);
        assert!((factor(&response, 28) - 2.29).abs() < 0.01, "{}", factor(&response, 28));
    }
}
