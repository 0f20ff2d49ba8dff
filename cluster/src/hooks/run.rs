//! Sends what is due, for as long as the node runs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chappe_proto::hooks::event::Event;
use chappe_proto::hooks::queue::{Output, Standing};
use chappe_proto::hooks::record::Answered;
use chappe_proto::id::{AppId, EventId, HookId};
use chappe_proto::registry::{Command, Note, State};
use tokio::task::JoinSet;

use crate::clock;
use crate::consensus::Proposal;
use crate::node::Node;

/// That an endpoint is gone is to be committed within this; else the endpoint says it again.
const COMMIT_WITHIN: Duration = Duration::from_secs(10);
/// A deadline that lies further ahead is looked at again by then.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

/// What came of it; none where the webhook was not there any more.
type Ended = (HookId, EventId, Option<Answered>);

pub(crate) async fn run(node: Arc<Node>) {
    let mut states = node.registry.watch();
    let mut known = Arc::new(State::default());
    let mut under_way = JoinSet::new();
    loop {
        let state = Arc::clone(&states.borrow_and_update());
        if !state.has_hooks_of(&known) {
            follow(&node, &known, &state);
        }
        known = state;
        let due = step(&node, &mut under_way);
        let again = due.until(clock::mono()).min(LOOK_AGAIN);
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return },
            () = node.hooks.wake.notified() => {}
            () = tokio::time::sleep(again) => {}
            Some(ended) = under_way.join_next() => {
                let Ok((hook, event, answered)) = ended else { continue }; // nothing of it panics
                took(&node, hook, event, answered);
            }
        }
    }
}

/// Begins what is due; the answer is when there is more.
fn step(node: &Arc<Node>, under_way: &mut JoinSet<Ended>) -> chappe_proto::time::Mono {
    let (mut out, now) = (Vec::new(), clock::now());
    let due = {
        let mut queue = node.hooks.lock();
        queue.poll(now, &mut out);
        queue.poll_timeout()
    };
    for output in out {
        if let Output::Send { app, hook, event } = output {
            under_way.spawn(send(Arc::clone(node), app, hook, event));
        }
    }
    node.hooks.done.notify_waiters();
    due
}

async fn send(node: Arc<Node>, app: AppId, id: HookId, event: Event) -> Ended {
    let state = node.registry.state();
    let Some(hook) = state.hook(&app, id).filter(|hook| hook.is_on()) else { return (id, event.id, None) };
    (id, event.id, Some(node.hooks.sender.send(&state, hook, &event).await))
}

fn took(node: &Arc<Node>, hook: HookId, event: EventId, answered: Option<Answered>) {
    let mut out = Vec::new();
    if answered.is_none() {
        keep(node, &node.registry.state()); // told by whoever did not know yet that it has ended
    }
    let answered = answered.unwrap_or_default();
    node.hooks.lock().handle_result(clock::now(), hook, event, &answered, &mut out);
    if answered.status.is_none_or(|status| !(200..300).contains(&status)) {
        tracing::debug!(webhook = %hook, %event, status = ?answered.status, said = answered.said, "not taken");
    }
    for output in out {
        if let Output::Gone { app, hook } = output {
            actix_rt::spawn(gone(Arc::clone(node), app, hook));
        }
    }
}

/// Commits that an endpoint is gone.
async fn gone(node: Arc<Node>, app: AppId, id: HookId) {
    let Some(url) = node.registry.state().hook(&app, id).map(|hook| hook.plan.url.clone()) else { return };
    tracing::warn!(%app, webhook = %id, "its endpoint says that it is gone (410): nothing more is sent there");
    let (who, from) = (format!("node {}", node.id), format!("node {}", node.id));
    let note =
        Note { who, what: format!("disabled the webhook {id} of {app}: its endpoint is gone (410)"), from };
    let command = Command::HookGone { app, hook: id, url };
    let proposal = Proposal { note: Some(note), ..command.into() };
    if let Err(missing) = node.proposals.propose(proposal, COMMIT_WITHIN).await {
        tracing::warn!(%missing, webhook = %id, "that a webhook's endpoint is gone could not be committed");
    }
}

/// The registry has other webhooks than before.
fn follow(node: &Node, known: &State, state: &State) {
    keep(node, state);
    let others = state.hooks().filter(|(app, id, hook)| {
        known.hook(app, *id).is_some_and(|before| before.plan != hook.plan || before.gone != hook.gone)
    });
    let others: BTreeSet<HookId> = others.map(|(_, id, _)| id).collect();
    let mut queue = node.hooks.lock();
    for hook in others {
        queue.renew(hook);
    }
}

/// What waits for webhooks that are off or gone is dropped.
fn keep(node: &Node, state: &State) {
    node.hooks.lock().keep(|app, id| match state.hook(app, id) {
        Some(hook) if hook.is_on() => Standing::On,
        Some(_) => Standing::Off,
        None => Standing::Removed,
    });
}
