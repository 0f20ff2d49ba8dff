//! Who a request comes from.

use actix_web::http::Method;
use actix_web::{HttpRequest, web};
use chappe_proto::id::{AccessTokenId, KeyId, LoginId};
use chappe_proto::registry::access::{Role, is_opened_by};
use data_encoding::BASE64;
use subtle::ConstantTimeEq;

use super::asker::{asks_for_events, header, same_origin};
use super::cookies::{self, cookie};
use super::secret::Bearer;
use super::{Means, Principal};
use crate::Mount;
use crate::api::problem::Problem;

/// What access tokens begin with, so that they are known where one leaked.
pub(crate) const TOKEN_PREFIX: &str = "chappe_at_";

/// Who a request comes from. One that carries `Authorization` is never taken by its cookie.
pub(super) fn principal(request: &HttpRequest) -> Result<Principal, Problem> {
    let mount = request.app_data::<web::Data<Mount>>().ok_or(Problem::Unauthorized)?;
    let from = mount.gate.asker(request).ip.to_string();
    if request.headers().contains_key("authorization") {
        let given = header(request, "authorization").ok_or(Problem::Unauthorized)?;
        let (scheme, rest) = given.split_once(' ').ok_or(Problem::Unauthorized)?;
        let found = match scheme.to_ascii_lowercase().as_str() {
            "bearer" => by_token(mount, rest.trim(), from),
            "basic" => by_key(mount, rest.trim(), from),
            _ => None,
        };
        return found.ok_or(Problem::Unauthorized);
    }
    by_cookie(mount, request, from)
}

fn by_token(mount: &Mount, given: &str, from: String) -> Option<Principal> {
    if bool::from(given.as_bytes().ct_eq(&mount.token.0)) {
        let (who, by) = ("operator".to_owned(), Means::Cluster);
        return Some(Principal { who, operator: None, role: Role::Owner, by, app: None, csrf: None, from });
    }
    let bearer = Bearer::read(given.strip_prefix(TOKEN_PREFIX)?)?;
    let (access, id) = (mount.cluster.access(), AccessTokenId::from_random(bearer.id));
    let held = access.token(&id).filter(|held| is_opened_by(&held.hash, &bearer.secret))?;
    let role = access.role_of(held, mount.cluster.now().unix)?;
    let owner = held.owner.as_ref().map_or("operator", |name| name.as_str());
    let who = format!("{owner} by token {:?}", held.label);
    Some(Principal {
        who,
        operator: held.owner.clone(),
        role,
        by: Means::Token(id),
        app: None,
        csrf: None,
        from,
    })
}

fn by_key(mount: &Mount, given: &str, from: String) -> Option<Principal> {
    let pair = BASE64.decode(given.as_bytes()).ok()?;
    let at = pair.iter().position(|byte| *byte == b':')?;
    let (id, secret) = (&pair[..at], &pair[at + 1..]);
    let id: KeyId = std::str::from_utf8(id).ok()?.parse().ok()?;
    let key = mount.cluster.api_key(id).filter(|key| !key.disabled)?;
    if !bool::from(secret.ct_eq(&key.secret.0)) {
        return None;
    }
    let (who, by) = (format!("key {id} of {}", key.app), Means::Key(id));
    Some(Principal { who, operator: None, role: Role::Viewer, by, app: Some(key.app), csrf: None, from })
}

fn by_cookie(mount: &Mount, request: &HttpRequest, from: String) -> Result<Principal, Problem> {
    let bearer = cookie(request, cookies::LOGIN).and_then(Bearer::read).ok_or(Problem::Unauthorized)?;
    let (access, id) = (mount.cluster.access(), LoginId::from_random(bearer.id));
    let now = mount.cluster.now().unix;
    let login = access.login(&id).filter(|held| is_opened_by(&held.hash, &bearer.secret) && held.holds(now));
    let login = login.ok_or(Problem::Unauthorized)?;
    let operator = access.operator(&login.operator).filter(|held| !held.disabled);
    let role = operator.ok_or(Problem::Unauthorized)?.role;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        same_origin(request)?;
        if !header(request, "chappe-csrf").is_some_and(|given| cookies::is_csrf(&bearer, given)) {
            return Err(Problem::Forbidden(
                "give `csrf` of `GET …/me` as `Chappe-Csrf`: what a cookie alone asks for may be another site's \
                 wish"
                .to_owned(),
            ));
        }
    }
    // An open page's stream comes back by itself, for ever: that is nobody's use of the login.
    if !asks_for_events(request) {
        mount.gate.seen(&mount.cluster, id, login, now);
    }
    Ok(Principal {
        who: login.operator.to_string(),
        operator: Some(login.operator.clone()),
        role,
        by: Means::Login(id),
        app: None,
        csrf: Some(cookies::csrf(&bearer)),
        from,
    })
}
