//! Getting a socket on which a node has taken the client: every node in turn, none for long.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// The next node is tried when this one has not opened within this, as by the browser SDK.
const OPEN_WITHIN: Duration = Duration::from_millis(500);
/// A slow machine gets as long at most, after some rounds in vain.
const OPEN_WITHIN_MAX: Duration = Duration::from_secs(8);
/// A node has this long to answer a resume, and a join.
const ANSWER_RESUME: Duration = Duration::from_secs(5);
const ANSWER_JOIN: Duration = Duration::from_secs(10);

pub(in crate::bench) type Socket = WebSocketStream<TcpStream>;

/// What a client looks at of a frame before its welcome.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(rename = "type")]
    kind: String,
    code: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    resume: Option<serde_json::Value>,
    retry_after_ms: Option<u64>,
}

/// How an attempt ended.
pub(in crate::bench) enum Entered {
    /// A node has taken us: its address, the socket, the welcome.
    In(String, Box<Socket>, Utf8Bytes),
    /// The session is no more, says the cluster.
    Gone,
    /// Not now: try again after so long.
    Later(Duration),
    /// Not ever.
    Never(String),
}

/// Tries each address once; `join` is the frame to say, `from` the address to come from.
pub(in crate::bench) async fn enter(
    targets: &[String],
    join: &str,
    resumes: bool,
    from: Ipv4Addr,
    vain: u32,
) -> (Entered, Vec<String>) {
    let mut failed = Vec::new();
    let within = (OPEN_WITHIN * 2_u32.pow(vain.min(4))).min(OPEN_WITHIN_MAX);
    for url in targets {
        let answered = match timeout(within, open(url, from)).await {
            Ok(Ok(socket)) => say(socket, join, resumes).await,
            Ok(Err(_)) | Err(_) => Ok(Entered::Later(Duration::ZERO)),
        };
        match answered {
            Ok(Entered::In(_, socket, text)) => return (Entered::In(url.clone(), socket, text), failed),
            Ok(Entered::Later(wait)) if !wait.is_zero() => {
                failed.push(url.clone());
                return (Entered::Later(wait), failed);
            }
            Ok(Entered::Later(_)) | Err(_) => failed.push(url.clone()),
            Ok(end) => return (end, failed),
        }
    }
    (Entered::Later(Duration::ZERO), failed)
}

async fn open(url: &str, from: Ipv4Addr) -> Result<Socket> {
    let host = url.trim_start_matches("ws://").split('/').next().unwrap_or_default();
    let socket = TcpSocket::new_v4()?;
    // Many clients to one port: each from an address of its own.
    socket.bind((from, 0).into())?;
    let stream = socket.connect(host.parse().with_context(|| format!("{url} is no ws://IP:PORT"))?).await?;
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
    let (socket, _) = tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await?;
    Ok(socket)
}

/// Joins, and waits for what comes of it. That there is no owner now is no answer: it may still come.
async fn say(mut socket: Socket, join: &str, resumes: bool) -> Result<Entered> {
    let mut within = if resumes { ANSWER_RESUME } else { ANSWER_JOIN };
    socket.send(Message::text(join)).await?;
    loop {
        let message = timeout(within, socket.next()).await?.context("closed at once")??;
        let Message::Text(text) = message else { continue };
        let answer: Answer = serde_json::from_str(&text)?;
        let wait = Duration::from_millis(answer.retry_after_ms.unwrap_or(250));
        match (answer.kind.as_str(), answer.code.as_deref()) {
            ("welcome" | "resumed" | "rebuilt", _) => {
                return Ok(Entered::In(String::new(), Box::new(socket), text));
            }
            ("gone", _) if matches!(answer.reason.as_deref(), Some("unknown" | "expired")) => {
                return Ok(Entered::Gone);
            }
            ("gone", _) => return Ok(Entered::Never(format!("gone: {:?}", answer.reason))),
            ("error", Some("unavailable")) => within = wait.max(Duration::from_millis(500)),
            ("error", Some("busy" | "rate_limited" | "internal")) => return Ok(Entered::Later(wait)),
            ("error", code) => {
                return Ok(Entered::Never(format!("{code:?} {}", answer.message.unwrap_or_default())));
            }
            ("closed", _) if answer.resume == Some(true.into()) => bail!("closed"),
            ("closed", Some("lost" | "join_timeout")) => bail!("closed"),
            ("closed", code) => return Ok(Entered::Never(format!("closed: {code:?}"))),
            ("ping", _) => socket.send(Message::text(r#"{"type":"pong"}"#)).await?,
            _ => {}
        }
    }
}
