//! What nodes ask for operators. About allocations the loop is asked piece by piece, and relays in between; about the
//! process around the edge, the process.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use chappe_proto::limits::{ALLOCATIONS_PAGE, EDGE_ASKS};
use chappe_proto::logs::{Level, LogPage, Wanted};
use chappe_proto::mesh::allocations::{EdgeAnswer, EdgeAsk};
use chappe_proto::mesh::uplink::Up;
use chappe_proto::settings::Setting;
use tokio::sync::{Semaphore, mpsc};

use crate::command::{Command, Handle, Unanswered};

/// The process around an edge, as operators look at it. None of this may wait.
pub trait Process: Debug + Send + Sync {
    /// Its options as they are in force, in the order of its command line; no secrets.
    fn settings(&self) -> Vec<Setting>;

    /// Lines of its log.
    fn logs(&self, wanted: &Wanted) -> LogPage;

    /// Says more or less for so long; without a level what it was told at its start. Called within a tokio runtime.
    fn log_level(&self, level: Option<Level>, within: Duration);
}

/// What questions are answered by.
#[derive(Debug, Clone)]
pub(super) struct Asks {
    /// Places for those that are worked at, over all uplinks.
    places: Arc<Semaphore>,
    process: Option<Arc<dyn Process>>,
}

impl Asks {
    pub(super) fn new(process: Option<Arc<dyn Process>>) -> Self {
        Self { places: Arc::new(Semaphore::new(EDGE_ASKS)), process }
    }

    /// Answers one, where the uplink still stands then.
    pub(super) async fn answer(self, driver: Handle, says: mpsc::Sender<Up>, number: u64, ask: EdgeAsk) {
        let body = match self.places.try_acquire() {
            Ok(_place) => answered(&driver, self.process.as_deref(), ask).await,
            Err(_) => Ok(EdgeAnswer::Busy),
        };
        // Else the edge ends.
        if let Ok(body) = body
            && says.send(Up::Answer { number, body }).await.is_err()
        {
            tracing::debug!("a node that asked has gone");
        }
    }
}

async fn answered(
    driver: &Handle,
    process: Option<&dyn Process>,
    ask: EdgeAsk,
) -> Result<EdgeAnswer, Unanswered> {
    match ask {
        EdgeAsk::Allocations { filter, from, limit } => {
            let (filter, limit) = (Arc::new(filter), usize::from(limit).clamp(1, ALLOCATIONS_PAGE));
            let (mut page, mut next) = (Vec::new(), Some(from));
            while let Some(from) = next
                && page.len() < limit
            {
                let (filter, left) = (Arc::clone(&filter), limit - page.len());
                let ask = |reply| Command::Allocations { filter, from, limit: left, reply };
                let (more, then) = driver.ask(ask).await?;
                page.extend(more);
                next = then;
            }
            Ok(EdgeAnswer::Allocations { page, next })
        }
        EdgeAsk::Close { allocation } => {
            let closed = driver.ask(|reply| Command::Close(allocation, reply)).await?;
            Ok(EdgeAnswer::Closed { closed: closed.into() })
        }
        EdgeAsk::CloseAll { filter } => {
            let (filter, mut closed, mut next) = (Arc::new(filter), 0_u32, Some(0));
            while let Some(from) = next {
                let filter = Arc::clone(&filter);
                let (more, then) = driver.ask(|reply| Command::CloseSome { filter, from, reply }).await?;
                closed = closed.saturating_add(more);
                next = then;
            }
            Ok(EdgeAnswer::Closed { closed })
        }
        ask => Ok(process.map_or(EdgeAnswer::Unknown, |process| told(process, ask))),
    }
}

/// What the process around the edge tells.
fn told(process: &dyn Process, ask: EdgeAsk) -> EdgeAnswer {
    match ask {
        EdgeAsk::Settings => EdgeAnswer::Settings { settings: process.settings() },
        EdgeAsk::Logs(wanted) => EdgeAnswer::Logs(process.logs(&wanted)),
        EdgeAsk::LogLevel { level, secs } => {
            process.log_level(level, Duration::from_secs(secs.into()));
            EdgeAnswer::Done
        }
        _ => EdgeAnswer::Unknown,
    }
}
