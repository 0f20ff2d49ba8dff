//! Pages as browsers get them. With `CHAPPE_PAGES=FOLDER` each is left in that folder too, to be looked at.

use std::path::Path;
use std::sync::Arc;

use actix_web::http::{Method, StatusCode, header};
use actix_web::{App, test as web_test};
use chappe_proto::mesh::uplink::Secret;

use super::assets::ASSETS;
use crate::Mount;
use crate::memory::Memory;

mod allocations;
mod costs;
mod found;
mod hooks;
mod operation;
mod people;
mod provider;
mod turn;

/// What a page answers to an owner.
pub(super) async fn get(memory: &Arc<Memory>, path: &str) -> (StatusCode, String) {
    let (status, text) = get_as(memory, path, "right").await;
    if let Ok(folder) = std::env::var("CHAPPE_PAGES") {
        let file = Path::new(&folder).join(path.trim_start_matches('/'));
        std::fs::create_dir_all(&file).unwrap();
        std::fs::write(file.join("index.html"), &text).unwrap();
    }
    (status, text)
}

/// What it answers to whoever has a token.
async fn get_as(memory: &Arc<Memory>, path: &str, token: &str) -> (StatusCode, String) {
    let mount = Mount::new(Arc::clone(memory) as Arc<dyn crate::Cluster>, Secret(b"right".to_vec()));
    let app = web_test::init_service(App::new().configure(|config| mount.configure(config))).await;
    let token = ("Authorization", format!("Bearer {token}"));
    let request = web_test::TestRequest::with_uri(path).insert_header(token);
    let answer = web_test::call_service(&app, request.to_request()).await;
    let status = answer.status();
    (status, String::from_utf8(web_test::read_body(answer).await.to_vec()).unwrap())
}

/// What a page answers to an owner; nothing of it is left in a folder.
async fn seen(memory: &Arc<Memory>, path: &str) -> (StatusCode, String) {
    get_as(memory, path, "right").await
}

/// What a page answers to a viewer, who is offered nothing that changes something but to log out.
async fn get_to_look(memory: &Arc<Memory>, path: &str) -> String {
    let wish = serde_json::json!({ "label": "looks", "role": "viewer", "ttl_secs": 3600 });
    let (_, made) = crate::memory::ask(memory, Method::POST, "/access-tokens", wish).await;
    let (status, page) = get_as(memory, path, made["token"].as_str().unwrap()).await;
    assert_eq!(status, StatusCode::OK, "{path}");
    assert_eq!(page.matches("data-api=").count(), 1, "{page}");
    page
}

/// The address behind the link of these words.
fn link_of(page: &str, words: &str) -> Option<String> {
    let (before, _) = page.split_once(&format!("\">{words}</a>"))?;
    let (_, address) = before.rsplit_once("href=\"")?;
    Some(address.replace("&#38;", "&").replace("&amp;", "&"))
}

#[actix_rt::test]
async fn every_page_of_the_menu_is_there_and_says_where_it_is() {
    let memory = Arc::new(Memory::default());
    for link in super::frame::Frame::GROUPS.iter().flat_map(|group| group.links) {
        let (status, page) = get(&memory, link.path).await;
        assert_eq!(status, StatusCode::OK, "{}", link.path);
        let here = format!("<a href=\"{}\" aria-current=\"page\">", link.path);
        assert!(page.contains(&here) && page.matches("<h1>").count() == 1, "{}: {page}", link.path);
    }
}

#[actix_rt::test]
async fn what_is_not_there_is_said_with_a_way_back() {
    let memory = Arc::new(Memory::default());
    for path in ["/admin/nodes/99", "/admin/nodes/x", "/admin/edges/none"] {
        let (status, page) = get(&memory, path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(page.contains("href=\"/admin\""), "{page}");
    }
    assert_eq!(get(&memory, "/admin/nodes/2").await.0, StatusCode::OK);
    assert_eq!(get(&memory, "/admin/edges/edge-eu").await.0, StatusCode::OK);
}

#[actix_rt::test]
async fn whoever_is_not_in_is_sent_to_log_in_and_comes_back() {
    let mount = Mount::new(Arc::new(Memory::default()), Secret(b"right".to_vec()));
    let app = web_test::init_service(App::new().configure(|config| mount.configure(config))).await;
    let request = web_test::TestRequest::with_uri("/admin/nodes/2?a=b&c").to_request();
    let answer = web_test::call_service(&app, request).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let to = answer.headers().get(header::LOCATION).unwrap().to_str().unwrap();
    assert_eq!(to, "/admin/login?to=%2Fadmin%2Fnodes%2F2%3Fa%3Db%26c");
}

#[actix_rt::test]
async fn nothing_is_inline_or_from_elsewhere() {
    let memory = crate::memory::with_dev().await;
    let person = format!("/admin/apps/dev/rooms/lobby/peers/{}", crate::memory::rooms::peer(1));
    for path in [
        "/admin",
        "/admin/rooms",
        "/admin/apps/dev/rooms/lobby",
        &person,
        "/admin/apps",
        "/admin/apps/dev",
        "/admin/nodes",
        "/admin/nodes/1",
        "/admin/edges",
        "/admin/edges/edge-eu",
        "/admin/shards",
        "/admin/configuration",
        "/admin/logs",
        "/admin/settings",
        "/admin/audit",
        "/admin/operators",
        "/admin/test",
        "/admin/api",
        "/admin/turn",
        "/admin/turn/secrets",
        "/admin/turn/users",
        "/admin/allocations",
        "/admin/costs",
        "/admin/webhooks",
    ] {
        let (_, page) = get(&memory, path).await;
        for banned in
            [" style=", "<style", "<script>", " onclick", "javascript:", "src=\"http", "href=\"http", "url("]
        {
            assert!(!page.contains(banned), "{path} has {banned}");
        }
    }
}

#[actix_rt::test]
async fn the_pages_before_the_console_take_a_name_and_a_password() {
    let memory = Arc::new(Memory::default());
    let mount = Mount::new(Arc::clone(&memory) as Arc<dyn crate::Cluster>, Secret(b"right".to_vec()));
    let app = web_test::init_service(App::new().configure(|config| mount.configure(config))).await;
    let page = async |path: &str, method: &str, body: &str| {
        let request = web_test::TestRequest::with_uri(path).method(method.parse().unwrap());
        let request = request.peer_addr("127.0.0.1:5000".parse().unwrap()).set_payload(body.to_owned());
        let owner = path.starts_with("/admin/api");
        let request = if owner { request.insert_header(("Authorization", "Bearer right")) } else { request };
        let answer = web_test::call_service(&app, request.to_request()).await;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        (status, headers, String::from_utf8(web_test::read_body(answer).await.to_vec()).unwrap())
    };
    let (status, headers, login) = page("/admin/login?to=%2Fadmin%2Fedges", "GET", "").await;
    assert_eq!((status, headers.get("cache-control").unwrap().to_str().unwrap()), (200, "no-store"));
    assert!(
        login.contains("data-then=\"/admin/edges\"") && login.contains("Nobody can log in yet"),
        "{login}"
    );
    let wish = "{\"role\":\"owner\"}";
    let (_, _, made) = page("/admin/api/v1/operators/links", "POST", wish).await;
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let path = made["path"].as_str().unwrap();
    let (status, headers, link) = page(path, "GET", "").await;
    assert_eq!((status, headers.get("referrer-policy").unwrap().to_str().unwrap()), (200, "no-referrer"));
    assert!(link.contains("You become owner") && link.contains("name=\"name\""), "{link}");
    for page in [login, link] {
        assert!(!page.contains(" style=") && !page.contains("<script>"), "{page}");
        assert!(page.matches("<h1>").count() == 1 && page.contains("type=\"password\""));
    }
    let (status, _, gone) = page(&path.replace("/link/", "/link/x"), "GET", "").await;
    assert!(status == 404 && gone.contains("it was used, withdrawn, or has expired"), "{gone}");
}

#[test]
fn each_file_of_the_folder_is_served() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ui");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(ASSETS.iter().any(|(served, ..)| *served == name), "{name} is not in ASSETS");
    }
}
