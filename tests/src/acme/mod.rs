//! An ACME authority (RFC 8555) on loopback, strict where a client can be wrong: every request is a JWS of the
//! account's key with a nonce that is good once, names are proved by connecting back, and certificates are of a
//! CA of its own. What it does besides, a test tells it ([`Behaviour`]).

mod authority;
mod jws;
mod orders;
mod prove;
mod server;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use tokio::sync::Notify;

use self::authority::Authority;
use self::orders::Orders;
use crate::process::WITHIN;

/// What the authority does that not all do.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// So many requests are refused with `badNonce`, though their nonces were good (RFC 8555 section 6.5).
    pub bad_nonces: u32,
    /// So many orders are refused with `rateLimited`, to be tried again after this many seconds.
    pub limited: Option<(u32, u64)>,
    /// So many seconds before now its certificates begin, and after now they end.
    pub validity: (i64, i64),
    /// It says when to renew (RFC 9773): at once.
    pub renewal_info: bool,
}

/// What it has done.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Accounts that were made.
    pub accounts: usize,
    /// Contacts of the last one.
    pub contacts: Vec<String>,
    /// How names were proved: the challenge's type, and whether it was.
    pub proved: Vec<(String, bool)>,
    /// Certificates, oldest first, leaf alone.
    pub issued: Vec<CertificateDer<'static>>,
    /// Orders that said which certificate they replace.
    pub replaced: usize,
    /// Orders refused as too many, and when the last was.
    pub limited: Option<Instant>,
    /// When the last order was opened.
    pub ordered: Option<Instant>,
    /// Requests that were no good, and why: a client that is right makes none.
    pub wrong: Vec<String>,
}

/// A name, and where it leads by HTTP in place of port 80 and by TLS in place of port 443.
type Leads = (String, Option<SocketAddr>, Option<SocketAddr>);

/// Where names lead, as the authority's resolver has it: there is none else on loopback. It waits for names
/// that it does not know, but for those that end in `.nowhere`: they do not resolve.
#[derive(Clone, Default)]
pub struct Names(Arc<(Mutex<Vec<Leads>>, Notify)>);

impl Names {
    /// Lets a name lead to these; to `None` nobody can connect.
    ///
    /// # Panics
    /// When a test has failed.
    pub fn set(&self, name: &str, http: Option<SocketAddr>, tls: Option<SocketAddr>) {
        let mut names = self.0.0.lock().unwrap();
        names.retain(|(known, ..)| known != name);
        names.push((name.to_owned(), http, tls));
        self.0.1.notify_waiters();
    }

    /// Where it leads by this type of challenge; an outer `None` is a name that does not resolve.
    async fn find(&self, name: &str, kind: &str) -> Option<Option<SocketAddr>> {
        if name.ends_with(".nowhere") {
            return None;
        }
        loop {
            let changed = self.0.1.notified();
            let known = self.0.0.lock().unwrap().iter().find(|(known, ..)| known == name).cloned();
            if let Some((_, http, tls)) = known {
                return Some(if kind == "http-01" { http } else { tls });
            }
            changed.await;
        }
    }
}

/// What all connections share.
struct Shared {
    at: SocketAddr,
    behaviour: Mutex<Behaviour>,
    names: Names,
    authority: Authority,
    orders: Mutex<Orders>,
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl Shared {
    fn see(&self, by: impl FnOnce(&mut Seen)) {
        by(&mut self.seen.lock().unwrap());
        self.changed.notify_all();
    }
}

/// The authority; its server ends with the test's process.
pub struct FakeAcme {
    shared: Arc<Shared>,
}

impl FakeAcme {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(behaviour: Behaviour) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            at: listener.local_addr().unwrap(),
            behaviour: Mutex::new(behaviour),
            names: Names::default(),
            authority: Authority::new(),
            orders: Mutex::default(),
            seen: Mutex::default(),
            changed: Condvar::new(),
        });
        server::start(listener, Arc::clone(&shared));
        Self { shared }
    }

    /// The URL of its directory.
    #[must_use]
    pub fn directory(&self) -> String {
        format!("https://{}/directory", self.shared.at)
    }

    /// Its resolver.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.shared.names
    }

    /// The CA of its certificates, and of its own.
    #[must_use]
    pub fn root(&self) -> CertificateDer<'static> {
        self.shared.authority.root()
    }

    /// Writes that to a file (PEM).
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_root(&self, file: &Path) {
        std::fs::write(file, self.shared.authority.root_pem()).unwrap();
    }

    /// What it has seen so far.
    ///
    /// # Panics
    /// When a test has failed.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Behaves otherwise from now on.
    ///
    /// # Panics
    /// When a test has failed.
    pub fn behave(&self, by: impl FnOnce(&mut Behaviour)) {
        by(&mut self.shared.behaviour.lock().unwrap());
    }

    /// Waits until it has seen something.
    ///
    /// # Panics
    /// When it does not.
    pub fn until(&self, what: &str, holds: impl Fn(&Seen) -> bool) -> Seen {
        let seen = self.shared.seen.lock().unwrap();
        let within: Duration = WITHIN;
        let waiting = |seen: &mut Seen| !holds(seen);
        let (seen, timeout) = self.shared.changed.wait_timeout_while(seen, within, waiting).unwrap();
        assert!(!timeout.timed_out(), "never {what}: {seen:?}");
        seen.clone()
    }
}
