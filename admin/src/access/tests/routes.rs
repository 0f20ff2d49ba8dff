//! All routes, by all who may ask.

use std::collections::BTreeSet;

use super::*;
use crate::api::written::written;

/// Who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum May {
    /// Whoever has no role as well.
    Anybody,
    /// Whoever is known at all.
    Known,
    Viewer,
    Operator,
    Owner,
    /// The app's own key too; of the others viewers.
    AppViewer,
    /// Likewise, of the others operators.
    AppOperator,
}

const ROUTES: &[(&str, &str, May)] = &[
    ("GET", "/overview", May::Viewer),
    ("GET", "/apps/{app}/rooms/{room}", May::AppViewer),
    ("DELETE", "/apps/{app}/rooms/{room}/peers/{peer}", May::AppOperator),
    ("GET", "/apps", May::Viewer),
    ("GET", "/apps/{app}", May::Viewer),
    ("PUT", "/apps/{app}/credential-ttl", May::Operator),
    ("GET", "/turn/users", May::Viewer),
    ("PUT", "/turn/realms/{realm}/users/{name}", May::Operator),
    ("DELETE", "/turn/realms/{realm}/users/{name}", May::Operator),
    ("GET", "/turn/origins", May::Viewer),
    ("PUT", "/turn/origins", May::Operator),
    ("POST", "/turn/secrets", May::Owner),
    ("GET", "/turn/peers", May::Viewer),
    ("PUT", "/turn/peers", May::Operator),
    ("GET", "/selection", May::Viewer),
    ("PUT", "/selection", May::Operator),
    ("GET", "/usage", May::Viewer),
    ("GET", "/costs", May::Viewer),
    ("GET", "/costs/prices", May::Viewer),
    ("PUT", "/costs/prices", May::Operator),
    ("GET", "/apps/{app}/usage", May::AppViewer),
    ("GET", "/apps/{app}/rooms/{room}/usage", May::AppViewer),
    ("GET", "/cluster", May::Viewer),
    ("GET", "/cluster/events", May::Viewer),
    ("GET", "/cluster/events/stream", May::Viewer),
    ("GET", "/cluster/shards", May::Viewer),
    ("PUT", "/cluster/profile", May::Operator),
    ("PUT", "/cluster/voters", May::Operator),
    ("POST", "/cluster/transfer", May::Operator),
    ("GET", "/cluster/invitations", May::Viewer),
    ("POST", "/cluster/invitations", May::Owner),
    ("DELETE", "/cluster/invitations/{id}", May::Operator),
    ("POST", "/cluster/authority/rotate", May::Owner),
    ("GET", "/cluster/backup", May::Owner),
    ("GET", "/nodes", May::Viewer),
    ("GET", "/nodes/{node}", May::Viewer),
    ("DELETE", "/nodes/{node}", May::Operator),
    ("POST", "/nodes/{node}/drain", May::Operator),
    ("POST", "/nodes/{node}/resume", May::Operator),
    ("PUT", "/nodes/{node}/weight", May::Operator),
    ("GET", "/configuration", May::Viewer),
    ("GET", "/configuration/diff", May::Viewer),
    ("GET", "/nodes/{node}/configuration", May::Viewer),
    ("GET", "/nodes/{node}/logs", May::Operator),
    ("GET", "/nodes/{node}/logs/stream", May::Operator),
    ("GET", "/nodes/{node}/logs/export", May::Operator),
    ("PUT", "/nodes/{node}/logs/level", May::Operator),
    ("DELETE", "/nodes/{node}/logs/level", May::Operator),
    ("GET", "/edges/{edge}/configuration", May::Viewer),
    ("GET", "/edges/{edge}/logs", May::Operator),
    ("GET", "/edges/{edge}/logs/stream", May::Operator),
    ("GET", "/edges/{edge}/logs/export", May::Operator),
    ("PUT", "/edges/{edge}/logs/level", May::Operator),
    ("DELETE", "/edges/{edge}/logs/level", May::Operator),
    ("GET", "/edges", May::Viewer),
    ("GET", "/edges/latencies", May::Viewer),
    ("GET", "/edges/{edge}", May::Viewer),
    ("DELETE", "/edges/{edge}", May::Operator),
    ("POST", "/edges/{edge}/certificate", May::Owner),
    ("POST", "/edges/{edge}/drain", May::Operator),
    ("POST", "/edges/{edge}/resume", May::Operator),
    ("PUT", "/edges/{edge}/weight", May::Operator),
    ("POST", "/edges/{edge}/forget", May::Operator),
    ("POST", "/connection-test", May::Viewer),
    ("GET", "/me", May::Known),
    ("PUT", "/me/password", May::Known),
    ("POST", "/login", May::Anybody),
    ("POST", "/logout", May::Known),
    ("GET", "/links/{token}", May::Anybody),
    ("POST", "/links/{token}", May::Anybody),
    ("GET", "/logins", May::Viewer),
    ("DELETE", "/logins/{id}", May::Viewer),
    ("GET", "/operators", May::Viewer),
    ("GET", "/operators/links", May::Owner),
    ("POST", "/operators/links", May::Owner),
    ("DELETE", "/operators/links/{id}", May::Owner),
    ("PUT", "/operators/{name}", May::Owner),
    ("DELETE", "/operators/{name}", May::Owner),
    ("POST", "/operators/{name}/link", May::Owner),
    ("DELETE", "/operators/{name}/logins", May::Owner),
    ("GET", "/access-tokens", May::Viewer),
    ("POST", "/access-tokens", May::Viewer),
    ("PUT", "/access-tokens/{id}", May::Viewer),
    ("DELETE", "/access-tokens/{id}", May::Viewer),
    ("GET", "/identity-provider", May::Owner),
    ("PUT", "/identity-provider", May::Owner),
    ("DELETE", "/identity-provider", May::Owner),
    ("POST", "/identity-provider/test", May::Owner),
    ("GET", "/audit", May::Viewer),
    ("GET", "/audit/export", May::Viewer),
    ("GET", "/audit/verify", May::Viewer),
    ("DELETE", "/apps/{app}", May::Owner),
    ("DELETE", "/apps/{app}/keys/{key}", May::Owner),
    ("DELETE", "/apps/{app}/rooms/{room}", May::AppOperator),
    ("DELETE", "/apps/{app}/rooms/{room}/bans/{identity}", May::AppOperator),
    ("DELETE", "/apps/{app}/turn/credentials/{id}", May::AppOperator),
    ("DELETE", "/turn/allocations", May::Operator),
    ("DELETE", "/turn/allocations/{edge}/{id}", May::Operator),
    ("DELETE", "/turn/credentials/{id}", May::Operator),
    ("DELETE", "/turn/secrets/{number}", May::Owner),
    ("GET", "/apps/{app}/bans", May::AppViewer),
    ("GET", "/apps/{app}/keys", May::Viewer),
    ("GET", "/apps/{app}/turn/credentials", May::AppViewer),
    ("GET", "/apps/{app}/turn/credentials/{id}", May::AppViewer),
    ("GET", "/rooms", May::Viewer),
    ("GET", "/turn/allocations", May::Viewer),
    ("GET", "/turn/credentials", May::Viewer),
    ("GET", "/turn/credentials/{id}", May::Viewer),
    ("GET", "/turn/secrets", May::Viewer),
    ("PATCH", "/apps/{app}", May::Owner),
    ("PATCH", "/apps/{app}/rooms/{room}", May::AppOperator),
    ("POST", "/apps", May::Owner),
    ("POST", "/apps/{app}/keys", May::Owner),
    ("POST", "/apps/{app}/keys/{key}/disable", May::Owner),
    ("POST", "/apps/{app}/keys/{key}/enable", May::Owner),
    ("GET", "/apps/{app}/rooms", May::AppViewer),
    ("POST", "/apps/{app}/rooms", May::AppOperator),
    ("POST", "/apps/{app}/rooms/{room}/message", May::AppOperator),
    ("POST", "/apps/{app}/rooms/{room}/peers/{peer}/mute", May::AppOperator),
    ("POST", "/apps/{app}/rooms/{room}/peers/{peer}/unmute", May::AppOperator),
    ("POST", "/apps/{app}/rooms/{room}/peers/{peer}/move", May::AppOperator),
    ("GET", "/apps/{app}/rooms/{room}/waiting", May::AppViewer),
    ("POST", "/apps/{app}/rooms/{room}/waiting/{peer}/admit", May::AppOperator),
    ("POST", "/apps/{app}/rooms/{room}/waiting/{peer}/deny", May::AppOperator),
    ("POST", "/apps/{app}/tokens", May::AppOperator),
    ("POST", "/apps/{app}/turn/credentials", May::AppOperator),
    ("POST", "/turn/credentials", May::Operator),
    ("POST", "/turn/secret-rotations", May::Owner),
    ("GET", "/apps/{app}/webhooks", May::AppViewer),
    ("POST", "/apps/{app}/webhooks", May::AppOperator),
    ("GET", "/apps/{app}/webhooks/{webhook}", May::AppViewer),
    ("PATCH", "/apps/{app}/webhooks/{webhook}", May::AppOperator),
    ("DELETE", "/apps/{app}/webhooks/{webhook}", May::AppOperator),
    ("POST", "/apps/{app}/webhooks/{webhook}/secret", May::AppOperator),
    ("DELETE", "/apps/{app}/webhooks/{webhook}/secret", May::AppOperator),
    ("POST", "/apps/{app}/webhooks/{webhook}/test", May::AppOperator),
    ("GET", "/apps/{app}/webhooks/{webhook}/deliveries", May::AppViewer),
    ("POST", "/apps/{app}/webhooks/{webhook}/deliveries/{event}/resend", May::AppOperator),
    ("GET", "/apps/{app}/rooms/{room}/peers/{peer}", May::AppViewer),
    ("GET", "/apps/{app}/rooms/{room}/signals", May::AppViewer),
    ("GET", "/apps/{app}/rooms/{room}/signals/events", May::AppViewer),
    ("GET", "/apps/{app}/rooms/{room}/signals/export", May::AppViewer),
    ("GET", "/history", May::Viewer),
    ("GET", "/openapi.json", May::Viewer),
    ("GET", "/explorer/{file}", May::Viewer),
];

impl May {
    /// What somebody of a role is told where it may not.
    fn refuses(self, role: Role) -> bool {
        role < match self {
            Self::Anybody | Self::Known | Self::Viewer | Self::AppViewer => Role::Viewer,
            Self::Operator | Self::AppOperator => Role::Operator,
            Self::Owner => Role::Owner,
        }
    }

    fn is_of_apps(self) -> bool {
        matches!(self, Self::AppViewer | Self::AppOperator)
    }
}

fn filled(path: &str) -> String {
    if path == "/apps/{app}" {
        return "/apps/none".to_owned(); // it is removed, and its keys with it
    }
    path.replace("{app}", "dev")
        .replace("{room}", "r")
        .replace("{node}", "77")
        .replace("{realm}", "r")
        .split('/')
        .map(|part| if part.starts_with('{') { "none" } else { part })
        .collect::<Vec<_>>()
        .join("/")
}

#[core::prelude::v1::test]
fn every_route_is_in_the_table() {
    let table: BTreeSet<_> =
        ROUTES.iter().map(|(method, path, _)| format!("{} {path}", method.to_lowercase())).collect();
    let written = written();
    assert_eq!(table.difference(&written).collect::<Vec<_>>(), Vec::<&String>::new(), "gone");
    assert_eq!(written.difference(&table).collect::<Vec<_>>(), Vec::<&String>::new(), "not told");
}

#[actix_rt::test]
async fn every_route_is_for_those_it_is_for() {
    let console = Console::new();
    let (own, foreign) = (console.app("dev", 1), console.app("shop", 2));
    let roles = [Role::Viewer, Role::Operator, Role::Owner].map(|role| {
        let name = role.to_string() + "s";
        console.is(&name, role);
        (role, format!("Bearer {}", console.token(&name, role)))
    });
    for (method, path, may) in ROUTES {
        let (method, path, what) = (method.parse::<Method>().unwrap(), filled(path), (method, path));
        let ask = async |authorization: Option<&str>| {
            let request = Browser::at("192.0.2.1").request(&method, &path, &json!([]));
            let request = authorization
                .into_iter()
                .fold(request, |request, value| request.insert_header(("Authorization", value.to_owned())));
            console.send(request).await
        };
        let anybody = *may == May::Anybody;
        for nobody in [None, Some("Bearer wrong"), Some("Basic d3Jvbmc6d3Jvbmc="), Some("Negotiate x")] {
            let reply = ask(nobody).await;
            assert!((reply.status == 401) != anybody, "{what:?} {nobody:?} {reply:?}");
        }
        for (role, authorization) in &roles {
            let reply = ask(Some(authorization)).await;
            // By a token nobody sets a password: refused in other words, whoever it is.
            let refused = reply.status == 403 && reply.detail().contains("takes");
            assert_eq!(refused, may.refuses(*role), "{what:?} {role} {reply:?}");
            assert!(anybody || reply.status != 401, "{what:?} {role} {reply:?}");
        }
        if matches!(may, May::Anybody | May::Known) {
            continue;
        }
        let reply = ask(Some(&foreign)).await;
        if may.is_of_apps() {
            assert_eq!((reply.status, reply.detail()), (404, "there is no such app"), "{what:?}");
            let reply = ask(Some(&own)).await;
            assert!(!matches!(reply.status, 401 | 403), "{what:?} {reply:?}");
            assert_ne!(reply.detail(), "there is no such app", "{what:?}");
        } else {
            assert_eq!(reply.status, 403, "{what:?} {reply:?}");
            assert_eq!(ask(Some(&own)).await.status, 403, "{what:?}");
        }
    }
}
