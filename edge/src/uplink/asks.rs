//! What nodes ask for operators: the loop is asked piece by piece, and relays in between.

use std::sync::Arc;

use chappe_proto::limits::{ALLOCATIONS_PAGE, EDGE_ASKS};
use chappe_proto::mesh::allocations::{EdgeAnswer, EdgeAsk};
use chappe_proto::mesh::uplink::Up;
use tokio::sync::{Semaphore, mpsc};

use crate::command::{Command, Handle, Unanswered};

/// Places for questions that are worked at, over all uplinks.
#[derive(Debug, Clone)]
pub(super) struct Asks(Arc<Semaphore>);

impl Default for Asks {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(EDGE_ASKS)))
    }
}

impl Asks {
    /// Answers one, where the uplink still stands then.
    pub(super) async fn answer(self, driver: Handle, says: mpsc::Sender<Up>, number: u64, ask: EdgeAsk) {
        let body = match self.0.try_acquire() {
            Ok(_place) => answered(&driver, ask).await,
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

async fn answered(driver: &Handle, ask: EdgeAsk) -> Result<EdgeAnswer, Unanswered> {
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
        EdgeAsk::Unknown => Ok(EdgeAnswer::Unknown),
    }
}
