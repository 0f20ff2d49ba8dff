//! `/history`: figures over the last hours, of the cluster, a region or a node.

#![allow(unused_qualifications, reason = "utoipa writes them for parameters")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use actix_web::web::{self, Data, Json, Query, ServiceConfig};
use chappe_proto::history::{self, Point};
use chappe_proto::id::{NodeId, Region};
use chappe_proto::limits::{HISTORY_EVERY, HISTORY_LEVELS, HISTORY_POINTS_MAX};
use chappe_proto::time::Unix;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::Mount;
use crate::access::Viewer;
use crate::api::problem::Problem;
use crate::control::{ClusterStatus, EdgeReport};
use crate::history::{NodeHistory, merged};
use crate::schema;

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
    /// Of a region alone: what its nodes and edges have. Apps' figures are not told by region.
    #[param(value_type = Option<schema::Region>)]
    region: Option<String>,
    /// Of a node alone, as it has sampled it.
    #[param(value_type = Option<schema::Node>)]
    node: Option<String>,
}

/// Figures over time.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct HistoryView {
    /// The clock of the node that answers.
    #[schema(value_type = u64)]
    now: Unix,
    /// Seconds of a step at least.
    step: u64,
    /// The nodes that were asked. What one of them has of its own is missing where it does not answer, and before it began.
    nodes: Vec<HistoryNode>,
    /// All figures that there are.
    names: Vec<String>,
    /// Those that were asked for, oldest point first. A step in which nothing was sampled has none, nor has one of which the
    /// samples of a node are missing that was there: a sum would be less than what was. What is counted is told as increase
    /// a second.
    #[schema(value_type = BTreeMap<String, Vec<schema::Point>>)]
    series: BTreeMap<String, Vec<Point>>,
}

/// A node that was asked.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct HistoryNode {
    /// Which.
    #[schema(value_type = schema::Node)]
    node: NodeId,
    /// Where it stands.
    #[schema(value_type = schema::Region)]
    region: Region,
    /// When its first sample was taken: it keeps them in memory. None where it does not answer.
    #[schema(value_type = Option<schema::Time>)]
    since: Option<Unix>,
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

/// What is asked of nodes, where all of it can be answered.
fn wanted_of(asked: &Wanted, now: Unix) -> Result<history::Wanted, Problem> {
    let longest = HISTORY_LEVELS.last().map_or(0, |(step, steps)| step * *steps as u64);
    let back = seconds("since", asked.since.as_ref(), 1, longest)?.unwrap_or(3600);
    let least = HISTORY_EVERY.as_secs();
    let few = back.div_ceil(HISTORY_POINTS_MAX as u64).max(least);
    let step = seconds("step", asked.step.as_ref(), least, longest)?.unwrap_or(few);
    if back / step > HISTORY_POINTS_MAX as u64 {
        let fix = format!("at most {HISTORY_POINTS_MAX} points are told: {few} or more for {back} s");
        return Err(Problem::Field { field: "step", fix });
    }
    let names = asked.series.iter().flat_map(|names| names.split(','));
    let series: Vec<String> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if series.len() > FIGURES_MAX {
        return Err(Problem::Field { field: "series", fix: format!("at most {FIGURES_MAX} of them") });
    }
    if series.iter().any(|name| name.ends_with('*')) {
        let fix = "whole names: `names` of the answer has them all".to_owned();
        return Err(Problem::Field { field: "series", fix });
    }
    let since = Unix(now.0.saturating_sub(Duration::from_secs(back)));
    Ok(history::Wanted { series, since, step, names: true, ..history::Wanted::default() })
}

/// Where figures are asked for, where there is such a node or region.
async fn place(mount: &Mount, asked: &Wanted) -> Result<(Option<NodeId>, Option<Region>), Problem> {
    match (asked.node.as_deref().unwrap_or_default(), asked.region.as_deref().unwrap_or_default()) {
        ("", "") => Ok((None, None)),
        (node, "") => {
            let fix = || "a node's number".to_owned();
            let node = node.parse().map_err(|_| Problem::Field { field: "node", fix: fix() })?;
            Ok((Some(NodeId(node)), None))
        }
        ("", name) => {
            let regions = regions(&mount.cluster.status().await, &mount.cluster.edges().await);
            let found = regions.iter().find(|region| region.as_str() == name).cloned();
            let listed: Vec<_> = regions.iter().map(Region::as_str).collect();
            let fix = || format!("one of {}", listed.join(", "));
            Ok((None, Some(found.ok_or_else(|| Problem::Field { field: "region", fix: fix() })?)))
        }
        _ => Err(Problem::Field { field: "region", fix: "of a node alone, or of a region alone".to_owned() }),
    }
}

/// The regions in which anything of the cluster is.
pub(crate) fn regions(status: &ClusterStatus, edges: &[EdgeReport]) -> BTreeSet<Region> {
    let nodes = status.members.iter().map(|member| &member.region);
    nodes.chain(edges.iter().map(|edge| &edge.region)).cloned().collect()
}

/// Figures of the cluster over time, put together of its nodes'.
///
/// Series of each node, which are added up: `sessions`, `rooms`, `joins`, `resumes`, `signals`, `delivered`, `undelivered`,
/// `ice_failures`, `refused.CODE`, `cpu`, `memory`. Of the whole, as any node has them: `relayed_bytes` and
/// `relayed_packets` (also `.edge.NAME`, `.region.NAME`, `.app.NAME`), `allocations` (also `.edge.NAME`, `.region.NAME`),
/// `edges.alive`, `edges.draining`, `edges.lost`, `commits`, `nodes` (also `.region.NAME`).
#[utoipa::path(get, path = "/history", tag = "figures", params(Wanted), responses((status = 200, body = HistoryView), (status = 404)))]
async fn history(_: Viewer, mount: Data<Mount>, asked: Query<Wanted>) -> Result<Json<HistoryView>, Problem> {
    let now = mount.cluster.now().unix;
    let wanted = wanted_of(&asked, now)?;
    let (node, region) = place(&mount, &asked).await?;
    let wanted = history::Wanted { region, ..wanted };
    let histories = mount.cluster.histories(wanted.clone(), node).await;
    if node.is_some() && histories.is_empty() {
        return Err(Problem::NotFound("node"));
    }
    let mut all = match (node, histories.first()) {
        // Of one node all that it has is told.
        (Some(_), Some(one)) => one.sampled.clone().unwrap_or_default().series,
        _ => merged(&histories, wanted.region.as_ref()),
    };
    let series = wanted.series.into_iter().map(|name| {
        let points = all.remove(&name).unwrap_or_default();
        (name, points)
    });
    let names = histories.iter().filter_map(|one| one.sampled.as_ref()).flat_map(|told| &told.names);
    let names: BTreeSet<String> = names.cloned().collect();
    let told = |one: &NodeHistory| HistoryNode {
        node: one.node,
        region: one.region.clone(),
        since: one.sampled.as_ref().map(|told| told.since),
    };
    let (series, nodes) = (series.collect(), histories.iter().map(told).collect());
    Ok(Json(HistoryView { now, step: wanted.step, nodes, names: names.into_iter().collect(), series }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use actix_web::http::Method;
    use serde_json::{Value, json};

    use crate::memory::{Memory, ask, refused};

    #[actix_rt::test]
    async fn figures_are_told_by_name_in_steps() {
        let memory = Arc::new(Memory::default());
        memory.pass(Duration::from_secs(999));
        let get = async |query: &str| {
            let (status, told) = ask(&memory, Method::GET, &format!("/history{query}"), Value::Null).await;
            assert_eq!(status, 200, "{told}");
            told
        };
        let names = get("").await;
        let listed = names["names"].as_array().unwrap();
        assert!(listed.contains(&json!("sessions")) && listed.contains(&json!("allocations.region.eu")));
        assert_eq!((&names["series"], &names["step"]), (&json!({}), &json!(10)));
        let eu = json!({ "node": 1, "region": "eu", "since": 0 });
        assert_eq!((&names["nodes"][0], names["nodes"].as_array().unwrap().len()), (&eu, 3));
        let told = get("?series=sessions,none&since=120&step=60").await;
        let points = told["series"]["sessions"].as_array().unwrap();
        // Three nodes with as many each.
        assert_eq!(points[1], json!({ "at": 900, "min": 270.0, "mean": 277.5, "max": 285.0, "samples": 18 }));
        assert_eq!(told["series"]["none"], json!([]), "a figure that is not there yet has no points");
        assert_eq!(get("?since=172800").await["step"], 240);
    }

    #[actix_rt::test]
    async fn a_region_and_a_node_have_their_own_and_who_is_silent_is_named() {
        let memory = Arc::new(Memory::default());
        memory.pass(Duration::from_secs(999));
        let get = async |query: &str| {
            let path = format!("/history?since=10&series=sessions,allocations&{query}");
            let (status, told) = ask(&memory, Method::GET, &path, Value::Null).await;
            assert_eq!(status, 200, "{told}");
            let newest =
                |name: &str| told["series"][name].as_array().unwrap().last().map(|one| one["mean"].clone());
            (newest("sessions"), newest("allocations"), told)
        };
        let (sessions, allocations, _) = get("").await;
        assert_eq!((sessions, allocations), (Some(json!(300.0)), Some(json!(7.0))));
        let (sessions, allocations, told) = get("region=eu").await;
        assert_eq!((sessions, allocations), (Some(json!(100.0)), Some(json!(4.0))));
        let names = told["names"].as_array().unwrap();
        assert!(names.contains(&json!("allocations.edge.edge-eu")), "{names:?}");
        assert!(!names.contains(&json!("allocations.edge.edge-us")), "of another region");
        let (sessions, _, told) = get("node=2").await;
        assert_eq!((sessions, told["nodes"].as_array().unwrap().len()), (Some(json!(100.0)), 1));

        memory.members(|status| status.members[2].reachable = false);
        let (sessions, allocations, told) = get("").await;
        assert_eq!((sessions, allocations), (None, Some(json!(7.0))), "two of three are no sum");
        assert_eq!(told["nodes"][2], json!({ "node": 3, "region": "ap", "since": null }));
        assert_eq!(get("region=eu").await.0, Some(json!(100.0)), "it is in another region");
        assert_eq!(get("node=3").await.0, None);
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
            ("?series=refused.*", "400 series: whole names: `names` of the answer has them all"),
            ("?region=mars", "400 region: one of ap, eu, us"),
            ("?node=x", "400 node: a node's number"),
            ("?node=1&region=eu", "400 region: of a node alone, or of a region alone"),
            ("?node=9", "404 there is no such node"),
        ] {
            assert_eq!(refused(&memory, Method::GET, &format!("/history{query}"), Value::Null).await, words);
        }
    }
}
