//! `chappe token`: what an app's server does for its users, for trying things out.
#![allow(clippy::print_stdout)]

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use chappe_cluster::clock;
use chappe_proto::id::Region;
use chappe_proto::signal::token::AUDIENCE;
use serde::{Deserialize, Serialize};

/// An API key as `chappe dev` leaves it in its directory.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ApiKey {
    /// Its public half: a token's `iss`.
    pub(crate) key: String,
    /// Its secret half: signs tokens (HS256).
    pub(crate) secret: String,
    /// The app that it belongs to.
    pub(crate) app: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The room, or a prefix of rooms that ends in `*`.
    room: String,
    /// Who the holder is.
    #[arg(long, value_name = "NAME")]
    identity: Option<String>,
    /// What the holder may do.
    #[arg(long = "grant", value_name = "GRANT", default_values = ["join", "create", "broadcast"],
          value_parser = ["join", "create", "admin", "hidden", "broadcast"])]
    grants: Vec<String>,
    /// How long it lasts, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    ttl: u64,
    /// Where the holder is: the region of the relays that it is offered first.
    #[arg(long, value_name = "NAME")]
    region: Option<Region>,
    /// The API key's file.
    #[arg(long, value_name = "FILE", default_value = ".chappe-dev/api-key.json")]
    key: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let text = fs::read_to_string(&args.key).with_context(|| {
        format!("{} cannot be read; `chappe dev` writes one into its data directory", args.key.display())
    })?;
    let key: ApiKey =
        serde_json::from_str(&text).with_context(|| format!("{} is no API key", args.key.display()))?;
    let mut claims = serde_json::json!({
        "iss": key.key,
        "aud": AUDIENCE,
        "exp": clock::unix().secs().saturating_add(args.ttl),
        "room": args.room,
        "grants": args.grants,
    });
    if let Some(identity) = &args.identity {
        claims["sub"] = identity.as_str().into();
    }
    if let Some(region) = &args.region {
        claims["region"] = region.to_string().into();
    }
    println!("{}", chappe_cluster::token::sign(&claims, key.secret.as_bytes())?);
    Ok(())
}
