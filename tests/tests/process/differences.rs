//! Debian's coturn as the oracle: the same requests to its server and to ours, over the wire. Where the
//! answers differ the table says so; edge/README.md says why.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use chappe_proto::stun::attributes::{self, Family};
use chappe_proto::stun::{Class, Key, Message, Method, TransactionId, Writer};
use chappe_tests::process::{Process, until};
use chappe_tests::sockets;

use crate::edge::{SECRET, Standalone, credentials};

/// A client of one server.
struct Client {
    socket: UdpSocket,
    name: (String, String),
    nonce: String,
    requests: u8,
}

type Fill = fn(Writer) -> Writer;

impl Client {
    fn new(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        Self { socket, name: credentials(SECRET, 600), nonce: String::new(), requests: 0 }
    }

    /// The answer's code: 0 of a success, 1 of silence. A nonce is fetched on the way.
    fn ask(&mut self, method: Method, fill: Fill) -> u16 {
        let code = self.once(method, fill, true);
        if code == 401 && self.requests == 1 { self.once(method, fill, true) } else { code }
    }

    fn once(&mut self, method: Method, fill: Fill, signed: bool) -> u16 {
        self.requests += 1;
        let mut writer = fill(Writer::new(Class::Request, method, TransactionId([self.requests; 12])));
        if signed && !self.nonce.is_empty() {
            writer = writer
                .attribute(attributes::USERNAME, self.name.0.as_bytes())
                .attribute(attributes::REALM, b"chappe")
                .attribute(attributes::NONCE, self.nonce.as_bytes())
                .integrity(Key::long_term(&self.name.0, "chappe", &self.name.1).as_slice());
        }
        self.socket.send(&writer.finish()).unwrap();
        let mut answer = [0; 2048];
        let Ok(length) = self.socket.recv(&mut answer) else { return 1 };
        let message = Message::parse(&answer[..length]).unwrap();
        if let Ok(Some(nonce)) = message.nonce() {
            nonce.clone_into(&mut self.nonce);
        }
        message.error_code().unwrap().map_or(0, |code| code.0)
    }
}

fn udp(writer: Writer) -> Writer {
    writer.requested_transport(17)
}

fn peer(writer: Writer, peer: &str) -> Writer {
    writer.xor_address(attributes::XOR_PEER_ADDRESS, peer.parse().unwrap())
}

/// A request after an allocation, or the first one of a client, and the codes of both servers.
struct Case {
    what: &'static str,
    allocated: bool,
    method: Method,
    fill: Fill,
    codes: (u16, u16),
}

const fn first(what: &'static str, fill: Fill, codes: (u16, u16)) -> Case {
    Case { what, allocated: false, method: Method::ALLOCATE, fill, codes }
}

const fn then(what: &'static str, method: Method, fill: Fill, codes: (u16, u16)) -> Case {
    Case { what, allocated: true, method, fill, codes }
}

/// What the cases of turn-conformance show over the wire: ours, then coturn 4.6.1's.
const CASES: &[Case] = &[
    first("29 an allocation", udp, (0, 0)),
    first("6 an unknown attribute", |it| udp(it).attribute(0x7ABC, &[0; 4]), (420, 420)),
    first("32 no transport", |it| it, (400, 400)),
    first("35 a token of nobody", |it| udp(it).reservation_token([7; 8]), (508, 404)),
    first(
        "38 no family of that number",
        |it| udp(it).attribute(attributes::REQUESTED_ADDRESS_FAMILY, &[9, 0, 0, 0]),
        (440, 440),
    ),
    Case {
        what: "46 no allocation",
        allocated: false,
        method: Method::REFRESH,
        fill: |it| it,
        codes: (437, 437),
    },
    then("31 a second allocation", Method::ALLOCATE, udp, (437, 437)),
    then("45 deleted", Method::REFRESH, |it| it.lifetime(0), (0, 0)),
    then(
        "47 a family that it has not",
        Method::REFRESH,
        |it| it.family(attributes::REQUESTED_ADDRESS_FAMILY, Family::V6),
        (443, 443),
    ),
    then("48 no peer", Method::CREATE_PERMISSION, |it| it, (400, 400)),
    then(
        "48 a peer of the other family",
        Method::CREATE_PERMISSION,
        |it| peer(it, "[2a00::1]:9"),
        (443, 443),
    ),
    then("48 a peer", Method::CREATE_PERMISSION, |it| peer(it, "8.8.8.8:9"), (0, 0)),
    then("48 a private peer", Method::CREATE_PERMISSION, |it| peer(it, "10.0.0.1:9"), (403, 0)),
    then("48 multicast", Method::CREATE_PERMISSION, |it| peer(it, "224.0.0.1:9"), (403, 0)),
    then(
        "52 a channel too low",
        Method::CHANNEL_BIND,
        |it| peer(it.channel_number(0x3FFF), "8.8.8.8:9"),
        (400, 400),
    ),
    then(
        "52 a channel of RFC 5766",
        Method::CHANNEL_BIND,
        |it| peer(it.channel_number(0x7FFF), "8.8.8.8:9"),
        (0, 0),
    ),
    then(
        "52 a channel too high",
        Method::CHANNEL_BIND,
        |it| peer(it.channel_number(0x8000), "8.8.8.8:9"),
        (400, 400),
    ),
];

#[tokio::test]
async fn coturn_answers_the_same_but_where_we_differ() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Standalone::start(dir.path());
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let theirs = Process::start(Command::new("turnserver").current_dir(dir.path()).args([
        "-n",
        "--listening-port",
        &port.to_string(),
        "-L",
        "127.0.0.1",
        "-E",
        "127.0.0.1",
        "--realm",
        "chappe",
        "--use-auth-secret",
        "--static-auth-secret",
        SECRET,
        "--allow-loopback-peers",
        "--no-tls",
        "--no-dtls",
        "--no-cli",
        "--log-file",
        "stdout",
        "--userdb",
        dir.path().join("db").to_str().unwrap(),
        "--pidfile",
        dir.path().join("pid").to_str().unwrap(),
    ]));
    until("coturn listens", Duration::from_secs(20), async || {
        sockets::of(theirs.pid()).iter().any(|socket| socket.udp && socket.local.port() == port)
    })
    .await;
    let coturn = SocketAddr::from(([127, 0, 0, 1], port));
    let mut wrong = Vec::new();
    for Case { what, allocated, method, fill, codes } in CASES {
        let codes_now = [edge.udp, coturn].map(|server| {
            let mut client = Client::new(server);
            if *allocated {
                assert_eq!(client.ask(Method::ALLOCATE, udp), 0, "{what}");
            } else {
                client.requests = 0;
            }
            client.ask(*method, *fill)
        });
        if codes_now != [codes.0, codes.1] {
            wrong.push(format!("{what}: {codes_now:?}, not {codes:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
