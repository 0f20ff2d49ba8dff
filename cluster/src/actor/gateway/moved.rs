//! Joins by move tokens: of people whom an operator has sent from another room.

use chappe_proto::registry::State;
use chappe_proto::signal::code::{ErrorCode, Refusal};
use chappe_proto::signal::frame::Join;
use chappe_proto::signal::member::{Profile, Seat};
use chappe_proto::signal::moved::MoveToken;
use chappe_proto::signal::resume::OpenError;
use chappe_proto::signal::session::Start;
use chappe_proto::time::Now;

use super::{is_revoked, said, seat, start, unheard_key};
use crate::node::Node;

/// A fresh session of one who was moved: it is who it was, and may what it might.
pub(super) fn by_move(state: &State, now: Now, text: &str, join: Join) -> Result<Start, Refusal> {
    let token = MoveToken::open(text, &Node::sealing_keys(state), now.unix).map_err(|error| {
        let newer = MoveToken::sealed_by(text).is_some_and(|key| state.may_have_begun(key, now.unix));
        match error {
            OpenError::Unknown if newer => unheard_key(),
            OpenError::Unknown => Refusal::new(ErrorCode::TokenInvalid, "not a token of this cluster"),
            OpenError::Expired => {
                Refusal::new(ErrorCode::TokenExpired, "the token has expired; ask the app for another")
            }
        }
    })?;
    if token.room.room != join.room {
        return Err(Refusal::new(ErrorCode::TokenInvalid, "room: the token is for another room"));
    }
    // Who was kicked after it had been told to go is not to arrive.
    if is_revoked(state, now, &token.room, token.seat.session, token.identity.as_ref()) {
        return Err(Refusal::new(ErrorCode::Banned, "an admin removed you from this room"));
    }
    let Seat { peer, session, .. } = seat(token.seat.grants);
    let place = said(&token.seat);
    let seat = Seat { peer, session, token_until: token.until, ..token.seat };
    let metadata = join.metadata.or(token.metadata);
    let profile = Profile { identity: token.identity, name: join.name.or(token.name), metadata };
    let mut start = start(state, token.room, seat, profile)?;
    start.member.withheld = token.withheld;
    Ok(Start { place, ..start })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chappe_proto::id::{AppId, Identity, Index, RoomKey, RoomName};
    use chappe_proto::mesh::uplink::Secret;
    use chappe_proto::registry::{AppPolicy, Command, Entry};
    use chappe_proto::signal::frame::ClientFrame;
    use chappe_proto::signal::member::{Grants, Withheld};
    use chappe_proto::time::{Mono, Unix};

    use super::*;

    const NOW: Now = Now { mono: Mono(Duration::ZERO), unix: Unix::from_secs(1_800_000_000) };

    fn state() -> State {
        let mut state = State::default();
        let app = AppId::new("dev").unwrap();
        let commands = [
            Command::SealingKeyAdd { number: 1, key: Secret(vec![9; 32]) },
            Command::AppAdd { app, name: "Dev".to_owned(), policy: AppPolicy::default() },
        ];
        for (index, command) in (1..).zip(commands) {
            let entry = Entry { at: NOW.unix, by: None, note: None, command };
            state.apply(Index(index), entry).accepted().unwrap();
        }
        state
    }

    fn token() -> MoveToken {
        let grants = Grants { join: true, admin: true, ..Grants::default() };
        let seat = Seat { capacity: Some(3), ..seat(grants) };
        MoveToken {
            room: RoomKey { app: AppId::new("dev").unwrap(), room: RoomName::new("tower").unwrap() },
            seat,
            identity: Identity::new("ada").ok(),
            name: Some("Ada".to_owned()),
            metadata: None,
            withheld: Withheld { publish: true, broadcast: false, n: 4 },
            until: NOW.unix + Duration::from_secs(60),
        }
    }

    fn join(room: &str) -> Join {
        match ClientFrame::read(&format!(r#"{{"type":"join","room":"{room}"}}"#)) {
            Ok(ClientFrame::Join(join)) => *join,
            other => panic!("{other:?}"),
        }
    }

    fn arrives(state: &State, token: &MoveToken, room: &str) -> Result<Start, ErrorCode> {
        let text = token.seal(&Node::sealing_keys(state), [1; 24]).unwrap();
        by_move(state, NOW, &text, join(room)).map_err(|refusal| refusal.code)
    }

    #[test]
    fn one_that_was_moved_is_who_it_was_in_a_session_of_its_own() {
        let (state, token) = (state(), token());
        let Start { room, member, .. } = arrives(&state, &token, "tower").unwrap();
        assert_eq!((room, member.admitted), (token.room.clone(), None));
        assert_ne!((member.seat.peer, member.seat.session), (token.seat.peer, token.seat.session));
        assert_eq!((member.seat.grants, member.seat.capacity), (token.seat.grants, Some(3)));
        assert_eq!(member.seat.token_until, token.until, "so long a kick keeps its identity out");
        assert_eq!((member.profile.identity, member.profile.name), (token.identity, token.name));
        assert_eq!(member.withheld, token.withheld);
    }

    #[test]
    fn a_move_token_opens_its_room_for_its_time_and_nobody_who_was_kicked() {
        let (mut state, token) = (state(), token());
        assert_eq!(arrives(&state, &token, "lobby").unwrap_err(), ErrorCode::TokenInvalid);
        let old = MoveToken { until: NOW.unix, ..token.clone() };
        assert_eq!(arrives(&state, &old, "tower").unwrap_err(), ErrorCode::TokenExpired);
        for junk in ["m1.", "m1.1.AAAA", "m1.x.y"] {
            let refusal = by_move(&state, NOW, junk, join("tower")).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::TokenInvalid, "{junk}");
        }
        let command = Command::Revoke {
            sessions: vec![token.seat.session],
            banned: None,
            until: token.until,
            banned_until: None,
        };
        state.apply(Index(9), Entry { at: NOW.unix, by: None, note: None, command }).accepted().unwrap();
        assert_eq!(arrives(&state, &token, "tower").unwrap_err(), ErrorCode::Banned);
    }
}
