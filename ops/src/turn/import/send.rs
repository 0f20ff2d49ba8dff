//! Into a cluster, by the admin API of one of its nodes.
#![allow(clippy::print_stderr)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use chappe_edge::Credentials;
use chappe_proto::mesh::uplink::{PeerPolicy, Secret, TurnUser};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use super::found::count;
use crate::turn::key::hex;

/// A node that says nothing for this long is given up; a change of the registry has 5 s there.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// The longest answer that is read: all users of a cluster are not asked for.
const ANSWER_MAX: u64 = 1024 * 1024;
/// Progress is said once in so many users.
const SAID_EVERY: usize = 500;

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A node, and the connection to it.
pub(super) struct Node {
    host: String,
    token: String,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    stream: Option<BufReader<Box<dyn Stream>>>,
}

impl Node {
    pub(super) fn new(url: &str, token: &str, ca: &Path) -> Result<Self> {
        let bad = || anyhow!("{url:?} is no URL of a node: http://HOST:PORT or https://HOST:PORT");
        let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
        let authority = rest.trim_end_matches('/');
        if authority.is_empty() || authority.contains(['/', '?', '#', '@', ' ']) {
            return Err(bad());
        }
        let port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return Err(bad()),
        };
        let (name, has_port) = match authority.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() && !name.is_empty() => (name, true),
            _ => (authority, false),
        };
        let host = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };
        let tls = if scheme == "https" {
            let name = name.trim_matches(['[', ']']).to_owned();
            Some((tls(ca)?, ServerName::try_from(name).map_err(|_| bad())?))
        } else {
            None
        };
        if token.is_empty() || token.contains(|c: char| c.is_control() || c == ' ') {
            bail!(
                "the token file holds no token: `chappe dev` keeps one in its data directory (admin-token)"
            );
        }
        Ok(Self { host, token: token.to_owned(), tls, stream: None })
    }

    fn connect(&self) -> Result<BufReader<Box<dyn Stream>>> {
        let unreachable = || format!("no connection to {}", self.host);
        let mut last = None;
        for address in self.host.to_socket_addrs().with_context(unreachable)? {
            match TcpStream::connect_timeout(&address, ANSWER_WITHIN) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
                    stream.set_write_timeout(Some(ANSWER_WITHIN))?;
                    stream.set_nodelay(true)?;
                    return Ok(BufReader::new(match &self.tls {
                        None => Box::new(stream),
                        Some((config, name)) => {
                            let connection = ClientConnection::new(Arc::clone(config), name.clone())?;
                            Box::new(StreamOwned::new(connection, stream))
                        }
                    }));
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| anyhow!("{} has no address", self.host), anyhow::Error::from))
            .with_context(unreachable)
    }

    /// Asks once, and again on a new connection where the old one was closed meanwhile: every request
    /// made here may come twice.
    fn ask(&mut self, method: &str, path: &str, body: &Value) -> Result<(u16, Value)> {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} /admin/api/v1/turn{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            self.host,
            self.token,
            text.len()
        );
        if let Some(mut stream) = self.stream.take()
            && let Ok(answer) = exchange(&mut stream, &request)
        {
            self.stream = Some(stream);
            return Ok(answer);
        }
        let mut stream = self.connect()?;
        let answer =
            exchange(&mut stream, &request).with_context(|| format!("{} does not answer", self.host))?;
        self.stream = Some(stream);
        Ok(answer)
    }

    /// Asks for a change: why it was refused, if it was.
    fn change(&mut self, method: &str, path: &str, body: &Value) -> Result<Option<String>> {
        let (status, answer) = self.ask(method, path, body)?;
        let detail = answer["detail"].as_str().unwrap_or("no reason given").to_owned();
        match status {
            204 => Ok(None),
            400 | 409 => Ok(Some(detail)),
            401 => bail!("{}: {detail}", self.host),
            404 => bail!("{} has no such API: a node of this release is asked for", self.host),
            status => bail!("{} answers {status}: {detail}. Run it again: what was sent stays", self.host),
        }
    }

    fn get(&mut self, path: &str) -> Result<Value> {
        match self.ask("GET", path, &Value::Null)? {
            (200, answer) => Ok(answer),
            (status, answer) => {
                bail!(
                    "{} answers {status}: {}",
                    self.host,
                    answer["detail"].as_str().unwrap_or("no reason given")
                )
            }
        }
    }
}

fn tls(ca: &Path) -> Result<Arc<ClientConfig>> {
    let about =
        || format!("{} holds no certificates to check the node's by: give others by --ca", ca.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).with_context(about)? {
        roots.add(certificate.with_context(about)?).with_context(about)?;
    }
    if roots.is_empty() {
        bail!("{}", about());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

fn exchange(stream: &mut BufReader<Box<dyn Stream>>, request: &str) -> Result<(u16, Value)> {
    stream.get_mut().write_all(request.as_bytes())?;
    stream.get_mut().flush()?;
    let mut status = None;
    let mut length = 0_u64;
    let mut head = stream.by_ref().take(64 * 1024);
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            bail!("the answer is cut short");
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        match line.split_once(':') {
            _ if status.is_none() => status = line.split(' ').nth(1).and_then(|code| code.parse().ok()),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse()?;
            }
            _ => {}
        }
    }
    if length > ANSWER_MAX {
        bail!("an answer of {length} bytes");
    }
    let mut body = vec![0; usize::try_from(length)?];
    stream.read_exact(&mut body)?;
    Ok((status.context("this is no HTTP")?, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}

/// A path segment (RFC 3986 section 3.3).
fn segment(text: &str) -> String {
    let mut segment = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                segment.push(char::from(byte));
            }
            byte => segment += &format!("%{byte:02X}"),
        }
    }
    segment
}

fn user_path(user: &TurnUser) -> String {
    format!("/realms/{}/users/{}", segment(&user.realm), segment(&user.name))
}

fn keys(user: &TurnUser) -> Value {
    let mut keys = json!({});
    for (name, key) in [("md5", &user.md5), ("sha256", &user.sha256)] {
        if key.is_some() {
            keys[name] = hex(key).into();
        }
    }
    keys
}

/// Sends everything, and says what of it is in force.
pub(super) fn all(node: &mut Node, credentials: &Credentials) -> Result<String> {
    let mut sent = Sent::default();
    for Secret(secret) in &credentials.secrets {
        let body = json!({ "secret": String::from_utf8_lossy(secret) });
        sent.note("shared secret", node.change("POST", "/secrets", &body)?);
    }
    let users = &credentials.users;
    for (n, user) in users.iter().enumerate() {
        if n % SAID_EVERY == 0 && n > 0 {
            let end = if std::io::stderr().is_terminal() { "\r" } else { "\n" };
            eprint!("{n} of {}{end}", count(users.len(), "user"));
        }
        let refused = node.change("PUT", &user_path(user), &keys(user))?;
        sent.note("user", refused.map(|why| format!("{:?} of {:?}: {why}", user.name, user.realm)));
    }
    if !credentials.origins.is_empty() {
        let mut origins: BTreeMap<String, String> = serde_json::from_value(node.get("/origins")?)?;
        origins.extend(credentials.origins.clone());
        let refused = node.change("PUT", "/origins", &json!(origins))?;
        sent.several("origin", credentials.origins.len(), refused);
    }
    let PeerPolicy { allow, deny } = &credentials.peers;
    if !allow.is_empty() || !deny.is_empty() {
        let mut peers: PeerPolicy = serde_json::from_value(node.get("/peers")?)?;
        for (held, more) in [(&mut peers.allow, allow), (&mut peers.deny, deny)] {
            held.extend(more);
            held.sort();
            held.dedup();
        }
        let refused = node.change("PUT", "/peers", &json!(peers))?;
        sent.several("prefix", allow.len() + deny.len(), refused);
    }
    sent.summary()
}

/// What of it is in force.
#[derive(Default)]
struct Sent {
    taken: Vec<(&'static str, usize)>,
    refused: Vec<String>,
}

impl Sent {
    fn note(&mut self, thing: &'static str, refused: Option<String>) {
        self.several(thing, 1, refused);
    }

    fn several(&mut self, thing: &'static str, n: usize, refused: Option<String>) {
        match refused {
            Some(why) => self.refused.push(format!("{}: {why}", count(n, thing))),
            None => match self.taken.iter_mut().find(|(held, _)| *held == thing) {
                Some((_, held)) => *held += n,
                None => self.taken.push((thing, n)),
            },
        }
    }

    fn summary(self) -> Result<String> {
        let taken: Vec<_> = self.taken.iter().map(|(thing, n)| count(*n, thing)).collect();
        let taken = if taken.is_empty() { "nothing".to_owned() } else { taken.join(", ") };
        if self.refused.is_empty() {
            return Ok(taken);
        }
        let shown = self.refused.iter().take(20).map(|why| format!("\n  {why}")).collect::<String>();
        bail!("{taken} sent; the cluster refused {}:{shown}", self.refused.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_paths() {
        let node = |url| Node::new(url, "token", Path::new("/nowhere"));
        assert_eq!(node("http://127.0.0.1:8080/").unwrap().host, "127.0.0.1:8080");
        assert_eq!(node("http://[::1]:8080").unwrap().host, "[::1]:8080");
        assert_eq!(node("http://node.example.org").unwrap().host, "node.example.org:80");
        for bad in ["node:8080", "ftp://node", "http://", "http://a/b", "http://a@b"] {
            assert!(node(bad).is_err(), "{bad}");
        }
        let no_roots = node("https://node.example.org").err().unwrap();
        assert!(format!("{no_roots:#}").contains("--ca"), "{no_roots:#}");
        assert!(Node::new("http://a", "", Path::new("")).is_err());
        let user = TurnUser::of_password("r/s", "a b%ü:", "p");
        assert_eq!(user_path(&user), "/realms/r%2Fs/users/a%20b%25%C3%BC%3A");
    }
}
