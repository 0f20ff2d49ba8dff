//! The API key that a new cluster begins with, where `chappe token` and the app's developer find it.

use anyhow::Result;
use chappe_cluster::start::Running;
use chappe_proto::id::AppId;

use crate::files::{self, Dir};
use crate::token::ApiKey;

/// Leaves an app's API key in `api-key.json`, where the app has one.
pub(crate) fn keep(dir: &Dir, node: &Running, app: &AppId) -> Result<()> {
    let state = node.node.registry.state();
    let Some((key, api_key)) = state.keys_of(app).find(|(_, key)| !key.disabled) else { return Ok(()) };
    let secret = String::from_utf8_lossy(&api_key.secret.0).into_owned();
    let text = serde_json::to_string_pretty(&ApiKey { key: key.to_string(), secret, app: app.to_string() })?;
    files::write_private(&dir.join("api-key.json"), &text)
}
