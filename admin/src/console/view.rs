//! A page, and its stream: the same address answers a reader with the whole page, and the page itself, by
//! `Accept: text/event-stream`, with its live part whenever that changes.

use std::any::type_name;
use std::future::Future;
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use chappe_proto::limits::RENDER_EVERY;
use serde::de::DeserializeOwned;
use tokio::time::interval;

use super::shared::Turn;
use super::visitor::Visitor;
use super::words;
use crate::Mount;
use crate::access::asker::asks_for_events;
use crate::api::events::{self, Event};
use crate::api::problem::Problem;
use crate::control::Fault;
use crate::headers;

/// A page of the console.
pub(crate) trait View: Template + Sized {
    /// What its path names.
    type Place: DeserializeOwned + Clone + 'static;
    /// What follows the `?`.
    type Ask: DeserializeOwned + Clone + 'static;

    /// Asks the cluster for what it shows.
    fn load(
        mount: &Mount,
        visitor: &Visitor,
        place: Self::Place,
        ask: Self::Ask,
    ) -> impl Future<Output = Result<Self, Fault>>;

    /// Its live part is rendered again this often.
    const EVERY: Duration = RENDER_EVERY;

    /// Its live part alone.
    fn live(&self) -> askama::Result<String>;

    /// Where its live part is the same for all readers who ask the same: what they ask. It is rendered once for all of them.
    fn shared(_ask: &Self::Ask) -> Option<String> {
        None
    }

    /// What it connects to beside this node: sources of a Content Security Policy.
    fn connects(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Nothing follows the `?` that matters.
#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct Nothing {}

/// Why a page is not shown.
#[derive(Template)]
#[template(path = "fault.html")]
struct Missing<'a> {
    status: u16,
    title: &'a str,
    words: String,
}

pub(super) fn missing(fault: &Fault) -> HttpResponse {
    let (mut response, status, title) = match fault {
        Fault::NotThere(_) => (HttpResponse::NotFound(), 404, "Not here"),
        Fault::Conflict(_) | Fault::Refused(_) => (HttpResponse::Conflict(), 409, "Not as things are"),
        Fault::Unavailable(_) => (HttpResponse::ServiceUnavailable(), 503, "Not now"),
    };
    let page = Missing { status, title, words: fault.to_string() };
    page_of(&mut response, page.render())
}

pub(super) fn page_of(
    response: &mut actix_web::HttpResponseBuilder,
    page: askama::Result<String>,
) -> HttpResponse {
    match page {
        Ok(page) => response.content_type("text/html; charset=utf-8").body(page),
        Err(error) => {
            tracing::error!(%error, "a page cannot be rendered");
            HttpResponse::InternalServerError().finish()
        }
    }
}

/// Shows a page, or streams its live part.
pub(crate) async fn show<V: View + 'static>(
    visitor: Visitor,
    mount: Data<Mount>,
    place: Path<V::Place>,
    ask: Query<V::Ask>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (place, ask) = (place.into_inner(), ask.into_inner());
    if asks_for_events(&request) {
        return stream_of::<V>(visitor, mount, place, ask);
    }
    Ok(match V::load(&mount, &visitor, place, ask).await {
        Ok(view) => {
            let (mut response, connects) = (HttpResponse::Ok(), view.connects());
            if !connects.is_empty() {
                response.insert_header((header::CONTENT_SECURITY_POLICY, headers::policy(&connects)));
            }
            page_of(&mut response, view.render())
        }
        Err(fault) => missing(&fault),
    })
}

fn stream_of<V: View + 'static>(
    visitor: Visitor,
    mount: Data<Mount>,
    place: V::Place,
    ask: V::Ask,
) -> Result<HttpResponse, Problem> {
    let opened = mount.clone();
    events::stream(&opened, visitor.who.clone(), async move |feed| {
        if let Some(asked) = V::shared(&ask) {
            let render = |turn| for_all::<V>(turn, mount.clone(), visitor, place, ask);
            let mut rendered = mount.shared.join(format!("{} {asked}", type_name::<V>()), render);
            loop {
                let text = rendered.borrow_and_update().clone();
                if let Some(text) = text {
                    feed.put(Event::text("live", &*text)).await;
                }
                if rendered.changed().await.is_err() {
                    return; // whoever rendered is gone: the browser comes back
                }
            }
        }
        let (mut shown, mut ticks) = (None, interval(V::EVERY));
        loop {
            ticks.tick().await;
            let live = V::load(&mount, &visitor, place.clone(), ask.clone()).await;
            let text = match live.map(|view| view.live()) {
                Ok(Ok(text)) => text,
                Ok(Err(_)) => return,
                Err(Fault::NotThere(_)) => return feed.put(Event::text("gone", "")).await,
                Err(_) => continue, // asked again
            };
            let mark = Some(words::fingerprint(text.as_bytes()));
            if mark != shown {
                shown = mark;
                feed.put(Event::text("live", text)).await;
            }
        }
    })
}

/// Renders a live part for all who look at it, until nobody does.
async fn for_all<V: View>(turn: Turn, mount: Data<Mount>, visitor: Visitor, place: V::Place, ask: V::Ask) {
    let mut ticks = interval(V::EVERY);
    while turn.next(&mut ticks).await {
        match V::load(&mount, &visitor, place.clone(), ask.clone()).await.map(|view| view.live()) {
            Ok(Ok(text)) => turn.tell(text),
            Ok(Err(_)) => return,
            Err(_) => {} // asked again
        }
    }
}
