//! `chappe node` and `chappe cluster`: three nodes as processes, each verb and each refusal.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use chappe_tests::client::{ByHand, Client};
use chappe_tests::http;
use chappe_tests::nodes::{Node, no_node, three, voters};
use chappe_tests::process::{Process, WITHIN, binary, until};
use serde_json::{Value, json};

fn member(status: &Value, node: u64) -> &Value {
    let members = status["members"].as_array().unwrap();
    members.iter().find(|member| member["node"] == node).unwrap_or(&Value::Null)
}

#[test]
fn nodes_join_by_a_token_that_is_good_once() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = |name: &str| tmp.path().join(name);
    let first = Node::found(&dir("1"), "a");
    let token = first.invite(&["--region", "b"]);
    let elsewhere = no_node(&dir("2"), &["--join", &token, "--region", "c"]);
    assert!(elsewhere.contains("region b"), "{elsewhere}");
    let second = Node::join(&dir("2"), &token, "b");
    let used = no_node(&dir("3"), &["--join", &token, "--region", "b"]);
    assert!(used.contains("joined with this token"), "{used}");
    let events = first.told(&["events"]);
    assert!(
        events.contains("refused 127.0.0.1:") && events.contains("node 2 joined with this token"),
        "{events}"
    );
    let made: Value = serde_json::from_str(&first.told(&["--json", "invite"])).unwrap();
    let kept = first.told(&["status"]);
    assert!(kept.contains(made["id"].as_str().unwrap()), "{kept}");
    let withdrawn = first.told(&["invite", "--withdraw", made["id"].as_str().unwrap()]);
    assert!(withdrawn.contains("withdrawn"), "{withdrawn}");
    let gone = no_node(&dir("3"), &["--join", made["token"].as_str().unwrap(), "--region", "c"]);
    assert!(gone.contains("not valid here"), "{gone}");
    let third = Node::join(&dir("3"), &first.invite(&[]), "c");
    let status = third.until("three voters", |status| voters(status) == 3 && status["healthy"] == true);
    let regions: Vec<_> = (1..=3).map(|node| member(&status, node)["region"].clone()).collect();
    assert_eq!(regions, ["a", "b", "c"]);
    let members = second.told(&["members"]);
    for node in 1..=3 {
        assert!(members.contains(&format!("node {node} in ")), "{members}");
    }
    assert!(members.contains("lease    held") && members.contains(&third.mesh.to_string()), "{members}");
    // Nobody else reads what a node keeps.
    let mode = |name: &str| fs::metadata(dir("3").join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("admin-token"), mode("identity")), (0o600, 0o700));
}

#[test]
fn what_cannot_begin_says_what_it_needs() {
    let tmp = tempfile::tempdir().unwrap();
    let told = |options: &[&str]| no_node(&tmp.path().join("new"), options);
    assert!(told(&[]).contains("--found NAME"), "{}", told(&[]));
    assert!(told(&["--found", "a"]).contains("--region"));
    assert!(told(&["--join", "chappe-join-x", "--region", "a"]).contains("token"));
    assert!(told(&["--found", "a", "--join", "b"]).contains("cannot be used with"));
    assert!(told(&["--found", "a", "--region", "a", "--mesh", "0.0.0.0:0"]).contains("--mesh"));
    let mut node = Node::found(&tmp.path().join("1"), "a");
    let second = no_node(&tmp.path().join("1"), &[]);
    assert!(second.contains(&format!("kill {}", node.process().pid())), "{second}");
    let recover = node.cluster(&["recover", "--data", tmp.path().join("1").to_str().unwrap()]);
    assert!(!recover.ok && recover.error.contains("another chappe runs"), "{recover:?}");
    let nobody = tmp.path().join("none").to_str().unwrap().to_owned();
    let recover = node.cluster(&["recover", "--data", &nobody]);
    assert!(!recover.ok && recover.error.contains("holds no registry"), "{recover:?}");
}

#[test]
fn the_leadership_goes_where_it_is_told() {
    let tmp = tempfile::tempdir().unwrap();
    let nodes = three(tmp.path());
    assert_eq!(nodes[1].status()["leader"], 1);
    // Whichever node is asked.
    assert_eq!(nodes[1].told(&["transfer", "3"]), "node 3 leads\n");
    let status = nodes[0].until("node 3 leads", |status| status["leader"] == 3);
    assert_eq!(member(&status, 3)["role"], "leader");
    assert!(nodes[0].told(&["transfer"]).ends_with("leads\n"));
    assert!(nodes[0].refused(&["transfer", "9"]).contains("no such node"));
    assert!(nodes[0].told(&["profile", "wan"]).contains("wan"));
    assert!(nodes[0].told(&["voters", "5"]).contains('5'));
    assert!(nodes[0].told(&["weight", "2", "3"]).contains('3'));
    let set = |status: &Value| {
        status["profile"] == "wan" && status["voters_wanted"] == 5 && member(status, 2)["weight"] == 3
    };
    nodes[2].until("set as told", set);
    // What the weight is for: node 2 gets three of five parts, but for the shards that each region has for itself.
    nodes[2].until("balanced by weight", |status| {
        member(status, 2)["shards"].as_u64().is_some_and(|shards| (2400..2480).contains(&shards))
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_moves_people_on_and_can_be_called_off() {
    let tmp = tempfile::tempdir().unwrap();
    let nodes = tokio::task::block_in_place(|| three(tmp.path()));
    let ada = Client::join(nodes[1].http, json!({ "room": "room", "identity": "ada" })).await;
    let mut ben = Client::join(nodes[2].http, json!({ "room": "room", "identity": "ben" })).await;
    ada.signal(&ben.peer, 1).await;
    assert_eq!(ben.signals(&ada.peer, 1).await, [json!(1)]);
    let told = tokio::task::block_in_place(|| nodes[0].told(&["drain", "2"]));
    assert!(told.ends_with("node 2 is empty: stop it when you like\n"), "{told}");
    let status = tokio::task::block_in_place(|| nodes[2].status());
    assert_eq!(member(&status, 2)["shards"], 0);
    ada.signal(&ben.peer, 2).await;
    assert_eq!(ben.signals(&ada.peer, 1).await, [json!(2)]);
    tokio::task::block_in_place(|| {
        assert!(nodes[0].told(&["resume", "2"]).contains("takes rooms again"));
        nodes[0].until("balanced", |status| {
            (1..=3).all(|node| member(status, node)["shards"].as_u64().is_some_and(|n| n >= 1365))
        });
        assert!(nodes[0].told(&["drain", "2", "--no-wait"]).contains("resume 2"));
        assert!(nodes[0].told(&["drain", "3", "--no-wait"]).contains("resume 3"));
        assert!(nodes[0].refused(&["drain", "1"]).contains("no other node could take"));
    });
}

#[test]
fn programs_are_answered_in_json() {
    let tmp = tempfile::tempdir().unwrap();
    let nodes = three(tmp.path());
    let lines = nodes[0].told(&["--json", "drain", "3"]);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.last(), Some(&json!({ "node": 3, "drained": true })));
    let members: Value = serde_json::from_str(&nodes[1].told(&["--json", "members"])).unwrap();
    assert_eq!((&members[2]["node"], &members[2]["draining"]), (&json!(3), &json!(true)));
    assert_eq!(nodes[0].told(&["--json", "resume", "3"]), "{}\n");
    let moved: Value = serde_json::from_str(&nodes[0].told(&["--json", "transfer", "2"])).unwrap();
    assert_eq!(moved, json!({ "leader": 2 }));
    let events: Value = serde_json::from_str(&nodes[0].told(&["--json", "events"])).unwrap();
    let texts = events.as_array().unwrap().iter().filter_map(|event| event["text"].as_str());
    assert!(texts.clone().any(|text| text.contains("node 2 votes")), "{events}");
    assert!(nodes[0].told(&["events"]).contains("ago  "));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_is_let_in_by_its_files() {
    let tmp = tempfile::tempdir().unwrap();
    let node = tokio::task::block_in_place(|| Node::found(&tmp.path().join("1"), "a"));
    let dir = tmp.path().join("edge").to_str().unwrap().to_owned();
    let edge = tokio::task::block_in_place(|| {
        let told = node.told(&["edge", "identity", "edge-a", &dir]);
        assert!(told.contains("chappe edge --data"), "{told}");
        assert!(node.refused(&["edge", "identity", "edge-a", &dir]).contains("there already"));
        let key = fs::metadata(tmp.path().join("edge/key.pem")).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
        let edge = Process::start(Command::new(binary()).args([
            "edge",
            "--identity",
            &dir,
            "--region",
            "a",
            "--listen",
            "127.0.0.1:0",
        ]));
        let _ = edge.stdout.until("stops it.");
        edge
    });
    let there = async || http::get(node.http, "/readyz").await.contains("\"edges\":1");
    until("the edge reports", WITHIN, there).await;
    let ada = Client::join(node.http, json!({ "room": "room", "identity": "ada" })).await;
    let said = edge.stdout.text();
    let udp = said.lines().find_map(|line| line.strip_prefix("UDP ")?.split(',').next()).unwrap();
    assert!(ada.welcome["ice_servers"].to_string().contains(udp), "{udp} not in {}", ada.welcome);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains_and_a_second_signal_does_not_wait() {
    let tmp = tempfile::tempdir().unwrap();
    let mut nodes = tokio::task::block_in_place(|| three(tmp.path()));
    let ada = Client::join(nodes[2].http, json!({ "room": "room", "identity": "ada" })).await;
    let mut ben = Client::join(nodes[0].http, json!({ "room": "room", "identity": "ben" })).await;
    let mut last = tokio::task::block_in_place(|| {
        let mut last = nodes.remove(2);
        let begin = Instant::now();
        let status = last.process().terminate();
        assert_eq!(status.code(), Some(0), "{}", last.process().stderr.text());
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
        last
    });
    let said = last.process().stdout.whole();
    assert!(said.contains("draining") && said.ends_with("stopped\n"), "{said}");
    ada.signal(&ben.peer, "still here").await;
    assert_eq!(ben.signals(&ada.peer, 1).await, [json!("still here")]);
    // It comes back, and is not drained any more.
    let mut last = tokio::task::block_in_place(|| {
        let last = last.again();
        nodes[0].until("node 3 has rooms again", |status| {
            member(status, 3)["shards"].as_u64() >= Some(1365) && status["healthy"] == true
        });
        last
    });
    // Who cannot resume keeps it waiting.
    let (_socket, _) = ByHand::joined(last.http, "other").await;
    tokio::task::block_in_place(|| {
        let begin = Instant::now();
        last.process().hurry();
        assert_eq!(last.process().wait(Duration::from_secs(10)).code(), Some(0));
        assert!(begin.elapsed() < Duration::from_secs(10));
    });
}

#[test]
fn a_node_that_is_removed_is_gone_for_good() {
    let tmp = tempfile::tempdir().unwrap();
    let mut nodes = three(tmp.path());
    let token = nodes[0].invite(&[]);
    let fourth = Node::join(&tmp.path().join("4"), &token, "d");
    nodes[0].until("four nodes are well", |status| {
        status["healthy"] == true && member(status, 4)["state"] == "up"
    });
    nodes.push(fourth);
    let told = nodes[0].told(&["remove", "2"]);
    assert!(told.contains("node 2 is removed"), "{told}");
    let status = nodes[0].until("another votes", |status| voters(status) == 3 && status["healthy"] == true);
    assert_eq!(member(&status, 2), &Value::Null);
    let mut removed = nodes.remove(1);
    assert_eq!(removed.process().wait(Duration::from_secs(20)).code(), Some(3));
    let why = removed.process().stderr.whole();
    assert!(why.contains("removed"), "{why}");
    let again = no_node(&removed.data, &["--mesh", &removed.mesh.to_string()]);
    assert!(again.contains("removed"), "{again}");
    assert!(nodes[0].refused(&["remove", "2"]).contains("no such node"));
    // One that is dead leaves without being asked.
    let mut dead = nodes.pop().unwrap();
    dead.process().kill();
    nodes[0].until("node 4 is down", |status| member(status, 4)["state"] == "down");
    let told = nodes[0].told(&["remove", "4"]);
    assert!(told.contains("node 4 is removed"), "{told}");
}

#[test]
fn a_new_authority_certifies_everybody() {
    let tmp = tempfile::tempdir().unwrap();
    let nodes = three(tmp.path());
    let path = |node: u64, name: &str| tmp.path().join(node.to_string()).join("identity").join(name);
    let own = |node| fs::read_to_string(path(node, "node.pem")).unwrap();
    let before: Vec<_> = (1..=3).map(own).collect();
    assert!(nodes[1].told(&["rotate"]).contains("authority 2"));
    // The former one is trusted for a while; newcomers are certified by the new one.
    let status = nodes[2].until("all have new certificates", |status| {
        status["authorities"].as_array().unwrap().len() == 2
            && status["healthy"] == true
            && (1..=3).zip(&before).all(|(node, before)| own(node) != *before)
    });
    assert_ne!(status["authorities"][0]["fingerprint"], status["authorities"][1]["fingerprint"]);
    let fourth = Node::join(&tmp.path().join("4"), &nodes[0].invite(&[]), "d");
    fourth.until("four nodes", |status| member(status, 4)["state"] == "up" && status["healthy"] == true);
    let trusted = fs::read_to_string(path(4, "authorities.pem")).unwrap();
    assert_eq!(trusted.matches("BEGIN CERTIFICATE").count(), 2);
}

#[test]
fn a_backup_begins_another_cluster() {
    let tmp = tempfile::tempdir().unwrap();
    let path = |name: &str| tmp.path().join(name).to_str().unwrap().to_owned();
    let node = Node::found(&tmp.path().join("1"), "a");
    let key = fs::read_to_string(tmp.path().join("1/api-key.json")).unwrap();
    let told = node.told(&["backup", &path("backup")]);
    assert!(told.contains("secrets"), "{told}");
    assert_eq!(fs::metadata(path("backup")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(node.refused(&["backup", &path("backup")]).contains("not there yet"));
    let restore = |file: &str, to: &str| node.cluster(&["restore", file, "--data", to, "--region", "a"]);
    let onto = restore(&path("backup"), &path("1"));
    assert!(!onto.ok, "{onto:?}");
    let bytes = fs::read(path("backup")).unwrap();
    fs::write(path("short"), &bytes[..bytes.len() - 7]).unwrap();
    let short = restore(&path("short"), &path("2"));
    assert!(!short.ok && short.error.contains("cut short"), "{short:?}");
    let done = restore(&path("backup"), &path("2"));
    assert!(done.ok && done.out.contains("chappe node --data"), "{done:?}");
    let other = Node::start(&tmp.path().join("2"), &[]);
    assert_eq!(fs::read_to_string(path("2/api-key.json")).unwrap(), key);
    let (was, is) = (node.status(), other.status());
    assert_eq!(was["name"], is["name"]);
    assert_ne!(was["id"], is["id"]);
    other.until("well", |status| status["healthy"] == true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_lease_takes_nobody_and_ends_no_session() {
    use tokio::task::block_in_place;
    let tmp = tempfile::tempdir().unwrap();
    let mut nodes = block_in_place(|| three(tmp.path()));
    let (_, welcome) = ByHand::joined(nodes[0].http, "room").await;
    let join = json!({ "room": "room", "resume": welcome["resume"] });
    let last = nodes.pop().unwrap();
    nodes.iter_mut().for_each(|node| node.process().kill());
    block_in_place(|| last.until("no lease", |status| member(status, 3)["own"]["lease"] == false));
    let mut ada = ByHand::open(last.http).await;
    for _ in 0..8 {
        let refused = ada.join(join.clone()).await;
        assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("unavailable")));
        assert!(refused["retry_after_ms"].as_u64().is_some(), "{refused}");
    }
    let closed = ada.hear().await;
    assert_eq!((&closed["code"], &closed["resume"]), (&json!("unavailable"), &json!(true)));
    assert_eq!(ada.hear().await, json!({ "type": "end", "code": 4005 }));
    // The others are back: so is the session.
    let _nodes = block_in_place(|| Node::all_again(nodes));
    block_in_place(|| last.until("a lease", |status| member(status, 3)["own"]["lease"] == true));
    let back = ByHand::open(last.http).await.join(join).await;
    assert_eq!((&back["type"], &back["peer"]), (&json!("rebuilt"), &welcome["peer"]), "{back}");
}

#[test]
fn what_is_left_of_a_lost_quorum_is_recovered() {
    let tmp = tempfile::tempdir().unwrap();
    let mut nodes = three(tmp.path());
    for node in &mut nodes[..2] {
        node.process().kill();
    }
    let mut last = nodes.pop().unwrap();
    last.until("without a leader", |status| {
        let told = status["problems"][0].as_str().unwrap_or_default();
        told.starts_with("no leader: 2 of 3 voters unreachable: node 1 (a, last heard ")
    });
    let refused = last.refused(&["drain", "1"]);
    assert!(refused.contains("no leader: 2 of 3 voters unreachable: node 1"), "{refused}");
    last.process().kill();
    let data = last.data.to_str().unwrap().to_owned();
    let asked = last.cluster(&["recover", "--data", &data]);
    assert!(asked.ok && asked.out.contains("Nothing has been done"), "{asked:?}");
    let done = last.cluster(&["recover", "--data", &data, "--yes"]);
    assert!(done.ok && done.out.contains("Voters 1, 2 are removed"), "{done:?}");
    let last = last.again();
    let status = last.until("well", |status| status["healthy"] == true);
    assert_eq!((voters(&status), &status["leader"]), (1, &json!(3)));
    // Whoever was lost comes back as somebody new.
    let old = no_node(&tmp.path().join("1"), &["--mesh", &nodes[0].mesh.to_string()]);
    assert!(old.contains("removed"), "{old}");
    let token = last.invite(&[]);
    let anew = Node::join(&tmp.path().join("anew"), &token, "a");
    anew.until("two nodes", |status| {
        status["healthy"] == true && status["members"].as_array().unwrap().len() == 2
    });
}

/// All files of a directory.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy(&file.path(), &to);
        } else {
            fs::copy(file.path(), to).unwrap();
        }
    }
}

#[test]
fn a_disk_that_came_back_older_is_told_by_the_others() {
    let tmp = tempfile::tempdir().unwrap();
    let mut nodes = three(tmp.path());
    let leader = nodes[0].status()["leader"].as_u64().unwrap();
    let forgetful = (1..=3).find(|node| *node != leader).unwrap();
    let mut lost = nodes.remove(usize::try_from(forgetful).unwrap() - 1);
    let (db, older) = (lost.data.join("registry/db"), tmp.path().join("older"));
    lost.process().kill();
    lost.process().wait(WITHIN);
    copy(&db, &older);
    let mut lost = lost.again();
    nodes[0].until("all well", |status| status["healthy"] == true);
    lost.process().kill();
    lost.process().wait(WITHIN);
    fs::remove_dir_all(&db).unwrap();
    copy(&older, &db);

    let same = |status: &Value| (status["leader"].clone(), status["term"].clone());
    let before = same(&nodes[0].status());
    let place = lost.mesh.to_string();
    let why = no_node(&lost.data, &["--mesh", &place]);
    assert!(
        why.contains("has lost data: the disk kept ") && why.contains("join again as a new one"),
        "{why}"
    );
    let refusal = format!("refused {place}: its disk has lost what it had acknowledged (");
    for node in &mut nodes {
        let events = node.told(&["events"]);
        assert_eq!(events.matches(&refusal).count(), 1, "{events}");
        assert!(events.contains(&format!("node {forgetful}")) && events.contains("its log says"), "{events}");
        let log = node.process().stderr.text();
        assert!(log.contains(&format!("refused a link with node {forgetful}: its disk has lost")), "{log}");
    }
    // Nobody else has noticed anything.
    let status = nodes[0].status();
    assert_eq!(same(&status), before);
    for node in (1..=3).filter(|node| *node != forgetful) {
        let member = member(&status, node);
        assert_eq!((&member["generation"], &member["state"]), (&json!(1), &json!("up")), "{status}");
    }
    // Whoever was lost comes back as somebody new.
    assert!(nodes[0].told(&["remove", &forgetful.to_string()]).contains("is removed"));
    let anew = Node::join(&tmp.path().join("anew"), &nodes[0].invite(&[]), "b");
    anew.until("three voters", |status| voters(status) == 3 && status["healthy"] == true);
}

#[test]
fn a_cluster_that_was_stopped_as_a_whole_starts_again() {
    let tmp = tempfile::tempdir().unwrap();
    let mut nodes = three(tmp.path());
    for node in &mut nodes {
        node.process().kill();
    }
    // The first one back says what it waits for.
    let mut first = nodes.remove(0).begin_again();
    let _ = first.process().stderr.until("waiting for a leader: 2 of 3 voters unreachable: node 2 (b");
    let _others = Node::all_again(nodes);
    let first = first.finish();
    let status = first.until("well", |status| voters(status) == 3 && status["healthy"] == true);
    assert!((1..=3).all(|node| member(&status, node)["generation"] == 2), "{status}");
}
