use chappe_proto::id::{EdgeId, SessionId};
use chappe_proto::time::Unix;

use super::*;
use crate::cluster::turn::{Allocation, Figures};

fn allocation(nth: u8) -> Allocation {
    let session = nth.is_multiple_of(2).then(|| SessionId::from_random([nth; 15]));
    Allocation {
        edge: EdgeId::new("edge-eu").unwrap(),
        id: format!("{nth:016x}"),
        transport: "udp".to_owned(),
        client: format!("192.0.2.{nth}:50000"),
        server: "198.51.100.1:3478".to_owned(),
        relayed: vec!["198.51.100.1:49152".to_owned(), "[2001:db8::1]:49152".to_owned()],
        label: session.map(|_| "a door <b>bell".to_owned()),
        user: session.is_none().then(|| "ada & co".to_owned()),
        realm: session.is_none().then(|| "shop".to_owned()),
        session,
        app: None,
        room: session.map(|_| "lobby".to_owned()),
        created: Unix::from_secs(1),
        left_ms: 540_000,
        permissions: 3,
        channels: 2,
        sent: Figures { packets: 1_000, bytes: 1_500_000 },
        received: Figures { packets: 2, bytes: 12_345 },
    }
}

fn memory(many: u8) -> Arc<Memory> {
    let memory = Arc::new(Memory::default());
    memory.relaying(|all| *all = (0..many).map(allocation).collect());
    memory
}

fn rows(page: &str) -> usize {
    page.matches("<tr id=\"allocation-").count()
}

#[actix_rt::test]
async fn allocations_say_whose_they_are_and_what_they_relay() {
    let memory = memory(4);
    let (_, page) = get(&memory, "/admin/allocations").await;
    assert_eq!(rows(&page), 4, "{page}");
    for told in
        ["a door &#60;b&#62;bell", "192.0.2.3:50000", "[2001:db8::1]:49152", "1.5\u{a0}MB", "12.3\u{a0}kB"]
    {
        assert!(page.contains(told), "{told}: {page}");
    }
    assert!(page.contains("/admin/allocations?user=ada%20%26%20co&#38;realm=shop"), "{page}");
    assert!(page.contains("DELETE /admin/api/v1/turn/allocations/edge-eu/0000000000000003"));
    assert!(page.contains("Not answered") && page.contains("/admin/edges/edge-us"), "{page}");
    assert!(!page.contains("Close all of"), "whose is not asked for");
    get_to_look(&memory, "/admin/allocations?user=ada%20%26%20co").await;
}

#[actix_rt::test]
async fn allocations_are_filtered_and_closed_for_one_user() {
    let memory = memory(4);
    let session = SessionId::from_random([2; 15]);
    for (query, many) in [
        (format!("session={session}"), 1),
        ("user=ada+%26+co&realm=shop".to_owned(), 2),
        ("client=192.0.2.1".to_owned(), 1),
        ("edge=edge-eu".to_owned(), 4),
        ("edge=edge-us".to_owned(), 0),
        ("app=shop&room=".to_owned(), 4),
    ] {
        let (status, page) = seen(&memory, &format!("/admin/allocations?{query}")).await;
        assert_eq!((status, rows(&page)), (StatusCode::OK, many), "{query}");
        let whose = query.starts_with("user") || query.starts_with("session");
        assert_eq!(page.contains("Close all of"), whose, "{query}");
    }
    let (_, page) = seen(&memory, "/admin/allocations?user=ada+%26+co&realm=shop").await;
    assert!(
        page.contains("DELETE /admin/api/v1/turn/allocations?user=ada%20%26%20co&#38;realm=shop"),
        "{page}"
    );
    for bad in ["session=x", "client=300.1.1.1", "after=x", "room=a"] {
        let (status, page) = seen(&memory, &format!("/admin/allocations?{bad}")).await;
        assert!(status == StatusCode::OK && page.contains("notice bad"), "{bad}: {page}");
    }
}

#[actix_rt::test]
async fn many_allocations_are_shown_by_pages() {
    let memory = memory(120);
    let (_, page) = seen(&memory, "/admin/allocations?edge=edge-eu").await;
    let next = link_of(&page, "More").unwrap();
    assert!(next.starts_with("/admin/allocations?edge=edge-eu&after="), "{next}");
    let (_, second) = seen(&memory, &next).await;
    let (_, last) = seen(&memory, &link_of(&second, "More").unwrap()).await;
    assert_eq!([&page, &second, &last].map(|page| rows(page)), [50, 50, 20]);
    assert_eq!(link_of(&last, "More"), None);
    let (_, none) = seen(&Arc::new(Memory::default()), "/admin/allocations").await;
    assert!(none.contains("Nothing is relayed now"));
}
