//! What a watch keeps, and how it is told.

use std::collections::BTreeMap;
use std::time::Duration;

use chappe_proto::id::{Attach, Epoch, Generation, NodeId, PeerId, SessionId};
use chappe_proto::inspect::{Fate, Filter, Passed, SignalsPage, Tap, What};
use chappe_proto::limits::{SIGNALS_PAGE, WATCH_BYTES, WATCH_ENTRIES, WATCH_FOR};
use chappe_proto::signal::json::Json;
use chappe_proto::signal::member::{Gateway, Grants, Member, Policy, Profile, Seat, Withheld};
use chappe_proto::signal::room::{Output, Room};
use chappe_proto::signal::route::{Ack, Content, RoomInput, Signal};
use chappe_proto::time::{Mono, Now, Unix};

const HERE: Gateway = Gateway { node: NodeId(1), generation: Generation(1) };
const THERE: Gateway = Gateway { node: NodeId(2), generation: Generation(1) };

fn at(ms: u64) -> Now {
    Now { mono: Mono(Duration::from_millis(ms)), unix: Unix::from_secs(1_000_000) }
}

fn peer(n: u8) -> PeerId {
    PeerId::from_random([n; 15])
}

/// A room with its watch, as a node has them.
struct Watched {
    room: Room,
    tap: Tap,
}

impl Watched {
    fn new() -> Self {
        let mut room = Room::new(Epoch(1), Policy::default());
        room.set_settled();
        let mut watched = Self { room, tap: Tap::new(at(0), [7; 32]) };
        watched.say(HERE, RoomInput::attach());
        watched.say(THERE, RoomInput::attach());
        watched
    }

    fn say(&mut self, from: Gateway, input: RoomInput) {
        let mut out = Vec::new();
        let told = (from, input.clone());
        self.room.handle(at(0), from, input, &|_, _| false, &mut out);
        self.see(Some(&told), &out);
    }

    fn see(&mut self, input: Option<&(Gateway, RoomInput)>, out: &[Output]) {
        let room = &self.room;
        self.tap.handle(at(0), input, out, |from, signal| room.waits_for(from, signal));
    }

    fn announce(&mut self, from: Gateway, n: u8, away: bool) {
        let seat = Seat {
            peer: peer(n),
            session: SessionId::from_random([n; 15]),
            grants: Grants { admin: true, ..Grants::ANONYMOUS },
            capacity: None,
            token_until: Unix::from_secs(2_000_000),
            place: None,
        };
        let profile = Profile { identity: None, name: Some("Ada".into()), metadata: None };
        let withheld = Withheld::default();
        let member = Member { seat, profile, version: 0, attach: Attach(1), away, admitted: None, withheld };
        let (marks, presented, age_ms, attached_ms) = (BTreeMap::new(), Attach(0), 0, 0);
        self.say(from, RoomInput::Announce { member, marks, presented, age_ms, attached_ms });
    }

    fn signal(&mut self, from: Gateway, (sender, to): (u8, u8), id: u64, kind: &str, payload: &str) {
        let content = Content {
            connection: Some(Json::parse("{\"mine\":\"c0nn\"}").unwrap()),
            kind: kind.to_owned().into(),
            payload: Json::parse(payload).unwrap(),
        };
        let signal = Signal { from: peer(sender), to: peer(to), id, settled: 0, content };
        self.say(from, RoomInput::Signal(signal));
    }

    fn page(&mut self, after: u64) -> SignalsPage {
        self.tap.page(at(0), after, &Filter::default(), SIGNALS_PAGE, false)
    }

    fn filtered(&mut self, filter: &Filter) -> Vec<Passed> {
        self.tap.page(at(0), 0, filter, SIGNALS_PAGE, false).passed
    }
}

fn whats(page: &SignalsPage) -> Vec<What> {
    page.passed.iter().map(|passed| passed.what).collect()
}

#[test]
fn a_call_is_seen_once_and_in_order() {
    let mut watched = Watched::new();
    watched.announce(HERE, 1, false);
    watched.announce(THERE, 2, false);
    watched.signal(HERE, (1, 2), 1, "offer", r#"{"sdp":"a=ice-pwd:hidden"}"#);
    watched.signal(HERE, (1, 2), 1, "offer", r#"{"sdp":"a=ice-pwd:hidden"}"#); // said again
    watched.signal(THERE, (1, 2), 2, "offer", "null"); // by a gateway that does not have the sender
    watched.say(THERE, RoomInput::Ack(Ack { from: peer(1), to: peer(2), id: 1 }));
    watched.say(HERE, RoomInput::Broadcast { from: peer(1), payload: Json::parse("{\"text\":1}").unwrap() });
    watched.announce(THERE, 2, true);
    watched.signal(HERE, (1, 2), 2, "candidate", "null");
    watched.signal(HERE, (1, 9), 1, "offer", "null");
    watched.say(HERE, RoomInput::Kick { by: peer(1), peer: peer(2), ban: true });
    watched
        .say(HERE, RoomInput::Leave { peer: peer(1), reason: chappe_proto::signal::code::LeaveReason::Left });
    let page = watched.page(0);
    use What::{Ack as Acked, Away, Broadcast, Join, Kick, Leave, Signal as Sent};
    assert_eq!(whats(&page), [Join, Join, Sent, Acked, Broadcast, Away, Sent, Sent, Kick, Leave]);
    assert_eq!((page.again, page.missed, page.more, page.anew), (1, 0, false, false));
    let numbers: Vec<u64> = page.passed.iter().map(|passed| passed.n).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]) && page.next == *numbers.last().unwrap());
    let offer = &page.passed[2];
    assert_eq!((offer.from, offer.to, offer.id), (Some(peer(1)), Some(peer(2)), Some(1)));
    assert_eq!((offer.kind.as_deref(), offer.fate), (Some("offer"), Some(Fate::Relayed)));
    assert!(offer.payload.as_ref().unwrap().as_str().contains("media"));
    assert!(offer.connection.as_ref().unwrap().starts_with('#'));
    let ack = &page.passed[3];
    assert_eq!((ack.from, ack.to, ack.id), (Some(peer(2)), Some(peer(1)), Some(1)));
    assert_eq!((page.passed[6].fate, page.passed[7].fate), (Some(Fate::Waits), Some(Fate::Undelivered)));
    assert_eq!(
        (page.passed[8].why.as_deref(), page.passed[9].why.as_deref()),
        (Some("banned"), Some("left"))
    );
    assert!(!serde_json::to_string(&page).unwrap().contains("hidden"));
    assert!(watched.page(page.next).passed.is_empty(), "nothing follows");
    let plain = watched.tap.page(at(0), 0, &Filter::default(), 3, true);
    assert!(plain.passed[2].payload.as_ref().unwrap().as_str().contains("a=ice-pwd:hidden") && plain.more);
}

#[test]
fn what_is_asked_for_is_what_is_shown() {
    let mut watched = Watched::new();
    for n in 1..=3 {
        watched.announce(HERE, n, false);
    }
    watched.signal(HERE, (1, 2), 1, "chat", r#"{"Colour":"secret"}"#);
    watched.signal(HERE, (2, 3), 1, "offer", "null");
    watched.signal(HERE, (3, 1), 1, "chat", "null");
    let of = |peer| Filter { peer: Some(peer), ..Filter::default() };
    assert_eq!(watched.filtered(&of(peer(1))).len(), 3);
    let kind = |kind: &str| Filter { kind: Some(kind.into()), ..Filter::default() };
    assert_eq!(watched.filtered(&kind("chat")).len(), 2);
    assert_eq!(watched.filtered(&kind("join")).len(), 3);
    let text = |text: &str| Filter { text: Some(text.into()), ..Filter::default() };
    assert_eq!(watched.filtered(&text("cOLOUR")).len(), 1);
    assert_eq!(watched.filtered(&text("secret")).len(), 0, "what is hidden is not found either");
    let both = Filter { peer: Some(peer(1)), kind: Some("chat".into()), text: Some("colour".into()) };
    assert_eq!(watched.filtered(&both).len(), 1);
    let page = watched.tap.page(at(0), 0, &kind("offer"), SIGNALS_PAGE, false);
    assert_eq!(watched.page(page.next).passed.len(), 0, "what was looked at and not shown is not told again");
}

#[test]
fn what_is_held_no_more_is_counted() {
    let mut watched = Watched::new();
    watched.announce(HERE, 1, false);
    watched.announce(THERE, 2, false);
    let first = watched.page(0).next;
    for id in 1..=WATCH_ENTRIES as u64 + 100 {
        watched.signal(HERE, (1, 2), id, "chat", "1");
    }
    let page = watched.page(first);
    assert_eq!((page.missed, page.passed.len(), page.more), (100, SIGNALS_PAGE, true));
    assert_eq!(page.passed[0].n, first + 101);
    assert_eq!(watched.page(0).missed, 102);
    let mut seen = page.passed.len();
    let mut next = page.next;
    loop {
        let page = watched.page(next);
        assert_eq!(page.missed, 0);
        (seen, next) = (seen + page.passed.len(), page.next);
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, WATCH_ENTRIES);
    // Long ones push out more than short ones.
    let long = serde_json::to_string(&"x".repeat(50_000)).unwrap();
    for id in 1..=200 {
        watched.signal(THERE, (2, 1), id, "chat", &long);
    }
    let held = watched.tap.page(at(0), next, &Filter::default(), SIGNALS_PAGE, false);
    let kept = WATCH_BYTES / 50_500;
    assert!((kept - 3..=kept + 1).contains(&held.passed.len()), "{}", held.passed.len());
    assert_eq!(held.missed + held.passed.len() as u64, 200);
    let plain = watched.tap.page(at(0), held.next - 50, &Filter::default(), SIGNALS_PAGE, true);
    assert!(plain.more && plain.passed.len() < 12, "a page is bounded in bytes too");
}

#[test]
fn a_watch_goes_on_while_it_is_asked_and_a_new_one_says_so() {
    let mut tap = Tap::new(at(0), [1; 32]);
    assert_eq!(tap.until(), at(0).mono + WATCH_FOR);
    tap.page(at(5_000), 0, &Filter::default(), 1, false);
    assert_eq!(tap.until(), at(5_000).mono + WATCH_FOR);
    let mut watched = Watched::new();
    watched.announce(HERE, 1, false);
    let page = watched.page(0);
    let (before, ahead) = (page.next - 1_000, page.next + 1_000);
    for foreign in [before, ahead] {
        let page = watched.page(foreign);
        assert!(page.anew && page.passed.len() == 1 && page.missed == 0, "{page:?}");
    }
    assert!(!watched.page(page.next).anew);
}
