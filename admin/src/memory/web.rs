//! The web as a cluster in memory knows it: what a test says.

use std::sync::{Mutex, PoisonError};

use super::Memory;
use crate::Answer;
use crate::cluster::elsewhere::{Web, WebAnswer, WebRequest};

type Server = Box<dyn Fn(&WebRequest) -> Result<WebAnswer, String> + Send>;

/// A server, and what it was asked.
#[derive(Default)]
pub(crate) struct Elsewhere {
    server: Mutex<Option<Server>>,
    asked: Mutex<Vec<WebRequest>>,
}

impl Memory {
    /// All requests go there from now on.
    pub(crate) fn serves(&self, server: impl Fn(&WebRequest) -> Result<WebAnswer, String> + Send + 'static) {
        *self.elsewhere.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(server));
    }

    /// What was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<WebRequest> {
        std::mem::take(&mut self.elsewhere.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Web for Memory {
    fn web(&self, request: WebRequest) -> Answer<'_, Result<WebAnswer, String>> {
        let server = self.elsewhere.server.lock().unwrap_or_else(PoisonError::into_inner);
        let nobody = || Err("there is no network here".to_owned());
        let answer = server.as_ref().map_or_else(nobody, |server| server(&request));
        self.elsewhere.asked.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        Box::pin(async { answer })
    }
}
