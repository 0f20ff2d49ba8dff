//! Operators log in by an OpenID provider, over real sockets: set up by the command line, on any node.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use chappe_tests::oidc::{CLIENT, Provider, fields};
use chappe_tests::process::{Chappe, binary, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a browser holds.
#[derive(Default)]
struct Browser(BTreeMap<String, String>);

/// What it got.
struct Page {
    status: u16,
    location: Option<String>,
    text: String,
}

impl Browser {
    async fn get(&mut self, url: &str) -> Page {
        let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let at: SocketAddr = authority.parse().unwrap();
        let cookies: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let head = format!(
            "GET /{path} HTTP/1.1\r\nHost: {authority}\r\nCookie: {cookies}\r\nConnection: close\r\n\r\n"
        );
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        let mut location = None;
        for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
            if name.eq_ignore_ascii_case("location") {
                location = Some(value.to_owned());
            }
            if name.eq_ignore_ascii_case("set-cookie") {
                let (name, value) = value.split(';').next().unwrap().split_once('=').unwrap();
                self.0.insert(name.to_owned(), value.to_owned());
                self.0.retain(|_, value| !value.is_empty());
            }
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Page { status, location, text: text.to_owned() }
    }

    /// To the provider, and what it is sent back with.
    async fn there_and_back(&mut self, node: &Chappe) -> String {
        let sent = self.get(&format!("http://{}/admin/login/provider?to=/admin/settings", node.http)).await;
        assert_eq!(sent.status, 303, "{}", sent.text);
        let to = sent.location.unwrap();
        assert_eq!(fields(to.split_once('?').unwrap().1)["scope"], "openid profile email");
        self.get(&to).await.location.unwrap()
    }
}

fn admin(node: &Chappe, verb: &[&str]) -> (bool, String) {
    let url = format!("http://{}", node.http);
    let token = node.data().join("admin-token");
    let at = ["admin", "--node", &url, "--token-file", token.to_str().unwrap(), "oidc"];
    let (fine, stdout, stderr) = run(binary(), &[&at, verb].concat());
    (fine, stdout + &stderr)
}

#[tokio::test]
async fn operators_log_in_by_a_provider() {
    let dir = tempfile::tempdir().unwrap();
    let node = Chappe::dev(dir.path());
    let provider = Provider::start();
    provider.groups(&["admins"]);
    let (secret, console) = (dir.path().join("secret"), format!("http://{}", node.http));
    let issuer = provider.issuer();
    let set = |text: &str| {
        std::fs::write(&secret, text).unwrap();
        let file = secret.to_str().unwrap();
        let to = ["--issuer", &issuer, "--client-id", CLIENT.0, "--client-secret-file", file];
        let rules = ["--console-url", &console, "--owner", "admins", "--viewer", "staff"];
        admin(&node, &[&["set"], &to[..], &rules[..]].concat())
    };
    let (fine, told) = set("wrong\n");
    assert!(fine && told.contains(&format!("{console}/admin/login/callback")), "{told}");
    let (fine, told) = admin(&node, &["test"]);
    assert!(!fine && told.contains("compare both"), "{told}");
    let (fine, told) = set(&format!("{}\n", CLIENT.1));
    assert!(fine && !told.contains("s3cret"), "{told}");
    let (fine, told) = admin(&node, &["test"]);
    assert!(fine && told.contains("takes the secret"), "{told}");

    let mut ada = Browser::default();
    let back = ada.there_and_back(&node).await;
    let page = ada.get(&back).await;
    assert!(page.status == 200 && page.text.contains("0;url=/admin/settings"), "{}", page.text);
    let settings = ada.get(&format!("{console}/admin/settings")).await;
    assert!(settings.status == 200 && settings.text.contains("Identity provider"), "{}", settings.text);
    // The same address once more lets nobody in.
    let again = Browser::default().get(&back).await;
    assert!(again.status == 400 && again.text.contains("begin again"), "{}", again.text);

    // Two in a second browser: without a role, then a viewer, who sees no settings of owners.
    provider.groups(&[]);
    let mut second = Browser::default();
    let back = second.there_and_back(&node).await;
    let page = second.get(&back).await;
    assert!(page.status == 403 && page.text.contains("gives you no role"), "{}", page.text);
    let shut = ada.get(&format!("{console}/admin/settings")).await;
    assert_eq!(shut.status, 303, "the other browser's login has ended");

    let (fine, told) = admin(&node, &["remove"]);
    assert!(fine, "{told}");
    let (fine, told) = admin(&node, &["show"]);
    assert!(!fine && told.contains("no such identity provider yet"), "{told}");
}
