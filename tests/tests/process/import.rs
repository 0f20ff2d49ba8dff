//! `chappe turn import`, from what coturn's own tools write.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chappe_tests::http;
use chappe_tests::process::{Chappe, binary, run, until};
use chappe_tests::turn::Turn;
use serde_json::{Value, json};

use crate::credentials::allocate;
use crate::edge::{Standalone, credentials};

fn turnadmin(database: &Path, args: &[&str]) {
    let (ok, out, error) = run("turnadmin", &[&["-b", database.to_str().unwrap()], args].concat());
    assert!(ok, "{args:?}: {out}{error}");
}

/// A secret of Debian's example is `north`, which a cluster finds too short.
const SECRET: &str = "north by northwest";

/// Users, a secret and an origin by `turnadmin`, peers and what is no good by hand.
fn database(dir: &Path) -> PathBuf {
    let path = dir.join("turndb");
    for (user, password) in [("ada", "one"), ("ben", "two words")] {
        turnadmin(&path, &["-a", "-u", user, "-r", "example.org", "-p", password]);
    }
    turnadmin(&path, &["-a", "-u", "eve", "-r", "elsewhere.org", "-p", "three"]);
    turnadmin(&path, &["-s", SECRET, "-r", "example.org"]);
    turnadmin(&path, &["-O", "-o", "https://meet.example.org", "-r", "example.org"]);
    turnadmin(&path, &["-A", "-u", "root", "-p", "hushhush"]);
    let database = rusqlite::Connection::open(&path).unwrap();
    database
        .execute_batch(
            "INSERT INTO turnusers_lt VALUES ('example.org', 'hash', '$5$79a316b350311570$81df9cfb9af7f5e5');
             INSERT INTO turnusers_lt VALUES ('example.org', 'broken', X'00FF');
             INSERT INTO allowed_peer_ip VALUES ('', '127.0.0.1-127.0.0.2');
             INSERT INTO denied_peer_ip VALUES ('', '127.0.0.0-127.0.0.7');
             INSERT INTO oauth_key VALUES ('north', 'hushhush', 0, 0, '', '');
             INSERT INTO turn_realm_option VALUES ('example.org', 'max-bps', '1000');",
        )
        .unwrap();
    path
}

fn config(dir: &Path) -> PathBuf {
    let path = dir.join("turnserver.conf");
    let text = "# Ours\nlistening-port=3478\nexternal-ip=192.0.2.1\nlt-cred-mech\nrealm=example.org\n\
                user=cat:0xe7689b73e913479d2a40be88f22bca68\nuser=dan:dan's password\nuser=nobody\n\
                cli-password=hushhush\nno-multicast-peers\nstale-nonce=600\n";
    fs::write(&path, text).unwrap();
    path
}

fn import(args: &[&str]) -> (bool, String, String) {
    run(binary(), &[&["turn", "import"], args].concat())
}

fn pair(name: &str, password: &str) -> (String, String) {
    (name.to_owned(), password.to_owned())
}

#[tokio::test]
async fn what_coturn_had_works_on_an_edge_that_runs_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (database, config) = (database(dir.path()), config(dir.path()));
    let out = dir.path().join("credentials.toml");
    let [database, config, out] = [&database, &config, &out].map(|path| path.to_str().unwrap());
    let options = ["--config", config, "--database", database, "--realm", "example.org", "--out", out];
    let (ok, said, error) = import(&options);
    assert!(ok, "{error}");
    for line in [
        "found    4 users of example.org (3 with an MD5 key only)",
        "found    1 shared secret of REST credentials",
        "found    1 origin with a realm of its own",
        "found    2 prefixes of allowed peers",
        "skipped  user \"hash\": a password hash",
        "skipped  a row of turnusers_lt: not UTF-8",
        "skipped  user \"eve\" of \"elsewhere.org\": of another realm",
        "skipped  user \"nobody\": neither a password nor a key",
        "skipped  OAuth key \"north\": third-party authorization",
        "skipped  administrator \"root\"",
        "skipped  max-bps=1000 of the realm \"example.org\"",
        "note     listening-port: give it with each --listen IP:3478",
        "note     external-ip: --advertise 192.0.2.1",
        "note     stale-nonce: a nonce lasts an hour here",
        "note     cli-password: there is no CLI",
        "note     peers: coturn relays to private addresses",
        "credentials.toml --realm \"example.org\"\n",
    ] {
        assert!(said.contains(line), "no {line:?} in\n{said}");
    }
    assert!(!said.contains("hushhush") && !said.contains(SECRET) && !said.contains("e7689b"), "{said}");
    assert!(!said.contains("no-multicast-peers"), "what is so anyway is no news: {said}");
    let written = fs::read_to_string(out).unwrap();
    assert!(!written.contains("dan's password") && written.contains("e7689b"), "{written}");
    assert!(!run("find", &[out, "-perm", "600"]).1.is_empty(), "others may read it");

    let edge = Standalone::with(&["--realm", "example.org", "--credentials", out]);
    for who in [
        pair("ada", "one"),
        pair("ben", "two words"),
        pair("dan", "dan's password"),
        credentials(SECRET, 600),
    ] {
        assert!(allocate(edge.udp, &who).await.is_ok(), "{} does not allocate", who.0);
    }
    for who in [pair("ada", "two words"), pair("eve", "three"), pair("hash", "")] {
        assert!(allocate(edge.udp, &who).await.is_err(), "{} allocates", who.0);
    }
    // Allowed where it was allowed, denied beside it.
    let mut turn: Turn = allocate(edge.udp, &pair("ada", "one")).await.ok().unwrap();
    turn.permit("127.0.0.1:9".parse().unwrap()).await.unwrap();
    assert!(turn.permit("127.0.0.5:9".parse().unwrap()).await.is_err());

    // Nothing is overwritten unless it is said.
    let (ok, _, error) = import(&options);
    assert!(!ok && error.contains("--force"), "{error}");
    assert!(import(&[&options[..], &["--force"]].concat()).0);
    assert_eq!(fs::read_to_string(out).unwrap(), written);
}

async fn admin(node: &Chappe, path: &str) -> Value {
    let path = format!("/admin/api/v1/turn{path}");
    let (status, body) = http::request(node.http, "GET", &path, Some(&node.admin_token())).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_coturn_had_works_in_a_cluster_however_often_it_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let database = database(dir.path());
    let node = Chappe::dev(&dir.path().join("data"));
    // The cluster's own realm is fixed; users of it are what its edges ask for.
    turnadmin(&database, &["-a", "-u", "ada", "-r", "chappe", "-p", "one"]);
    let token = node.data().join("admin-token");
    let (database, token) = (database.to_str().unwrap(), token.to_str().unwrap());
    let url = format!("http://{}", node.http);
    let options = ["--database", database, "--to", &url, "--token-file", token];
    for _ in 0..2 {
        let (ok, said, error) = import(&options);
        assert!(ok, "{said}{error}");
        assert!(said.contains("sent     1 shared secret, 4 users, 1 origin, 5 prefixes"), "{said}");
    }
    let users = admin(&node, "/users").await;
    let md5 = |realm: &str, name: &str| json!({ "realm": realm, "name": name, "keys": ["md5"] });
    let (ada, ben) = (md5("example.org", "ada"), md5("example.org", "ben"));
    assert_eq!(users, json!([md5("chappe", "ada"), md5("elsewhere.org", "eve"), ada, ben]));
    assert_eq!(admin(&node, "/origins").await, json!({ "https://meet.example.org": "example.org" }));
    let denied = json!(["127.0.0.0/32", "127.0.0.3/32", "127.0.0.4/30"]);
    assert_eq!(admin(&node, "/peers").await["deny"], denied);
    until("the users reach the edge", Duration::from_secs(5), async || {
        allocate(node.turn_udp, &pair("ada", "one")).await.is_ok()
    })
    .await;
    assert!(allocate(node.turn_udp, &credentials(SECRET, 600)).await.is_ok());

    let wrong = dir.path().join("wrong");
    fs::write(&wrong, "wrong\n").unwrap();
    let (ok, _, error) =
        import(&["--database", database, "--to", &url, "--token-file", wrong.to_str().unwrap()]);
    assert!(!ok && error.contains("operator's token"), "{error}");
}

/// Over TLS, by a node's certificate that is trusted because it is said, and by nothing else.
#[test]
fn a_cluster_is_reached_over_https_too() {
    let dir = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let [pem, key, config] = ["node.pem", "node.key", "turnserver.conf"].map(|name| dir.path().join(name));
    fs::write(&pem, own.cert.pem()).unwrap();
    fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    fs::write(&config, "realm=chappe\nuser=ada:one\n").unwrap();
    let [pem, key, config] = [&pem, &key, &config].map(|path| path.to_str().unwrap());
    let data = dir.path().join("data");
    let node = Chappe::dev_with(&data, &["--https", "0", "--certificate", pem, "--key", key]);
    let token = data.join("admin-token");
    let url = format!("https://localhost:{}", node.https().port());
    let options = ["--config", config, "--to", &url, "--token-file", token.to_str().unwrap()];
    let (ok, said, error) = import(&[&options[..], &["--ca", pem]].concat());
    assert!(ok && said.contains("sent     1 user\n"), "{said}{error}");
    let (ok, _, error) = import(&options);
    assert!(!ok && error.contains("certificate"), "{error}");
}

#[test]
fn what_is_no_database_and_no_configuration_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let out = dir.path().join("out");
    let (file, out) = (file.to_str().unwrap(), out.to_str().unwrap());
    let (ok, _, error) = import(&["--database", file, "--out", out]);
    assert!(!ok && error.contains(file) && error.contains("no SQLite database"), "{error}");
    fs::write(file, "realm=r\n").unwrap();
    let (ok, _, error) = import(&["--database", file, "--out", out]);
    assert!(!ok && error.contains("no SQLite database"), "{error}");
    let (ok, _, error) = import(&["--config", file, "--out", out]);
    assert!(!ok && error.contains("no user and no secret was found"), "{error}");
    assert!(!fs::exists(out).unwrap());
    let (ok, _, error) = import(&["--out", out]);
    assert!(!ok && error.contains("--config"), "{error}");
}
