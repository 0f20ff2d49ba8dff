//! `chappe admin`: who may operate the cluster, by the admin API of any of its nodes.
#![allow(clippy::print_stdout)]

mod oidc;

use anyhow::Result;
use chappe_admin::health::span;
use chappe_admin::{NewLink, ShownOperator};
use chappe_cluster::clock;
use serde_json::{Value, json};

use crate::api::{Api, At, segment};
use crate::table::Table;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    at: At,
    /// Answer in JSON, for programs.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Print a one-time link by which a new operator comes, or an old one sets another password.
    Invite(Invite),
    /// Who may operate, and as what.
    Operators,
    /// The OpenID provider by which operators may log in.
    Oidc(oidc::Args),
}

#[derive(Debug, clap::Args)]
struct Invite {
    /// What the new operator may do.
    #[arg(long, default_value = "viewer", value_parser = ["viewer", "operator", "owner"])]
    role: String,
    /// What it is called; else it says so itself.
    #[arg(long)]
    name: Option<String>,
    /// How long the link is good, in minutes: a week at most.
    #[arg(long = "for", value_name = "MINUTES", default_value_t = 1440)]
    minutes: u64,
    /// A link by which this operator, who is there already, sets another password; good for a day.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["role", "name", "minutes"])]
    password: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut api = args.at.open()?;
    match &args.verb {
        Verb::Invite(wish) => invite(&mut api, args.at.url(), wish, args.json),
        Verb::Operators => operators(&mut api, args.json),
        Verb::Oidc(wish) => oidc::run(&mut api, wish, args.json),
    }
}

fn invite(api: &mut Api, node: &str, wish: &Invite, json: bool) -> Result<()> {
    let answer = match &wish.password {
        Some(name) => api.call("POST", &format!("/operators/{}/link", segment(name)), &Value::Null)?,
        None => {
            let mut body = json!({ "role": wish.role, "ttl_secs": wish.minutes.saturating_mul(60) });
            if let Some(name) = &wish.name {
                body["name"] = name.as_str().into();
            }
            api.call("POST", "/operators/links", &body)?
        }
    };
    if json {
        println!("{answer}");
        return Ok(());
    }
    let made: NewLink = serde_json::from_value(answer)?;
    let left = made.until.0.saturating_sub(clock::unix().0);
    println!("{}{}\n", node.trim_end_matches('/'), made.path);
    println!(
        "It works once, within {}, at any node's address: over HTTPS, or on that machine itself.",
        span(left + std::time::Duration::from_secs(1))
    );
    Ok(())
}

fn operators(api: &mut Api, json: bool) -> Result<()> {
    let answer = api.call("GET", "/operators", &Value::Null)?;
    if json {
        println!("{answer}");
        return Ok(());
    }
    let operators: Vec<ShownOperator> = serde_json::from_value(answer)?;
    if operators.is_empty() {
        println!("nobody yet: `chappe admin invite --role owner` prints a link for the first one");
        return Ok(());
    }
    let mut table = Table::new(&["name", "role", "logged in", "since"]);
    for held in operators {
        let ago = span(clock::unix().0.saturating_sub(held.created.0));
        let role = format!("{}{}", held.role, if held.disabled { ", disabled" } else { "" });
        table.row(vec![held.name.to_string(), role, held.logins.to_string(), format!("{ago} ago")]);
    }
    print!("{table}");
    Ok(())
}
