//! What one node has heard of users' usage.
//!
//! A series is told for a limited time ([`limits::USAGE_SERIES_FOR`], twice that where its edge hears no answer),
//! and remembered for longer than that ([`limits::USAGE_KEPT`]); of two words on it the greater one counts. So a
//! word that comes twice, late, or by way of two nodes adds nothing, and a series that was forgotten does not
//! come back. What a node has not heard it does not count: of several nodes' figures the greatest is nearest to
//! the truth, and none is above it.
//!
//! Edges know sessions alone. The node where a session is, or was lately, knows its room, and tells the others when
//! it hears that the session relays.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Relayed, Tally, UsageOf, UsagePage};
use crate::id::{AppId, EdgeId, Region, RoomKey, RoomName, SessionId};
use crate::limits;
use crate::mesh::uplink::Usage;
use crate::time::Mono;

/// Who relays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum User {
    Session(SessionId),
    Name(String),
}

impl User {
    fn of(usage: &Usage) -> Option<Self> {
        match (usage.session, &usage.name) {
            (Some(session), _) => Some(Self::Session(session)),
            (None, Some(name)) if name.len() <= limits::TURN_NAME_MAX => Some(Self::Name(name.clone())),
            _ => None,
        }
    }
}

/// One series.
#[derive(Debug)]
struct Heard {
    user: User,
    relayed: Relayed,
    first: Mono,
}

/// One user.
#[derive(Debug)]
struct Account {
    room: Option<RoomKey>,
    relayed: Tally,
    /// When it was heard last that it had relayed.
    at: Mono,
    /// When the other nodes were told of its room last.
    told: Option<Mono>,
}

#[derive(Debug, Default)]
struct App {
    relayed: Tally,
    rooms: BTreeMap<RoomName, Room>,
}

#[derive(Debug, Default)]
struct Room {
    relayed: Tally,
    at: Mono,
    /// Those of its sessions that have accounts.
    sessions: BTreeSet<SessionId>,
}

/// What one node has heard.
#[derive(Debug, Default)]
pub struct Ledger {
    series: BTreeMap<u64, Heard>,
    users: BTreeMap<User, Account>,
    apps: BTreeMap<AppId, App>,
    /// Rooms of all apps.
    rooms: usize,
    /// Edges, [`limits::EDGES_MAX`] at most.
    edges: BTreeMap<EdgeId, Tally>,
    names: Tally,
    total: Tally,
    /// Sessions that are on this node or were, their rooms, and when they were seen last.
    here: BTreeMap<SessionId, (RoomKey, Mono)>,
    missed: u64,
}

impl Ledger {
    /// A session is on this node.
    pub fn handle_session(&mut self, now: Mono, session: SessionId, room: RoomKey) {
        self.here.insert(session, (room, now));
    }

    /// Takes what an edge said, to this node or another. Answers what the other nodes are to be told: the rooms of
    /// those sessions that are here.
    pub fn handle_usage(&mut self, now: Mono, usage: &[Usage]) -> Vec<(SessionId, RoomKey)> {
        let mut tell = Vec::new();
        for said in usage {
            let Some(user) = User::of(said) else { continue };
            let more = self.hear(now, said.series, &user, Relayed::from(said));
            if more.is_none() {
                continue;
            }
            let region = said.by.as_ref().map(|(_, region)| region);
            self.total.add(more, region);
            self.count_edge(said, more);
            match user {
                User::Session(session) => tell.extend(self.count_session(now, session, more, region)),
                User::Name(_) => {
                    self.names.add(more, region);
                    if let Some(account) = self.account(now, user) {
                        account.relayed.add(more, region);
                    }
                }
            }
        }
        tell
    }

    fn count_edge(&mut self, said: &Usage, more: Relayed) {
        let Some((edge, region)) = &said.by else { return };
        if self.edges.len() < limits::EDGES_MAX || self.edges.contains_key(edge) {
            self.edges.entry(edge.clone()).or_default().add(more, Some(region));
        }
    }

    /// Another node tells of the rooms of its sessions.
    pub fn handle_rooms(&mut self, now: Mono, rooms: &[(SessionId, RoomKey)]) {
        for (session, room) in rooms {
            self.assign(now, *session, room);
        }
    }

    /// Forgets what is old. `is_here` says of a session whether it is on this node still, `stays` of one whether it
    /// is asked for though it relays no more: an issued credential is, as long as it is there.
    pub fn handle_timeout(
        &mut self,
        now: Mono,
        is_here: impl Fn(&SessionId) -> bool,
        stays: impl Fn(&SessionId) -> bool,
    ) {
        let is_kept = |at: Mono| now.since(at) < limits::USAGE_KEPT;
        self.series.retain(|_, heard| is_kept(heard.first));
        let apps = &mut self.apps;
        self.users.retain(|user, account| {
            if is_kept(account.at) || matches!(user, User::Session(session) if stays(session)) {
                return true;
            }
            if let (User::Session(session), Some(key)) = (user, &account.room)
                && let Some(room) = apps.get_mut(&key.app).and_then(|app| app.rooms.get_mut(&key.room))
            {
                room.sessions.remove(session);
            }
            false
        });
        self.here.retain(|session, (_, at)| {
            if is_here(session) {
                *at = now;
            }
            is_kept(*at)
        });
    }

    /// A page of what is asked for: what comes after this name.
    #[must_use]
    pub fn page(&self, of: &UsageOf, after: Option<&str>) -> UsagePage {
        match of {
            UsageOf::Apps => {
                let parts = self.apps.iter().map(|(app, account)| (app.to_string(), &account.relayed));
                page(&self.total, after, parts)
            }
            UsageOf::App(app) => self.apps.get(app).map_or_else(UsagePage::default, |app| {
                let parts = app.rooms.iter().map(|(room, account)| (room.to_string(), &account.relayed));
                page(&app.relayed, after, parts)
            }),
            UsageOf::Room(key) => self.room(key).map_or_else(UsagePage::default, |room| {
                let relayed = |session: &SessionId| {
                    self.users.get(&User::Session(*session)).map(|account| &account.relayed)
                };
                let part = |session| Some((SessionId::to_string(session), relayed(session)?));
                page(&room.relayed, after, room.sessions.iter().filter_map(part))
            }),
            UsageOf::Session(session) => {
                let account = self.users.get(&User::Session(*session));
                let relayed = account.map(|held| held.relayed.clone()).unwrap_or_default();
                UsagePage { relayed, parts: Vec::new() }
            }
            UsageOf::Names => {
                let from = User::Name(after.unwrap_or_default().to_owned());
                let named = self.users.range(from..).filter_map(|(user, account)| match user {
                    User::Name(name) => Some((name.clone(), &account.relayed)),
                    User::Session(_) => None,
                });
                page(&self.names, after, named)
            }
            UsageOf::Edges => {
                page(&self.total, after, self.edges.iter().map(|(edge, tally)| (edge.to_string(), tally)))
            }
            UsageOf::Rooms if after.is_some() => UsagePage { relayed: self.total.clone(), parts: Vec::new() },
            UsageOf::Rooms => self.greatest_rooms(),
        }
    }

    /// The rooms of all apps that relayed most.
    fn greatest_rooms(&self) -> UsagePage {
        let mut all: Vec<(&AppId, &RoomName, &Tally)> = Vec::with_capacity(self.rooms);
        for (app, held) in &self.apps {
            all.extend(held.rooms.iter().map(|(name, room)| (app, name, &room.relayed)));
        }
        if all.len() > limits::USAGE_PAGE {
            all.select_nth_unstable_by_key(limits::USAGE_PAGE, |(app, room, tally)| {
                (std::cmp::Reverse(tally.relayed.bytes()), *app, *room)
            });
            all.truncate(limits::USAGE_PAGE);
        }
        let parts = all.into_iter().map(|(app, room, tally)| (format!("{app}/{room}"), tally.clone()));
        UsagePage { relayed: self.total.clone(), parts: parts.collect() }
    }

    /// How often a series was not counted, since there were too many.
    #[must_use]
    pub const fn missed(&self) -> u64 {
        self.missed
    }

    /// The room of a session that relays, as far as it is known.
    #[must_use]
    pub fn room_of(&self, session: &SessionId) -> Option<&RoomKey> {
        let account = self.users.get(&User::Session(*session));
        account.and_then(|account| account.room.as_ref()).or_else(|| Some(&self.here.get(session)?.0))
    }

    fn room(&self, key: &RoomKey) -> Option<&Room> {
        self.apps.get(&key.app)?.rooms.get(&key.room)
    }

    /// What a word on a series adds.
    fn hear(&mut self, now: Mono, series: u64, user: &User, said: Relayed) -> Relayed {
        if let Some(heard) = self.series.get_mut(&series) {
            // Of two users one is not who it was counted for.
            if heard.user != *user {
                return Relayed::default();
            }
            let now = heard.relayed.max(said);
            let more = now.minus(heard.relayed);
            heard.relayed = now;
            return more;
        }
        if self.series.len() >= limits::USAGE_SERIES_MAX {
            self.missed += 1;
            return Relayed::default();
        }
        self.series.insert(series, Heard { user: user.clone(), relayed: said, first: now });
        said
    }

    /// The account of a user; none where there are too many.
    fn account(&mut self, now: Mono, user: User) -> Option<&mut Account> {
        if self.users.len() >= limits::USAGE_SESSIONS_MAX && !self.users.contains_key(&user) {
            return None;
        }
        let new = || Account { room: None, relayed: Tally::default(), at: now, told: None };
        let account = self.users.entry(user).or_insert_with(new);
        account.at = now;
        Some(account)
    }

    /// Counts for a session, and for its room where that is known. Answers its room where it is here and the other
    /// nodes are to be told.
    fn count_session(
        &mut self,
        now: Mono,
        session: SessionId,
        more: Relayed,
        region: Option<&Region>,
    ) -> Option<(SessionId, RoomKey)> {
        let mut tally = Tally::default();
        tally.add(more, region);
        let here = self.here.get(&session).map(|(room, _)| room.clone());
        if let Some(room) = &here {
            self.assign(now, session, room);
        }
        let Some(account) = self.account(now, User::Session(session)) else {
            if let Some(room) = here {
                self.count_room(now, &room, None, &tally);
            }
            return None;
        };
        account.relayed.join(&tally);
        let is_due = |told: Mono| now.since(told) >= limits::USAGE_ROOM_TOLD_EVERY;
        let tell = here.filter(|_| account.told.is_none_or(is_due));
        if tell.is_some() {
            account.told = Some(now);
        }
        if let Some(room) = account.room.clone() {
            self.count_room(now, &room, Some(session), &tally);
        }
        tell.map(|room| (session, room))
    }

    /// A session is of this room: what it has relayed counts there. It never is of another one.
    fn assign(&mut self, now: Mono, session: SessionId, room: &RoomKey) {
        let Some(account) = self.account(now, User::Session(session)) else { return };
        if account.room.is_none() {
            account.room = Some(room.clone());
            let relayed = account.relayed.clone();
            self.count_room(now, room, Some(session), &relayed);
        }
    }

    fn count_room(&mut self, now: Mono, key: &RoomKey, session: Option<SessionId>, more: &Tally) {
        if self.rooms >= limits::USAGE_ROOMS_MAX && self.room(key).is_none() {
            self.forget_rooms();
        }
        let app = self.apps.entry(key.app.clone()).or_default();
        app.relayed.join(more);
        let room = app.rooms.entry(key.room.clone()).or_insert_with(|| {
            self.rooms += 1;
            Room::default()
        });
        room.relayed.join(more);
        room.at = now;
        room.sessions.extend(session);
    }

    /// Forgets a part of the rooms, those that relayed the longest ago; their apps keep what they relayed.
    fn forget_rooms(&mut self) {
        let at = |app: &App| app.rooms.values().map(|room| room.at).collect::<Vec<_>>();
        let mut all: Vec<Mono> = self.apps.values().flat_map(at).collect();
        all.sort_unstable();
        let Some(last) = all.get(all.len() / 16).copied() else { return };
        for app in self.apps.values_mut() {
            app.rooms.retain(|_, room| room.at > last);
        }
        self.rooms = self.apps.values().map(|app| app.rooms.len()).sum();
    }
}

fn page<'a>(
    relayed: &Tally,
    after: Option<&str>,
    parts: impl Iterator<Item = (String, &'a Tally)>,
) -> UsagePage {
    let parts = parts.filter(|(name, _)| after.is_none_or(|after| name.as_str() > after));
    let parts = parts.take(limits::USAGE_PAGE).map(|(name, tally)| (name, tally.clone()));
    UsagePage { relayed: relayed.clone(), parts: parts.collect() }
}

/// How often [`Ledger::handle_timeout`] is due.
pub const SWEEP_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
