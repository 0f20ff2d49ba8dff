//! `/history`: figures over the last hours, of the node that answers.

#![allow(unused_qualifications, reason = "utoipa writes them for parameters")]

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::web::{self, Data, Json, Query, ServiceConfig};
use chappe_proto::limits::{HISTORY_EVERY, HISTORY_LEVELS, HISTORY_POINTS_MAX};
use chappe_proto::time::Unix;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::Mount;
use crate::access::Viewer;
use crate::api::problem::Problem;
use crate::history::Point;

/// Figures in one answer.
const FIGURES_MAX: usize = 32;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.route("/history", web::get().to(history));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(history))]
pub(crate) struct Part;

#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct Wanted {
    /// Names of figures, with commas between them: 32 at most. Without any the names alone are told.
    series: Option<String>,
    /// So many seconds back: up to 172800; 3600 if it is not said.
    #[param(value_type = Option<u64>)]
    since: Option<String>,
    /// Seconds of a step, 10 or more: as few as 720 points allow if it is not said. What is far back is kept in steps of
    /// 60 s (six hours) and 300 s (two days).
    #[param(value_type = Option<u64>)]
    step: Option<String>,
}

/// Figures over time.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct HistoryView {
    /// The node's clock.
    #[schema(value_type = u64)]
    now: Unix,
    /// Seconds of a step at least.
    step: u64,
    /// All figures that there are.
    names: Vec<String>,
    /// Those that were asked for, oldest point first. A step in which nothing was sampled has none. What is counted is
    /// told as increase a second.
    series: BTreeMap<String, Vec<Point>>,
}

fn seconds(
    field: &'static str,
    text: Option<&String>,
    least: u64,
    most: u64,
) -> Result<Option<u64>, Problem> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
        _ => Err(Problem::Field { field, fix: format!("seconds, {least} to {most}") }),
    }
}

/// Figures of the node that answers, over time.
///
/// Series: `sessions`, `rooms`, `joins`, `resumes`, `signals`, `delivered`, `undelivered`,
/// `ice_failures`, `refused.CODE`, `relayed_bytes` and `relayed_packets` (also `.edge.NAME`, `.region.NAME`, `.app.NAME`),
/// `allocations` (also `.edge.NAME`), `edges.alive`, `edges.draining`, `edges.lost`, `cpu`, `memory`, `commits`.
#[utoipa::path(get, path = "/history", tag = "figures", params(Wanted), responses((status = 200, body = HistoryView)))]
async fn history(_: Viewer, mount: Data<Mount>, wanted: Query<Wanted>) -> Result<Json<HistoryView>, Problem> {
    let longest = HISTORY_LEVELS.last().map_or(0, |(step, steps)| step * *steps as u64);
    let back = seconds("since", wanted.since.as_ref(), 1, longest)?.unwrap_or(3600);
    let least = HISTORY_EVERY.as_secs();
    let few = back.div_ceil(HISTORY_POINTS_MAX as u64).max(least);
    let step = seconds("step", wanted.step.as_ref(), least, longest)?.unwrap_or(few);
    if back / step > HISTORY_POINTS_MAX as u64 {
        let fix = format!("at most {HISTORY_POINTS_MAX} points are told: {few} or more for {back} s");
        return Err(Problem::Field { field: "step", fix });
    }
    let asked: Vec<&str> =
        wanted.series.iter().flat_map(|names| names.split(',')).filter(|name| !name.is_empty()).collect();
    if asked.len() > FIGURES_MAX {
        return Err(Problem::Field { field: "series", fix: format!("at most {FIGURES_MAX} of them") });
    }
    let now = mount.cluster.clock();
    let since = Unix(now.0.saturating_sub(Duration::from_secs(back)));
    let mut series = BTreeMap::new();
    for name in asked {
        let points = mount.cluster.points(name.to_owned(), since, step).await;
        series.insert(name.to_owned(), points.unwrap_or_default());
    }
    let names = mount.cluster.figures().await;
    Ok(Json(HistoryView { now, step, names, series }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::http::Method;
    use serde_json::{Value, json};

    use crate::memory::{Memory, ask, refused};

    #[actix_rt::test]
    async fn figures_are_told_by_name_in_steps() {
        let memory = Arc::new(Memory::default());
        let get = async |query: &str| {
            let (status, told) = ask(&memory, Method::GET, &format!("/history{query}"), Value::Null).await;
            assert_eq!(status, 200, "{told}");
            told
        };
        let names = get("").await;
        assert_eq!(
            (&names["names"], &names["series"], &names["step"]),
            (&json!(["sessions"]), &json!({}), &json!(10))
        );
        let told = get("?series=sessions,none&since=120&step=60").await;
        let points = told["series"]["sessions"].as_array().unwrap();
        assert_eq!(points[1], json!({ "at": 900, "min": 90.0, "mean": 92.5, "max": 95.0, "samples": 6 }));
        assert_eq!(told["series"]["none"], json!([]), "a figure that is not there yet has no points");
        assert_eq!(get("?since=172800").await["step"], 240);
    }

    #[actix_rt::test]
    async fn each_refusal_names_what_to_mend() {
        let memory = Arc::new(Memory::default());
        let many = format!("?series={}", "a,".repeat(33));
        for (query, words) in [
            ("?since=x", "400 since: seconds, 1 to 172800"),
            ("?since=200000", "400 since: seconds, 1 to 172800"),
            ("?step=9", "400 step: seconds, 10 to 172800"),
            ("?since=86400&step=10", "400 step: at most 720 points are told: 120 or more for 86400 s"),
            (many.as_str(), "400 series: at most 32 of them"),
        ] {
            assert_eq!(refused(&memory, Method::GET, &format!("/history{query}"), Value::Null).await, words);
        }
    }
}
