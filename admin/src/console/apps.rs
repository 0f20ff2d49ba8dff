//! The apps; and one of them, with its keys, its policy and what it relayed.

use askama::Template;
use chappe_proto::id::AppId;
use chappe_proto::limits::{CREDENTIAL_TTL_MAX, CREDENTIAL_TTL_MIN, GRACE_MAX, ROOM_CAPACITY_MAX};
use chappe_proto::registry::App as Held;
use chappe_proto::usage::{Tally, UsageOf};
use serde::Deserialize;

use super::costs::{CostLine, cost, dearest};
use super::frame::Frame;
use super::view::{Nothing, View};
use super::visitor::Visitor;
use super::words;
use crate::api::costs::By;
use crate::apps::ShownKey;
use crate::control::Fault;
use crate::{Mount, UsageReport};

const SECTION: &str = "/admin/apps";
/// Apps on a page.
const PAGE: usize = 50;
/// Rooms of an app's usage that are shown: those that relayed most.
const ROOMS: usize = 10;

/// An app in the list.
struct Line {
    app: AppId,
    held: Held,
    rooms: u64,
    people: u64,
    relayed: Tally,
}

impl Line {
    fn relayed(&self) -> String {
        words::bytes(self.relayed.bytes())
    }
}

/// Rooms and people of apps, of all nodes that answer.
async fn running(mount: &Mount) -> impl Fn(&AppId) -> (u64, u64) {
    let counts = mount.cluster.room_counts().await;
    move |app| {
        let of = counts.iter().filter(|count| count.app == *app);
        of.fold((0, 0), |(rooms, people), one| (rooms + u64::from(one.rooms), people + u64::from(one.peers)))
    }
}

/// The apps.
#[derive(Template)]
#[template(path = "apps.html", blocks = ["live"])]
pub(crate) struct Apps {
    frame: Frame,
    owns: bool,
    ask: Ask,
    apps: Vec<Line>,
    next: Option<AppId>,
}

/// Which apps.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ask {
    q: String,
    after: String,
}

impl Ask {
    /// The address of the page behind `after`, or of the first.
    fn page(&self, after: &str) -> String {
        words::address(SECTION, &[("q", &self.q), ("after", after)])
    }
}

impl View for Apps {
    type Place = ();
    type Ask = Ask;

    async fn load(mount: &Mount, visitor: &Visitor, (): (), ask: Ask) -> Result<Self, Fault> {
        let text = ask.q.trim().to_lowercase();
        let meant = |app: &AppId, held: &Held| {
            app.as_str() > ask.after.as_str()
                && (app.as_str().to_lowercase().contains(&text) || held.name.to_lowercase().contains(&text))
        };
        let mut found = mount.cluster.apps().await?;
        found.retain(|(app, held)| meant(app, held));
        let more = found.len() > PAGE;
        found.truncate(PAGE);
        let next = found.last().filter(|_| more).map(|(app, _)| app.clone());
        let running = running(mount).await;
        let usage = mount.cluster.usage(UsageOf::Apps).await.unwrap_or_default();
        let line = |(app, held): (AppId, Held)| {
            let (rooms, people) = running(&app);
            let relayed = usage.parts.get(app.as_str()).cloned().unwrap_or_default();
            Line { app, held, rooms, people, relayed }
        };
        let apps = found.into_iter().map(line).collect();
        Ok(Self { frame: Frame::of(visitor, SECTION, "Apps and keys"), owns: visitor.owns, ask, apps, next })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}

/// One app.
#[derive(Template)]
#[template(path = "app.html", blocks = ["live"])]
pub(crate) struct App {
    frame: Frame,
    acts: bool,
    owns: bool,
    app: AppId,
    held: Held,
    rooms: u64,
    people: u64,
    keys: Vec<ShownKey>,
    usage: UsageReport,
    most: Vec<CostLine>,
}

impl App {
    /// Its place in the API, with what follows.
    fn api(&self, rest: &str) -> String {
        format!("/admin/api/v1/apps/{}{rest}", self.app)
    }

    /// Whether some key of it is accepted.
    fn signs(&self) -> bool {
        self.keys.iter().any(|key| !key.disabled)
    }

    /// Milliseconds as seconds, to be written into a field.
    #[expect(clippy::unused_self, reason = "as templates call it")]
    fn secs(&self, ms: &u64) -> String {
        std::time::Duration::from_millis(*ms).as_secs_f64().to_string()
    }

    fn cost(&self) -> Option<(String, String)> {
        cost(&self.usage.relayed, &self.usage)
    }
}

impl View for App {
    type Place = String;
    type Ask = Nothing;

    async fn load(mount: &Mount, visitor: &Visitor, app: String, _: Nothing) -> Result<Self, Fault> {
        let apps = mount.cluster.apps().await?.into_iter();
        let (app, held) =
            apps.into_iter().find(|(id, _)| id.as_str() == app).ok_or(Fault::NotThere("app"))?;
        let (rooms, people) = running(mount).await(&app);
        let usage = mount.cluster.usage(UsageOf::App(app.clone())).await.unwrap_or_default();
        Ok(Self {
            frame: Frame::of(visitor, SECTION, format!("App {app}")),
            acts: visitor.acts,
            owns: visitor.owns,
            keys: mount.cluster.keys(app.clone()).await?,
            app,
            held,
            rooms,
            people,
            most: dearest(By::Rooms, &usage, ROOMS),
            usage,
        })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}
