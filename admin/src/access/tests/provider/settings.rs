//! How a provider is set up.

use super::*;

type Change = fn(&mut idp::Told);

#[actix_rt::test]
async fn what_is_set_is_shown_without_the_secret() {
    let (console, _idp) = with_provider(json!({})).await;
    let shown = console.owner(GET, "/identity-provider", Value::Null).await;
    for (field, value) in [
        ("issuer", json!(ISSUER)),
        ("console_url", json!("https://chappe.example")),
        ("redirect_uri", json!("https://chappe.example/admin/login/callback")),
        ("scopes", json!(["profile", "email"])),
        ("roles_claim", json!("groups")),
        ("roles", json!({ "owner": ["/admins"], "operator": ["/ops"], "viewer": ["/staff"] })),
        ("everybody", Value::Null),
    ] {
        assert_eq!(shown.body[field], value, "{field}");
    }
    // It is kept of the same provider and client, and of no other.
    let mut change = settings();
    change.as_object_mut().unwrap().remove("client_secret");
    change["label"] = json!("Other");
    assert_eq!(console.owner(PUT, "/identity-provider", change.clone()).await.status, 200);
    change["issuer"] = json!("https://evil.example");
    let reply = console.owner(PUT, "/identity-provider", change).await;
    assert_eq!((reply.status, &reply.body["field"]), (400, &json!("client_secret")));
    for path in ["/identity-provider", "/audit", "/audit/export", "/operators"] {
        let reply = console.owner(GET, path, Value::Null).await;
        assert!(reply.status == 200 && !reply.text.contains(SECRET), "{path} {}", reply.text);
    }
    let page = Browser::at("192.0.2.9").request(&GET, "", &Value::Null).uri("/admin/settings");
    let page = console.send(page.insert_header(("Authorization", "Bearer right"))).await;
    assert!(page.text.contains("https://chappe.example/admin/login/callback") && !page.text.contains(SECRET));
    let note =
        console.memory.audit().lines.into_iter().find(|line| line.note.what.contains("set the identity"));
    assert!(note.unwrap().after.unwrap().contains("client \"chappe\""));
    assert_eq!(console.owner(Method::DELETE, "/identity-provider", Value::Null).await.status, 204);
    for method in [GET, Method::DELETE] {
        assert_eq!(console.owner(method, "/identity-provider", Value::Null).await.status, 404);
    }
    let gone = console.page(&mut Browser::at("192.0.2.1"), "chappe.example", "/admin/login/provider").await;
    assert!(gone.status == 404 && gone.text.contains("by name and password"), "{gone:?}");
}

#[actix_rt::test]
async fn what_cannot_be_is_refused_by_its_field() {
    let console = Console::new();
    for (field, value) in [
        ("issuer", json!("http://id.example")),
        ("issuer", json!("id.example")),
        ("client_id", json!("")),
        ("client_secret", json!("")),
        ("console_url", json!("https://chappe.example/admin")),
        ("label", json!("")),
        ("scopes", json!(["a b"])),
        ("roles_claim", json!("")),
        ("roles", json!({})),
        ("email_domain", json!("a b")),
    ] {
        let mut wish = settings();
        wish[field] = value;
        let reply = console.owner(PUT, "/identity-provider", wish).await;
        assert_eq!((reply.status, &reply.body["field"]), (400, &json!(field)), "{reply:?}");
    }
    assert_eq!(console.owner(GET, "/identity-provider", Value::Null).await.status, 404);
}

#[actix_rt::test]
async fn a_test_says_what_is_wrong() {
    let (console, idp) = with_provider(json!({ "everybody": "viewer" })).await;
    let ask = async |body: Value| console.owner(POST, "/identity-provider/test", body).await.body;
    idp.told.lock().unwrap().token = (400, json!({ "error": "invalid_grant" }));
    let fine = ask(Value::Null).await;
    assert_eq!(fine["fine"], true, "{fine}");
    let says = fine["says"].as_str().unwrap();
    assert!(says.contains("takes the secret") && says.contains("Whoever has an account"), "{says}");
    let told = |change: Change| change(&mut idp.told.lock().unwrap());
    told(|told| told.metadata["scopes_supported"] = json!(["openid", "email"]));
    assert!(ask(Value::Null).await["says"].as_str().unwrap().contains("the scope \"profile\""));
    let changes: [(Change, &str); 6] = [
        (|told| told.token = (401, json!({ "error": "invalid_client" })), "compare both"),
        (|told| told.keys = json!({ "keys": [{ "kty": "oct", "k": "AA" }] }), "no key that is taken here"),
        (|told| told.keys = json!("x"), "no key that is taken here"),
        (|told| told.metadata["jwks_uri"] = json!("http://127.0.0.1/keys"), "is not https://"),
        (|told| told.metadata["issuer"] = json!("https://other.example"), "calls itself"),
        (|told| told.metadata = json!({}), "is no OpenID provider"),
    ];
    for (change, words) in changes {
        told(change);
        let said = ask(Value::Null).await;
        assert!(said["fine"] == false && said["says"].as_str().unwrap().contains(words), "{words}: {said}");
    }
    // Another one, before it is set: the secret that is kept is not shown to it.
    let mut other = settings();
    other["issuer"] = json!("https://evil.example");
    other.as_object_mut().unwrap().remove("client_secret");
    drop(console.memory.asked());
    assert!(ask(other).await["says"].as_str().unwrap().contains("nobody is at"));
    assert!(console.memory.asked().iter().all(|request| request.form.is_none()));
    let last = console.memory.with(|state| state.audit().next_back().map(|line| line.note.what.clone()));
    assert_eq!(last.as_deref(), Some("tested the identity provider https://evil.example"));
}
