//! What goes wrong between a client and a server.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use chappe_proto::stun::{Code, Message, Method};

use super::certificate::CertificateFault;

/// What went wrong, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The name has no address.
    UnknownName(String),
    /// The resolver did not answer.
    Resolver(String),
    /// This machine has no route of the address's family.
    NoRoute,
    /// This machine's own firewall lets nothing out.
    Filtered,
    /// TCP: a reset. UDP: ICMP port unreachable.
    Refused,
    /// TCP: no answer to a SYN.
    NoConnection(Duration),
    /// A request without an answer.
    Silent(Method, Duration),
    /// Allocate is answered, and Binding is not.
    NoBinding,
    /// No answer to a ClientHello.
    HandshakeSilent(Duration),
    /// The server closed the stream.
    Closed,
    /// What answered does not speak TLS or DTLS.
    NotTls,
    /// The server closed the connection at a ClientHello.
    HandshakeClosed,
    /// The handshake failed.
    Handshake(String),
    /// The certificate would not do for a browser.
    Certificate(CertificateFault),
    /// What came is no STUN.
    NotStun,
    /// Success responses whose MESSAGE-INTEGRITY is not of our password.
    BadIntegrity(Method),
    /// An error response.
    Code(Refusal),
    /// A success response without what it must have.
    Incomplete(Method),
    /// The relayed address is no address that others can send to.
    UnreachableRelay(SocketAddr),
    /// Nothing that was sent came out of the other relayed address.
    RelaySilent { relayed: SocketAddr },
    /// Nothing comes in to the relayed address from outside of the server.
    RelayClosed { relayed: SocketAddr },
    /// Nothing that the relay sends comes out to this peer.
    RelayMute { peer: SocketAddr },
    /// Small packets come through, large ones do not.
    LargeLost { bytes: usize },
    /// Some of what was sent did not come.
    Loss { sent: usize, received: usize },
    /// Anybody can allocate.
    OpenRelay,
    /// Peers that no client should reach.
    OpenPeers(Vec<SocketAddr>),
    /// A deleted allocation still answers.
    StillThere,
    /// Any other error of the operating system.
    Io(String),
}

/// An error response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) method: Method,
    pub(super) code: Code,
    /// The reason phrase that the server sent, or its RFC's.
    pub(super) reason: String,
    /// ALTERNATE-SERVER (RFC 8489 section 14.15).
    pub(super) alternate: Option<SocketAddr>,
    /// ALTERNATE-DOMAIN (RFC 8489 section 14.16).
    pub(super) domain: Option<String>,
}

/// ALTERNATE-DOMAIN.
const ALTERNATE_DOMAIN: u16 = 0x8003;
/// The longest text of a server that is shown, in characters.
const SHOWN: usize = 64;

/// A text from the network, as it may be printed: no control characters, and not long.
pub(super) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

impl Refusal {
    /// Reads an error response.
    pub(super) fn of(message: &Message<'_>) -> Self {
        let code = message.error_code().ok().flatten().unwrap_or(Code::BAD_REQUEST);
        let said = shown(message.reason().as_bytes());
        let reason = if said.trim().is_empty() { code.reason().to_owned() } else { said };
        Self {
            method: message.method,
            code,
            reason,
            alternate: message.alternate_server().ok().flatten(),
            domain: message.get(ALTERNATE_DOMAIN).map(shown),
        }
    }
}

/// An address as MAPPED-ADDRESS and ALTERNATE-SERVER carry it: not XORed (RFC 8489 section 14.1).
pub(super) fn plain_address(value: &[u8]) -> Option<SocketAddr> {
    let [_, family, p1, p0, ip @ ..] = value else { return None };
    let port = u16::from_be_bytes([*p1, *p0]);
    match family {
        0x01 => Some(SocketAddr::new(<[u8; 4]>::try_from(ip).ok()?.into(), port)),
        0x02 => Some(SocketAddr::new(<[u8; 16]>::try_from(ip).ok()?.into(), port)),
        _ => None,
    }
}

/// The name of a method.
pub(super) const fn method_name(method: Method) -> &'static str {
    match method {
        Method::BINDING => "Binding",
        Method::ALLOCATE => "Allocate",
        Method::REFRESH => "Refresh",
        Method::CREATE_PERMISSION => "CreatePermission",
        Method::CHANNEL_BIND => "ChannelBind",
        _ => "request",
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind;
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::PermissionDenied => Self::Filtered,
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::AddrNotAvailable => {
                Self::NoRoute
            }
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Io(error.to_string()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownName(_) => f.write_str("no such name"),
            Self::Resolver(error) => write!(f, "the resolver says: {error}"),
            Self::NoRoute => f.write_str("no route to this address"),
            Self::Filtered => f.write_str("this machine may not send there"),
            Self::Refused => f.write_str("refused"),
            Self::NoConnection(wait) | Self::Silent(_, wait) | Self::HandshakeSilent(wait) => {
                write!(f, "no answer within {:.0} s", wait.as_secs_f64())
            }
            Self::NoBinding => f.write_str("Binding is not answered"),
            Self::Closed | Self::HandshakeClosed => f.write_str("closed by the server"),
            Self::NotTls => f.write_str("the answer is no TLS"),
            Self::Handshake(error) => write!(f, "the handshake failed: {error}"),
            Self::Certificate(fault) => write!(f, "{fault}"),
            Self::NotStun => f.write_str("the answer is no STUN"),
            Self::BadIntegrity(method) => {
                write!(f, "{} answered with a wrong MESSAGE-INTEGRITY", method_name(*method))
            }
            Self::Code(Refusal { code, reason, .. }) => {
                write!(f, "{}{}{reason}", code.0, if reason.is_empty() { "" } else { " " })
            }
            Self::Incomplete(method) => write!(f, "{} answered without an address", method_name(*method)),
            Self::UnreachableRelay(relayed) => write!(f, "relayed {relayed}"),
            Self::RelaySilent { .. } => f.write_str("nothing came through"),
            Self::RelayClosed { relayed } => write!(f, "nothing reaches {relayed}"),
            Self::RelayMute { peer } => write!(f, "nothing reaches {peer} from the relay"),
            Self::LargeLost { bytes } => write!(f, "packets of {bytes} bytes do not come through"),
            Self::Loss { sent, received } => write!(f, "{received} of {sent} came"),
            Self::OpenRelay => f.write_str("allocated without credentials"),
            Self::OpenPeers(peers) => {
                f.write_str("allowed: ")?;
                for (at, peer) in peers.iter().enumerate() {
                    write!(f, "{}{}", if at > 0 { ", " } else { "" }, peer.ip())?;
                }
                Ok(())
            }
            Self::StillThere => f.write_str("the allocation outlived its deletion"),
            Self::Io(error) => f.write_str(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use chappe_proto::stun::{Class, TransactionId, Writer};

    use super::*;

    #[test]
    fn an_error_response_is_read_whole() {
        let bytes = Writer::new(Class::Error, Method::ALLOCATE, TransactionId([7; 12]))
            .error_code(Code(300), "Try\x1b[31m Alternate")
            .alternate_server("192.0.2.9:3478".parse().unwrap())
            .attribute(ALTERNATE_DOMAIN, b"b.example.org")
            .finish();
        let refusal = Refusal::of(&Message::parse(&bytes).unwrap());
        assert_eq!(refusal.code, Code(300));
        assert_eq!(refusal.reason, "Try[31m Alternate", "no escape reaches the terminal");
        assert_eq!(refusal.alternate, Some("192.0.2.9:3478".parse().unwrap()));
        assert_eq!(refusal.domain.as_deref(), Some("b.example.org"));
        let bare = Writer::new(Class::Error, Method::ALLOCATE, TransactionId([7; 12]))
            .error_code(Code::ALLOCATION_QUOTA_REACHED, "")
            .finish();
        let refusal = Refusal::of(&Message::parse(&bare).unwrap());
        assert_eq!(Fault::Code(refusal).to_string(), "486 Allocation Quota Reached", "its RFC's words");
    }

    #[test]
    fn addresses_of_both_families_and_no_others() {
        let six: SocketAddr = "[2001:db8::1]:5".parse().unwrap();
        let std::net::IpAddr::V6(ip) = six.ip() else { unreachable!() };
        let value = [&[0, 2, 0, 5][..], &ip.octets()].concat();
        assert_eq!(plain_address(&value), Some(six));
        assert_eq!(plain_address(&value[..12]), None);
        assert_eq!(plain_address(&[0, 3, 0, 5, 1, 2, 3, 4]), None);
    }
}
