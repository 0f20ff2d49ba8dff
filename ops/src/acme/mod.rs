//! Certificates that an authority gives by ACME (RFC 8555): asked for, proved, kept, renewed.
//!
//! A thread of its own orders them, and writes each into one file that the TLS listeners follow; the listeners
//! ask [`Answers`] for what proves to the authority that a name is this machine's.

mod answers;
mod connect;
mod failure;
mod listen;
mod options;
mod order;
mod renew;
mod schedule;
mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use tokio::sync::oneshot;

use self::renew::Renewing;
use self::store::Store;
use crate::bind;

pub(crate) use self::answers::Answers;
pub(crate) use self::options::{HEADING, Options, Ports};

/// What is to be got, before it is asked for: listeners are made with it first, since they prove the names.
pub(crate) struct Awaited {
    renewing: Renewing,
    http: Vec<std::net::TcpListener>,
}

/// Certificates that are got and renewed, until this is dropped.
pub(crate) struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Options {
    /// Gets everything ready, where it is asked for. Certificates and keys are kept in `dir`; `ports` are those
    /// that answer challenges.
    pub(crate) fn prepare(&self, dir: &Path, ports: &Ports) -> Result<Option<Awaited>> {
        let Some(order) = self.order(ports)? else { return Ok(None) };
        let store = Store::open(dir, &order)?;
        let http = self.http.iter().map(|at| bind::tcp(*at, "--acme-http IP:PORT")).collect::<Result<_>>()?;
        let renewing = Renewing { order, store, answers: Arc::new(Answers::default()) };
        Ok(Some(Awaited { renewing, http }))
    }
}

impl Awaited {
    /// What proves the names.
    pub(crate) fn answers(&self) -> Arc<Answers> {
        Arc::clone(&self.renewing.answers)
    }

    /// The file that holds the chain and its key, once there is one.
    pub(crate) fn file(&self) -> PathBuf {
        self.renewing.store.certificate()
    }

    /// Begins to ask: the listeners answer by now.
    pub(crate) fn run(self) -> Result<Running> {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("acme".to_owned());
        let thread = thread.spawn(move || {
            let Self { renewing, http } = self;
            let answers = Arc::clone(&renewing.answers);
            runtime.block_on(async {
                tokio::select! {
                    never = renewing.run() => match never {},
                    never = listen::run(http, &answers) => match never {},
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Ok(Running { stop: Some(stop), thread: Some(thread.context("no thread for ACME")?) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}
