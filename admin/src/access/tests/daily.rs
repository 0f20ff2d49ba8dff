//! Daily work: coming in, going out, who may what, what is kept of it.

use std::time::Duration;

use chappe_proto::limits::{
    CONNECTION_TESTS_BURST, CONNECTION_TESTS_EVERY, LOGIN_FOR, LOGIN_IDLE, LOGIN_SEEN_EVERY,
};

use super::*;

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const DELETE: Method = Method::DELETE;

#[actix_rt::test]
async fn the_first_owner_comes_by_a_link_and_logs_in_again() {
    let console = Console::new();
    let link = console.link(json!({ "role": "owner" })).await;
    let shown =
        console.send(Browser::at("192.0.2.1").request(&GET, &format!("/links/{link}"), &Value::Null)).await;
    assert_eq!(
        (shown.status, &shown.body["does"], &shown.body["role"]),
        (200, &json!("new-operator"), &json!("owner"))
    );

    let mut ada = Browser::at("192.0.2.1");
    let path = format!("/links/{link}");
    for (body, field) in [
        (json!({ "password": PASSWORD }), "name"),
        (json!({ "name": "Ada", "password": PASSWORD }), "name"),
        (json!({ "name": "operator", "password": PASSWORD }), "name"),
        (json!({ "name": "ada", "password": "short" }), "password"),
        (json!({ "name": "ada" }), "body"),
    ] {
        let reply = console.browse(&mut ada, POST, &path, body).await;
        assert_eq!((reply.status, &reply.body["field"]), (400, &json!(field)), "{reply:?}");
    }
    let reply = console.browse(&mut ada, POST, &path, json!({ "name": "ada", "password": PASSWORD })).await;
    assert_eq!(
        (reply.status, &reply.body["role"]),
        (201, &json!("owner")),
        "the link is still good: {reply:?}"
    );
    assert_eq!(console.browse(&mut ada, GET, "/operators/links", Value::Null).await.body, json!([]));

    assert_eq!(console.browse(&mut ada, POST, "/logout", Value::Null).await.status, 204);
    assert_eq!(console.browse(&mut ada, GET, "/me", Value::Null).await.status, 401);
    let wrong = console.logs_in(&mut ada, "ada", "something else").await;
    let nobody = console.logs_in(&mut ada, "eve", PASSWORD).await;
    assert_eq!((wrong.status, wrong.detail()), (401, nobody.detail()), "the same words");
    assert_eq!(console.logs_in(&mut ada, "ada", PASSWORD).await.status, 200);
    let me = console.browse(&mut ada, GET, "/me", Value::Null).await.body;
    assert_eq!((&me["who"], &me["role"], &me["by"]), (&json!("ada"), &json!("owner"), &json!("login")));
    let said: Vec<_> = console
        .memory
        .with(|state| state.audit().map(|l| (l.note.who.clone(), l.note.what.clone())).collect());
    let said: Vec<_> = said.iter().map(|(who, what)| (who.as_str(), what.as_str())).collect();
    assert_eq!(
        said,
        [
            ("operator", "made a link for a new owner"),
            ("ada", "became owner by a one-time link"),
            ("ada", "logged in"),
            ("ada", "logged out"),
            ("ada", "logged in"),
        ]
    );
}

#[actix_rt::test]
async fn a_password_is_changed_and_forgotten() {
    let console = Console::new();
    let mut ada = console.joins("192.0.2.1", "ada", "viewer").await;
    let mut elsewhere = Browser::at("192.0.2.2");
    assert_eq!(console.logs_in(&mut elsewhere, "ada", PASSWORD).await.status, 200);
    let body = |old: &str, new: &str| json!({ "old": old, "new": new });
    for (old, new, field) in [("wrong", "another password", "old"), (PASSWORD, "short", "new")] {
        let reply = console.browse(&mut ada, PUT, "/me/password", body(old, new)).await;
        assert_eq!((reply.status, &reply.body["field"]), (400, &json!(field)), "{reply:?}");
    }
    let before = ada.clone();
    let reply = console.browse(&mut ada, PUT, "/me/password", body(PASSWORD, "another password")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(console.browse(&mut ada, GET, "/me", Value::Null).await.status, 200);
    for mut ended in [before, elsewhere] {
        assert_eq!(console.browse(&mut ended, GET, "/me", Value::Null).await.status, 401);
    }
    // Forgotten: by a link, which says whose it is.
    let reply = console.owner(POST, "/operators/ada/link", Value::Null).await;
    let path = format!("/links/{}", reply.body["token"].as_str().unwrap());
    let mut new = Browser::at("192.0.2.3");
    let other = console.browse(&mut new, POST, &path, json!({ "name": "eve", "password": PASSWORD })).await;
    assert_eq!((other.status, &other.body["field"]), (400, &json!("name")));
    assert_eq!(console.browse(&mut new, POST, &path, json!({ "password": PASSWORD })).await.status, 201);
    assert_eq!(console.browse(&mut ada, GET, "/me", Value::Null).await.status, 401, "the others end");
    assert_eq!(console.owner(POST, "/operators/eve/link", Value::Null).await.status, 404);
    let by_token = console.owner(PUT, "/me/password", body("x", "another password")).await;
    assert_eq!(by_token.status, 403);
}

#[actix_rt::test]
async fn owners_decide_who_may_and_the_last_one_stays() {
    let console = Console::new();
    let mut ada = console.joins("192.0.2.1", "ada", "owner").await;
    let mut bob = console.joins("192.0.2.2", "bob", "operator").await;
    let all = console.browse(&mut bob, GET, "/operators", Value::Null).await.body;
    assert_eq!(
        (&all[0]["name"], &all[1]["role"], &all[1]["logins"]),
        (&json!("ada"), &json!("operator"), &json!(1))
    );
    let refused = console.browse(&mut bob, PUT, "/operators/bob", json!({ "role": "owner" })).await;
    assert!(refused.status == 403 && refused.detail().contains("takes owner"), "{refused:?}");
    for body in [json!({ "role": "viewer" }), json!({ "disabled": true })] {
        let last = console.browse(&mut ada, PUT, "/operators/ada", body).await;
        assert!(last.status == 409 && last.detail().contains("add another first"), "{last:?}");
    }
    assert_eq!(console.browse(&mut ada, DELETE, "/operators/ada", Value::Null).await.status, 409);
    assert_eq!(
        console.browse(&mut ada, PUT, "/operators/bob", json!({ "disabled": true })).await.status,
        204
    );
    assert_eq!(console.browse(&mut bob, GET, "/me", Value::Null).await.status, 401);
    assert_eq!(console.logs_in(&mut bob, "bob", PASSWORD).await.status, 401, "as a wrong password");
    assert_eq!(console.browse(&mut ada, DELETE, "/operators/bob", Value::Null).await.status, 204);
    assert_eq!(console.browse(&mut ada, DELETE, "/operators/bob", Value::Null).await.status, 404);
    assert_eq!(console.browse(&mut ada, PUT, "/operators/B!", json!({})).await.status, 400);
    let line = console
        .memory
        .with(|state| {
            state.audit().find(|l| l.refused.is_none() && l.note.what.contains("disabled")).cloned()
        })
        .unwrap();
    assert!(line.before.unwrap().starts_with("operator, enabled"));
    assert!(line.after.unwrap().starts_with("operator, disabled"));
}

#[actix_rt::test]
async fn links_are_listed_withdrawn_and_expire() {
    let console = Console::new();
    let wish = json!({ "role": "viewer", "name": "carl", "ttl_secs": 60 });
    let (one, two) = (console.link(wish.clone()).await, console.link(wish).await);
    let open = console.owner(GET, "/operators/links", Value::Null).await.body;
    assert_eq!(open.as_array().unwrap().len(), 2);
    assert!(!open.to_string().contains(&one), "without what opens them");
    let id = console.memory.with(|state| state.access().links().map(|(id, _)| *id).collect::<Vec<_>>());
    assert_eq!(console.owner(DELETE, &format!("/operators/links/{}", id[0]), Value::Null).await.status, 204);
    assert_eq!(console.owner(DELETE, &format!("/operators/links/{}", id[0]), Value::Null).await.status, 404);
    console.memory.pass(Duration::from_secs(60));
    for link in [one, two] {
        let body = json!({ "password": PASSWORD });
        let reply =
            console.browse(&mut Browser::at("192.0.2.1"), POST, &format!("/links/{link}"), body).await;
        assert!(reply.status == 404 && reply.detail().contains("ask an owner"), "{reply:?}");
    }
    for (wish, field) in [
        (json!({ "role": "viewer", "ttl_secs": 604_801 }), "ttl_secs"),
        (json!({ "role": "viewer", "ttl_secs": 0 }), "ttl_secs"),
        (json!({ "role": "king" }), "body"),
        (json!({ "role": "viewer", "name": "A" }), "name"),
    ] {
        let reply = console.owner(POST, "/operators/links", wish).await;
        assert_eq!((reply.status, &reply.body["field"]), (400, &json!(field)), "{reply:?}");
    }
}

#[actix_rt::test]
async fn a_login_is_renewed_by_use_and_ends_in_any_case() {
    let console = Console::new();
    let mut ada = console.joins("192.0.2.1", "ada", "viewer").await;
    let begun = console.memory.time().unix;
    let step = LOGIN_IDLE / 2;
    assert!(step > LOGIN_SEEN_EVERY);
    while console.memory.time().unix.since(begun) + step < LOGIN_FOR {
        console.memory.pass(step);
        assert_eq!(console.browse(&mut ada, GET, "/me", Value::Null).await.status, 200);
        // What writes it down runs beside.
        actix_web::rt::task::yield_now().await;
    }
    console.memory.pass(step);
    assert_eq!(console.browse(&mut ada, GET, "/me", Value::Null).await.status, 401, "over in any case");
    assert_eq!(console.logs_in(&mut ada, "ada", PASSWORD).await.status, 200);
    // A page that is open comes back for its events by itself.
    for _ in 0..2 {
        console.memory.pass(step);
        let stream = ada.request(&GET, "/cluster/events/stream", &Value::Null);
        let events = stream.insert_header(("Accept", "text/event-stream"));
        let status = console.send(events).await.status;
        actix_web::rt::task::yield_now().await;
        assert!(matches!(status, 200 | 401), "{status}");
    }
    assert_eq!(console.browse(&mut ada, GET, "/me", Value::Null).await.status, 401, "unused");
}

#[actix_rt::test]
async fn logins_are_seen_and_ended_by_their_own_and_by_owners() {
    let console = Console::new();
    let mut ada = console.joins("192.0.2.1", "ada", "owner").await;
    let mut bob = console.joins("192.0.2.2", "bob", "viewer").await;
    let mut bob2 = Browser::at("192.0.2.3");
    console.logs_in(&mut bob2, "bob", PASSWORD).await;
    let own = console.browse(&mut bob, GET, "/logins", Value::Null).await.body;
    assert_eq!(own.as_array().unwrap().len(), 2);
    let of = |own: &Value, this: bool| {
        let mut all = own.as_array().unwrap().iter();
        all.find(|login| login["this"] == json!(this)).unwrap()["id"].as_str().unwrap().to_owned()
    };
    assert_eq!(console.browse(&mut bob, GET, "/logins?operator=*", Value::Null).await.status, 403);
    assert_eq!(console.browse(&mut bob, GET, "/logins?operator=ada", Value::Null).await.status, 403);
    let adas = of(&console.browse(&mut ada, GET, "/logins", Value::Null).await.body, true);
    assert_eq!(console.browse(&mut bob, DELETE, &format!("/logins/{adas}"), Value::Null).await.status, 404);
    assert_eq!(
        console.browse(&mut bob, DELETE, &format!("/logins/{}", of(&own, false)), Value::Null).await.status,
        204
    );
    assert_eq!(console.browse(&mut bob2, GET, "/me", Value::Null).await.status, 401);
    let all = console.browse(&mut ada, GET, "/logins?operator=*", Value::Null).await.body;
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!(console.browse(&mut ada, DELETE, "/operators/bob/logins", Value::Null).await.status, 204);
    assert_eq!(console.browse(&mut bob, GET, "/me", Value::Null).await.status, 401);
    assert_eq!(console.browse(&mut ada, DELETE, "/operators/eve/logins", Value::Null).await.status, 404);
}

#[actix_rt::test]
async fn access_tokens_are_made_shown_once_disabled_and_end() {
    let console = Console::new();
    let mut bob = console.joins("192.0.2.2", "bob", "operator").await;
    let wish = json!({ "label": "deploy", "role": "viewer", "ttl_secs": 60 });
    let made = console.browse(&mut bob, POST, "/access-tokens", wish.clone()).await;
    let (id, token) = (made.body["id"].as_str().unwrap(), made.body["token"].as_str().unwrap());
    assert!(token.starts_with("chappe_at_") && made.headers.get("cache-control").unwrap() == "no-store");
    let me = console.bearer(token, GET, "/me", Value::Null).await.body;
    assert_eq!((&me["who"], &me["role"]), (&json!("bob by token \"deploy\""), &json!("viewer")));
    assert_eq!(console.bearer(token, PUT, "/turn/peers", json!({})).await.status, 403);
    let more = console.bearer(token, POST, "/access-tokens", wish).await;
    assert!(more.status == 403 && more.detail().contains("makes no others"), "{more:?}");
    for (wish, field) in [
        (json!({ "label": "x", "role": "owner" }), "role"),
        (json!({ "label": " ", "role": "viewer" }), "label"),
        (json!({ "label": "a\nb", "role": "viewer" }), "label"),
        (json!({ "label": "x", "role": "viewer", "ttl_secs": 31_622_401 }), "ttl_secs"),
    ] {
        let reply = console.browse(&mut bob, POST, "/access-tokens", wish).await;
        assert_eq!((reply.status, &reply.body["field"]), (400, &json!(field)), "{reply:?}");
    }
    let shown = console.browse(&mut bob, GET, "/access-tokens", Value::Null).await;
    assert_eq!(shown.body[0]["label"], "deploy");
    assert!(!shown.text.contains(token));
    // Others neither see nor touch it, but for owners.
    let mut eve = console.joins("192.0.2.3", "eve", "operator").await;
    assert_eq!(console.browse(&mut eve, GET, "/access-tokens", Value::Null).await.body, json!([]));
    let path = format!("/access-tokens/{id}");
    assert_eq!(console.browse(&mut eve, DELETE, &path, Value::Null).await.status, 404);
    assert_eq!(console.owner(PUT, &path, json!({ "disabled": true })).await.status, 204);
    assert_eq!(console.bearer(token, GET, "/me", Value::Null).await.status, 401);
    assert_eq!(console.browse(&mut bob, PUT, &path, json!({ "disabled": false })).await.status, 204);
    assert_eq!(console.bearer(token, GET, "/me", Value::Null).await.status, 200);
    console.memory.pass(Duration::from_secs(60));
    assert_eq!(console.bearer(token, GET, "/me", Value::Null).await.status, 401, "expired");
    assert_eq!(console.browse(&mut bob, DELETE, &path, Value::Null).await.status, 204);
}

#[actix_rt::test]
async fn an_app_lists_its_own_rooms_and_no_others() {
    let console = Console::new();
    let (dev, shop) = (console.app("dev", 1), console.app("shop", 2));
    for (app, room) in [("dev", "tower"), ("shop", "till")] {
        let made = console.owner(POST, &format!("/apps/{app}/rooms"), json!({ "room": room })).await;
        assert_eq!(made.status, 201, "{made:?}");
    }
    let list = async |key: &str, query: &str| {
        let request =
            Browser::at("192.0.2.1").request(&GET, &format!("/apps/dev/rooms{query}"), &Value::Null);
        console.send(request.insert_header(("Authorization", key.to_owned()))).await
    };
    let own = list(&dev, "").await;
    assert!(own.status == 200 && own.text.contains("tower") && !own.text.contains("till"), "{own:?}");
    assert!(!list(&dev, "?q=till").await.text.contains("till"));
    assert_eq!(list(&dev, "?app=shop").await.status, 400);
    assert_eq!(list(&shop, "").await.status, 404);
}

#[actix_rt::test]
async fn an_access_token_ends_itself_alone() {
    let console = Console::new();
    let mut ada = console.joins("192.0.2.1", "ada", "owner").await;
    let mut made = Vec::new();
    for (label, role) in [("strong", "owner"), ("weak", "viewer")] {
        let wish = json!({ "label": label, "role": role });
        let token = console.browse(&mut ada, POST, "/access-tokens", wish).await.body;
        made.push([&token["id"], &token["token"]].map(|text| text.as_str().unwrap().to_owned()));
    }
    let ([strong, _], [weak, token]) = (&made[0], &made[1]);
    let path = |id: &str| format!("/access-tokens/{id}");
    assert_eq!(console.browse(&mut ada, PUT, &path(strong), json!({ "disabled": true })).await.status, 204);
    for (method, body) in [(PUT, json!({ "disabled": false })), (DELETE, Value::Null)] {
        assert_eq!(console.bearer(token, method, &path(strong), body).await.status, 404);
    }
    let seen = console.bearer(token, GET, "/access-tokens", Value::Null).await.body;
    assert_eq!((seen.as_array().unwrap().len(), &seen[0]["id"]), (1, &json!(weak)));
    let enabled = console.bearer(token, PUT, &path(weak), json!({ "disabled": false })).await;
    assert!(enabled.status == 403 && enabled.detail().contains("log in"), "{enabled:?}");
    let login = console.browse(&mut ada, GET, "/logins", Value::Null).await.body;
    let login = format!("/logins/{}", login[0]["id"].as_str().unwrap());
    assert_eq!(console.bearer(token, DELETE, &login, Value::Null).await.status, 404);
    assert_eq!(console.browse(&mut ada, GET, "/me", Value::Null).await.status, 200, "still in");
    assert_eq!(console.bearer(token, DELETE, &path(weak), Value::Null).await.status, 204);
    assert_eq!(console.bearer(token, GET, "/me", Value::Null).await.status, 401);
}

#[actix_rt::test]
async fn connection_tests_are_counted_and_not_for_viewers_tokens() {
    let console = Console::new();
    let secret = Secret(b"shared by all of the edges, secret".to_vec());
    console.memory.apply(Command::TurnSecretAdd { number: 1, secret }, None).unwrap();
    let mut bob = console.joins("192.0.2.2", "bob", "viewer").await;
    console.is("ada", Role::Operator);
    let begin = async |token: &str| console.bearer(token, POST, "/connection-test", Value::Null).await;
    let refused = begin(&console.token("bob", Role::Viewer)).await;
    assert!(refused.status == 403 && refused.detail().contains("log in"), "{refused:?}");
    assert_eq!(begin(&console.token("ada", Role::Operator)).await.status, 200);
    for n in 0..=CONNECTION_TESTS_BURST {
        let reply = console.browse(&mut bob, POST, "/connection-test", Value::Null).await;
        let wanted = if n < CONNECTION_TESTS_BURST { 200 } else { 429 };
        assert_eq!((reply.status, reply.headers.contains_key("retry-after")), (wanted, wanted == 429), "{n}");
    }
    assert_eq!(begin("right").await.status, 200, "others go on");
    console.memory.pass(CONNECTION_TESTS_EVERY);
    assert_eq!(console.browse(&mut bob, POST, "/connection-test", Value::Null).await.status, 200);
}

#[actix_rt::test]
async fn a_viewer_sees_no_key_in_a_webhooks_path() {
    let console = Console::new();
    let dev = console.app("dev", 1);
    let wish = json!({ "url": "https://hooks.example.org:8443/key-in-path?t=key" });
    let made = console.owner(POST, "/apps/dev/webhooks", wish).await;
    let one = format!("/apps/dev/webhooks/{}", made.body["id"].as_str().unwrap());
    let get = async |authorization: &str, path: &str| {
        let request = Browser::at("192.0.2.1").request(&GET, path, &Value::Null);
        console.send(request.insert_header(("Authorization", authorization.to_owned()))).await
    };
    for role in [Role::Viewer, Role::Operator] {
        let name = role.to_string() + "s";
        console.is(&name, role);
        let token = format!("Bearer {}", console.token(&name, role));
        for path in ["/apps/dev/webhooks", &one] {
            let shown = get(&token, path).await;
            assert!(shown.status == 200 && shown.text.contains("hooks.example.org:8443"), "{shown:?}");
            assert_eq!(shown.text.contains("key"), role >= Role::Operator, "{role} {shown:?}");
        }
    }
    assert!(get(&dev, &one).await.text.contains("key-in-path"), "it is the app's own");
}

#[actix_rt::test]
async fn the_audit_log_is_searched_paged_exported_and_verified() {
    let console = Console::new();
    console.is("ada", Role::Viewer);
    for n in 0..25 {
        let path = format!("/turn/realms/r/users/u{n}");
        assert_eq!(console.owner(PUT, &path, json!({ "password": "x" })).await.status, 204);
    }
    assert_eq!(console.owner(DELETE, "/turn/realms/r/users/none", Value::Null).await.status, 404);
    let viewer = console.token("ada", Role::Viewer);
    let get = async |query: &str| console.bearer(&viewer, GET, &format!("/audit{query}"), Value::Null).await;
    let mut seen = Vec::new();
    let mut query = "?limit=10".to_owned();
    loop {
        let page = get(&query).await.body;
        let lines = page["lines"].as_array().unwrap();
        seen.extend(lines.iter().map(|line| line["index"].as_u64().unwrap()));
        let Some(next) = page["next"].as_u64() else { break };
        assert_eq!(lines.len(), 10);
        query = format!("?limit=10&after={next}");
    }
    assert_eq!(seen.len(), 26);
    assert!(seen.is_sorted_by(|a, b| a > b), "newest first, each once");
    let lines = async |query: &str| get(query).await.body["lines"].as_array().unwrap().clone();
    assert_eq!(lines("?refused=true").await.len(), 1);
    assert_eq!(lines("?refused=true").await[0]["refused"], "no such TURN user");
    let one = lines("?text=%22U7%22").await;
    assert_eq!(
        (one.len(), &one[0]["before"], &one[0]["after"]),
        (1, &Value::Null, &json!("keys md5 sha256"))
    );
    assert_eq!(lines("?who=eve").await.len(), 0);
    assert_eq!(lines("?since=1000&until=1001").await.len(), 26);
    assert_eq!(lines("?since=1001").await.len() + lines("?until=1000").await.len(), 0);
    for bad in ["?limit=0", "?limit=1001", "?whom=x"] {
        assert_eq!(get(bad).await.status, 400, "{bad}");
    }
    // What is exported verifies by what its documentation says, and nothing else.
    let export = get("/export").await.text;
    let mut previous = "00".repeat(32);
    for line in export.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        assert_eq!(line["previous"], previous.as_str());
        let mut bytes = data_encoding::HEXLOWER.decode(previous.as_bytes()).unwrap();
        for field in ["index", "at", "who", "what", "from", "refused", "before", "after"] {
            match &line[field] {
                Value::Null => bytes.push(b'-'),
                Value::String(text) => bytes.extend(format!("{}:{text},", text.len()).bytes()),
                number => bytes.extend(format!("{}:{number},", number.to_string().len()).bytes()),
            }
        }
        use sha2::Digest;
        previous = data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(bytes));
        assert_eq!(line["hash"], previous.as_str());
    }
    let verified = get("/verify").await.body;
    assert_eq!(
        (&verified["intact"], &verified["lines"], &verified["ends"]),
        (&json!(true), &json!(26), &json!(previous))
    );
}
