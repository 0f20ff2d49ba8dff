//! TURN credentials: those that were issued, the secrets that make them, and long-term users.

use std::collections::BTreeSet;

use askama::Template;
use chappe_proto::id::{AppId, Region};
use chappe_proto::limits::SECRET_OVERLAP;
use chappe_proto::mesh::uplink::TurnUser;
use serde::Deserialize;

use super::asked::{address, given, parsed};
use super::frame::Frame;
use super::view::{Nothing, View};
use super::visitor::Visitor;
use super::words;
use crate::Mount;
use crate::api::page;
use crate::api::problem::Problem;
use crate::api::turn::{OfCredentials, One, found, listed, told};
use crate::cluster::turn::{IssuedState, IssuedStatus, SecretStatus};
use crate::control::Fault;

pub(super) const SECTION: &str = "/admin/turn";

/// Lines of a page.
const PAGE: usize = 50;

/// Why something is not shown.
fn fault(problem: Problem) -> Fault {
    match problem {
        Problem::NotFound(what) => Fault::NotThere(what),
        Problem::Unavailable => Fault::Unavailable("the registry cannot be asked right now".to_owned()),
        other => Fault::Conflict(other.to_string()),
    }
}

/// What has become of a credential, as a badge: its class and its word.
const fn badge(state: IssuedState) -> (&'static str, &'static str) {
    match state {
        IssuedState::Active => ("good", "active"),
        IssuedState::Revoked => ("bad", "revoked"),
        IssuedState::Expired => ("", "expired"),
        IssuedState::SecretEnded => ("warn", "its secret has ended"),
    }
}

/// The issued credentials.
#[derive(Template)]
#[template(path = "turn/credentials.html", blocks = ["live"])]
pub(crate) struct Credentials {
    frame: Frame,
    acts: bool,
    ask: Ask,
    bad: Option<String>,
    apps: Vec<AppId>,
    regions: BTreeSet<Region>,
    credentials: Vec<IssuedStatus>,
    next: Option<String>,
}

/// Which credentials, as the form asks: what is empty is not asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ask {
    text: String,
    app: String,
    state: String,
    after: String,
}

impl Ask {
    fn of(&self) -> Result<OfCredentials, Problem> {
        Ok(OfCredentials {
            app: parsed("app", &self.app)?,
            state: parsed("state", &self.state)?,
            label: given(&self.text),
            limit: Some(PAGE),
            cursor: given(&self.after),
        })
    }

    fn asks(&self) -> bool {
        [&self.text, &self.app, &self.state, &self.after].iter().any(|text| !text.is_empty())
    }
}

impl Credentials {
    #[expect(clippy::unused_self, reason = "as templates call it")]
    fn badge(&self, one: &IssuedStatus) -> (&'static str, &'static str) {
        badge(one.state)
    }

    /// The address of the next page.
    fn next(&self, after: &str) -> String {
        let Ask { text, app, state, .. } = &self.ask;
        address(SECTION, &[("text", text), ("app", app), ("state", state), ("after", after)])
    }
}

impl View for Credentials {
    type Place = ();
    type Ask = Ask;

    async fn load(mount: &Mount, visitor: &Visitor, (): (), ask: Ask) -> Result<Self, Fault> {
        let page = match ask.of() {
            Ok(of) => listed(mount, of).await,
            Err(problem) => Err(problem),
        };
        let (bad, credentials, next) = match page {
            Ok(page) => (None, page.credentials, page.next),
            Err(problem @ Problem::Field { .. }) => (Some(problem.to_string()), Vec::new(), None),
            Err(problem) => return Err(fault(problem)),
        };
        let apps = mount.cluster.apps().await?.into_iter().map(|(app, _)| app).collect();
        let regions = mount.cluster.edges().await.into_iter().map(|edge| edge.region).collect();
        let frame = Frame::of(visitor, SECTION, "TURN credentials");
        Ok(Self { frame, acts: visitor.acts, ask, bad, apps, regions, credentials, next })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}

/// One credential, and what it relays.
#[derive(Template)]
#[template(path = "turn/credential.html", blocks = ["live"])]
pub(crate) struct Credential {
    frame: Frame,
    acts: bool,
    one: One,
}

impl Credential {
    fn badge(&self) -> (&'static str, &'static str) {
        badge(self.one.credential.state)
    }
}

impl View for Credential {
    type Place = String;
    type Ask = Nothing;

    async fn load(mount: &Mount, visitor: &Visitor, id: String, _: Nothing) -> Result<Self, Fault> {
        let held = found(mount, &id, None).await.map_err(fault)?;
        let one = told(mount, held).await.map_err(fault)?;
        let frame = Frame::of(visitor, SECTION, one.credential.label.clone());
        Ok(Self { frame, acts: visitor.acts, one })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}

/// The shared secrets.
#[derive(Template)]
#[template(path = "turn/secrets.html", blocks = ["live"])]
pub(crate) struct Secrets {
    frame: Frame,
    owns: bool,
    secrets: Vec<SecretStatus>,
    overlap: u64,
}

impl View for Secrets {
    type Place = ();
    type Ask = Nothing;

    async fn load(mount: &Mount, visitor: &Visitor, (): (), _: Nothing) -> Result<Self, Fault> {
        let mut secrets = mount.cluster.turn_secrets().await?;
        secrets.reverse();
        let frame = Frame::of(visitor, SECTION, "TURN secrets");
        Ok(Self { frame, owns: visitor.owns, secrets, overlap: SECRET_OVERLAP.as_secs() })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}

/// The long-term users.
#[derive(Template)]
#[template(path = "turn/users.html", blocks = ["live"])]
pub(crate) struct Users {
    frame: Frame,
    acts: bool,
    ask: AskUsers,
    bad: Option<String>,
    users: Vec<TurnUser>,
    realms: BTreeSet<String>,
    next: Option<String>,
}

/// Which users.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AskUsers {
    text: String,
    after: String,
}

impl Users {
    /// The address of the next page.
    fn next(&self, after: &str) -> String {
        address("/admin/turn/users", &[("text", &self.ask.text), ("after", after)])
    }
}

impl View for Users {
    type Place = ();
    type Ask = AskUsers;

    async fn load(mount: &Mount, visitor: &Visitor, (): (), ask: AskUsers) -> Result<Self, Fault> {
        let all = mount.cluster.turn_users().await?;
        let realms = all.iter().map(|user| user.realm.clone()).collect();
        let text = ask.text.trim().to_lowercase();
        let asked = |user: &TurnUser| {
            [&user.name, &user.realm].iter().any(|held| held.to_lowercase().contains(&text))
        };
        let at = page::Ask { after: given(&ask.after), limit: Some(PAGE) };
        let key = |user: &TurnUser| (user.realm.clone(), user.name.clone());
        let (bad, users, next) = match page::Page::of(&at, all.into_iter().filter(asked), key) {
            Ok(page) => (None, page.items, page.next),
            Err(problem) => (Some(problem.to_string()), Vec::new(), None),
        };
        let frame = Frame::of(visitor, SECTION, "TURN users");
        Ok(Self { frame, acts: visitor.acts, ask, bad, users, realms, next })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}
