mod abuse;
mod daily;
mod provider;
mod repeats;
mod routes;
mod streams;

use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::http::Method;
use actix_web::http::header::HeaderMap;
use actix_web::test::TestRequest;
use actix_web::{App as WebApp, test};
use chappe_proto::id::{AppId, KeyId, LinkId, OperatorName};
use chappe_proto::limits::LINK_TTL;
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::access::{AccessChange, LinkFor, Role, hash};
use chappe_proto::registry::{AppPolicy, Command};
use serde_json::{Value, json};

use crate::access::secret::Bearer;
use crate::memory::Memory;
use crate::{Asker, Cluster, Mount};

/// A password that everybody has here.
pub(super) const PASSWORD: &str = "correct horse battery staple";

/// A console over HTTPS, and its cluster.
pub(super) struct Console {
    pub(super) memory: Arc<Memory>,
    pub(super) mount: Mount,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
    pub(super) text: String,
}

impl Reply {
    fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap_or_default()
    }

    /// The cookies that it sets, as a browser sends them back.
    fn cookies(&self) -> Vec<(String, String)> {
        let lines = self.headers.get_all("set-cookie").map(|line| line.to_str().unwrap());
        let pairs = lines.map(|line| line.split(';').next().unwrap().split_once('=').unwrap());
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

/// A browser: its address, its cookies, the token for its requests.
#[derive(Clone, Default)]
pub(super) struct Browser {
    ip: String,
    cookies: Vec<(String, String)>,
    csrf: String,
}

impl Browser {
    fn at(ip: &str) -> Self {
        Self { ip: ip.to_owned(), ..Self::default() }
    }

    fn takes(&mut self, reply: &Reply) {
        for (name, value) in reply.cookies() {
            self.cookies.retain(|(held, _)| *held != name);
            self.cookies.push((name, value));
        }
        if let Some(csrf) = reply.body["csrf"].as_str() {
            csrf.clone_into(&mut self.csrf);
        }
    }

    fn header(&self) -> String {
        let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    fn request(&self, method: &Method, path: &str, body: &Value) -> TestRequest {
        let ip: SocketAddr = format!("{}:5000", self.ip).parse().unwrap();
        let mut request = TestRequest::with_uri(&format!("/admin/api/v1{path}"))
            .method(method.clone())
            .peer_addr(ip)
            .insert_header(("Host", "node.example"))
            .insert_header(("Cookie", self.header()));
        if !self.csrf.is_empty() {
            request = request.insert_header(("Chappe-Csrf", self.csrf.clone()));
        }
        if body.is_null() { request } else { request.set_payload(body.to_string()) }
    }
}

impl Console {
    pub(super) fn new() -> Self {
        let memory = Arc::new(Memory::default());
        let mount = Mount::new(Arc::clone(&memory) as Arc<dyn Cluster>, Secret(b"right".to_vec()))
            .asked_by(|request| Asker { ip: request.peer_addr().unwrap().ip(), secure: true });
        Self { memory, mount }
    }

    async fn send(&self, request: TestRequest) -> Reply {
        let app = test::init_service(WebApp::new().configure(|config| self.mount.configure(config))).await;
        let answer = test::call_service(&app, request.to_request()).await;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let streams =
            headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        // A stream is there for as long as it is read.
        let bytes = if streams { actix_web::web::Bytes::new() } else { test::read_body(answer).await };
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Reply { status, headers, body, text: String::from_utf8_lossy(&bytes).into_owned() }
    }

    /// As a browser does.
    async fn browse(&self, browser: &mut Browser, method: Method, path: &str, body: Value) -> Reply {
        let reply = self.send(browser.request(&method, path, &body)).await;
        browser.takes(&reply);
        reply
    }

    /// As the holder of the cluster's own token does.
    async fn owner(&self, method: Method, path: &str, body: Value) -> Reply {
        self.bearer("right", method, path, body).await
    }

    async fn bearer(&self, token: &str, method: Method, path: &str, body: Value) -> Reply {
        let request = Browser::at("192.0.2.9").request(&method, path, &body);
        self.send(request.insert_header(("Authorization", format!("Bearer {token}")))).await
    }

    /// An operator, without the time that hashing takes: nobody logs in as it.
    fn is(&self, name: &str, role: Role) {
        let (id, name) = (LinkId::from_random([1; 15]), OperatorName::new(name).unwrap());
        let until = self.memory.time().unix + LINK_TTL;
        let of = LinkFor::New { role, name: None };
        let add = AccessChange::LinkAdd { id, hash: hash(b"x"), of, until, by: None };
        let password = Secret(b"$argon2id$nobody's".to_vec());
        for change in [add, AccessChange::LinkUse { id, name, password }] {
            self.memory.apply(Command::Access(change), None).unwrap();
        }
    }

    /// An access token of an operator who is there.
    fn token(&self, owner: &str, role: Role) -> String {
        let bearer = Bearer::draw().unwrap();
        let change = AccessChange::TokenAdd {
            id: chappe_proto::id::AccessTokenId::from_random(bearer.id),
            hash: hash(&bearer.secret),
            label: "test".to_owned(),
            role,
            owner: Some(OperatorName::new(owner).unwrap()),
            until: self.memory.time().unix + LINK_TTL,
        };
        self.memory.apply(Command::Access(change), None).unwrap();
        format!("chappe_at_{}", bearer.text())
    }

    /// An app, and the header by which its server is known.
    fn app(&self, name: &str, n: u8) -> String {
        let (app, policy) = (AppId::new(name).unwrap(), AppPolicy::default());
        let add = Command::AppAdd { app: app.clone(), name: name.to_owned(), policy };
        let (key, secret) = (KeyId::from_random([n; 15]), vec![b'a' + n; 32]);
        let text = format!("{key}:{}", String::from_utf8(secret.clone()).unwrap());
        for command in [add, Command::KeyAdd { app, key, secret: Secret(secret) }] {
            self.memory.apply(command, None).unwrap();
        }
        format!("Basic {}", data_encoding::BASE64.encode(text.as_bytes()))
    }

    /// A link, as an owner makes it.
    async fn link(&self, wish: Value) -> String {
        let reply = self.owner(Method::POST, "/operators/links", wish).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.body["token"].as_str().unwrap().to_owned()
    }

    /// Somebody comes by a link.
    async fn joins(&self, ip: &str, name: &str, role: &str) -> Browser {
        let link = self.link(json!({ "role": role })).await;
        let mut browser = Browser::at(ip);
        let body = json!({ "name": name, "password": PASSWORD });
        let reply = self.browse(&mut browser, Method::POST, &format!("/links/{link}"), body).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        browser
    }

    async fn logs_in(&self, browser: &mut Browser, name: &str, password: &str) -> Reply {
        let body = json!({ "name": name, "password": password });
        self.browse(browser, Method::POST, "/login", body).await
    }
}
