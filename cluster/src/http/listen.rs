//! HTTP over the connections of each kind of listener: plain, by the node's own TLS, and decrypted by
//! somebody else. actix-web's own server knows the first two alone.

use std::any::Any;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_http::body::BoxBody;
use actix_http::{HttpService, Request, TlsAcceptorConfig};
use actix_server::{GracefulShutdownSignal, ServerBuilder};
use actix_service::boxed::{self, BoxServiceFactory};
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::App;
use actix_web::dev::{AppConfig, Extensions, Server, ServiceRequest, ServiceResponse};
use actix_web::rt::net::TcpStream;
use ipnet::IpNet;

use super::proxied;
use super::source::Secured;
use crate::actor::socket::Cutter;

/// A request must be complete, and a TLS handshake done, within this.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);
/// A connection is closed by both sides within this of its last answer.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);
/// A TCP peer that acknowledges nothing, or whose window stays shut, is given up after this.
const TCP_GIVE_UP: Duration = Duration::from_secs(30);

/// An app, by its type alone one that can be served.
type Pages = BoxServiceFactory<(), Request, ServiceResponse, actix_web::Error, ()>;

/// A server to which listeners are added; each worker thread makes the app for each of them.
pub(super) struct Listening<F> {
    builder: ServerBuilder,
    stopping: GracefulShutdownSignal,
    app: F,
    listeners: usize,
}

impl<F, T> Listening<F>
where
    F: Fn() -> App<T> + Clone + Send + 'static,
    T: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse,
            Error = actix_web::Error,
            InitError = (),
        > + 'static,
{
    pub(super) fn new(builder: ServerBuilder, app: F) -> Self {
        let stopping = builder.graceful_shutdown_signal();
        Self { builder, stopping, app, listeners: 0 }
    }

    /// Plain HTTP.
    pub(super) fn plain(&mut self, listener: TcpListener) -> io::Result<()> {
        let (app, stopping) = (self.app.clone(), self.stopping.clone());
        let service = move || http::<TcpStream>(pages(app()), &stopping, Secured(false)).tcp();
        self.add(|builder, name| builder.listen(name, listener, service))
    }

    /// HTTPS by the node itself.
    pub(super) fn secure(&mut self, listener: TcpListener, tls: &rustls::ServerConfig) -> io::Result<()> {
        let (app, stopping, tls) = (self.app.clone(), self.stopping.clone(), tls.clone());
        let service = move || {
            let handshake = TlsAcceptorConfig::default().handshake_timeout(REQUEST_WITHIN);
            http::<TlsStream<TcpStream>>(pages(app()), &stopping, Secured(true))
                .rustls_0_23_with_config(tls.clone(), handshake)
        };
        self.add(|builder, name| builder.listen(name, listener, service))
    }

    /// HTTPS that one of these proxies, or this machine itself, has decrypted.
    pub(super) fn behind(&mut self, listener: TcpListener, proxies: Arc<[IpNet]>) -> io::Result<()> {
        let (app, stopping) = (self.app.clone(), self.stopping.clone());
        let service = move || {
            let proxies = Arc::clone(&proxies);
            fn_service(move |stream| proxied::accept(stream, Arc::clone(&proxies)))
                .and_then(http::<TcpStream>(pages(app()), &stopping, Secured(true)))
        };
        self.add(|builder, name| builder.listen(name, listener, service))
    }

    fn add(
        &mut self,
        listen: impl FnOnce(ServerBuilder, String) -> io::Result<ServerBuilder>,
    ) -> io::Result<()> {
        let builder = std::mem::take(&mut self.builder);
        self.builder = listen(builder, format!("http-{}", self.listeners))?;
        self.listeners += 1;
        Ok(())
    }

    /// Begins to accept.
    pub(super) fn run(self) -> io::Result<Server> {
        if self.listeners == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a node needs a listener for HTTP"));
        }
        Ok(self.builder.run())
    }
}

/// Boxed: a request more or less in memory, and every listener's service is of one type.
fn pages<T>(app: App<T>) -> Pages
where
    T: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse,
            Error = actix_web::Error,
            InitError = (),
        > + 'static,
{
    boxed::factory(map_config(app.into_factory(), |()| AppConfig::default()))
}

fn http<T: 'static>(
    pages: Pages,
    stopping: &GracefulShutdownSignal,
    secured: Secured,
) -> HttpService<T, Pages, BoxBody> {
    let stopping = stopping.clone();
    HttpService::build()
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .client_request_timeout(REQUEST_WITHIN)
        .client_disconnect_timeout(CLOSED_WITHIN)
        // Who has closed a page reads no more of its stream of events, which would be kept until it is written to.
        .h1_allow_half_closed(false)
        .on_connect_ext(move |connection: &T, data| {
            data.insert(secured);
            on_connect(connection, data);
        })
        .finish(pages)
}

/// Keeps of each connection what shuts it down from outside, and lets the kernel give up on those
/// that stopped reading.
fn on_connect(connection: &dyn Any, data: &mut Extensions) {
    let stream = connection
        .downcast_ref::<TcpStream>()
        .or_else(|| connection.downcast_ref::<TlsStream<TcpStream>>().map(|tls| tls.get_ref().0));
    let Some(stream) = stream else { return };
    let socket = socket2::SockRef::from(stream);
    // A connection without these still works; it is only reaped later.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_user_timeout(Some(TCP_GIVE_UP));
    if let Ok(cutter) = Cutter::new(stream) {
        data.insert(Arc::new(cutter));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream as Client};

    use actix_web::{HttpRequest, web};
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

    use super::super::source::is_secure;
    use super::super::tls;
    use super::*;

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

    fn bound() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        (listener, at)
    }

    fn answer(mut stream: impl Read + Write) -> String {
        stream.write_all(GET).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer); // a missing close_notify is no concern of this test
        answer
    }

    #[actix_web::test]
    async fn plain_and_tls_side_by_side_and_each_knows_which_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let files = tls::Files { certificates: dir.path().join("a.pem"), key: dir.path().join("a.key") };
        std::fs::write(&files.certificates, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        let app = || {
            let how = |request: HttpRequest| async move {
                assert!(request.conn_data::<Arc<Cutter>>().is_some(), "it can be cut from outside");
                is_secure(&request, &[]).to_string()
            };
            App::new().route("/", web::get().to(how))
        };
        let ((plain, plain_at), (secure, secure_at)) = (bound(), bound());
        let mut listening = Listening::new(Server::build().workers(1).disable_signals(), app);
        listening.plain(plain).unwrap();
        listening.secure(secure, &tls::follow(files).unwrap()).unwrap();
        let server = listening.run().unwrap();
        let handle = server.handle();
        actix_web::rt::spawn(server);

        let der = made.cert.der().clone();
        let ask = move || {
            let mut roots = RootCertStore::empty();
            roots.add(der).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            let name = ServerName::try_from("localhost").unwrap();
            let tls = ClientConnection::new(Arc::new(config), name).unwrap();
            let secure = answer(StreamOwned::new(tls, Client::connect(secure_at).unwrap()));
            (answer(Client::connect(plain_at).unwrap()), secure)
        };
        let (plain, secure) = actix_web::rt::task::spawn_blocking(ask).await.unwrap();
        assert!(plain.starts_with("HTTP/1.1 200") && plain.ends_with("false"), "{plain}");
        assert!(secure.starts_with("HTTP/1.1 200") && secure.ends_with("true"), "{secure}");
        handle.stop(true).await;
    }
}
