//! What goes on for long ends with the right to it.

use actix_web::body::MessageBody;
use actix_web::http::Method;
use actix_web::{App, test};
use serde_json::json;

use super::Console;

#[actix_rt::test]
async fn the_streams_of_a_login_end_once_it_may_less() {
    let console = Console::new();
    let app = test::init_service(App::new().configure(|config| console.mount.configure(config))).await;
    for (nth, change) in
        [None, Some(json!({ "role": "viewer" })), Some(json!({ "disabled": true }))].into_iter().enumerate()
    {
        let name = format!("ada{nth}");
        let ada = console.joins("192.0.2.1", &name, "operator").await;
        for (path, accept) in [("/api/v1/cluster/events/stream", "*/*"), ("/nodes", "text/event-stream")] {
            let request = ada.request(&Method::GET, "", &json!(null)).uri(&format!("/admin{path}"));
            let request = request.insert_header(("Accept", accept)).to_request();
            let answer = test::call_service(&app, request).await;
            assert_eq!(answer.status(), 200, "{path}");
            let mut body = Box::pin(answer.into_body());
            let mut next = async || std::future::poll_fn(|cx| body.as_mut().poll_next(cx)).await;
            assert!(next().await.is_some(), "{path}");
            if let Some(change) = &change {
                let changed = console.owner(Method::PUT, &format!("/operators/{name}"), change.clone()).await;
                assert_eq!(changed.status, 204, "{changed:?}");
            }
            assert_eq!(next().await.is_some(), change.is_none(), "{path} {change:?}");
            if change.is_some() {
                break; // the login has ended
            }
        }
    }
}
