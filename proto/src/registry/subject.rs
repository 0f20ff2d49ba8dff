//! What a command is about, told shortly for the audit log: asked before and after it is applied.
//!
//! These texts are part of the state. What is written of a thing changes with the cluster's version alone, or else
//! two releases would keep other lines of the same entries.

use super::access::{AccessChange, LinkFor, Provider, ProviderPlan};
use super::{AppPolicy, Command, RoomPolicy, State};
use crate::id::{
    AccessTokenId, AppId, EdgeId, HookId, Identity, KeyId, LinkId, NodeId, OperatorName, RoomKey, SessionId,
};

/// What a command is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    ClusterName,
    App(AppId),
    Key(KeyId),
    Node(NodeId),
    Edge(EdgeId),
    Profile,
    Voters,
    Peers,
    Selection,
    Origins,
    TurnSecrets,
    TurnUser(String, String),
    Authorities,
    Ban(RoomKey, Identity),
    Operator(OperatorName),
    Link(LinkId),
    AccessToken(AccessTokenId),
    Room(RoomKey),
    Issued(SessionId),
    Hook(AppId, HookId),
    Prices,
    Provider,
}

impl Subject {
    /// None where there is nothing to tell beyond the note, or too much.
    pub(super) fn of(command: &Command) -> Option<Self> {
        Some(match command {
            Command::ClusterRename { .. } => Self::ClusterName,
            Command::AppAdd { app, .. } | Command::AppSet { app, .. } | Command::AppRemove { app } => {
                Self::App(app.clone())
            }
            Command::KeyAdd { key, .. } | Command::KeySet { key, .. } | Command::KeyRemove { key } => {
                Self::Key(*key)
            }
            Command::NodeSet { node, .. } | Command::NodeLeave { node } | Command::NodeRemove { node } => {
                Self::Node(*node)
            }
            Command::EdgeSet { edge, .. }
            | Command::EdgeForget { edge }
            | Command::EdgeEnrol { edge, .. } => Self::Edge(edge.clone()),
            Command::ProfileSet { .. } => Self::Profile,
            Command::VotersSet { .. } => Self::Voters,
            Command::PeersSet(_) => Self::Peers,
            Command::SelectionSet(_) => Self::Selection,
            Command::PricesSet(_) => Self::Prices,
            Command::TurnOriginsSet { .. } => Self::Origins,
            Command::TurnSecretAdd { .. }
            | Command::TurnSecretRotate { .. }
            | Command::TurnSecretRemove { .. } => Self::TurnSecrets,
            Command::RoomSet { room, .. } | Command::RoomRemove { room } => Self::Room(room.clone()),
            Command::IssuedAdd { id, .. } | Command::IssuedRevoke { id } => Self::Issued(*id),
            Command::HookAdd { app, hook, .. }
            | Command::HookSet { app, hook, .. }
            | Command::HookRotate { app, hook, .. }
            | Command::HookSettle { app, hook }
            | Command::HookGone { app, hook, .. }
            | Command::HookRemove { app, hook } => Self::Hook(app.clone(), *hook),
            Command::TurnUserSet(user) => Self::TurnUser(user.realm.clone(), user.name.clone()),
            Command::TurnUserRemove { realm, name } => Self::TurnUser(realm.clone(), name.clone()),
            Command::AuthorityAdd { .. } | Command::AuthorityRemove { .. } => Self::Authorities,
            Command::Revoke { banned: Some((room, identity)), .. } | Command::Pardon { room, identity } => {
                Self::Ban(room.clone(), identity.clone())
            }
            Command::Access(change) => return Self::of_access(change),
            _ => return None,
        })
    }

    fn of_access(change: &AccessChange) -> Option<Self> {
        Some(match change {
            AccessChange::OperatorSet { name, .. }
            | AccessChange::OperatorRemove { name }
            | AccessChange::OperatorPassword { name, .. }
            | AccessChange::LinkUse { name, .. } => Self::Operator(name.clone()),
            AccessChange::LinkAdd { id, .. } | AccessChange::LinkRemove { id } => Self::Link(*id),
            AccessChange::TokenAdd { id, .. }
            | AccessChange::TokenSet { id, .. }
            | AccessChange::TokenRemove { id } => Self::AccessToken(*id),
            AccessChange::ProviderSet { .. } | AccessChange::ProviderRemove => Self::Provider,
            AccessChange::ProviderLogin { login, .. } => Self::Operator(login.operator.clone()),
            AccessChange::LoginAdd { .. }
            | AccessChange::LoginSeen { .. }
            | AccessChange::LoginRemove { .. }
            | AccessChange::LoginsEnd { .. } => return None,
        })
    }

    /// How it is, in a line; none where it is not there.
    pub(super) fn text(&self, state: &State) -> Option<String> {
        Some(match self {
            Self::ClusterName => state.cluster.as_ref()?.name.clone(),
            Self::App(app) => state.app(app).map(|app| policy(&app.name, &app.policy))?,
            Self::Key(key) => {
                state.key(key).map(|key| format!("app {}, {}", key.app, in_force(key.disabled)))?
            }
            Self::Node(node) => state.node(*node).map(|node| {
                let way = match (node.leaving, node.draining) {
                    (true, _) => "leaving",
                    (_, true) => "draining",
                    _ => "serving",
                };
                format!("weight {}, {way}", node.weight)
            })?,
            Self::Edge(edge) => state.edge(edge).map(|edge| {
                let name = serde_json::to_value(edge.state).unwrap_or_default();
                format!("{}, weight {}", name.as_str().unwrap_or_default(), edge.weight)
            })?,
            Self::Profile => state.profile_name().to_string(),
            Self::Voters => state.wanted_voters().to_string(),
            Self::Peers => {
                let list = |nets: &[ipnet::IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>();
                let (allow, deny) = (list(&state.peers.allow), list(&state.peers.deny));
                format!("allow [{}], deny [{}]", allow.join(" "), deny.join(" "))
            }
            Self::Selection => {
                let held = state.selection();
                let (regions, networks) = (held.regions.len(), held.networks.len());
                format!("{regions} regions, {networks} networks, {} rules", held.rules.len())
            }
            Self::Origins => {
                let pairs = state.origins.iter().map(|(origin, realm)| format!("{origin} {realm}"));
                pairs.collect::<Vec<_>>().join(", ")
            }
            Self::TurnSecrets => numbers(state.turn.all().keys()),
            Self::TurnUser(realm, name) => state.turn_user(realm, name).map(|user| {
                let keys = [("md5", user.md5.is_some()), ("sha256", user.sha256.is_some())];
                let held: Vec<_> = keys.iter().filter(|(_, held)| *held).map(|(name, _)| *name).collect();
                format!("keys {}", held.join(" "))
            })?,
            Self::Authorities => numbers(state.authorities.all().keys()),
            Self::Ban(room, identity) => {
                let until = state.banned(room, identity, state.now)?;
                format!("out of {}/{} until {}", room.app, room.room, until.secs())
            }
            _ => return self.text_of_others(state),
        })
    }

    /// Of rooms, credentials, webhooks, prices, and of who may do what.
    fn text_of_others(&self, state: &State) -> Option<String> {
        Some(match self {
            Self::Room(room) => state.made_room(room).map(|made| {
                let RoomPolicy { capacity, locked, region, expires, metadata, lobby } = &made.policy;
                let capacity =
                    capacity.map_or_else(|| "the app's".to_owned(), |capacity| capacity.to_string());
                let region = region.as_ref().map_or("any", |region| region.as_str());
                let expires = expires.map_or_else(|| "never".to_owned(), |at| at.secs().to_string());
                let metadata = if metadata.is_some() { ", metadata" } else { "" };
                let lobby = if *lobby { ", lobby" } else { "" };
                format!(
                    "capacity {capacity}, locked {locked}{lobby}, region {region}, expires {expires}{metadata}"
                )
            })?,
            Self::Issued(id) => state.issued(id).map(|issued| {
                let way = if issued.revoked.is_some() { "revoked" } else { "in force" };
                format!("{:?}, until {}, {way}", issued.label, issued.until.secs())
            })?,
            Self::Hook(app, hook) => state.hook(app, *hook)?.text(),
            Self::Prices => state.prices().to_string(),
            Self::Operator(name) => state.access.operator(name).map(|held| {
                let by = held.external.as_ref().map_or_else(
                    || format!("password of {}", held.password_since.secs()),
                    |external| format!("by {}", external.issuer),
                );
                format!("{}, {}, {by}", held.role, in_force(held.disabled))
            })?,
            Self::Link(id) => state.access.link(id).map(|link| match &link.of {
                LinkFor::New { role, name: None } => format!("for a new {role}"),
                LinkFor::New { role, name: Some(name) } => format!("for a new {role}, {name}"),
                LinkFor::Password { name } => format!("for a new password of {name}"),
            })?,
            Self::AccessToken(id) => state
                .access
                .token(id)
                .map(|token| format!("{:?}, {}, {}", token.label, token.role, in_force(token.disabled)))?,
            Self::Provider => state.access.provider().map(|held| provider(held))?,
            _ => return None,
        })
    }
}

const fn in_force(disabled: bool) -> &'static str {
    if disabled { "disabled" } else { "enabled" }
}

fn numbers<'a>(held: impl Iterator<Item = &'a u64>) -> String {
    let held: Vec<_> = held.map(ToString::to_string).collect();
    format!("numbers {}", held.join(" "))
}

fn provider(held: &Provider) -> String {
    let ProviderPlan { issuer, client, label, console, scopes, claim, roles, everybody, domain } = &held.plan;
    let rules: Vec<_> = roles.iter().map(|(value, role)| format!("{value:?} {role}")).collect();
    let everybody = everybody.map_or_else(|| "none".to_owned(), |role| role.to_string());
    let (domain, rules) = (domain.as_deref().unwrap_or("any"), rules.join(", "));
    let (scopes, secret) = (scopes.join(" "), held.secret_since.secs());
    format!(
        "{issuer}: client {client:?}, secret of {secret}, {label:?}, console {console}, scopes [{scopes}], {claim} \
         [{rules}], everybody {everybody}, domain {domain}"
    )
}

fn policy(name: &str, policy: &AppPolicy) -> String {
    let AppPolicy { grace_ms, credential_ttl_ms, anonymous, capacity, .. } = policy;
    let (burst, rate, origins) = (policy.frames_burst, policy.frames_per_sec, policy.origins.join(" "));
    format!(
        "{name:?}: grace {grace_ms} ms, credentials {credential_ttl_ms} ms, anonymous {anonymous}, capacity \
         {capacity}, frames {burst}/{rate}, origins [{origins}]"
    )
}
