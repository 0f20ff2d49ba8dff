//! The rooms, by pages and filters.

use std::collections::BTreeSet;

use askama::Template;
use chappe_proto::id::{AppId, NodeId, Region, RoomKey, RoomName};
use chappe_proto::limits::{METADATA_MAX, ROOM_CAPACITY_MAX};
use serde::Deserialize;

use super::frame::Frame;
use super::view::View;
use super::visitor::Visitor;
use super::words;
use crate::Mount;
use crate::control::Fault;
use crate::rooms::{RoomPage, RoomsWanted};

/// The menu's path of rooms.
pub(super) const SECTION: &str = "/admin/rooms";
/// Rooms on a page.
const PAGE: usize = 50;

/// The rooms.
#[derive(Template)]
#[template(path = "rooms.html", blocks = ["live"])]
pub(crate) struct Rooms {
    frame: Frame,
    acts: bool,
    ask: Ask,
    odd: Option<&'static str>,
    page: RoomPage,
    running: u64,
    people: u64,
    apps: Vec<AppId>,
    nodes: Vec<NodeId>,
    regions: BTreeSet<Region>,
}

/// Which rooms, as the form asks: what is empty is not asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ask {
    app: String,
    q: String,
    node: String,
    region: String,
    locked: String,
    people: String,
    after: String,
}

/// What a text says, where it says anything; what to write instead where that is not it.
fn given<T>(
    text: &str,
    read: impl FnOnce(&str) -> Option<T>,
    fix: &'static str,
) -> Result<Option<T>, &'static str> {
    let text = text.trim();
    if text.is_empty() { Ok(None) } else { read(text).map(Some).ok_or(fix) }
}

fn yes(text: &str) -> Option<bool> {
    match text {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

fn key(text: &str) -> Option<RoomKey> {
    let (app, room) = text.split_once('/')?;
    Some(RoomKey { app: AppId::new(app).ok()?, room: RoomName::new(room).ok()? })
}

impl Ask {
    fn wanted(&self) -> Result<RoomsWanted, &'static str> {
        let begin = "That page is none. Begin at the first.";
        Ok(RoomsWanted {
            app: given(
                &self.app,
                |text| AppId::new(text).ok(),
                "An app's id has letters without accents, digits and - _ . ~ : @.",
            )?,
            text: given(&self.q, |text| Some(text.to_owned()), "")?,
            node: given(&self.node, |text| text.parse().ok().map(NodeId), "A node is a number.")?,
            region: given(&self.region, |text| Region::new(text).ok(), "No region has such a name.")?,
            locked: yes(&self.locked),
            people: yes(&self.people),
            after: given(&self.after, key, begin)?,
            limit: PAGE,
        })
    }

    /// The address of the page behind `after`, or of the first.
    fn page(&self, after: &str) -> String {
        let Self { app, q, node, region, locked, people, after: _ } = self;
        let ask = [
            ("app", app),
            ("q", q),
            ("node", node),
            ("region", region),
            ("locked", locked),
            ("people", people),
        ];
        let ask = ask.map(|(name, value)| (name, value.as_str()));
        words::address(SECTION, &[&ask[..], &[("after", after)]].concat())
    }

    /// Whether all rooms are asked for.
    fn all(&self) -> bool {
        let Self { app, q, node, region, locked, people, after } = self;
        [app, q, node, region, locked, people, after].iter().all(|text| text.trim().is_empty())
    }
}

impl Rooms {
    fn is_node(&self, node: &NodeId) -> bool {
        self.ask.node.trim() == node.to_string()
    }
}

impl View for Rooms {
    type Place = ();
    type Ask = Ask;

    async fn load(mount: &Mount, visitor: &Visitor, (): (), ask: Ask) -> Result<Self, Fault> {
        let wanted = ask.wanted();
        let (app, node) = wanted.as_ref().map_or((None, None), |wanted| (wanted.app.clone(), wanted.node));
        let (page, odd) = match wanted {
            Ok(wanted) => (mount.cluster.rooms(wanted).await?, None),
            Err(fix) => (RoomPage::default(), Some(fix)),
        };
        let counts = mount.cluster.room_counts().await.into_iter();
        let meant = counts.filter(|count| app.as_ref().is_none_or(|app| *app == count.app));
        let meant = meant.filter(|count| node.is_none_or(|node| node == count.node));
        let (running, people) = meant.fold((0, 0), |(rooms, people), count| {
            (rooms + u64::from(count.rooms), people + u64::from(count.peers))
        });
        let members = mount.cluster.status().await.members;
        Ok(Self {
            frame: Frame::of(visitor, SECTION, "Rooms"),
            acts: visitor.acts,
            ask,
            odd,
            page,
            running,
            people,
            apps: mount.cluster.apps().await?.into_iter().map(|(app, _)| app).collect(),
            nodes: members.iter().map(|member| member.node).collect(),
            regions: members.into_iter().map(|member| member.region).collect(),
        })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}
