//! Its HTTPS: one request a connection.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Instant;

use data_encoding::BASE64URL_NOPAD;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::Shared;
use super::jws::{Jws, Key};
use super::prove::{self, problem};

/// What is answered.
struct Answer {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Answer {
    fn json(status: &'static str, body: &Value) -> Self {
        Self {
            status,
            headers: vec![("Content-Type", "application/json".to_owned())],
            body: body.to_string(),
        }
    }

    fn ok(body: &Value) -> Self {
        Self::json("200 OK", body)
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A request that is refused; those of a client's fault are noted.
enum Refused {
    Wrong(&'static str, String),
    Told(&'static str, Value, Option<u64>),
}

fn malformed(why: impl Into<String>) -> Refused {
    Refused::Wrong("malformed", why.into())
}

pub(super) fn start(listener: TcpListener, shared: Arc<Shared>) {
    let (certificate, key) = shared.authority.server();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    // A client that does not trust the CA ends here.
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let Some((method, path, body)) = read(&mut stream).await else { return };
                    let answer = answer(&shared, &method, &path, &body).await;
                    let mut text = format!("HTTP/1.1 {}\r\n", answer.status);
                    for (name, value) in &answer.headers {
                        text += &format!("{name}: {value}\r\n");
                    }
                    // Chunked, as a server behind a proxy answers: no client may count on a length.
                    text += "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
                    if method != "HEAD" {
                        if !answer.body.is_empty() {
                            text += &format!("{:x}\r\n{}\r\n", answer.body.len(), answer.body);
                        }
                        text += "0\r\n\r\n";
                    }
                    // One that is gone needs no answer.
                    let _ = stream.write_all(text.as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
    });
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<(String, String, Vec<u8>)> {
    let mut all = Vec::new();
    loop {
        if let Some(end) = all.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&all[..end]).into_owned();
            let header = |wanted: &str| {
                let mut headers = head.lines().filter_map(|line| line.split_once(':'));
                headers
                    .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                    .map(|(_, value)| value.trim().to_owned())
            };
            let len = header("content-length").map_or(0, |len| len.parse().unwrap());
            if all.len() >= end + 4 + len {
                let mut words = head.split(' ');
                let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
                let typed = header("content-type").is_some_and(|kind| kind == "application/jose+json");
                assert!(method != "POST" || typed, "RFC 8555 section 6.2: {head}");
                return Some((method, path, all[end + 4..].to_vec()));
            }
        }
        if stream.read_buf(&mut all).await.ok()? == 0 {
            return None;
        }
    }
}

async fn answer(shared: &Arc<Shared>, method: &str, path: &str, body: &[u8]) -> Answer {
    let base = format!("https://{}", shared.at);
    let answer = match (method, path) {
        ("GET", "/directory") => return Answer::ok(&directory(shared, &base)),
        ("GET", _) if path.starts_with("/renewal/") => return renewal(shared),
        ("HEAD", "/nonce") => Answer::ok(&Value::Null),
        ("POST", _) => match post(shared, &base, path, body).await {
            Ok(answer) => answer,
            Err(Refused::Wrong(kind, why)) => {
                shared.see(|seen| seen.wrong.push(format!("{path}: {why}")));
                Answer::json("400 Bad Request", &problem(kind, why))
            }
            Err(Refused::Told(status, problem, retry)) => {
                let answer = Answer::json(status, &problem);
                match retry {
                    Some(seconds) => answer.with("Retry-After", seconds.to_string()),
                    None => answer,
                }
            }
        },
        _ => Answer::json("404 Not Found", &problem("malformed", "nothing is there")),
    };
    answer.with("Replay-Nonce", shared.orders.lock().unwrap().nonce())
}

fn directory(shared: &Shared, base: &str) -> Value {
    let mut told = json!({
        "newNonce": format!("{base}/nonce"),
        "newAccount": format!("{base}/account"),
        "newOrder": format!("{base}/order"),
        "revokeCert": format!("{base}/revoke"),
        "keyChange": format!("{base}/key"),
        "meta": { "termsOfService": format!("{base}/terms") },
    });
    if shared.behaviour.lock().unwrap().renewal_info {
        told["renewalInfo"] = format!("{base}/renewal").into();
    }
    told
}

/// RFC 9773 section 4.2: at once.
fn renewal(shared: &Shared) -> Answer {
    if !shared.behaviour.lock().unwrap().renewal_info {
        return Answer::json("404 Not Found", &problem("malformed", "nothing is there"));
    }
    let window = json!({ "start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z" });
    Answer::ok(&json!({ "suggestedWindow": window })).with("Retry-After", "21600")
}

async fn post(shared: &Arc<Shared>, base: &str, path: &str, body: &[u8]) -> Result<Answer, Refused> {
    let jws = Jws::read(body).map_err(malformed)?;
    if jws.protected["url"] != format!("{base}{path}") {
        return Err(malformed(format!("it is signed for {}", jws.protected["url"])));
    }
    nonce(shared, &jws)?;
    if path == "/account" {
        return account(shared, base, &jws);
    }
    let account = signed(shared, base, &jws)?;
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (parts.as_slice(), &jws.payload) {
        (["order"], Some(asked)) => order(shared, base, account, asked),
        ([what, number, rest @ ..], payload) => {
            let number: usize = number.parse().map_err(|_| malformed("no number"))?;
            match (*what, rest, payload) {
                ("order", [], None) => {
                    owned(account, shared.orders.lock().unwrap().orders.get(number).map(|it| it.account))?;
                    Ok(Answer::ok(&shared.orders.lock().unwrap().order(base, number)))
                }
                ("authz", [], None) => {
                    authorized(shared, account, number)?;
                    Ok(Answer::ok(&shared.orders.lock().unwrap().authorization(base, number)))
                }
                ("chall", [kind], Some(payload)) if *payload == json!({}) => {
                    challenge(shared, base, account, number, kind)
                }
                ("finalize", [], Some(asked)) => finalize(shared, base, account, number, asked),
                ("cert", [], None) => certificate(shared, account, number),
                _ => Err(malformed("no such resource, or not by this method")),
            }
        }
        _ => Err(malformed("no such resource")),
    }
}

/// Good once (RFC 8555 section 6.5).
fn nonce(shared: &Shared, jws: &Jws) -> Result<(), Refused> {
    let bad = |why: &str| Refused::Told("400 Bad Request", problem("badNonce", why), None);
    let nonce = jws.protected["nonce"].as_str().unwrap_or_default();
    let known = shared.orders.lock().unwrap().nonces.remove(nonce);
    let mut behaviour = shared.behaviour.lock().unwrap();
    if behaviour.bad_nonces > 0 {
        behaviour.bad_nonces -= 1;
        return Err(bad("too old"));
    }
    drop(behaviour);
    if !known {
        shared.see(|seen| seen.wrong.push("a nonce that was not given, or twice".to_owned()));
        return Err(bad("unknown"));
    }
    Ok(())
}

/// Who has signed it.
fn signed(shared: &Shared, base: &str, jws: &Jws) -> Result<usize, Refused> {
    let kid = jws.protected["kid"].as_str().ok_or_else(|| malformed("no kid"))?;
    let number = kid.strip_prefix(&format!("{base}/account/")).and_then(|number| number.parse().ok());
    let orders = shared.orders.lock().unwrap();
    let Some((number, key)) = number.and_then(|number: usize| Some((number, orders.accounts.get(number)?)))
    else {
        return Err(Refused::Told("400 Bad Request", problem("accountDoesNotExist", kid), None));
    };
    jws.verify(key).map_err(malformed)?;
    Ok(number)
}

fn account(shared: &Shared, base: &str, jws: &Jws) -> Result<Answer, Refused> {
    let key = Key::read(&jws.protected["jwk"]).map_err(malformed)?;
    jws.verify(&key).map_err(malformed)?;
    let asked = jws.payload.as_ref().ok_or_else(|| malformed("no payload"))?;
    if asked["termsOfServiceAgreed"] != true {
        return Err(Refused::Wrong("userActionRequired", "the terms are not agreed to".to_owned()));
    }
    let contacts = asked["contact"].as_array().cloned().unwrap_or_default();
    let mut orders = shared.orders.lock().unwrap();
    let known = orders.accounts.iter().position(|known| *known == key);
    let number = known.unwrap_or_else(|| {
        orders.accounts.push(key);
        orders.accounts.len() - 1
    });
    let accounts = orders.accounts.len();
    drop(orders);
    shared.see(|seen| {
        seen.accounts = accounts;
        seen.contacts = contacts.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    });
    let status = if known.is_some() { "200 OK" } else { "201 Created" };
    Ok(Answer::json(status, &json!({ "status": "valid" }))
        .with("Location", format!("{base}/account/{number}")))
}

fn order(shared: &Shared, base: &str, account: usize, asked: &Value) -> Result<Answer, Refused> {
    if let Some((left, seconds)) = &mut shared.behaviour.lock().unwrap().limited
        && *left > 0
    {
        *left -= 1;
        shared.see(|seen| seen.limited = Some(Instant::now()));
        let told = problem("rateLimited", "too many certificates already issued");
        return Err(Refused::Told("429 Too Many Requests", told, Some(*seconds)));
    }
    let identifiers = asked["identifiers"].as_array().ok_or_else(|| malformed("no identifiers"))?;
    let name = |one: &Value| one["value"].as_str().filter(|_| one["type"] == "dns").map(str::to_owned);
    let names: Option<Vec<_>> = identifiers.iter().map(name).collect();
    let names = names.filter(|names| !names.is_empty()).ok_or_else(|| malformed("no names"))?;
    let replaces = asked["replaces"].as_str().map(str::to_owned);
    shared.see(|seen| {
        seen.replaced += usize::from(replaces.is_some());
        seen.ordered = Some(Instant::now());
    });
    let mut orders = shared.orders.lock().unwrap();
    let number = orders.open(account, names, replaces);
    Ok(Answer::json("201 Created", &orders.order(base, number))
        .with("Location", format!("{base}/order/{number}")))
}

fn owned(account: usize, owner: Option<usize>) -> Result<(), Refused> {
    if owner == Some(account) { Ok(()) } else { Err(malformed("somebody else's, or nobody's")) }
}

fn authorized(shared: &Shared, account: usize, number: usize) -> Result<(), Refused> {
    owned(account, shared.orders.lock().unwrap().authorizations.get(number).map(|it| it.account))
}

/// Connects back, beside the answer.
fn challenge(
    shared: &Arc<Shared>,
    base: &str,
    account: usize,
    number: usize,
    kind: &str,
) -> Result<Answer, Refused> {
    authorized(shared, account, number)?;
    let mut orders = shared.orders.lock().unwrap();
    let authorization =
        format!("{}.{}", orders.authorizations[number].token, orders.accounts[account].thumbprint());
    let taken = &mut orders.authorizations[number];
    if taken.taken.is_none() {
        taken.taken = Some((kind.to_owned(), None));
        let (name, token, kind) = (taken.name.clone(), taken.token.clone(), kind.to_owned());
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            let proved = prove::prove(&shared.names, &name, &kind, &token, &authorization).await;
            let fine = proved.is_ok();
            let taken = &mut shared.orders.lock().unwrap().authorizations[number];
            taken.status = if fine { "valid" } else { "invalid" };
            taken.taken = Some((kind.clone(), proved.err()));
            shared.see(|seen| seen.proved.push((kind, fine)));
        });
    }
    Ok(Answer::ok(&orders.challenge(base, number, kind)))
}

fn finalize(
    shared: &Shared,
    base: &str,
    account: usize,
    number: usize,
    asked: &Value,
) -> Result<Answer, Refused> {
    let mut orders = shared.orders.lock().unwrap();
    owned(account, orders.orders.get(number).map(|it| it.account))?;
    if orders.order(base, number)["status"] != "ready" {
        return Err(Refused::Wrong("orderNotReady", "it is not ready".to_owned()));
    }
    let csr = asked["csr"].as_str().and_then(|csr| BASE64URL_NOPAD.decode(csr.as_bytes()).ok());
    let csr = csr.ok_or_else(|| Refused::Wrong("badCSR", "no CSR".to_owned()))?;
    let validity = shared.behaviour.lock().unwrap().validity;
    let issued = shared.authority.issue(&csr, &orders.orders[number].names, validity);
    let (leaf, chain) = issued.map_err(|why| Refused::Wrong("badCSR", why))?;
    orders.orders[number].chain = Some(chain);
    shared.see(|seen| seen.issued.push(leaf));
    Ok(Answer::ok(&orders.order(base, number)))
}

fn certificate(shared: &Shared, account: usize, number: usize) -> Result<Answer, Refused> {
    let orders = shared.orders.lock().unwrap();
    let order = orders.orders.get(number);
    owned(account, order.map(|it| it.account))?;
    let chain = order.and_then(|order| order.chain.clone()).ok_or_else(|| malformed("it is not issued"))?;
    let headers = vec![("Content-Type", "application/pem-certificate-chain".to_owned())];
    Ok(Answer { status: "200 OK", headers, body: chain })
}
