use serde_json::json;

use super::*;
use crate::memory::ask;

#[actix_rt::test]
async fn everything_is_found_by_its_name() {
    let memory = crate::memory::with_dev().await;
    let change = async |method, path: &str, body| {
        let (status, told) = ask(&memory, method, path, body).await;
        assert!((200..300).contains(&status), "{path}: {told}");
        told
    };
    change(Method::POST, "/turn/secret-rotations", json!({})).await;
    let wish = json!({ "label": "The Door <bell>", "seconds": 3600 });
    let credential = change(Method::POST, "/turn/credentials", wish).await;
    let password = json!({ "password": "correct horse battery" });
    change(Method::PUT, "/turn/realms/chappe/users/gate%20keeper", password).await;
    let credential = format!("/admin/turn/credentials/{}", credential["id"].as_str().unwrap());
    for (asked, path, name, kind) in [
        ("secret", "", "", ""),
        ("settings", "/admin/settings", "Settings", "page"),
        ("DEV", "/admin/apps/dev", "Dev", "app"),
        ("lobby", "/admin/apps/dev/rooms/lobby", "lobby", "room of dev"),
        ("edge-e", "/admin/edges/edge-eu", "edge-eu", "edge"),
        ("eu", "/admin/edges/edge-eu", "edge-eu", "edge"),
        ("node 2", "/admin/nodes/2", "Node 2", "node"),
        ("door", &credential, "The Door &#60;bell&#62;", "TURN credential"),
        ("keeper", "/admin/turn/users?text=gate%20keeper", "gate keeper", "TURN user"),
    ] {
        let (_, list) = seen(&memory, &format!("/admin/search?q={}", asked.replace(' ', "%20"))).await;
        if path.is_empty() {
            assert!(!list.contains("href"), "{asked}: {list}");
            continue;
        }
        assert!(list.contains(&format!("href=\"{path}\"")), "{asked}: {list}");
        assert!(list.contains(name) && list.contains(kind), "{asked}: {list}");
    }
    let (_, none) = seen(&memory, "/admin/search?q=%3Cnowhere%3E").await;
    assert!(!none.contains("href") && !none.contains("<nowhere>"), "{none}");
}

#[actix_rt::test]
async fn what_was_counted_is_drawn() {
    let memory = crate::memory::with_dev().await;
    memory.pass(std::time::Duration::from_secs(999));
    let (_, page) = get(&memory, "/admin?hours=6").await;
    let people = page.split_once("People connected").unwrap().1;
    let (plot, rest) = people.split_once("</figure>").unwrap();
    assert!(plot.contains("<svg") && plot.contains("<polyline") && plot.contains("points=\""), "{plot}");
    assert!(plot.matches("<text").count() >= 6 && !plot.contains("Nothing was counted"), "{plot}");
    // What nobody has counted is said, and not drawn.
    let (none, _) = rest.split_once("</figure>").unwrap();
    assert!(none.contains("Nothing was counted yet") && !none.contains("<svg"), "{none}");
    let (_, odd) = seen(&memory, "/admin?hours=7").await;
    assert!(odd.contains("<polyline"), "{odd}");
}
