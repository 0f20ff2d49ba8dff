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
