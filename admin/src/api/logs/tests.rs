use actix_web::body::MessageBody;
use actix_web::http::Method;
use actix_web::test::{self, TestRequest};
use actix_web::{App, dev::ServiceResponse};
use chappe_proto::mesh::uplink::Secret;
use serde_json::Value;

use super::*;
use crate::memory::{Memory, ask, bytes, refused};

fn logged() -> Arc<Memory> {
    let memory = Arc::new(Memory::default());
    memory.operation.say(Level::Info, "chappe_cluster::keeper", "lease held generation=3");
    memory.operation.say(Level::Warn, "chappe_cluster::keeper", "Lease lost");
    memory.operation.say(Level::Error, "chappe_edge::probe", "a listener does not answer");
    memory
}

async fn numbers(memory: &Arc<Memory>, query: &str) -> Vec<u64> {
    let (status, answer) = ask(memory, Method::GET, &format!("/nodes/1/logs{query}"), Value::Null).await;
    assert_eq!(status, 200, "{answer}");
    answer["lines"].as_array().unwrap().iter().map(|line| line["n"].as_u64().unwrap()).collect()
}

#[actix_rt::test]
async fn lines_are_told_by_level_part_and_text() {
    let memory = logged();
    assert_eq!(numbers(&memory, "").await, [1, 2, 3]);
    assert_eq!(numbers(&memory, "?level=warn&target=&contains=").await, [2, 3]);
    assert_eq!(numbers(&memory, "?target=chappe_cluster").await, [1, 2]);
    assert_eq!(numbers(&memory, "?contains=lease").await, [1, 2]);
    assert_eq!(numbers(&memory, "?limit=1").await, [3], "the last one");
    assert_eq!(numbers(&memory, "?limit=1&after=1").await, [2], "the next one");
    let (_, answer) = ask(&memory, Method::GET, "/nodes/1/logs?limit=1&after=0", Value::Null).await;
    let line = json!({
        "n": 1, "at": 1000, "level": "info", "target": "chappe_cluster::keeper", "text": "lease held generation=3",
    });
    assert_eq!(answer, json!({ "lines": [line], "next": 1, "missed": 0, "more": true, "changed": null }));
}

#[actix_rt::test]
async fn what_cannot_be_asked_is_refused_by_name() {
    let memory = logged();
    let long = format!("1/logs?target={}", "x".repeat(LINE_TARGET_MAX + 1));
    for (path, told) in [
        ("1/logs?level=loud", "400 level: one of error, warn, info, debug, trace"),
        ("1/logs?limit=0", "400 limit: 1 to 500"),
        ("1/logs?after=x", "400 after: give a whole number"),
        (long.as_str(), "400 target: at most 128 bytes"),
        ("1/logs/export?format=xml", "400 format: `text` or `json`"),
        ("9/logs", "404 there is no such node"),
        ("9/logs/stream", "404 there is no such node"),
        ("x/logs", "400 node: its number"),
        ("3/logs", "503 node 3 does not answer"),
    ] {
        let refused = refused(&memory, Method::GET, &format!("/nodes/{path}"), Value::Null).await;
        assert!(refused.starts_with(told), "{path}: {refused}");
    }
}

#[actix_rt::test]
async fn all_lines_are_exported_as_text_or_json() {
    let memory = logged();
    for n in 4..=1_200 {
        memory.operation.say(Level::Debug, "raft", &format!("line {n}"));
    }
    let get = async |query: &str| {
        let (status, text) =
            bytes(&memory, Method::GET, &format!("/nodes/1/logs/export{query}"), Value::Null).await;
        assert_eq!(status, 200);
        String::from_utf8(text.to_vec()).unwrap()
    };
    let text = get("").await;
    assert_eq!(text.lines().count(), 1_200, "of several pages");
    assert_eq!(
        text.lines().nth(1).unwrap(),
        "1970-01-01T00:00:01.000Z  WARN chappe_cluster::keeper: Lease lost"
    );
    let json = get("?format=json&level=warn").await;
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[1]["level"]), (2, &json!("error")));
}

#[actix_rt::test]
async fn a_node_logs_more_for_a_while_and_that_is_noted() {
    let memory = logged();
    let set = json!({ "level": "debug", "for_secs": 600 });
    assert_eq!(ask(&memory, Method::PUT, "/nodes/2/logs/level", set).await.0, 204);
    let (_, answer) = ask(&memory, Method::GET, "/nodes/2/logs", Value::Null).await;
    assert_eq!(answer["changed"], json!({ "level": "debug", "until": 601_000 }));
    assert_eq!(ask(&memory, Method::DELETE, "/nodes/2/logs/level", Value::Null).await.0, 204);
    let (_, answer) = ask(&memory, Method::GET, "/nodes/2/logs", Value::Null).await;
    assert_eq!(answer["changed"], Value::Null);
    memory.with(|state| {
        let kept: Vec<_> = state.audit().map(|entry| entry.note.what.clone()).collect();
        assert_eq!(kept, ["set the log of node 2 to debug for 600 s", "ended the change of node 2's log"]);
    });
    for (body, told) in [
        (json!({ "level": "debug", "for_secs": 0 }), "400 for_secs: 1 to 3600"),
        (json!({ "level": "debug", "for_secs": 3601 }), "400 for_secs: 1 to 3600"),
        (json!({ "level": "all", "for_secs": 1 }), "400 level: one of"),
        (json!({ "level": "debug" }), "400 "),
    ] {
        let refused = refused(&memory, Method::PUT, "/nodes/2/logs/level", body).await;
        assert!(refused.starts_with(told), "{refused}");
    }
    let body = json!({ "level": "debug", "for_secs": 1 });
    assert!(refused(&memory, Method::PUT, "/nodes/9/logs/level", body).await.starts_with("404"));
}

#[actix_rt::test]
async fn an_edges_log_is_read_exported_and_loud_for_a_while_as_a_nodes() {
    let memory = logged();
    memory.edge_joins("edge-old", true);
    memory.edge_joins("edge-gone", false);
    let (_, answer) = ask(&memory, Method::GET, "/edges/edge-eu/logs?level=error", Value::Null).await;
    assert_eq!(answer["lines"][0]["text"], "a listener does not answer");
    let (status, text) =
        bytes(&memory, Method::GET, "/edges/edge-eu/logs/export?format=json", Value::Null).await;
    assert_eq!(status, 200);
    assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 3);

    let set = json!({ "level": "debug", "for_secs": 600 });
    assert_eq!(ask(&memory, Method::PUT, "/edges/edge-eu/logs/level", set.clone()).await.0, 204);
    let (_, answer) = ask(&memory, Method::GET, "/edges/edge-eu/logs", Value::Null).await;
    assert_eq!(answer["changed"]["level"], "debug");
    assert_eq!(ask(&memory, Method::DELETE, "/edges/edge-eu/logs/level", Value::Null).await.0, 204);
    memory.with(|state| {
        let kept: Vec<_> = state.audit().map(|entry| entry.note.what.clone()).collect();
        assert_eq!(
            kept,
            ["set the log of edge edge-eu to debug for 600 s", "ended the change of edge edge-eu's log"]
        );
    });
    for (path, told) in [
        ("nobody/logs", "404 there is no such edge"),
        ("nobody/logs/stream", "404 there is no such edge"),
        ("a%20b/logs", "400 edge:"),
        ("edge-eu/logs?limit=0", "400 limit: 1 to 500"),
        ("edge-old/logs", "503 edge edge-old does not tell"),
        ("edge-gone/logs/export", "503 edge edge-gone does not answer"),
    ] {
        let refused = refused(&memory, Method::GET, &format!("/edges/{path}"), Value::Null).await;
        assert!(refused.starts_with(told), "{path}: {refused}");
    }
    let refused = refused(&memory, Method::PUT, "/edges/edge-old/logs/level", set).await;
    assert!(refused.starts_with("503 edge edge-old does not tell"), "{refused}");
}

/// What a stream says until this is in it.
async fn told(answer: ServiceResponse<impl MessageBody>, until: &str) -> String {
    let (mut body, mut text) = (Box::pin(answer.into_body()), String::new());
    while !text.contains(until) {
        let piece = std::future::poll_fn(|cx| body.as_mut().poll_next(cx)).await.unwrap();
        text += std::str::from_utf8(&piece.ok().unwrap()).unwrap();
    }
    text
}

#[actix_rt::test]
async fn lines_come_live_and_go_on_where_a_browser_was() {
    let memory = logged();
    let mount = Mount::new(Arc::clone(&memory) as Arc<dyn Cluster>, Secret(b"right".to_vec()));
    let app = test::init_service(App::new().configure(|config| mount.configure(config))).await;
    let get = async |query: &str, last: Option<&str>| {
        let path = format!("/admin/api/v1/{query}");
        let request = TestRequest::with_uri(&path).insert_header(("Authorization", "Bearer right"));
        let request =
            last.into_iter().fold(request, |request, last| request.insert_header(("Last-Event-ID", last)));
        test::call_service(&app, request.to_request()).await
    };
    let text = told(get("nodes/1/logs/stream?level=warn", None).await, "listener does not answer").await;
    assert!(text.contains("event: watching") && text.contains("id: 2\nevent: line\n"), "{text}");
    assert!(!text.contains("lease held") && text.contains("{\"changed\":null}"), "{text}");
    let text = told(get("nodes/1/logs/stream", Some("2")).await, "listener does not answer").await;
    assert!(!text.contains("Lease lost"), "{text}");
    let text = told(get("nodes/3/logs/stream", None).await, "event: fault").await;
    assert!(text.contains("node 3 does not answer"), "{text}");
    let text = told(get("edges/edge-eu/logs/stream", Some("2")).await, "listener does not answer").await;
    assert!(text.contains("event: watching") && !text.contains("Lease lost"), "{text}");
}
