use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use actix_web::http::Method;
use actix_web::{App, test as web_test};
use chappe_proto::mesh::uplink::Secret;
use serde_json::{Value, json};

use super::*;
use crate::api::written::written;
use crate::memory::{Memory, ask, bytes, refused};

/// What only this module serves: the description itself, and files of its explorer.
const ITSELF: [&str; 2] = ["get /openapi.json", "get /explorer/{file}"];

fn document() -> Value {
    serde_json::to_value(whole()).unwrap()
}

/// Each operation: `get /nodes/{node}`, and what is said of it.
fn described(whole: &Value) -> BTreeMap<String, &Value> {
    let paths = whole["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        item.as_object()
            .unwrap()
            .iter()
            .map(move |(method, operation)| (format!("{method} {path}"), operation))
    });
    operations.collect()
}

#[test]
fn no_operation_is_left_undescribed() {
    let whole = document();
    let described: BTreeSet<_> = described(&whole).into_keys().collect();
    let all: BTreeSet<_> = written().into_iter().filter(|route| !ITSELF.contains(&route.as_str())).collect();
    assert!(all.len() > 100, "{all:?}");
    let missing: Vec<_> = all.difference(&described).collect();
    assert!(missing.is_empty(), "not described: {missing:?}");
    let unknown: Vec<_> = described.difference(&all).collect();
    assert!(unknown.is_empty(), "described, and not there: {unknown:?}");
}

#[actix_rt::test]
async fn each_described_operation_is_there() {
    let memory = Arc::new(Memory::default());
    let whole = document();
    // A stream is there for as long as it is read.
    for route in described(&whole).keys().filter(|route| !route.ends_with("/stream")) {
        let (method, path) = route.split_once(' ').unwrap();
        let asked = path.replace("{node}", "x").replace("{edge}", "a%20b").replace(['{', '}'], "%20");
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let (status, answer) = ask(&memory, method, &asked, json!({ "no": "such" })).await;
        let told = answer["detail"].as_str().unwrap_or_default();
        assert!(status != 405 && !told.contains("no such operation"), "{route}: {status} {told}");
    }
}

/// Calls `each` with every object within.
fn walk(value: &Value, each: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(held) => {
            each(held);
            held.values().for_each(|value| walk(value, each));
        }
        Value::Array(held) => held.iter().for_each(|value| walk(value, each)),
        _ => {}
    }
}

/// Notes what is not so.
macro_rules! must {
    ($wrong:ident, $fine:expr, $($words:tt)+) => {
        if !$fine {
            $wrong.push(format!($($words)+));
        }
    };
}

#[test]
fn the_description_is_sound() {
    let (whole, mut wrong) = (document(), Vec::new());
    must!(wrong, whole["openapi"].as_str().unwrap().starts_with("3.1."), "{}", whole["openapi"]);
    let mut references = 0;
    walk(&whole, &mut |object| {
        if let Some(Value::String(to)) = object.get("$ref") {
            references += 1;
            must!(wrong, whole.pointer(to.strip_prefix('#').unwrap()).is_some(), "{to} leads nowhere");
        }
    });
    must!(wrong, references > 100, "{references}");
    for (name, schema) in whole["components"]["schemas"].as_object().unwrap() {
        let says =
            ["type", "oneOf", "allOf", "anyOf", "enum", "$ref"].iter().any(|key| !schema[key].is_null());
        must!(wrong, says, "{name} says nothing: {schema}");
        must!(
            wrong,
            schema["description"].is_string() || name.starts_with("Page_"),
            "{name} is not described"
        );
    }
    let tags: BTreeSet<_> =
        whole["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).map(Value::to_string).collect();
    let mut ids = BTreeSet::new();
    for (route, operation) in described(&whole) {
        must!(
            wrong,
            ids.insert(operation["operationId"].as_str().unwrap()),
            "{route}: its id is another's too"
        );
        let summary = operation["summary"].as_str().unwrap_or_default();
        must!(wrong, !summary.is_empty() && summary.len() < 160, "{route}: {summary}");
        must!(wrong, tags.contains(&operation["tags"][0].to_string()), "{route}: {}", operation["tags"]);
        let responses = operation["responses"].as_object().unwrap();
        must!(wrong, responses.keys().any(|status| status.starts_with('2')), "{route}");
        must!(wrong, ["401", "403", "503"].iter().all(|status| responses.contains_key(*status)), "{route}");
        let mut named: BTreeSet<_> = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        for part in route.split('/').filter_map(|part| part.strip_prefix('{')) {
            must!(wrong, named.remove(part.trim_end_matches('}')), "{route}: {part} is not described");
        }
        must!(wrong, named.is_empty(), "{route} has no {named:?}");
        for (status, response) in responses.iter().filter(|(status, _)| status.as_str() >= "400") {
            let of = response["$ref"].as_str().map_or(Some(response), |to| whole.pointer(&to[1..])).unwrap();
            let body = &of["content"]["application/problem+json"]["schema"]["$ref"];
            must!(wrong, body == "#/components/schemas/Problem", "{route} {status}: no problem");
        }
        for content in responses.values().chain([&operation["requestBody"]]) {
            for (kind, content) in content["content"].as_object().into_iter().flatten() {
                let empty = content["schema"].as_object().is_none_or(serde_json::Map::is_empty);
                must!(wrong, !empty, "{route}: {kind} of any shape");
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_two_files_describe_different_things_by_one_name() {
    let mut all: BTreeMap<String, Value> = BTreeMap::new();
    for part in parts() {
        for (name, schema) in part.components.unwrap_or_default().schemas {
            let schema = serde_json::to_value(schema).unwrap();
            let held = all.entry(name.clone()).or_insert_with(|| schema.clone());
            assert_eq!(*held, schema, "{name}: give one of them another name by #[schema(as = …)]");
        }
    }
}

#[actix_rt::test]
async fn every_refusal_of_the_server_itself_is_a_problem_document() {
    let memory = Arc::new(Memory::default());
    for (method, path, told) in [
        (Method::GET, "/nowhere", "404 there is no such operation: GET /admin/api/v1/openapi.json"),
        (Method::GET, "/nodes//x", "404 there is no such operation"),
        (Method::DELETE, "/nodes", "405 there is no such operation here, but there are GET"),
        (Method::PATCH, "/nodes/1", "405 there is no such operation here, but there are GET, DELETE"),
        (Method::GET, "/edges?alive=perhaps", "400 "),
        (Method::GET, "/cluster/events?node=-1", "400 "),
    ] {
        let refused = refused(&memory, method, path, Value::Null).await;
        assert!(refused.starts_with(told) && refused.len() > 5, "{path}: {refused}");
    }
    let long = json!({ "region": "x".repeat(400_000) });
    let refused = refused(&memory, Method::POST, "/cluster/invitations", long).await;
    assert!(refused.starts_with("413 "), "{refused}");
}

/// With `CHAPPE_PAGES=FOLDER` they are left there too, so that the explorer can be looked at with the other pages.
#[actix_rt::test]
async fn the_explorer_has_its_files_and_they_are_for_whoever_is_in() {
    let memory = Arc::new(Memory::default());
    for (path, holds) in [
        ("openapi.json", "\"openapi\":\"3.1"),
        ("explorer/swagger-ui.css", ".swagger-ui"),
        ("explorer/swagger-ui-bundle.js", "SwaggerUIBundle"),
    ] {
        let (status, bytes) = bytes(&memory, Method::GET, &format!("/{path}"), Value::Null).await;
        let text = String::from_utf8_lossy(&bytes);
        assert!(status == 200 && text.contains(holds), "{path}: {status}, {} bytes", text.len());
        let mount =
            crate::Mount::new(Arc::clone(&memory) as Arc<dyn crate::Cluster>, Secret(b"right".to_vec()));
        let app = web_test::init_service(App::new().configure(|config| mount.configure(config))).await;
        let request = web_test::TestRequest::with_uri(&format!("/admin/api/v1/{path}")).to_request();
        assert_eq!(web_test::call_service(&app, request).await.status(), 401, "{path}");
        if let Ok(folder) = std::env::var("CHAPPE_PAGES") {
            let file = Path::new(&folder).join("admin/api/v1").join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, &bytes).unwrap();
        }
    }
    let missing = refused(&memory, Method::GET, "/explorer/nothing.js", Value::Null).await;
    assert!(missing.starts_with("404 "), "{missing}");
}
