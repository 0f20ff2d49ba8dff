//! The `iceServers` of an app, as it hands them to `RTCPeerConnection` (W3C WebRTC section 4.2.2).

use serde::Deserialize;

use super::url::{BadUrl, Url};

/// A server and, for TURN, the credentials for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) url: Url,
    pub(super) credentials: Option<Credentials>,
}

/// A user name and its password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) username: String,
    pub(super) password: String,
    /// They were made here of a shared secret.
    pub(super) made: bool,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Why a text holds no ICE servers.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadIceServers {
    #[error("is not JSON ({0}): keys and texts want double quotes, unlike in JavaScript")]
    Json(#[from] serde_json::Error),
    #[error("is neither an array of ICE servers nor an object with `iceServers` (or one with `urls`)")]
    Shape,
    #[error("holds no ICE server")]
    Empty,
    #[error("{0:?} {1}")]
    Url(String, BadUrl),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Document {
    Servers(Vec<Server>),
    Configuration {
        #[serde(rename = "iceServers", alias = "ice_servers")]
        servers: Vec<Server>,
    },
    One(Server),
}

#[derive(Deserialize)]
struct Server {
    // `url` is what old apps and Twilio's answers say beside `urls`.
    #[serde(default)]
    urls: Option<Urls>,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    credential: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Urls {
    One(String),
    Many(Vec<String>),
}

/// Reads an array of servers, one server, or an `RTCConfiguration` in JSON.
pub(super) fn parse(text: &str) -> Result<Vec<Target>, BadIceServers> {
    let value: serde_json::Value = serde_json::from_str(text)?;
    let servers = match serde_json::from_value(value).map_err(|_| BadIceServers::Shape)? {
        Document::Servers(servers) | Document::Configuration { servers } => servers,
        Document::One(server) => vec![server],
    };
    let mut targets = Vec::new();
    for server in servers {
        let urls = match (server.urls, server.url) {
            (Some(Urls::One(url)), _) | (None, Some(url)) => vec![url],
            (Some(Urls::Many(urls)), _) => urls,
            (None, None) => return Err(BadIceServers::Shape),
        };
        let credentials = match (server.username, server.credential) {
            (Some(username), Some(password)) => Some(Credentials { username, password, made: false }),
            _ => None,
        };
        for text in urls {
            let url: Url = text.parse().map_err(|error| BadIceServers::Url(text, error))?;
            let credentials = credentials.clone().filter(|_| url.turn);
            let target = Target { url, credentials };
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
    }
    if targets.is_empty() { Err(BadIceServers::Empty) } else { Ok(targets) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"{"urls": ["stun:a.org", "turn:a.org"], "username": "u", "credential": "p"}"#;

    #[test]
    fn the_forms_that_apps_have() {
        for text in [
            ONE.to_owned(),
            format!("[{ONE}]"),
            format!(r#"{{"iceServers": [{ONE}], "iceTransportPolicy": "relay"}}"#),
            format!(r#"{{"ice_servers": [{ONE}]}}"#),
        ] {
            let targets = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let urls: Vec<_> = targets.iter().map(|target| target.url.to_string()).collect();
            assert_eq!(urls, ["stun:a.org:3478", "turn:a.org:3478?transport=udp"], "{text}");
            assert_eq!(targets[0].credentials, None, "stun: takes none");
            assert_eq!(targets[1].credentials.as_ref().unwrap().username, "u");
        }
        let old = r#"[{"url": "stun:a.org", "urls": "stun:a.org"}, {"url": "turn:b.org"}]"#;
        assert_eq!(parse(old).unwrap().len(), 2);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |text| parse(text).unwrap_err().to_string();
        assert!(error("{urls: 'turn:a.org'}").contains("double quotes"));
        assert!(error("{}").contains("iceServers"));
        assert!(error("7").contains("iceServers"));
        assert!(error("[]").contains("no ICE server"));
        assert!(error(r#"[{"urls": "turn://a.org"}]"#).contains("//"));
    }

    #[test]
    fn a_password_is_not_shown() {
        let targets = parse(ONE).unwrap();
        assert!(!format!("{targets:?}").contains("\"p\""));
    }
}
