//! `chappe cluster apps`, and what operators set of an app.

use anyhow::Result;
use chappe_admin::ShownApp;
use chappe_admin::health::span;
use chappe_proto::id::AppId;
use serde_json::{Value, json};

use crate::api::{Api, segment};
use crate::table::Table;

/// All apps in a line each.
pub(super) fn list(api: &mut Api, json: bool) -> Result<()> {
    let answer = api.call("GET", "/apps", &Value::Null)?;
    if json {
        println!("{answer}");
        return Ok(());
    }
    let apps: Vec<ShownApp> = serde_json::from_value(answer)?;
    let mut table = Table::new(&["app", "name", "joins", "capacity", "grace", "credentials"]);
    for ShownApp { app, name, policy, .. } in &apps {
        let joins = if policy.anonymous { "anybody" } else { "by token" };
        let (grace, ttl) = (span(policy.grace()), span(policy.credential_ttl()));
        let (app, capacity) = (app.to_string(), policy.capacity.to_string());
        table.row(vec![app, name.clone(), joins.to_owned(), capacity, grace, ttl]);
    }
    print!("{table}");
    Ok(())
}

/// How long an app's TURN credentials last.
pub(super) fn set_credential_ttl(api: &mut Api, app: &AppId, seconds: u64) -> Result<()> {
    let path = format!("/apps/{}/credential-ttl", segment(app.as_str()));
    api.call("PUT", &path, &json!({ "seconds": seconds })).map(drop)
}
