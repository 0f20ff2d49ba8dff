//! What relays now.

use askama::Template;
use chappe_proto::id::{AppId, EdgeId, SessionId};
use serde::Deserialize;

use super::asked::{address, given, parsed};
use super::frame::Frame;
use super::view::View;
use super::visitor::Visitor;
use super::words;
use crate::Mount;
use crate::api::problem::Problem;
use crate::api::turn::{OfAllocations, allocations_of};
use crate::cluster::turn::Allocation;
use crate::control::Fault;

const SECTION: &str = "/admin/allocations";

/// Lines of a page.
const PAGE: usize = 50;

/// The allocations.
#[derive(Template)]
#[template(path = "allocations.html", blocks = ["live"])]
pub(crate) struct Allocations {
    frame: Frame,
    acts: bool,
    ask: Ask,
    bad: Option<String>,
    edges: Vec<EdgeId>,
    apps: Vec<AppId>,
    allocations: Vec<Allocation>,
    missing: Vec<EdgeId>,
    next: Option<String>,
}

/// Which allocations, as the form asks: what is empty is not asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ask {
    edge: String,
    session: String,
    user: String,
    realm: String,
    app: String,
    room: String,
    client: String,
    after: String,
}

impl Ask {
    fn of(&self) -> Result<OfAllocations, Problem> {
        let room = given(&self.room);
        Ok(OfAllocations {
            edge: parsed("edge", &self.edge)?,
            session: parsed("session", &self.session)?,
            user: given(&self.user),
            realm: given(&self.realm),
            app: given(&self.app).filter(|_| room.is_some()), // an app alone is chosen before its room is written
            room,
            client: parsed("client", &self.client)?,
            limit: Some(PAGE),
            cursor: given(&self.after),
        })
    }

    fn asks(&self) -> bool {
        let Self { edge, session, user, realm, app: _, room, client, after } = self;
        [edge, session, user, realm, room, client, after].iter().any(|text| !text.is_empty())
    }
}

impl Allocations {
    /// The address of the next page.
    fn next(&self, after: &str) -> String {
        let Ask { edge, session, user, realm, app, room, client, .. } = &self.ask;
        address(
            SECTION,
            &[
                ("edge", edge),
                ("session", session),
                ("user", user),
                ("realm", realm),
                ("app", app),
                ("room", room),
                ("client", client),
                ("after", after),
            ],
        )
    }

    /// The address of a session's.
    #[expect(clippy::unused_self, reason = "as templates call it")]
    fn of_session(&self, session: &SessionId) -> String {
        address(SECTION, &[("session", &session.to_string())])
    }

    /// The address of a user's.
    #[expect(clippy::unused_self, reason = "as templates call it")]
    fn of_user(&self, user: &str, one: &Allocation) -> String {
        address(SECTION, &[("user", user), ("realm", one.realm.as_deref().unwrap_or_default())])
    }

    /// Whose they are, where one session's or one user's are asked for: what is told of them, and where all are closed.
    fn whose(&self) -> Option<(String, String)> {
        let Ask { session, user, realm, .. } = &self.ask;
        let path = "/admin/api/v1/turn/allocations";
        let is_session = session.trim().parse::<SessionId>().is_ok();
        match (session.trim(), user.trim()) {
            (session, "") if is_session && realm.is_empty() => {
                Some((session.to_owned(), address(path, &[("session", session)])))
            }
            ("", user) if !user.is_empty() => {
                Some((user.to_owned(), address(path, &[("user", user), ("realm", realm.trim())])))
            }
            _ => None,
        }
    }
}

impl View for Allocations {
    type Place = ();
    type Ask = Ask;

    async fn load(mount: &Mount, visitor: &Visitor, (): (), ask: Ask) -> Result<Self, Fault> {
        let page = match ask.of() {
            Ok(of) => allocations_of(mount, &of).await,
            Err(problem) => Err(problem),
        };
        let (bad, page, next) = match page {
            Ok(told) => (None, told.page, told.next),
            Err(problem) => (Some(problem.to_string()), Default::default(), None),
        };
        let edges = mount.cluster.edges().await.into_iter().map(|edge| edge.edge).collect();
        let apps = mount.cluster.apps().await?.into_iter().map(|(app, _)| app).collect();
        let (allocations, missing) = (page.allocations, page.missing);
        let frame = Frame::of(visitor, SECTION, "Allocations");
        Ok(Self { frame, acts: visitor.acts, ask, bad, edges, apps, allocations, missing, next })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}
