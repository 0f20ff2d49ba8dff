//! A signaling client that says exactly what it is told.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::process::WITHIN;

/// Says exactly what it is told.
pub struct ByHand {
    pub(super) socket: WebSocketStream<TcpStream>,
}

/// Opens a signaling socket.
///
/// # Errors
/// When nobody answers there.
pub async fn connect(at: SocketAddr) -> Result<ByHand, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(at).await?;
    stream.set_nodelay(true)?;
    let (socket, _) = client_async(format!("ws://{at}/v1/signal"), stream).await?;
    Ok(ByHand { socket })
}

impl ByHand {
    /// Opens a socket to a node that is there.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn open(at: SocketAddr) -> Self {
        connect(at).await.unwrap_or_else(|error| panic!("{at}: {error}"))
    }

    /// Opens a socket and joins anonymously: the `welcome` comes with it.
    pub async fn joined(at: SocketAddr, room: &str) -> (Self, Value) {
        let mut socket = Self::open(at).await;
        let welcome = socket.join(json!({ "room": room })).await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        (socket, welcome)
    }

    /// Sends a `join` with these fields and answers with what comes next.
    pub async fn join(&mut self, fields: Value) -> Value {
        self.say(typed("join", fields)).await;
        self.hear().await
    }

    /// Sends a frame.
    pub async fn say(&mut self, frame: Value) {
        self.say_text(&frame.to_string()).await;
    }

    /// Sends a text. A socket that is closed by now tells when it is read.
    pub async fn say_text(&mut self, text: &str) {
        let _ = self.socket.send(Message::text(text)).await;
    }

    /// Sends a binary frame.
    pub async fn say_binary(&mut self, bytes: &'static [u8]) {
        let _ = self.socket.send(Message::Binary(Bytes::from_static(bytes))).await;
    }

    /// The next frame, or `{"type": "end", "code"}` where the socket ends: the code of RFC 6455 section
    /// 7.4, or none.
    ///
    /// # Panics
    /// When nothing comes.
    pub async fn hear(&mut self) -> Value {
        loop {
            match timeout(WITHIN, self.socket.next()).await.expect("a frame") {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Close(frame))) => {
                    return json!({ "type": "end", "code": frame.map(|frame| u16::from(frame.code)) });
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return json!({ "type": "end", "code": null }),
            }
        }
    }

    /// The next frame of one of these types, passing over others; or the end.
    pub async fn hear_one_of(&mut self, kinds: &[&str]) -> Value {
        loop {
            let frame = self.hear().await;
            let kind = frame["type"].as_str().unwrap_or_default();
            if kind == "end" || kinds.contains(&kind) {
                return frame;
            }
        }
    }

    /// The next frame of a type, passing over others.
    ///
    /// # Panics
    /// When the socket ends before.
    pub async fn hear_a(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.hear().await;
            if frame["type"] == kind {
                return frame;
            }
            assert_ne!(frame["type"], "end", "before a {kind}: {frame}");
        }
    }
}

/// An object with a `type`.
///
/// # Panics
/// When `fields` is no object.
#[must_use]
pub fn typed(kind: &str, mut fields: Value) -> Value {
    fields["type"] = kind.into();
    fields
}

/// Ends a connection by RST.
pub fn reset(stream: TcpStream) {
    let _ = stream.set_zero_linger();
    drop(stream);
}
