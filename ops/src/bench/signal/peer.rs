//! A peer of a room: its socket, and the frames of the native protocol that a bench needs.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::floor::websocket;
use super::server::Server;

/// Joins that one source address makes: below what a node takes in a burst.
const JOINS_PER_SOURCE: u32 = 50;
/// Peers so far, of all servers.
static CONNECTED: AtomicU32 = AtomicU32::new(0);

pub(super) type Sink = SplitSink<WebSocketStream<TcpStream>, Message>;
pub(super) type Stream = SplitStream<WebSocketStream<TcpStream>>;

/// A peer that has joined.
pub(super) struct Peer {
    pub(super) sink: Sink,
    pub(super) stream: Stream,
    /// Its id; empty on the floor.
    pub(super) id: String,
}

/// What a bench looks at of a frame.
#[derive(Debug, Deserialize)]
pub(super) struct Frame<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    #[serde(default)]
    pub(super) id: u64,
    #[serde(default)]
    pub(super) payload: Option<&'a str>,
    #[serde(default)]
    peer: Option<&'a str>,
}

impl<'a> Frame<'a> {
    /// Reads one.
    pub(super) fn read(text: &'a str) -> Result<Self> {
        serde_json::from_str(text).with_context(|| format!("not a frame: {text}"))
    }
}

impl Peer {
    /// Connects and joins a room. Towards loopback, peers come from as many addresses
    /// as it takes for a node not to refuse so many joins of one.
    pub(super) async fn join(server: &Server, room: &str) -> Result<Self> {
        let url = if server.is_native() { server.url.clone() } else { format!("{}{room}", server.url) };
        let request = url.as_str().into_client_request().context("not a ws:// URL")?;
        let host = request.uri().authority().context("a URL without a host")?;
        let (name, port) = (host.host(), host.port_u16().unwrap_or(80));
        let address = tokio::net::lookup_host((name, port)).await?.next().context("no such host")?;
        let tcp = connect(address).await.with_context(|| format!("{address} is not there"))?;
        tcp.set_nodelay(true)?;
        let (socket, _) =
            tokio_tungstenite::client_async_with_config(request, tcp, Some(websocket())).await?;
        let (sink, stream) = socket.split();
        let mut peer = Self { sink, stream, id: String::new() };
        if server.is_native() {
            let join = serde_json::json!({ "type": "join", "room": room });
            peer.sink.send(Message::text(join.to_string())).await?;
            let text = next(&mut peer.stream).await?.context("closed at once")?;
            let frame = Frame::read(&text)?;
            if frame.kind != "welcome" {
                bail!("no welcome: {text}");
            }
            peer.id = frame.peer.context("a welcome without a peer")?.to_owned();
        }
        Ok(peer)
    }
}

async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let SocketAddr::V4(v4) = address else { return TcpStream::connect(address).await };
    if !v4.ip().is_loopback() {
        return TcpStream::connect(address).await;
    }
    let socket = TcpSocket::new_v4()?;
    let source = CONNECTED.fetch_add(1, Ordering::Relaxed) / JOINS_PER_SOURCE;
    let from = Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + source);
    socket.bind(SocketAddr::from((from, 0)))?;
    socket.connect(address).await
}

/// The next text.
pub(super) async fn next(stream: &mut Stream) -> Result<Option<Utf8Bytes>> {
    while let Some(message) = stream.next().await {
        match message? {
            Message::Text(text) => return Ok(Some(text)),
            Message::Close(_) => return Ok(None),
            _ => {}
        }
    }
    Ok(None)
}
