//! Logins by an OpenID provider.

mod denied;
mod idp;
mod settings;

use std::collections::BTreeMap;

use chappe_proto::limits::PROVIDER_ENTRY_FOR;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use idp::{ISSUER, Idp, SECRET};
use sha2::{Digest, Sha256};

use super::*;
use crate::Operators as _;

const GET: Method = Method::GET;
const PUT: Method = Method::PUT;
const POST: Method = Method::POST;

fn settings() -> Value {
    json!({
        "issuer": ISSUER, "client_id": "chappe", "client_secret": SECRET, "label": "Example",
        "console_url": "https://chappe.example/", "scopes": ["openid", "profile", "email"],
        "roles": { "owner": ["/admins"], "operator": ["/ops"], "viewer": ["/staff"] },
    })
}

/// A console with a provider, and another owner.
async fn with_provider(change: Value) -> (Console, Idp) {
    let console = Console::new();
    let idp = Idp::new(&console.memory);
    console.is("root", Role::Owner);
    let mut settings = settings();
    settings.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let reply = console.owner(PUT, "/identity-provider", settings).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    (console, idp)
}

/// What follows the `?`, by name.
fn asked(url: &str) -> BTreeMap<String, String> {
    let query = url.split_once('?').unwrap().1;
    actix_web::web::Query::<BTreeMap<String, String>>::from_query(query).unwrap().into_inner()
}

impl Console {
    /// A page of the console, as a browser opens it.
    async fn page(&self, browser: &mut Browser, host: &str, path: &str) -> Reply {
        let ip: SocketAddr = format!("{}:5000", browser.ip).parse().unwrap();
        let request = TestRequest::with_uri(path)
            .peer_addr(ip)
            .insert_header(("Host", host))
            .insert_header(("Cookie", browser.header()));
        let reply = self.send(request).await;
        browser.takes(&reply);
        browser.cookies.retain(|(_, value)| !value.is_empty());
        reply
    }

    /// Somebody goes to the provider: what it is asked.
    async fn leaves(&self, browser: &mut Browser) -> BTreeMap<String, String> {
        let reply = self.page(browser, "chappe.example", "/admin/login/provider?to=/admin/nodes").await;
        assert_eq!(reply.status, 303, "{reply:?}");
        asked(reply.headers.get("location").unwrap().to_str().unwrap())
    }

    async fn returns(&self, browser: &mut Browser, query: &str) -> Reply {
        self.page(browser, "chappe.example", &format!("/admin/login/callback?{query}")).await
    }

    /// The whole way, by a token that a test makes of the usual claims.
    async fn comes(
        &self,
        idp: &Idp,
        browser: &mut Browser,
        header: Value,
        change: impl FnOnce(&mut Value),
    ) -> Reply {
        let sent = self.leaves(browser).await;
        let mut claims = Idp::claims(&sent["nonce"], self.memory.time().unix);
        change(&mut claims);
        idp.gives(&idp.signed(&header, &claims));
        self.returns(browser, &format!("code=c0de&state={}&iss={}", sent["state"], encode(ISSUER))).await
    }

    fn role(&self, name: &str) -> Option<Role> {
        let access = self.memory.access();
        access.operator(&OperatorName::new(name).unwrap()).map(|held| held.role)
    }
}

fn encode(text: &str) -> String {
    text.replace(':', "%3A").replace('/', "%2F")
}

fn es256() -> Value {
    json!({ "alg": "ES256", "kid": "ec" })
}

#[actix_rt::test]
async fn somebody_logs_in_by_the_provider() {
    let (console, idp) = with_provider(json!({})).await;
    let mut ada = Browser::at("192.0.2.1");
    let login = console.page(&mut ada, "chappe.example", "/admin/login?to=/admin/nodes").await;
    assert!(login.text.contains("/admin/login/provider?to=%2Fadmin%2Fnodes"), "{}", login.text);
    assert!(login.text.contains("Log in with Example"));
    let sent = console.leaves(&mut ada).await;
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "chappe"),
        ("redirect_uri", "https://chappe.example/admin/login/callback"),
        ("scope", "openid profile email"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(sent[name], value);
    }
    idp.gives(&idp.signed(&es256(), &Idp::claims(&sent["nonce"], console.memory.time().unix)));
    drop(console.memory.asked());
    let back = format!("code=c0%20de&state={}&iss={}", sent["state"], encode(ISSUER));
    let reply = console.returns(&mut ada, &back).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(reply.text.contains("content=\"0;url=/admin/nodes\""), "{}", reply.text);
    // One request for the token, by the secret and the verifier of this login.
    let requests = console.memory.asked();
    let form = requests[0].form.as_ref().unwrap();
    let fields = asked(&format!("?{}", String::from_utf8(form.body.0.clone()).unwrap()));
    assert_eq!((fields["grant_type"].as_str(), fields["code"].as_str()), ("authorization_code", "c0 de"));
    let challenge = BASE64URL_NOPAD.encode(&Sha256::digest(fields["code_verifier"].as_bytes()));
    assert_eq!(challenge, sent["code_challenge"]);
    let basic = BASE64.decode(&form.basic.as_ref().unwrap().0).unwrap();
    assert_eq!(basic, b"chappe:s3cret%20of%20chappe");
    assert!(!fields.contains_key("client_secret"));
    // The cookies: the login's stays within the site; what came along from the provider is gone.
    let set: Vec<_> = reply.headers.get_all("set-cookie").map(|line| line.to_str().unwrap()).collect();
    assert!(set[0].starts_with("__Host-chappe=") && set[0].contains("SameSite=Strict"), "{set:?}");
    assert!(set[1].starts_with("__Host-chappe-entry=; ") && set[1].contains("Max-Age=0"), "{set:?}");
    let me = console.browse(&mut ada, GET, "/me", Value::Null).await;
    assert_eq!((me.body["operator"].as_str(), me.body["role"].as_str()), (Some("ada"), Some("owner")));
    let logins = console.browse(&mut ada, GET, "/logins", Value::Null).await;
    assert_eq!(logins.body[0]["by"], "provider");
    let operators = console.browse(&mut ada, GET, "/operators", Value::Null).await;
    assert_eq!((&operators.body[0]["name"], &operators.body[0]["provider"]), (&json!("ada"), &json!(ISSUER)));
    let line = console.memory.audit().lines.pop().unwrap();
    assert_eq!((line.note.who.as_str(), line.note.what.as_str()), ("ada", "became owner by Example"));
}

#[actix_rt::test]
async fn keys_of_either_kind_sign_and_are_kept_for_a_while() {
    let (console, idp) = with_provider(json!({})).await;
    let mut ada = Browser::at("192.0.2.1");
    let rs256 = json!({ "alg": "RS256", "kid": "rsa" });
    for (n, header) in [rs256, es256(), json!({ "alg": "ES256" })].into_iter().enumerate() {
        let reply = console.comes(&idp, &mut ada, header, |_| {}).await;
        assert_eq!(reply.status, 200, "{n} {reply:?}");
        let gets = console.memory.asked().iter().filter(|request| request.form.is_none()).count();
        assert_eq!(gets, if n == 0 { 2 } else { 0 }, "its word and its keys are asked for once");
        console.memory.pass(std::time::Duration::from_secs(60));
    }
    // A key that is not known, which it may have made since: asked for again, and not again at once.
    for gets in [1, 0] {
        let reply = console.comes(&idp, &mut ada, json!({ "alg": "ES256", "kid": "new" }), |_| {}).await;
        assert!(reply.status == 502 && reply.text.contains("its key is not one"), "{reply:?}");
        let asked = console.memory.asked();
        assert_eq!(asked.iter().filter(|request| request.url.ends_with("/certs")).count(), gets);
    }
    let mut keys = idp.told.lock().unwrap().keys.clone();
    keys["keys"][1]["kid"] = json!("new");
    idp.told.lock().unwrap().keys = keys;
    console.memory.pass(std::time::Duration::from_secs(31));
    let reply = console.comes(&idp, &mut ada, json!({ "alg": "ES256", "kid": "new" }), |_| {}).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[actix_rt::test]
async fn a_role_is_judged_anew_at_each_login() {
    let (console, idp) = with_provider(json!({})).await;
    let (mut first, mut second) = (Browser::at("192.0.2.1"), Browser::at("192.0.2.2"));
    assert_eq!(console.comes(&idp, &mut first, es256(), |_| {}).await.status, 200);
    assert_eq!(console.role("ada"), Some(Role::Owner));
    let demoted = |claims: &mut Value| {
        // Another name there is the same operator here.
        claims["preferred_username"] = json!("lovelace");
        claims["groups"] = json!(["/staff", "/other"]);
    };
    assert_eq!(console.comes(&idp, &mut second, es256(), demoted).await.status, 200);
    assert_eq!((console.role("ada"), console.role("lovelace")), (Some(Role::Viewer), None));
    assert_eq!(console.browse(&mut first, GET, "/me", Value::Null).await.status, 401, "its login has ended");
    let line = console.memory.audit().lines.pop().unwrap();
    assert_eq!(line.before.unwrap(), format!("owner, enabled, by {ISSUER}"));
    assert_eq!(line.after.unwrap(), format!("viewer, enabled, by {ISSUER}"));
    // And who has none any more is out everywhere.
    let token = console.token("ada", Role::Viewer);
    assert_eq!(console.bearer(&token, GET, "/me", Value::Null).await.status, 200);
    let nothing = |claims: &mut Value| claims["groups"] = json!([]);
    let reply = console.comes(&idp, &mut first, es256(), nothing).await;
    assert!(reply.status == 403 && reply.text.contains("gives you no role here"), "{reply:?}");
    assert_eq!(console.browse(&mut second, GET, "/me", Value::Null).await.status, 401);
    assert_eq!(console.bearer(&token, GET, "/me", Value::Null).await.status, 401);
}

#[actix_rt::test]
async fn nobody_gets_the_name_of_somebody_else() {
    let (console, idp) = with_provider(json!({ "everybody": "viewer" })).await;
    console.is("ada", Role::Owner);
    let mut browser = Browser::at("192.0.2.1");
    assert_eq!(console.comes(&idp, &mut browser, es256(), |_| {}).await.status, 200);
    assert_eq!((console.role("ada"), console.role("ada-2")), (Some(Role::Owner), Some(Role::Owner)));
    let operators = console.memory.access();
    let held = operators.operator(&OperatorName::new("ada").unwrap()).unwrap();
    assert!(held.external.is_none() && held.password.is_some());
    for (n, (claims, name)) in [
        (json!({ "preferred_username": "operator" }), "operator-2"),
        (json!({ "preferred_username": "", "email": "Zoë@Example.org" }), "zo-@example.org"),
        (json!({ "preferred_username": null, "email": null }), "v-2"),
    ]
    .into_iter()
    .enumerate()
    {
        let change = |all: &mut Value| {
            all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
            all["sub"] = json!(format!("v-{n}"));
            all["groups"] = json!("none");
        };
        assert_eq!(console.comes(&idp, &mut browser, es256(), change).await.status, 200);
        assert_eq!(console.role(name), Some(Role::Viewer), "{name}");
    }
}

#[actix_rt::test]
async fn a_login_begins_where_the_provider_sends_people_back_to() {
    let (console, _idp) = with_provider(json!({})).await;
    let mut ada = Browser::at("192.0.2.1");
    let reply = console.page(&mut ada, "node2.example:8443", "/admin/login/provider?to=/admin/nodes").await;
    let there = "https://chappe.example/admin/login/provider?moved=true&to=%2Fadmin%2Fnodes";
    assert_eq!((reply.status, reply.headers.get("location").unwrap().to_str().unwrap()), (303, there));
    assert!(ada.cookies.is_empty());
    // Once: behind a proxy that names another host it goes on.
    let path = there.strip_prefix("https://chappe.example").unwrap();
    let reply = console.page(&mut ada, "node2.example:8443", path).await;
    assert!(reply.headers.get("location").unwrap().to_str().unwrap().starts_with(ISSUER), "{reply:?}");
    assert_eq!(ada.cookies.len(), 1);
}

#[actix_rt::test]
async fn nobody_is_led_elsewhere() {
    let (console, idp) = with_provider(json!({})).await;
    for to in ["https://evil.example", "//evil.example", "/admin%5Cevil", "/elsewhere"] {
        let mut ada = Browser::at("192.0.2.1");
        let path = format!("/admin/login/provider?to={to}");
        let reply = console.page(&mut ada, "chappe.example", &path).await;
        let sent = asked(reply.headers.get("location").unwrap().to_str().unwrap());
        idp.gives(&idp.signed(&es256(), &Idp::claims(&sent["nonce"], console.memory.time().unix)));
        let back = format!("code=c&state={}&iss={}", sent["state"], encode(ISSUER));
        let reply = console.returns(&mut ada, &back).await;
        assert!(reply.text.contains("content=\"0;url=/admin\""), "{to} {reply:?}");
    }
}
