//! Rooms, people and apps.

use std::sync::Arc;

use actix_web::http::{Method, StatusCode};
use chappe_proto::id::NodeId;
use chappe_proto::mesh::uplink::Traffic;
use chappe_proto::usage::Relayed;
use serde_json::{Value, json};

use super::{get, get_as};
use crate::memory::rooms::{key, peer};
use crate::memory::{Memory, ask, with_dev};
use crate::{Apps as _, Peer};

fn somebody(n: u8, name: &str) -> Peer {
    Peer {
        peer: peer(n),
        node: NodeId(u64::from(n % 3) + 1),
        identity: None,
        name: Some(name.to_owned()),
        away: n.is_multiple_of(7),
        grants: vec!["join", "create", "broadcast"],
        withheld: Vec::new(),
        relayed: Relayed { sent: Traffic { packets: 1_000, bytes: 1_200_000 }, ..Relayed::default() },
    }
}

/// An app with 130 rooms, of which one has many people; and another app.
async fn busy() -> Arc<Memory> {
    let memory = with_dev().await;
    for n in 0..130 {
        let wish =
            json!({ "room": format!("class-{n:03}"), "locked": n % 2 == 0, "capacity": 30, "region": "eu" });
        assert_eq!(ask(&memory, Method::POST, "/apps/dev/rooms", wish).await.0, 201);
    }
    let policy = json!({ "locked": true, "metadata": { "of": "</textarea><b>" }, "expires": 86_400_000 });
    assert_eq!(ask(&memory, Method::PATCH, "/apps/dev/rooms/lobby", policy).await.0, 200);
    memory.running(|running| {
        running.enters(&key("lobby"), somebody(10, "<b>Eve</b>"));
        for n in 11..100 {
            running.enters(&key("lobby"), somebody(n, &format!("Guest {n}")));
        }
    });
    let mute = format!("/apps/dev/rooms/lobby/peers/{}/mute", peer(1));
    assert_eq!(ask(&memory, Method::POST, &mute, Value::Null).await.0, 204);
    let ban = format!("/apps/dev/rooms/lobby/peers/{}?ban=true", peer(2));
    assert_eq!(ask(&memory, Method::DELETE, &ban, Value::Null).await.0, 204);
    let shop = json!({ "app": "shop", "name": "The <i>shop</i>" });
    assert_eq!(ask(&memory, Method::POST, "/apps", shop).await.0, 201);
    for _ in 0..2 {
        assert_eq!(ask(&memory, Method::POST, "/apps/dev/keys", Value::Null).await.0, 201);
    }
    memory
}

/// Whether these are in a page, and in this order.
fn in_order(page: &str, texts: &[&str]) {
    let mut rest = page;
    for text in texts {
        let (_, after) = rest.split_once(text).unwrap_or_else(|| panic!("no {text} in its place: {page}"));
        rest = after;
    }
}

/// The address behind the link of these words.
fn link(page: &str, words: &str) -> String {
    let (before, _) = page.split_once(&format!("\">{words}</a>")).unwrap();
    before.rsplit_once("href=\"").unwrap().1.replace("&#38;", "&").replace("&amp;", "&")
}

#[actix_rt::test]
async fn the_first_page_counts_rooms_as_their_list_does() {
    // Each node says of itself that it has four: some of those are of its shards, and run elsewhere.
    let memory = with_dev().await;
    for (path, name) in [("/admin/rooms", "Rooms with people"), ("/admin", "Rooms")] {
        let page = get(&memory, path).await.1;
        assert!(page.contains(&format!("<dt>{name}</dt><dd>2</dd>")), "{path}: {page}");
    }
}

#[actix_rt::test]
async fn rooms_are_shown_by_pages_and_filters() {
    let memory = busy().await;
    let (status, first) = get(&memory, "/admin/rooms").await;
    assert_eq!(status, StatusCode::OK);
    in_order(&first, &["<dd>2</dd>", "class-000", "30</small>", "nobody is in it", "locked", "class-049"]);
    assert!(!first.contains("class-050") && !first.contains("First page"));
    let (_, second) = get(&memory, &link(&first, "Next page")).await;
    in_order(&second, &["class-050", "class-099", "First page"]);
    assert!(!second.contains("class-049") && !second.contains("class-100"));
    let (_, last) = get(&memory, &link(&second, "Next page")).await;
    in_order(&last, &["class-129", "/admin/apps/dev/rooms/lobby", ">node 1<", "tower", "The end."]);

    let (_, some) = get(&memory, "/admin/rooms?q=CLASS&locked=no&app=dev&people=no&region=eu").await;
    assert!(some.contains("class-001") && !some.contains("class-000") && !some.contains("rooms/lobby"));
    let (_, next) = get(&memory, &link(&some, "Next page")).await;
    assert!(next.contains("class-101") && !next.contains("class-100"), "the filter goes with the page");
    let (_, of_two) = get(&memory, "/admin/rooms?node=2&people=yes").await;
    assert!(of_two.contains("rooms/tower") && !of_two.contains("rooms/lobby"));
    assert!(!of_two.contains("badge\">lobby"));
    assert_eq!(ask(&memory, Method::PATCH, "/apps/dev/rooms/tower", json!({ "lobby": true })).await.0, 200);
    let (_, lobby) = get(&memory, "/admin/rooms?node=2&people=yes").await;
    assert!(lobby.contains("badge\">lobby") && !lobby.contains("badge\">made"));
    assert!(of_two.contains("<option value=\"2\" selected>"));

    for (path, told) in [
        ("/admin/rooms?q=none", "No such room"),
        ("/admin/rooms?app=%3Cb%3E", "An app&#39;s id has"),
        ("/admin/rooms?node=x", "A node is a number."),
        ("/admin/rooms?after=x", "That page is none."),
    ] {
        let (status, page) = get(&memory, path).await;
        assert!(status == StatusCode::OK && page.contains(told), "{path}: {page}");
        assert!(!page.contains("<b>"), "{path}");
    }
    let none = Arc::new(Memory::default());
    none.running(crate::memory::rooms::Running::end);
    assert!(get(&none, "/admin/rooms").await.1.contains("No room yet"));
}

#[actix_rt::test]
async fn who_waits_for_a_room_is_shown_with_what_to_do() {
    let memory = with_dev().await;
    let path = "/admin/apps/dev/rooms/lobby";
    assert!(!get(&memory, path).await.1.contains("Who waits"), "a room without a lobby");
    let policy = json!({ "lobby": true });
    assert_eq!(ask(&memory, Method::PATCH, "/apps/dev/rooms/lobby", policy).await.0, 200);
    assert!(get(&memory, path).await.1.contains("Nobody waits"));
    memory.running(|running| running.knocks(&key("lobby"), 7, "<b>Eve"));
    let (_, page) = get(&memory, path).await;
    let form = format!("data-api=\"POST /admin/api/v1{}/waiting/{}/", &path["/admin".len()..], peer(7));
    let (admit, deny) = (format!("{form}admit\""), format!("{form}deny\""));
    in_order(&page, &["Who waits", "Eve", "i7", &admit, "Admit", &deny, "Deny", "Who is in it"]);
    assert!(!page.contains("<b>Eve") && !page.contains("</b>"), "{page}");
    let wish = json!({ "label": "looks", "role": "viewer", "ttl_secs": 3600 });
    let (_, made) = ask(&memory, Method::POST, "/access-tokens", wish).await;
    let (_, seen) = get_as(&memory, path, made["token"].as_str().unwrap()).await;
    assert!(seen.contains("Who waits") && !seen.contains("/admit\""));
}

#[actix_rt::test]
async fn a_room_has_its_policy_its_people_and_who_stays_out() {
    let memory = busy().await;
    let (status, page) = get(&memory, "/admin/apps/dev/rooms/lobby").await;
    assert_eq!(status, StatusCode::OK);
    in_order(&page, &["Open it", "91 <small", "What is decided of it", "locked", "16 people", "node 1"]);
    in_order(
        &page,
        &[
            "&lt;b&gt;Eve&lt;/b&gt;".replace("&lt;", "&#60;").replace("&gt;", "&#62;").as_str(),
            "Ada",
            "muted: publish",
            "Guest 11",
        ],
    );
    assert!(
        !page.contains("<b>") && page.matches("</textarea>").count() == 2,
        "whatever people write is escaped"
    );
    in_order(&page, &["Who stays out of it", ">ben<", "Pardon"]);
    let ada = format!("/admin/api/v1/apps/dev/rooms/lobby/peers/{}", peer(1));
    in_order(
        &page,
        &[
            &format!("DELETE {ada}"),
            "value=\"publish\"",
            &format!("POST {ada}/unmute"),
            "Kick",
            &format!("DELETE {ada}?ban=true"),
        ],
    );
    assert!(
        page.matches("data-label=\"State\"").count() == 50 && !page.contains("Guest 99"),
        "one page of them"
    );
    let (_, rest) = get(&memory, &link(&page, "Next page")).await;
    assert!(rest.matches("data-label=\"State\"").count() == 41 && rest.contains("Guest 99"));
    let (_, found) = get(&memory, "/admin/apps/dev/rooms/lobby?q=guest+9").await;
    assert!(found.contains("10 of 91") || found.contains("Guest 9"), "{found}");
    assert!(!found.contains("Guest 11") && !found.contains(">Ada<"));

    let (_, empty) = get(&memory, "/admin/apps/dev/rooms/class-001").await;
    in_order(&empty, &["Lock it", "Close and forget", "Nobody is in it", "Nobody is banned"]);
    let (_, plain) = get(&memory, "/admin/apps/dev/rooms/tower").await;
    assert!(!plain.contains("Close and forget"), "nothing is decided of it");
    for path in ["/admin/apps/dev/rooms/none", "/admin/apps/none/rooms/lobby", "/admin/apps/dev/rooms/a%20b"]
    {
        assert_eq!(get(&memory, path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[actix_rt::test]
async fn somebody_is_shown_with_what_they_may_now() {
    let memory = busy().await;
    let of = |n| format!("/admin/apps/dev/rooms/lobby/peers/{}", peer(n));
    let (status, page) = get(&memory, &of(1)).await;
    assert_eq!(status, StatusCode::OK);
    in_order(
        &page,
        &["<h1>Ada</h1>", "Kick", "Ban", "here", "ada", "node 1", "muted", "/unmute", "its token does not"],
    );
    let (_, eve) = get(&memory, &of(10)).await;
    assert!(!eve.contains("<b>") && eve.contains("its token names none"));
    for path in [of(2), of(200), "/admin/apps/dev/rooms/lobby/peers/x".to_owned()] {
        let (status, page) = get(&memory, &path).await;
        assert!(status == StatusCode::NOT_FOUND && page.contains("they have left"), "{page}");
    }
}

#[actix_rt::test]
async fn apps_are_shown_with_their_keys_and_never_a_secret() {
    let memory = busy().await;
    let (_, page) = get(&memory, "/admin/apps").await;
    in_order(
        &page,
        &[
            "Make an app",
            "/admin/apps/dev",
            "by token",
            "<td class=\"num\" data-label=\"People now\">3<",
            "400",
            "/admin/apps/shop",
        ],
    );
    assert!(!page.contains("<i>"));
    let (_, some) = get(&memory, "/admin/apps?q=SHO").await;
    assert!(some.contains("app-shop") && !some.contains("app-dev"));
    assert!(get(&memory, "/admin/apps?q=none").await.1.contains("No such app"));
    assert!(get(&Arc::new(Memory::default()), "/admin/apps").await.1.contains("No app yet"));

    let keys = memory.keys(key("x").app).await.unwrap();
    let disable = format!("/apps/dev/keys/{}/disable", keys[0].key);
    assert_eq!(ask(&memory, Method::POST, &disable, Value::Null).await.0, 204);
    let (status, page) = get(&memory, "/admin/apps/dev").await;
    assert_eq!(status, StatusCode::OK);
    in_order(
        &page,
        &[
            "refused",
            "/enable",
            "accepted",
            "/disable",
            "Rooms that relayed most",
            "/admin/apps/dev/rooms/room",
        ],
    );
    in_order(&page, &["name=\"grace_ms\"", "value=\"30\"", "name=\"credential_ttl_ms\"", "value=\"3600\""]);
    assert!(!page.contains(&"a".repeat(43)) && !page.contains("Nobody can join"));
    let (_, shop) = get(&memory, "/admin/apps/shop").await;
    in_order(&shop, &["Nobody can join", "No key yet", "Nothing was relayed"]);
    assert_eq!(get(&memory, "/admin/apps/none").await.0, StatusCode::NOT_FOUND);
}

#[actix_rt::test]
async fn viewers_see_it_and_are_offered_nothing_to_do() {
    let memory = busy().await;
    let wish = json!({ "label": "looks", "role": "viewer", "ttl_secs": 3600 });
    let (status, made) = ask(&memory, Method::POST, "/access-tokens", wish).await;
    assert_eq!(status, 201);
    let token = made["token"].as_str().unwrap();
    let person = format!("/admin/apps/dev/rooms/lobby/peers/{}", peer(1));
    for path in ["/admin/rooms", "/admin/apps/dev/rooms/lobby", &person, "/admin/apps", "/admin/apps/dev"] {
        let (status, page) = get_as(&memory, path, token).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        let forms: Vec<_> = page.match_indices("data-api=").collect();
        assert_eq!(forms.len(), 1, "logging out alone: {path}");
    }
}

#[actix_rt::test]
async fn rooms_and_apps_are_found_by_their_names() {
    let memory = busy().await;
    let (_, page) = get(&memory, "/admin/search?q=LOBB").await;
    assert!(page.contains("/admin/apps/dev/rooms/lobby"), "{page}");
    let (_, page) = get(&memory, "/admin/search?q=shop").await;
    assert!(page.contains("/admin/apps/shop") && !page.contains("<i>"), "{page}");
    let (_, page) = get(&memory, "/admin/search?q=class").await;
    assert_eq!(page.matches("<small>room").count(), 8, "{page}");
    let (_, page) = get(&memory, "/admin/search?q=").await;
    assert!(!page.contains("/rooms/"), "nothing was asked for: {page}");
}

#[actix_rt::test]
async fn somebody_is_told_by_which_edges_their_media_goes_and_can_be_moved() {
    let memory = with_dev().await;
    memory.running(|running| running.enters(&key("tower"), somebody(1, "Ada")));
    let path = format!("/admin/apps/dev/rooms/tower/peers/{}", peer(1));
    let (status, page) = get(&memory, &path).await;
    assert_eq!(status, StatusCode::OK);
    in_order(
        &page,
        &["Move to room…", "The path of its media", "relayed", "edge-eu</a> in eu", "(UDP, 1.2\u{a0}Mbit/s)"],
    );
    in_order(
        &page,
        &["Not known of", "edge-us", "data-api=\"POST /admin/api/v1/apps/dev/rooms/tower/peers/", "/move\""],
    );
    in_order(
        &page,
        &["as its own client tells", &peer(2).to_string(), "connected", "relayed", "relay to srflx"],
    );
    memory.running(|running| running.enters(&key("tower"), somebody(2, "<b>Ben</b>")));
    let (_, page) = get(&memory, &path).await;
    assert!(page.contains(&format!("/peers/{}\">&#60;b&#62;Ben", peer(2))), "{page}");
    let (_, ben) = get(&memory, &format!("/admin/apps/dev/rooms/tower/peers/{}", peer(2))).await;
    assert!(ben.contains("Not told by this client") && !ben.contains("relay to srflx"), "{ben}");
    let looks = super::get_to_look(&memory, &path).await;
    assert!(looks.contains("relay to srflx"), "{looks}");
    assert!(!looks.contains("Move to room") && looks.contains("The path of its media"), "{looks}");
}
