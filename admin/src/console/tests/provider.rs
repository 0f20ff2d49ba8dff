//! The identity provider, in Settings and before logging in.

use std::sync::Arc;

use actix_web::http::{Method, StatusCode};
use serde_json::json;

use super::{get, get_as};
use crate::memory::{Memory, ask};

#[actix_rt::test]
async fn owners_set_a_provider_up_and_everybody_has_its_button() {
    let memory = Arc::new(Memory::default());
    let (_, page) = get(&memory, "/admin/settings").await;
    assert!(page.contains("<h2 id=\"provider\">") && page.contains("value=\"groups\""), "{page}");
    assert!(!page.contains("data-api=\"DELETE /admin/api/v1/identity-provider\""));
    let (_, login) = get_as(&memory, "/admin/login", "nobody").await;
    assert!(!login.contains("/admin/login/provider") && login.contains("autofocus"), "{login}");
    let wish = json!({
        "issuer": "https://id.example/realms/staff", "client_id": "chappe", "client_secret": "s3cret",
        "console_url": "https://chappe.example", "label": "Ex<ample", "email_domain": "example.org",
        "roles": { "owner": ["/admins", "/a \"b\""], "viewer": ["/staff"] }, "everybody": "viewer",
    });
    assert_eq!(ask(&memory, Method::PUT, "/identity-provider", wish).await.0, 200);
    let (_, page) = get(&memory, "/admin/settings").await;
    for text in [
        "https://chappe.example/admin/login/callback",
        "value=\"https://id.example/realms/staff\"",
        "/a &#34;b&#34;\n/admins</textarea>",
        "<option value=\"viewer\" selected>is viewer",
        "value=\"example.org\"",
        "value=\"profile email\"",
        "data-api=\"DELETE /admin/api/v1/identity-provider\"",
    ] {
        assert!(page.contains(text), "{text} {page}");
    }
    assert!(!page.contains("s3cret"));
    // Before logging in, and where that did not work.
    let (_, login) = get_as(&memory, "/admin/login", "nobody").await;
    assert!(login.contains("Log in with Ex&#60;ample") && !login.contains("autofocus"), "{login}");
    let (status, refused) = get_as(&memory, "/admin/login/callback?code=a&state=b", "nobody").await;
    assert_eq!(status, StatusCode::FORBIDDEN, "over plain HTTP of who knows where");
    assert!(refused.contains("role=\"alert\">The console is not open over HTTPS here"), "{refused}");
    if let Ok(folder) = std::env::var("CHAPPE_PAGES") {
        for (name, text) in [("login", login), ("refused", refused)] {
            std::fs::write(std::path::Path::new(&folder).join(format!("{name}.html")), text).unwrap();
        }
    }
}
