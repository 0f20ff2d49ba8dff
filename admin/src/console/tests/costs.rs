//! What relayed traffic costs, and the first page that all readers share.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;

use actix_web::body::MessageBody;
use actix_web::http::{Method, StatusCode, header};
use actix_web::{App, test as web_test};
use chappe_proto::mesh::uplink::Secret;
use serde_json::json;

use super::{get, get_as, get_to_look};
use crate::memory::{Memory, ask};
use crate::{Cluster, Mount};

/// With no-break spaces as spaces.
async fn page(memory: &Arc<Memory>, path: &str) -> String {
    let (status, page) = get(memory, path).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    page.replace('\u{a0}', " ")
}

async fn with_prices() -> Arc<Memory> {
    let memory = Arc::new(Memory::default());
    let prices = json!({ "currency": "EUR", "default": "1000", "regions": { "eu": "200000" } });
    assert_eq!(ask(&memory, Method::PUT, "/costs/prices", prices).await.0, 204);
    memory
}

#[actix_rt::test]
async fn without_prices_there_is_traffic_and_a_hint_where_they_are_set() {
    let memory = Arc::new(Memory::default());
    for path in ["/admin", "/admin/costs"] {
        let page = page(&memory, path).await;
        assert!(page.contains("href=\"/admin/settings#prices\"") && page.contains(">400 B</td>"), "{page}");
        assert!(page.contains("1.0 GB cost") && !page.contains(">Costs</th>"), "{page}");
    }
    let seen = get_to_look(&memory, "/admin/costs").await;
    assert!(!seen.contains("#prices") && seen.contains("An operator may say"), "{seen}");
}

#[actix_rt::test]
async fn with_prices_each_figure_has_its_cost() {
    let memory = with_prices().await;
    // 250 bytes in eu and 150 elsewhere.
    let cost = "title=\"0.05015 EUR\">0.0502 EUR</td>";
    let first = page(&memory, "/admin").await;
    assert_eq!(first.matches(cost).count(), 3, "of a room, an edge and an app: {first}");
    assert!(first.contains("Relayed traffic and its cost") && first.contains(">costs 0.0502 EUR</dd>"));
    for (by, link) in [
        ("rooms", "<a href=\"/admin/apps/dev/rooms/room\">dev/room</a>"),
        ("edges", "<a href=\"/admin/edges/edge-eu\">edge-eu</a>"),
        ("apps", "<a href=\"/admin/apps/dev\">dev</a>"),
    ] {
        let page = page(&memory, &format!("/admin/costs?by={by}")).await;
        assert!(page.contains(link) && page.contains("0.0502 EUR") && page.contains("100.0 %"), "{page}");
    }
    let regions = page(&memory, "/admin/costs?by=regions").await;
    let (eu, unknown) = (regions.find("title=\"0.05 EUR\"").unwrap(), regions.find(">not known<").unwrap());
    assert!(eu < unknown && regions.contains("62.5 %") && !regions.contains("have no price"), "{regions}");
    let settings = page(&memory, "/admin/settings").await;
    assert!(
        settings.contains("value=\"1000.00\"") && settings.contains(">eu 200000.00\n</textarea>"),
        "{settings}"
    );
    let some = json!({ "currency": "EUR", "regions": { "eu": "1" } });
    assert_eq!(ask(&memory, Method::PUT, "/costs/prices", some).await.0, 204);
    assert!(page(&memory, "/admin/costs").await.contains("150 B have no price"));
}

#[actix_rt::test]
async fn plots_are_of_all_nodes_and_say_who_is_missing() {
    let memory = Arc::new(Memory::default());
    memory.pass(std::time::Duration::from_secs(999));
    let first = page(&memory, "/admin").await;
    assert!(
        first.contains("<text data-clock=\"1970-01-01T00:10:00Z\""),
        "times are told by the page: {first}"
    );
    assert!(!first.contains("did not answer") && first.contains("region=eu\">eu</a>"), "{first}");
    assert_eq!(first.matches("<figure class=\"plot\">").count(), 6);
    memory.members(|status| status.members[2].reachable = false);
    let first = page(&memory, "/admin").await;
    assert!(first.contains("Node 3</a> did not answer"), "{first}");
    let eu = page(&memory, "/admin?region=eu").await;
    assert!(
        !eu.contains("did not answer") && eu.contains("region=eu\" aria-current=\"page\">eu</a>"),
        "{eu}"
    );
    assert_eq!(eu.matches("<figure class=\"plot\">").count(), 5, "apps have no figures by region");
    let nowhere = page(&memory, "/admin?region=mars").await;
    assert!(nowhere.contains("\" aria-current=\"page\">all regions</a>"), "{nowhere}");
}

async fn piece(body: &mut Pin<Box<impl MessageBody>>) -> String {
    let next = std::future::poll_fn(|cx: &mut Context<'_>| body.as_mut().poll_next(cx)).await;
    String::from_utf8(next.unwrap().ok().unwrap().to_vec()).unwrap()
}

#[actix_rt::test]
async fn readers_of_the_first_page_share_what_is_rendered() {
    let memory = Arc::new(Memory::default());
    let mount = Mount::new(Arc::clone(&memory) as Arc<dyn Cluster>, Secret(b"right".to_vec()));
    let app = web_test::init_service(App::new().configure(|config| mount.configure(config))).await;
    let open = async |path: &str| {
        let request = web_test::TestRequest::with_uri(path)
            .insert_header(("Authorization", "Bearer right"))
            .insert_header((header::ACCEPT, "text/event-stream"));
        let mut body = Box::pin(web_test::call_service(&app, request.to_request()).await.into_body());
        assert!(piece(&mut body).await.starts_with("retry"));
        assert!(piece(&mut body).await.starts_with("event: live"));
        body
    };
    let (one, two) = (open("/admin").await, open("/admin").await);
    assert_eq!(mount.shared.len(), 1);
    let other = open("/admin?hours=6").await;
    assert_eq!(mount.shared.len(), 2);
    drop((one, other));
    while mount.shared.len() > 1 {
        tokio::task::yield_now().await;
    }
    drop(two);
    while mount.shared.len() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(get_as(&memory, "/admin", "wrong").await.0, StatusCode::SEE_OTHER);
}
