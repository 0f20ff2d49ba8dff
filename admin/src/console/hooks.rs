//! Webhooks of an app, and what came of one.

use askama::Template;
use chappe_proto::hooks::event::EventKind;
use chappe_proto::hooks::record::DeliveryState;
use chappe_proto::id::{AppId, HookId};
use serde::Deserialize;

use super::asked::{address, given};
use super::frame::Frame;
use super::view::View;
use super::visitor::Visitor;
use super::words;
use crate::Mount;
use crate::api::hooks::{Filter, page_of, seen_by};
use crate::api::problem::Problem;
use crate::cluster::hooks::{Deliveries, Delivery, Webhook};
use crate::control::Fault;

const SECTION: &str = "/admin/webhooks";

/// Deliveries of a page.
const PAGE: usize = 25;

/// How a webhook is, as a badge: its class and its word.
const fn badge(hook: &Webhook) -> (&'static str, &'static str) {
    match hook {
        Webhook { gone: true, .. } => ("bad", "gone"),
        Webhook { disabled: true, .. } => ("", "disabled"),
        _ => ("good", "on"),
    }
}

/// What a webhook is told of, in words.
fn events(hook: &Webhook) -> String {
    let told = EventKind::CHOICE.into_iter().filter(|kind| kind.is_chosen(&hook.events));
    told.map(EventKind::name).collect::<Vec<_>>().join(", ")
}

/// The webhooks of an app.
#[derive(Template)]
#[template(path = "hooks.html", blocks = ["live"])]
pub(crate) struct Webhooks {
    frame: Frame,
    acts: bool,
    apps: Vec<AppId>,
    app: Option<AppId>,
    hooks: Vec<Webhook>,
}

/// Of which app.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OfApp {
    app: String,
}

impl Webhooks {
    #[expect(clippy::unused_self, reason = "as templates call it")]
    fn badge(&self, hook: &Webhook) -> (&'static str, &'static str) {
        badge(hook)
    }

    #[expect(clippy::unused_self, reason = "as templates call it")]
    fn events(&self, hook: &Webhook) -> String {
        events(hook)
    }
}

impl View for Webhooks {
    type Place = ();
    type Ask = OfApp;

    async fn load(mount: &Mount, visitor: &Visitor, (): (), ask: OfApp) -> Result<Self, Fault> {
        let apps: Vec<_> = mount.cluster.apps().await?.into_iter().map(|(app, _)| app).collect();
        let app = match given(&ask.app) {
            Some(name) => Some(AppId::new(&name).map_err(|_| Fault::NotThere("app"))?),
            None => apps.first().cloned(),
        };
        let hooks = match &app {
            Some(app) => {
                let all = mount.cluster.hooks(app.clone()).await?.into_iter();
                all.map(|hook| seen_by(&visitor.who, hook)).collect()
            }
            None => Vec::new(),
        };
        let frame = Frame::of(visitor, SECTION, "Webhooks");
        Ok(Self { frame, acts: visitor.acts, apps, app, hooks })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}

/// One webhook and its deliveries.
#[derive(Template)]
#[template(path = "hook.html", blocks = ["live"])]
pub(crate) struct OneHook {
    frame: Frame,
    acts: bool,
    app: AppId,
    hook: Webhook,
    ask: Ask,
    bad: Option<String>,
    page: Deliveries,
}

/// Which deliveries, as the form asks: what is empty is not asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ask {
    state: String,
    r#type: String,
    room: String,
    after: String,
}

impl Ask {
    fn filter(&self) -> Filter {
        Filter {
            state: given(&self.state),
            r#type: given(&self.r#type),
            room: given(&self.room),
            cursor: given(&self.after),
            limit: Some(PAGE),
        }
    }
}

impl OneHook {
    /// States that deliveries are looked for by.
    const STATES: [&'static str; 6] = ["waiting", "sending", "delivered", "expired", "gone", "cancelled"];

    fn badge(&self) -> (&'static str, &'static str) {
        badge(&self.hook)
    }

    fn is_told(&self, kind: &EventKind) -> bool {
        kind.is_chosen(&self.hook.events)
    }

    /// Where it is.
    fn path(&self) -> String {
        format!("{SECTION}/{}/{}", self.app, self.hook.id)
    }

    /// Where the API has it.
    fn api(&self) -> String {
        format!("/admin/api/v1/apps/{}/webhooks/{}", self.app, self.hook.id)
    }

    /// What became of a delivery: the class of its badge, and its word.
    #[expect(clippy::unused_self, reason = "as templates call it")]
    const fn became(&self, one: &Delivery) -> (&'static str, &'static str) {
        match one.state {
            DeliveryState::Waiting => ("warn", "waiting"),
            DeliveryState::Sending => ("info", "sending"),
            DeliveryState::Delivered => ("good", "delivered"),
            DeliveryState::Expired => ("bad", "given up"),
            DeliveryState::Gone => ("bad", "endpoint gone"),
            DeliveryState::Cancelled => ("", "cancelled"),
        }
    }

    /// The address of the next page.
    fn next(&self, after: &str) -> String {
        let Ask { state, r#type, room, .. } = &self.ask;
        address(&self.path(), &[("state", state), ("type", r#type), ("room", room), ("after", after)])
    }
}

impl View for OneHook {
    type Place = (String, String);
    type Ask = Ask;

    async fn load(
        mount: &Mount,
        visitor: &Visitor,
        (app, id): (String, String),
        ask: Ask,
    ) -> Result<Self, Fault> {
        let gone = Fault::NotThere("webhook");
        let (Ok(app), Ok(id)) = (AppId::new(&app), id.parse::<HookId>()) else { return Err(gone) };
        let all = mount.cluster.hooks(app.clone()).await?;
        let hook = all.into_iter().find(|hook| hook.id == id).ok_or(gone)?;
        let hook = seen_by(&visitor.who, hook);
        let (bad, page) = match page_of(mount, app.clone(), id, &ask.filter()).await {
            Ok(page) => (None, page),
            Err(Problem::NotFound(what)) => return Err(Fault::NotThere(what)),
            Err(problem) => (Some(problem.to_string()), Deliveries::default()),
        };
        let name = if hook.label.is_empty() { "Webhook" } else { &hook.label };
        let frame = Frame::of(visitor, SECTION, name);
        Ok(Self { frame, acts: visitor.acts, app, hook, ask, bad, page })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}
