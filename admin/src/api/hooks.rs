//! `/admin/api/v1/apps/{app}/webhooks` and below: where an app is told of its rooms, and what came of it.

use std::collections::BTreeSet;

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use actix_web::web::{self, Bytes, Data, Json, Path, Query, ServiceConfig};
use chappe_proto::hooks::event::EventKind;
use chappe_proto::hooks::record::{DeliveryState, Wanted};
use chappe_proto::hooks::url::Target;
use chappe_proto::id::{AppId, EventId, HookId, RoomName};
use chappe_proto::limits::{HOOK_LABEL_MAX, HOOK_PAGE};
use chappe_proto::registry::HookPlan;
use chappe_proto::registry::access::Role;
use chappe_proto::time::Unix;
use serde::Deserialize;
use utoipa::{OpenApi, ToSchema};

use crate::Mount;
use crate::access::{OfApp, Principal};
use crate::api::problem::Problem;
use crate::api::rooms::app_id;
use crate::api::turn::read;
use crate::api::unchanged::{IfMatch, etag, merged};
use crate::cluster::hooks::{Attempt, Counts, Deliveries, Delivery, NewSecret, NewWebhook, Tested, Webhook};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/apps/{app}/webhooks").route(web::get().to(list)).route(web::post().to(create)),
        )
        .service(
            web::resource("/apps/{app}/webhooks/{webhook}")
                .route(web::get().to(show))
                .route(web::patch().to(change))
                .route(web::delete().to(remove)),
        )
        .service(
            web::resource("/apps/{app}/webhooks/{webhook}/secret")
                .route(web::post().to(rotate))
                .route(web::delete().to(settle)),
        )
        .route("/apps/{app}/webhooks/{webhook}/test", web::post().to(test))
        .route("/apps/{app}/webhooks/{webhook}/deliveries", web::get().to(deliveries))
        .route("/apps/{app}/webhooks/{webhook}/deliveries/{event}/resend", web::post().to(resend));
}

/// What the API's description says of webhooks.
#[derive(OpenApi)]
#[openapi(
    paths(list, create, show, change, remove, rotate, settle, test, deliveries, resend),
    components(schemas(
        Webhook, NewWebhook, NewSecret, Wish, Change, Tested, Deliveries, Delivery, Attempt, Counts
    )),
    tags((name = "webhooks", description = "Where an app's server is told of its rooms"))
)]
pub(crate) struct Part;

fn field(field: &'static str, fix: impl Into<String>) -> Problem {
    Problem::Field { field, fix: fix.into() }
}

fn url(text: String) -> Result<String, Problem> {
    Target::of(&text).map_err(|bad| field("url", bad.to_string()))?;
    Ok(text)
}

fn label(text: String) -> Result<String, Problem> {
    if text.len() > HOOK_LABEL_MAX || text.chars().any(char::is_control) {
        return Err(field("label", format!("at most {HOOK_LABEL_MAX} bytes without control characters")));
    }
    Ok(text)
}

fn kind(name: &str) -> Option<EventKind> {
    name.parse().ok()
}

fn events(names: &[String]) -> Result<BTreeSet<EventKind>, Problem> {
    let all = || EventKind::CHOICE.map(EventKind::name).join(", ");
    let one = |name: &String| {
        kind(name).ok_or_else(|| field("events", format!("no `{name}`: there are {}", all())))
    };
    names.iter().map(one).collect()
}

/// The app and the webhook of a path.
fn of(app: &str, hook: &str) -> Result<(AppId, HookId), Problem> {
    let hook = hook.parse().map_err(|_| Problem::BadName("webhook: w_ and 24 characters"))?;
    Ok((app_id(app)?, hook))
}

/// A webhook to be made.
#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookWish)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// `https://…`; `http://` to this machine alone.
    url: String,
    /// What it is told of: `room_started`, `room_ended`, `room_resumed`, `peer_joined`, `peer_left`, `peer_waiting`,
    /// `peer_away`, `peer_back`. All but the last two where it is left out.
    #[serde(default)]
    events: Vec<String>,
    /// What operators call it.
    #[serde(default)]
    label: String,
    /// Whether nothing is sent yet.
    #[serde(default)]
    disabled: bool,
}

/// What is to change of a webhook; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookChange)]
#[serde(deny_unknown_fields)]
struct Change {
    /// As with a new one.
    url: Option<String>,
    /// All that it is told of.
    events: Option<Vec<String>>,
    /// What operators call it.
    label: Option<String>,
    /// Whether nothing is sent.
    disabled: Option<bool>,
}

/// The webhooks of an app. Viewers see their URLs without the path.
#[utoipa::path(get, path = "/apps/{app}/webhooks", tag = "webhooks", params(("app" = String, Path)),
    responses((status = 200, body = [Webhook]), (status = 404, description = "No such app")))]
async fn list(who: OfApp, mount: Data<Mount>, app: Path<String>) -> Result<Json<Vec<Webhook>>, Problem> {
    let all = mount.cluster.hooks(app_id(&app)?).await?;
    Ok(Json(all.into_iter().map(|hook| seen_by(&who, hook)).collect()))
}

/// A webhook as somebody may see it: viewers of a cluster see where it goes, without the key that may be in its path.
pub(crate) fn seen_by(who: &Principal, mut hook: Webhook) -> Webhook {
    if who.app.is_none() && who.role < Role::Operator {
        let scheme = if hook.url.starts_with("https:") { "https" } else { "http" };
        hook.url = format!("{scheme}://{}", host(&hook.url));
    }
    hook
}

/// A new webhook. Its secret is told with this answer and never again.
#[utoipa::path(post, path = "/apps/{app}/webhooks", tag = "webhooks", params(("app" = String, Path)),
    request_body = Wish,
    responses((status = 201, body = NewWebhook), (status = 400, description = "Which field, and its fix"),
        (status = 404, description = "No such app"), (status = 409, description = "There are too many")))]
async fn create(
    operator: OfApp,
    mount: Data<Mount>,
    app: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let app = app_id(&app)?;
    let wish: Wish = read(&body)?;
    let plan = HookPlan {
        url: url(wish.url)?,
        events: events(&wish.events)?,
        label: label(wish.label)?,
        disabled: wish.disabled,
    };
    let note = operator.note(&format!("added a webhook of {app} to {}", host(&plan.url)));
    let made = mount.cluster.hook_add(app, plan, note).await?;
    Ok(HttpResponse::Created().insert_header((header::CACHE_CONTROL, "no-store")).json(made))
}

/// What the audit log says of a URL: some have a key in their path.
fn host(url: &str) -> &str {
    Target::of(url).map_or("", |target| target.authority)
}

/// One webhook. Viewers see its URL without the path.
#[utoipa::path(get, path = "/apps/{app}/webhooks/{webhook}", tag = "webhooks",
    params(("app" = String, Path), ("webhook" = String, Path)),
    responses(
        (status = 200, body = Webhook, headers(("ETag" = String, description = "For `If-Match` of a change"))),
        (status = 404, description = "No such webhook")))]
async fn show(who: OfApp, mount: Data<Mount>, path: Path<(String, String)>) -> Result<HttpResponse, Problem> {
    let (app, hook) = of(&path.0, &path.1)?;
    let held = held(&mount, app, hook).await?;
    Ok(HttpResponse::Ok().insert_header(etag(held.revision)).json(seen_by(&who, held)))
}

async fn held(mount: &Mount, app: AppId, hook: HookId) -> Result<Webhook, Problem> {
    let all = mount.cluster.hooks(app).await?;
    all.into_iter().find(|held| held.id == hook).ok_or(Problem::NotFound("webhook"))
}

/// Changes a webhook. One whose endpoint was gone is tried again.
#[utoipa::path(patch, path = "/apps/{app}/webhooks/{webhook}", tag = "webhooks",
    params(("app" = String, Path), ("webhook" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that it was read with")),
    request_body = Change,
    responses((status = 204), (status = 400, description = "Which field, and its fix"),
        (status = 404, description = "No such webhook"),
        (status = 412, description = "It is not as `If-Match` says any more")))]
async fn change(
    operator: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String)>,
    seen: IfMatch,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let (app, hook) = of(&path.0, &path.1)?;
    let wish: Change = read(&body)?;
    let url = wish.url.map(url).transpose()?;
    let events = wish.events.as_deref().map(events).transpose()?;
    let label = wish.label.map(label).transpose()?;
    let to = url.as_deref().map_or_else(String::new, |url| format!(", to {}", host(url)));
    let how = match wish.disabled {
        Some(true) => "disabled",
        Some(false) => "enabled",
        None => "changed",
    };
    let what = format!("{how} the webhook {hook} of {app}{to}");
    merged(async || {
        let held = held(&mount, app.clone(), hook).await?;
        seen.holds(held.revision)?;
        let plan = HookPlan {
            url: url.clone().unwrap_or(held.url),
            events: events.clone().unwrap_or(held.events),
            label: label.clone().unwrap_or(held.label),
            disabled: wish.disabled.unwrap_or(held.disabled),
        };
        Ok(mount.cluster.hook_set(app.clone(), hook, plan, held.revision, operator.note(&what)).await?)
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Ends a webhook, and what waits for it.
#[utoipa::path(delete, path = "/apps/{app}/webhooks/{webhook}", tag = "webhooks",
    params(("app" = String, Path), ("webhook" = String, Path)),
    responses((status = 204), (status = 404, description = "No such webhook")))]
async fn remove(
    operator: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (app, hook) = of(&path.0, &path.1)?;
    let note = operator.note(&format!("removed the webhook {hook} of {app}"));
    mount.cluster.hook_remove(app, hook, note).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A new secret, told with this answer and never again. The one before signs too, until the next rotation or until
/// it is ended.
#[utoipa::path(post, path = "/apps/{app}/webhooks/{webhook}/secret", tag = "webhooks",
    params(("app" = String, Path), ("webhook" = String, Path)),
    responses((status = 200, body = NewSecret), (status = 404, description = "No such webhook")))]
async fn rotate(
    operator: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (app, hook) = of(&path.0, &path.1)?;
    let note = operator.note(&format!("gave the webhook {hook} of {app} a new secret"));
    let made = mount.cluster.hook_rotate(app, hook, note).await?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(made))
}

/// Ends the secret before the newest.
#[utoipa::path(delete, path = "/apps/{app}/webhooks/{webhook}/secret", tag = "webhooks",
    params(("app" = String, Path), ("webhook" = String, Path)),
    responses((status = 204), (status = 404, description = "No such webhook")))]
async fn settle(
    operator: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (app, hook) = of(&path.0, &path.1)?;
    let note = operator.note(&format!("ended the former secret of the webhook {hook} of {app}"));
    mount.cluster.hook_settle(app, hook, note).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Sends a `ping` now, once, disabled or not, and waits for what comes of it.
#[utoipa::path(post, path = "/apps/{app}/webhooks/{webhook}/test", tag = "webhooks",
    params(("app" = String, Path), ("webhook" = String, Path)),
    responses((status = 200, body = Tested), (status = 404, description = "No such webhook"),
        (status = 409, description = "Too many tests are under way")))]
async fn test(
    operator: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String)>,
) -> Result<Json<Tested>, Problem> {
    let (app, hook) = of(&path.0, &path.1)?;
    let note = operator.note(&format!("tested the webhook {hook} of {app}"));
    Ok(Json(mount.cluster.hook_test(app, hook, operator.app.is_some(), note).await?))
}

/// Which deliveries.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    /// `waiting`, `sending`, `delivered`, `expired`, `gone` or `cancelled`.
    pub(crate) state: Option<String>,
    /// As `peer_joined`.
    pub(crate) r#type: Option<String>,
    /// Of this room.
    pub(crate) room: Option<String>,
    /// `next` of the page before.
    pub(crate) cursor: Option<String>,
    /// How many at most: 1 to 100.
    pub(crate) limit: Option<usize>,
}

impl Filter {
    fn wanted(&self) -> Result<Wanted, Problem> {
        let state = |text: &String| {
            let value = serde_json::Value::from(text.as_str());
            let fix = "waiting, sending, delivered, expired, gone or cancelled";
            serde_json::from_value::<DeliveryState>(value).map_err(|_| field("state", fix))
        };
        let of_kind = |text: &String| kind(text).ok_or_else(|| field("type", "one of a webhook's events"));
        let room =
            |text: &String| RoomName::new(text).map_err(|_| field("room", "1 to 128 of A-Z a-z 0-9 -_.~:@"));
        Ok(Wanted {
            state: self.state.as_ref().map(state).transpose()?,
            kind: self.r#type.as_ref().map(of_kind).transpose()?,
            room: self.room.as_ref().map(room).transpose()?,
            before: self.cursor.as_deref().map(position).transpose()?,
        })
    }

    fn limit(&self) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(HOOK_PAGE);
        Some(limit)
            .filter(|limit| (1..=HOOK_PAGE).contains(limit))
            .ok_or_else(|| field("limit", format!("1 to {HOOK_PAGE}")))
    }
}

fn position(cursor: &str) -> Result<(Unix, EventId), Problem> {
    let read = || {
        let (at, event) = cursor.split_once('.')?;
        Some((Unix::from(at.parse::<u64>().ok()?), event.parse().ok()?))
    };
    read().ok_or_else(|| field("cursor", "`next` of the page before"))
}

fn cursor(last: &Delivery) -> String {
    format!("{}.{}", last.at.millis(), last.id)
}

/// What was sent and is to be sent to a webhook, the newest first, of all nodes that answer: each remembers the last
/// hundred that are over.
#[utoipa::path(get, path = "/apps/{app}/webhooks/{webhook}/deliveries", tag = "webhooks",
    params(("app" = String, Path), ("webhook" = String, Path),
        ("state" = Option<String>, Query, description = "`waiting`, `sending`, `delivered`, `expired`, `gone` or `cancelled`"),
        ("type" = Option<String>, Query, description = "As `peer_joined`"),
        ("room" = Option<String>, Query, description = "Of this room"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<usize>, Query, description = "How many at most: 1 to 100")),
    responses((status = 200, body = Deliveries), (status = 400, description = "Which field, and its fix"),
        (status = 404, description = "No such webhook")))]
async fn deliveries(
    _: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String)>,
    filter: Query<Filter>,
) -> Result<Json<Deliveries>, Problem> {
    let (app, hook) = of(&path.0, &path.1)?;
    page_of(&mount, app, hook, &filter).await.map(Json)
}

/// Those that are asked for.
pub(crate) async fn page_of(
    mount: &Mount,
    app: AppId,
    hook: HookId,
    filter: &Filter,
) -> Result<Deliveries, Problem> {
    let limit = filter.limit()?;
    let mut page = mount.cluster.hook_deliveries(app, hook, filter.wanted()?).await?;
    let more = page.deliveries.len() > limit || page.deliveries.len() >= HOOK_PAGE;
    page.deliveries.truncate(limit);
    page.next = page.deliveries.last().filter(|_| more).map(cursor);
    Ok(page)
}

/// Sends an event again, after those of its room that wait; one that waits is tried at once.
#[utoipa::path(post, path = "/apps/{app}/webhooks/{webhook}/deliveries/{event}/resend", tag = "webhooks",
    params(("app" = String, Path), ("webhook" = String, Path), ("event" = String, Path)),
    responses((status = 202), (status = 404, description = "No such webhook, or no such delivery is remembered"),
        (status = 409, description = "Too many wait")))]
async fn resend(
    operator: OfApp,
    mount: Data<Mount>,
    path: Path<(String, String, String)>,
) -> Result<HttpResponse, Problem> {
    let (app, hook) = of(&path.0, &path.1)?;
    let event: EventId = path.2.parse().map_err(|_| Problem::BadName("delivery: e_ and 24 characters"))?;
    let note = operator.note(&format!("sent {event} again to the webhook {hook} of {app}"));
    mount.cluster.hook_resend(app, hook, event, note).await?;
    Ok(HttpResponse::build(StatusCode::ACCEPTED).finish())
}

#[cfg(test)]
#[path = "hooks/tests.rs"]
mod tests;
