//! What others try.

use std::task::Poll;

use chappe_proto::limits::{API_REQUEST_EVERY, API_REQUESTS_BURST, GUESSES_BURST};

use super::*;

const POST: Method = Method::POST;
const GET: Method = Method::GET;

#[actix_rt::test]
async fn guessing_keeps_no_known_browser_out() {
    let console = Console::new();
    let ada = console.joins("192.0.2.1", "ada", "owner").await;
    // From her own address, and without her browser's cookie.
    let mut eve = Browser::at("192.0.2.1");
    for n in 0..GUESSES_BURST + 2 {
        let reply = console.logs_in(&mut eve, "ada", "a guess").await;
        let wanted = if n < GUESSES_BURST { 401 } else { 429 };
        assert_eq!(reply.status, wanted, "{n} {reply:?}");
    }
    let right = console.logs_in(&mut eve, "ada", PASSWORD).await;
    assert_eq!(right.status, 429, "the right one is not told from others then");
    assert!(right.headers.contains_key("retry-after") && right.detail().contains("an owner"), "{right:?}");
    let nobody = console.logs_in(&mut Browser::at("192.0.2.1"), "nobody-there", "a guess").await;
    assert_eq!(nobody.status, 401, "other accounts are asked as before");
    let mut known = Browser { cookies: ada.cookies.clone(), ..Browser::at("192.0.2.1") };
    known.cookies.retain(|(name, _)| name.ends_with("device"));
    assert_eq!(known.cookies.len(), 1);
    assert_eq!(console.logs_in(&mut known, "ada", PASSWORD).await.status, 200);
    // And a link passes by all of it.
    let reply = console.owner(POST, "/operators/ada/link", Value::Null).await;
    let path = format!("/links/{}", reply.body["token"].as_str().unwrap());
    let reply =
        console.browse(&mut Browser::at("192.0.2.1"), POST, &path, json!({ "password": PASSWORD })).await;
    assert_eq!(reply.status, 201);
}

#[actix_rt::test]
async fn which_accounts_there_are_is_told_to_nobody() {
    let console = Console::new();
    for (ip, name) in [("192.0.2.1", "ada"), ("192.0.2.2", "bob")] {
        console.joins(ip, name, "viewer").await;
    }
    let reply = console.owner(Method::PUT, "/operators/bob", json!({ "disabled": true })).await;
    assert_eq!(reply.status, 204, "{reply:?}");
    let mut answers = Vec::new();
    for (n, name) in ["ada", "bob", "nobody-there", "", "no\nname"].into_iter().enumerate() {
        let mut eve = Browser::at(&format!("198.51.100.{n}"));
        let reply = console.logs_in(&mut eve, name, "a guess").await;
        answers.push((reply.status, reply.text, eve.cookies));
    }
    assert_eq!(answers[0].0, 401, "{answers:?}");
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[actix_rt::test]
async fn another_sites_page_cannot_act_by_the_cookie() {
    let console = Console::new();
    let ada = console.joins("192.0.2.1", "ada", "owner").await;
    let path = "/nodes/2/drain";
    let request = |browser: &Browser| browser.request(&POST, path, &Value::Null);
    let bare = Browser { csrf: String::new(), ..ada.clone() };
    let reply = console.send(request(&bare)).await;
    assert!(reply.status == 403 && reply.detail().contains("Chappe-Csrf"), "{reply:?}");
    let wrong = Browser { csrf: console.joins("192.0.2.2", "eve", "owner").await.csrf, ..ada.clone() };
    assert_eq!(console.send(request(&wrong)).await.status, 403, "another login's");
    let foreign = [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Origin", "https://node.example.evil.example"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ];
    for header in foreign {
        let reply = console.send(request(&ada).insert_header(header)).await;
        assert!(reply.status == 403 && reply.detail().contains("another origin"), "{header:?} {reply:?}");
        let login = ada.request(&POST, "/login", &json!({ "name": "ada", "password": PASSWORD }));
        assert_eq!(console.send(login.insert_header(header)).await.status, 403, "{header:?}");
    }
    assert!(!console.memory.members(|status| status.members[1].draining));
    for header in [("Origin", "https://node.example"), ("Sec-Fetch-Site", "same-origin")] {
        assert_eq!(console.send(request(&ada).insert_header(header)).await.status, 204, "{header:?}");
    }
    // A token is no cookie: no other site's page has it.
    let reply = console.bearer("right", POST, path, Value::Null).await;
    assert_eq!(reply.status, 204);
    // And what shows one is never taken by its cookie instead.
    let both = ada.request(&GET, "/me", &Value::Null).insert_header(("Authorization", "Bearer wrong"));
    assert_eq!(console.send(both).await.status, 401);
}

#[actix_rt::test]
async fn a_cookie_from_before_the_login_is_worth_nothing_after() {
    let console = Console::new();
    let mut ada = console.joins("192.0.2.1", "ada", "owner").await;
    let before = ada.clone();
    assert_eq!(console.logs_in(&mut ada, "ada", PASSWORD).await.status, 200);
    let of = |browser: &Browser| browser.cookies.iter().find(|(name, _)| name == "__Host-chappe").cloned();
    assert_ne!(of(&before), of(&ada));
    assert_eq!(console.send(before.request(&GET, "/me", &Value::Null)).await.status, 401);
    assert_eq!(console.send(ada.request(&GET, "/me", &Value::Null)).await.status, 200);
    // One that somebody planted is not taken over.
    let planted = ("__Host-chappe".to_owned(), Bearer::draw().unwrap().text());
    let mut bob = Browser { cookies: vec![planted.clone()], ..Browser::at("192.0.2.1") };
    assert_eq!(console.logs_in(&mut bob, "ada", PASSWORD).await.status, 200);
    assert_ne!(of(&bob), Some(planted));
}

#[actix_rt::test]
async fn a_password_that_is_changed_while_it_is_verified_logs_nobody_in() {
    let console = Console::new();
    console.joins("192.0.2.1", "ada", "owner").await;
    let (mut eve, name) = (Browser::at("192.0.2.2"), OperatorName::new("ada").unwrap());
    let mut login = Box::pin(console.logs_in(&mut eve, "ada", PASSWORD));
    let waits = std::future::poll_fn(|cx| Poll::Ready(login.as_mut().poll(cx).is_pending())).await;
    assert!(waits, "it is being verified");
    let since = console.memory.with(|state| state.access().operator(&name).unwrap().changed);
    let password = Secret(b"$argon2id$another".to_vec());
    let change = AccessChange::OperatorPassword { name, password, since };
    console.memory.apply(Command::Access(change), None).unwrap();
    let reply = login.await;
    assert_eq!((reply.status, reply.cookies().len()), (409, 0), "{reply:?}");
    assert_eq!(console.browse(&mut eve, GET, "/me", Value::Null).await.status, 401);
}

#[actix_rt::test]
async fn a_stolen_link_works_once() {
    let console = Console::new();
    let link = console.link(json!({ "role": "owner" })).await;
    let path = format!("/links/{link}");
    let body = |name: &str| json!({ "name": name, "password": PASSWORD });
    let first = console.browse(&mut Browser::at("192.0.2.1"), POST, &path, body("ada")).await;
    assert_eq!(first.status, 201);
    let second = console.browse(&mut Browser::at("192.0.2.2"), POST, &path, body("eve")).await;
    assert_eq!(second.status, 404, "{second:?}");
    // Nor one of the same id and another secret.
    let link = console.link(json!({ "role": "owner" })).await;
    let mut forged = Bearer::read(&link).unwrap();
    forged.secret[0] ^= 1;
    let path = format!("/links/{}", forged.text());
    assert_eq!(console.browse(&mut Browser::at("192.0.2.2"), POST, &path, body("eve")).await.status, 404);
    assert_eq!(console.memory.with(|state| state.access().operators().count()), 1);
}

#[actix_rt::test]
async fn passwords_are_not_taken_over_plain_http_from_elsewhere() {
    let mut console = Console::new();
    let plain =
        |request: &actix_web::HttpRequest| Asker { ip: request.peer_addr().unwrap().ip(), secure: false };
    console.mount = console.mount.clone().asked_by(plain);
    let link = console.link(json!({ "role": "owner" })).await;
    let body = json!({ "name": "ada", "password": PASSWORD });
    let path = format!("/links/{link}");
    for path in [path.as_str(), "/login"] {
        let reply = console.browse(&mut Browser::at("192.0.2.1"), POST, path, body.clone()).await;
        assert!(reply.status == 403 && reply.detail().contains("HTTPS"), "{reply:?}");
    }
    let here = console.browse(&mut Browser::at("127.0.0.1"), POST, &path, body).await;
    assert_eq!(here.status, 201, "this machine's own browser: {here:?}");
}

#[actix_rt::test]
async fn no_secret_is_shown_or_kept_where_it_can_be_read() {
    let console = Console::new();
    let mut ada = console.joins("192.0.2.1", "ada", "owner").await;
    let wish = json!({ "label": "ci", "role": "viewer" });
    let made = console.browse(&mut ada, POST, "/access-tokens", wish).await;
    let token = made.body["token"].as_str().unwrap().to_owned();
    let link = console.link(json!({ "role": "viewer" })).await;
    let mut texts = vec![console.memory.with(|state| format!("{:?}", state.access()))];
    for path in
        ["/operators", "/operators/links", "/logins?operator=*", "/access-tokens", "/audit", "/audit/export"]
    {
        texts.push(console.browse(&mut ada, GET, path, Value::Null).await.text);
    }
    for text in texts {
        for secret in
            [PASSWORD, "argon2id", &token["chappe_at_".len()..], &link, &ada.cookies[0].1, &ada.csrf]
        {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[actix_rt::test]
async fn a_program_that_runs_wild_is_slowed_down_and_nobody_else() {
    let console = Console::new();
    let [bank, shop] = [console.app("bank", 1), console.app("shop", 2)];
    console.is("ada", Role::Owner);
    let token = format!("Bearer {}", console.token("ada", Role::Viewer));
    let app = test::init_service(WebApp::new().configure(|config| console.mount.configure(config))).await;
    let ask = async |who: &str, path: &str| {
        let request = Browser::at("192.0.2.1").request(&GET, path, &Value::Null);
        let request = request.insert_header(("Authorization", who.to_owned())).to_request();
        let answer = test::call_service(&app, request).await;
        (answer.status().as_u16(), answer.headers().get("retry-after").cloned())
    };
    for (who, path) in [(&bank, "/apps/bank/rooms"), (&token, "/nodes")] {
        for n in 0..API_REQUESTS_BURST {
            assert_eq!(ask(who, path).await.0, 200, "{n}");
        }
        let (status, after) = ask(who, path).await;
        assert_eq!((status, after.unwrap().to_str().unwrap()), (429, "1"));
    }
    assert_eq!(ask(&shop, "/apps/shop/rooms").await.0, 200, "another app's");
    let other = format!("Bearer {}", console.token("ada", Role::Viewer));
    assert_eq!(ask(&other, "/nodes").await.0, 200, "another token of the same operator");
    for _ in 0..=API_REQUESTS_BURST {
        assert_eq!(ask("Bearer right", "/me").await.0, 200);
    }
    console.memory.pass(API_REQUEST_EVERY);
    assert_eq!(ask(&bank, "/apps/bank/rooms").await.0, 200);
    assert_eq!(ask(&bank, "/apps/bank/rooms").await.0, 429);
    // Operators' browsers are as quick as they like.
    let ada = console.joins("192.0.2.1", "eve", "owner").await;
    for _ in 0..=API_REQUESTS_BURST {
        let answer = test::call_service(&app, ada.request(&GET, "/me", &Value::Null).to_request()).await;
        assert_eq!(answer.status().as_u16(), 200);
    }
}

#[actix_rt::test]
async fn an_apps_server_is_told_its_own_keys_and_no_operators_by_name() {
    let console = Console::new();
    let dev = console.app("dev", 1);
    let mut ada = console.joins("192.0.2.1", "ada", "owner").await;
    let by_key = async |method: Method, path: &str, body: Value| {
        let request = Browser::at("192.0.2.1").request(&method, path, &body);
        console.send(request.insert_header(("Authorization", dev.clone()))).await.body
    };
    assert_eq!(
        console.browse(&mut ada, POST, "/apps/dev/rooms", json!({ "room": "hers" })).await.status,
        201
    );
    let path = "/apps/dev/rooms/hers";
    assert_eq!(console.browse(&mut ada, GET, path, Value::Null).await.body["by"], json!("ada"));
    for (method, body) in [(GET, Value::Null), (Method::PATCH, json!({ "locked": true }))] {
        assert_eq!(by_key(method, path, body).await["by"], json!("an operator"));
    }
    let made = by_key(POST, "/apps/dev/rooms", json!({ "room": "own" })).await;
    assert!(made["by"].as_str().unwrap().starts_with("key k_"), "{made}");

    let secret = Secret(b"shared by all of the edges, secret".to_vec());
    console.memory.apply(Command::TurnSecretAdd { number: 1, secret }, None).unwrap();
    let path = "/apps/dev/turn/credentials";
    let issued = console.browse(&mut ada, POST, path, json!({ "label": "tv", "seconds": 600 })).await;
    assert_eq!(issued.status, 201, "{issued:?}");
    let all = by_key(GET, path, Value::Null).await;
    assert_eq!(all["credentials"][0]["by"], json!("an operator"), "{all}");
    let one = by_key(GET, &format!("{path}/{}", issued.body["id"].as_str().unwrap()), Value::Null).await;
    assert_eq!(one["by"], json!("an operator"), "{one}");
}
