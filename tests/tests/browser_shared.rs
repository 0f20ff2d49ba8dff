//! One port for everything: the page, signaling and TURN over TLS on 443, by one certificate, in real
//! browsers behind real firewalls.
#![allow(clippy::print_stderr, clippy::unwrap_used, reason = "what was measured; a test of its own helpers")]

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chappe_tests::chromium::Browser;
use chappe_tests::lan_server::{LanServer, SHARED};
use chappe_tests::netns::{Lan, NAME, Namespace, SERVER, turn, wait};
use chappe_tests::page::{CallPage, Guest};
use data_encoding::BASE64;
use rcgen::{CertifiedKey, KeyPair, PublicKeyData as _, generate_simple_self_signed};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);
/// From asking for the page to pictures on both sides, whatever the firewall lets through.
const CALL_WITHIN: Duration = Duration::from_secs(5);
/// New files are looked at every two seconds.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
/// A picture stands still no longer than this while nothing is wrong: a busy machine's hiccup.
const STILL: Duration = Duration::from_secs(3);
/// After everything was cut pictures move again within this.
const RECOVERED: Duration = Duration::from_secs(15);

const ADA: Guest<'_> = Guest { name: "Ada", relay: false, token: None };
const GRACE: Guest<'_> = Guest { name: "Grace", relay: false, token: None };
const HEDY: Guest<'_> = Guest { name: "Hedy", relay: false, token: None };

/// A certificate for [`NAME`] that its own key has signed.
struct Certificate(CertifiedKey<KeyPair>);

impl Certificate {
    fn new() -> Self {
        Self(generate_simple_self_signed([NAME.to_owned()]).unwrap())
    }

    /// The flag by which a browser trusts certificates of this key, and no others.
    fn pin(&self) -> String {
        let digest =
            ring::digest::digest(&ring::digest::SHA256, &self.0.signing_key.subject_public_key_info());
        format!("--ignore-certificate-errors-spki-list={}", BASE64.encode(digest.as_ref()))
    }

    fn write(&self, files: &Files) {
        // As certbot's deploy hooks do: the key, then the chain. In between they do not fit.
        std::fs::write(files.key(), self.0.signing_key.serialize_pem()).unwrap();
        std::fs::write(files.chain(), self.0.cert.pem()).unwrap();
    }
}

struct Files(TempDir);

impl Files {
    fn of(certificate: &Certificate) -> Self {
        let files = Self(TempDir::new().unwrap());
        certificate.write(&files);
        files
    }

    fn chain(&self) -> PathBuf {
        self.0.path().join("chain.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }
}

/// Two clients, each behind a firewall of its own, whose browsers trust that certificate alone.
struct Two {
    first: Browser,
    second: Browser,
    hosts: [Namespace; 2],
}

impl Two {
    fn on(lan: &Lan, certificate: &Certificate) -> Self {
        let hosts = [lan.host(), lan.host()];
        let start = |host| Browser::start(host, &[&certificate.pin()]);
        Self { first: start(&hosts[0]), second: start(&hosts[1]), hosts }
    }

    /// A call in which nobody was told of the firewall, and how it goes.
    fn call(&self, server: &LanServer<'_>, room: &str, relay: bool) -> (CallPage, CallPage) {
        let ada = CallPage::join(&self.first, server, room, Guest { relay, ..ADA });
        ada.expect_picture();
        let grace = CallPage::join(&self.second, server, room, Guest { relay, ..GRACE });
        grace.expect_picture();
        let opened = grace.opened();
        let took = [&ada, &grace].map(|call| call.first_picture() - opened);
        eprintln!("{room}: pictures {took:?} after the second one asked for the page");
        for took in took {
            assert!(took < CALL_WITHIN, "{room}: {took:?}");
        }
        ada.until_moving(&["Grace"], SOON);
        grace.until_moving(&["Ada"], SOON);
        (ada, grace)
    }
}

/// Both are relayed, and speak this to the relay.
fn assert_relayed_over(protocol: &str, (ada, grace): (&CallPage, &CallPage)) {
    for seen in [ada.sees("Grace"), grace.sees("Ada")] {
        assert_eq!((seen.local.as_deref(), seen.relay_protocol.as_deref()), (Some("relay"), Some(protocol)));
        assert_eq!(seen.path.as_deref(), Some("relay"));
    }
    for call in [ada, grace] {
        call.page.until(
            &format!("document.getElementById('grid').innerText.includes('relay dev-edge · {protocol}')"),
            SOON,
        );
    }
}

/// Whether the port shows that certificate, to a client behind that firewall.
fn is_shown(certificate: &Certificate, host: &Namespace) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.0.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tls = ClientConnection::new(Arc::new(config), ServerName::try_from(NAME).unwrap()).unwrap();
    host.within(move || {
        let mut tcp = TcpStream::connect((SERVER, SHARED)).unwrap();
        tcp.set_read_timeout(Some(SEEN_WITHIN)).unwrap();
        tls.complete_io(&mut tcp).is_ok()
    })
}

#[test]
fn calls_get_through_each_firewall_that_lets_443_out() {
    let Some(lan) = Lan::new() else { return };
    let _turn = turn();
    let certificate = Certificate::new();
    let files = Files::of(&certificate);
    let server = LanServer::start_shared(&lan, &files.chain(), &files.key());
    let two = Two::on(&lan, &certificate);

    // No firewall, but relays only: the page and signaling by 443, media by TURN over UDP.
    let (ada, grace) = two.call(&server, "udp", true);
    assert_relayed_over("udp", (&ada, &grace));
    assert_eq!(ada.page.evaluate("`${location.origin} ${isSecureContext}`"), format!("https://{NAME} true"));
    // Without a NAT STUN tells a page nothing: the SDK has timed a fetch, on a connection that was warm.
    let probes =
        "performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/chappe/probe'))";
    ada.page
        .until(&format!("{probes}.length > 1 && {probes}.every((it) => it.responseStatus === 204)"), SOON);
    ada.page.until(&format!("{probes}.at(-1).requestStart > 0"), SOON);
    ada.page.until(&format!("{probes}.at(-1).connectStart === {probes}.at(-1).connectEnd"), SOON);
    // Signaling is cut while both talk; media is not.
    for call in [&ada, &grace] {
        call.watch();
        call.talk();
    }
    ada.page.until("window.talk.heard.length > 10", SOON);
    two.hosts[0].reset(SHARED);
    ada.until_event("state", "reconnecting", SOON);
    wait("Grace to see that Ada is away", SOON, || grace.sees("Ada").away.then_some(()));
    two.hosts[0].heal();
    ada.page.until("window.chappe.room.state === 'connected'", SOON);
    ada.fall_silent(SOON);
    grace.fall_silent(SOON);
    let (one, other) = (ada.talked(), grace.talked());
    for (sender, receiver) in [(&one, &other), (&other, &one)] {
        assert_eq!((sender.delivered, &sender.refused[..]), (sender.sent, &[][..]));
        assert_eq!(receiver.heard, (1..=sender.sent).collect::<Vec<_>>(), "once, and in order");
    }
    for call in [ada, grace] {
        let events = call.events();
        assert!(!events.iter().any(|e| e[0] == "peer-left" || e[0] == "restart"), "{events:?}");
        assert!(call.longest_gap() < STILL, "{:?}", call.longest_gap());
        call.assert_well();
        call.page.close();
    }

    // Firewalls that drop all UDP, and pages that know nothing of it.
    for host in &two.hosts {
        host.drop_udp();
    }
    let (ada, grace) = two.call(&server, "tcp", false);
    assert_relayed_over("tcp", (&ada, &grace));
    for call in [ada, grace] {
        call.assert_well();
        call.page.close();
    }

    // Firewalls that let nothing but TCP to 443 through.
    for host in &two.hosts {
        host.heal();
        host.only_tcp(SHARED);
    }
    let (ada, grace) = two.call(&server, "tls", false);
    assert_relayed_over("tls", (&ada, &grace));
    for call in [ada, grace] {
        call.assert_well();
    }
}

#[test]
fn a_certificate_is_replaced_under_a_call_over_443_which_then_survives_a_cut() {
    let Some(lan) = Lan::new() else { return };
    let _turn = turn();
    let (old, new) = (Certificate::new(), Certificate::new());
    let files = Files::of(&old);
    let server = LanServer::start_shared(&lan, &files.chain(), &files.key());
    let two = Two::on(&lan, &old);
    for host in &two.hosts {
        host.only_tcp(SHARED);
    }
    let (ada, grace) = two.call(&server, "tea", false);
    assert_relayed_over("tls", (&ada, &grace));
    for call in [&ada, &grace] {
        call.watch();
    }
    new.write(&files);
    wait("the new certificate to be shown", SEEN_WITHIN, || is_shown(&new, &two.hosts[0]).then_some(()));
    assert!(!is_shown(&old, &two.hosts[0]));

    // A third one trusts the new certificate alone: the page, signaling and the relay by it.
    let host = lan.host();
    host.only_tcp(SHARED);
    let browser = Browser::start(&host, &[&new.pin()]);
    let hedy = CallPage::join(&browser, &server, "tea", HEDY);
    hedy.until_moving(&["Ada", "Grace"], SOON);
    ada.until_moving(&["Grace", "Hedy"], SOON);
    grace.until_moving(&["Ada", "Hedy"], SOON);
    let seen = hedy.sees("Ada");
    assert_eq!((seen.local.as_deref(), seen.relay_protocol.as_deref()), (Some("relay"), Some("tls")));
    for call in [&ada, &grace] {
        let events = call.events();
        assert!(!events.iter().any(|e| e[0] == "restart" || e[0] == "state"), "{events:?}");
        let gap = call.longest_gap();
        eprintln!("{}: the picture stood still for {gap:?} at most", call.name);
        assert!(gap < STILL, "{}: {gap:?}", call.name);
    }

    // Signaling and media on the one port that there is: both are cut, and both come back.
    let before = hedy.id();
    hedy.watch();
    host.reset(SHARED);
    hedy.until_event("state", "reconnecting", SOON);
    host.heal();
    hedy.page.until("window.chappe.room.state === 'connected'", RECOVERED);
    hedy.until_moving(&["Ada", "Grace"], RECOVERED);
    ada.until_moving(&["Grace", "Hedy"], RECOVERED);
    assert_eq!(hedy.id(), before, "the session is the same");
    eprintln!("after a cut of everything the picture stood still for {:?}", hedy.longest_gap());
    for call in [ada, grace, hedy] {
        call.assert_well();
    }
}
