//! `/admin/api/v1/configuration`: what the cluster and its nodes run with, and where nodes differ.

use std::collections::BTreeMap;

use actix_web::web::{self, Data, Json, Path, ServiceConfig};
use chappe_proto::id::NodeId;
use chappe_proto::registry::State;
use chappe_proto::settings::{Origin, Scope, Setting};
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::{OpenApi, ToSchema};

use crate::access::Viewer;
use crate::api::nodes::node_id;
use crate::api::problem::Problem;
use crate::control::Fault;
use crate::{Cluster, Mount, schema};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/configuration", web::get().to(agreed))
        .route("/configuration/diff", web::get().to(diff))
        .route("/nodes/{node}/configuration", web::get().to(of_node));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(agreed, diff, of_node))]
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

/// An option of a node, as it is in force.
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
    /// `shared`: all nodes are to have the same; `own`: each has its own; `start`: it counts at the first start alone.
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
    let settings = mount.cluster.settings(node_id(&path)?).await?;
    Ok(Json(settings.into_iter().map(ShownSetting::from).collect()))
}

/// Where nodes differ from each other, or from the defaults.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Diff {
    /// The nodes that answered.
    #[schema(value_type = Vec<schema::Node>)]
    pub(crate) nodes: Vec<NodeId>,
    /// Those that did not.
    #[schema(value_type = Vec<schema::Node>)]
    pub(crate) missing: Vec<NodeId>,
    /// The options in which they differ, or that are not as they are by default, by name.
    pub(crate) settings: Vec<Difference>,
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
    /// Whether nodes differ.
    pub(crate) differs: bool,
    /// Whether that is as it should be: names and addresses differ, unless some have none.
    pub(crate) expected: bool,
    /// Each value, with the nodes that have it.
    pub(crate) values: Vec<HeldValue>,
}

/// A value of an option, and who has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct HeldValue {
    /// The value; null where it is not set.
    pub(crate) value: Option<String>,
    /// Where it comes from, as of a node's configuration; `unknown` where the node's release has no such option.
    pub(crate) origin: &'static str,
    /// Who has it.
    #[schema(value_type = Vec<schema::Node>)]
    pub(crate) nodes: Vec<NodeId>,
}

/// Shows where nodes differ from each other, or from the defaults.
#[utoipa::path(
    get, path = "/configuration/diff", tag = "configuration",
    responses((status = 200, description = "Of the nodes that answer", body = Diff))
)]
async fn diff(_: Viewer, mount: Data<Mount>) -> Json<Diff> {
    Json(diff_of(&*mount.cluster).await)
}

/// Asks all nodes.
pub(crate) async fn diff_of(cluster: &dyn Cluster) -> Diff {
    let members = cluster.status().await.members.into_iter();
    let asked = members.map(|member| async move { (member.node, cluster.settings(member.node).await.ok()) });
    let (mut said, mut missing) = (BTreeMap::new(), Vec::new());
    for (node, settings) in join_all(asked).await {
        match settings {
            Some(settings) => drop(said.insert(node, settings)),
            None => missing.push(node),
        }
    }
    Diff { settings: differences(&said), nodes: said.into_keys().collect(), missing }
}

fn differences(said: &BTreeMap<NodeId, Vec<Setting>>) -> Vec<Difference> {
    let mut by_name: BTreeMap<&str, BTreeMap<NodeId, &Setting>> = BTreeMap::new();
    for (node, settings) in said {
        for setting in settings {
            by_name.entry(&setting.name).or_default().insert(*node, setting);
        }
    }
    let difference = |(name, held): (&str, BTreeMap<NodeId, &Setting>)| {
        let (_, one) = held.first_key_value()?;
        let mut values: Vec<HeldValue> = Vec::new();
        for node in said.keys() {
            let setting = held.get(node);
            let value = setting.and_then(|setting| setting.value.clone());
            let origin = setting.map_or(Origin::Unknown, |setting| setting.origin).name();
            match values.iter_mut().find(|known| known.value == value && known.origin == origin) {
                Some(known) => known.nodes.push(*node),
                None => values.push(HeldValue { value, origin, nodes: vec![*node] }),
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
mod tests {
    use std::sync::Arc;

    use actix_web::http::Method;

    use super::*;
    use crate::memory::{Memory, ask, refused};

    async fn get(memory: &Arc<Memory>, path: &str) -> Value {
        let (status, answer) = ask(memory, Method::GET, path, Value::Null).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    #[actix_rt::test]
    async fn a_node_tells_what_it_runs_with_and_where_that_comes_from() {
        let memory = Arc::new(Memory::default());
        let told = get(&memory, "/nodes/2/configuration").await;
        let workers = json!({
            "name": "workers", "value": "4", "default": "2", "origin": "environment", "scope": "shared",
            "variable": "CHAPPE_WORKERS",
        });
        assert_eq!(told[2], workers);
        assert_eq!(told[1]["value"], "set", "secrets are not told");
        for (node, told) in [("9", "404"), ("x", "400 node: its number"), ("3", "503 node 3 does not answer")]
        {
            let path = format!("/nodes/{node}/configuration");
            let refused = refused(&memory, Method::GET, &path, Value::Null).await;
            assert!(refused.starts_with(told), "{refused}");
        }
    }

    #[actix_rt::test]
    async fn where_nodes_differ_is_told_and_whether_they_should() {
        let memory = Arc::new(Memory::default());
        let diff = get(&memory, "/configuration/diff").await;
        assert_eq!((&diff["nodes"], &diff["missing"]), (&json!([1, 2]), &json!([3])));
        let told: Vec<_> = diff["settings"].as_array().unwrap().iter().collect();
        let names: Vec<_> = told.iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["geoip", "http", "join", "workers"], "what is the default everywhere is not told");
        let flags: Vec<_> = told.iter().map(|one| (&one["differs"], &one["expected"])).collect();
        let (yes, no) = (&json!(true), &json!(false));
        // One node has forgotten `geoip`; addresses differ, and how a node joined is its own.
        assert_eq!(flags, [(yes, no), (yes, yes), (no, yes), (yes, no)]);
        let values = json!([
            { "value": "2", "origin": "default", "nodes": [1] },
            { "value": "4", "origin": "environment", "nodes": [2] },
        ]);
        assert_eq!(told[3]["values"], values);
    }

    #[test]
    fn an_option_that_a_release_does_not_know_is_a_difference() {
        let setting = |name| crate::memory::operation::unset(name, Scope::Shared, Some("1"));
        let said = BTreeMap::from([
            (NodeId(1), vec![setting("old"), setting("new")]),
            (NodeId(2), vec![setting("old")]),
        ]);
        let told = differences(&said);
        assert_eq!((told.len(), told[0].name.as_str(), told[0].values[1].origin), (1, "new", "unknown"));
        let same = BTreeMap::from([(NodeId(1), vec![setting("old")]), (NodeId(2), vec![setting("old")])]);
        assert!(differences(&same).is_empty());
    }

    #[actix_rt::test]
    async fn what_the_cluster_agreed_on_is_told_beside_what_a_new_one_begins_with() {
        let memory = Arc::new(Memory::default());
        let told = get(&memory, "/configuration").await;
        assert!(told.as_array().unwrap().iter().all(|one| one["is_default"] == true), "{told}");
        let peers = json!({ "allow": ["10.0.0.0/8"], "deny": [] });
        assert_eq!(ask(&memory, Method::PUT, "/turn/peers", peers.clone()).await.0, 204);
        let told = get(&memory, "/configuration").await;
        let one = told.as_array().unwrap().iter().find(|one| one["name"] == "peers").unwrap();
        assert_eq!((&one["value"], &one["is_default"]), (&peers, &json!(false)));
        // Whoever is told how to change it can do that.
        for one in told.as_array().unwrap() {
            let (method, path) = one["set_by"].as_str().unwrap().split_once(' ').unwrap();
            let route = format!("{} {path}", method.to_lowercase());
            assert!(crate::api::written::written().contains(&route), "{route}");
        }
    }
}
