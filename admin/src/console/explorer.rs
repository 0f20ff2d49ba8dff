//! The API, to be read and tried: Swagger UI over its own description, with the visitor's login.
//!
//! The page keeps the console's Content-Security-Policy: Swagger UI needs no script or style of its own inline (it
//! sets styles by the object model, which a policy allows).

use askama::Template;

use super::frame::Frame;
use super::view::{Nothing, View};
use super::visitor::Visitor;
use crate::Mount;
use crate::control::Fault;

/// The explorer.
#[derive(Template)]
#[template(path = "explorer.html")]
pub(crate) struct Explorer {
    frame: Frame,
}

impl View for Explorer {
    type Place = ();
    type Ask = Nothing;

    async fn load(_: &Mount, visitor: &Visitor, (): (), _: Nothing) -> Result<Self, Fault> {
        Ok(Self { frame: Frame::of(visitor, "/admin/api", "API") })
    }

    /// Nothing of it changes by itself.
    fn live(&self) -> askama::Result<String> {
        Ok(String::new())
    }
}
