//! How a client joins its room.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::allocation::Walls;
use super::frame::Frame;

/// A node without a leader says when to join again; so often it is asked.
const JOINS_MAX: u32 = 20;

pub(super) type Socket = WebSocketStream<TcpStream>;

/// Who a client is.
pub(super) struct Who {
    pub(super) url: String,
    pub(super) room: String,
    pub(super) token: String,
    /// Each has an address of its own, since nodes and edges limit by address.
    pub(super) from: Ipv4Addr,
    pub(super) walls: Walls,
}

/// Joins, as often as the node asks for it, and waits for the welcome.
pub(super) async fn enter(who: &Who) -> Result<(Socket, Utf8Bytes)> {
    for _ in 0..JOINS_MAX {
        let mut socket = open(who).await?;
        let text = loop {
            match socket.next().await.context("closed at once")?? {
                Message::Text(text) => break text,
                _ => continue,
            }
        };
        let first: Frame = serde_json::from_str(&text)?;
        match first.retry_after_ms {
            _ if first.kind == "welcome" => return Ok((socket, text)),
            Some(wait) => tokio::time::sleep(Duration::from_millis(wait)).await,
            None => bail!("{text}"),
        }
    }
    bail!("no node takes us in")
}

async fn open(who: &Who) -> Result<Socket> {
    let host = who.url.trim_start_matches("ws://").split('/').next().unwrap_or_default();
    let socket = TcpSocket::new_v4()?;
    socket.bind((who.from, 0).into())?;
    let stream = socket.connect(host.parse()?).await?;
    stream.set_nodelay(true)?;
    let (mut socket, _) = tokio_tungstenite::client_async(&who.url, stream).await?;
    let join = json!({ "type": "join", "room": who.room, "token": who.token });
    socket.send(Message::text(join.to_string())).await?;
    Ok(socket)
}
