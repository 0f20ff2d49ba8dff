//! Webhooks: this node tells of the rooms that it runs. What is sent when is decided in
//! [`chappe_proto::hooks::queue`]; what waits is in memory, and lost with the process.

mod run;
mod send;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};

use chappe_admin::pool::Pool;
use chappe_proto::hooks::event::{Event, EventKind};
use chappe_proto::hooks::queue::{Queue, Resent};
use chappe_proto::hooks::record::{Answered, DeliveryPage, Wanted};
use chappe_proto::id::{AppId, EventId, HookId};
use chappe_proto::limits;
use chappe_proto::registry::{Hook, State};
use ipnet::IpNet;
use rustls::RootCertStore;
use serde_json::json;
use tokio::sync::Notify;

pub(crate) use run::run;
use send::Sender;

use crate::clock;

/// What waits, and how it is sent.
pub struct Hooks {
    queue: Mutex<Queue>,
    /// Something is to be done.
    wake: Notify,
    /// Something was done.
    done: Notify,
    sender: Sender,
    tests: Pool,
}

impl Hooks {
    /// Sends to servers that `roots` certify, and to special-purpose addresses where `allow` has them.
    ///
    /// # Errors
    /// When rustls takes no such configuration: a bug of ours.
    pub fn new(roots: RootCertStore, allow: Vec<IpNet>) -> Result<Self, rustls::Error> {
        Ok(Self {
            queue: Mutex::new(Queue::new(u64::from_be_bytes(clock::random()))),
            wake: Notify::new(),
            done: Notify::new(),
            sender: Sender::new(roots, allow)?,
            tests: Pool::new(limits::HOOK_TESTS_MAX, limits::HOOK_TESTS_OF_APPS),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells all webhooks of an app that want to know it.
    pub(crate) fn tell(&self, state: &State, app: &AppId, event: &Event) {
        let now = clock::now();
        for (id, _) in state.hooks_of(app).filter(|(_, hook)| wants(hook, event.kind)) {
            if !self.lock().push(now, app, id, event) {
                tracing::warn!(%app, webhook = %id, event = %event.kind, "too many events wait: one is dropped");
            }
        }
        self.wake.notify_one();
    }

    /// What is remembered of a webhook's deliveries here.
    pub(crate) fn deliveries(&self, hook: HookId, wanted: &Wanted) -> DeliveryPage {
        self.lock().deliveries(hook, wanted)
    }

    /// Sends an event again.
    pub(crate) fn resend(&self, hook: HookId, event: EventId) -> Resent {
        let resent = self.lock().resend(clock::now(), hook, event);
        self.wake.notify_one();
        resent
    }

    /// Sends a test, now and once; none where too many are under way. `by_app` where a key of the app asks.
    pub(crate) async fn test(
        &self,
        state: &State,
        app: &AppId,
        id: HookId,
        hook: &Hook,
        by_app: bool,
    ) -> Option<Answered> {
        let _place = self.tests.take(by_app.then_some(app))?;
        let data = json!({ "app": app, "webhook": id });
        let event = EventId::from_random(clock::random());
        let event = Event::new(event, EventKind::Ping, None, clock::unix(), &data);
        Some(self.sender.send(state, hook, &event).await)
    }

    /// Whether requests may go to this machine itself.
    pub(crate) fn allows_loopback(&self) -> bool {
        self.sender.allows_loopback()
    }

    /// Waits until nothing is under way, and nothing can be sent now.
    pub(crate) async fn quiet(&self) {
        loop {
            let done = self.done.notified();
            if self.lock().is_quiet(clock::now()) {
                return;
            }
            done.await;
        }
    }
}

/// Whether a webhook is told of events of this kind.
pub(crate) fn wants(hook: &Hook, kind: EventKind) -> bool {
    hook.is_on() && kind.is_chosen(&hook.plan.events)
}
