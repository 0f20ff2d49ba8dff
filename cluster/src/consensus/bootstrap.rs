//! The first start of a cluster: ordinary commands, each proposed only where the registry lacks what it
//! brings. So a start that was cut short is finished by the next.

use chappe_proto::id::{AppId, ClusterId, KeyId, Region};
use chappe_proto::limits::SEALING_KEY_BYTES;
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::{AppPolicy, Command, Outcome, Refusal};
use data_encoding::BASE64URL_NOPAD;

use super::{ProposeError, ReadError, Registry};

/// What a new cluster begins with.
#[derive(Debug, Clone)]
pub struct Founding {
    /// Its id.
    pub cluster: ClusterId,
    /// What operators call it.
    pub name: String,
    /// The realm of the long-term credential mechanism.
    pub realm: String,
    /// Where its first node stands.
    pub region: Region,
    /// An app to begin with, with one API key.
    pub app: Option<FirstApp>,
}

/// The app that a cluster begins with.
#[derive(Debug, Clone)]
pub struct FirstApp {
    /// Its id.
    pub app: AppId,
    /// What operators call it.
    pub name: String,
    /// How it treats its users.
    pub policy: AppPolicy,
}

/// Why a node can't begin.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The registry takes no proposals.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The registry can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A command was refused: the founding is not valid, or this release is too old.
    #[error("the registry refuses: {0}")]
    Refused(#[from] Refusal),
    /// The system gives no random bytes.
    #[error("no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

fn secret() -> Result<Secret, getrandom::Error> {
    Ok(Secret(random::<SEALING_KEY_BYTES>()?.to_vec()))
}

/// A secret that people copy into other programs: 256 random bits as a text.
fn text_secret() -> Result<Secret, getrandom::Error> {
    Ok(Secret(BASE64URL_NOPAD.encode(&random::<32>()?).into_bytes()))
}

async fn carry(registry: &Registry, command: Command) -> Result<Outcome, BootstrapError> {
    Ok(registry.propose(command).await?.outcome.accepted()?)
}

/// Founds the cluster if that has not been done: whether it was done now. To be called where this member is
/// the only voter.
///
/// # Errors
/// [`BootstrapError`]; call it again, or stop.
pub async fn bootstrap(registry: &Registry, founding: &Founding) -> Result<bool, BootstrapError> {
    let node = registry.status().member;
    // Everything that was ever committed is applied after this.
    let state = registry.linearizable().await?;
    let founded = state.cluster().is_none();
    if founded {
        let (id, name, realm) = (founding.cluster, founding.name.clone(), founding.realm.clone());
        carry(registry, Command::ClusterBegin { id, name, realm }).await?;
    }
    if state.node(node).is_none() {
        carry(registry, Command::NodeAdd { node, region: founding.region.clone() }).await?;
    }
    if state.turn_secrets().newest().is_none() {
        let number = state.turn_secrets().next();
        carry(registry, Command::TurnSecretAdd { number, secret: text_secret()? }).await?;
    }
    if state.sealing_keys().newest().is_none() {
        let number = state.sealing_keys().next();
        carry(registry, Command::SealingKeyAdd { number, key: secret()? }).await?;
    }
    if let Some(first) = &founding.app {
        let app = &first.app;
        if state.app(app).is_none() {
            let (app, name, policy) = (app.clone(), first.name.clone(), first.policy.clone());
            carry(registry, Command::AppAdd { app, name, policy }).await?;
        }
        if state.keys_of(app).next().is_none() {
            let key = KeyId::from_random(random()?);
            carry(registry, Command::KeyAdd { app: app.clone(), key, secret: text_secret()? }).await?;
        }
    }
    Ok(founded)
}
