//! `chappe turn import`: what coturn knows, into a credentials file or into a cluster.
#![allow(clippy::print_stdout)]

mod conf;
mod database;
mod found;
mod options;
mod out;
mod ranges;
mod send;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use chappe_edge::Credentials;
use found::Found;

use crate::api::Api;

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("from").required(true).multiple(true).args(["config", "database"])))]
#[command(group(clap::ArgGroup::new("into").required(true).args(["out", "to"])))]
pub(crate) struct Args {
    /// coturn's configuration, as /etc/turnserver.conf.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// coturn's SQLite database, as /var/lib/turn/turndb.
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// Take this realm alone; and the realm of users where the configuration names none.
    #[arg(long, value_name = "REALM")]
    realm: Option<String>,
    /// Write a credentials file, for `chappe edge --standalone --credentials`.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the credentials file where there is one.
    #[arg(long, requires = "out")]
    force: bool,
    /// Put all into a cluster, by the admin API of a node: http://HOST:PORT or https://HOST. It may be
    /// said again: what is there already stays as it is.
    #[arg(long, value_name = "URL", requires = "token_file")]
    to: Option<String>,
    /// The operator's token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The certificates that an https:// node's is checked by (PEM).
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")]
    ca: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let found = find(args)?;
    print!("{found}");
    let credentials = found.credentials();
    if credentials.users.is_empty() && credentials.secrets.is_empty() {
        bail!("no user and no secret was found, so nothing is written");
    }
    if let Some(path) = &args.out {
        if path.exists() && !args.force {
            bail!("{} is there already: another name, or --force to replace it", path.display());
        }
        out::write(path, &credentials)?;
        let realm = own_realm(&credentials).map_or_else(String::new, |realm| format!(" --realm {realm:?}"));
        println!("written  {}: chappe edge --standalone --credentials {0}{realm}", path.display());
    }
    if let (Some(url), Some(file)) = (&args.to, &args.token_file) {
        let token = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        let mut node = Api::new(url, token.trim(), &args.ca)?;
        println!("sent     {}", send::all(&mut node, &credentials)?);
    }
    Ok(())
}

/// What `--realm` must say for clients to be asked for these users' passwords, where one realm is enough.
fn own_realm(credentials: &Credentials) -> Option<&str> {
    let realm = &credentials.users.first()?.realm;
    credentials.users.iter().all(|user| user.realm == *realm).then_some(realm)
}

fn find(args: &Args) -> Result<Found> {
    let mut found = Found::default();
    found.only.clone_from(&args.realm);
    let mut text = String::new();
    if let Some(path) = &args.config {
        let bytes = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        text = String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8", path.display()))?;
    }
    let realm = conf::realm(&text).or(args.realm.as_deref());
    // A user of both is the database's: it is the one that changes.
    if args.config.is_some() {
        conf::read(&text, realm, &mut found);
    }
    if let Some(path) = &args.database {
        database::read(path, realm, &mut found)?;
    }
    Ok(found)
}
