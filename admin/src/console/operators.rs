//! Operators, one's own logins and password, access tokens for programs.

use askama::Template;
use chappe_proto::id::{AccessTokenId, LinkId, LoginId, OperatorName};
use chappe_proto::registry::access::{AccessToken, Link, LinkFor, Login, Operator, Role};

use super::frame::Frame;
use super::view::{Nothing, View};
use super::visitor::Visitor;
use super::words;
use crate::Mount;
use crate::control::Fault;

/// Operators and their means.
#[derive(Template)]
#[template(path = "operators.html", blocks = ["live"])]
pub(crate) struct Operators {
    frame: Frame,
    owns: bool,
    me: Option<OperatorName>,
    operators: Vec<(OperatorName, Operator, usize)>,
    links: Vec<(LinkId, Link)>,
    tokens: Vec<(AccessTokenId, AccessToken)>,
    logins: Vec<(LoginId, Login)>,
}

impl Operators {
    /// Whether whoever looks has a password, and not the identity provider alone.
    fn has_password(&self) -> bool {
        let own = |(name, _, _): &&(OperatorName, Operator, usize)| Some(name) == self.me.as_ref();
        self.operators.iter().find(own).is_some_and(|(_, held, _)| held.password.is_some())
    }

    #[expect(clippy::unused_self, reason = "as templates call it")]
    fn purpose(&self, link: &Link) -> String {
        match &link.of {
            LinkFor::New { role, name: Some(name) } => format!("{name}, a new {role}"),
            LinkFor::New { role, name: None } => format!("a new {role}"),
            LinkFor::Password { name } => format!("a new password of {name}"),
        }
    }
}

impl View for Operators {
    type Place = ();
    type Ask = Nothing;

    async fn load(mount: &Mount, visitor: &Visitor, (): (), _: Nothing) -> Result<Self, Fault> {
        let (access, now) = (mount.cluster.access(), mount.cluster.now().unix);
        let (owns, me) = (visitor.owns, visitor.operator.clone());
        let logged_in =
            |name: &OperatorName| access.logins(now).filter(|(_, login)| login.operator == *name).count();
        let operators = access.operators().map(|(name, held)| (name.clone(), held.clone(), logged_in(name)));
        let links = access.links().filter(|(_, held)| owns && held.until > now);
        let tokens = access.tokens().filter(|(_, held)| owns || (me.is_some() && held.owner == me));
        let logins = access.logins(now).filter(|(_, held)| Some(&held.operator) == me.as_ref());
        Ok(Self {
            frame: Frame::of(visitor, "/admin/operators", "Operators"),
            owns,
            operators: operators.collect(),
            links: links.map(|(id, held)| (*id, held.clone())).collect(),
            tokens: tokens.map(|(id, held)| (*id, held.clone())).collect(),
            logins: logins.map(|(id, held)| (*id, held.clone())).collect(),
            me,
        })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}
