//! `chappe cluster usage`: what was relayed, and for whom.

use std::time::Duration;

use anyhow::Result;
use chappe_admin::health::span;
use chappe_admin::usage::{AppUsage, Figure, RoomUsage, Usage, UsageLine};
use chappe_cluster::clock;
use chappe_proto::id::{AppId, RoomName};
use chappe_proto::time::Unix;
use chappe_proto::usage::Relayed;
use serde_json::Value;

use crate::api::{Api, segment};
use crate::table::Table;

#[derive(Debug, clap::Args)]
pub(super) struct Of {
    /// The app whose rooms are shown; all apps, and users who are no sessions, where it is left out.
    app: Option<AppId>,
    /// The room of it whose sessions are shown.
    room: Option<RoomName>,
}

pub(super) fn run(api: &mut Api, of: &Of, json: bool) -> Result<()> {
    let path = match (&of.app, &of.room) {
        (Some(app), Some(room)) => {
            format!("/apps/{}/rooms/{}/usage", segment(app.as_str()), segment(room.as_str()))
        }
        (Some(app), None) => format!("/apps/{}/usage", segment(app.as_str())),
        (None, _) => "/usage".to_owned(),
    };
    let answer = api.call("GET", &path, &Value::Null)?;
    if json {
        println!("{answer}");
        return Ok(());
    }
    let text = match (&of.app, &of.room) {
        (Some(_), Some(_)) => {
            let RoomUsage { since, currency, figure, sessions } = serde_json::from_value(answer)?;
            shown(since, currency.as_deref(), &figure, &[("session", &sessions)])
        }
        (Some(_), None) => {
            let AppUsage { since, currency, figure, rooms, .. } = serde_json::from_value(answer)?;
            shown(since, currency.as_deref(), &figure, &[("room", &rooms)])
        }
        (None, _) => {
            let Usage { since, currency, figure, apps, users } = serde_json::from_value(answer)?;
            shown(since, currency.as_deref(), &figure, &[("app", &apps), ("user", &users)])
        }
    };
    print!("{text}");
    Ok(())
}

/// Tables, and the whole. Costs are told where there are prices.
fn shown(since: Unix, currency: Option<&str>, whole: &Figure, tables: &[(&str, &[UsageLine])]) -> String {
    let mut text = String::new();
    for (what, lines) in tables.iter().filter(|(_, lines)| !lines.is_empty()) {
        let head = [what, "bytes to peers", "packets", "bytes from peers", "packets"];
        let mut table = Table::new(&[&head[..], currency.as_slice()].concat());
        for UsageLine { name, figure } in *lines {
            table.row([&[name.clone()][..], &figures(figure.relayed), figure.cost.as_slice()].concat());
        }
        text += &format!("{table}\n");
    }
    let ago = span(Duration::from_secs(clock::unix().secs().saturating_sub(since.secs())));
    let [to, to_packets, from, from_packets] = figures(whole.relayed);
    text += &format!(
        "in all {to} bytes to peers in {to_packets} packets, {from} from peers in {from_packets}, \
         counted for {ago}\n"
    );
    if let (Some(currency), Some(cost)) = (currency, &whole.cost) {
        text += &format!("it costs {cost} {currency} by today's prices\n");
    }
    text
}

fn figures(relayed: Relayed) -> [String; 4] {
    let Relayed { sent, received } = relayed;
    [sent.bytes, sent.packets, received.bytes, received.packets].map(|count| count.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chappe_proto::mesh::uplink::Traffic;

    use super::*;

    #[test]
    fn people_read_a_table_and_the_whole() {
        let relayed = Relayed {
            sent: Traffic { packets: 3, bytes: 300 },
            received: Traffic { packets: 4, bytes: 4000 },
        };
        let since = Unix::from_secs(clock::unix().secs() - 7300);
        let mut figure = Figure { relayed, regions: BTreeMap::new(), cost: None, unpriced_bytes: 4300 };
        let lines = [UsageLine { name: "room".to_owned(), figure: figure.clone() }];
        let text = shown(since, None, &figure, &[("room", &lines), ("user", &[])]);
        let mut rows = text.lines();
        let cells =
            |row: Option<&str>| row.unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert!(rows.next().unwrap().starts_with("room  bytes to peers"));
        assert_eq!(cells(rows.next()), ["room", "300", "3", "4000", "4"]);
        assert_eq!(rows.next(), Some(""));
        let whole = "in all 300 bytes to peers in 3 packets, 4000 from peers in 4, counted for 2 h";
        assert_eq!((rows.next(), rows.next()), (Some(whole), None));
        figure.cost = Some("0.12".to_owned());
        let lines = [UsageLine { name: "room".to_owned(), figure: figure.clone() }];
        let text = shown(since, Some("EUR"), &figure, &[("room", &lines)]);
        let mut rows = text.lines();
        assert!(rows.next().unwrap().trim_end().ends_with("EUR"));
        assert_eq!(cells(rows.next()), ["room", "300", "3", "4000", "4", "0.12"]);
        assert_eq!(rows.next_back(), Some("it costs 0.12 EUR by today's prices"));
    }
}
