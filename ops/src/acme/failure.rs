//! Why an authority gives no certificate, in words that name the fix.

use std::time::Duration;

use instant_acme::{Error, Problem};

use super::order::Kind;

/// What all types of problems begin with (RFC 8555 section 6.7).
const TYPES: &str = "urn:ietf:params:acme:error:";

/// Why there is none.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) text: String,
    /// How long the authority says to wait.
    pub(super) retry_after: Option<Duration>,
    /// It limits how often it is asked: it is not asked before, whoever restarts.
    pub(super) limited: bool,
    /// It does not know the account any more: another one is made.
    pub(super) stranger: bool,
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self { text, retry_after: None, limited: false, stranger: false }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        format!("{error:#}").into()
    }
}

impl Failure {
    /// What went wrong at a step of the protocol.
    pub(super) fn of(step: &str, error: &Error) -> Self {
        let problem = match error {
            Error::Api(problem) => problem,
            Error::Timeout(_) => return format!("{step}: the authority takes too long").into(),
            other => return format!("{step}: {other}").into(),
        };
        let kind = kind(problem);
        let fix = match kind {
            "rateLimited" => "it limits how often it is asked, and is asked again when it says",
            "rejectedIdentifier" => "it gives no certificates for this name: give one that is public",
            "caa" => "the name's CAA record allows other authorities only: add this one's",
            "externalAccountRequired" => {
                "its accounts are made elsewhere, and bound by a key: not possible yet"
            }
            "invalidContact" | "unsupportedContact" => "give another --acme-email, or none",
            "accountDoesNotExist" => "another account is made at the next attempt",
            "userActionRequired" => "its terms have changed: see what it says",
            _ => "see what it says",
        };
        Self {
            text: format!("{step}: {}: {fix}", said(problem)),
            retry_after: None,
            limited: kind == "rateLimited",
            stranger: kind == "accountDoesNotExist",
        }
    }

    /// Why a name was not proved.
    pub(super) fn unproved(name: &str, how: Kind, problem: &Problem) -> Self {
        let port = how.port();
        let fix = match (kind(problem), how) {
            ("dns", _) => format!(
                "{name} does not resolve: let its A record (and AAAA, where this machine has IPv6) name this \
                 machine's public address"
            ),
            ("connection", _) => format!(
                "the authority cannot connect to port {port} of {name}: open TCP port {port} to everybody in the \
                 firewall, and let the name's A and AAAA records name this machine alone"
            ),
            ("caa", _) => format!("the CAA record of {name} allows other authorities only: add this one's"),
            (_, Kind::Http01) => format!(
                "something else answers at http://{name}/.well-known/acme-challenge/: let all its A and AAAA \
                 records name this machine alone (one hostname for each), and port 80 lead here"
            ),
            (_, Kind::TlsAlpn01) => format!(
                "something else answers at port 443 of {name}: let all its A and AAAA records name this machine \
                 alone (one hostname for each), and let nobody decrypt in front of it, or use --acme-http and \
                 --acme-challenge http-01"
            ),
        };
        let text = format!("{name} is not proved by {how}: {}: {fix}", said(problem));
        Self { limited: kind(problem) == "rateLimited", ..Self::from(text) }
    }
}

/// The type of a problem, without what all types begin with.
fn kind(problem: &Problem) -> &str {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    kind.strip_prefix(TYPES).unwrap_or(kind)
}

/// What the authority says, on one line.
fn said(problem: &Problem) -> String {
    let parts = problem.subproblems.iter().filter_map(|part| part.detail.as_deref());
    let all: Vec<_> = problem.detail.as_deref().into_iter().chain(parts).collect();
    let text = if all.is_empty() { kind(problem).to_owned() } else { all.join("; ") };
    let line: String =
        text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(500).collect();
    format!("{line:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str, detail: &str) -> Problem {
        serde_json::from_value(serde_json::json!({ "type": format!("{TYPES}{kind}"), "detail": detail }))
            .unwrap()
    }

    #[test]
    fn a_name_that_is_not_proved_is_told_with_its_fix() {
        let told = |kind: &str, how| Failure::unproved("a.test", how, &problem(kind, "no\nway")).text;
        assert!(told("dns", Kind::Http01).contains("\"no way\": a.test does not resolve"));
        assert!(told("connection", Kind::TlsAlpn01).contains("open TCP port 443"));
        assert!(told("connection", Kind::Http01).contains("open TCP port 80"));
        assert!(told("unauthorized", Kind::Http01).contains("something else answers at http://a.test/"));
        assert!(told("tls", Kind::TlsAlpn01).contains("something else answers at port 443"));
    }

    #[test]
    fn what_an_authority_refuses_is_told_in_its_words_and_ours() {
        let of = |kind: &str| Failure::of("no order", &Error::Api(problem(kind, "because")));
        let limited = of("rateLimited");
        assert!(limited.limited && limited.text.contains("\"because\": it limits"), "{}", limited.text);
        assert!(of("accountDoesNotExist").stranger);
        assert!(of("externalAccountRequired").text.contains("bound by a key"));
        assert!(Failure::of("no order", &Error::Timeout(None)).text.contains("too long"));
    }
}
