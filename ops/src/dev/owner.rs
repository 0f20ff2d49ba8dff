//! The first owner of a development cluster's console.

use chappe_admin::NewLink;
use serde_json::{Value, json};

use super::banner::Shown;
use super::https::Https;
use crate::api::Api;
use crate::files::Dir;

/// A one-time link for an owner, until somebody has used one. Without it everything works but the console.
pub(super) async fn link(dir: &Dir, shown: &Shown, https: Option<&Https>) -> Option<String> {
    let address = *shown.nodes.first()?.http.last()?;
    let token = dir.secret("admin-token").ok()?;
    // Passwords are taken on this machine, or over HTTPS.
    let page = match https {
        Some(https) if !address.ip().is_loopback() => https.url(),
        _ => format!("http://{address}/"),
    };
    let made = tokio::task::spawn_blocking(move || -> anyhow::Result<Option<NewLink>> {
        let mut api = Api::new(&format!("http://{address}"), &token, std::path::Path::new(""))?;
        if api.call("GET", "/operators", &Value::Null)?.as_array().is_some_and(|all| !all.is_empty()) {
            return Ok(None);
        }
        Ok(serde_json::from_value(api.call("POST", "/operators/links", &json!({ "role": "owner" }))?)?)
    });
    match made.await {
        Ok(Ok(made)) => made.map(|made| format!("{}{}", page.trim_end_matches('/'), made.path)),
        failed => {
            tracing::warn!(?failed, "no link for the console's first owner");
            None
        }
    }
}
