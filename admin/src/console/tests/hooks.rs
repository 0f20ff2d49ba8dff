use serde_json::json;

use super::*;
use crate::memory::ask;

async fn memory() -> (Arc<Memory>, String) {
    let memory = Arc::new(Memory::default());
    let post = async |path: &str, body| ask(&memory, Method::POST, path, body).await;
    assert_eq!(post("/apps", json!({ "app": "shop" })).await.0, 201);
    let wish =
        json!({ "url": "https://shop.example/hooks", "label": "orders <b>", "events": ["room_started"] });
    let (status, made) = post("/apps/shop/webhooks", wish).await;
    assert_eq!(status, 201);
    let path = format!("/admin/webhooks/shop/{}", made["id"].as_str().unwrap());
    (memory, path)
}

#[actix_rt::test]
async fn webhooks_of_an_app_are_listed() {
    let (memory, path) = memory().await;
    let (_, page) = get(&memory, "/admin/webhooks").await;
    assert!(page.contains("orders &#60;b&#62;") && page.contains(&path), "{page}");
    assert!(page.contains("https://shop.example/hooks") && page.contains("room_started"), "{page}");
    assert!(page.contains("POST /admin/api/v1/apps/shop/webhooks\""));
    let looked = get_to_look(&memory, "/admin/webhooks?app=shop").await;
    assert!(!looked.contains("id=\"add\"") && !looked.contains("shop.example/hooks"), "{looked}");
    assert!(looked.contains("https://shop.example"), "{looked}");
    assert_eq!(seen(&memory, "/admin/webhooks?app=bank").await.0, StatusCode::NOT_FOUND);
    ask(&memory, Method::POST, "/apps", json!({ "app": "zoo" })).await;
    let (_, none) = seen(&memory, "/admin/webhooks?app=zoo").await;
    assert!(none.contains("This app has no webhook"), "{none}");
    let (_, none) = seen(&Arc::new(Memory::default()), "/admin/webhooks").await;
    assert!(none.contains("No app yet"), "{none}");
}

#[actix_rt::test]
async fn a_webhook_has_its_deliveries_and_what_one_does_to_it() {
    let (memory, path) = memory().await;
    let (_, page) = get(&memory, &path).await;
    let rows = |page: &str| page.matches("<tr id=\"e_").count();
    assert_eq!((rows(&page), page.matches("/resend\"").count()), (3, 3), "{page}");
    let api = path.replace("/admin/webhooks/", "/admin/api/v1/apps/").replace("/shop/", "/shop/webhooks/");
    for action in ["POST API/test", "PATCH API\"", "POST API/secret", "DELETE API\""] {
        assert!(page.contains(&action.replace("API", &api)), "{action}: {page}");
    }
    assert!(page.contains("500 in 12\u{a0}ms") && page.contains("given up"), "{page}");
    for (query, many) in
        [("?state=expired", 1), ("?type=peer_joined", 2), ("?room=room-1", 1), ("?state=", 3)]
    {
        assert_eq!(rows(&seen(&memory, &format!("{path}{query}")).await.1), many, "{query}");
    }
    let (status, bad) = seen(&memory, &format!("{path}?room=a%20b")).await;
    assert!(status == StatusCode::OK && bad.contains("notice bad"), "{bad}");
    let looked = get_to_look(&memory, &path).await;
    assert!(looked.contains("https://shop.example<") && !looked.contains("shop.example/hooks"), "{looked}");
    assert_eq!(seen(&memory, "/admin/webhooks/shop/x").await.0, StatusCode::NOT_FOUND);
    let other = path.replace("/shop/", "/zoo/");
    assert_eq!(seen(&memory, &other).await.0, StatusCode::NOT_FOUND);
}

#[actix_rt::test]
async fn a_former_secret_is_ended_and_a_disabled_webhook_enabled() {
    let (memory, path) = memory().await;
    let below = path.replace("/admin/webhooks/shop/", "/apps/shop/webhooks/");
    assert!(!seen(&memory, &path).await.1.contains("End the former secret"));
    assert_eq!(ask(&memory, Method::POST, &format!("{below}/secret"), json!(null)).await.0, 200);
    assert_eq!(ask(&memory, Method::PATCH, &below, json!({ "disabled": true })).await.0, 204);
    let (_, page) = seen(&memory, &path).await;
    assert!(page.contains("End the former secret") && page.contains(">Enable</button>"), "{page}");
    assert!(page.contains("<span class=\"badge \">disabled</span>"), "{page}");
}
