//! Webhooks in memory: what is decided is kept, and nothing is sent. Each has the same three deliveries.

use chappe_proto::hooks::event::EventKind;
use chappe_proto::hooks::record::{self, DeliveryState, HookCounts, Wanted};
use chappe_proto::hooks::sign::secret_text;
use chappe_proto::id::{AppId, EventId, HookId, Index, NodeId, RoomName};
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::{Command, HookPlan, Note};
use chappe_proto::time::Unix;

use super::Memory;
use crate::Answer;
use crate::cluster::control::Fault;
use crate::cluster::hooks::{Counts, Deliveries, Delivery, Hooks, NewSecret, NewWebhook, Tested, Webhook};

type Done<T> = Result<T, Fault>;

/// The nth delivery, the newest is the third.
pub(crate) fn delivery(n: u8) -> Delivery {
    let state = if n == 2 { DeliveryState::Expired } else { DeliveryState::Delivered };
    let attempt =
        record::Attempt { at: Unix::from_secs(9), took_ms: 12, status: Some(500), said: "no".to_owned() };
    let delivery = record::Delivery {
        event: EventId::from_random([n; 15]),
        kind: if n == 1 { EventKind::RoomStarted } else { EventKind::PeerJoined },
        room: RoomName::new(&format!("room-{n}")).ok(),
        at: Unix::from_secs(u64::from(n)),
        body: "{}".to_owned(),
        state,
        attempts: vec![attempt],
        tries: 1,
    };
    Delivery::of(NodeId(1), delivery)
}

impl Memory {
    fn plan_of(&self, app: &AppId, hook: HookId) -> Done<HookPlan> {
        let found = self.with(|state| state.hook(app, hook).map(|hook| hook.plan.clone()));
        found.ok_or(Fault::NotThere("webhook"))
    }
}

impl Hooks for Memory {
    fn hooks(&self, app: AppId) -> Answer<'_, Done<Vec<Webhook>>> {
        let found = self.with(|state| {
            state.app(&app).ok_or(Fault::NotThere("app"))?;
            Ok(state.hooks_of(&app).map(|(id, hook)| Webhook::of(id, hook)).collect())
        });
        Box::pin(async { found })
    }

    fn hook_add(&self, app: AppId, plan: HookPlan, note: Note) -> Answer<'_, Done<NewWebhook>> {
        let done = (|| {
            self.with(|state| state.app(&app).map(drop)).ok_or(Fault::NotThere("app"))?;
            let n = self.with(|state| u8::try_from(state.hooks().count()).unwrap_or(u8::MAX));
            let (id, secret) = (HookId::from_random([n; 15]), Secret(vec![n; 32]));
            let text = secret_text(&secret);
            self.commit(Command::HookAdd { app, hook: id, plan, secret }, note)?;
            Ok(NewWebhook { id, secret: text })
        })();
        Box::pin(async { done })
    }

    fn hook_set(
        &self,
        app: AppId,
        hook: HookId,
        plan: HookPlan,
        since: Index,
        note: Note,
    ) -> Answer<'_, Done<()>> {
        let done = self.commit(Command::HookSet { app, hook, plan, since: Some(since) }, note);
        Box::pin(async { done })
    }

    fn hook_remove(&self, app: AppId, hook: HookId, note: Note) -> Answer<'_, Done<()>> {
        let there = self.plan_of(&app, hook);
        let done = there.and_then(|_| self.commit(Command::HookRemove { app, hook }, note));
        Box::pin(async { done })
    }

    fn hook_rotate(&self, app: AppId, hook: HookId, note: Note) -> Answer<'_, Done<NewSecret>> {
        let secret = Secret(vec![200; 32]);
        let told = NewSecret { secret: secret_text(&secret) };
        let there = self.plan_of(&app, hook);
        let done = there.and_then(|_| self.commit(Command::HookRotate { app, hook, secret }, note));
        Box::pin(async { done.map(|()| told) })
    }

    fn hook_settle(&self, app: AppId, hook: HookId, note: Note) -> Answer<'_, Done<()>> {
        let there = self.plan_of(&app, hook);
        let done = there.and_then(|_| self.commit(Command::HookSettle { app, hook }, note));
        Box::pin(async { done })
    }

    fn hook_test(&self, app: AppId, hook: HookId, _: bool, note: Note) -> Answer<'_, Done<Tested>> {
        let there = self.plan_of(&app, hook).and_then(|_| self.commit(Command::Note, note));
        let tested = |_| Tested { taken: true, status: Some(204), took_ms: 7, said: String::new() };
        Box::pin(async move { there.map(tested) })
    }

    fn hook_deliveries(&self, app: AppId, hook: HookId, wanted: Wanted) -> Answer<'_, Done<Deliveries>> {
        let there = self.plan_of(&app, hook);
        let is_wanted = |one: &Delivery| {
            wanted.state.is_none_or(|state| state == one.state)
                && wanted.kind.is_none_or(|kind| kind == one.kind)
                && wanted.room.as_ref().is_none_or(|room| Some(room) == one.room.as_ref())
                && wanted.before.is_none_or(|before| (one.at, one.id) < before)
        };
        let deliveries = [3, 2, 1].map(delivery).into_iter().filter(is_wanted).collect();
        let mut counts = Counts::default();
        counts.add(&HookCounts { delivered: 2, failed: 1, ..HookCounts::default() });
        Box::pin(async move { there.map(|_| Deliveries { deliveries, next: None, counts }) })
    }

    fn hook_resend(&self, app: AppId, hook: HookId, event: EventId, note: Note) -> Answer<'_, Done<()>> {
        let there = self.plan_of(&app, hook).and_then(|_| {
            let known = [1, 2, 3].map(delivery).iter().any(|one| one.id == event);
            if known { self.commit(Command::Note, note) } else { Err(Fault::NotThere("delivery")) }
        });
        Box::pin(async { there })
    }
}
