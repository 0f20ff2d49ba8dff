//! Strangers at the door of `chappe edge --standalone`: storms of datagrams from many sources, and
//! requests whose source is a victim's. Figures are printed (`--nocapture`).

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chappe_proto::limits::{CHALLENGES_BURST, CHALLENGES_PER_SEC};
use chappe_proto::stun::{Class, Method, TransactionId, Writer, attributes};
use chappe_tests::sockets;
use chappe_tests::turn::Turn;
use rcgen::generate_simple_self_signed;

use crate::edge::{SECRET, Standalone, credentials};

/// Headers of IPv4 and UDP.
const HEADERS: usize = 28;

fn edge() -> (tempfile::TempDir, Standalone) {
    let dir = tempfile::tempdir().unwrap();
    let edge = Standalone::start(dir.path());
    (dir, edge)
}

/// Resident memory of a process in bytes.
fn resident(pid: i32) -> usize {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn request(method: Method, number: u32) -> Writer {
    let mut transaction = *b"stranger\0\0\0\0";
    transaction[8..].copy_from_slice(&number.to_be_bytes());
    Writer::new(Class::Request, method, TransactionId(transaction))
}

/// One of the datagrams that a stranger may send.
fn datagram(number: u32) -> Vec<u8> {
    let writer = match number % 4 {
        0 => request(Method::ALLOCATE, number).requested_transport(17),
        1 => request(Method::REFRESH, number),
        2 => request(Method::ALLOCATE, number)
            .requested_transport(17)
            .attribute(attributes::USERNAME, b"1900000000:somebody")
            .attribute(attributes::REALM, b"chappe")
            .attribute(attributes::NONCE, b"obMatJos2AAABQDx0Z4Ub1x1k6jfd")
            .integrity(b"sixteen bytes ok"),
        _ => request(Method::BINDING, number),
    };
    writer.finish()
}

/// A socket of a source of its own.
fn source(number: u32, server: SocketAddr) -> UdpSocket {
    let ip = Ipv4Addr::from_bits(0x7F10_0001 + number * 7);
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

/// Each source sends a hundred datagrams; its first answer says that the server is not behind.
fn storm(server: SocketAddr, sources: std::ops::Range<u32>) {
    let mut answer = [0; 2048];
    for number in sources {
        let socket = source(number, server);
        for n in 0..100 {
            socket.send(&datagram(number * 100 + n)).unwrap();
        }
        socket.recv(&mut answer).expect("an answer");
    }
}

/// coturn kept 18,864 bytes for each spoofed datagram (#1641): these would be 3.7 GB.
#[tokio::test]
async fn a_storm_of_datagrams_from_many_sources_costs_no_memory() {
    let (_dir, edge) = edge();
    let (server, pid) = (edge.udp, edge.process.pid());
    // What a server touches in its first seconds, it touches once.
    storm(server, 0..200);
    let before = resident(pid);
    let begin = Instant::now();
    storm(server, 200..2200);
    let after = resident(pid);
    println!("200,000 datagrams of 2,000 sources in {:?}: {before} bytes, then {after}", begin.elapsed());
    assert!(after < before + 2 * 1024 * 1024, "{before} bytes, then {after}");
    // And who has credentials is served.
    Turn::new(server, &credentials(SECRET, 600)).await.allocate().await.unwrap();
}

/// On the wire, headers of IPv4 and UDP counted: coturn answers a bare header with 3.6 times as much.
#[test]
fn no_answer_to_a_stranger_is_above_two_and_six_tenths_of_its_request() {
    let (_dir, edge) = edge();
    let unknown =
        |count: u16| (0..count).fold(request(Method::BINDING, 7), |it, n| it.attribute(0x7A00 + n, &[]));
    let wrong = |method| {
        let it = request(method, 8).attribute(attributes::USERNAME, b"a").attribute(attributes::REALM, b"b");
        it.attribute(attributes::NONCE, b"c").integrity(b"sixteen bytes ok").finish()
    };
    let mut requests =
        vec![unknown(1).finish(), unknown(2).finish(), unknown(16).finish(), unknown(40).finish()];
    for method in
        [Method::BINDING, Method::ALLOCATE, Method::REFRESH, Method::CREATE_PERMISSION, Method::CHANNEL_BIND]
    {
        requests.push(request(method, 1).finish());
        requests.push(request(method, 2).fingerprint().finish());
        requests.push(request(method, 3).requested_transport(17).finish());
        requests.push(request(method, 4).integrity(b"sixteen bytes ok").finish());
        requests.push(request(method, 5).integrity_sha256(b"sixteen bytes ok").finish());
        requests.push(request(method, 6).attribute(0x7ABC, &[]).finish());
        requests.push(wrong(method));
    }
    let (mut worst, mut answered) = (0.0_f64, 0);
    let mut answer = [0; 2048];
    for (number, request) in (0..).zip(&requests) {
        let socket = source(number, edge.udp);
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        socket.send(request).unwrap();
        let Ok(length) = socket.recv(&mut answer) else { continue };
        answered += 1;
        #[expect(clippy::cast_precision_loss, reason = "lengths of datagrams")]
        let factor = (length + HEADERS) as f64 / (request.len() + HEADERS) as f64;
        assert!(factor <= 2.6, "{length} bytes for {request:02x?}");
        worst = worst.max(factor);
    }
    println!("{answered} of {} requests answered, at most {worst:.2} times as long", requests.len());
    assert!(answered >= 30, "{answered}");
}

/// Whoever's address a flood of requests carries gets no more than its share, and others all the while
/// what they ask for.
#[tokio::test(flavor = "multi_thread")]
async fn a_victim_of_reflection_gets_a_trickle() {
    let (_dir, edge) = edge();
    let victim = Arc::new(source(0, edge.udp));
    victim.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let (receiver, over) = (victim.clone(), done.clone());
    let counting = std::thread::spawn(move || {
        let (mut packets, mut bytes, mut answer) = (0_u64, 0, [0; 2048]);
        loop {
            match receiver.recv(&mut answer) {
                Ok(length) => (packets, bytes) = (packets + 1, bytes + length + HEADERS),
                Err(_) if over.load(Ordering::Relaxed) => return (packets, bytes),
                Err(_) => {}
            }
        }
    });
    let begin = Instant::now();
    let flood = {
        let victim = victim.clone();
        std::thread::spawn(move || {
            let mut sent = 0_u64;
            while begin.elapsed() < Duration::from_secs(4) {
                for n in 0..50 {
                    let _ = victim.send(&datagram(n * 4)); // a full buffer is no matter
                    sent += 1;
                }
                std::thread::yield_now();
            }
            sent
        })
    };
    let mut turn = Turn::new(edge.udp, &credentials(SECRET, 600)).await;
    turn.allocate().await.unwrap();
    let sent = tokio::task::spawn_blocking(move || flood.join().unwrap()).await.unwrap();
    let seconds = begin.elapsed().as_secs() + 1;
    done.store(true, Ordering::Relaxed);
    let (packets, bytes) = tokio::task::spawn_blocking(move || counting.join().unwrap()).await.unwrap();
    println!("{sent} requests in {seconds} s: {packets} answers, {bytes} bytes with their headers");
    let share = u64::from(CHALLENGES_BURST) + u64::from(CHALLENGES_PER_SEC) * (seconds + 1);
    assert!(packets <= share, "{packets} answers of {sent}, {share} at most");
    assert!(packets >= u64::from(CHALLENGES_BURST) / 2 && sent > 10 * packets, "{packets} of {sent}");
    turn.refresh().await.unwrap();
}

/// Quotas that were parsed and ignored (resiprocate #484, eturnal): each option bites.
#[tokio::test]
async fn each_quota_bites() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, SECRET).unwrap();
    let secret = secret.to_str().unwrap();
    let good = credentials(SECRET, 600);
    for (quota, code) in [("--user-quota", "486"), ("--source-quota", "486"), ("--capacity", "508")] {
        let edge = Standalone::with(&["--secret-file", secret, quota, "1"]);
        let mut first = Turn::new(edge.udp, &good).await;
        first.allocate().await.unwrap();
        let refused = Turn::new(edge.udp, &good).await.allocate().await.unwrap_err();
        assert!(format!("{refused:?}").contains(code), "{quota}: {refused:?}");
    }
    // One 401 a second, four at once.
    let edge = Standalone::with(&["--secret-file", secret, "--challenge-rate", "1"]);
    let socket = source(0, edge.udp);
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let begin = Instant::now();
    for n in 0..50 {
        socket.send(&datagram(n * 4)).unwrap();
    }
    let mut answer = [0; 2048];
    let answers = std::iter::from_fn(|| socket.recv(&mut answer).ok()).count();
    let share = 5 + usize::try_from(begin.elapsed().as_secs()).unwrap();
    assert!((1..=share).contains(&answers), "{answers}");
}

/// coturn had a passwordless telnet console, a database and a web server beside its relay
/// (CVE-2018-4056, -4058, -4059, CVE-2020-6061, -6062): here nothing listens but what was asked for, and
/// HTTP on a TURN port is closed without a word.
#[test]
fn nothing_else_listens_and_nothing_else_is_spoken() {
    let (_dir, edge) = edge();
    let open: Vec<_> = sockets::of(edge.process.pid())
        .into_iter()
        .filter(|socket| socket.listens || (socket.udp && socket.remote.port() == 0))
        .map(|socket| (socket.udp, socket.local))
        .collect();
    assert!(open.iter().all(|it| [(true, edge.udp), (false, edge.tcp)].contains(it)), "{open:?}");
    assert_eq!(open.len(), 2, "{open:?}");
    for words in ["GET / HTTP/1.1\r\nHost: edge\r\n\r\n", "POST /admin HTTP/1.1\r\n\r\n", "\r\n", "help\r\n"]
    {
        let mut stream = TcpStream::connect(edge.tcp).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(words.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard); // or it is reset
        assert!(heard.is_empty(), "{:?}", String::from_utf8_lossy(&heard));
    }
}

/// A relay to its operator's own backends (coturn #1946): what the edge itself passes connections on to
/// is no peer, even where its address is allowed.
#[tokio::test]
async fn a_server_behind_the_edge_is_no_peer() {
    let dir = tempfile::tempdir().unwrap();
    let own = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (secret, certificate) = (write("secret", SECRET), write("cert.pem", &own.cert.pem()));
    let key = write("key.pem", &own.signing_key.serialize_pem());
    let (behind, beside) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let backend = behind.local_addr().unwrap();
    let web = ["--tls-listen", "127.0.0.1:0", "--web-backend", &backend.to_string()].map(str::to_owned);
    let web = web.each_ref().map(String::as_str);
    let files =
        ["--secret-file", &secret, "--certificate", &certificate, "--key", &key, "--trust-certificate"];
    let edge = Standalone::with(&[&files[..], &web].concat());
    let mut turn = Turn::new(edge.udp, &credentials(SECRET, 600)).await;
    turn.allocate().await.unwrap();
    turn.permit(backend).await.unwrap(); // of its address; the port is asked about with each packet
    turn.send(backend, b"SELECT").await;
    turn.send(beside.local_addr().unwrap(), b"hello").await;
    beside.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut data = [0; 100];
    assert_eq!(beside.recv(&mut data).unwrap(), 5);
    behind.set_nonblocking(true).unwrap();
    assert!(behind.recv(&mut data).is_err(), "the backend is reached");
}
