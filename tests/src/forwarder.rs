//! A network that fails on purpose: a TCP forwarder on loopback whose connections can be reset, or
//! swallow everything and say nothing.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::client::reset;

/// What became of a generation of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Works,
    Reset,
    Swallowed,
}

/// Forwards connections until told otherwise; those that come later work again.
pub struct Forwarder {
    /// Where it listens.
    pub at: SocketAddr,
    fates: watch::Sender<watch::Sender<Fate>>,
}

impl Forwarder {
    /// A forwarder to `to`.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (fates, current) = watch::channel(watch::Sender::new(Fate::Works));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(to).await else { continue };
                let fate = current.borrow().subscribe();
                tokio::spawn(carry(client, server, fate));
            }
        });
        Self { at, fates }
    }

    fn end(&self, fate: Fate) {
        let old = self.fates.send_replace(watch::Sender::new(Fate::Works));
        old.send_replace(fate);
    }

    /// Resets all connections, towards both sides.
    pub fn reset(&self) {
        self.end(Fate::Reset);
    }

    /// Black-holes all connections: they stay open, and nothing passes any more.
    pub fn swallow(&self) {
        self.end(Fate::Swallowed);
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, mut fate: watch::Receiver<Fate>) {
    let (mut up, mut down) = (vec![0; 16_384], vec![0; 16_384]);
    loop {
        tokio::select! {
            biased;
            // The sender of a fate is dropped right after its last word.
            _ = fate.changed() => break,
            read = client.read(&mut up) => match read {
                Ok(len @ 1..) if server.write_all(&up[..len]).await.is_ok() => {}
                _ => return,
            },
            read = server.read(&mut down) => match read {
                Ok(len @ 1..) if client.write_all(&down[..len]).await.is_ok() => {}
                _ => return,
            },
        }
    }
    let swallowed = *fate.borrow() == Fate::Swallowed;
    if swallowed {
        // Read, as a network takes packets, and never handed over. Until both sides have given up.
        let swallow = async |stream: &mut TcpStream| {
            let mut buffer = vec![0; 16_384];
            while let Ok(1..) = stream.read(&mut buffer).await {}
        };
        tokio::join!(swallow(&mut client), swallow(&mut server));
    }
    reset(client);
    reset(server);
}
