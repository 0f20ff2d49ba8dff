use serde_json::json;

use super::*;
use crate::memory::ask;

async fn memory() -> Arc<Memory> {
    let memory = Arc::new(Memory::default());
    let post = async |path: &str, body| ask(&memory, Method::POST, path, body).await;
    assert_eq!(post("/turn/secret-rotations", json!({})).await.0, 201);
    assert_eq!(post("/apps", json!({ "app": "shop" })).await.0, 201);
    for (label, app) in [("a door <b>bell", None), ("the kiosk", Some("shop"))] {
        let wish = json!({ "label": label, "seconds": 3600, "app": app });
        assert_eq!(post("/turn/credentials", wish).await.0, 201);
    }
    memory
}

#[actix_rt::test]
async fn credentials_are_listed_filtered_and_never_told() {
    let memory = memory().await;
    let (_, page) = get(&memory, "/admin/turn").await;
    assert!(page.contains("a door &#60;b&#62;bell") && page.contains(">the kiosk</a>"), "{page}");
    assert_eq!(page.matches("<tr id=\"s_").count(), 2, "{page}");
    assert!(
        page.contains("those nearest to eu") && page.contains("POST /admin/api/v1/turn/credentials?qr=true")
    );
    for (query, rows) in [("?text=kiosk", 1), ("?app=shop", 1), ("?state=active", 2), ("?state=revoked", 0)] {
        let (_, page) = seen(&memory, &format!("/admin/turn{query}")).await;
        assert_eq!(page.matches("<tr id=\"s_").count(), rows, "{query}");
    }
    let (status, page) = seen(&memory, "/admin/turn?state=lost").await;
    assert!(status == StatusCode::OK && page.contains("notice bad") && page.contains("state"), "{page}");
    let looked = get_to_look(&memory, "/admin/turn").await;
    assert!(looked.contains("the kiosk") && !looked.contains("id=\"issue\""));
    let (_, none) = seen(&Arc::new(Memory::default()), "/admin/turn").await;
    assert!(none.contains("None was issued yet"));
}

#[actix_rt::test]
async fn many_credentials_are_shown_by_pages() {
    let memory = memory().await;
    for nth in 0..59 {
        let wish = json!({ "label": format!("number {nth}"), "seconds": 60 });
        assert_eq!(ask(&memory, Method::POST, "/turn/credentials", wish).await.0, 201);
    }
    let (_, page) = seen(&memory, "/admin/turn?text=number").await;
    let next = link_of(&page, "More").unwrap();
    assert!(next.starts_with("/admin/turn?text=number&after="), "{next}");
    let (_, rest) = seen(&memory, &next).await;
    let rows = |page: &str| page.matches("<tr id=\"s_").count();
    assert_eq!((rows(&page), rows(&rest), link_of(&rest, "More")), (50, 9, None));
}

#[actix_rt::test]
async fn one_credential_has_its_usage_and_is_revoked() {
    let memory = memory().await;
    let (_, all) = ask(&memory, Method::GET, "/turn/credentials?label=kiosk", json!(null)).await;
    let id = all["credentials"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/admin/turn/credentials/{id}");
    let (_, page) = get(&memory, &path).await;
    let revoke = format!("DELETE /admin/api/v1/turn/credentials/{id}");
    assert!(page.contains("Allocations now") && page.contains(&revoke), "{page}");
    assert!(page.contains(&format!("/admin/allocations?session={id}")));
    assert_eq!(get_to_look(&memory, &path).await.matches("the kiosk").count(), 2);
    assert_eq!(ask(&memory, Method::DELETE, &format!("/turn/credentials/{id}"), json!(null)).await.0, 204);
    let (_, page) = seen(&memory, &path).await;
    assert!(page.contains("<span class=\"badge bad\">revoked</span>") && !page.contains(&revoke), "{page}");
    let (status, _) = seen(&memory, "/admin/turn/credentials/s_x").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[actix_rt::test]
async fn secrets_say_who_relies_on_them() {
    let memory = memory().await;
    assert_eq!(ask(&memory, Method::POST, "/turn/secret-rotations", json!({})).await.0, 201);
    let (_, page) = get(&memory, "/admin/turn/secrets").await;
    assert_eq!(page.matches("<tr id=\"secret-").count(), 2, "{page}");
    assert_eq!(page.matches("?force=true").count(), 1, "the one that issues does not end: {page}");
    assert!(page.contains("2 issued credentials rely on secret"), "{page}");
    get_to_look(&memory, "/admin/turn/secrets").await;
    let (_, none) = seen(&Arc::new(Memory::default()), "/admin/turn/secrets").await;
    assert!(none.contains("No secret yet"));
}

#[actix_rt::test]
async fn users_are_found_by_name_and_realm() {
    let memory = memory().await;
    for (realm, name) in [("shop", "ada"), ("shop", "a%2Fb%20%3Ci%3E"), ("bank", "eve")] {
        let path = format!("/turn/realms/{realm}/users/{name}");
        assert_eq!(ask(&memory, Method::PUT, &path, json!({ "password": "x" })).await.0, 204);
    }
    let (_, page) = get(&memory, "/admin/turn/users").await;
    assert!(page.contains("a/b &#60;i&#62;") && page.contains("SHA-256"), "{page}");
    assert!(page.contains("DELETE /admin/api/v1/turn/realms/shop/users/a%2Fb%20%3Ci%3E\""), "{page}");
    let (_, found) = seen(&memory, "/admin/turn/users?text=BANK").await;
    assert!(found.contains(">eve</th>") && !found.contains(">ada</th>"), "{found}");
    get_to_look(&memory, "/admin/turn/users").await;
    let (_, none) = seen(&memory, "/admin/turn/users?text=nobody").await;
    assert!(none.contains("No such user"));
    let (_, bad) = seen(&memory, "/admin/turn/users?after=x").await;
    assert!(bad.contains("notice bad"), "{bad}");
}

#[actix_rt::test]
async fn a_credential_is_told_as_a_link_and_a_code_to_whom_asks() {
    let memory = memory().await;
    let wish = json!({ "label": "a phone", "seconds": 60 });
    let (_, plain) = ask(&memory, Method::POST, "/turn/credentials", wish.clone()).await;
    assert!(plain.get("link").is_none() && plain.get("qr").is_none(), "{plain}");
    let (_, told) = ask(&memory, Method::POST, "/turn/credentials?qr=true", wish).await;
    let link = told["link"].as_str().unwrap();
    assert!(link.starts_with("turn://") && link.ends_with("@eu:3478?transport=udp"), "{link}");
    assert!(told["qr"].as_str().unwrap().starts_with("<svg"));
    assert_eq!(told["ice_servers"].as_array().unwrap().len(), 2);
}

#[actix_rt::test]
async fn credentials_and_users_are_found_by_their_names() {
    let memory = memory().await;
    let path = "/turn/realms/shop/users/kiosk%20%26%20co";
    assert_eq!(ask(&memory, Method::PUT, path, json!({ "password": "x" })).await.0, 204);
    let (_, found) = seen(&memory, "/admin/search?q=KIOSK").await;
    assert_eq!(found.matches("<a ").count(), 2, "{found}");
    assert!(
        found.contains("/admin/turn/credentials/s_") && found.contains("text=kiosk%20%26%20co"),
        "{found}"
    );
    let (_, all) = seen(&memory, "/admin/search?q=").await;
    assert!(!all.contains("TURN user"), "{all}");
}
