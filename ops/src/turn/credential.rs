//! `chappe turn credential`: credentials for cameras, gateways, tests, whatever is no session of a room.
#![allow(clippy::print_stdout)]

use std::time::Duration;

use anyhow::{Result, bail};
use chappe_admin::health::span;
use chappe_admin::turn::{IssuedStatus, NewCredential};
use chappe_cluster::clock;
use chappe_proto::id::{AppId, EdgeId, Region, SessionId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Api, At, segment};
use crate::table::Table;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    at: At,
    /// Answer in JSON, for programs: that of `issue` has the `ice_servers` for a browser.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Issue one. Its password is printed now and never again.
    Issue {
        /// What it is called.
        label: String,
        /// How long it is good, in minutes; 30 days at most.
        #[arg(long = "for", value_name = "MINUTES", default_value_t = 24 * 60)]
        minutes: u64,
        /// The app that it is for.
        #[arg(long)]
        app: Option<AppId>,
        /// Print the URLs of the edges that are near this region; of the best one of each where it is left out.
        #[arg(long, conflicts_with = "edge")]
        region: Option<Region>,
        /// Print the URLs of this edge; may be repeated.
        #[arg(long)]
        edge: Vec<EdgeId>,
    },
    /// Those that were issued and have not expired, the revoked ones too.
    List {
        /// Of this app alone.
        #[arg(long)]
        app: Option<AppId>,
    },
    /// End one and its allocations, now.
    Revoke {
        /// Its id, as `list` prints it.
        id: SessionId,
    },
}

pub(super) fn run(args: &Args) -> Result<()> {
    let mut api = args.at.open()?;
    match &args.verb {
        Verb::Issue { label, minutes, app, region, edge } => {
            let Some(seconds) = minutes.checked_mul(60) else { bail!("--for: that is for ever") };
            let mut wish = json!({ "label": label, "seconds": seconds, "app": app, "region": region });
            if !edge.is_empty() {
                wish["edges"] = json!(edge);
            }
            let answer = api.call("POST", "/turn/credentials", &wish)?;
            if args.json {
                println!("{answer}");
            } else {
                print!("{}", told(&serde_json::from_value(answer)?));
            }
            Ok(())
        }
        Verb::List { app } => list(&mut api, app.as_ref(), args.json),
        Verb::Revoke { id } => {
            let path = format!("/turn/credentials/{}", segment(&id.to_string()));
            api.call("DELETE", &path, &Value::Null).map(drop)
        }
    }
}

fn told(made: &NewCredential) -> String {
    let NewCredential { id, until, username, credential, urls, .. } = made;
    let left = Duration::from_secs(until.secs().saturating_sub(clock::unix().secs()));
    let mut text = format!("id        {id}\nusername  {username}\npassword  {credential}\n");
    for url in urls {
        text += &format!("url       {url}\n");
    }
    if urls.is_empty() {
        text += "no edge serves just now; the credential is good at each one that comes\n";
    }
    text + &format!("good for {}; it is not shown again\n", span(left))
}

/// A page of the list.
#[derive(Deserialize)]
struct Page {
    credentials: Vec<IssuedStatus>,
    next: Option<String>,
}

fn list(api: &mut Api, app: Option<&AppId>, json: bool) -> Result<()> {
    let (mut all, mut next) = (Vec::new(), None::<String>);
    loop {
        let mut path = "/turn/credentials?limit=1000".to_owned();
        if let Some(app) = app {
            path += &format!("&app={}", segment(app.as_str()));
        }
        if let Some(next) = &next {
            path += &format!("&cursor={next}");
        }
        let page: Page = serde_json::from_value(api.call("GET", &path, &Value::Null)?)?;
        all.extend(page.credentials);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    if json {
        println!("{}", serde_json::to_string(&all)?);
    } else {
        print!("{}", table(&all));
    }
    Ok(())
}

fn table(all: &[IssuedStatus]) -> Table {
    let mut table = Table::new(&["id", "label", "app", "state", "left", "secret", "by"]);
    for held in all {
        let state = serde_json::to_value(held.state).ok();
        let state = state.as_ref().and_then(Value::as_str).unwrap_or_default().replace('_', " ");
        let left = Duration::from_secs(held.until.secs().saturating_sub(clock::unix().secs()));
        let app = held.app.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let (id, secret) = (held.id.to_string(), held.secret.to_string());
        table.row(vec![id, held.label.clone(), app, state, span(left), secret, held.by.clone()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use chappe_admin::turn::IssuedState;
    use chappe_proto::time::Unix;

    use super::*;

    #[test]
    fn people_read_what_was_issued() {
        let (id, until) = (SessionId::from_random([1; 15]), clock::unix() + Duration::from_secs(7300));
        let edges =
            vec![vec!["turn:a:3478?transport=udp".to_owned(), "turns:a:443?transport=tcp".to_owned()]];
        let made = NewCredential::new(id, until, ("1:s".to_owned(), "word".to_owned()), edges);
        let text = told(&made);
        for line in
            ["username  1:s", "password  word", "url       turns:a:443?transport=tcp", "good for 2 h; it"]
        {
            assert!(text.contains(line), "{text}");
        }
        let none = NewCredential::new(id, until, ("1:s".to_owned(), "word".to_owned()), Vec::new());
        assert!(told(&none).contains("no edge serves"));
        let held = IssuedStatus {
            id,
            label: "camera 3".to_owned(),
            app: None,
            by: "ada".to_owned(),
            created: Unix::from_secs(1),
            until,
            revoked: None,
            secret: 2,
            state: IssuedState::SecretEnded,
        };
        let text = table(&[held]).to_string();
        assert!(text.contains("camera 3") && text.contains("secret ended") && text.contains("2 h"), "{text}");
        assert!(!text.contains("word"));
    }
}
