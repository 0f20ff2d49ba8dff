//! What a node keeps of logins beside the registry: who guesses, who is hashed for, which logins are being renewed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::Data;
use chappe_proto::id::{LoginId, OperatorName};
use chappe_proto::limits::{
    API_REQUEST_EVERY, API_REQUESTS_BURST, CONNECTION_TESTS_BURST, CONNECTION_TESTS_EVERY, LOGIN_SEEN_EVERY,
    PROVIDER_TRIES_BURST, PROVIDER_TRIES_EVERY,
};
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::access::Login;
use chappe_proto::time::{Mono, Unix};

use super::asker::{Ask, Asker, direct};
use super::cookies;
use super::passwords::Hashing;
use super::provider::{Denied, Directory};
use super::throttle::{Attempt, Buckets, Source, Throttle, Verdict, source};
use super::{Means, Principal};
use crate::Mount;
use crate::api::problem::Problem;
use crate::cluster::Cluster;

/// Of one node.
pub(crate) struct Gate {
    throttle: Mutex<Throttle>,
    hashing: Hashing,
    /// Connection tests, by who began them.
    tests: Mutex<Buckets<String>>,
    /// Requests of programs, by their keys and access tokens.
    requests: Mutex<Buckets<String>>,
    renewing: Mutex<BTreeSet<LoginId>>,
    /// Those who come back from the provider, by where from.
    arrivals: Mutex<Buckets<Source>>,
    /// What is known of the provider.
    pub(super) directory: Directory,
    ask: Ask,
}

/// One more of what somebody may do so often.
fn one_more(held: &Mutex<Buckets<String>>, name: String, now: Mono) -> Result<(), Problem> {
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    let wait = held.wait(&name, now);
    if wait > Duration::ZERO {
        return Err(Problem::TooOften(wait));
    }
    held.take(name, now);
    Ok(())
}

/// Refuses programs that ask too often.
pub(crate) async fn paced(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse, actix_web::Error> {
    let mount = request.app_data::<Data<Mount>>().cloned();
    // Whoever is nobody is told so by the handler.
    if let Some(mount) = mount
        && let Ok(who) = request.extract::<Principal>().await
        && let Err(problem) = mount.gate.request(&who, mount.cluster.now().mono)
    {
        return Ok(request.error_response(problem));
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

impl Default for Gate {
    fn default() -> Self {
        let (throttle, hashing, renewing) = (Mutex::default(), Hashing::default(), Mutex::default());
        let tests = Mutex::new(Buckets::new(CONNECTION_TESTS_BURST, CONNECTION_TESTS_EVERY));
        let arrivals = Mutex::new(Buckets::new(PROVIDER_TRIES_BURST, PROVIDER_TRIES_EVERY));
        let (directory, ask) = (Directory::default(), direct());
        let requests = Mutex::new(Buckets::new(API_REQUESTS_BURST, API_REQUEST_EVERY));
        Self { throttle, hashing, tests, requests, renewing, arrivals, directory, ask }
    }
}

impl Gate {
    /// Askers are known by this.
    pub(crate) fn asking(ask: Ask) -> Self {
        Self { ask, ..Self::default() }
    }

    /// Where a request comes from.
    pub(crate) fn asker(&self, request: &HttpRequest) -> Asker {
        (self.ask)(request)
    }

    /// A connection test begins.
    ///
    /// # Errors
    /// [`Problem::TooOften`], where whoever asks has begun as many as one may.
    pub(crate) fn tests(&self, who: &Principal, now: Mono) -> Result<(), Problem> {
        // An operator's tokens count as one.
        let name = who.operator.as_ref().map_or_else(|| who.who.clone(), ToString::to_string);
        one_more(&self.tests, name, now)
    }

    /// A program asks for something, by its key or its access token. Whoever is logged in is not counted, nor is the
    /// cluster's own token.
    ///
    /// # Errors
    /// [`Problem::TooOften`], where it asks too often.
    fn request(&self, who: &Principal, now: Mono) -> Result<(), Problem> {
        let name = match &who.by {
            Means::Key(id) => id.to_string(),
            Means::Token(id) => id.to_string(),
            Means::Login(_) | Means::Cluster => return Ok(()),
        };
        one_more(&self.requests, name, now)
    }

    /// Somebody comes back from the provider: counted until it is known that they come in.
    ///
    /// # Errors
    /// [`Denied::TooOften`], where too many came from there in vain.
    pub(super) fn arrival(&self, request: &HttpRequest, now: Mono) -> Result<Source, Denied> {
        let source = source(self.asker(request).ip);
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = arrivals.wait(&source, now);
        if wait > Duration::ZERO {
            return Err(Denied::TooOften(wait));
        }
        arrivals.take(source, now);
        Ok(source)
    }

    /// They came in.
    pub(super) fn arrived(&self, source: &Source) {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).give_back(source);
    }

    /// Writes down that a login is in use, unless it was lately.
    pub(super) fn seen(self: &Arc<Self>, cluster: &Arc<dyn Cluster>, id: LoginId, login: &Login, now: Unix) {
        let renewing = || self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(login.seen) < LOGIN_SEEN_EVERY || !renewing().insert(id) {
            return;
        }
        let (gate, cluster) = (Arc::clone(self), Arc::clone(cluster));
        actix_web::rt::spawn(async move {
            // Where it cannot be, the next request tries again.
            drop(cluster.login_seen(id).await);
            gate.renewing.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        });
    }

    /// Hashes a new password.
    pub(crate) async fn hash(&self, password: String) -> Result<Secret, Problem> {
        self.hashing.hash(password).await
    }

    /// Whether this is the operator's password: `held` is its hash, none where there is no such operator or it may
    /// not log in.
    ///
    /// # Errors
    /// [`Problem::TooMany`], when too many wrong ones were given.
    pub(crate) async fn verify(
        &self,
        cluster: &dyn Cluster,
        request: &HttpRequest,
        account: &OperatorName,
        password: String,
        held: Option<Secret>,
    ) -> Result<bool, Problem> {
        let device = held.as_ref().and_then(|held| cookies::device(request, account, held));
        let known = device.is_some();
        let attempt = Attempt { source: source(self.asker(request).ip), account: account.clone(), device };
        let throttle = || self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = throttle().attempt(cluster.now().mono, &attempt);
        match verdict {
            Verdict::After(Duration::ZERO) => {}
            // Its place in the account's queue; there are never more than a few.
            Verdict::After(queue) => actix_web::rt::time::sleep(queue).await,
            Verdict::Refused(wait) => return Err(Problem::TooMany(wait)),
        }
        let fine = self.hashing.verify(password, held, known).await?;
        if fine {
            throttle().succeeded(&attempt);
        } else {
            tracing::warn!(%account, from = %attempt.source, known, "a wrong password");
        }
        Ok(fine)
    }
}
