//! Changes that say from what they were made.

use super::*;
use crate::hooks::event::EventKind;
use crate::id::{HookId, LinkId, OperatorName};
use crate::registry::access::{AccessChange, LinkFor, Role};

fn room() -> RoomKey {
    RoomKey { app: app("a"), room: RoomName::new("r").unwrap() }
}

fn ada() -> OperatorName {
    OperatorName::new("ada").unwrap()
}

fn hook() -> HookId {
    HookId::from_random([1; 15])
}

/// A change of each, the nth of another kind than the one before.
fn changes(n: u32, since: [Option<Index>; 4]) -> [Command; 4] {
    let policy = AppPolicy { capacity: n, ..AppPolicy::default() };
    let events = [EventKind::PeerAway].into();
    let plan = HookPlan { url: "https://a.example/".into(), events, label: n.to_string(), disabled: false };
    let rules = RoomPolicy { capacity: Some(n), ..RoomPolicy::default() };
    let [of_app, of_room, of_hook, of_operator] = since;
    [
        Command::AppSet { app: app("a"), name: "A".into(), policy, since: of_app },
        Command::RoomSet { room: room(), policy: rules, by: String::new(), since: of_room },
        Command::HookSet { app: app("a"), hook: hook(), plan, since: of_hook },
        Command::Access(AccessChange::OperatorSet {
            name: ada(),
            role: Role::Viewer,
            disabled: n.is_multiple_of(2),
            since: of_operator,
        }),
    ]
}

fn changed(log: &Log) -> [Option<Index>; 4] {
    let state = &log.0;
    [
        state.app(&app("a")).map(|held| held.changed),
        state.made_room(&room()).map(|held| held.changed),
        state.hook(&app("a"), hook()).map(|held| held.changed),
        state.access().operator(&ada()).map(|held| held.changed),
    ]
}

#[test]
fn a_change_that_was_made_from_something_older_changes_nothing() {
    let mut log = Log::default();
    log.does(Command::AppAdd { app: app("a"), name: "A".into(), policy: AppPolicy::default() });
    let plan = HookPlan {
        url: "https://a.example/".into(),
        events: [].into(),
        label: String::new(),
        disabled: false,
    };
    log.does(Command::HookAdd { app: app("a"), hook: hook(), plan, secret: secret(32) });
    let (id, of) = (LinkId::from_random([1; 15]), LinkFor::New { role: Role::Viewer, name: None });
    let until = log.0.now() + Duration::from_secs(60);
    log.does(Command::Access(AccessChange::LinkAdd { id, hash: secret(32), of, until, by: None }));
    let password = Secret(b"$argon2id$".to_vec());
    log.does(Command::Access(AccessChange::LinkUse { id, name: ada(), password }));

    // A room of which nothing is decided has never changed.
    let mut seen = changed(&log);
    assert_eq!(seen[1], None);
    seen[1] = Some(Index(0));
    for command in changes(2, seen) {
        log.does(command);
    }
    let before = log.0.clone();
    for (command, thing) in
        changes(3, seen).into_iter().zip([Thing::App, Thing::Room, Thing::Hook, Thing::Operator])
    {
        // It is made anew from what is there: the attempt has no line of the audit log.
        let note = Note { who: "ada".into(), what: "changed it".into(), from: String::new() };
        let (index, at) = (Index(log.0.index().0 + 1), log.0.now());
        let said = log.0.apply(index, Entry { at, by: None, note: Some(note), command });
        assert_eq!(said, Outcome::Refused(Refusal::Changed(thing)));
        assert_eq!(log.0.audit().count(), 0, "{thing:?}");
    }
    assert_eq!(
        changed(&log),
        [
            before.app(&app("a")).map(|held| held.changed),
            before.made_room(&room()).map(|held| held.changed),
            before.hook(&app("a"), hook()).map(|held| held.changed),
            before.access().operator(&ada()).map(|held| held.changed),
        ]
    );
    assert_eq!(log.0.app(&app("a")).unwrap().policy.capacity, 2);
    for command in changes(3, changed(&log)).into_iter().chain(changes(4, [None; 4])) {
        log.does(command);
    }
    assert_eq!(log.0.rules(&room()).capacity, Some(4));
    log.does(Command::RoomRemove { room: room() });
    let [_, again, ..] = changes(5, before_removal(&before));
    assert_eq!(
        log.says(again),
        Outcome::Refused(Refusal::Changed(Thing::Room)),
        "nor is a removed one made anew"
    );
}

fn before_removal(state: &State) -> [Option<Index>; 4] {
    [None, state.made_room(&room()).map(|held| held.changed), None, None]
}
