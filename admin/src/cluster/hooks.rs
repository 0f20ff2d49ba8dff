//! What operators and apps see and decide of webhooks.

use std::collections::BTreeSet;

use chappe_proto::hooks::event::EventKind;
use chappe_proto::hooks::record::{self, DeliveryState, Wanted};
use chappe_proto::id::{AppId, EventId, HookId, Index, NodeId, RoomName};
use chappe_proto::registry::{Hook, HookPlan, Note};
use chappe_proto::time::Unix;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Answer;
use crate::cluster::control::Fault;

/// What the admin API can see and do of webhooks. Every change is committed when it is answered. Each is of one app:
/// another one's is not there.
pub trait Hooks: Send + Sync + 'static {
    /// An app's webhooks, by id.
    fn hooks(&self, app: AppId) -> Answer<'_, Result<Vec<Webhook>, Fault>>;
    /// A webhook begins, by a secret that was drawn for it.
    fn hook_add(&self, app: AppId, plan: HookPlan, note: Note) -> Answer<'_, Result<NewWebhook, Fault>>;
    /// A webhook is another one, where it was last decided of at `since`; where its endpoint was gone, it is tried
    /// again.
    fn hook_set(
        &self,
        app: AppId,
        hook: HookId,
        plan: HookPlan,
        since: Index,
        note: Note,
    ) -> Answer<'_, Result<(), Fault>>;
    /// A webhook ends, and what waits for it.
    fn hook_remove(&self, app: AppId, hook: HookId, note: Note) -> Answer<'_, Result<(), Fault>>;
    /// A new secret signs, and the one before: the new one.
    fn hook_rotate(&self, app: AppId, hook: HookId, note: Note) -> Answer<'_, Result<NewSecret, Fault>>;
    /// The newest secret alone signs from now on.
    fn hook_settle(&self, app: AppId, hook: HookId, note: Note) -> Answer<'_, Result<(), Fault>>;
    /// Sends a `ping` now, once that is in the audit log, disabled or not: what came of it. Apps' keys get a part of a node's tests (`by_app`).
    fn hook_test(
        &self,
        app: AppId,
        hook: HookId,
        by_app: bool,
        note: Note,
    ) -> Answer<'_, Result<Tested, Fault>>;
    /// What nodes have sent and are to send, the newest first.
    fn hook_deliveries(
        &self,
        app: AppId,
        hook: HookId,
        wanted: Wanted,
    ) -> Answer<'_, Result<Deliveries, Fault>>;
    /// Sends an event again that was sent or given up, once that is in the audit log; one that waits is tried at once.
    fn hook_resend(
        &self,
        app: AppId,
        hook: HookId,
        event: EventId,
        note: Note,
    ) -> Answer<'_, Result<(), Fault>>;
}

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Webhook {
    /// Its id.
    #[schema(value_type = String)]
    pub id: HookId,
    /// Where requests go.
    pub url: String,
    /// What it is told of; empty for all that is usual.
    #[schema(value_type = Vec<String>)]
    pub events: BTreeSet<EventKind>,
    /// What operators call it.
    pub label: String,
    /// Whether an operator has disabled it.
    pub disabled: bool,
    /// Whether its endpoint has said that it is gone (410): nothing is sent until it is changed.
    pub gone: bool,
    /// How many secrets sign: 2 after a rotation.
    pub secrets: usize,
    /// When it was added, in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub created: Unix,
    /// What its `ETag` is: another one after each change.
    #[schema(value_type = u64)]
    pub revision: Index,
}

impl Webhook {
    /// As it is shown: without its secrets.
    #[must_use]
    pub fn of(id: HookId, hook: &Hook) -> Self {
        let HookPlan { url, events, label, disabled } = hook.plan.clone();
        let (gone, secrets, created) = (hook.gone, hook.secrets.len(), hook.created);
        Self { id, url, events, label, disabled, gone, secrets, created, revision: hook.changed }
    }
}

/// A new webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewWebhook {
    /// Its id.
    #[schema(value_type = String)]
    pub id: HookId,
    /// `whsec_…`: what its receiver checks signatures by. Told this once.
    pub secret: String,
}

/// A new secret of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewSecret {
    /// `whsec_…`. Told this once.
    pub secret: String,
}

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tested {
    /// Whether it was taken: an answer of 200 to 299.
    pub taken: bool,
    /// The status of the answer, where there was one.
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The first bytes of the answer, or why there was none.
    pub said: String,
}

/// A page of deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deliveries {
    /// The newest first.
    pub deliveries: Vec<Delivery>,
    /// What to give as `cursor` for the next page, where there is one.
    pub next: Option<String>,
    /// How the webhook does on all nodes that answered.
    pub counts: Counts,
}

/// How a webhook does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counts {
    /// Events that wait.
    pub waiting: u64,
    /// Events that were taken since each node began.
    pub delivered: u64,
    /// Events that were given up since each node began.
    pub failed: u64,
    /// Events for which there was no room since each node began.
    pub dropped: u64,
    /// Since when its endpoint takes nothing, in milliseconds since 1970.
    #[schema(value_type = Option<u64>)]
    pub failing_since: Option<Unix>,
}

impl Counts {
    /// With those of one more node.
    pub fn add(&mut self, node: &record::HookCounts) {
        self.waiting += node.waiting;
        self.delivered += node.delivered;
        self.failed += node.failed;
        self.dropped += node.dropped;
        self.failing_since = [self.failing_since, node.failing_since].into_iter().flatten().min();
    }
}

/// An event and what was done to deliver it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// The event: the `webhook-id` of each request.
    #[schema(value_type = String)]
    pub id: EventId,
    /// The node that sends it.
    #[schema(value_type = u64)]
    pub node: NodeId,
    /// What happened.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub kind: EventKind,
    /// In which room.
    #[schema(value_type = Option<String>)]
    pub room: Option<RoomName>,
    /// When, in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub at: Unix,
    /// `waiting`, `sending`, `delivered`, `expired`, `gone` or `cancelled`.
    #[schema(value_type = String)]
    pub state: DeliveryState,
    /// How often it was sent.
    pub tries: u32,
    /// The last of those requests, oldest first.
    pub attempts: Vec<Attempt>,
    /// What is sent.
    pub body: String,
}

/// One request and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// When it began, in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub at: Unix,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The status of the answer, where there was one.
    pub status: Option<u16>,
    /// The first bytes of the answer, or why there was none.
    pub said: String,
}

impl Delivery {
    /// Of a node.
    #[must_use]
    pub fn of(node: NodeId, delivery: record::Delivery) -> Self {
        let attempt = |record::Attempt { at, took_ms, status, said }| Attempt { at, took_ms, status, said };
        let record::Delivery { event, kind, room, at, body, state, attempts, tries } = delivery;
        let attempts = attempts.into_iter().map(attempt).collect();
        Self { id: event, node, kind, room, at, state, tries, attempts, body }
    }
}
