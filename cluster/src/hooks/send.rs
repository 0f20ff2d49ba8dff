//! One request to a webhook's endpoint. Its name is resolved, the addresses are judged, and the connection goes to one
//! that was judged: a name that leads elsewhere the next time leads nowhere. Redirects are not followed.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use chappe_proto::hooks::event::Event;
use chappe_proto::hooks::record::Answered;
use chappe_proto::hooks::sign::signatures;
use chappe_proto::hooks::url::{Target, may_reach};
use chappe_proto::limits::{HOOK_ADDRESSES_MAX, HOOK_ANSWER_MAX, HOOK_WITHIN};
use chappe_proto::registry::{Hook, State};
use http_body_util::Full;
use hyper::Request;
use hyper::http::response::Parts;
use ipnet::IpNet;
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::fetch::{self, Failed};
use crate::{BUILD, clock};

/// One of several addresses must have been connected to within this.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// Sends.
pub(super) struct Sender {
    tls: TlsConnector,
    allow: Vec<IpNet>,
}

impl Sender {
    pub(super) fn new(roots: RootCertStore, allow: Vec<IpNet>) -> Result<Self, rustls::Error> {
        Ok(Self { tls: fetch::tls(roots)?, allow })
    }

    pub(super) fn allows_loopback(&self) -> bool {
        self.allow.iter().any(|net| net.network().is_loopback())
    }

    /// Sends an event to a webhook, and says what came of it.
    pub(super) async fn send(&self, state: &State, hook: &Hook, event: &Event) -> Answered {
        let begin = clock::mono();
        let asked = tokio::time::timeout(HOOK_WITHIN, self.ask(state, hook, event)).await;
        let took = clock::mono().since(begin);
        match asked {
            Ok(Ok((parts, said))) => Answered {
                status: Some(parts.status.as_u16()),
                said: String::from_utf8_lossy(&said).into_owned(),
                took,
                retry_after: fetch::retry_after(&parts.headers, clock::unix()),
            },
            Ok(Err(failed)) => Answered { said: failed.to_string(), took, ..Answered::default() },
            Err(_) => {
                let said = format!("no answer within {} s", HOOK_WITHIN.as_secs());
                Answered { said, took, ..Answered::default() }
            }
        }
    }

    async fn ask(&self, state: &State, hook: &Hook, event: &Event) -> Result<(Parts, Bytes), Failed> {
        let target = Target::of(&hook.plan.url)?;
        let stream = self.connect(state, &target).await?;
        let request = request(&target, hook, event)?;
        let read = |body| async { Ok(fetch::first(body, HOOK_ANSWER_MAX).await) };
        if !target.secure {
            return fetch::exchange(stream, request, read).await;
        }
        let server = ServerName::try_from(target.host.to_owned())?;
        let stream = self.tls.connect(server, stream).await.map_err(|error| format!("TLS: {error}"))?;
        fetch::exchange(stream, request, read).await
    }

    /// Connects to the first of the host's addresses that is allowed and answers.
    async fn connect(&self, state: &State, target: &Target<'_>) -> Result<TcpStream, Failed> {
        let Target { host, port, authority, .. } = *target;
        let found = tokio::net::lookup_host((host, port)).await;
        let found: Vec<SocketAddr> =
            found.map_err(|error| format!("{host} has no address: {error}"))?.collect();
        let may = |at: &&SocketAddr| may_reach(at.ip(), &self.allow, &|ip| is_own(state, ip));
        let allowed: Vec<&SocketAddr> = found.iter().filter(may).take(HOOK_ADDRESSES_MAX).collect();
        if let (true, Some(at)) = (allowed.is_empty(), found.first()) {
            let ip = at.ip();
            return Err(format!(
                "{host} is at {ip}, which is private, special-purpose or the cluster's own: --hooks-allow {ip} of \
                 `chappe node` lets it be reached"
            )
            .into());
        }
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        for at in allowed {
            match tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(at)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failed = error,
                Err(_) => failed = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(format!("cannot connect to {authority}: {failed}").into())
    }
}

/// Whether a node or an edge of the cluster is there.
fn is_own(state: &State, ip: IpAddr) -> bool {
    let node = |node: &chappe_proto::registry::Node| node.addresses.mesh.iter().any(|at| at.ip() == ip);
    let edge = |edge: &chappe_proto::registry::Edge| {
        edge.listeners.iter().any(|listener| listener.address.ip() == ip)
            || edge.relays.iter().any(|range| range.address == ip)
    };
    state.nodes().any(|(_, held)| node(held)) || state.edges().any(|(_, held)| edge(held))
}

/// The request of one attempt, signed with its time.
fn request(target: &Target<'_>, hook: &Hook, event: &Event) -> Result<Request<Full<Bytes>>, Failed> {
    let slash = if target.path.starts_with('/') { "" } else { "/" };
    let (id, secs) = (event.id.to_string(), clock::unix().secs());
    let request = Request::post(format!("{slash}{}", target.path))
        .header("host", target.authority)
        .header("content-type", "application/json")
        .header("user-agent", format!("Chappe/{BUILD}"))
        .header("webhook-id", &id)
        .header("webhook-timestamp", secs)
        .header("webhook-signature", signatures(&hook.secrets, &id, secs, &event.body));
    Ok(request.body(Full::new(Bytes::copy_from_slice(event.body.as_bytes())))?)
}
