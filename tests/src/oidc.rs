//! An OpenID provider that lets everybody in at once, as whoever the test says.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

/// What this console is called there, and its secret.
pub const CLIENT: (&str, &str) = ("chappe", "s3cret of chappe");

/// A connection is silent for no longer than this.
const SILENCE: Duration = Duration::from_secs(5);

/// The provider.
pub struct Provider {
    at: SocketAddr,
    claims: Arc<Mutex<Value>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Who has begun, by the code that they get.
struct Begun {
    nonce: String,
    challenge: String,
    redirect: String,
}

struct Server {
    issuer: String,
    key: EcdsaKeyPair,
    begun: BTreeMap<String, Begun>,
    claims: Arc<Mutex<Value>>,
}

impl Provider {
    /// Begins to listen on loopback.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).unwrap();
        let claims = Arc::new(Mutex::new(json!({ "sub": "u-1", "preferred_username": "ada" })));
        let over = Arc::<AtomicBool>::default();
        let issuer = format!("http://{at}");
        let mut server = Server { issuer, key, begun: BTreeMap::new(), claims: Arc::clone(&claims) };
        let ends = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ends.load(Ordering::Acquire) {
                    return;
                }
                let _ = server.serve(stream); // a client that has gone
            }
        });
        Self { at, claims, over, thread: Some(thread) }
    }

    /// Its issuer identifier.
    pub fn issuer(&self) -> String {
        format!("http://{}", self.at)
    }

    /// Whoever comes from now on has these groups.
    pub fn groups(&self, groups: &[&str]) {
        self.claims.lock().unwrap()["groups"] = json!(groups);
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.at);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The fields of a query or a form.
pub fn fields(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), decoded(value))).collect()
}

fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend(part[2..].bytes());
    }
    String::from_utf8(bytes).unwrap()
}

fn text(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

impl Server {
    fn serve(&mut self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(SILENCE))?;
        let mut stream = BufReader::new(stream);
        let (mut head, mut line) = (String::new(), String::new());
        while stream.read_line(&mut line)? > 2 {
            head.push_str(&line);
            line.clear();
        }
        let field = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            lines
                .filter(|(held, _)| held.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_owned())
                .next()
        };
        let length = field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let target = head.split(' ').nth(1).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (status, extra, said) = match path {
            "/.well-known/openid-configuration" => ("200 OK", String::new(), self.metadata()),
            "/certs" => ("200 OK", String::new(), self.keys()),
            "/auth" => ("302 Found", format!("Location: {}\r\n", self.begin(&fields(query))), Value::Null),
            "/token" => {
                let (status, said) =
                    self.token(&fields(&String::from_utf8_lossy(&body)), field("authorization").as_deref());
                (status, String::new(), said)
            }
            _ => ("404 Not Found", String::new(), Value::Null),
        };
        let said = said.to_string();
        let head = format!(
            "HTTP/1.1 {status}\r\n{extra}Content-Length: {}\r\nConnection: close\r\n\r\n",
            said.len()
        );
        stream.get_mut().write_all(format!("{head}{said}").as_bytes())
    }

    fn metadata(&self) -> Value {
        let issuer = &self.issuer;
        json!({
            "issuer": issuer, "authorization_endpoint": format!("{issuer}/auth"),
            "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/certs"),
        })
    }

    fn keys(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let (x, y) = (text(&point[1..33]), text(&point[33..]));
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "k", "use": "sig", "x": x, "y": y }] })
    }

    /// Somebody is sent back with a code.
    fn begin(&mut self, asked: &BTreeMap<String, String>) -> String {
        assert_eq!(
            (asked["client_id"].as_str(), asked["code_challenge_method"].as_str()),
            (CLIENT.0, "S256")
        );
        let code = format!("c0de-{}", self.begun.len());
        let (nonce, challenge) = (asked["nonce"].clone(), asked["code_challenge"].clone());
        let redirect = asked["redirect_uri"].clone();
        let back = format!("{redirect}?code={code}&state={}", asked["state"]);
        self.begun.insert(code, Begun { nonce, challenge, redirect });
        back
    }

    /// A code, once, for whoever has begun and has the secret.
    fn token(&mut self, form: &BTreeMap<String, String>, basic: Option<&str>) -> (&'static str, Value) {
        let pair = BASE64.encode(format!("{}:{}", CLIENT.0, CLIENT.1.replace(' ', "%20")).as_bytes());
        if basic != Some(&format!("Basic {pair}")) {
            return ("401 Unauthorized", json!({ "error": "invalid_client" }));
        }
        let verified = text(digest(&SHA256, form["code_verifier"].as_bytes()).as_ref());
        let begun = self.begun.get_mut(&form["code"]).filter(|begun| begun.challenge == verified);
        let Some(begun) = begun.filter(|begun| begun.redirect == form["redirect_uri"]) else {
            return ("400 Bad Request", json!({ "error": "invalid_grant" }));
        };
        begun.challenge.clear();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = self.claims.lock().unwrap().clone();
        for (name, value) in [
            ("iss", json!(self.issuer)),
            ("aud", json!(CLIENT.0)),
            ("nonce", json!(begun.nonce)),
            ("iat", json!(now)),
            ("exp", json!(now + 300)),
        ] {
            claims[name] = value;
        }
        let header = json!({ "alg": "ES256", "kid": "k" }).to_string();
        let signed = format!("{}.{}", text(header.as_bytes()), text(claims.to_string().as_bytes()));
        let tag = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        ("200 OK", json!({ "id_token": format!("{signed}.{}", text(tag.as_ref())), "token_type": "Bearer" }))
    }
}
