//! Disks that forget, and directories that can't be opened.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use chappe_cluster::consensus::{Config, OpenError, Registry};
use chappe_proto::id::NodeId;

use crate::common::{alone, close, marked, open, propose_many};
use crate::order::pledged;

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_dir() {
            copy_all(&file.path(), &to.join(file.file_name()));
        } else {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
}

fn refused(config: Config) -> OpenError {
    Registry::open(config).err().expect("it was opened")
}

async fn with_marks(dir: &Path, marks: std::ops::Range<u64>) {
    let (registry, ended) = open(dir);
    propose_many(&registry, marks).await;
    close(registry, ended).await;
}

#[tokio::test]
async fn a_database_behind_its_pledge_is_refused_until_the_loss_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let (db, backup) = (dir.path().join("db"), dir.path().join("backup"));
    with_marks(dir.path(), 0..10).await;
    copy_all(&db, &backup);
    with_marks(dir.path(), 10..20).await;
    fs::remove_dir_all(&db).unwrap();
    fs::rename(&backup, &db).unwrap();

    let error = refused(alone(dir.path()));
    let OpenError::Regressed { found, pledged, alone: true, .. } = error else { panic!("{error}") };
    assert!(found < pledged && error.to_string().contains("--accept-loss"), "{error}");

    let (registry, ended) = Registry::open(Config { accept_loss: true, ..alone(dir.path()) }).unwrap();
    let state = registry.linearizable().await.unwrap();
    assert!((0..10).all(|n| marked(&state, n)) && !marked(&state, 15));
    // Term 2 was led by the first process, term 3 by the second, whose entries are lost.
    assert!(registry.status().term > 3);
    propose_many(&registry, 30..35).await;
    close(registry, ended).await;

    let (registry, ended) = open(dir.path());
    let state = registry.linearizable().await.unwrap();
    assert!((30..35).all(|n| marked(&state, n)), "afterwards it opens as ever");
    close(registry, ended).await;
}

#[tokio::test]
async fn a_member_of_many_with_a_loss_may_never_vote_again() {
    let dir = tempfile::tempdir().unwrap();
    let founders = vec![NodeId(1), NodeId(2), NodeId(3)];
    let config = || Config { founders: founders.clone(), ..alone(dir.path()) };
    let (registry, ended) = Registry::open(config()).unwrap();
    close(registry, ended).await;
    fs::remove_dir_all(dir.path().join("db")).unwrap();
    for accept_loss in [false, true] {
        let error = refused(Config { accept_loss, ..config() });
        assert!(matches!(error, OpenError::Regressed { alone: false, .. }), "{error}");
    }
}

#[tokio::test]
async fn a_lost_database_or_pledge_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    with_marks(dir.path(), 0..5).await;
    let pledge = dir.path().join("pledge");
    let kept = fs::read(&pledge).unwrap();

    fs::remove_file(&pledge).unwrap();
    let error = refused(alone(dir.path()));
    assert!(matches!(error, OpenError::NoPledge { alone: true, .. }), "{error}");
    fs::write(&pledge, vec![1; kept.len()]).unwrap();
    let error = refused(alone(dir.path()));
    assert!(matches!(error, OpenError::NoPledge { alone: true, .. }), "{error}");
    fs::write(&pledge, &kept).unwrap();

    fs::remove_dir_all(dir.path().join("db")).unwrap();
    let error = refused(alone(dir.path()));
    assert!(matches!(error, OpenError::Regressed { found: 0, alone: true, .. }), "{error}");
    let (registry, ended) = Registry::open(Config { accept_loss: true, ..alone(dir.path()) }).unwrap();
    assert!(!marked(&registry.linearizable().await.unwrap(), 0));
    close(registry, ended).await;
    let (registry, ended) = open(dir.path());
    close(registry, ended).await;
}

#[tokio::test]
async fn a_torn_pledge_falls_back_to_the_record_before() {
    let dir = tempfile::tempdir().unwrap();
    with_marks(dir.path(), 0..20).await;
    let [first, second] = pledged(dir.path());
    let newer = if first > second { 0 } else { 4096 };
    let file = File::options().write(true).open(dir.path().join("pledge")).unwrap();
    file.write_all_at(&[0xaa; 9], newer + 30).unwrap();
    let (registry, ended) = open(dir.path());
    let state = registry.linearizable().await.unwrap();
    assert!((0..20).all(|n| marked(&state, n)));
    close(registry, ended).await;
}

#[tokio::test]
async fn what_a_killed_opening_left_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    with_marks(dir.path(), 0..20).await;
    // sled was killed while it wrote a snapshot of its own.
    File::create(dir.path().join("db/snap.00000000000FFFFF.generating")).unwrap();
    let (registry, ended) = open(dir.path());
    let state = registry.linearizable().await.unwrap();
    assert!((0..20).all(|n| marked(&state, n)));
    close(registry, ended).await;
}

#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ended) = open(dir.path());
    propose_many(&registry, 0..5).await;
    let error = refused(alone(dir.path()));
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    close(registry, ended).await;

    let error = refused(Config::alone(dir.path(), NodeId(2)));
    assert!(matches!(error, OpenError::OtherMember { found: NodeId(1), .. }), "{error}");

    let file = dir.path().join("file");
    File::create(&file).unwrap();
    let error = refused(alone(&file.join("registry")));
    assert!(matches!(error, OpenError::Unwritable { .. }), "{error}");

    // Noise over the whole database: whatever sled makes of it, it is no panic and no empty registry.
    let db = dir.path().join("db/db");
    let len = usize::try_from(fs::metadata(&db).unwrap().len()).unwrap();
    let noise: Vec<u8> = (0..len).map(|n| u8::try_from(n * 31 % 251).unwrap()).collect();
    fs::write(&db, noise).unwrap();
    let error = refused(alone(dir.path()));
    assert!(matches!(error, OpenError::Damaged { .. } | OpenError::Regressed { .. }), "{error}");
}
