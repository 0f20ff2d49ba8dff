//! The floor of `chappe bench signal`: a process that hands WebSocket messages from one socket of a room
//! to the other and does nothing else. One thread, tokio and tungstenite, small read buffers; the room is
//! the path of the request.
#![allow(clippy::print_stdout)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::rc::Rc;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Bytes of a socket's buffer: a signal is far shorter.
pub(super) const BUFFER: usize = 4096;

/// Sockets whose room's other has not come yet.
type Alone = Rc<RefCell<HashMap<String, WebSocketStream<TcpStream>>>>;

/// What both ends of a bench use.
pub(super) fn websocket() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(BUFFER).write_buffer_size(0)
}

/// Relays until it is killed.
pub(in crate::bench) fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free TCP port")?;
        println!("Http {}", listener.local_addr()?);
        let alone = Alone::default();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::task::spawn_local(relay(stream, Rc::clone(&alone)));
        }
    })
}

/// Takes a socket; the second of a room is joined to the first.
async fn relay(stream: TcpStream, alone: Alone) {
    let mut room = String::new();
    #[allow(clippy::result_large_err, reason = "the crate's own signature")]
    let read = |request: &Request, response: Response| {
        request.uri().path().clone_into(&mut room);
        Ok(response)
    };
    let Ok(socket) = tokio_tungstenite::accept_hdr_async_with_config(stream, read, Some(websocket())).await
    else {
        return;
    };
    let Some(other) = alone.borrow_mut().remove(&room) else {
        alone.borrow_mut().insert(room, socket);
        return;
    };
    let (to_one, from_one) = socket.split();
    let (to_other, from_other) = other.split();
    // Either end that goes takes the other with it.
    tokio::select! {
        _ = from_one.forward(to_other) => {}
        _ = from_other.forward(to_one) => {}
    }
}
