//! A wire that can be cut: datagrams pass, or vanish without a word.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// Longer than any datagram of QUIC on loopback.
const DATAGRAM: usize = 65_536;

pub(crate) struct Wire {
    /// What leads to the other end.
    pub(crate) address: SocketAddr,
    is_cut: Arc<AtomicBool>,
    _tasks: JoinSet<()>,
}

impl Wire {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = front.local_addr().unwrap();
        let is_cut = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        tasks.spawn(carry(front, target, Arc::clone(&is_cut)));
        Self { address, is_cut, _tasks: tasks }
    }

    pub(crate) fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::Relaxed);
    }
}

async fn carry(front: Arc<UdpSocket>, target: SocketAddr, is_cut: Arc<AtomicBool>) {
    let mut backs: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut returning = JoinSet::new();
    let mut datagram = vec![0; DATAGRAM];
    loop {
        // A port unreachable behind a datagram is told here: as on any network, it means nothing.
        let Ok((len, from)) = front.recv_from(&mut datagram).await else { continue };
        let back = match backs.get(&from) {
            Some(back) => Arc::clone(back),
            None => {
                let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                back.connect(target).await.unwrap();
                backs.insert(from, Arc::clone(&back));
                let (front, reading, is_cut) = (Arc::clone(&front), Arc::clone(&back), Arc::clone(&is_cut));
                returning.spawn(async move {
                    let mut datagram = vec![0; DATAGRAM];
                    loop {
                        let Ok(len) = reading.recv(&mut datagram).await else { continue };
                        if !is_cut.load(Ordering::Relaxed) {
                            let _ = front.send_to(&datagram[..len], from).await;
                        }
                    }
                });
                back
            }
        };
        if !is_cut.load(Ordering::Relaxed) {
            let _ = back.send(&datagram[..len]).await;
        }
    }
}
