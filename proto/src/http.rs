//! The one HTTP request that an edge answers itself: `GET /chappe/probe` inside TLS, which a page times where STUN
//! tells it nothing. Of HTTP/1.1 (RFC 9112) this reads the head of a
//! request without a body, to the letter: what another server on the same connection could read in another way is
//! refused, and ends the connection.

use crate::limits::HTTP_HEAD_MAX;

/// The path that an edge answers on its TLS listeners.
pub const PROBE_PATH: &str = "/chappe/probe";

/// The methods that are answered there.
const METHODS: [&str; 2] = ["GET", "HEAD"];

/// A request that an edge answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Bytes of its head: the next request begins there.
    pub len: usize,
    /// The answer.
    pub answer: Answer,
    /// Whether another request may follow (RFC 9112 section 9.3). Where not, the connection ends with the answer.
    pub keep: bool,
}

/// What an edge answers (RFC 9110 section 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 204: it is the probe.
    Probe,
    /// 400: no request, or one that could be read in two ways.
    BadRequest,
    /// 404: another path.
    NotFound,
    /// 405: the probe's path by another method.
    NotAllowed,
    /// 429: too many of one source.
    TooMany,
    /// 431: a longer head than [`HTTP_HEAD_MAX`].
    TooLong,
}

impl Answer {
    /// The bytes of the answer; where not `keep` it says that the connection ends. Any page may read it, and the time
    /// that it took (Fetch, Resource Timing), and none keeps it.
    #[must_use]
    pub fn bytes(self, keep: bool) -> Vec<u8> {
        let (status, more) = match self {
            // Without Content-Length, which a 204 never has (RFC 9110 section 8.6).
            Self::Probe => ("204 No Content", ""),
            Self::BadRequest => ("400 Bad Request", "Content-Length: 0\r\n"),
            Self::NotFound => ("404 Not Found", "Content-Length: 0\r\n"),
            Self::NotAllowed => ("405 Method Not Allowed", "Allow: GET, HEAD\r\nContent-Length: 0\r\n"),
            Self::TooMany => ("429 Too Many Requests", "Retry-After: 5\r\nContent-Length: 0\r\n"),
            Self::TooLong => ("431 Request Header Fields Too Large", "Content-Length: 0\r\n"),
        };
        let close = if keep { "" } else { "Connection: close\r\n" };
        format!(
            "HTTP/1.1 {status}\r\n{more}{close}Access-Control-Allow-Origin: *\r\nTiming-Allow-Origin: *\r\n\
             Cache-Control: no-store\r\n\r\n"
        )
        .into_bytes()
    }
}

/// Whether a connection's next bytes begin a request that is not the probe, however they go on: where a web server
/// shares the port, it is that one's.
#[must_use]
pub fn is_other(bytes: &[u8]) -> bool {
    !METHODS.iter().any(|method| {
        let start = [method.as_bytes(), b" ", PROBE_PATH.as_bytes()].concat();
        let seen = bytes.len().min(start.len());
        // "/chappe/probes" is another path.
        bytes[..seen] == start[..seen] && bytes.get(start.len()).is_none_or(|next| b" ?".contains(next))
    })
}

/// Reads the request that `bytes` begin with; `None` where it is not whole yet.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Request> {
    let refuse = |answer| Some(Request { len: bytes.len(), answer, keep: false });
    // An empty line before a request is ignored (RFC 9112 section 2.2).
    let lead = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let head = &bytes[lead..bytes.len().min(HTTP_HEAD_MAX)];
    let end = head.windows(4).position(|four| four == b"\r\n\r\n");
    let Some(end) = end else {
        if bytes != b"\r" && is_garbage(head) {
            return refuse(Answer::BadRequest);
        }
        return if bytes.len() >= HTTP_HEAD_MAX { refuse(Answer::TooLong) } else { None };
    };
    let len = lead + end + 4;
    match parse(&head[..end]) {
        Some((answer, keep)) => Some(Request { len, answer, keep }),
        None => refuse(Answer::BadRequest),
    }
}

/// Whether a head that is not whole begins no request, however it goes on.
fn is_garbage(head: &[u8]) -> bool {
    let control = |byte: &u8| byte.is_ascii_control() && !b"\r\n\t".contains(byte);
    let method = head.split(|byte| *byte == b' ').next().unwrap_or_default();
    head.iter().any(control) || !method.iter().copied().all(is_of_token)
}

/// The answer to a head, without the empty line that ends it, and whether another request may follow it.
fn parse(head: &[u8]) -> Option<(Answer, bool)> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let mut line = lines.next()?.split(' ');
    let (method, target, version) = (line.next()?, line.next()?, line.next()?);
    let minor = version.strip_prefix("HTTP/1.").filter(|minor| matches!(minor.as_bytes(), [b'0'..=b'9']))?;
    if line.next().is_some() || !is_token(method) || target.is_empty() || !target.bytes().all(is_visible) {
        return None;
    }
    let (mut hosts, mut keep) = (0, minor != "0");
    for line in lines {
        // A name that is empty or ends in white space, and so a folded line too, is no token (sections 5.1, 5.2).
        let (name, value) = line.split_once(':')?;
        let value = value.trim_matches([' ', '\t']);
        if !is_token(name) || value.chars().any(|char| char.is_control() && char != '\t') {
            return None;
        }
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("host") {
            hosts += 1;
        } else if is("connection") {
            keep &= !value.split(',').any(|option| option.trim().eq_ignore_ascii_case("close"));
        } else if is("transfer-encoding") || is("upgrade") || (is("content-length") && value != "0") {
            // A body would be read as the next request; and nothing is upgraded to.
            keep = false;
        }
    }
    // RFC 9112 section 3.2.
    if hosts > 1 || (hosts == 0 && minor != "0") {
        return None;
    }
    let path = path(target);
    let answer = match (path == PROBE_PATH, METHODS.contains(&method)) {
        (false, _) => Answer::NotFound,
        (true, false) => Answer::NotAllowed,
        (true, true) => Answer::Probe,
    };
    Some((answer, keep))
}

/// The path of a target, in origin form or absolute form (RFC 9112 section 3.2).
fn path(target: &str) -> &str {
    let origin = match target.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => {
            rest.find('/').map_or("/", |slash| &rest[slash..])
        }
        _ => target,
    };
    origin.split_once('?').map_or(origin, |(path, _)| path)
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_of_token)
}

fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const fn is_visible(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As Chromium writes it.
    const FETCH: &str = "GET /chappe/probe HTTP/1.1\r\nHost: turn.example:443\r\nConnection: keep-alive\r\n\
        User-Agent: Mozilla/5.0\r\nAccept: */*\r\nOrigin: https://app.example\r\n\r\n";

    fn answer(head: &str) -> (Answer, bool) {
        let request = read(head.as_bytes()).unwrap();
        (request.answer, request.keep)
    }

    #[test]
    fn the_probe_is_answered_and_the_connection_kept() {
        let request = read(FETCH.as_bytes()).unwrap();
        assert_eq!(request, Request { len: FETCH.len(), answer: Answer::Probe, keep: true });
        let text = String::from_utf8(request.answer.bytes(true)).unwrap();
        assert!(text.starts_with("HTTP/1.1 204 No Content\r\n") && text.ends_with("\r\n\r\n"), "{text}");
        for header in ["Access-Control-Allow-Origin: *", "Timing-Allow-Origin: *", "Cache-Control: no-store"]
        {
            assert!(text.contains(&format!("\r\n{header}\r\n")), "{header}");
        }
        assert!(!text.contains("Connection") && !text.contains("Content-Length"));
        assert!(
            String::from_utf8(request.answer.bytes(false)).unwrap().contains("\r\nConnection: close\r\n")
        );
        assert_eq!(answer(&FETCH.replace("/probe", "/probe?n=1")), (Answer::Probe, true));
        assert_eq!(answer(&FETCH.replace(" /", " https://turn.example:443/")), (Answer::Probe, true));
        assert_eq!(answer(&format!("\r\n{FETCH}")), (Answer::Probe, true));
        let twice = format!("{FETCH}{FETCH}");
        assert_eq!(read(twice.as_bytes()).unwrap().len, FETCH.len(), "the next one is left");
    }

    #[test]
    fn what_may_not_go_on_ends() {
        assert_eq!(answer(&FETCH.replace("keep-alive", "x, Close")), (Answer::Probe, false));
        assert_eq!(answer("HEAD /chappe/probe HTTP/1.0\r\n\r\n"), (Answer::Probe, false));
        assert_eq!(answer(&FETCH.replace("Accept: */*", "Content-Length: 0")), (Answer::Probe, true));
        for body in ["Content-Length: 5", "transfer-encoding: chunked", "Content-Length: 0, 5"] {
            assert_eq!(answer(&FETCH.replace("Accept: */*", body)), (Answer::Probe, false), "{body}");
        }
    }

    #[test]
    fn other_paths_and_methods_are_told() {
        for path in ["/", "/chappe/probes", "/chappe/probe/", "*", "https://turn.example"] {
            assert_eq!(answer(&FETCH.replace("/chappe/probe", path)), (Answer::NotFound, true), "{path}");
        }
        assert_eq!(answer(&FETCH.replace("GET", "POST")), (Answer::NotAllowed, true));
        assert_eq!(answer(&FETCH.replace("GET", "get")), (Answer::NotAllowed, true), "methods have a case");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let bad = |from: &str, to: &str| {
            let head = FETCH.replacen(from, to, 1);
            assert_eq!(answer(&head), (Answer::BadRequest, false), "{head}");
        };
        bad("Host: turn.example:443\r\n", "");
        bad("Accept: */*", "Host: other.example");
        bad("Accept: */*", " folded");
        bad("Accept: */*", "Accept : */*");
        bad("Accept: */*", "no colon");
        bad("Accept: */*", "Accept: a\nb");
        bad("Accept: */*", "Accept: a\rb");
        bad("Accept: */*", ": */*");
        bad("GET /", "GET  /");
        bad("HTTP/1.1", "HTTP/2.0");
        bad("HTTP/1.1", "HTTP/1.10");
        bad("HTTP/1.1\r\n", "HTTP/1.1\n");
        bad("GET /chappe/probe ", "GET ");
        for garbage in ["GET / HTTP/1.1\0", "\u{80}", "\r\n\r", "GET\r\n", "{"] {
            assert_eq!(answer(garbage), (Answer::BadRequest, false), "before its end: {garbage:?}");
        }
        assert_eq!((read(b""), read(b"\r"), read(b"\r\n"), read(b"G")), (None, None, None, None));
    }

    #[test]
    fn a_head_without_an_end_is_too_long_at_last() {
        let long = format!("{}X: {}", &FETCH[..FETCH.len() - 2], "x".repeat(HTTP_HEAD_MAX));
        assert_eq!(read(&long.as_bytes()[..HTTP_HEAD_MAX - 1]), None);
        assert_eq!(answer(&long), (Answer::TooLong, false));
        assert_eq!(answer(&format!("{long}\r\n\r\n")), (Answer::TooLong, false), "nor is one with an end");
    }

    #[test]
    fn what_cannot_be_the_probe_is_told_at_once() {
        for start in ["", "G", "GET /chappe/probe", "HEAD /chappe/probe?n=1 HTTP/1.1\r\n", FETCH] {
            assert!(!is_other(start.as_bytes()), "{start}");
        }
        for start in ["P", "GET /x", "GET /chappe/probes", "GET http", "\r\n", "get "] {
            assert!(is_other(start.as_bytes()), "{start}");
        }
    }

    proptest! {
        /// However a connection's bytes come in pieces, the same is read of them, or more is awaited; and nothing
        /// panics.
        #[test]
        fn pieces_say_the_same(bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), Just(b' '), Just(b'a')], 0..60)
                .prop_map(|rest| [FETCH.as_bytes(), &rest].concat()),
            (0..FETCH.len(), any::<u8>()).prop_map(|(at, byte)| {
                let mut bent = FETCH.as_bytes().to_vec();
                bent[at] = byte;
                bent
            }),
        ]) {
            let whole = read(&bytes);
            if let Some(request) = whole {
                prop_assert!(request.len <= bytes.len() && request.len > 0);
            }
            for cut in 0..bytes.len() {
                if let Some(part) = read(&bytes[..cut]) {
                    // A refusal takes all there is, and any other one is of a head that is whole.
                    prop_assert!(!part.keep || Some(part) == whole);
                    prop_assert_eq!(Some(part.answer), whole.map(|request| request.answer));
                }
                prop_assert!(!is_other(&bytes[..cut]) || is_other(&bytes));
            }
            if whole.is_some_and(|request| request.answer == Answer::Probe) && bytes.starts_with(b"GET /") {
                prop_assert!(!is_other(&bytes), "a web server behind is not given the probe");
            }
        }
    }
}
