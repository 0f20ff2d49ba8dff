//! A session description (SDP, RFC 8866), without what tells who somebody is, where, or how to take a session over.
//! What is shown is put together from words that are known, numbers and names of codecs: nothing is copied.

use serde_json::{Map, Value, json};

use super::candidate::{self, known};
use super::redact::Hidden;
use crate::limits::{SHOWN_CANDIDATES_MAX, SHOWN_CODECS_MAX, SHOWN_MEDIA_MAX};

const MEDIA: [&str; 5] = ["audio", "video", "application", "text", "message"];
/// Those of WebRTC and of what came before it.
const PROTOCOLS: [&str; 9] = [
    "UDP/TLS/RTP/SAVPF",
    "UDP/TLS/RTP/SAVP",
    "TCP/DTLS/RTP/SAVPF",
    "RTP/SAVPF",
    "RTP/AVPF",
    "RTP/AVP",
    "UDP/DTLS/SCTP",
    "TCP/DTLS/SCTP",
    "DTLS/SCTP",
];
const DIRECTIONS: [&str; 4] = ["sendrecv", "sendonly", "recvonly", "inactive"];
const SETUPS: [&str; 4] = ["actpass", "active", "passive", "holdconn"];
/// Attributes without a value that say how a section works.
const FLAGS: [&str; 6] =
    ["rtcp-mux", "rtcp-mux-only", "rtcp-rsize", "end-of-candidates", "extmap-allow-mixed", "ice-lite"];

/// A codec of `a=rtpmap:96 VP8/90000`: `VP8/90000`. Nothing that could be an address, and nothing long.
fn codec(rtpmap: &str) -> Option<String> {
    let mut parts = rtpmap.split_ascii_whitespace().nth(1)?.split('/');
    let name = parts.next()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.len() > 16 || !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.bytes().all(plain) {
        return None;
    }
    let rate: u32 = parts.next()?.parse().ok()?;
    let channels = parts.next().and_then(|channels| channels.parse::<u8>().ok());
    Some(channels.map_or_else(|| format!("{name}/{rate}"), |channels| format!("{name}/{rate}/{channels}")))
}

/// One section: the session's own, or of one medium.
#[derive(Default)]
struct Section {
    told: Map<String, Value>,
    flags: Vec<&'static str>,
    codecs: Vec<String>,
    candidates: Vec<Value>,
    candidates_more: usize,
}

impl Section {
    /// `m=audio 9 UDP/TLS/RTP/SAVPF 111 63`.
    fn medium(line: &str) -> Self {
        let mut words = line.split_ascii_whitespace();
        let mut section = Self::default();
        let (kind, port) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        section.told.insert("media".into(), known(kind, &MEDIA).into());
        section.told.insert("protocol".into(), known(words.next().unwrap_or_default(), &PROTOCOLS).into());
        if port == "0" {
            section.told.insert("rejected".into(), true.into());
        }
        section
    }

    fn attribute(&mut self, line: &str, hidden: &Hidden<'_>) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if let Some(direction) = DIRECTIONS.iter().find(|known| **known == line) {
            self.told.insert("direction".into(), (*direction).into());
        } else if let Some(flag) = FLAGS.iter().find(|known| **known == line) {
            self.flags.push(flag);
        } else {
            match name {
                "ice-ufrag" => drop(self.told.insert("ufrag".into(), hidden.hash(value.trim()).into())),
                "setup" => drop(self.told.insert("setup".into(), known(value, &SETUPS).into())),
                "mid" => drop(self.told.insert("mid".into(), hidden.hash_unless_number(value).into())),
                "sctp-port" | "max-message-size" => {
                    if let Ok(number) = value.parse::<u32>() {
                        self.told.insert(name.into(), number.into());
                    }
                }
                "rtpmap" => self.codecs.extend(codec(value).filter(|codec| !self.codecs.contains(codec))),
                "candidate" if self.candidates.len() < SHOWN_CANDIDATES_MAX => {
                    self.candidates.push(candidate::shown(line, hidden));
                }
                "candidate" => self.candidates_more += 1,
                _ => {}
            }
        }
        self.codecs.truncate(SHOWN_CODECS_MAX);
        self.flags.truncate(FLAGS.len());
    }

    fn end(mut self) -> Map<String, Value> {
        for (name, list) in [("codecs", json!(self.codecs)), ("flags", json!(self.flags))] {
            if list.as_array().is_some_and(|list| !list.is_empty()) {
                self.told.insert(name.into(), list);
            }
        }
        if !self.candidates.is_empty() {
            self.told.insert("candidates".into(), self.candidates.into());
        }
        if self.candidates_more > 0 {
            self.told.insert("candidates_more".into(), self.candidates_more.into());
        }
        self.told
    }
}

/// What an SDP is about.
pub(super) fn shown(sdp: &str, hidden: &Hidden<'_>) -> Value {
    let (mut session, mut media, mut more) = (Section::default(), Vec::<Section>::new(), 0_usize);
    for line in sdp.split(['\r', '\n']) {
        if let Some(line) = line.strip_prefix("m=") {
            if media.len() < SHOWN_MEDIA_MAX {
                media.push(Section::medium(line));
            } else {
                more += 1;
            }
        } else if let Some(line) = line.strip_prefix("a=")
            && more == 0
        {
            media.last_mut().unwrap_or(&mut session).attribute(line, hidden);
        }
    }
    let mut told = session.end();
    told.insert("bytes".into(), sdp.len().into());
    let media = media.into_iter().map(|section| Value::Object(section.end())).collect();
    told.insert("media".into(), Value::Array(media));
    if more > 0 {
        told.insert("media_more".into(), more.into());
    }
    Value::Object(told)
}
