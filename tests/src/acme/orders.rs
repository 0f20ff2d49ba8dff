//! Accounts, orders and authorizations, as RFC 8555 section 7.1 has them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::jws::Key;

#[derive(Default)]
pub(super) struct Orders {
    pub(super) nonces: BTreeSet<String>,
    pub(super) accounts: Vec<Key>,
    pub(super) orders: Vec<Order>,
    pub(super) authorizations: Vec<Authorization>,
}

pub(super) struct Order {
    pub(super) account: usize,
    pub(super) names: Vec<String>,
    /// Their numbers.
    pub(super) authorizations: Vec<usize>,
    pub(super) replaces: Option<String>,
    /// The chain, once it is issued.
    pub(super) chain: Option<String>,
}

#[derive(Clone)]
pub(super) struct Authorization {
    pub(super) account: usize,
    pub(super) name: String,
    pub(super) token: String,
    /// `pending`, `valid` or `invalid`.
    pub(super) status: &'static str,
    /// Which challenge was taken, and what is wrong with it.
    pub(super) taken: Option<(String, Option<Value>)>,
}

/// Random words for nonces and tokens (RFC 8555 section 8.3: 128 bits at least).
pub(super) fn token() -> String {
    let mut bytes = [0; 16];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).unwrap();
    data_encoding::BASE64URL_NOPAD.encode(&bytes)
}

impl Orders {
    pub(super) fn nonce(&mut self) -> String {
        let nonce = token();
        self.nonces.insert(nonce.clone());
        nonce
    }

    pub(super) fn open(&mut self, account: usize, names: Vec<String>, replaces: Option<String>) -> usize {
        let first = self.authorizations.len();
        self.authorizations.extend(names.iter().map(|name| Authorization {
            account,
            name: name.clone(),
            token: token(),
            status: "pending",
            taken: None,
        }));
        let authorizations = (first..self.authorizations.len()).collect();
        self.orders.push(Order { account, names, authorizations, replaces, chain: None });
        self.orders.len() - 1
    }

    /// An order as its client sees it.
    pub(super) fn order(&self, base: &str, number: usize) -> Value {
        let order = &self.orders[number];
        let status = |wanted: &str| {
            order.authorizations.iter().any(|number| self.authorizations[*number].status == wanted)
        };
        let status = if order.chain.is_some() {
            "valid"
        } else if status("invalid") {
            "invalid"
        } else if status("pending") {
            "pending"
        } else {
            "ready"
        };
        let identifiers: Vec<_> =
            order.names.iter().map(|name| json!({ "type": "dns", "value": name })).collect();
        let authorizations: Vec<_> =
            order.authorizations.iter().map(|number| format!("{base}/authz/{number}")).collect();
        let mut told = json!({
            "status": status,
            "identifiers": identifiers,
            "authorizations": authorizations,
            "finalize": format!("{base}/finalize/{number}"),
        });
        if order.chain.is_some() {
            told["certificate"] = format!("{base}/cert/{number}").into();
        }
        if let Some(replaces) = &order.replaces {
            told["replaces"] = replaces.clone().into();
        }
        told
    }

    /// An authorization as its client sees it.
    pub(super) fn authorization(&self, base: &str, number: usize) -> Value {
        let authorization = &self.authorizations[number];
        let challenges: Vec<_> = ["dns-01", "http-01", "tls-alpn-01"]
            .into_iter()
            .map(|kind| self.challenge(base, number, kind))
            .collect();
        json!({
            "status": authorization.status,
            "identifier": { "type": "dns", "value": authorization.name },
            "challenges": challenges,
        })
    }

    pub(super) fn challenge(&self, base: &str, number: usize, kind: &str) -> Value {
        let Authorization { token, status, taken, .. } = &self.authorizations[number];
        let mut told = json!({
            "type": kind, "url": format!("{base}/chall/{number}/{kind}"), "token": token, "status": "pending",
        });
        if let Some((_, error)) = taken.as_ref().filter(|(taken, _)| taken == kind) {
            told["status"] = (if *status == "pending" { "processing" } else { status }).into();
            if let Some(error) = error {
                told["error"] = error.clone();
            }
        }
        told
    }
}
