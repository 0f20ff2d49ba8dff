//! Server-sent events (WHATWG HTML, section 9.2): everything that is shown live comes by [`stream()`].
//!
//! What a stream tells is found by a future of its own, which writes into a [`Feed`] and lives no longer than the
//! answer's body: nothing runs for a client that is gone, and one that does not read is not asked for. A stream ends
//! by itself after [`EVENT_STREAM_FOR`]; the browser comes back by itself, with the id of the last event that it has
//! ([`LastId`]), and is let in anew: so whoever may look no more sees nothing more.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use chappe_proto::id::AppId;
use chappe_proto::limits::{
    EVENT_ID_MAX, EVENT_QUEUE, EVENT_RETRY, EVENT_STREAM_FOR, EVENT_STREAMS_MAX, EVENT_STREAMS_OF_APPS,
    EVENT_STREAMS_PER_OPERATOR, EVENT_TOLD_EVERY,
};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::Mount;
use crate::access::Principal;
use crate::api::problem::Problem;
use crate::pool::{self, Pool};

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    name: &'static str,
    id: Option<String>,
    data: String,
}

impl Event {
    /// Of a name by which a page listens to it, and any text: a fragment of a page, for instance.
    pub(crate) fn text(name: &'static str, data: impl Into<String>) -> Self {
        Self { name, id: None, data: data.into() }
    }

    /// Of something that is told as JSON.
    pub(crate) fn json(name: &'static str, data: &impl Serialize) -> Self {
        Self::text(name, serde_json::to_string(data).unwrap_or_default())
    }

    /// With the id that a browser names when it comes back: a cursor. One that is no line, or longer than
    /// [`EVENT_ID_MAX`], is left out.
    pub(crate) fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into()).filter(|id| is_id(id));
        self
    }

    /// As it goes over the wire: each line of the data in a field of its own.
    fn bytes(&self) -> Bytes {
        let mut text = String::with_capacity(self.data.len() + 64);
        if let Some(id) = &self.id {
            let _ = writeln!(text, "id: {id}");
        }
        let _ = writeln!(text, "event: {}", self.name);
        for line in self.data.replace("\r\n", "\n").split(['\n', '\r']) {
            let _ = writeln!(text, "data: {line}");
        }
        text.push('\n');
        text.into()
    }
}

fn is_id(id: &str) -> bool {
    id.len() <= EVENT_ID_MAX && !id.contains(['\n', '\r', '\0'])
}

/// The id of the last event that a browser has, where it comes back: `Last-Event-ID`. One that is longer than any
/// that it was given counts as none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastId(pub(crate) Option<String>);

impl LastId {
    /// As a number.
    pub(crate) fn number(&self) -> Option<u64> {
        self.0.as_ref()?.parse().ok()
    }
}

impl FromRequest for LastId {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let said = request.headers().get("last-event-id").and_then(|id| id.to_str().ok());
        ready(Ok(Self(said.filter(|id| is_id(id)).map(str::to_owned))))
    }
}

/// Where a stream's events are put.
#[derive(Debug)]
pub(crate) struct Feed(mpsc::Sender<Event>);

impl Feed {
    /// Waits until there is room: a client that reads slowly is told later. What is put after the client has gone
    /// goes nowhere; the future that puts it is dropped with the stream.
    pub(crate) async fn put(&self, event: Event) {
        let _ = self.0.send(event).await; // the client has gone
    }
}

/// The streams that are open on this node, by whom.
#[derive(Debug)]
pub(crate) struct Streams {
    pool: Pool,
    by: Mutex<BTreeMap<String, usize>>,
}

impl Default for Streams {
    fn default() -> Self {
        Self { pool: Pool::new(EVENT_STREAMS_MAX, EVENT_STREAMS_OF_APPS), by: Mutex::default() }
    }
}

impl Streams {
    /// A place for one more, of an app where its key asks.
    fn open(self: &Arc<Self>, who: &str, app: Option<&AppId>) -> Result<Place, Problem> {
        let mut open = self.by.lock().unwrap_or_else(PoisonError::into_inner);
        let place = self.pool.take(app).ok_or_else(|| {
            let whose = if app.is_some() { "of apps " } else { "" };
            Problem::NotNow(format!(
                "this node has as many streams of events {whose}open as it may: try again, or ask another node"
            ))
        })?;
        let mine = open.entry(who.to_owned()).or_default();
        if *mine >= EVENT_STREAMS_PER_OPERATOR {
            return Err(Problem::NotNow(format!(
                "{who} has {EVENT_STREAMS_PER_OPERATOR} streams of events open on this node: close one"
            )));
        }
        *mine += 1;
        Ok(Place { streams: Arc::clone(self), who: who.to_owned(), _place: place })
    }

    /// How many are open.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.pool.taken()
    }
}

/// A stream's place, given back however it ends.
#[derive(Debug)]
struct Place {
    streams: Arc<Streams>,
    who: String,
    _place: pool::Place,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.by.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mine) = open.get_mut(&self.who) {
            *mine -= 1;
            if *mine == 0 {
                open.remove(&self.who);
            }
        }
    }
}

struct Open {
    events: mpsc::Receiver<Event>,
    told: Option<Pin<Box<dyn Future<Output = ()>>>>,
    until: Instant,
    quiet_for: Duration,
    first: bool,
    /// Whether whoever listens still may.
    still: Box<dyn Fn() -> bool>,
    _place: Place,
}

impl Open {
    /// What is written next; none at the end, and to nobody who may no more.
    async fn next(&mut self) -> Option<Bytes> {
        let bytes = self.told().await?;
        (self.still)().then_some(bytes)
    }

    async fn told(&mut self) -> Option<Bytes> {
        if std::mem::take(&mut self.first) {
            return Some(format!("retry: {}\n\n", EVENT_RETRY.as_millis()).into());
        }
        let quiet = sleep(self.quiet_for);
        tokio::pin!(quiet);
        loop {
            let told = async {
                match &mut self.told {
                    Some(told) => told.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = sleep_until(self.until) => return None,
                event = self.events.recv() => return event.map(|event| event.bytes()),
                () = told => self.told = None, // what it has put is still written
                () = &mut quiet => return Some(Bytes::from_static(b": still here\n\n")),
            }
        }
    }
}

/// Answers with a stream of events for `who`. `tell` is given the feed, and what it returns is run for as long as the
/// client listens; where it comes to its end, so does the stream. It ends as soon as `who` may less than when it began, or
/// is known no more: before the event that they would be told next.
///
/// ```ignore
/// events::stream(&mount, viewer.0, async move |feed| {
///     loop {
///         feed.put(Event::json("overview", &cluster.overview().await)).await;
///         sleep(EVERY).await;
///     }
/// })
/// ```
///
/// # Errors
/// [`Problem::NotNow`] where this node, or whoever asks, has as many streams open as there may be.
pub(crate) fn stream<F>(
    mount: &Mount,
    who: Principal,
    tell: impl FnOnce(Feed) -> F,
) -> Result<HttpResponse, Problem>
where
    F: Future<Output = ()> + 'static,
{
    let place = mount.streams.open(&who.who, who.app.as_ref())?;
    let mounted = mount.clone();
    let still = move || who.still(&mounted);
    Ok(stream_for(EVENT_STREAM_FOR, EVENT_TOLD_EVERY, place, still, tell))
}

fn stream_for<F>(
    life: Duration,
    quiet_for: Duration,
    place: Place,
    still: impl Fn() -> bool + 'static,
    tell: impl FnOnce(Feed) -> F,
) -> HttpResponse
where
    F: Future<Output = ()> + 'static,
{
    let (feed, events) = mpsc::channel(EVENT_QUEUE);
    let told: Pin<Box<dyn Future<Output = ()>>> = Box::pin(tell(Feed(feed)));
    let until = Instant::now() + life;
    let open = Open {
        events,
        told: Some(told),
        until,
        quiet_for,
        first: true,
        still: Box::new(still),
        _place: place,
    };
    let body = stream::unfold(open, |mut open| async move {
        let bytes = open.next().await?;
        Some((Ok::<_, Infallible>(bytes), open))
    });
    HttpResponse::Ok()
        .content_type("text/event-stream; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no")) // nginx would hold events back
        .streaming(body)
}

#[cfg(test)]
#[path = "events/tests.rs"]
mod tests;
