//! Sockets, with errors that name the option by which another address is chosen.

use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};

use anyhow::Result;
use chappe_cluster::http;

/// Binds a TCP port.
pub(crate) fn tcp(address: SocketAddr, option: &str) -> Result<TcpListener> {
    http::bind(address).map_err(|error| told(&error, "TCP", address, option))
}

/// Binds a UDP port.
pub(crate) fn udp(address: SocketAddr, option: &str) -> Result<UdpSocket> {
    UdpSocket::bind(address).map_err(|error| told(&error, "UDP", address, option))
}

fn told(error: &Error, kind: &str, address: SocketAddr, option: &str) -> anyhow::Error {
    let (ip, port) = (address.ip(), address.port());
    let tells = if kind == "TCP" { "ss -ltnp" } else { "ss -lunp" };
    match error.kind() {
        ErrorKind::AddrInUse => anyhow::anyhow!(
            "{kind} port {port} of {ip} is in use: stop what uses it (`{tells}` tells), or choose another by \
             {option} (port 0 takes a free one)"
        ),
        ErrorKind::PermissionDenied => {
            anyhow::anyhow!("{kind} port {port} needs privileges: choose one above 1023 by {option}")
        }
        ErrorKind::AddrNotAvailable => {
            anyhow::anyhow!("{ip} is no address of this machine: choose another by {option}")
        }
        _ => anyhow::anyhow!("{address} cannot be listened on: {error}: choose another by {option}"),
    }
}
