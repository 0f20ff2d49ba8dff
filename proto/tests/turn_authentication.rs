//! What must hold of authentication whatever anyone sends: who has not the right key is never taken for
//! somebody, and who is nobody yet never makes the server send more than 2.6 times what he sent.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test fails by panic, and makes small numbers of its own"
)]

use std::net::SocketAddr;
use std::time::Duration;

use chappe_proto::limits::CHALLENGE_REALM_MAX;
use chappe_proto::mesh::uplink::{Alternate, EdgeView, Secret, TurnUser};
use chappe_proto::stun::attributes::{
    ADDITIONAL_ADDRESS_FAMILY, MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256, NONCE, ORIGIN,
    PASSWORD_ALGORITHM, PASSWORD_ALGORITHMS, REALM, SOFTWARE, USERHASH, USERNAME,
};
use chappe_proto::stun::{
    Algorithm, Class, Code, Integrity, Key, Message, Method, TransactionId, Writer, user_hash,
};
use chappe_proto::time::{Mono, Now, Unix};
use chappe_proto::turn::{
    BadRealm, Config, FiveTuple, Output, RelayAddress, Server, Transport, Via, password,
};
use proptest::prelude::*;

const NOW: Now = Now { mono: Mono(Duration::from_secs(1_000_000)), unix: Unix::from_secs(1_700_000_000) };

fn config(realm: &str) -> Config {
    let ip = "203.0.113.5".parse().unwrap();
    let mut config =
        Config::new(realm, vec![RelayAddress { bind: ip, advertised: ip, first: 50000, last: 50099 }]);
    config.quotas.challenges_burst = u32::MAX;
    config
}

fn tuple(client: SocketAddr, transport: Transport) -> FiveTuple {
    FiveTuple { transport, client, server: "203.0.113.5:3478".parse().unwrap() }
}

/// What a server sends back.
fn ask(server: &mut Server, from: &FiveTuple, bytes: &[u8]) -> Option<Vec<u8>> {
    server.handle_client(NOW, from, Via(0), bytes);
    let mut sent = None;
    while let Some(output) = server.poll_output() {
        if let Output::Send { bytes, client, .. } = output {
            assert!(sent.is_none() && client == *from, "one answer, to who asked");
            sent = Some(bytes);
        }
    }
    sent
}

// ------------------------------------------------------------------------------------- strangers

fn method() -> impl Strategy<Value = Method> {
    prop::sample::select(vec![
        Method::BINDING,
        Method::ALLOCATE,
        Method::REFRESH,
        Method::CREATE_PERMISSION,
        Method::CHANNEL_BIND,
        Method::SEND,
        Method(0x0FF),
    ])
}

/// Attributes that strangers may put in, of any value, and those that make a server answer with more.
fn attribute() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let value = || prop::collection::vec(any::<u8>(), 0..48);
    let kinds = [
        USERNAME,
        USERHASH,
        REALM,
        NONCE,
        PASSWORD_ALGORITHM,
        PASSWORD_ALGORITHMS,
        ORIGIN,
        SOFTWARE,
        ADDITIONAL_ADDRESS_FAMILY,
        0x0019,
        0x7ABC,
        0x7ABD,
        0xFABC,
    ];
    let text = |kind: u16, texts: &[&str]| {
        let texts: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        prop::sample::select(texts).prop_map(move |value| (kind, value))
    };
    prop_oneof![
        3 => (prop::sample::select(kinds.to_vec()), value()),
        1 => (any::<u16>(), value()),
        1 => text(REALM, &["own", "users.example", LONG]),
        1 => text(ORIGIN, &["https://a", "https://app.example"]),
        1 => text(USERNAME, &["ada", "1800000000:x"]),
        1 => Just((MESSAGE_INTEGRITY, vec![0; 20])),
        1 => Just((MESSAGE_INTEGRITY_SHA256, vec![0; 32])),
    ]
}

/// A realm of the most bytes that one may have, of an origin's and of a user's.
const LONG: &str = "0123456789012345678901234567890123456789012345678901234567890123456789\
                    012345678901234567890123456789012345678901234567890123456";

fn view(secrets: bool, users: bool, alternates: bool) -> EdgeView {
    let mut view = EdgeView::default();
    if secrets {
        view.secrets = [(1, Secret(b"secret".to_vec()))].into();
    }
    if users {
        let md5 = TurnUser { sha256: None, ..TurnUser::of_password(LONG, "ada", "x") };
        view.users = vec![TurnUser::of_password("users.example", "ada", "x"), md5];
    }
    view.origins = [("https://a", LONG), ("https://app.example", "app.example")]
        .map(|(origin, realm)| (origin.to_owned(), realm.to_owned()))
        .into();
    if alternates {
        let address = |text: &str| Alternate { address: text.parse().unwrap() };
        view.alternates = vec![address("203.0.113.9:3478"), address("[2001:db8::9]:3478")];
    }
    view
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Over what can be spoofed, an answer to an unknown sender is at most 2.6 times the request, the
    /// headers of IP and UDP counted, and it never has SOFTWARE, a reason phrase or integrity.
    #[test]
    fn no_stranger_is_answered_with_more(
        method in method(),
        attributes in prop::collection::vec(attribute(), 0..8),
        fingerprint: bool,
        own_nonce: bool,
        realm in 1..=CHALLENGE_REALM_MAX,
        (v6, dtls) in any::<(bool, bool)>(),
        (secrets, users, alternates) in any::<(bool, bool, bool)>(),
        classic: bool,
    ) {
        let mut config = config(&"r".repeat(realm));
        config.classic = classic;
        let mut server = Server::new(config, [3; 32], NOW);
        server.set_view(NOW, &view(secrets, users, alternates));
        let client = if v6 { "[2001:db8::7]:4000" } else { "192.0.2.7:4000" }.parse().unwrap();
        let from = tuple(client, if dtls { Transport::Dtls } else { Transport::Udp });
        let mut writer = Writer::new(Class::Request, method, TransactionId([9; 12]));
        for (kind, value) in &attributes {
            writer = writer.attribute(*kind, value);
        }
        if own_nonce {
            // As whoever can receive at its address, but has no password.
            let bare = Writer::new(Class::Request, Method::REFRESH, TransactionId([1; 12])).lifetime(0);
            if let Some(challenge) = ask(&mut server, &from, &bare.attribute(SOFTWARE, &[b'x'; 64]).finish()) {
                let challenge = Message::parse(&challenge).unwrap();
                writer = writer.attribute(NONCE, challenge.get(NONCE).unwrap()).integrity(b"guess");
            }
        }
        let request = if fingerprint { writer.fingerprint().finish() } else { writer.finish() };
        let Some(answer) = ask(&mut server, &from, &request) else { return Ok(()) };
        let headers = if v6 { 48 } else { 28 };
        prop_assert!(10 * (answer.len() + headers) <= 26 * (request.len() + headers));
        let message = Message::parse(&answer).unwrap();
        prop_assert!(message.integrity().is_none() && message.get(SOFTWARE).is_none());
        prop_assert_eq!(message.reason(), "");
        prop_assert_eq!(server.allocations(), 0);
    }

    /// Bytes of no form neither: what begins like a message without a magic cookie is RFC 3489's.
    #[test]
    fn nor_with_any_bytes(head in 0u8..4, bytes in prop::collection::vec(any::<u8>(), 0..64), v6: bool) {
        let mut config = config("own");
        config.classic = true;
        let mut server = Server::new(config, [3; 32], NOW);
        let client = if v6 { "[2001:db8::7]:4000" } else { "192.0.2.7:4000" }.parse().unwrap();
        let mut request = vec![0, head];
        request.extend(((bytes.len().saturating_sub(16)) as u16).to_be_bytes());
        request.extend(bytes);
        if let Some(answer) = ask(&mut server, &tuple(client, Transport::Udp), &request) {
            let headers = if v6 { 48 } else { 28 };
            prop_assert!(10 * (answer.len() + headers) <= 26 * (request.len() + headers));
        }
    }
}

/// The shortest Allocate that a client sends is answered 401 by every edge that starts, the longest
/// realm's too; a longer one does not start.
#[test]
fn the_shortest_allocate_is_answered_whatever_the_realm() {
    let shortest = Writer::new(Class::Request, Method::ALLOCATE, TransactionId([1; 12]));
    let shortest = shortest.requested_transport(17).finish();
    assert_eq!(shortest.len(), 28);
    for length in 1..=CHALLENGE_REALM_MAX {
        let realm = "r".repeat(length);
        assert_eq!(config(&realm).check(), Ok(()));
        for client in ["192.0.2.7:4000", "[2001:db8::7]:4000"] {
            let mut server = Server::new(config(&realm), [3; 32], NOW);
            let from = tuple(client.parse().unwrap(), Transport::Udp);
            let answer = ask(&mut server, &from, &shortest).unwrap();
            let answer = Message::parse(&answer).unwrap();
            assert_eq!(answer.error_code(), Ok(Some(Code::UNAUTHENTICATED)));
            assert_eq!(answer.realm(), Ok(Some(&*realm)));
            let list = answer.get(PASSWORD_ALGORITHMS).is_some();
            assert_eq!(list, length <= 36 || from.client.is_ipv6(), "{length}");
        }
    }
    let long = "r".repeat(CHALLENGE_REALM_MAX + 1);
    assert_eq!(config(&long).check(), Err(BadRealm::TooLong(long)));
    assert_eq!(config("").check(), Err(BadRealm::NoRealm(String::new())));
    let mut listener = config("own");
    listener.listener_realms = vec![("0.0.0.0:3478".parse().unwrap(), "a\"b".to_owned())];
    assert_eq!(listener.check(), Err(BadRealm::NoRealm("a\"b".to_owned())));
}

// --------------------------------------------------------------------------------- the right key

/// A request that may be wrong in any of the ways that there are.
#[derive(Debug, Clone)]
struct Attempt {
    /// Of which source the nonce is: only its own, the first's, is good.
    nonce_of: usize,
    /// A character of the nonce that is altered.
    bent: Option<usize>,
    /// The cookie is cut off.
    bare: bool,
    who: Who,
    hash: bool,
    /// The realm that it names, and the one that the key is made with.
    realms: (usize, usize),
    /// What the password is made of, and by what.
    right: bool,
    key: Algorithm,
    chosen: Option<Algorithm>,
    list: List,
    integrity: Integrity,
    /// Which bit of the whole message is flipped on its way.
    flipped: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Who {
    Both,
    Md5,
    Sha256,
    Rest,
    Expired,
    Nobody,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum List {
    None,
    Echo,
    Shortened,
    Turned,
}

const REALMS: [&str; 3] = ["own", "users.example", "nowhere.example"];

impl Who {
    const fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Md5 => "md5",
            Self::Sha256 => "sha256",
            Self::Rest => "1800000000:ada",
            Self::Expired => "1600000000:ada",
            Self::Nobody => "nobody",
        }
    }

    fn password(self) -> String {
        match self {
            Self::Rest | Self::Expired => password(&Secret(b"secret".to_vec()), self.name()),
            _ => "password".to_owned(),
        }
    }

    /// Whether the key of this algorithm is known in a realm of which only the second has users.
    fn is_known(self, realm: usize, algorithm: Algorithm) -> bool {
        match self {
            // Expiry is asked at Allocate alone.
            Self::Rest | Self::Expired => realm < 2,
            Self::Both => realm == 1,
            Self::Md5 => realm == 1 && algorithm == Algorithm::Md5,
            Self::Sha256 => realm == 1 && algorithm == Algorithm::Sha256,
            Self::Nobody => false,
        }
    }
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let mostly = |wrong: bool| prop::bool::weighted(if wrong { 0.1 } else { 0.9 });
    let algorithm = || prop::sample::select(vec![Algorithm::Md5, Algorithm::Sha256]);
    let who = vec![Who::Both, Who::Md5, Who::Sha256, Who::Rest, Who::Expired, Who::Nobody];
    let lists = prop_oneof![2 => Just(List::None), 4 => Just(List::Echo), 1 => Just(List::Shortened), 1 => Just(List::Turned)];
    let integrity = prop::sample::select(vec![Integrity::Sha1, Integrity::Sha256]);
    let nonce = (
        prop_oneof![6 => Just(0usize), 1 => 1usize..3],
        prop::option::weighted(0.1, 0usize..29),
        mostly(true),
    );
    let realm = (prop_oneof![2 => Just(0usize), 4 => Just(1), 1 => Just(2)], mostly(false));
    let key = (algorithm(), prop::option::weighted(0.7, algorithm()), mostly(false), mostly(false));
    let flipped = prop::option::weighted(0.1, any::<usize>());
    (nonce, prop::sample::select(who), mostly(true), realm, key, lists, integrity, flipped).prop_map(
        |(
            (nonce_of, bent, bare),
            who,
            hash,
            (realm, same),
            (key, chosen, fits, right),
            list,
            integrity,
            flipped,
        )| {
            // Most choose the algorithm of their key.
            let chosen = if fits { chosen.map(|_| key) } else { chosen };
            let realms = (realm, if same { realm } else { (realm + 1) % 3 });
            Attempt { nonce_of, bent, bare, who, hash, realms, right, key, chosen, list, integrity, flipped }
        },
    )
}

/// What the rules of RFC 8489 section 9.2.4 make of an attempt, written once more: its error code, or
/// what the answer is protected with.
fn expected(attempt: &Attempt) -> Result<Integrity, u16> {
    // The nonce: of this source, unaltered and with its cookie.
    if attempt.nonce_of != 0 || attempt.bent.is_some() || attempt.bare {
        return Err(438);
    }
    let (algorithm, integrity) = match (attempt.chosen, attempt.list) {
        (None, List::None) => (Algorithm::Md5, Integrity::Sha1),
        (Some(chosen), List::Echo) => (chosen, Integrity::Sha256),
        _ => return Err(400),
    };
    let (named, made) = attempt.realms;
    let known = attempt.who.is_known(named, algorithm)
        && !(attempt.hash && matches!(attempt.who, Who::Rest | Who::Expired));
    let right = attempt.right && named == made && attempt.key == algorithm;
    if known && right { Ok(integrity) } else { Err(401) }
}

fn source(index: usize) -> FiveTuple {
    let client = SocketAddr::new([192, 0, 2, 7].into(), 4000 + index as u16);
    tuple(client, Transport::Udp)
}

fn server() -> Server {
    let mut server = Server::new(config("own"), [3; 32], NOW);
    let both = |name| TurnUser::of_password("users.example", name, "password");
    let users = vec![
        both("both"),
        TurnUser { sha256: None, ..both("md5") },
        TurnUser { md5: None, ..both("sha256") },
    ];
    let secrets = [(1, Secret(b"another".to_vec())), (2, Secret(b"secret".to_vec()))].into();
    server.set_view(NOW, &EdgeView { users, secrets, ..EdgeView::default() });
    server
}

/// Builds the request of an attempt; the key that it was made with.
fn build(server: &mut Server, attempt: &Attempt) -> (Vec<u8>, Key) {
    let bare = Writer::new(Class::Request, Method::REFRESH, TransactionId([1; 12])).finish();
    let challenge = ask(server, &source(attempt.nonce_of), &bare).unwrap();
    let challenge = Message::parse(&challenge).unwrap();
    let mut nonce = challenge.get(NONCE).unwrap().to_vec();
    let offered = challenge.get(PASSWORD_ALGORITHMS).unwrap();
    assert_eq!((nonce.len(), offered), (29, &[0, 2, 0, 0, 0, 1, 0, 0][..]));
    if let Some(at) = attempt.bent {
        nonce[at] = if nonce[at] == b'A' { b'B' } else { b'A' };
    }
    if attempt.bare {
        nonce.drain(..13);
    }
    let (name, realm) = (attempt.who.name(), REALMS[attempt.realms.0]);
    let mut writer = Writer::new(Class::Request, Method::REFRESH, TransactionId([2; 12]));
    writer = match attempt.hash {
        true => writer.attribute(USERHASH, &user_hash(name, realm)),
        false => writer.attribute(USERNAME, name.as_bytes()),
    };
    writer = writer.attribute(REALM, realm.as_bytes()).attribute(NONCE, &nonce);
    if let Some(chosen) = attempt.chosen {
        writer = writer.password_algorithm(chosen);
    }
    writer = match attempt.list {
        List::None => writer,
        List::Echo => writer.attribute(PASSWORD_ALGORITHMS, offered),
        List::Shortened => writer.password_algorithms(&[Algorithm::Md5]),
        List::Turned => writer.password_algorithms(&[Algorithm::Md5, Algorithm::Sha256]),
    };
    let password = if attempt.right { attempt.who.password() } else { "guess".to_owned() };
    let key = Key::derive(attempt.key, name, REALMS[attempt.realms.1], &password);
    (writer.protect(attempt.integrity, key.as_slice()).finish(), key)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    /// Only who has the right key, for the name and realm that he names, by the algorithm that he
    /// names, with a nonce of his own address, is anybody; everyone else gets what the RFC says.
    #[test]
    fn only_the_right_key_is_accepted(attempt in attempt()) {
        let mut server = server();
        let (mut request, key) = build(&mut server, &attempt);
        if let Some(at) = attempt.flipped {
            // Whatever else it says now, it is nobody's.
            let at = at % (request.len() * 8);
            request[at / 8] ^= 1 << (at % 8);
            if let Some(answer) = ask(&mut server, &source(0), &request) {
                let answer = Message::parse(&answer).unwrap();
                prop_assert!(answer.integrity().is_none(), "{:?}", answer.error_code());
            }
            return Ok(());
        }
        let answer = ask(&mut server, &source(0), &request).unwrap();
        let answer = Message::parse(&answer).unwrap();
        let code = answer.error_code().unwrap().unwrap().0;
        match expected(&attempt) {
            // Somebody, but without an allocation.
            Ok(integrity) => {
                prop_assert_eq!((code, answer.integrity()), (437, Some(integrity)));
                prop_assert!(answer.verify(key.as_slice()));
            }
            Err(expected) => {
                prop_assert_eq!((code, answer.integrity()), (expected, None));
                prop_assert_eq!(answer.nonce().unwrap().is_some(), expected != 400);
                prop_assert_eq!(answer.realm().unwrap().is_some(), expected != 400);
            }
        }
    }

    /// A nonce goes stale after an hour, in whatever form, and not before.
    #[test]
    fn a_nonce_lasts_an_hour(seconds in 0u64..10_000) {
        let attempt = Attempt {
            nonce_of: 0, bent: None, bare: false, who: Who::Both, hash: false, realms: (1, 1), right: true,
            key: Algorithm::Sha256, chosen: Some(Algorithm::Sha256), list: List::Echo,
            integrity: Integrity::Sha256, flipped: None,
        };
        let mut server = server();
        let (request, _) = build(&mut server, &attempt);
        let later = NOW.after(Duration::from_secs(seconds));
        server.handle_client(later, &source(0), Via(0), &request);
        let Some(Output::Send { bytes, .. }) = server.poll_output() else { panic!("no answer") };
        let code = Message::parse(&bytes).unwrap().error_code().unwrap().unwrap().0;
        prop_assert_eq!(code, if seconds <= 3600 { 437 } else { 438 });
    }
}
