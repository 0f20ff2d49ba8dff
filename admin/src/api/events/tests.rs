use actix_web::body::MessageBody;
use actix_web::test::TestRequest;
use std::task::Context;

use super::*;

fn text(event: &Event) -> String {
    String::from_utf8(event.bytes().to_vec()).unwrap()
}

async fn piece(body: &mut Pin<Box<impl MessageBody>>) -> Option<String> {
    let next = std::future::poll_fn(|cx: &mut Context<'_>| body.as_mut().poll_next(cx));
    Some(String::from_utf8(next.await?.ok().unwrap().to_vec()).unwrap())
}

#[test]
fn each_line_of_the_data_is_a_field_and_nothing_in_it_begins_another() {
    let event = Event::text("room", "a\nid: 9\r\n\r\nb\rc").with_id("7");
    assert_eq!(text(&event), "id: 7\nevent: room\ndata: a\ndata: id: 9\ndata: \ndata: b\ndata: c\n\n");
    assert_eq!(text(&Event::json("n", &[1, 2])), "event: n\ndata: [1,2]\n\n");
    assert_eq!(text(&Event::text("n", "")), "event: n\ndata: \n\n");
    for bad in ["1\n2".to_owned(), "1\0".to_owned(), "x".repeat(EVENT_ID_MAX + 1)] {
        assert_eq!(Event::text("n", "").with_id(bad).id, None);
    }
}

#[actix_rt::test]
async fn where_a_browser_was_is_read() {
    let said = async |id: &str| {
        let request = TestRequest::default().insert_header(("Last-Event-ID", id)).to_http_request();
        LastId::from_request(&request, &mut Payload::None).await.unwrap()
    };
    assert_eq!(said("12").await.number(), Some(12));
    assert_eq!(said("n3-12").await, LastId(Some("n3-12".to_owned())));
    assert_eq!(said("n3-12").await.number(), None);
    assert_eq!(said(&"1".repeat(EVENT_ID_MAX + 1)).await, LastId(None));
    let none = TestRequest::default().to_http_request();
    assert_eq!(LastId::from_request(&none, &mut Payload::None).await.unwrap(), LastId(None));
}

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(600);

#[actix_rt::test]
async fn a_stream_says_what_is_put_keeps_its_connection_and_ends() {
    let streams = Arc::new(Streams::default());
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let answer = stream_for(
        LONG,
        SHORT,
        streams.open("ada", None).unwrap(),
        || true,
        async |feed| {
            feed.put(Event::text("one", "1").with_id("1")).await;
            wait.await.unwrap();
            feed.put(Event::text("two", "2")).await;
            feed.put(Event::text("three", "3")).await;
        },
    );
    assert_eq!(answer.headers().get("content-type").unwrap(), "text/event-stream; charset=utf-8");
    assert_eq!(answer.headers().get("cache-control").unwrap(), "no-store");
    let mut body = Box::pin(answer.into_body());
    assert_eq!(piece(&mut body).await.unwrap(), "retry: 2000\n\n");
    assert_eq!(piece(&mut body).await.unwrap(), "id: 1\nevent: one\ndata: 1\n\n");
    assert_eq!(piece(&mut body).await.unwrap(), ": still here\n\n");
    assert_eq!(piece(&mut body).await.unwrap(), ": still here\n\n");
    go.send(()).unwrap();
    assert_eq!(piece(&mut body).await.unwrap(), "event: two\ndata: 2\n\n");
    assert_eq!(piece(&mut body).await.unwrap(), "event: three\ndata: 3\n\n");
    assert_eq!(streams.len(), 1);
    assert_eq!(piece(&mut body).await, None);
    assert_eq!(streams.len(), 0);
}

#[actix_rt::test]
async fn a_stream_ends_by_itself_and_what_it_runs_with_the_client() {
    let streams = Arc::new(Streams::default());
    let alive = Arc::new(());
    let open = |life: Duration| {
        let held = Arc::clone(&alive);
        let answer = stream_for(
            life,
            SHORT,
            streams.open("ada", None).unwrap(),
            || true,
            async move |feed| {
                let _held = held;
                feed.put(Event::text("only", "")).await;
                std::future::pending::<()>().await;
            },
        );
        Box::pin(answer.into_body())
    };
    let mut body = open(SHORT * 3);
    let mut all = String::new();
    while let Some(piece) = piece(&mut body).await {
        all += &piece;
    }
    assert!(all.contains("event: only") && all.contains(": still here"), "{all}");
    assert_eq!((Arc::strong_count(&alive), streams.len()), (1, 0));
    let mut gone = open(LONG);
    piece(&mut gone).await.unwrap();
    assert_eq!((Arc::strong_count(&alive), streams.len()), (2, 1));
    drop(gone);
    assert_eq!((Arc::strong_count(&alive), streams.len()), (1, 0));
}

#[actix_rt::test]
async fn who_does_not_read_is_not_asked_for() {
    let streams = Arc::new(Streams::default());
    let asked = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&asked);
    let answer = stream_for(
        LONG,
        LONG,
        streams.open("ada", None).unwrap(),
        || true,
        async move |feed| {
            loop {
                *counted.lock().unwrap() += 1;
                feed.put(Event::text("tick", "")).await;
            }
        },
    );
    let mut body = Box::pin(answer.into_body());
    for _ in 0..5 {
        piece(&mut body).await.unwrap();
    }
    sleep(SHORT).await;
    let asked = *asked.lock().unwrap();
    assert!((4..=5 + EVENT_QUEUE + 1).contains(&asked), "{asked}");
}

#[test]
fn each_has_so_many_and_the_node_too() {
    let streams = Arc::new(Streams::default());
    let mut open: Vec<Place> =
        (0..EVENT_STREAMS_PER_OPERATOR).map(|_| streams.open("ada", None).unwrap()).collect();
    let refused = streams.open("ada", None).unwrap_err().to_string();
    assert!(refused.starts_with("ada has ") && refused.ends_with("close one"), "{refused}");
    open.push(streams.open("bob", None).unwrap());
    open.remove(0);
    open.push(streams.open("ada", None).unwrap());
    for n in 0.. {
        match streams.open(&format!("u{n}"), None) {
            Ok(place) => open.push(place),
            Err(full) => {
                assert!(full.to_string().starts_with("this node has"), "{full}");
                break;
            }
        }
    }
    assert_eq!((open.len(), streams.len()), (EVENT_STREAMS_MAX, EVENT_STREAMS_MAX));
    open.clear();
    assert!(streams.by.lock().unwrap().is_empty());
}

#[test]
fn the_keys_of_an_app_leave_some_to_operators_and_to_other_apps() {
    let streams = Arc::new(Streams::default());
    let [bank, shop] = ["bank", "shop"].map(|app| AppId::new(app).unwrap());
    let keys = (0..EVENT_STREAMS_MAX).filter_map(|n| streams.open(&format!("key {n}"), Some(&bank)).ok());
    let open: Vec<Place> = keys.collect();
    assert_eq!(open.len(), EVENT_STREAMS_OF_APPS / 2);
    assert!(streams.open("key of shop", Some(&shop)).is_ok());
    assert!(streams.open("ada", None).is_ok());
}
