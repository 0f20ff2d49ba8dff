//! Asking over DTLS: the handshake, the question, the goodbye.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use dimpl::{Config, Dtls, DtlsCertificate, Output};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::clock;
use crate::listener::{Certificate, dtls_config};

/// How a listener of DTLS is asked.
#[derive(Clone, Debug)]
pub(super) struct Check {
    config: Arc<Config>,
    /// dimpl wants one of each side. The edge asks for none, so it stays here.
    certificate: Arc<Certificate>,
}

impl Check {
    pub(super) fn new(certificate: Arc<Certificate>) -> io::Result<Self> {
        Ok(Self { config: dtls_config().map_err(io::Error::other)?, certificate })
    }
}

/// Sends `request` and waits for an answer that fits into `answer`.
pub(super) async fn ask(
    socket: &UdpSocket,
    check: &Check,
    request: &[u8],
    answer: &mut [u8],
) -> io::Result<()> {
    let Some(current) = check.certificate.current() else { return Err(io::ErrorKind::NotFound.into()) };
    let Some(leaf) = current.certified.cert.first() else { return Err(io::ErrorKind::NotFound.into()) };
    let identity =
        DtlsCertificate { certificate: leaf.to_vec(), private_key: current.key.secret_der().to_vec() };
    let (_, mut now) = clock::both();
    let mut dtls = Dtls::new_12(check.config.clone(), identity, now);
    dtls.set_active(true);
    let (mut out, mut datagram) = (vec![0; 65_536], vec![0; 65_536]);
    let mut answered = false;
    loop {
        (_, now) = clock::both();
        dtls.handle_timeout(now).map_err(io::Error::other)?;
        let due = loop {
            match dtls.poll_output(&mut out) {
                Output::Packet(packet) => {
                    socket.send(packet).await?;
                }
                Output::Connected => {
                    dtls.send_application_data(request).map_err(io::Error::other)?;
                }
                Output::ApplicationData(data) => {
                    let Some(head) = data.get(..answer.len()) else {
                        return Err(io::ErrorKind::InvalidData.into());
                    };
                    answer.copy_from_slice(head);
                    answered = true;
                    dtls.close().map_err(io::Error::other)?;
                }
                Output::CloseNotify => return Err(io::ErrorKind::ConnectionAborted.into()),
                Output::Timeout(due) => break due,
                _ => {}
            }
        };
        if answered {
            return Ok(());
        }
        let patience = due.saturating_duration_since(now).max(Duration::from_millis(1));
        if let Ok(received) = timeout(patience, socket.recv(&mut datagram)).await {
            dtls.handle_packet(&datagram[..received?]).map_err(io::Error::other)?;
        }
    }
}
