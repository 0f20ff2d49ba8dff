//! Kicks and bans.

use super::*;
use crate::limits::REVOKED_MAX;

#[test]
fn revocations_expire_by_the_registrys_time_and_the_latest_counts() {
    let mut log = Log::default();
    let room = RoomKey { app: app("dev"), room: RoomName::new("tower").unwrap() };
    let who = Identity::new("claude").unwrap();
    let kick = |until| Command::Revoke {
        sessions: vec![session(1)],
        banned: Some((room.clone(), who.clone())),
        until: Unix::from_secs(until),
        banned_until: None,
    };
    log.does(kick(100));
    log.does(kick(50));
    let at = Unix::from_secs;
    assert_eq!(log.0.revoked(&session(1), at(99)), Some(at(100)));
    assert_eq!(log.0.revoked(&session(1), at(100)), None);
    assert_eq!(log.0.banned(&room, &who, at(99)), Some(at(100)));
    log.does(Command::Revoke {
        sessions: vec![session(1)],
        banned: Some((room.clone(), who.clone())),
        until: at(20),
        banned_until: Some(at(900)),
    });
    assert_eq!(log.0.revoked(&session(1), at(99)), Some(at(100)), "the two have their own ends");
    assert_eq!(log.0.banned(&room, &who, at(899)), Some(at(900)));
    log.does(Command::Pardon { room: room.clone(), identity: who.clone() });
    assert_eq!(log.0.banned(&room, &who, at(1)), None);
    assert!(log.0.revoked(&session(1), at(1)).is_some(), "a pardon revives no credential");
}

#[test]
fn a_full_table_of_revocations_is_swept_then_refuses() {
    let mut state = State::default();
    let mut index = 0_u64;
    let mut revoke = |state: &mut State, n: u32, at: u64, until: u64| {
        let mut id = [0; 15];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let sessions = vec![SessionId::from_random(id)];
        let until = Unix::from_secs(until);
        let command = Command::Revoke { sessions, banned: None, until, banned_until: None };
        index += 1;
        state.apply(Index(index), Entry { at: Unix::from_secs(at), by: None, note: None, command })
    };
    let max = u32::try_from(REVOKED_MAX).unwrap();
    for n in 0..max {
        assert_eq!(revoke(&mut state, n, 1, 100), Outcome::Done);
    }
    let full = Refusal::Full { thing: Thing::Revocation, max: u64::from(max) };
    assert_eq!(revoke(&mut state, max, 99, 200), Outcome::Refused(full));
    assert_eq!(revoke(&mut state, max, 100, 200), Outcome::Done);
    assert_eq!(state.revocations.sessions.len(), 1);
}
