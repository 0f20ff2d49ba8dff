//! The pages before the console: logging in, and what a one-time link opens.

use actix_web::http::header;
use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use chappe_proto::id::OperatorName;
use chappe_proto::registry::access::Role;
use chappe_proto::time::Unix;

use super::view::{missing, page_of};
use super::words;
use crate::Mount;
use crate::access::Viewer;
use crate::access::cookies::no_entry;
use crate::access::provider::Denied;
use crate::api::logins::{ShownLink, is_private, opened};
use crate::api::problem::Problem;
use crate::control::Fault;

#[derive(Template)]
#[template(path = "access/login.html")]
struct Login {
    to: String,
    private: bool,
    nobody: bool,
    /// The word on the identity provider's button.
    provider: Option<String>,
    /// Why the provider's word was not enough.
    refused: Option<String>,
}

impl Login {
    fn of(mount: &Mount, request: &HttpRequest, to: String) -> Self {
        let access = mount.cluster.access();
        Self {
            to,
            private: is_private(mount, request).is_ok(),
            nobody: access.operators().next().is_none(),
            provider: access.provider().map(|held| held.plan.label.clone()),
            refused: None,
        }
    }
}

/// Logging in, once the provider's way did not lead in.
pub(super) fn refused(mount: &Mount, request: &HttpRequest, denied: &Denied) -> HttpResponse {
    let words = denied.to_string();
    let mut letters = words.chars();
    let begun = letters.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
    let refused = Some(format!("{begun}{}.", letters.as_str()));
    let page = Login { refused, ..Login::of(mount, request, place(None)) };
    let mut response = HttpResponse::build(denied.status());
    response.append_header((header::SET_COOKIE, no_entry()));
    page_of(&mut response, page.render())
}

/// Where to go afterwards.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Then {
    to: Option<String>,
}

/// A page of this console, or the first one: no link to here leads elsewhere.
pub(super) fn place(to: Option<&str>) -> String {
    let here = |to: &&str| {
        let rest = to.strip_prefix("/admin");
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
            && !to.contains(['\\', '{', '}'])
            && !to.chars().any(char::is_control)
            && !rest.is_some_and(|rest| {
                let path = rest.split_once('?').map_or(rest, |(path, _)| path);
                path == "/login" || path.starts_with("/login/")
            })
    };
    to.filter(here).unwrap_or("/admin").to_owned()
}

/// Logging in. Whoever is in already goes on.
pub(super) async fn login(
    viewer: Result<Viewer, Problem>,
    request: HttpRequest,
    mount: Data<Mount>,
    then: Query<Then>,
) -> HttpResponse {
    let to = place(then.to.as_deref());
    if viewer.is_ok() {
        return HttpResponse::SeeOther().insert_header((header::LOCATION, to)).finish();
    }
    page_of(&mut HttpResponse::Ok(), Login::of(&mount, &request, to).render())
}

#[derive(Template)]
#[template(path = "access/link.html")]
struct Link {
    title: &'static str,
    lead: String,
    token: String,
    name: Option<OperatorName>,
    until: Unix,
}

const fn may(role: Role) -> &'static str {
    match role {
        Role::Viewer => "you may look at everything, and change nothing",
        Role::Operator => {
            "you may look at everything, and act on rooms, people, credentials, edges and nodes"
        }
        Role::Owner => "you may do everything, and decide who else may",
    }
}

/// What a link opens. It stays unused until its form is sent.
pub(super) async fn link(mount: Data<Mount>, token: Path<String>) -> HttpResponse {
    let Ok((_, held)) = opened(&mount, &token) else {
        return missing(&Fault::NotThere("link any more: it was used, withdrawn, or has expired"));
    };
    let ShownLink { role, name, until, .. } = ShownLink::of(&held);
    let (title, lead) = match role {
        Some(role) => ("Welcome", format!("You become {role}: {}.", may(role))),
        None => ("A new password", "All your logins end with the old one.".to_owned()),
    };
    let page = Link { title, lead, token: token.into_inner(), name, until };
    let mut response = page_of(&mut HttpResponse::Ok(), page.render());
    // Its address is a secret.
    let none = header::HeaderValue::from_static("no-referrer");
    response.headers_mut().insert(header::REFERRER_POLICY, none);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_elsewhere_by_a_login() {
        for fine in ["/admin", "/admin/nodes/2?a=b&c", "/admin/logs?node=2", "/admin?x"] {
            assert_eq!(place(Some(fine)), fine);
        }
        for wrong in [
            "",
            "//evil.example",
            "https://evil.example",
            "/adminx",
            "/admin\\evil",
            "/admin/{who}",
            "/admin/login",
            "/admin/login/provider?to=/admin",
            "/",
        ] {
            assert_eq!(place(Some(wrong)), "/admin", "{wrong}");
        }
        assert_eq!(place(None), "/admin");
    }
}
