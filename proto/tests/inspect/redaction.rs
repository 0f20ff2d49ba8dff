//! Nothing by which somebody could be found, or a session be taken over, is in what is shown.

use chappe_proto::inspect::redact::{Hidden, redact};
use chappe_proto::signal::json::Json;
use proptest::prelude::*;
use serde_json::{Value, json};

const KEY: Hidden<'_> = Hidden(b"the watch's own key");
const CHROME: &str = include_str!("chrome.sdp");
const FIREFOX: &str = include_str!("firefox.sdp");

fn shown(kind: &str, payload: &Value) -> Value {
    let payload = Json::parse(&payload.to_string()).unwrap();
    serde_json::from_str(redact(kind, &payload, &KEY).as_str()).unwrap()
}

/// What is secret in a browser's description: addresses whole and their hosts' part, names, ports, passwords,
/// ufrags, fingerprints, ids of streams and sources.
fn secrets(sdp: &str) -> Vec<String> {
    let mut secrets = Vec::new();
    for line in sdp.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let words: Vec<&str> = value.split_whitespace().collect();
        match name {
            "a=ice-ufrag" | "a=ice-pwd" | "a=msid" => {
                secrets.extend(words.iter().map(|word| (*word).to_owned()));
            }
            "a=fingerprint" => secrets.push(words[1].to_owned()),
            "a=ssrc" => secrets.push(words[1].trim_start_matches("cname:").to_owned()),
            "a=candidate" => {
                secrets.push(words[4].to_owned());
                secrets.push(words[0].to_owned() + " ");
                let raddr = words.iter().position(|word| *word == "raddr");
                secrets.extend(raddr.map(|at| words[at + 1].to_owned()));
            }
            _ if line.starts_with("o=") => secrets.push(line.split(' ').nth(1).unwrap().to_owned()),
            _ if line.starts_with("c=") && !line.ends_with(" 0.0.0.0") => {
                secrets.push(line.rsplit(' ').next().unwrap().to_owned());
            }
            _ => {}
        }
    }
    secrets
}

#[test]
fn a_browsers_offer_shows_what_it_is_about_and_no_secret_of_it() {
    for (sdp, media) in [(CHROME, 3), (FIREFOX, 2)] {
        let secrets = secrets(sdp);
        assert!(secrets.len() > 12, "{secrets:?}");
        for payload in [
            json!({ "type": "offer", "sdp": sdp }),
            json!({ "sdp": { "type": "offer", "sdp": sdp } }),
            json!(sdp),
        ] {
            let shown = shown("offer", &payload);
            assert_eq!(shown["sdp"]["media"].as_array().unwrap().len(), media, "{shown}");
            let text = shown.to_string();
            for secret in &secrets {
                assert!(!text.contains(secret.as_str()), "{secret} in {text}");
            }
        }
    }
    let chrome = shown("offer", &json!({ "type": "offer", "sdp": CHROME }));
    let audio = &chrome["sdp"]["media"][0];
    assert_eq!(
        audio["codecs"],
        json!(["opus/48000/2", "red/48000/2", "G722/8000", "PCMU/8000", "telephone-event/8000"])
    );
    let host = json!({ "component": 1, "network": "192.168.56.0/24", "transport": "udp", "type": "host" });
    assert_eq!(audio["candidates"][0], host);
    assert_eq!(audio["candidates"][1]["network"], "2001:db8:1234::/48");
    assert_eq!(audio["candidates"][2]["network"], "mdns");
    assert_eq!(audio["candidates"][4]["tcptype"], "active");
    assert_eq!(audio["candidates"][4]["ufrag"], audio["ufrag"], "equal ones look equal");
    assert_eq!(audio["candidates"][5]["type"], "relay");
    assert_eq!(
        (&audio["direction"], &audio["mid"], &audio["setup"]),
        (&json!("sendrecv"), &json!("0"), &json!("actpass"))
    );
    assert_eq!(chrome["sdp"]["media"][2]["sctp-port"], 5000);
    let firefox = shown("offer", &json!({ "type": "offer", "sdp": FIREFOX }));
    assert_eq!(firefox["sdp"]["media"][1]["rejected"], true);
    assert_eq!(firefox["sdp"]["media"][0]["flags"], json!(["end-of-candidates", "rtcp-mux"]));
    let other = redact("offer", &Json::parse(&json!(CHROME).to_string()).unwrap(), &Hidden(b"another"));
    assert!(!other.as_str().contains(audio["ufrag"].as_str().unwrap()), "another watch, another hash");
}

#[test]
fn candidates_are_shown_by_type_transport_and_network() {
    let line = "candidate:1 1 udp 2122260223 203.0.113.77 49203 typ srflx raddr 10.0.0.9 rport 1 ufrag Zq8L";
    let init = json!({ "candidate": line, "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "Zq8L" });
    let one = shown("candidate", &init);
    let ufrag = one["ufrag"].as_str().unwrap();
    assert!(ufrag.starts_with('#') && ufrag != "#Zq8L");
    let candidate = json!({
        "component": 1, "network": "203.0.113.0/24", "transport": "udp", "type": "srflx", "ufrag": ufrag
    });
    assert_eq!(one, json!({ "candidate": candidate, "sdpMid": "0", "sdpMLineIndex": 0, "ufrag": ufrag }));
    assert_eq!(shown("candidate", &json!({ "candidate": init })), one);
    assert_eq!(shown("candidates", &json!([init])), json!([one]));
    assert_eq!(shown("candidate", &json!(line))["candidate"], candidate);
    assert_eq!(shown("candidate", &Value::Null), json!({ "candidate": "end" }));
    assert_eq!(shown("candidate", &json!({ "candidate": "" }))["candidate"], "end");
    assert_eq!(shown("candidate", &json!("203.0.113.77")), json!({ "candidate": "other" }));
    let mapped = "candidate:1 1 udp 1 ::ffff:203.0.113.77 1 typ host";
    assert_eq!(shown("candidate", &json!(mapped))["candidate"]["network"], "203.0.113.0/24");
    let name = "candidate:1 1 udp 1 ada.example.org 1 typ 203.0.113.77";
    assert_eq!(
        shown("candidate", &json!(name))["candidate"],
        json!({ "component": 1, "network": "name", "transport": "udp", "type": "other" })
    );
}

#[test]
fn of_an_apps_own_kinds_names_alone_are_shown() {
    let chat = json!({ "text": "meet me", "to": { "deep": 1 }, "203.0.113.77": 1, "a b": 2 });
    assert_eq!(shown("chat", &chat), json!({ "keys": ["text", "to"], "more": 2 }));
    assert_eq!(shown("chat", &json!("secret")), json!({ "is": "string" }));
    assert_eq!(shown("chat", &json!([1, 2])), json!({ "is": "array" }));
    // An offer that is none is no more than that.
    assert_eq!(shown("offer", &json!({ "sdp": 5 })), json!({ "keys": ["sdp"] }));
    assert_eq!(shown("offer", &json!({ "secret": "v=0" })), json!({ "keys": ["secret"] }));
    assert_eq!(shown("candidate", &json!({ "candidate": [1] })), json!({ "keys": ["candidate"] }));
    let names: serde_json::Map<String, Value> = (0..100_u8)
        .map(|n| ("k".repeat(usize::from(n % 26) + 1) + &"z".repeat(usize::from(n / 26)), 1.into()))
        .collect();
    let many = shown("chat", &Value::Object(names));
    assert_eq!(many["keys"].as_array().unwrap().len(), 32);
}

#[test]
fn what_is_very_long_is_cut() {
    let sections = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n".to_owned()
        + &"a=candidate:1 1 udp 1 203.0.113.77 1 typ host\r\n".repeat(500)
        + &"m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=rtpmap:96 VP8/90000\r\n".repeat(100);
    let shown = shown("offer", &json!(sections));
    assert_eq!(shown["sdp"]["media"].as_array().unwrap().len(), 32);
    assert_eq!(shown["sdp"]["media_more"], 69);
    assert_eq!(shown["sdp"]["media"][0]["candidates_more"], 468);
    assert!(shown.to_string().len() < 8 * 1024);
}

/// A secret of some length with a mark that no harmless word has.
fn secret() -> impl Strategy<Value = String> {
    "[A-Za-z0-9+/]{2,20}".prop_map(|secret| format!("S3cr_{secret}"))
}

fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        (1..=223_u8, any::<[u8; 2]>()).prop_map(|(a, [b, c])| format!("{a}.{b}.{c}.231")),
        any::<[u16; 3]>().prop_map(|[a, b, c]| format!("{:x}:{b:x}:{c:x}:dead:0:0:0:beef", a | 0x2000)),
        secret().prop_map(|name| format!("{name}.local")),
        secret().prop_map(|name| format!("{name}.example")),
    ]
}

/// A line with secrets where a client may put them, and where none belongs.
fn line() -> impl Strategy<Value = (String, Vec<String>)> {
    let sep = prop_oneof![Just(" "), Just("\t"), Just("  ")];
    prop_oneof![
        (secret(), prop_oneof![
            Just("ice-ufrag:"), Just("ice-pwd:"), Just("fingerprint:sha-256 "), Just("fingerprint:"), Just("mid:"),
            Just("setup:"), Just("msid:"), Just("ssrc:1 cname:"), Just("x-own:"), Just("rtpmap:96 "), Just("rtpmap:"),
            Just("sctp-port:"), Just("candidate:"), Just("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"), Just(""),
        ]).prop_map(|(s, name)| (format!("a={name}{s}"), vec![s])),
        (address(), address(), secret(), sep).prop_map(|(ip, raddr, ufrag, sep)| {
            let line = format!(
                "a=candidate:1{sep}1 udp 1 {ip} 4 typ srflx raddr {raddr}{sep}rport 9 generation 0 ufrag {ufrag}"
            );
            (line, vec![ip, raddr, ufrag])
        }),
        (address(), "[a-z]{1,4}").prop_map(|(ip, name)| (format!("a={name}:1 1 {ip} {ip}/90000"), vec![ip])),
        address().prop_map(|ip| (format!("a=rtpmap:96 {ip}/90000"), vec![ip])),
        address().prop_map(|ip| (format!("a=candidate:{ip} 1 {ip} 1 x 4 typ {ip} tcptype {ip}"), vec![ip])),
        address().prop_map(|ip| (format!("c=IN IP4 {ip}"), vec![ip])),
        address().prop_map(|ip| (format!("m={ip} 9 {ip} 0"), vec![ip])),
        secret().prop_map(|s| (format!("o={s} 1 1 IN IP4 {s}"), vec![s])),
        "\\PC{0,40}".prop_map(|text| (text, vec![])),
        Just(("m=audio 9 UDP/TLS/RTP/SAVPF 111".to_owned(), vec![])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever a client writes, no address, password, fingerprint or ufrag is in what is shown of it.
    #[test]
    fn no_secret_of_any_description_is_shown(
        lines in prop::collection::vec(line(), 0..40),
        end in prop_oneof![Just("\r\n"), Just("\n"), Just("\r")],
        kind in prop_oneof![Just("offer"), Just("answer"), Just("candidate"), Just("chat")],
    ) {
        let secrets: Vec<String> = lines.iter().flat_map(|(_, secrets)| secrets.clone()).collect();
        let sdp = lines.into_iter().map(|(line, _)| line + end).collect::<String>();
        for payload in [json!({ "type": "offer", "sdp": sdp }), json!(sdp), json!({ "candidate": sdp, "sdpMid": sdp }), json!([sdp])] {
            let text = shown(kind, &payload).to_string();
            for secret in &secrets {
                prop_assert!(!text.contains(secret.as_str()), "{secret} in {text}");
            }
        }
    }

    /// Any JSON at all is answered by some.
    #[test]
    fn any_payload_is_shown_somehow(text in "\\PC{0,200}", kind in "[a-z]{0,9}") {
        let _ = shown(&kind, &json!({ "sdp": text, "candidate": text }));
        let _ = shown("offer", &json!(text));
        let _ = shown("candidate", &json!(text));
    }
}
