//! Search everywhere.

use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use askama::Template;
use serde::Deserialize;

use super::asked::address;
use super::frame::Frame;
use super::visitor::Visitor;
use crate::Mount;
use crate::rooms::RoomsWanted;

/// Answers that are shown.
const FOUND_MAX: usize = 20;

#[derive(Deserialize)]
pub(super) struct Ask {
    #[serde(default)]
    q: String,
}

/// Rooms of them, and apps: many have a beginning in common, and other things are found too.
const OF_EACH_MAX: usize = 8;

/// Something that was found.
struct Hit {
    path: String,
    name: String,
    kind: String,
}

#[derive(Template)]
#[template(path = "found.html")]
struct Found {
    hits: Vec<Hit>,
    asked: String,
}

/// Apps and rooms, where anything is asked for.
async fn people(mount: &Mount, asked: &str) -> Vec<Hit> {
    let mut hits = Vec::new();
    if asked.is_empty() {
        return hits;
    }
    for (app, held) in mount.cluster.apps().await.unwrap_or_default() {
        if app.as_str().to_lowercase().contains(asked) || held.name.to_lowercase().contains(asked) {
            hits.push(Hit { path: format!("/admin/apps/{app}"), name: held.name, kind: "app".to_owned() });
        }
    }
    hits.truncate(OF_EACH_MAX);
    let wanted = RoomsWanted { text: Some(asked.to_owned()), limit: OF_EACH_MAX, ..RoomsWanted::default() };
    for room in mount.cluster.rooms(wanted).await.unwrap_or_default().rooms {
        let path = format!("/admin/apps/{}/rooms/{}", room.app, room.room);
        hits.push(Hit { path, name: room.room.to_string(), kind: format!("room of {}", room.app) });
    }
    hits
}

/// Issued credentials and long-term users of the relays.
async fn relayed(mount: &Mount, matches: impl Fn(&str) -> bool) -> Vec<Hit> {
    let issued = mount.cluster.issued().await.unwrap_or_default().into_iter();
    let issued = issued.filter(|held| matches(&held.label)).map(|held| Hit {
        path: format!("/admin/turn/credentials/{}", held.id),
        name: held.label,
        kind: "TURN credential".to_owned(),
    });
    let users = mount.cluster.turn_users().await.unwrap_or_default().into_iter();
    let users = users.filter(|user| matches(&user.name)).map(|user| Hit {
        path: address("/admin/turn/users", &[("text", &user.name)]),
        name: user.name,
        kind: "TURN user".to_owned(),
    });
    issued.take(OF_EACH_MAX).chain(users.take(OF_EACH_MAX)).collect()
}

pub(super) async fn found(_: Visitor, mount: Data<Mount>, ask: Query<Ask>) -> HttpResponse {
    let asked = ask.into_inner().q.trim().to_lowercase();
    let matches = |name: &str| name.to_lowercase().contains(&asked);
    let mut hits = Vec::new();
    for link in Frame::GROUPS.iter().flat_map(|group| group.links).filter(|link| matches(link.name)) {
        hits.push(Hit { path: link.path.to_owned(), name: link.name.to_owned(), kind: "page".to_owned() });
    }
    hits.extend(people(&mount, &asked).await);
    for edge in mount.cluster.edges().await {
        if matches(edge.edge.as_str()) || matches(edge.region.as_str()) {
            let path = format!("/admin/edges/{}", edge.edge);
            hits.push(Hit { path, name: edge.edge.to_string(), kind: "edge".to_owned() });
        }
    }
    for member in mount.cluster.status().await.members {
        let name = format!("Node {}", member.node);
        if matches(&name) || matches(member.region.as_str()) {
            hits.push(Hit { path: format!("/admin/nodes/{}", member.node), name, kind: "node".to_owned() });
        }
    }
    if !asked.is_empty() && hits.len() < FOUND_MAX {
        hits.extend(relayed(&mount, matches).await);
    }
    hits.truncate(FOUND_MAX);
    match (Found { hits, asked }).render() {
        Ok(list) => HttpResponse::Ok().content_type("text/html; charset=utf-8").body(list),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}
