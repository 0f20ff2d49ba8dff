//! `chappe edge --health`: how the edge is, for people (`/`), load balancers and programs (`/health`), and
//! Prometheus (`/metrics`). Nothing secret is on it: what it shows is what nodes are told.

mod figures;
mod metrics;
mod page;
#[cfg(test)]
mod sample;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use actix_web::http::{StatusCode, header};
use actix_web::{App, HttpResponse, HttpServer, guard, middleware, web};
use anyhow::{Context, Result};
use chappe_cluster::clock;
use chappe_edge::{Observer, Status, Stuck};
use chappe_proto::limits::{HEALTH_CONNECTIONS_MAX, HEALTH_REQUEST_WITHIN};
use chappe_proto::select::condition::State;
use tokio::sync::oneshot;

use crate::bind;

/// Nothing but its own style.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Options {
    /// Serve how the edge is over HTTP, at a port of loopback or at IP:PORT: `/` for people, `/health` for load
    /// balancers (503 while it drains), `/metrics` for Prometheus. Whoever reaches it may read it.
    #[arg(long = "health", value_name = "[IP:]PORT", value_parser = address)]
    at: Option<SocketAddr>,
}

/// A port of loopback, or an address with its port.
fn address(text: &str) -> Result<SocketAddr, String> {
    let port = text.parse().map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    port.or_else(|_| text.parse())
        .map_err(|_| format!("{text:?} is neither a port nor IP:PORT, as 127.0.0.1:9180"))
}

impl Options {
    /// The socket, where it is asked for.
    pub(super) fn bind(&self) -> Result<Option<TcpListener>> {
        self.at.map(|at| bind::tcp(at, "--health [IP:]PORT")).transpose()
    }
}

/// The page while it is served; dropped, it is no more.
pub(super) struct Serving {
    /// Where.
    pub(super) at: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// Serves the page of a running edge, on a thread of its own.
pub(super) fn serve(listener: TcpListener, edge: Observer) -> Result<Serving> {
    let at = listener.local_addr().context("the address of --health")?;
    let (stop, stopped) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name("health".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                ended = run(listener, edge) => if let Err(error) = ended {
                    tracing::error!(%error, "the health page ended");
                },
                _ = stopped => {}
            }
        });
    });
    Ok(Serving { at, stop: Some(stop), thread: Some(thread.context("no thread for the health page")?) })
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

async fn run(listener: TcpListener, edge: Observer) -> std::io::Result<()> {
    let headers = || {
        middleware::DefaultHeaders::new()
            .add((header::CACHE_CONTROL, "no-store"))
            .add((header::CONTENT_SECURITY_POLICY, POLICY))
            .add((header::REFERRER_POLICY, "no-referrer"))
            .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
    };
    let edge = web::Data::new(edge);
    let get = || web::route().guard(guard::Any(guard::Get()).or(guard::Head()));
    let app = move || {
        App::new()
            .app_data(web::Data::clone(&edge))
            .wrap(headers())
            .service(web::resource("/").route(get().to(page)))
            .service(web::resource("/health").route(get().to(health)))
            .service(web::resource("/metrics").route(get().to(metrics)))
            .service(web::resource("/style.css").route(get().to(style)))
    };
    let server = HttpServer::new(app)
        .workers(1)
        .max_connections(HEALTH_CONNECTIONS_MAX)
        .client_request_timeout(HEALTH_REQUEST_WITHIN)
        .keep_alive(HEALTH_REQUEST_WITHIN)
        .shutdown_timeout(1)
        .disable_signals();
    server.listen(listener)?.run().await
}

/// Whether a load balancer is to send it clients.
fn code(seen: &Result<Status, Stuck>) -> StatusCode {
    match seen {
        Ok(status) if !matches!(status.condition.state, State::Draining | State::Lost) => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn page(edge: web::Data<Observer>) -> HttpResponse {
    let seen = edge.status().await;
    let body = page::of(&seen, clock::unix());
    HttpResponse::build(code(&seen)).content_type("text/html; charset=utf-8").body(body)
}

async fn health(edge: web::Data<Observer>) -> HttpResponse {
    let seen = edge.status().await;
    HttpResponse::build(code(&seen)).json(figures::of(&seen))
}

async fn metrics(edge: web::Data<Observer>) -> HttpResponse {
    let seen = edge.status().await;
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(metrics::of(&seen))
}

/// What every page of Chappe is made of, and what this one makes of it.
const STYLE: &str = concat!(include_str!("../../../../admin/ui/tokens.css"), include_str!("style.css"));

async fn style() -> HttpResponse {
    HttpResponse::Ok().content_type("text/css; charset=utf-8").body(STYLE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

    use super::*;

    #[test]
    fn a_port_alone_is_one_of_loopback() {
        assert_eq!(address("9180"), Ok("127.0.0.1:9180".parse().unwrap()));
        assert_eq!(address("[::1]:0"), Ok("[::1]:0".parse().unwrap()));
        for text in ["", "localhost:1", "10.0.0.1", "70000", ":9180"] {
            assert!(address(text).unwrap_err().contains("127.0.0.1:9180"), "{text}");
        }
    }

    #[test]
    fn load_balancers_send_nobody_to_one_that_drains_or_is_stuck() {
        let of = |state| {
            let mut status = sample::status();
            status.condition.state = state;
            code(&Ok(status)).as_u16()
        };
        let all = [State::Up, State::Degraded, State::Overloaded, State::Draining, State::Lost].map(of);
        assert_eq!(all, [200, 200, 200, 503, 503]);
        assert_eq!(code(&Err(Stuck)), 503);
    }
}
