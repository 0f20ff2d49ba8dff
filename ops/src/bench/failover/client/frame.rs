//! What a client reads of its node's frames.

use serde::Deserialize;

use super::super::log::How;

/// The first word of a node to whom it takes in.
#[derive(Debug, Deserialize)]
pub(super) struct Welcome {
    #[serde(rename = "type")]
    pub(super) how: How,
    pub(super) resume: String,
    pub(super) peer: String,
    pub(super) nodes: Vec<String>,
    pub(super) limits: Limits,
}

/// What a client may do, of what it looks at.
#[derive(Debug, Deserialize)]
pub(super) struct Limits {
    pub(super) unacked_max: u64,
}

/// A frame after the welcome, of what a client looks at.
#[derive(Debug, Deserialize)]
pub(super) struct Frame<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    pub(super) from: Option<&'a str>,
    pub(super) to: Option<serde_json::Value>,
    pub(super) id: Option<u64>,
    pub(super) settled: Option<u64>,
    #[serde(borrow)]
    pub(super) payload: Option<&'a str>,
    pub(super) peer: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
    pub(super) code: Option<&'a str>,
    pub(super) resume: Option<bool>,
    pub(super) retry_after_ms: Option<u64>,
    pub(super) within_ms: Option<u64>,
}

/// The `to` of a `moving`.
pub(super) fn urls(to: Option<&serde_json::Value>) -> Vec<String> {
    let all = match to {
        Some(serde_json::Value::Array(all)) => all.iter().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    };
    all.into_iter().filter_map(|url| Some(signal_url(url.as_str()?))).collect()
}

/// A node's address as its WebSocket's.
pub(in super::super) fn signal_url(url: &str) -> String {
    let url = url.replacen("http", "ws", 1);
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    if rest.trim_end_matches('/').contains('/') {
        url
    } else {
        format!("{}/v1/signal", url.trim_end_matches('/'))
    }
}
