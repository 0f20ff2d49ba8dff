//! Credentials of files that change under a running edge.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use chappe_proto::stun::{Class, Code, Message, Method, TransactionId, Writer};
use chappe_proto::turn::ClientEvent;
use chappe_tests::process::{binary, run, until};
use chappe_tests::turn::Turn;

use crate::edge::{Standalone, credentials};

/// A file that has changed is in force within this.
pub(crate) const FILE_WITHIN: Duration = Duration::from_secs(4);

pub(crate) async fn allocate(server: SocketAddr, who: &(String, String)) -> Result<Turn, ClientEvent> {
    let mut turn = Turn::new(server, who).await;
    turn.allocate().await.map(|_| turn)
}

/// As editors and deployments write: whole or not at all.
pub(crate) fn replace(path: &Path, text: &str) {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).unwrap();
    fs::rename(fresh, path).unwrap();
}

#[tokio::test]
async fn secrets_are_read_again_and_a_bad_file_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (file, secret) = (dir.path().join("credentials.toml"), dir.path().join("secret"));
    fs::write(&file, "secrets = [\"of the file\"]\n").unwrap();
    fs::write(&secret, "one\n").unwrap();
    let paths = [&file, &secret].map(|path| path.to_str().unwrap());
    let edge = Standalone::with(&["--credentials", paths[0], "--secret-file", paths[1]]);
    let works = async |secret: &str| allocate(edge.udp, &credentials(secret, 600)).await.is_ok();
    assert!(works("one").await && works("of the file").await && !works("two").await);
    // Both are open to everybody here, as `fs::write` left them.
    let warned = edge.process.stderr.until(&format!("chmod 600 {}", paths[1]));
    assert!(warned.contains(&format!("chmod 600 {}", paths[0])), "{warned}");

    let held = allocate(edge.udp, &credentials("one", 600)).await;
    replace(&secret, "two\n");
    until("the second secret", FILE_WITHIN, async || works("two").await).await;
    assert!(!works("one").await && works("of the file").await);
    held.unwrap().refresh().await.expect("an allocation keeps the secret that it began with");

    replace(&file, "secrets = [\"of the file\"]\n\n[[user]]\nname = \"hushhush\"\nmd5 = \"hushhush\"\n");
    let said = edge.process.stderr.until("the old ones stay");
    assert!(said.contains("credentials.toml: line 5: md5: an MD5 key has 16 bytes"), "{said}");
    assert!(!said.contains("hushhush"), "{said}");
    assert!(works("two").await && works("of the file").await);
    replace(&file, "secrets = [\"another\"]\n");
    until("the repaired file", FILE_WITHIN, async || works("another").await).await;
    assert!(!works("of the file").await);
}

/// An edge is emptied by its file: who comes is sent elsewhere, who is there stays.
#[tokio::test]
async fn new_clients_are_sent_elsewhere_and_those_that_are_there_stay() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("credentials.toml");
    fs::write(&file, "secrets = [\"one\"]\n").unwrap();
    let edge = Standalone::with(&["--credentials", file.to_str().unwrap()]);
    let mut held = allocate(edge.udp, &credentials("one", 600)).await.unwrap();
    replace(&file, "secrets = [\"one\"]\nalternates = [\"192.0.2.7:3478\"]\n");
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let request = Writer::new(Class::Request, Method::ALLOCATE, TransactionId([7; 12]))
        .requested_transport(17)
        .finish();
    let ask = async || {
        socket.send_to(&request, edge.udp).await.unwrap();
        let mut answer = [0; 1500];
        let (len, _) = socket.recv_from(&mut answer).await.unwrap();
        let answer = Message::parse(&answer[..len]).unwrap();
        (answer.error_code().unwrap(), answer.alternate_server().unwrap())
    };
    let elsewhere = (Some(Code::TRY_ALTERNATE), Some("192.0.2.7:3478".parse().unwrap()));
    until("the alternate", FILE_WITHIN, async || ask().await == elsewhere).await;
    held.refresh().await.unwrap();
}

#[test]
fn what_is_wrong_with_a_file_is_told_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.toml");
    let start = |text: &str| {
        fs::write(&file, text).unwrap();
        let (ok, _, error) =
            run(binary(), &["edge", "--standalone", "--credentials", file.to_str().unwrap()]);
        assert!(!ok);
        error
    };
    assert!(start("").contains("holds no credentials"), "{}", start(""));
    assert!(start("x = 1").contains("c.toml: line 1: `x` means nothing here"), "{}", start("x = 1"));
}
