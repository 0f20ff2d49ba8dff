//! Connections that an edge or a load balancer hands on, each behind a PROXY protocol version 2 header.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use actix_http::Protocol;
use actix_http::error::DispatchError;
use actix_web::rt::net::TcpStream;
use actix_web::rt::time::timeout;
use chappe_proto::limits::PROXY_HEADER_WITHIN;
use chappe_proto::proxy_protocol::{self, FIXED, Header};
use ipnet::IpNet;
use tokio::io::AsyncReadExt as _;

/// Reads the header, and nothing behind it: the connection is then its client's.
///
/// # Errors
/// When the other side is none of `proxies` nor this machine itself, or sends no header in time: the
/// connection is dropped without an answer, since a stranger's word about itself is worth nothing.
pub(super) async fn accept(
    mut stream: TcpStream,
    proxies: Arc<[IpNet]>,
) -> Result<(TcpStream, Protocol, Option<SocketAddr>), DispatchError> {
    let proxy = stream.peer_addr().map_err(DispatchError::Io)?;
    if !is_believed(proxy.ip(), &proxies) {
        tracing::debug!(%proxy, "no proxy of ours: dropped");
        return Err(DispatchError::Io(io::ErrorKind::PermissionDenied.into()));
    }
    let header = timeout(PROXY_HEADER_WITHIN, read(&mut stream)).await;
    match header.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        // The proxy's own connection, as a health check is, comes without addresses.
        Ok(header) => {
            let client = header.addresses.map_or(proxy, |addresses| addresses.source);
            let client = SocketAddr::new(client.ip().to_canonical(), client.port());
            Ok((stream, Protocol::Http1, Some(client)))
        }
        Err(error) => {
            tracing::warn!(%proxy, %error, "a proxy's connection without a PROXY protocol version 2 header: dropped");
            Err(DispatchError::Io(error))
        }
    }
}

fn is_believed(proxy: IpAddr, proxies: &[IpNet]) -> bool {
    let proxy = proxy.to_canonical();
    proxy.is_loopback() || proxies.iter().any(|net| net.contains(&proxy))
}

async fn read(stream: &mut TcpStream) -> io::Result<Header> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut bytes = vec![0; FIXED];
    stream.read_exact(&mut bytes).await?;
    // Its length is always told by so many bytes.
    let len = proxy_protocol::header_len(&bytes).map_err(invalid)?.unwrap_or(FIXED);
    bytes.resize(len, 0);
    stream.read_exact(&mut bytes[FIXED..]).await?;
    proxy_protocol::read(&bytes).map_err(invalid)?.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream as Client};

    use actix_web::dev::{Server, ServerHandle};
    use actix_web::{App, HttpRequest, web};

    use super::super::listen::Listening;
    use super::super::source::{client_ip, is_secure};
    use super::*;

    /// A server that answers whom it sees, and how.
    async fn server() -> (SocketAddr, ServerHandle) {
        let app = || {
            App::new().route(
                "/",
                web::get().to(|request: HttpRequest| async move {
                    let (peer, secure) = (request.peer_addr().unwrap(), is_secure(&request, &[]));
                    assert_eq!(client_ip(&request, &[]), peer.ip());
                    format!("{peer} {secure}")
                }),
            )
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let mut listening = Listening::new(Server::build().workers(1).disable_signals(), app);
        listening.behind(listener, Arc::default()).unwrap();
        let server = listening.run().unwrap();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        (at, handle)
    }

    fn header(source: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let (source, destination) = (source.parse().unwrap(), "198.51.100.7:443".parse().unwrap());
        proxy_protocol::write(source, destination, &mut bytes);
        bytes
    }

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

    /// What is answered to these pieces, each sent by itself.
    async fn answer(at: SocketAddr, pieces: Vec<Vec<u8>>) -> String {
        let ask = move || {
            let mut client = Client::connect(at).unwrap();
            client.set_nodelay(true).unwrap();
            let mut answer = String::new();
            for piece in pieces {
                if client.write_all(&piece).is_err() {
                    return answer; // dropped already
                }
            }
            let _ = client.read_to_string(&mut answer); // dropped with a reset is as good
            answer
        };
        actix_web::rt::task::spawn_blocking(ask).await.unwrap()
    }

    #[actix_web::test]
    async fn a_request_is_its_clients_and_came_by_tls() {
        let (at, server) = server().await;
        let whole = answer(at, vec![[&header("192.0.2.7:1234"), GET].concat()]).await;
        assert!(whole.starts_with("HTTP/1.1 200") && whole.ends_with("192.0.2.7:1234 true"), "{whole}");
        let bytes = [&header("[2001:db8::7]:99"), GET].concat();
        let dribble = answer(at, bytes.iter().map(|byte| vec![*byte]).collect()).await;
        assert!(dribble.ends_with("[2001:db8::7]:99 true"), "{dribble}");
        let mapped = answer(at, vec![header("[::ffff:192.0.2.7]:5"), GET.to_vec()]).await;
        assert!(mapped.ends_with("192.0.2.7:5 true"), "{mapped}");
        server.stop(true).await;
    }

    #[actix_web::test]
    async fn a_health_check_of_the_proxy_is_its_own() {
        let (at, server) = server().await;
        let mut local = proxy_protocol::SIGNATURE.to_vec();
        local.extend_from_slice(&[0x20, 0, 0, 0]);
        let answer = answer(at, vec![local, GET.to_vec()]).await;
        assert!(answer.contains("127.0.0.1:") && answer.ends_with(" true"), "{answer}");
        server.stop(true).await;
    }

    #[actix_web::test]
    async fn without_a_header_nothing_is_answered() {
        let (at, server) = server().await;
        let short = {
            let mut bytes = header("192.0.2.7:1234");
            bytes[15] -= 1; // one byte less than the addresses need
            bytes
        };
        let v1 = b"PROXY TCP4 192.0.2.7 198.51.100.7 1234 443\r\n".to_vec();
        // The last one does not end: it is given up after a while.
        for first in [Vec::new(), v1, short, vec![b'\r'; 2000], header("192.0.2.7:1")[..20].to_vec()] {
            let pieces = if first.len() == 20 { vec![first] } else { vec![first, GET.to_vec()] };
            assert_eq!(answer(at, pieces).await, "");
        }
        server.stop(true).await;
    }

    #[test]
    fn only_proxies_and_this_machine_are_believed() {
        let proxies: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        for (proxy, believed) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("192.0.2.7", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_believed(proxy.parse().unwrap(), &proxies), believed, "{proxy}");
        }
        assert!(!is_believed("10.1.2.3".parse().unwrap(), &[]));
    }
}
