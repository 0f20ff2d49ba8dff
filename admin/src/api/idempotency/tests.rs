use std::task::Poll;
use std::time::Duration;

use actix_web::{App, test};
use chappe_proto::mesh::uplink::Secret;
use serde_json::{Value, json};

use super::*;
use crate::memory::Memory;

struct Node {
    memory: Arc<Memory>,
    mount: Mount,
}

/// An answer: its status, its body, whether it was kept, and its `Cache-Control`.
type Answer = (u16, Value, bool, Option<String>);

impl Node {
    fn new() -> Self {
        let memory = Arc::new(Memory::default());
        let mount = Mount::new(Arc::clone(&memory) as Arc<dyn crate::Cluster>, Secret(b"right".to_vec()));
        Self { memory, mount }
    }

    async fn post(&self, path: &str, token: &str, key: &str, body: Value) -> Answer {
        let app = test::init_service(App::new().configure(|config| self.mount.configure(config))).await;
        let request = test::TestRequest::post().uri(&format!("/admin/api/v1{path}"));
        let request = request
            .insert_header(("Authorization", format!("Bearer {token}")))
            .insert_header((KEY, key))
            .set_json(body);
        let answer = test::call_service(&app, request.to_request()).await;
        let (status, again) = (answer.status().as_u16(), answer.headers().contains_key(REPLAYED));
        let cache = answer.headers().get("cache-control").map(|value| value.to_str().unwrap().to_owned());
        let body = test::read_body(answer).await;
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null), again, cache)
    }

    /// Another node of the same cluster.
    fn other(&self) -> Self {
        let memory = Arc::clone(&self.memory);
        let mount = Mount::new(Arc::clone(&memory) as Arc<dyn crate::Cluster>, Secret(b"right".to_vec()));
        Self { memory, mount }
    }

    fn notes(&self) -> usize {
        self.memory.with(|state| state.audit().count())
    }
}

const INVITE: &str = "/cluster/invitations";

#[actix_rt::test]
async fn a_repeat_gets_the_first_ones_answer_and_does_nothing() {
    let node = Node::new();
    let first = node.post(INVITE, "right", "\"a\"", json!({ "region": "eu" })).await;
    assert_eq!((first.0, first.2), (201, false));
    let again = node.post(INVITE, "right", "a", json!({ "region": "eu" })).await;
    assert_eq!(again, (201, first.1, true, Some("no-store".to_owned())));
    assert_eq!((node.notes(), node.memory.members(|status| status.invitations.len())), (1, 1));
    assert_eq!(node.post("/nodes/3/drain", "right", "b", json!({})).await.0, 204);
    assert_eq!(
        node.post("/nodes/3/drain", "right", "b", json!({})).await,
        (204, Value::Null, true, Some("no-store".to_owned()))
    );
    assert_eq!(node.notes(), 2);
    assert!(!node.post(INVITE, "right", "c", json!({ "region": "eu" })).await.2);
    assert_eq!(node.notes(), 3);
}

#[actix_rt::test]
async fn what_nobody_knows_the_outcome_of_is_done_once_by_whichever_node_it_is_repeated() {
    let (node, shop) = (Node::new(), json!({ "app": "shop" }));
    let lose = || node.memory.lost.store(true, std::sync::atomic::Ordering::Relaxed);
    for again in [&node, &node.other()] {
        lose();
        let app = format!("shop-{}", node.notes());
        let wish = json!({ "app": app });
        assert_eq!(node.post("/apps", "right", &app, wish.clone()).await.0, 503);
        let notes = node.notes();
        assert_eq!(again.post("/apps", "right", &app, wish).await.0, 201);
        assert_eq!(node.notes(), notes, "it is in the audit log already");
    }
    // What is drawn anew for each request cannot be told again: it is not made twice either.
    assert_eq!(node.post("/apps", "right", "shop", shop).await.0, 201);
    lose();
    assert_eq!(node.post("/apps/shop/keys", "right", "k", json!({})).await.0, 503);
    let (status, told, ..) = node.other().post("/apps/shop/keys", "right", "k", json!({})).await;
    assert_eq!(status, 409, "{told}");
    assert!(told["detail"].as_str().unwrap().contains("what it answered is lost"), "{told}");
    let app = chappe_proto::id::AppId::new("shop").unwrap();
    assert_eq!(node.memory.with(|state| state.keys_of(&app).count()), 1);
    assert_eq!(node.other().post("/apps/shop/keys", "right", "l", json!({})).await.0, 201, "another one");
}

#[actix_rt::test]
async fn a_key_is_of_one_request() {
    let node = Node::new();
    node.post(INVITE, "right", "a", json!({ "region": "eu" })).await;
    for (path, body) in [(INVITE, json!({ "region": "us" })), ("/nodes/3/drain", json!({ "region": "eu" }))] {
        let (status, told, ..) = node.post(path, "right", "a", body).await;
        assert!(status == 422 && told["detail"].as_str().unwrap().contains("another request"), "{told}");
    }
    assert_eq!(node.notes(), 1);
    for bad in ["", "\"", "\"\"", "a\"b", &"x".repeat(IDEMPOTENCY_KEY_MAX + 1), "ü"] {
        let (status, told, ..) = node.post(INVITE, "right", bad, json!({})).await;
        assert_eq!((status, &told["field"]), (400, &json!("Idempotency-Key")), "{bad}");
    }
}

#[actix_rt::test]
async fn what_was_refused_is_tried_again() {
    let node = Node::new();
    let bad = json!({ "ttl_secs": 0 });
    assert_eq!(node.post(INVITE, "right", "a", bad).await.0, 400);
    assert_eq!(node.post(INVITE, "right", "a", json!({})).await.0, 201);
    node.memory.members(|status| status.leader = None);
    assert_eq!(node.post(INVITE, "right", "b", json!({})).await.0, 503);
    node.memory.members(|status| status.leader = Some(chappe_proto::id::NodeId(1)));
    assert_eq!(node.post(INVITE, "right", "b", json!({})).await.0, 201);
}

#[actix_rt::test]
async fn nobody_is_told_anothers_answer_or_their_own_when_they_may_no_more() {
    let node = Node::new();
    node.post(INVITE, "right", "a", json!({})).await;
    let (status, told, again, _) = node.post(INVITE, "wrong", "a", json!({})).await;
    assert_eq!((status, again), (401, false), "{told}");
    let mut keys = Node::new().mount.keys;
    let keys = Arc::get_mut(&mut keys).unwrap();
    let name = |who: &str| (who.to_owned(), "a".to_owned());
    assert!(matches!(keys.begin(&name("ada"), Role::Owner, [1; 32], Instant::now()), Ok(Turn::First)));
    assert!(matches!(keys.begin(&name("bob"), Role::Owner, [1; 32], Instant::now()), Ok(Turn::First)));
}

fn told(secret: bool) -> Told {
    Told { status: StatusCode::CREATED, kind: None, secret, body: Bytes::from_static(b"hush") }
}

#[actix_rt::test]
async fn what_is_under_way_outlives_its_client() {
    let node = Node::new();
    let mut call = Box::pin(node.post(INVITE, "right", "a", json!({})));
    let pending = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending())).await;
    assert!(pending && node.notes() == 0);
    drop(call);
    while node.notes() == 0 {
        tokio::task::yield_now().await;
    }
    let (status, _, again, _) = node.post(INVITE, "right", "a", json!({})).await;
    assert_eq!((status, again, node.notes()), (201, true, 1));
}

#[actix_rt::test]
async fn what_is_under_way_is_waited_for() {
    let (keys, name, now) = (Keys::default(), ("ada".to_owned(), "a".to_owned()), Instant::now());
    assert!(matches!(keys.begin(&name, Role::Owner, [1; 32], now), Ok(Turn::First)));
    let refused = keys.begin(&name, Role::Owner, [1; 32], now + Duration::from_secs(90_000)).unwrap_err();
    assert!(matches!(&refused, Problem::Full(words) if words.contains("under way")), "{refused}");
    assert!(matches!(keys.begin(&name, Role::Owner, [2; 32], now), Err(Problem::Differs(_))));
    keys.end(&name, None, now);
    assert!(matches!(keys.begin(&name, Role::Owner, [2; 32], now), Ok(Turn::First)));
}

#[actix_rt::test]
async fn answers_are_forgotten_and_secret_ones_soon() {
    let (keys, now) = (Keys::default(), Instant::now());
    for (key, secret, kept) in [("a", false, IDEMPOTENCY_FOR), ("b", true, IDEMPOTENCY_SECRET_FOR)] {
        let name = ("ada".to_owned(), key.to_owned());
        keys.begin(&name, Role::Owner, [1; 32], now).unwrap();
        keys.end(&name, Some(told(secret)), now);
        let just = now + kept - Duration::from_secs(1);
        assert!(matches!(keys.begin(&name, Role::Owner, [1; 32], just), Ok(Turn::Again(_))), "{key}");
        assert!(matches!(keys.begin(&name, Role::Owner, [1; 32], now + kept), Ok(Turn::First)), "{key}");
    }
    let said = format!("{:?}", told(true));
    assert!(!said.contains("hush"), "{said}");
}

#[actix_rt::test]
async fn who_makes_many_forgets_their_own() {
    let (keys, now) = (Keys::default(), Instant::now());
    let put = |who: &str, n: usize| {
        let (name, at) = ((who.to_owned(), n.to_string()), now + Duration::from_millis(n as u64));
        keys.begin(&name, Role::Owner, [1; 32], at).unwrap();
        keys.end(&name, Some(told(false)), at);
    };
    let held = |who: &str, n: usize| keys.with(|keys| keys.contains_key(&(who.to_owned(), n.to_string())));
    put("bob", 0);
    for n in 0..=IDEMPOTENCY_KEYS_PER_OPERATOR {
        put("ada", n);
    }
    assert!(held("bob", 0) && !held("ada", 0) && held("ada", 1));
    assert_eq!(keys.with(|keys| keys.len()), IDEMPOTENCY_KEYS_PER_OPERATOR + 1);
}
