//! `/admin/api/v1/configuration`: what the cluster, its nodes and its edges run with, and where they differ.

use std::collections::BTreeMap;

use actix_web::web::{self, Data, Json, Path, ServiceConfig};
use chappe_proto::id::{EdgeId, NodeId};
use chappe_proto::registry::State;
use chappe_proto::settings::{Origin, Scope, Setting};
use futures_util::future::{join, join_all};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::{OpenApi, ToSchema};

use crate::access::Viewer;
use crate::api::edges::edge_id;
use crate::api::nodes::node_id;
use crate::api::problem::Problem;
use crate::control::Fault;
use crate::operation::Process;
use crate::{Cluster, Mount, schema};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/configuration", web::get().to(agreed))
        .route("/configuration/diff", web::get().to(diff))
        .route("/nodes/{node}/configuration", web::get().to(of_node))
        .route("/edges/{edge}/configuration", web::get().to(of_edge));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(agreed, diff, of_node, of_edge))]
pub(crate) struct Part;

/// What the whole cluster has agreed on.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Agreed {
    /// What it is.
    pub(crate) name: &'static str,
    /// As it is in force.
    pub(crate) value: Value,
    /// Whether it is what a new cluster begins with.
    pub(crate) is_default: bool,
    /// The operation that changes it.
    pub(crate) set_by: &'static str,
}

impl Agreed {
    /// Its value, as people read it.
    pub(crate) fn text(&self) -> String {
        self.value.as_str().map_or_else(|| self.value.to_string(), str::to_owned)
    }
}

/// Shows the settings that the whole cluster has agreed on.
#[utoipa::path(get, path = "/configuration", tag = "configuration", responses((status = 200, body = Vec<Agreed>)))]
async fn agreed(_: Viewer, mount: Data<Mount>) -> Result<Json<Vec<Agreed>>, Problem> {
    Ok(Json(agreed_of(&*mount.cluster).await?))
}

/// What the whole cluster has agreed on, beside what a new one begins with.
pub(crate) async fn agreed_of(cluster: &dyn Cluster) -> Result<Vec<Agreed>, Fault> {
    let (status, new) = (cluster.status().await, State::default());
    let of = |name, set_by, value: Value, default: Value| Agreed {
        name,
        is_default: value == default,
        value,
        set_by,
    };
    Ok(vec![
        of("timers", "PUT /cluster/profile", json!(status.profile), json!(new.profile_name())),
        of("voters", "PUT /cluster/voters", json!(status.voters_wanted), json!(new.wanted_voters())),
        of("peers", "PUT /turn/peers", json!(cluster.turn_peers().await?), json!(new.peers())),
        of("origins", "PUT /turn/origins", json!(cluster.turn_origins().await?), json!(new.turn_origins())),
        of("selection", "PUT /selection", json!(cluster.selection().await?), json!(&**new.selection())),
    ])
}

/// An option of a node or an edge, as it is in force.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ShownSetting {
    /// Its name on the command line.
    #[schema(examples("workers"))]
    name: String,
    /// Its value, several by commas; null where it is not set. Of a secret the word `set`.
    value: Option<String>,
    /// What it is where nobody says anything.
    default: Option<String>,
    /// `default`, `flag`, `environment`, or `file`: what the data directory has kept.
    origin: &'static str,
    /// `shared`: all nodes, or all edges, are to have the same; `own`: each has its own; `start`: it counts at the first
    /// start alone.
    scope: &'static str,
    /// The environment variable that sets it.
    variable: Option<String>,
}

impl From<Setting> for ShownSetting {
    fn from(setting: Setting) -> Self {
        let Setting { name, value, default, origin, scope, variable } = setting;
        Self { name, value, default, origin: origin.name(), scope: scope.name(), variable }
    }
}

/// Shows a node's options as they are in force, and where each comes from.
#[utoipa::path(
    get, path = "/nodes/{node}/configuration", tag = "configuration", params(("node" = schema::Node, Path)),
    responses((status = 200, description = "In the order of its command line", body = Vec<ShownSetting>))
)]
async fn of_node(
    _: Viewer,
    mount: Data<Mount>,
    path: Path<String>,
) -> Result<Json<Vec<ShownSetting>>, Problem> {
    shown(&mount, Process::Node(node_id(&path)?)).await
}

/// Shows an edge's options as they are in force, and where each comes from.
///
/// 503 where it does not answer, or is of a build that does not tell.
#[utoipa::path(
    get, path = "/edges/{edge}/configuration", tag = "configuration",
    params(("edge" = schema::EdgeName, Path)),
    responses((status = 200, description = "In the order of its command line", body = Vec<ShownSetting>))
)]
async fn of_edge(
    _: Viewer,
    mount: Data<Mount>,
    path: Path<String>,
) -> Result<Json<Vec<ShownSetting>>, Problem> {
    shown(&mount, Process::Edge(edge_id(&path)?)).await
}

async fn shown(mount: &Mount, of: Process) -> Result<Json<Vec<ShownSetting>>, Problem> {
    let settings = mount.cluster.settings(of).await?;
    Ok(Json(settings.into_iter().map(ShownSetting::from).collect()))
}

/// Where nodes differ from each other, or from the defaults; and where edges do.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Diff {
    /// The nodes that answered.
    #[schema(value_type = Vec<schema::Node>)]
    pub(crate) nodes: Vec<NodeId>,
    /// Those that did not.
    #[schema(value_type = Vec<schema::Node>)]
    pub(crate) missing: Vec<NodeId>,
    /// The options in which nodes differ, or that are not as they are by default, by name.
    pub(crate) settings: Vec<Difference>,
    /// The same of edges, whose options are others.
    pub(crate) edges: EdgeDiff,
}

/// Where edges differ from each other, or from the defaults.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct EdgeDiff {
    /// Those that answered.
    #[schema(value_type = Vec<schema::EdgeName>)]
    pub(crate) edges: Vec<EdgeId>,
    /// Those that did not.
    pub(crate) missing: Vec<Silent>,
    /// The options in which they differ, or that are not as they are by default, by name.
    pub(crate) settings: Vec<Difference>,
}

/// An edge that does not tell its options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Silent {
    /// Which.
    #[schema(value_type = schema::EdgeName)]
    pub(crate) edge: EdgeId,
    /// Why, and what to do.
    pub(crate) why: String,
}

/// An option that is not the default everywhere.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Difference {
    /// Its name on the command line.
    pub(crate) name: String,
    /// `shared`, `own` or `start`, as of a node's configuration.
    pub(crate) scope: &'static str,
    /// What it is where nobody says anything.
    pub(crate) default: Option<String>,
    /// Whether nodes, or edges, differ.
    pub(crate) differs: bool,
    /// Whether that is as it should be: names and addresses differ, unless some have none.
    pub(crate) expected: bool,
    /// Each value, with those that have it.
    pub(crate) values: Vec<HeldValue>,
}

/// A value of an option, and who has it: nodes or edges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct HeldValue {
    /// The value; null where it is not set.
    pub(crate) value: Option<String>,
    /// Where it comes from, as of a node's configuration; `unknown` where the release has no such option.
    pub(crate) origin: &'static str,
    /// The nodes that have it.
    #[schema(value_type = Vec<schema::Node>)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) nodes: Vec<NodeId>,
    /// The edges that have it.
    #[schema(value_type = Vec<schema::EdgeName>)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) edges: Vec<EdgeId>,
}

impl HeldValue {
    fn add(&mut self, of: &Process) {
        match of {
            Process::Node(node) => self.nodes.push(*node),
            Process::Edge(edge) => self.edges.push(edge.clone()),
        }
    }
}

/// Shows where nodes differ from each other, or from the defaults; and where edges do.
#[utoipa::path(
    get, path = "/configuration/diff", tag = "configuration",
    responses((status = 200, description = "Of the nodes and edges that answer", body = Diff))
)]
async fn diff(_: Viewer, mount: Data<Mount>) -> Json<Diff> {
    Json(diff_of(&*mount.cluster).await)
}

/// Asks all nodes and edges.
pub(crate) async fn diff_of(cluster: &dyn Cluster) -> Diff {
    let members = cluster.status().await.members.into_iter();
    let asked = members
        .map(|member| async move { (member.node, cluster.settings(Process::Node(member.node)).await.ok()) });
    let (answers, edges) = join(join_all(asked), edge_diff_of(cluster)).await;
    let (mut said, mut missing) = (Said::new(), Vec::new());
    for (node, settings) in answers {
        match settings {
            Some(settings) => drop(said.insert(Process::Node(node), settings)),
            None => missing.push(node),
        }
    }
    let nodes = said.keys().filter_map(|of| if let Process::Node(node) = of { Some(*node) } else { None });
    Diff { nodes: nodes.collect(), settings: differences(&said), missing, edges }
}

async fn edge_diff_of(cluster: &dyn Cluster) -> EdgeDiff {
    let (mut said, mut edges, mut missing) = (Said::new(), Vec::new(), Vec::new());
    for (edge, settings) in cluster.edge_settings().await.unwrap_or_default() {
        match settings {
            Ok(settings) => {
                edges.push(edge.clone());
                said.insert(Process::Edge(edge), settings);
            }
            Err(fault) => missing.push(Silent { edge, why: fault.to_string() }),
        }
    }
    EdgeDiff { settings: differences(&said), edges, missing }
}

/// What nodes, or edges, have said.
type Said = BTreeMap<Process, Vec<Setting>>;

fn differences(said: &Said) -> Vec<Difference> {
    let mut by_name: BTreeMap<&str, BTreeMap<&Process, &Setting>> = BTreeMap::new();
    for (of, settings) in said {
        for setting in settings {
            by_name.entry(&setting.name).or_default().insert(of, setting);
        }
    }
    let difference = |(name, held): (&str, BTreeMap<&Process, &Setting>)| {
        let (_, one) = held.first_key_value()?;
        let mut values: Vec<HeldValue> = Vec::new();
        for of in said.keys() {
            let setting = held.get(of);
            let value = setting.and_then(|setting| setting.value.clone());
            let origin = setting.map_or(Origin::Unknown, |setting| setting.origin).name();
            let known = values.iter_mut().find(|known| known.value == value && known.origin == origin);
            match known {
                Some(known) => known.add(of),
                None => {
                    let mut held = HeldValue { value, origin, nodes: Vec::new(), edges: Vec::new() };
                    held.add(of);
                    values.push(held);
                }
            }
        }
        let differs = values.iter().any(|held| values.first().is_some_and(|first| first.value != held.value));
        let expected = match one.scope {
            Scope::Start => true,
            // One that some have and others have not was forgotten there.
            Scope::Own => values.iter().all(|held| held.value.is_some()),
            Scope::Shared | Scope::Unknown => false,
        };
        let (scope, default) = (one.scope.name(), one.default.clone());
        let is_told = differs || values.iter().any(|held| held.value != default);
        let expected = !differs || expected;
        is_told.then(|| Difference { name: name.to_owned(), scope, default, differs, expected, values })
    };
    by_name.into_iter().filter_map(difference).collect()
}

#[cfg(test)]
mod tests;
