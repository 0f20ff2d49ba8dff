//! `/turn/allocations`: what relays now, and the end of it.

use std::net::IpAddr;

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Json, Path, ServiceConfig};
use chappe_proto::id::{EdgeId, SessionId};
use chappe_proto::limits::ALLOCATIONS_PAGE;
use chappe_proto::mesh::allocations::AllocationFilter;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Ask, at, bad_cursor, cursor};
use crate::Mount;
use crate::access::{Operator, Viewer};
use crate::api::problem::Problem;
use crate::api::rooms::key;
use crate::cluster::turn::{AllocationCursor, AllocationPage, AllocationWish, Closed};

/// Allocations in one answer unless said otherwise.
const PAGE: usize = 100;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/turn/allocations", web::get().to(list))
        .route("/turn/allocations", web::delete().to(close_all))
        .route("/turn/allocations/{edge}/{id}", web::delete().to(close));
}

#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Of {
    /// On this edge alone.
    #[param(value_type = Option<String>)]
    pub(crate) edge: Option<EdgeId>,
    /// Of this session or issued credential.
    #[param(value_type = Option<String>)]
    pub(crate) session: Option<SessionId>,
    /// Of this user, who is no session.
    pub(crate) user: Option<String>,
    /// Of this realm's long-term users.
    pub(crate) realm: Option<String>,
    /// Of the sessions in `room` of this app.
    pub(crate) app: Option<String>,
    /// Of the sessions in this room of `app`.
    pub(crate) room: Option<String>,
    /// Of clients at this address.
    #[param(value_type = Option<String>)]
    pub(crate) client: Option<IpAddr>,
    /// So many at most: 100 unless said otherwise, and 256.
    pub(crate) limit: Option<usize>,
    /// The `next` of the answer before.
    pub(crate) cursor: Option<String>,
}

impl Of {
    fn wish(&self) -> Result<AllocationWish, Problem> {
        let room = match (&self.app, &self.room) {
            (Some(app), Some(room)) => Some(key(app, room)?),
            (None, None) => None,
            _ => {
                let fix = "give `app` and `room` together".to_owned();
                return Err(Problem::Field { field: "room", fix });
            }
        };
        if room.is_some() && self.session.is_some() {
            let fix = "give a room or a session".to_owned();
            return Err(Problem::Field { field: "session", fix });
        }
        let filter = AllocationFilter {
            sessions: self.session.map(|session| [session].into()),
            name: self.user.clone(),
            realm: self.realm.clone(),
            client: self.client,
        };
        Ok(AllocationWish { edge: self.edge.clone(), room, filter })
    }
}

fn from(given: &str) -> Result<AllocationCursor, Problem> {
    let text = at(given)?;
    let (place, edge) = text.split_once(' ').ok_or_else(bad_cursor)?;
    let edge = EdgeId::new(edge).map_err(|_| bad_cursor())?;
    Ok((edge, place.parse().map_err(|_| bad_cursor())?))
}

/// Some of the allocations.
#[derive(Serialize, ToSchema)]
#[schema(as = AllocationList)]
pub(crate) struct Page {
    /// Those, and who did not answer.
    #[serde(flatten)]
    pub(crate) page: AllocationPage,
    /// Where the list goes on, for `cursor`; nothing after the last ones. There may be more where there are none
    /// in this answer.
    pub(crate) next: Option<String>,
}

/// The allocations by edge: one that is there all the while is listed once, however many come and go.
#[utoipa::path(
    get,
    path = "/turn/allocations",
    tag = "turn",
    params(Of),
    responses((status = 200, body = Page), (status = 400), (status = 404))
)]
async fn list(_: Viewer, mount: Data<Mount>, of: Ask<Of>) -> Result<Json<Page>, Problem> {
    page_of(&mount, &of.0).await.map(Json)
}

/// Those that are asked for.
pub(crate) async fn page_of(mount: &Mount, of: &Of) -> Result<Page, Problem> {
    let limit = of.limit.unwrap_or(PAGE).clamp(1, ALLOCATIONS_PAGE);
    let at = of.cursor.as_deref().map(from).transpose()?;
    let page = mount.cluster.allocations(of.wish()?, at, limit).await?;
    let next = page.next.as_ref().map(|(edge, place)| cursor(&format!("{place} {edge}")));
    Ok(Page { page, next })
}

/// Closes one. Whoever has a credential that is good may make the next one.
#[utoipa::path(
    delete,
    path = "/turn/allocations/{edge}/{id}",
    tag = "turn",
    params(("edge" = String, Path), ("id" = String, Path)),
    responses((status = 204), (status = 404), (status = 503))
)]
async fn close(
    operator: Operator,
    mount: Data<Mount>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let gone = || Problem::NotFound("allocation");
    let edge = EdgeId::new(&path.0).map_err(|_| gone())?;
    let is_id = path.1.len() == 16 && path.1.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = u64::from_str_radix(&path.1, 16).ok().filter(|_| is_id).ok_or_else(gone)?;
    let note = operator.note(&format!("closed the allocation {} on the edge {edge}", path.1));
    mount.cluster.allocation_close(edge, number, note).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Whose {
    /// Of this session or issued credential.
    #[param(value_type = Option<String>)]
    session: Option<SessionId>,
    /// Of this user, who is no session.
    user: Option<String>,
    /// Of this realm's user of that name.
    realm: Option<String>,
}

/// Closes all of a session or a user, on every edge that answers.
#[utoipa::path(
    delete,
    path = "/turn/allocations",
    tag = "turn",
    params(Whose),
    responses((status = 200, body = Closed), (status = 400))
)]
async fn close_all(
    operator: Operator,
    mount: Data<Mount>,
    whose: Ask<Whose>,
) -> Result<Json<Closed>, Problem> {
    let Ask(Whose { session, user, realm }) = whose;
    let who = match (&session, &user) {
        (Some(session), None) if realm.is_none() => session.to_string(),
        (None, Some(user)) => format!("{user:?}"),
        _ => {
            let fix = "name a session, or a user with or without its realm".to_owned();
            return Err(Problem::Field { field: "session", fix });
        }
    };
    let sessions = session.map(|session| [session].into());
    let filter = AllocationFilter { sessions, name: user, realm, client: None };
    let note = operator.note(&format!("closed the allocations of {who}"));
    Ok(Json(mount.cluster.allocations_close(filter, note).await?))
}
