//! What is to be checked, and with which credentials.

use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use chappe_cluster::clock;
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::turn::password;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Args;
use super::ice_servers::{Credentials, Target, parse};

/// Who credentials are made for where nobody is named.
const NAME: &str = "chappe-check";
/// How long credentials last that are made here, in seconds.
const TTL: u64 = 600;
/// URLs at most.
const TARGETS: usize = 64;
/// The largest file that is read, in bytes.
const FILE: u64 = 1024 * 1024;
/// Holds a password, so that no file need.
const PASSWORD: &str = "CHAPPE_TURN_PASSWORD";

/// What is to be checked: the URLs of the command line, then those of `--ice-servers`.
pub(super) fn targets(args: &Args) -> Result<Vec<Target>> {
    let files = [&args.ice_servers, &args.password_file, &args.secret_file];
    if files.into_iter().flatten().filter(|file| *file == Path::new("-")).count() > 1 {
        bail!("standard input can be only one of the files");
    }
    let given = credentials(args)?;
    let mut targets: Vec<Target> = Vec::new();
    for url in &args.urls {
        targets.push(Target { url: url.clone(), credentials: given.clone().filter(|_| url.turn) });
    }
    if let Some(file) = &args.ice_servers {
        let servers = parse(&read(file)?).with_context(|| name(file))?;
        for mut target in servers {
            if target.url.turn && target.credentials.is_none() {
                target.credentials.clone_from(&given);
            }
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
    }
    if targets.len() > TARGETS {
        bail!("{} URLs are too many: {TARGETS} at most", targets.len());
    }
    Ok(targets)
}

/// CAs of `--ca`.
pub(super) fn authorities(args: &Args) -> Result<Vec<CertificateDer<'static>>> {
    let Some(file) = &args.ca else { return Ok(Vec::new()) };
    let text = read(file)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| anyhow::anyhow!("{} is no PEM file: {error}", name(file)))?;
    if certificates.is_empty() {
        bail!("{} holds no certificate (PEM)", name(file));
    }
    Ok(certificates)
}

fn credentials(args: &Args) -> Result<Option<Credentials>> {
    if let Some(file) = &args.secret_file {
        let text = read(file)?;
        let Some(secret) = text.lines().map(str::trim).find(|line| !line.is_empty()) else {
            bail!("{} holds no secret", name(file));
        };
        let expiry = clock::unix().secs() + TTL;
        let username = format!("{expiry}:{}", args.user.as_deref().unwrap_or(NAME));
        let password = password(&Secret(secret.as_bytes().to_vec()), &username);
        return Ok(Some(Credentials { username, password, made: true }));
    }
    let password = match &args.password_file {
        Some(file) => Some(read(file)?.trim_end_matches(['\r', '\n']).to_owned()),
        None => std::env::var(PASSWORD).ok(),
    };
    match (&args.user, password) {
        (Some(user), Some(password)) => {
            Ok(Some(Credentials { username: user.clone(), password, made: false }))
        }
        (Some(_), None) => {
            bail!("--user wants a password: --password-file FILE (`-` reads it), or {PASSWORD}")
        }
        (None, Some(_)) if args.password_file.is_some() => bail!("--password-file wants --user NAME"),
        _ => Ok(None),
    }
}

fn name(file: &Path) -> String {
    if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() }
}

fn read(file: &Path) -> Result<String> {
    let mut text = String::new();
    let stdin = file == Path::new("-");
    let source: Box<dyn Read> = if stdin {
        Box::new(std::io::stdin())
    } else {
        Box::new(fs::File::open(file).with_context(|| unread(file))?)
    };
    source.take(FILE).read_to_string(&mut text).with_context(|| unread(file))?;
    Ok(text)
}

fn unread(file: &Path) -> String {
    format!("{} cannot be read", name(file))
}
