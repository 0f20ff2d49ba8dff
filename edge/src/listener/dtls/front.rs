//! The first exchange of DTLS 1.2, without state: a ClientHello is answered by a HelloVerifyRequest, and only
//! one that echoes its cookie, and so comes from where it says, is worth memory (RFC 6347 section 4.2.1).

use std::net::{IpAddr, SocketAddr};

use chappe_proto::limits::DTLS_COOKIE_LIFE;
use chappe_proto::time::Mono;
use chappe_proto::turn::FiveTuple;
use ring::hmac;
use subtle::ConstantTimeEq;

/// A cookie's length: that of HMAC-SHA256, which dimpl takes and no other.
pub(super) const COOKIE: usize = 32;
/// A record's header (section 4.1), and a handshake message's (section 4.2.2).
const RECORD: usize = 13;
const HANDSHAKE: usize = 12;
/// A HelloVerifyRequest with its headers: shorter than the shortest ClientHello.
const VERIFY: usize = RECORD + HANDSHAKE + 3 + COOKIE;
/// A client that was told so many cookies and echoes none of them gets no more state than the others.
const ROUNDS_MAX: u16 = 4;

/// Whether a datagram may be DTLS (RFC 7983 section 7).
pub(super) fn is_dtls(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(20..=63))
}

/// A ClientHello of DTLS 1.2 in one piece.
#[derive(Debug)]
pub(super) struct ClientHello<'a> {
    /// Its record.
    pub(super) bytes: &'a [u8],
    /// How many cookies the client was told before: the message's sequence number.
    pub(super) round: u16,
    pub(super) random: [u8; 32],
    /// What comes before the cookie, from the version to the session id.
    before: &'a [u8],
    cookie: &'a [u8],
    /// The cipher suites and compression methods.
    after: &'a [u8],
}

/// Takes a length-prefixed vector of `width` bytes of length.
fn vector(bytes: &[u8], width: usize) -> Option<(&[u8], &[u8])> {
    let len = bytes.get(..width)?.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
    bytes[width..].split_at_checked(len)
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |value, byte| value << 8 | usize::from(*byte))
}

impl<'a> ClientHello<'a> {
    /// Reads the datagram's first record.
    pub(super) fn read(datagram: &'a [u8]) -> Option<Self> {
        let (header, rest) = datagram.split_at_checked(RECORD)?;
        // A handshake record of any DTLS version, in the clear: epoch 0.
        if header[0] != 22 || header[1] != 0xfe || header[3..5] != [0, 0] {
            return None;
        }
        let record = rest.get(..number(&header[11..13]))?;
        let (handshake, body) = record.split_at_checked(HANDSHAKE)?;
        let whole = number(&handshake[1..4]) == body.len() && number(&handshake[9..12]) == body.len();
        // A ClientHello, neither in fragments nor together with other messages.
        if handshake[0] != 1 || number(&handshake[6..9]) != 0 || !whole {
            return None;
        }
        // DTLS 1.2, as clients of 1.3 say too.
        if body.get(..2)? != [0xfe, 0xfd] {
            return None;
        }
        let random = body.get(2..34)?.try_into().ok()?;
        let (session, rest) = vector(&body[34..], 1)?;
        let before = &body[..35 + session.len()];
        let (cookie, after) = vector(rest, 1)?;
        let (suites, rest) = vector(after, 2)?;
        let (methods, _) = vector(rest, 1)?;
        if session.len() > 32 || suites.len() < 2 || methods.is_empty() {
            return None;
        }
        let after = &after[..3 + suites.len() + methods.len()];
        let round = u16::from_be_bytes([handshake[4], handshake[5]]);
        Some(Self { bytes: &datagram[..RECORD + record.len()], round, random, before, cookie, after })
    }

    /// The cookie, where it has the length of ours.
    pub(super) fn cookie(&self) -> Option<[u8; COOKIE]> {
        self.cookie.try_into().ok()
    }

    /// The answer that asks for `cookie`.
    fn verify(&self, cookie: &[u8; COOKIE]) -> [u8; VERIFY] {
        let mut answer = [0; VERIFY];
        answer[0] = 22;
        // The version of both is DTLS 1.0, whatever will be agreed on; the record's sequence number is the
        // ClientHello's (both section 4.2.1), and so is the message's, which keeps this stateless.
        answer[1..3].copy_from_slice(&[0xfe, 0xff]);
        answer[3..11].copy_from_slice(&self.bytes[3..11]);
        let lengths = [HANDSHAKE + 3 + COOKIE, 3 + COOKIE].map(|len| u8::try_from(len).unwrap_or(u8::MAX));
        answer[12] = lengths[0];
        answer[13] = 3;
        answer[16] = lengths[1];
        answer[17..19].copy_from_slice(&self.round.to_be_bytes());
        answer[24] = lengths[1];
        answer[25..27].copy_from_slice(&[0xfe, 0xff]);
        answer[27] = u8::try_from(COOKIE).unwrap_or(u8::MAX);
        answer[28..].copy_from_slice(cookie);
        answer
    }

    /// The ClientHello that this client sent in round `round`, before it was told a cookie: what dimpl must
    /// have seen before the one that echoes it.
    pub(super) fn before(&self, round: u16) -> Vec<u8> {
        let at = RECORD + HANDSHAKE + self.before.len();
        let mut bytes = self.bytes.to_vec();
        bytes.drain(at + 1..at + 1 + self.cookie.len());
        bytes[at] = 0;
        let len = bytes.len() - RECORD - HANDSHAKE;
        let put = |bytes: &mut [u8], value: usize| {
            let be = value.to_be_bytes();
            bytes.copy_from_slice(&be[be.len() - bytes.len()..]);
        };
        put(&mut bytes[11..13], HANDSHAKE + len);
        put(&mut bytes[14..17], len);
        bytes[17..19].copy_from_slice(&round.to_be_bytes());
        put(&mut bytes[22..25], len);
        bytes
    }
}

/// The answer to a ClientHello of DTLS 1.0, which is not spoken any more (RFC 8996): an alert,
/// protocol_version, as long as needed to be understood, and nothing to remember.
pub(super) fn refuse_old(datagram: &[u8]) -> Option<[u8; RECORD + 2]> {
    let body = datagram.get(RECORD + HANDSHAKE..)?;
    let hello = datagram[0] == 22 && datagram[3..5] == [0, 0] && datagram[RECORD] == 1 && body.len() >= 34;
    if !hello || body[0] != 0xfe || body[1] <= 0xfd {
        return None;
    }
    let mut alert = [21, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 70];
    alert[5..11].copy_from_slice(&datagram[5..11]);
    Some(alert)
}

/// What a ClientHello is worth.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It echoes a cookie of its source.
    Echoed([u8; COOKIE]),
    /// This answer, and nothing to remember.
    Answer([u8; VERIFY]),
}

/// The keys of cookies: the present one and the one before it.
pub(super) struct Cookies {
    keys: [hmac::Key; 2],
    since: Mono,
    /// Makes another.
    fresh: fn() -> Option<[u8; 32]>,
}

impl Cookies {
    /// Keys that `fresh` makes, or nothing where it makes none.
    pub(super) fn new(fresh: fn() -> Option<[u8; 32]>, now: Mono) -> Option<Self> {
        let key = || Some(hmac::Key::new(hmac::HMAC_SHA256, &fresh()?));
        Some(Self { keys: [key()?, key()?], since: now, fresh })
    }

    /// Judges a ClientHello of `client`.
    pub(super) fn judge(&mut self, now: Mono, client: &FiveTuple, hello: &ClientHello<'_>) -> Verdict {
        if now.since(self.since) >= DTLS_COOKIE_LIFE
            && let Some(key) = (self.fresh)()
        {
            self.keys.swap(0, 1);
            self.keys[0] = hmac::Key::new(hmac::HMAC_SHA256, &key);
            self.since = now;
        }
        if let Some(cookie) = hello.cookie()
            && (1..=ROUNDS_MAX).contains(&hello.round)
            && self.keys.iter().any(|key| of(key, client, hello).ct_eq(&cookie).into())
        {
            return Verdict::Echoed(cookie);
        }
        Verdict::Answer(hello.verify(&of(&self.keys[0], client, hello)))
    }
}

/// The cookie of a client that says so: of both addresses, and of what it must repeat (section 4.2.1).
fn of(key: &hmac::Key, client: &FiveTuple, hello: &ClientHello<'_>) -> [u8; COOKIE] {
    let mut context = hmac::Context::with_key(key);
    for address in [client.client, client.server] {
        context.update(&octets(address));
    }
    context.update(hello.before);
    context.update(hello.after);
    let tag = context.sign();
    let mut cookie = [0; COOKIE];
    cookie.copy_from_slice(&tag.as_ref()[..COOKIE]);
    cookie
}

/// An address in as many bytes whatever its family.
fn octets(address: SocketAddr) -> [u8; 18] {
    let ip = match address.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let mut octets = [0; 18];
    octets[..16].copy_from_slice(&ip.octets());
    octets[16..].copy_from_slice(&address.port().to_be_bytes());
    octets
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};
    use std::time::Duration;

    use chappe_proto::turn::Transport;
    use proptest::prelude::*;

    use super::*;

    /// The shortest ClientHello that there is.
    pub(crate) fn hello(random: u8, round: u8, cookie: &[u8]) -> Vec<u8> {
        let mut body = vec![0xfe, 0xfd];
        body.extend([random; 32]);
        body.push(0);
        body.push(u8::try_from(cookie.len()).unwrap());
        body.extend(cookie);
        body.extend([0, 2, 0xcc, 0xa9, 1, 0]);
        let len = u8::try_from(body.len()).unwrap();
        let mut bytes = vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, round, 0, 12 + len];
        bytes.extend([1, 0, 0, len, 0, round, 0, 0, 0, 0, 0, len]);
        bytes.extend(body);
        bytes
    }

    fn client(text: &str) -> FiveTuple {
        let server = "192.0.2.1:5349".parse().unwrap();
        FiveTuple { transport: Transport::Dtls, client: text.parse().unwrap(), server }
    }

    fn cookies() -> Cookies {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        Cookies::new(|| Some([NEXT.fetch_add(1, Ordering::Relaxed); 32]), Mono::default()).unwrap()
    }

    fn judge(cookies: &mut Cookies, secs: u64, from: &str, bytes: &[u8]) -> Option<[u8; VERIFY]> {
        let hello = ClientHello::read(bytes).unwrap();
        match cookies.judge(Mono(Duration::from_secs(secs)), &client(from), &hello) {
            Verdict::Answer(answer) => Some(answer),
            Verdict::Echoed(_) => None,
        }
    }

    #[test]
    fn the_answer_is_shorter_than_the_question_and_its_cookie_is_good_for_its_source_alone() {
        let mut cookies = cookies();
        let first = hello(7, 0, &[]);
        let answer = judge(&mut cookies, 0, "198.51.100.7:4000", &first).unwrap();
        assert!(answer.len() < first.len());
        assert_eq!(answer[3..11], first[3..11], "the record's number");
        let cookie = &answer[28..];
        let echo = hello(7, 1, cookie);
        assert_eq!(judge(&mut cookies, 1, "198.51.100.7:4000", &echo), None);
        assert!(judge(&mut cookies, 1, "198.51.100.7:4001", &echo).is_some(), "another port");
        assert!(judge(&mut cookies, 1, "198.51.100.8:4000", &echo).is_some(), "another address");
        assert!(
            judge(&mut cookies, 1, "198.51.100.7:4000", &hello(8, 1, cookie)).is_some(),
            "another random"
        );
        assert!(judge(&mut cookies, 1, "198.51.100.7:4000", &hello(7, 0, cookie)).is_some(), "not a second");
        assert!(judge(&mut cookies, 1, "198.51.100.7:4000", &hello(7, 1, &cookie[1..])).is_some());
    }

    #[test]
    fn an_old_version_is_refused_in_its_own_words() {
        let mut old = hello(7, 0, &[]);
        assert_eq!(refuse_old(&old), None);
        old[26] = 0xff;
        assert!(ClientHello::read(&old).is_none());
        assert_eq!(refuse_old(&old).unwrap()[13..], [2, 70]);
        for len in 0..old.len() {
            let _ = refuse_old(&old[..len]);
        }
    }

    #[test]
    fn a_cookie_outlives_one_key_and_not_two() {
        let mut cookies = cookies();
        let answer = judge(&mut cookies, 59, "198.51.100.7:4000", &hello(7, 0, &[])).unwrap();
        let echo = hello(7, 1, &answer[28..]);
        assert_eq!(judge(&mut cookies, 61, "198.51.100.7:4000", &echo), None);
        assert!(judge(&mut cookies, 122, "198.51.100.7:4000", &echo).is_some());
    }

    #[test]
    fn the_hello_before_a_cookie_is_the_same_without_it() {
        let echo = hello(7, 1, &[9; 32]);
        assert_eq!(ClientHello::read(&echo).unwrap().before(0)[13..], hello(7, 0, &[])[13..]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ClientHello::read(&bytes);
        }

        #[test]
        fn damaged_hellos_are_read_or_not(at in 0..99usize, byte: u8, cut in 0..100usize) {
            let mut bytes = hello(7, 1, &[9; 32]);
            bytes[at] = byte;
            bytes.truncate(cut.max(1));
            if let Some(hello) = ClientHello::read(&bytes) {
                let before = hello.before(0);
                prop_assert!(ClientHello::read(&before).is_some());
            }
        }
    }
}
