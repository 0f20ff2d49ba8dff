//! A payload as it is shown to whoever watches: what it is about, and nothing by which somebody could be found, or
//! a session be taken over. Of what is not known to be harmless nothing is shown.

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use sha2::Sha256;

use super::{candidate, description};
use crate::limits::SHOWN_KEYS_MAX;
use crate::signal::json::Json;

/// By which values are hidden: equal ones look equal to one watch, and say nothing to another.
#[derive(Clone, Copy)]
pub struct Hidden<'a>(pub &'a [u8]);

impl Hidden<'_> {
    /// 32 bits of HMAC-SHA-256: an ICE `ufrag` alone would be found by trying all.
    #[must_use]
    pub fn hash(&self, value: &str) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0) else { return "#".to_owned() };
        mac.update(value.as_bytes());
        let whole = mac.finalize().into_bytes();
        format!("#{}", HEXLOWER.encode(&whole[..4]))
    }

    /// A small number as it is, anything else hidden.
    pub(super) fn hash_unless_number(&self, value: &str) -> String {
        let value = value.trim();
        value.parse::<u16>().map_or_else(|_| self.hash(value), |number| number.to_string())
    }
}

/// What a payload of a kind is about. `offer`, `answer`, `pranswer` and `rollback` have an SDP; `candidate` a candidate,
/// or several; of an app's own kinds only the names of the top level are shown, those that look like names.
#[must_use]
pub fn redact(kind: &str, payload: &Json, hidden: &Hidden<'_>) -> Json {
    let value: Value = serde_json::from_str(payload.as_str()).unwrap_or_default();
    let told = match kind {
        "offer" | "answer" | "pranswer" | "rollback" => of_description(&value, hidden),
        "candidate" | "candidates" => of_candidate(&value, hidden),
        _ => None,
    };
    let told = told.unwrap_or_else(|| keys(&value));
    Json::parse(&told.to_string()).unwrap_or(Json::NULL)
}

fn of_description(value: &Value, hidden: &Hidden<'_>) -> Option<Value> {
    let sdp = value.get("sdp").unwrap_or(value);
    // `{"sdp": {"type": "offer", "sdp": "v=0…"}}` as much as the description itself, or its text.
    let sdp = sdp.get("sdp").unwrap_or(sdp).as_str()?;
    Some(json!({ "sdp": description::shown(sdp, hidden) }))
}

fn of_candidate(value: &Value, hidden: &Hidden<'_>) -> Option<Value> {
    if let Value::Array(all) = value {
        let shown = all.iter().take(SHOWN_KEYS_MAX).map(|one| of_candidate(one, hidden));
        return Some(Value::Array(shown.collect::<Option<_>>()?));
    }
    let init = value.get("candidate").filter(|inner| inner.is_object()).unwrap_or(value);
    let mut told = Map::new();
    let line = match init.get("candidate").unwrap_or(init) {
        Value::String(line) => line.as_str(),
        Value::Null => "",
        _ => return None,
    };
    told.insert("candidate".into(), candidate::shown(line, hidden));
    if let Some(index) = init.get("sdpMLineIndex").and_then(Value::as_u64) {
        told.insert("sdpMLineIndex".into(), index.into());
    }
    if let Some(mid) = init.get("sdpMid").and_then(Value::as_str) {
        told.insert("sdpMid".into(), hidden.hash_unless_number(mid).into());
    }
    if let Some(ufrag) = init.get("usernameFragment").and_then(Value::as_str) {
        told.insert("ufrag".into(), hidden.hash(ufrag).into());
    }
    Some(Value::Object(told))
}

/// Of what kind a value is, and the names in it.
fn keys(value: &Value) -> Value {
    let Value::Object(object) = value else {
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) | Value::Object(_) => "array",
        };
        return json!({ "is": kind });
    };
    let name = |key: &&String| {
        let plain = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
        (1..=32).contains(&key.len()) && key.bytes().all(plain)
    };
    let names: Vec<&String> = object.keys().filter(name).take(SHOWN_KEYS_MAX).collect();
    let more = object.len() - names.len();
    let mut told = json!({ "keys": names });
    if more > 0 {
        told["more"] = more.into();
    }
    told
}
