//! What a node serves over HTTP: signaling, the call page, the SDK, health, the console.

pub mod api;
pub mod assets;
mod listen;
mod nearest;
mod proxied;
pub mod source;
pub mod tls;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::http::header;
use actix_web::{App, HttpRequest, HttpResponse, Route, guard, middleware, web};
use chappe_proto::http::PROBE_PATH;
use chappe_proto::limits::AGENT_MAX;
use ipnet::IpNet;

use crate::actor::gateway::Source;
use crate::actor::socket;
use crate::node::Node;

/// Connections of one worker thread.
const CONNECTIONS_PER_WORKER: usize = 60_000;

/// How a node is reached over HTTP.
pub struct Config {
    /// Bound sockets for plain HTTP: loopback, or behind a reverse proxy.
    pub plain: Vec<TcpListener>,
    /// Bound sockets for HTTPS, with the certificate.
    pub secure: Option<Secure>,
    /// Bound sockets behind whatever speaks TLS in the node's place: an edge that shares its port.
    pub behind: Option<Behind>,
    /// Reverse proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Worker threads.
    pub workers: usize,
    /// Serving phones on the LAN.
    pub lan: Option<Lan>,
    /// The console and admin API.
    pub admin: chappe_admin::Mount,
    /// Done once on each worker's thread, or more often.
    pub on_worker: OnWorker,
}

/// How phones on the LAN reach a development node.
#[derive(Debug, Clone)]
pub struct Lan {
    /// The CA certificate that they must trust, in PEM.
    pub ca_pem: String,
    /// The secure page.
    pub url: String,
}

/// HTTPS.
pub struct Secure {
    /// Bound sockets.
    pub listeners: Vec<TcpListener>,
    /// The certificate, followed on disk ([`tls::follow`], [`tls::await_certificate`]).
    pub tls: Arc<rustls::ServerConfig>,
    /// Who gets the certificate, where an authority gives it by ACME.
    pub acme: Option<Arc<dyn Acme>>,
}

/// An ACME client (RFC 8555), as those see it who serve what it gets.
pub trait Acme: Send + Sync {
    /// The key authorization of an HTTP-01 challenge that is open, by its token (RFC 8555 section 8.3).
    fn answer(&self, token: &str) -> Option<String>;
    /// What is wrong with the certificate, with the fix; nothing where all is well.
    fn trouble(&self) -> Option<String>;
}

/// HTTPS that somebody else has decrypted: each connection begins with a PROXY protocol version 2 header,
/// which says whose it is.
#[derive(Debug, Default)]
pub struct Behind {
    /// Bound sockets.
    pub listeners: Vec<TcpListener>,
    /// Who may connect to them, beside this machine itself; others are dropped unheard.
    pub proxies: Vec<IpNet>,
    /// Where clients find them, as `https://turn.example`.
    pub urls: Vec<String>,
}

/// What is done once on each worker's thread.
pub type OnWorker = Box<dyn Fn() + Send + Sync>;

/// What handlers need.
struct Shared {
    node: Arc<Node>,
    trusted_proxies: Vec<IpNet>,
    lan: Option<Lan>,
    acme: Option<Arc<dyn Acme>>,
}

/// Starts the server; its workers end when the returned server is stopped.
///
/// # Errors
/// When a listener cannot be used.
pub fn serve(node: Arc<Node>, config: Config) -> std::io::Result<Server> {
    let acme = config.secure.as_ref().and_then(|secure| secure.acme.clone());
    let Config { trusted_proxies, lan, .. } = config;
    let shared = web::Data::new(Shared { node, trusted_proxies, lan, acme });
    let admin = config.admin;
    let on_worker: Arc<dyn Fn() + Send + Sync> = config.on_worker.into();
    let app = move || {
        on_worker();
        App::new()
            .app_data(web::Data::clone(&shared))
            .wrap(middleware::DefaultHeaders::new().add(("X-Content-Type-Options", "nosniff")))
            .route("/v1/signal", web::get().to(signal))
            .route(PROBE_PATH, get().to(probe))
            .configure(api::routes)
            .configure(nearest::routes)
            .configure(|routes| admin.configure(routes))
            .configure(assets::routes)
    };
    let server = Server::build()
        .workers(config.workers.max(1))
        .max_concurrent_connections(CONNECTIONS_PER_WORKER)
        .shutdown_timeout(2)
        .disable_signals();
    let mut listening = listen::Listening::new(server, app);
    for listener in config.plain {
        listening.plain(listener)?;
    }
    if let Some(secure) = config.secure {
        for listener in secure.listeners {
            listening.secure(listener, &secure.tls)?;
        }
    }
    if let Some(behind) = config.behind {
        let proxies: Arc<[IpNet]> = behind.proxies.into();
        for listener in behind.listeners {
            listening.behind(listener, Arc::clone(&proxies))?;
        }
    }
    listening.run()
}

/// A route for GET, and for HEAD, of whose answer the server sends the headers alone (RFC 9110
/// section 9.3.2).
fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// What edges answer pages that time them. It comes here where the node shares an edge's port, over a connection
/// that the page has from before: as far from it as the edge is.
async fn probe() -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
        .insert_header(("Timing-Allow-Origin", "*"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish()
}

async fn signal(
    request: HttpRequest,
    body: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, actix_web::Error> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let (origin, agent) = (header("origin"), header("user-agent"));
    let source = Source {
        ip: source::client_ip(&request, &shared.trusted_proxies),
        origin: origin.map(str::to_owned),
        agent: agent.map(|agent| agent[..agent.floor_char_boundary(AGENT_MAX)].into()),
    };
    socket::upgrade(&shared.node, source, &request, body)
}

/// Binds a listener with room for a storm of reconnects.
///
/// # Errors
/// As the operating system says.
pub fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
