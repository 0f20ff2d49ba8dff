//! Whether the reader's own browser reaches each edge and each node: the page; the test is the browser's.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use askama::Template;

use super::frame::Frame;
use super::view::{Nothing, View};
use super::visitor::Visitor;
use crate::Mount;
use crate::connection::{NodeToTest, nodes};
use crate::control::Fault;

const SECTION: &str = "/admin/test";

/// Test my connection.
#[derive(Template)]
#[template(path = "connection.html")]
pub(crate) struct Connection {
    frame: Frame,
    node: String,
    connects: Vec<String>,
}

impl View for Connection {
    type Place = ();
    type Ask = Nothing;

    async fn load(mount: &Mount, visitor: &Visitor, (): (), _: Nothing) -> Result<Self, Fault> {
        let status = mount.cluster.status().await;
        let frame = Frame::of(visitor, SECTION, "Test my connection");
        Ok(Self { frame, node: status.node.to_string(), connects: sources(&nodes(&status)) })
    }

    /// Nothing of it changes by itself.
    fn live(&self) -> askama::Result<String> {
        Ok(String::new())
    }

    fn connects(&self) -> Vec<String> {
        self.connects.clone()
    }
}

/// The nodes as a Content Security Policy names them. It has no words for addresses (CSP 3, section 6.7.2.9): where a
/// node has such a URL its whole scheme is let through.
fn sources(nodes: &[NodeToTest]) -> Vec<String> {
    let source = |url: &String| {
        let (scheme, rest) = url.split_once("://")?;
        let place = rest.split('/').next()?;
        let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
        let address = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
        Some(if address { format!("{scheme}:") } else { format!("{scheme}://{place}") })
    };
    let all: BTreeSet<_> = nodes.iter().flat_map(|node| &node.urls).filter_map(source).collect();
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::http::header;
    use actix_web::{App, test as web_test};
    use chappe_proto::mesh::uplink::Secret;

    use super::*;
    use crate::console::tests::get;
    use crate::memory::Memory;

    #[actix_rt::test]
    async fn the_page_is_plain_without_its_module_and_says_so() {
        let (_, page) = get(&Arc::new(Memory::default()), "/admin/test").await;
        assert!(page.contains("src=\"/admin/ui/connection.js\""), "{page}");
        assert!(page.contains("Nothing tested yet") && page.contains("<noscript>"), "{page}");
    }

    #[actix_rt::test]
    async fn this_page_alone_may_open_sockets_to_the_nodes() {
        let memory = Arc::new(Memory::default());
        memory.members(|status| {
            status.members[0].public =
                vec!["https://a.example".to_owned(), "http://192.0.2.1:8080".to_owned()];
            status.members[1].public = vec!["https://a.example; script-src *".to_owned()];
        });
        let mount = Mount::new(memory as Arc<dyn crate::Cluster>, Secret(b"right".to_vec()));
        let app = web_test::init_service(App::new().configure(|config| mount.configure(config))).await;
        for (path, sources) in [
            ("/admin/test", "connect-src 'self' ws: wss://a.example;"),
            ("/admin/nodes", "connect-src 'self';"),
        ] {
            let request =
                web_test::TestRequest::with_uri(path).insert_header(("Authorization", "Bearer right"));
            let answer = web_test::call_service(&app, request.to_request()).await;
            let policy = answer.headers().get(header::CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap();
            assert!(policy.contains(sources), "{path}: {policy}");
            assert!(policy.contains("script-src 'self';"), "{path}: {policy}");
        }
    }

    #[test]
    fn an_address_is_let_through_by_its_scheme() {
        let node = |urls: &[&str]| NodeToTest {
            node: chappe_proto::id::NodeId(1),
            region: chappe_proto::id::Region::new("eu").unwrap(),
            urls: urls.iter().map(|&url| url.to_owned()).collect(),
        };
        let all = [node(&["wss://[2001:db8::1]/v1/signal"]), node(&["wss://b.example:8443/v1/signal"])];
        assert_eq!(sources(&all), ["wss:", "wss://b.example:8443"]);
        assert_eq!(sources(&[node(&["ws://192.0.2.1:8080/v1/signal"])]), ["ws:"]);
    }
}
