//! A node's disk is full.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use chappe_tests::cluster::Cluster;
use chappe_tests::netns::wait;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::talk::Talk;

/// Room for a young node, and no more.
const SIZE: u64 = 160 << 20;
const SOON: Duration = Duration::from_secs(30);

/// A disk in memory, unmounted when it is dropped.
struct Disk(TempDir);

impl Disk {
    /// Nothing without root's rights, which mounting needs.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: this test mounts a tmpfs and needs root");
            return None;
        }
        let at = TempDir::new().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={SIZE}"), "tmpfs"])
            .arg(at.path())
            .status()
            .unwrap();
        assert!(mounted.success());
        Some(Self(at))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Fills it until so many bytes are free.
    fn fill(&self, free: u64) {
        let disk = rustix::fs::statvfs(self.path()).unwrap();
        let used = (disk.f_bfree * disk.f_frsize).saturating_sub(free);
        let chunk = vec![7_u8; 1 << 20];
        let mut file = fs::File::create(self.path().join("ballast")).unwrap();
        for _ in 0..used >> 20 {
            if std::io::Write::write_all(&mut file, &chunk).is_err() {
                break;
            }
        }
    }

    fn empty(&self) {
        fs::remove_file(self.path().join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// The two talk until `event` has been seen.
fn talk_until(runtime: &Runtime, talk: &mut Talk, event: impl FnOnce()) {
    thread::scope(|scope| {
        let (tell, told) = oneshot::channel::<()>();
        scope.spawn(|| runtime.block_on(talk.during(async { drop(told.await) })));
        event();
        drop(tell); // also where it is never seen, and the test ends
    });
}

#[test]
fn a_full_disk_raises_an_alarm_and_harms_nobody_elsewhere() {
    let Some(disk) = Disk::new() else { return };
    let mut cluster =
        Cluster::with_directories(3, |id, dir| if id == 2 { disk.path().join("node") } else { dir });
    let room = cluster.room_of(3);
    let (one, other) = (cluster.at(1), cluster.at(2));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut talk = runtime.block_on(Talk::join(&room, one, other));
    disk.fill(1 << 20);
    talk_until(&runtime, &mut talk, || {
        wait("the alarm", SOON, || {
            let status = cluster.status(&[]);
            let node = status["members"].as_array()?.iter().find(|member| member["node"] == 2)?.clone();
            // What has ended for its full disk needs no alarm: it is seen to be down.
            (node["own"]["disk_low"] == true || node["state"] != "up").then_some(())
        });
    });
    // The others go on: a change of the registry is committed.
    talk_until(&runtime, &mut talk, || {
        wait("a change to be committed", SOON, || {
            cluster.nodes[0].ask("PUT", "/nodes/3/weight", &json!({ "weight": 1 }))
        });
    });
    // With room again, and where it had ended started again, it is a node like the others.
    disk.empty();
    let ended = cluster.node(2).process().ended();
    if let Some(status) = ended {
        assert!(!status.success(), "a disk that is full is no good end: {status}");
        let said = cluster.node(2).process().stderr.text();
        assert!(said.contains("space") || said.contains("disk"), "it ended with its reason: {said}");
        cluster.node(2).start();
    }
    talk_until(&runtime, &mut talk, || cluster.until_well());
    talk_until(&runtime, &mut talk, || {
        let status = cluster.nodes[0].call("GET", "/cluster", &Value::Null);
        assert_eq!(status["members"].as_array().unwrap().len(), 3);
    });
}
