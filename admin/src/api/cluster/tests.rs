use std::sync::Arc;

use actix_web::http::{Method, StatusCode};
use actix_web::{App, test};
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::time::Unix;
use serde_json::{Value, json};

use super::*;
use crate::control::{Control as _, MemberRole};
use crate::memory::{Memory, ask, backup_bytes, bytes, refused};

#[actix_rt::test]
async fn every_route_is_for_the_operator() {
    let mount = Mount::new(Arc::new(Memory::default()), Secret(b"right".to_vec()));
    let app = test::init_service(App::new().configure(|config| mount.configure(config))).await;
    for (method, path) in [
        (Method::GET, "/cluster"),
        (Method::GET, "/cluster/events"),
        (Method::GET, "/cluster/events/stream"),
        (Method::GET, "/cluster/shards"),
        (Method::PUT, "/cluster/profile"),
        (Method::PUT, "/cluster/voters"),
        (Method::POST, "/cluster/transfer"),
        (Method::GET, "/cluster/invitations"),
        (Method::POST, "/cluster/invitations"),
        (Method::DELETE, "/cluster/invitations/i0"),
        (Method::POST, "/cluster/authority/rotate"),
        (Method::GET, "/cluster/backup"),
        (Method::GET, "/edges"),
        (Method::GET, "/edges/e"),
        (Method::DELETE, "/edges/e"),
        (Method::POST, "/edges/e/certificate"),
        (Method::POST, "/edges/e/drain"),
        (Method::POST, "/edges/e/resume"),
        (Method::PUT, "/edges/e/weight"),
        (Method::POST, "/edges/e/forget"),
        (Method::GET, "/nodes"),
        (Method::GET, "/nodes/1"),
        (Method::DELETE, "/nodes/1"),
        (Method::POST, "/nodes/1/drain"),
        (Method::POST, "/nodes/1/resume"),
        (Method::PUT, "/nodes/1/weight"),
    ] {
        let request = test::TestRequest::with_uri(&format!("/admin/api/v1{path}")).method(method);
        let request = request.insert_header(("Authorization", "Bearer wrong"));
        let answer = test::call_service(&app, request.to_request()).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[actix_rt::test]
async fn the_status_says_how_the_cluster_is_in_words() {
    let memory = Arc::new(Memory::default());
    let (_, answer) = ask(&memory, Method::GET, "/cluster", Value::Null).await;
    assert_eq!((&answer["healthy"], &answer["problems"]), (&json!(true), &json!([])));
    assert_eq!((&answer["leader"], &answer["members"][2]["region"]), (&json!(1), &json!("ap")));
    let report: ClusterReport = serde_json::from_value(answer).unwrap();
    assert_eq!(report.status.members[0].role, MemberRole::Leader);
    memory.members(|status| {
        status.leader = None;
        status.members[1].reachable = false;
        status.members[2].reachable = false;
    });
    let (_, answer) = ask(&memory, Method::GET, "/cluster", Value::Null).await;
    assert_eq!(answer["healthy"], false);
    let told = answer["problems"][0].as_str().unwrap();
    assert!(told.starts_with("no leader: 2 of 3 voters unreachable: node 2 (us, "), "{told}");
    // And whoever asks for a change is told the same.
    let refused = refused(&memory, Method::POST, "/nodes/2/drain", Value::Null).await;
    assert!(refused.starts_with("503 no leader: 2 of 3 voters unreachable"), "{refused}");
}

fn event(at: u64, text: &str) -> Event {
    Event { at: Unix::from_secs(at), node: Some(NodeId(at)), text: text.to_owned() }
}

#[actix_rt::test]
async fn events_come_as_they_happen_and_again_to_whoever_missed_them() {
    let memory = Arc::new(Memory::default());
    let mount = Mount::new(Arc::clone(&memory) as Arc<dyn crate::Cluster>, Secret(b"right".to_vec()));
    let app = test::init_service(App::new().configure(|config| mount.configure(config))).await;
    let open = async |query: &str, last: Option<String>| {
        let request = test::TestRequest::with_uri(&format!("/admin/api/v1/cluster/events/stream{query}"));
        let mut request = request.insert_header(("Authorization", "Bearer right"));
        if let Some(last) = last {
            request = request.insert_header(("Last-Event-ID", last));
        }
        let answer = test::call_service(&app, request.to_request()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        Box::pin(answer.into_body())
    };
    let first = cursor(&numbered(memory.events().await).next().unwrap().0);
    let mut body = open("", None).await;
    assert!(next(&mut body).await.starts_with("retry: "));
    memory.happened([event(7, "left"), event(7, "came")]);
    let told = next(&mut body).await;
    assert!(told.contains("event: event") && told.contains("left"), "{told}");
    assert!(next(&mut body).await.contains("came"));
    // One that comes back is told all that it missed, and what it does not ask for is left out.
    memory.happened([event(6, "turned its clock back")]);
    let mut body = open("", Some(first)).await;
    next(&mut body).await;
    for text in ["left", "came", "turned its clock back"] {
        let told = next(&mut body).await;
        assert!(told.contains(text), "{text}: {told}");
    }
    let mut body = open("?node=6", Some(cursor(&(0, 0)))).await;
    next(&mut body).await;
    assert!(next(&mut body).await.contains("clock"));
}

/// The next piece of a stream.
async fn next(body: &mut std::pin::Pin<Box<impl actix_web::body::MessageBody>>) -> String {
    let piece = std::future::poll_fn(|cx| body.as_mut().poll_next(cx)).await;
    String::from_utf8(piece.unwrap().ok().unwrap().to_vec()).unwrap()
}

#[actix_rt::test]
async fn events_of_one_moment_are_told_apart_over_pages() {
    let memory = Arc::new(Memory::default());
    memory.happened([event(7, "a"), event(7, "b"), event(7, "c"), event(8, "d")]);
    let (mut after, mut told) = (String::new(), Vec::new());
    loop {
        let path = format!("/cluster/events?limit=2{after}");
        let (_, page) = ask(&memory, Method::GET, &path, Value::Null).await;
        told.extend(page["items"].as_array().unwrap().iter().map(|event| event["text"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(told, ["joined", "a", "b", "c", "d"]);
    let (_, page) = ask(&memory, Method::GET, "/cluster/events?node=8", Value::Null).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
}

#[actix_rt::test]
async fn owners_of_shards_are_told_in_order() {
    let memory = Arc::new(Memory::default());
    let (_, answer) = ask(&memory, Method::GET, "/cluster/shards", Value::Null).await;
    let Owners { owners } = serde_json::from_value(answer).unwrap();
    assert_eq!(owners.len(), usize::from(chappe_proto::limits::SHARDS));
    assert_eq!(owners[..3], [Some(NodeId(1)), Some(NodeId(2)), None]);
}

#[actix_rt::test]
async fn the_leadership_goes_to_voters_alone() {
    let memory = Arc::new(Memory::default());
    memory.members(|status| status.members[2].role = MemberRole::Follower);
    let told = refused(&memory, Method::POST, "/cluster/transfer", json!({ "to": 3 })).await;
    assert!(told.contains("does not vote; the voters are 1, 2"), "{told}");
    let (_, answer) = ask(&memory, Method::POST, "/cluster/transfer", Value::Null).await;
    assert_eq!(answer["leader"], 2);
    memory.members(|status| status.members.truncate(1));
    let told = refused(&memory, Method::POST, "/cluster/transfer", Value::Null).await;
    assert!(told.contains("no other voter"), "{told}");
}

#[actix_rt::test]
async fn settings_are_checked_and_taken() {
    let memory = Arc::new(Memory::default());
    assert_eq!(ask(&memory, Method::PUT, "/cluster/profile", json!({ "profile": "wan" })).await.0, 204);
    assert_eq!(ask(&memory, Method::PUT, "/cluster/voters", json!({ "voters": 5 })).await.0, 204);
    assert_eq!(ask(&memory, Method::PUT, "/nodes/2/weight", json!({ "weight": 3 })).await.0, 204);
    let (_, rotated) = ask(&memory, Method::POST, "/cluster/authority/rotate", Value::Null).await;
    assert_eq!(rotated["authority"], 2);
    memory.members(|status| {
        assert_eq!(
            (status.profile, status.voters_wanted, status.members[1].weight),
            (ProfileName::Wan, 5, 3)
        );
    });
    for (path, body, told) in [
        ("/cluster/profile", json!({ "profile": "moon" }), "`lan` or `wan`"),
        ("/cluster/voters", json!({ "voters": 4 }), "voters: 3, which survive"),
        ("/nodes/2/weight", json!({ "weight": -1 }), "body:"),
    ] {
        let refused = refused(&memory, Method::PUT, path, body).await;
        assert!(refused.starts_with("400") && refused.contains(told), "{refused}");
    }
}

#[actix_rt::test]
async fn a_backup_comes_whole() {
    let memory = Arc::new(Memory::default());
    let (status, body) = bytes(&memory, Method::GET, "/cluster/backup", Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body == backup_bytes(), "{} bytes", body.len());
    let (_, events) = ask(&memory, Method::GET, "/cluster/events", Value::Null).await;
    assert_eq!(events["items"][0]["text"], "joined");
}
