//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a POST that is sent again, because nobody knows
//! whether the first one came through, gets the first one's answer and does nothing.
//!
//! What a key stands for is kept on the node that was asked, in memory: repeats go to the same node. Where that one
//! could not say what became of it, the registry knows the key too ([`crate::asked`]): a change is committed once, by
//! whichever node it is brought. Only what was done is kept, for [`IDEMPOTENCY_FOR`]: what was refused made nothing, and is tried again. An answer that holds a
//! secret which is told once (`Cache-Control: no-store`) is kept for [`IDEMPOTENCY_SECRET_FOR`] alone, and is never
//! written anywhere. A key is of who asks, known by the same means, and a repeat is answered by a role that is no less
//! than the first one's; whoever is nobody is refused as without a key.
//! What is under way goes on when its client has gone: that is what the repeat asks about.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::body::{BodySize, MessageBody, to_bytes};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpResponse, rt};
use chappe_proto::limits::{
    IDEMPOTENCY_ANSWER_MAX, IDEMPOTENCY_FOR, IDEMPOTENCY_KEY_MAX, IDEMPOTENCY_KEYS_MAX,
    IDEMPOTENCY_KEYS_PER_OPERATOR, IDEMPOTENCY_SECRET_FOR,
};
use chappe_proto::registry::access::Role;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::access::{Means, Principal};
use crate::api::problem::Problem;
use crate::{Mount, asked};

/// The header that says it.
const KEY: &str = "idempotency-key";
/// The header of an answer that was kept.
const REPLAYED: &str = "idempotency-replayed";

/// What a key is of: whoever asked, and the key itself. Sorted by whoever asked.
type Name = (String, String);

/// Whoever asks, told from all others: by the means' id, as two tokens may have one label; operators who are logged
/// in by their names, wherever they are.
fn asker(who: &Principal) -> String {
    match (&who.by, &who.operator) {
        (Means::Login(_), Some(name)) => format!("operator {name}"),
        (Means::Login(id), None) => format!("login {id}"),
        (Means::Token(id), _) => format!("token {id}"),
        (Means::Key(id), _) => format!("key {id}"),
        (Means::Cluster, _) => "cluster".to_owned(),
    }
}

/// An answer as it is told again.
#[derive(Clone)]
struct Told {
    status: StatusCode,
    kind: Option<header::HeaderValue>,
    secret: bool,
    body: Bytes,
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.status, self.body.len())
    }
}

impl Told {
    fn again(self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((REPLAYED, "true"));
        if self.secret {
            response.insert_header((header::CACHE_CONTROL, "no-store"));
        }
        if let Some(kind) = self.kind {
            response.insert_header((header::CONTENT_TYPE, kind));
        }
        response.body(self.body)
    }
}

/// A request under its key.
#[derive(Debug)]
struct Held {
    /// SHA-256 of path and body.
    of: [u8; 32],
    /// What whoever asked might do then.
    role: Role,
    /// None while it is under way.
    told: Option<Told>,
    /// When it began.
    since: Instant,
    /// When it is forgotten.
    until: Instant,
}

/// What a node keeps of keys.
#[derive(Debug, Default)]
pub(crate) struct Keys(Mutex<BTreeMap<Name, Held>>);

/// What is done with a request.
#[derive(Debug)]
enum Turn {
    /// It is the first.
    First,
    /// It was answered.
    Again(Told),
}

impl Keys {
    fn with<T>(&self, ask: impl FnOnce(&mut BTreeMap<Name, Held>) -> T) -> T {
        ask(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins a request, or finds its answer.
    fn begin(&self, name: &Name, role: Role, of: [u8; 32], now: Instant) -> Result<Turn, Problem> {
        self.with(|keys| {
            keys.retain(|_, held| held.told.is_none() || now < held.until);
            if let Some(held) = keys.get(name) {
                return match &held.told {
                    _ if role < held.role => Err(Problem::Forbidden(format!(
                        "Idempotency-Key: you were {} when you sent it first, and are {role} now: make a new one",
                        held.role
                    ))),
                    _ if held.of != of => Err(Problem::Differs(
                        "Idempotency-Key: it was sent with another request; make a new one for each",
                    )),
                    None => Err(Problem::Full(
                        "the first request with this Idempotency-Key is under way: ask again in a moment"
                            .to_owned(),
                    )),
                    Some(told) => Ok(Turn::Again(told.clone())),
                };
            }
            if keys.keys().filter(|(who, _)| *who == name.0).count() >= IDEMPOTENCY_KEYS_PER_OPERATOR {
                forget_one(keys, Some(&name.0));
            }
            if keys.len() >= IDEMPOTENCY_KEYS_MAX {
                forget_one(keys, None);
            }
            if keys.len() >= IDEMPOTENCY_KEYS_MAX {
                let words = "this node has too many requests under way: try again, or ask another node";
                return Err(Problem::NotNow(words.to_owned()));
            }
            keys.insert(name.clone(), Held { of, role, told: None, since: now, until: now });
            Ok(Turn::First)
        })
    }

    /// Keeps what was done, and forgets what was not.
    fn end(&self, name: &Name, told: Option<Told>, now: Instant) {
        self.with(|keys| match told {
            None => drop(keys.remove(name)),
            Some(told) => {
                if let Some(held) = keys.get_mut(name) {
                    held.until = now + if told.secret { IDEMPOTENCY_SECRET_FOR } else { IDEMPOTENCY_FOR };
                    held.told = Some(told);
                }
            }
        });
    }
}

/// Forgets the oldest answer, of one who asks or of all.
fn forget_one(keys: &mut BTreeMap<Name, Held>, who: Option<&str>) {
    let of = |name: &Name| who.is_none_or(|who| name.0 == who);
    let answered = keys.iter().filter(|(name, held)| held.told.is_some() && of(name));
    let oldest = answered.min_by_key(|(_, held)| held.since).map(|(name, _)| name.clone());
    if let Some(oldest) = oldest {
        keys.remove(&oldest);
    }
}

/// Ends a request however it ends: one whose handler panics was not done.
struct Ending {
    keys: Arc<Keys>,
    name: Name,
    told: Option<Told>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.keys.end(&self.name, self.told.take(), Instant::now());
    }
}

/// The key that a request has.
fn key(request: &ServiceRequest) -> Result<Option<String>, Problem> {
    let Some(value) = request.headers().get(KEY).filter(|_| request.method() == Method::POST) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if bare.is_empty() || bare.len() > IDEMPOTENCY_KEY_MAX || bare.contains('"') {
        let fix = format!("1 to {IDEMPOTENCY_KEY_MAX} ASCII letters, as a UUID, in quotes or not");
        return Err(Problem::Field { field: "Idempotency-Key", fix });
    }
    Ok(Some(bare.to_owned()))
}

fn hash(path: &str, body: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(path).chain_update([0]).chain_update(body).finalize().into()
}

/// Answers a repeat as its first one was, on every POST that names a key.
pub(crate) async fn once(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse, actix_web::Error> {
    let mount = request.app_data::<Data<Mount>>().cloned();
    let key = match key(&request) {
        Ok(key) => key,
        Err(problem) => return Ok(request.error_response(problem)),
    };
    let (Some(key), Some(mount)) = (key, mount) else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    // Whoever may not is told so by the handler, as without a key.
    let Ok(who) = request.extract::<Principal>().await else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let name = (asker(&who), key);
    let body = match request.extract::<Bytes>().await {
        Ok(body) => body,
        Err(error) => return Ok(request.error_response(error)),
    };
    let of = hash(&request.uri().to_string(), &body);
    let asked = hash(&name.0, name.1.as_bytes());
    match mount.keys.begin(&name, who.role, of, Instant::now()) {
        Ok(Turn::First) => {}
        Ok(Turn::Again(told)) => return Ok(request.into_response(told.again())),
        Err(problem) => return Ok(request.error_response(problem)),
    }
    let mut ending = Ending { keys: Arc::clone(&mount.keys), name, told: None };
    request.set_payload(whole(body));
    let called = next.call(request);
    // Not a part of the connection's own task: that one ends where the client goes.
    let done = rt::spawn(asked::by(asked, async move {
        let (response, told) = keep(called.await?.map_into_boxed_body()).await?;
        ending.told = told;
        drop(ending);
        Ok(response)
    }));
    done.await.unwrap_or_else(|_| Err(actix_web::error::ErrorInternalServerError("this node failed at it")))
}

/// A body that was read, to be read again.
fn whole(body: Bytes) -> actix_web::dev::Payload {
    let stream = futures_util::stream::once(std::future::ready(Ok::<_, PayloadError>(body)));
    actix_web::dev::Payload::Stream { payload: Box::pin(stream) }
}

/// What is kept of an answer: none of one that says that nothing was done, or that is too long.
async fn keep(response: ServiceResponse) -> Result<(ServiceResponse, Option<Told>), actix_web::Error> {
    let short = match response.response().body().size() {
        BodySize::None => true,
        BodySize::Sized(len) => len <= IDEMPOTENCY_ANSWER_MAX as u64,
        BodySize::Stream => false,
    };
    // A cookie is told once: whoever logs in again gets another.
    let logs_in = response.headers().contains_key(header::SET_COOKIE);
    if !response.status().is_success() || !short || logs_in {
        return Ok((response, None));
    }
    let (request, response) = response.into_parts();
    let (head, body) = response.into_parts();
    let body = to_bytes(body).await.map_err(actix_web::error::ErrorInternalServerError)?;
    let said = |name| head.headers().get(name);
    let told = Told {
        status: head.status(),
        kind: said(header::CONTENT_TYPE).cloned(),
        secret: said(header::CACHE_CONTROL).is_some_and(|value| value == "no-store"),
        body: body.clone(),
    };
    Ok((ServiceResponse::new(request, head.set_body(body).map_into_boxed_body()), Some(told)))
}

#[cfg(test)]
#[path = "idempotency/tests.rs"]
mod tests;
