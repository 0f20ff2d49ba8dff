//! `/turn/credentials`, and the same under an app: credentials that operators and apps' servers issue.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{self, Bytes, Data, Json, Path, ServiceConfig};
use chappe_proto::id::{AppId, EdgeId, Region, SessionId};
use chappe_proto::limits::{
    CREDENTIAL_TTL_MIN, ISSUED_EDGES_MAX, ISSUED_LABEL_MAX, ISSUED_MAX, ISSUED_TTL_MAX,
};
use chappe_proto::mesh::allocations::AllocationFilter;
use chappe_proto::registry::is_label;
use chappe_proto::select::{Coordinates, Place};
use chappe_proto::usage::UsageOf;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Ask, at, bad_cursor, cursor, link, read};
use crate::Mount;
use crate::access::{OfApp, Operator, Principal, Viewer};
use crate::api::problem::Problem;
use crate::api::rooms::app_id;
use crate::cluster::turn::{
    AllocationWish, Figures, IssueAt, IssueWish, IssuedState, IssuedStatus, NewCredential,
};

/// Credentials in one answer at most, and unless said otherwise.
const PAGE_MAX: usize = 1000;
const PAGE: usize = 100;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/turn/credentials", web::post().to(issue))
        .route("/turn/credentials", web::get().to(list))
        .route("/turn/credentials/{id}", web::get().to(one))
        .route("/turn/credentials/{id}", web::delete().to(revoke))
        .route("/apps/{app}/turn/credentials", web::post().to(issue_of_app))
        .route("/apps/{app}/turn/credentials", web::get().to(list_of_app))
        .route("/apps/{app}/turn/credentials/{id}", web::get().to(one_of_app))
        .route("/apps/{app}/turn/credentials/{id}", web::delete().to(revoke_of_app));
}

/// What is asked for. Its URLs are of the edges near a place, of those named, or of the best of each region.
#[derive(Deserialize, ToSchema)]
#[schema(as = IssueCredential)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    /// What it is called: 1 to 128 bytes.
    label: String,
    /// How long it is good, in seconds: 4 to 2592000.
    seconds: u64,
    /// The app that it is for; left out under an app's path.
    #[schema(value_type = Option<String>)]
    app: Option<AppId>,
    /// A region's name.
    #[schema(value_type = Option<String>)]
    region: Option<Region>,
    /// Degrees; both or neither.
    latitude: Option<f64>,
    /// Degrees.
    longitude: Option<f64>,
    /// Edges' names: for an app those that rules keep from it are refused. (The credential itself is good at every edge.)
    #[schema(value_type = Option<Vec<String>>)]
    edges: Option<Vec<EdgeId>>,
}

fn field(field: &'static str, fix: impl Into<String>) -> Problem {
    Problem::Field { field, fix: fix.into() }
}

impl Wish {
    fn checked(self) -> Result<IssueWish, Problem> {
        let Self { label, seconds, app, region, latitude, longitude, edges } = self;
        if !is_label(&label) {
            return Err(field("label", format!("1 to {ISSUED_LABEL_MAX} bytes without control characters")));
        }
        let life = Duration::from_secs(seconds);
        if !(CREDENTIAL_TTL_MIN..=ISSUED_TTL_MAX).contains(&life) {
            let (least, most) = (CREDENTIAL_TTL_MIN.as_secs(), ISSUED_TTL_MAX.as_secs());
            return Err(field("seconds", format!("{least} to {most}: a longer one is two")));
        }
        let coordinates = match (latitude, longitude) {
            (None, None) => None,
            (Some(latitude), Some(longitude)) => Some(
                Coordinates::new(latitude, longitude)
                    .map_err(|error| field("latitude", error.to_string()))?,
            ),
            _ => return Err(field("latitude", "give `latitude` and `longitude` together")),
        };
        let place = Place { region, coordinates };
        let at = match edges {
            Some(_) if place != Place::default() => {
                return Err(field("edges", "name edges, or a place that edges are to be near"));
            }
            Some(edges) if !(1..=ISSUED_EDGES_MAX).contains(&edges.len()) => {
                return Err(field("edges", format!("1 to {ISSUED_EDGES_MAX}")));
            }
            Some(edges) => IssueAt::Edges(edges),
            None if place != Place::default() => IssueAt::Near(place),
            None => IssueAt::Everywhere,
        };
        Ok(IssueWish { label, app, life, at })
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Told {
    /// That the answer has `link`, a URL with username and password, and `qr`, an SVG of it.
    #[serde(default)]
    qr: bool,
}

/// A credential as it is told once.
#[derive(Serialize, ToSchema)]
#[schema(as = IssuedCredential)]
pub(super) struct Made {
    /// It.
    #[serde(flatten)]
    made: NewCredential,
    /// With `qr`: as GStreamer and libdatachannel take it, of the first URL: `turn://username:password@host:port?…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    /// With `qr`: a QR code of `link`, as an SVG.
    #[serde(skip_serializing_if = "Option::is_none")]
    qr: Option<String>,
}

impl Made {
    fn of(made: NewCredential, told: &Told) -> Self {
        let link = told.qr.then(|| link::of(&made)).flatten();
        let qr = link.as_deref().and_then(link::qr);
        Self { made, link, qr }
    }
}

async fn issued(
    operator: &Principal,
    mount: &Mount,
    wish: IssueWish,
    told: &Told,
) -> Result<HttpResponse, Problem> {
    let of = wish.app.as_ref().map_or_else(String::new, |app| format!(" for the app {app}"));
    let (label, life) = (&wish.label, wish.life.as_secs());
    let note = operator.note(&format!("issued the TURN credential {label:?} of {life} s{of}"));
    let made = mount.cluster.issue(wish, note).await?;
    let made = Made::of(made, told);
    Ok(HttpResponse::Created().insert_header((header::CACHE_CONTROL, "no-store")).json(made))
}

/// Issues a credential. Its password is told now and never again.
#[utoipa::path(
    post,
    path = "/turn/credentials",
    tag = "turn",
    params(Told),
    request_body = Wish,
    responses((status = 201, body = Made), (status = 400), (status = 409))
)]
async fn issue(
    operator: Operator,
    mount: Data<Mount>,
    told: Ask<Told>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    issued(&operator, &mount, read::<Wish>(&body)?.checked()?, &told.0).await
}

/// Issues a credential for an app.
#[utoipa::path(
    post,
    path = "/apps/{app}/turn/credentials",
    tag = "turn",
    params(("app" = String, Path), Told),
    request_body = Wish,
    responses((status = 201, body = Made), (status = 400), (status = 404), (status = 409))
)]
async fn issue_of_app(
    operator: OfApp,
    mount: Data<Mount>,
    path: Path<String>,
    told: Ask<Told>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let app = there(&mount, &path).await?;
    let mut wish = read::<Wish>(&body)?;
    if wish.app.replace(app.clone()).is_some_and(|other| other != app) {
        return Err(field("app", "leave it out: the path names it"));
    }
    issued(&operator, &mount, wish.checked()?, &told.0).await
}

/// An app that there is.
async fn there(mount: &Mount, name: &str) -> Result<AppId, Problem> {
    let app = app_id(name)?;
    let all = mount.cluster.apps().await?;
    if all.iter().any(|(id, _)| *id == app) { Ok(app) } else { Err(Problem::NotFound("app")) }
}

#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Of {
    /// Of this app alone.
    #[param(value_type = Option<String>)]
    pub(crate) app: Option<AppId>,
    /// Of which this has become.
    pub(crate) state: Option<IssuedState>,
    /// Whose labels hold this.
    pub(crate) label: Option<String>,
    /// So many at most: 100 unless said otherwise, and 1000.
    pub(crate) limit: Option<usize>,
    /// The `next` of the answer before.
    pub(crate) cursor: Option<String>,
}

/// Some of the credentials.
#[derive(Serialize, ToSchema)]
#[schema(as = IssuedPage)]
pub(crate) struct Page {
    /// Those, by id.
    pub(crate) credentials: Vec<IssuedStatus>,
    /// Where the list goes on, for `cursor`; nothing after the last ones.
    pub(crate) next: Option<String>,
}

/// Those that are asked for.
pub(crate) async fn listed(mount: &Mount, of: Of) -> Result<Page, Problem> {
    let limit = of.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let after: Option<SessionId> =
        of.cursor.map(|given| at(&given)?.parse().map_err(|_| bad_cursor())).transpose()?;
    let asked = |held: &IssuedStatus| {
        after.is_none_or(|after| held.id > after)
            && of.app.as_ref().is_none_or(|app| held.app.as_ref() == Some(app))
            && of.state.is_none_or(|state| held.state == state)
            && of.label.as_ref().is_none_or(|label| held.label.contains(label.as_str()))
    };
    let mut all = mount.cluster.issued().await?;
    all.truncate(ISSUED_MAX);
    let mut found = all.into_iter().filter(asked);
    let credentials: Vec<_> = found.by_ref().take(limit).collect();
    let more = found.next().is_some();
    let next = credentials.last().filter(|_| more).map(|last| cursor(&last.id.to_string()));
    Ok(Page { credentials, next })
}

/// The issued credentials, never their passwords.
#[utoipa::path(
    get,
    path = "/turn/credentials",
    tag = "turn",
    params(Of),
    responses((status = 200, body = Page), (status = 400))
)]
async fn list(_: Viewer, mount: Data<Mount>, of: Ask<Of>) -> Result<Json<Page>, Problem> {
    listed(&mount, of.0).await.map(Json)
}

/// Those of an app.
#[utoipa::path(
    get,
    path = "/apps/{app}/turn/credentials",
    tag = "turn",
    params(("app" = String, Path), Of),
    responses((status = 200, body = Page), (status = 400), (status = 404))
)]
async fn list_of_app(
    who: OfApp,
    mount: Data<Mount>,
    path: Path<String>,
    of: Ask<Of>,
) -> Result<Json<Page>, Problem> {
    let app = there(&mount, &path).await?;
    let mut of = of.0;
    if of.app.replace(app.clone()).is_some_and(|other| other != app) {
        return Err(field("app", "leave it out: the path names it"));
    }
    let mut page = listed(&mount, of).await?;
    for held in &mut page.credentials {
        held.by = who.shown(std::mem::take(&mut held.by));
    }
    Ok(Json(page))
}

/// A credential and what it relays.
#[derive(Serialize, ToSchema)]
#[schema(as = IssuedOne)]
pub(crate) struct One {
    /// The credential.
    #[serde(flatten)]
    pub(crate) credential: IssuedStatus,
    /// Its allocations now, on the edges that answer.
    pub(crate) allocations: usize,
    /// Payload from clients to peers, as far as the nodes that answer have counted it since they began.
    pub(crate) sent: Figures,
    /// Payload from peers to clients, likewise.
    pub(crate) received: Figures,
}

/// One that there is; of an app, where that asks.
pub(crate) async fn found(mount: &Mount, id: &str, app: Option<&AppId>) -> Result<IssuedStatus, Problem> {
    let gone = || Problem::NotFound("credential");
    let id: SessionId = id.parse().map_err(|_| gone())?;
    let all = mount.cluster.issued().await?;
    let held = all.into_iter().find(|held| held.id == id).ok_or_else(gone)?;
    if app.is_some_and(|app| held.app.as_ref() != Some(app)) { Err(gone()) } else { Ok(held) }
}

/// A credential with what it relays.
pub(crate) async fn told(mount: &Mount, credential: IssuedStatus) -> Result<One, Problem> {
    let usage =
        mount.cluster.usage(UsageOf::Session(credential.id)).await.unwrap_or_default().relayed.relayed;
    let wish =
        AllocationWish { filter: AllocationFilter::of_session(credential.id), ..AllocationWish::default() };
    let (mut allocations, mut from) = (0, None);
    loop {
        let page = mount.cluster.allocations(wish.clone(), from, PAGE_MAX).await?;
        allocations += page.allocations.len();
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    Ok(One { credential, allocations, sent: usage.sent.into(), received: usage.received.into() })
}

/// One of them, with what it has relayed.
#[utoipa::path(
    get,
    path = "/turn/credentials/{id}",
    tag = "turn",
    params(("id" = String, Path)),
    responses((status = 200, body = One), (status = 404))
)]
async fn one(_: Viewer, mount: Data<Mount>, path: Path<String>) -> Result<Json<One>, Problem> {
    let held = found(&mount, &path, None).await?;
    told(&mount, held).await.map(Json)
}

/// One of an app's.
#[utoipa::path(
    get,
    path = "/apps/{app}/turn/credentials/{id}",
    tag = "turn",
    params(("app" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = One), (status = 404))
)]
async fn one_of_app(
    who: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String)>,
) -> Result<Json<One>, Problem> {
    let app = there(&mount, &path.0).await?;
    let mut held = found(&mount, &path.1, Some(&app)).await?;
    held.by = who.shown(held.by);
    told(&mount, held).await.map(Json)
}

async fn end(operator: &Principal, mount: &Mount, held: IssuedStatus) -> Result<HttpResponse, Problem> {
    let note = operator.note(&format!("revoked the TURN credential {:?} ({})", held.label, held.id));
    mount.cluster.issued_revoke(held.id, note).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Revokes a credential: its allocations end on every edge, and it makes no new ones.
#[utoipa::path(
    delete,
    path = "/turn/credentials/{id}",
    tag = "turn",
    params(("id" = String, Path)),
    responses((status = 204), (status = 404))
)]
async fn revoke(operator: Operator, mount: Data<Mount>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let held = found(&mount, &path, None).await?;
    end(&operator, &mount, held).await
}

/// Revokes one of an app's.
#[utoipa::path(
    delete,
    path = "/apps/{app}/turn/credentials/{id}",
    tag = "turn",
    params(("app" = String, Path), ("id" = String, Path)),
    responses((status = 204), (status = 404))
)]
async fn revoke_of_app(
    operator: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let app = there(&mount, &path.0).await?;
    let held = found(&mount, &path.1, Some(&app)).await?;
    end(&operator, &mount, held).await
}
