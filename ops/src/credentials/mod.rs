//! The credentials of an edge that runs alone: from files, which are read again when they change.

pub(crate) mod file;

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use chappe_edge::{Credentials, Edge};
use chappe_proto::limits::CREDENTIALS_FILE_MAX;
use chappe_proto::mesh::uplink::{PeerPolicy, Secret};

/// The files are looked at this often, and read when two looks in a row have seen the same change: one
/// that is still being written is left alone.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where the credentials are.
#[derive(Debug)]
pub(crate) struct Files {
    /// Shared secrets, one a line.
    pub(crate) secrets: Option<PathBuf>,
    /// Everything, in TOML.
    pub(crate) credentials: Option<PathBuf>,
    /// Peers that the command line allows and denies, besides the file's.
    pub(crate) peers: PeerPolicy,
    /// The edge's own realm.
    pub(crate) realm: String,
}

/// What a file's change shows in.
pub(crate) type Stamp = Option<(SystemTime, u64, u64)>;

impl Files {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        self.secrets.iter().chain(&self.credentials).map(PathBuf::as_path)
    }

    /// What the files' change shows in, now.
    pub(crate) fn stamps(&self) -> Vec<Stamp> {
        let stamp = |path: &Path| {
            let meta = fs::metadata(path).ok()?;
            Some((meta.modified().ok()?, meta.len(), meta.ino()))
        };
        self.paths().map(stamp).collect()
    }

    /// Reads the files.
    pub(crate) fn load(&self) -> Result<Credentials> {
        let mut all = Credentials::default();
        if let Some(path) = &self.credentials {
            let read = file::read(&text(path)?);
            all = read.with_context(|| path.display().to_string())?;
        }
        if let Some(path) = &self.secrets {
            let text = text(path)?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            let before = all.secrets.len();
            all.secrets.extend(lines.map(|line| Secret(line.as_bytes().to_vec())));
            if all.secrets.len() == before {
                bail!("{} holds no secret: write one, as `openssl rand -hex 32 > {0}` does", path.display());
            }
        }
        if all.secrets.is_empty() && all.users.is_empty() {
            let path = self.paths().next().unwrap_or(Path::new("the file"));
            bail!(
                "{} holds no credentials: write secrets = [\"...\"], or a user by `chappe turn key --toml`",
                path.display()
            );
        }
        for user in &all.users {
            if user.realm != self.realm && !all.origins.values().any(|realm| *realm == user.realm) {
                let (name, realm) = (&user.name, &user.realm);
                tracing::warn!(
                    "no client is asked for the password of {name:?}: the realm {realm:?} is neither the edge's \
                     (--realm) nor that of an origin"
                );
                break; // of one realm there are often many
            }
        }
        all.peers.allow.extend(&self.peers.allow);
        all.peers.deny.extend(&self.peers.deny);
        Ok(all)
    }

    /// Puts each change of the files since `loaded` in force, as long as it is polled. The stamps are those of
    /// before they were read, so that no change falls in between.
    pub(crate) async fn follow(&self, edge: &Edge, mut loaded: Vec<Stamp>) -> Infallible {
        let mut seen = loaded.clone();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.stamps();
            let settled = std::mem::replace(&mut seen, now) == seen;
            if !settled || seen == loaded {
                continue;
            }
            loaded.clone_from(&seen);
            match self.reload(edge) {
                Ok((secrets, users)) => tracing::info!(secrets, users, "credentials reloaded"),
                Err(error) => {
                    tracing::error!("the new credentials are no good, and the old ones stay: {error:#}");
                }
            }
        }
    }

    /// Puts the files in force: how many secrets and users they hold.
    fn reload(&self, edge: &Edge) -> Result<(usize, usize)> {
        let credentials = self.load()?;
        let counts = (credentials.secrets.len(), credentials.users.len());
        edge.set_credentials(credentials)?;
        Ok(counts)
    }
}

fn text(path: &Path) -> Result<String> {
    let unreadable = || format!("{} cannot be read", path.display());
    let meta = fs::metadata(path).with_context(unreadable)?;
    if meta.len() > CREDENTIALS_FILE_MAX {
        bail!("{} has {} bytes; at most {CREDENTIALS_FILE_MAX} are read", path.display(), meta.len());
    }
    if meta.permissions().mode() & 0o007 != 0 {
        tracing::warn!(
            "{0} holds secrets and everybody on this machine may open it: chmod 600 {0}",
            path.display()
        );
    }
    fs::read_to_string(path).with_context(unreadable)
}
