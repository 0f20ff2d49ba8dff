//! A room: what is decided of it, who is in it, who stays out of it.

use std::collections::BTreeSet;

use askama::Template;
use chappe_proto::id::{AppId, Region, RoomKey, RoomName};
use chappe_proto::limits::{METADATA_MAX, ROOM_CAPACITY_MAX};
use chappe_proto::registry::RoomPolicy;
use chappe_proto::usage::UsageOf;
use serde::Deserialize;

use super::frame::Frame;
use super::rooms::SECTION;
use super::view::View;
use super::visitor::Visitor;
use super::words;
use crate::control::Fault;
use crate::rooms::{Ban, RoomReport, Waiting};
use crate::{Mount, Peer, UsageReport};

/// People on a page.
const PAGE: usize = 50;
/// Bans that are shown: the soonest to end.
const BANS: usize = 50;

/// The room that a path names.
pub(super) fn key(app: &str, room: &str) -> Result<RoomKey, Fault> {
    let key = AppId::new(app).ok().zip(RoomName::new(room).ok());
    key.map(|(app, room)| RoomKey { app, room }).ok_or(Fault::NotThere("room"))
}

/// What somebody is called: what its client shows, what its token says, or its id.
pub(super) fn name(peer: &Peer) -> String {
    let named = peer.name.clone().filter(|name| !name.trim().is_empty());
    named.or_else(|| peer.identity.clone()).unwrap_or_else(|| peer.peer.to_string())
}

/// A room.
#[derive(Template)]
#[template(path = "room.html", blocks = ["live"])]
pub(crate) struct Room {
    frame: Frame,
    acts: bool,
    ask: Ask,
    room: RoomReport,
    policy: RoomPolicy,
    /// How many its app lets in where nothing else is decided.
    usual: Option<u32>,
    shard: u16,
    people: Vec<Peer>,
    found: usize,
    there: usize,
    next: Option<String>,
    bans: Vec<Ban>,
    more_bans: usize,
    usage: Option<UsageReport>,
    regions: BTreeSet<Region>,
}

/// Which of its people are shown.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ask {
    q: String,
    after: String,
}

impl Ask {
    /// Whether somebody is meant.
    fn is(&self, peer: &Peer) -> bool {
        let text = self.q.trim().to_lowercase();
        let has = |told: &str| told.to_lowercase().contains(&text);
        has(&name(peer)) || peer.identity.as_deref().is_some_and(has) || has(&peer.peer.to_string())
    }
}

/// People are told by name; by their ids where those are the same.
fn place(peer: &Peer) -> String {
    format!("{} {}", name(peer).to_lowercase(), peer.peer)
}

impl Room {
    /// Its address, with what follows.
    fn path(&self, rest: &str) -> String {
        format!("/admin/apps/{}/rooms/{}{rest}", self.room.app, self.room.room)
    }

    /// Its place in the API, with what follows.
    fn api(&self, rest: &str) -> String {
        format!("/admin/api/v1/apps/{}/rooms/{}{rest}", self.room.app, self.room.room)
    }

    /// The address of the people behind `after`, or of the first.
    fn page(&self, after: &str) -> String {
        words::address(&self.path(""), &[("q", &self.ask.q), ("after", after)])
    }

    #[expect(clippy::unused_self, reason = "as templates call it")]
    fn name(&self, peer: &Peer) -> String {
        name(peer)
    }

    /// What one who waits is called.
    #[expect(clippy::unused_self, reason = "as templates call it")]
    fn called(&self, waits: &Waiting) -> String {
        let named = waits.name.clone().filter(|name| !name.trim().is_empty());
        let known = named.or_else(|| waits.identity.as_ref().map(ToString::to_string));
        known.unwrap_or_else(|| waits.peer.to_string())
    }

    #[expect(clippy::unused_self, reason = "as templates call it")]
    fn relayed(&self, peer: &Peer) -> String {
        words::bytes(peer.relayed.sent.bytes + peer.relayed.received.bytes)
    }
}

impl View for Room {
    type Place = (String, String);
    type Ask = Ask;

    async fn load(
        mount: &Mount,
        visitor: &Visitor,
        (app, room): Self::Place,
        ask: Ask,
    ) -> Result<Self, Fault> {
        let key = key(&app, &room)?;
        let mut report = mount.cluster.room(key.clone()).await?;
        let mut people = std::mem::take(&mut report.peers);
        let there = people.len();
        people.retain(|peer| ask.is(peer));
        people.sort_by_cached_key(place);
        let found = people.len();
        people.retain(|peer| place(peer) > ask.after);
        let more = people.len() > PAGE;
        people.truncate(PAGE);
        let next = people.last().filter(|_| more).map(place);

        // An app that was removed has rooms while people are in them.
        let apps = mount.cluster.apps().await?;
        let usual = apps.into_iter().find(|(app, _)| *app == key.app).map(|(_, app)| app.policy.capacity);
        let mut bans = mount.cluster.bans(key.app.clone()).await.unwrap_or_default();
        bans.retain(|ban| ban.room == key.room);
        bans.sort_by_key(|ban| ban.until);
        let more_bans = bans.len().saturating_sub(BANS);
        bans.truncate(BANS);
        let members = mount.cluster.status().await.members;
        Ok(Self {
            frame: Frame::of(visitor, SECTION, format!("{} of {}", key.room, key.app)),
            acts: visitor.acts,
            ask,
            policy: report.policy.clone().unwrap_or_default(),
            room: report,
            usual,
            shard: key.anchor().0,
            people,
            found,
            there,
            next,
            bans,
            more_bans,
            usage: mount.cluster.usage(UsageOf::Room(key)).await,
            regions: members.into_iter().map(|member| member.region).collect(),
        })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}
