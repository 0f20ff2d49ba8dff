//! What this node has sampled of itself.

use chappe_admin::Answer;
use chappe_admin::history::Point;
use chappe_admin::past::Figures;
use chappe_proto::time::Unix;

use super::Admin;
use crate::clock;

impl Figures for Admin {
    fn figures(&self) -> Answer<'_, Vec<String>> {
        let names = self.node.history.with(|history| history.names().map(str::to_owned).collect());
        Box::pin(async { names })
    }

    fn points(&self, name: String, since: Unix, step: u64) -> Answer<'_, Option<Vec<Point>>> {
        let points = self.node.history.with(|history| history.points(&name, since, step));
        Box::pin(async { points })
    }

    fn clock(&self) -> Unix {
        clock::unix()
    }
}
