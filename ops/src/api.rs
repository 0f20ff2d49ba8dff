//! A client of the admin API: HTTP/1.1 by hand over one connection, TLS where the URL says so.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context, Result, anyhow, bail};
use chappe_proto::limits::PAGE_ITEMS_MAX;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

/// A node that says nothing for this long is given up; a change of the registry has 5 s there.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// The longest answer that is read into memory: all users of a cluster are not asked for.
const ANSWER_MAX: u64 = 1024 * 1024;

/// Which node is asked, and as whom.
#[derive(Debug, clap::Args)]
pub(crate) struct At {
    /// A node: http://HOST:PORT or https://HOST.
    #[arg(long, value_name = "URL", env = "CHAPPE_NODE", default_value = "http://127.0.0.1:8080")]
    node: String,
    /// The operator's token.
    #[arg(long, value_name = "FILE", env = "CHAPPE_TOKEN_FILE", default_value = ".chappe-dev/admin-token")]
    token_file: PathBuf,
    /// The certificates that an https:// node's is checked by (PEM).
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")]
    ca: PathBuf,
}

impl At {
    /// The node that is asked.
    pub(crate) fn url(&self) -> &str {
        &self.node
    }

    /// Nothing is connected yet.
    pub(crate) fn open(&self) -> Result<Api> {
        let token = fs::read_to_string(&self.token_file).with_context(|| {
            format!(
                "{} cannot be read; give the operator's token by --token-file: a node keeps it in its data \
                 directory (admin-token)",
                self.token_file.display()
            )
        })?;
        Api::new(&self.node, token.trim(), &self.ca)
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A node, and the connection to it.
pub(crate) struct Api {
    host: String,
    token: String,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    stream: Option<BufReader<Box<dyn Stream>>>,
}

impl Api {
    pub(crate) fn new(url: &str, token: &str, ca: &Path) -> Result<Self> {
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
        let unreachable =
            || format!("no connection to {}; any other node of its cluster answers too", self.host);
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

    /// The node, as it is named in messages.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Asks, and answers with status and body. What may come twice without harm (all but POST) is sent
    /// again on a new connection where the old one was closed meanwhile.
    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &Value) -> Result<(u16, Value)> {
        let request = self.request(method, path, body);
        if method != "POST"
            && let Some(mut stream) = self.stream.take()
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

    /// Gets a file and writes it out: how many bytes. An error of the API is told by its words.
    pub(crate) fn download(&mut self, path: &str, mut to: impl Write) -> Result<u64> {
        let silent = || format!("{} does not answer", self.host);
        let mut stream = self.connect()?;
        stream.get_mut().write_all(self.request("GET", path, &Value::Null).as_bytes())?;
        stream.get_mut().flush()?;
        let (status, length) = head(&mut stream).with_context(silent)?;
        if status != 200 {
            return Err(failed(&self.host, status, &small_body(&mut stream, length)?));
        }
        let copied = io::copy(&mut stream.take(length), &mut to).with_context(silent)?;
        if copied < length {
            bail!("{} has sent {copied} of {length} bytes: try again", self.host);
        }
        Ok(copied)
    }

    /// Asks for something that is answered with a JSON value, or nothing; an error by the API's words.
    pub(crate) fn call(&mut self, method: &str, path: &str, body: &Value) -> Result<Value> {
        match self.ask(method, path, body)? {
            (200..300, answer) => Ok(answer),
            (status, answer) => Err(failed(&self.host, status, &answer)),
        }
    }

    /// Asks for a list, page after page: the items of all of them, as a JSON array.
    pub(crate) fn list(&mut self, path: &str) -> Result<Value> {
        let mut items = Vec::new();
        let mut after = String::new();
        loop {
            let mut page =
                self.call("GET", &format!("{path}?limit={PAGE_ITEMS_MAX}{after}"), &Value::Null)?;
            if let Some(more) = page["items"].as_array_mut() {
                items.append(more);
            }
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(items.into()),
            }
        }
    }

    fn request(&self, method: &str, path: &str, body: &Value) -> String {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        format!(
            "{method} /admin/api/v1{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            self.host,
            self.token,
            text.len()
        )
    }
}

/// What an answer other than success says.
fn failed(host: &str, status: u16, answer: &Value) -> anyhow::Error {
    match (status, answer["detail"].as_str()) {
        (400 | 409 | 503, Some(detail)) => anyhow!("{detail}"),
        (401, Some(detail)) => anyhow!("{host}: {detail}"),
        (404, Some(detail)) => anyhow!("{host}: {detail}"),
        (404, None) => anyhow!("{host} has no such API: a node of this release is asked for"),
        (_, detail) => anyhow!("{host} answers {status}: {}", detail.unwrap_or("no reason given")),
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
    let (status, length) = head(stream)?;
    Ok((status, small_body(stream, length)?))
}

/// The head of an answer: its status, and how long the body is.
fn head(stream: &mut BufReader<Box<dyn Stream>>) -> Result<(u16, u64)> {
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
    Ok((status.context("this is no HTTP")?, length))
}

fn small_body(stream: &mut BufReader<Box<dyn Stream>>, length: u64) -> Result<Value> {
    if length > ANSWER_MAX {
        bail!("an answer of {length} bytes");
    }
    let mut body = vec![0; usize::try_from(length)?];
    stream.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// A path segment (RFC 3986 section 3.3).
pub(crate) fn segment(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_paths() {
        let node = |url| Api::new(url, "token", Path::new("/nowhere"));
        assert_eq!(node("http://127.0.0.1:8080/").unwrap().host, "127.0.0.1:8080");
        assert_eq!(node("http://[::1]:8080").unwrap().host, "[::1]:8080");
        assert_eq!(node("http://node.example.org").unwrap().host, "node.example.org:80");
        for bad in ["node:8080", "ftp://node", "http://", "http://a/b", "http://a@b"] {
            assert!(node(bad).is_err(), "{bad}");
        }
        let no_roots = node("https://node.example.org").err().unwrap();
        assert!(format!("{no_roots:#}").contains("--ca"), "{no_roots:#}");
        assert!(Api::new("http://a", "", Path::new("")).is_err());
        assert_eq!(segment("a b%ü:/"), "a%20b%25%C3%BC%3A%2F");
    }
}
