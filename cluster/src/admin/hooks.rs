//! Webhooks: what is decided of them, and what the nodes have sent.

use chappe_admin::Answer;
use chappe_admin::control::Fault;
use chappe_admin::hooks::{Deliveries, Delivery, Hooks, NewSecret, NewWebhook, Tested, Webhook};
use chappe_proto::hooks::record::{Attempt, Wanted};
use chappe_proto::hooks::sign::secret_text;
use chappe_proto::hooks::url::Target;
use chappe_proto::id::{AppId, EventId, HookId, Index, NodeId};
use chappe_proto::limits::HOOK_PAGE;
use chappe_proto::mesh::node::{Answer as Reply, Ask, Failure};
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::{Command, Hook, HookPlan, Note};
use futures_util::future::join_all;

use super::{Admin, NODE_WITHIN};
use crate::clock;
use crate::node::Node;

type Done<T> = Result<T, Fault>;

fn fresh() -> Secret {
    Secret(clock::random::<32>().to_vec())
}

impl Admin {
    /// A webhook as it is now; another app's is not there.
    async fn hook(&self, app: &AppId, hook: HookId) -> Done<Hook> {
        let state = self.state().await.map_err(|_| unavailable())?;
        state.hook(app, hook).cloned().ok_or(Fault::NotThere("webhook"))
    }

    /// Whether requests may go there at all from this node.
    fn check(&self, plan: &HookPlan) -> Done<()> {
        let plain = Target::of(&plan.url).is_ok_and(|target| !target.secure);
        if plain && !self.node.hooks.allows_loopback() {
            let words = "url: http:// goes to the node's own machine alone, which webhooks may not reach here: give \
                         https://, or start the nodes with --hooks-allow 127.0.0.0/8";
            return Err(Fault::Conflict(words.to_owned()));
        }
        Ok(())
    }

    /// Asks every node.
    async fn of_all(&self, ask: &Ask) -> Vec<(NodeId, Reply)> {
        let nodes: Vec<_> = Node::gateways(&self.node.registry.state()).map(|gateway| gateway.node).collect();
        let answer = async |node: NodeId| {
            let answer = self.node.mesh.request(node, ask.clone(), NODE_WITHIN).await;
            Some((node, answer.ok()?))
        };
        join_all(nodes.into_iter().map(answer)).await.into_iter().flatten().collect()
    }
}

fn unavailable() -> Fault {
    Fault::Unavailable("the registry cannot be asked right now; try again".to_owned())
}

impl Hooks for Admin {
    fn hooks(&self, app: AppId) -> Answer<'_, Done<Vec<Webhook>>> {
        Box::pin(async move {
            let state = self.state().await.map_err(|_| unavailable())?;
            state.app(&app).ok_or(Fault::NotThere("app"))?;
            Ok(state.hooks_of(&app).map(|(id, hook)| Webhook::of(id, hook)).collect())
        })
    }

    fn hook_add(&self, app: AppId, plan: HookPlan, note: Note) -> Answer<'_, Done<NewWebhook>> {
        Box::pin(async move {
            self.check(&plan)?;
            let state = self.state().await.map_err(|_| unavailable())?;
            state.app(&app).ok_or(Fault::NotThere("app"))?;
            let (id, secret) = (HookId::from_random(clock::random()), fresh());
            let text = secret_text(&secret);
            self.commit(Command::HookAdd { app, hook: id, plan, secret }, note).await?;
            Ok(NewWebhook { id, secret: text })
        })
    }

    fn hook_set(
        &self,
        app: AppId,
        hook: HookId,
        plan: HookPlan,
        since: Index,
        note: Note,
    ) -> Answer<'_, Done<()>> {
        Box::pin(async move {
            self.check(&plan)?;
            self.commit(Command::HookSet { app, hook, plan, since: Some(since) }, note).await.map(drop)
        })
    }

    fn hook_remove(&self, app: AppId, hook: HookId, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move {
            self.hook(&app, hook).await?;
            self.commit(Command::HookRemove { app, hook }, note).await.map(drop)
        })
    }

    fn hook_rotate(&self, app: AppId, hook: HookId, note: Note) -> Answer<'_, Done<NewSecret>> {
        Box::pin(async move {
            self.hook(&app, hook).await?;
            let secret = fresh();
            let text = secret_text(&secret);
            self.commit(Command::HookRotate { app, hook, secret }, note).await?;
            Ok(NewSecret { secret: text })
        })
    }

    fn hook_settle(&self, app: AppId, hook: HookId, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move {
            self.hook(&app, hook).await?;
            self.commit(Command::HookSettle { app, hook }, note).await.map(drop)
        })
    }

    fn hook_test(&self, app: AppId, hook: HookId, by_app: bool, note: Note) -> Answer<'_, Done<Tested>> {
        Box::pin(async move {
            let held = self.hook(&app, hook).await?;
            self.commit(Command::Note, note).await?;
            let state = self.node.registry.state();
            let answered = self.node.hooks.test(&state, &app, hook, &held, by_app).await;
            let busy =
                || Fault::Conflict("this node makes as many tests as it may at a time: try again".to_owned());
            let Attempt { took_ms, status, said, .. } = answered.ok_or_else(busy)?.attempt(clock::now());
            let taken = status.is_some_and(|status| (200..300).contains(&status));
            Ok(Tested { taken, status, took_ms, said })
        })
    }

    fn hook_deliveries(&self, app: AppId, hook: HookId, wanted: Wanted) -> Answer<'_, Done<Deliveries>> {
        Box::pin(async move {
            self.hook(&app, hook).await?;
            let mut all = Deliveries::default();
            for (node, reply) in self.of_all(&Ask::Deliveries { hook, wanted }).await {
                let Reply::Deliveries(page) = reply else { continue };
                all.counts.add(&page.counts);
                all.deliveries.extend(page.deliveries.into_iter().map(|one| Delivery::of(node, one)));
            }
            all.deliveries.sort_by_key(|one| std::cmp::Reverse((one.at, one.id, one.node)));
            all.deliveries.truncate(HOOK_PAGE);
            Ok(all)
        })
    }

    fn hook_resend(&self, app: AppId, hook: HookId, event: EventId, note: Note) -> Answer<'_, Done<()>> {
        Box::pin(async move {
            self.hook(&app, hook).await?;
            self.commit(Command::Note, note).await?;
            let replies = self.of_all(&Ask::Resend { hook, event }).await;
            if replies.iter().any(|(_, reply)| *reply == Reply::Done) {
                return Ok(());
            }
            let busy = |(_, reply): &(NodeId, Reply)| *reply == Reply::Failed(Failure::Busy);
            if replies.iter().any(busy) {
                return Err(Fault::Conflict(
                    "too many events wait for this webhook: try again later".to_owned(),
                ));
            }
            Err(Fault::NotThere("delivery"))
        })
    }
}
