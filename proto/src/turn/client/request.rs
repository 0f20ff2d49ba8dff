//! What a client asks for.

use std::net::SocketAddr;

use crate::stun::attributes::{Family, REQUESTED_ADDRESS_FAMILY, XOR_PEER_ADDRESS};
use crate::stun::{Method, Writer};

/// A request but for its credentials.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Request {
    Binding,
    Allocate { family: Option<Family>, lifetime: Option<u32> },
    Refresh { lifetime: Option<u32> },
    Permit { peers: Vec<SocketAddr> },
    Bind { peer: SocketAddr, number: u16 },
}

impl Request {
    pub(super) const fn method(&self) -> Method {
        match self {
            Self::Binding => Method::BINDING,
            Self::Allocate { .. } => Method::ALLOCATE,
            Self::Refresh { .. } => Method::REFRESH,
            Self::Permit { .. } => Method::CREATE_PERMISSION,
            Self::Bind { .. } => Method::CHANNEL_BIND,
        }
    }

    pub(super) fn fill(&self, writer: Writer) -> Writer {
        match self {
            Self::Binding => writer,
            Self::Allocate { family, lifetime } => {
                let mut writer = writer.requested_transport(17);
                if let Some(lifetime) = lifetime {
                    writer = writer.lifetime(*lifetime);
                }
                match family {
                    Some(family) => writer.family(REQUESTED_ADDRESS_FAMILY, *family),
                    None => writer,
                }
            }
            Self::Refresh { lifetime } => match lifetime {
                Some(lifetime) => writer.lifetime(*lifetime),
                None => writer,
            },
            Self::Permit { peers } => {
                peers.iter().fold(writer, |writer, peer| writer.xor_address(XOR_PEER_ADDRESS, *peer))
            }
            Self::Bind { peer, number } => {
                writer.channel_number(*number).xor_address(XOR_PEER_ADDRESS, *peer)
            }
        }
    }
}
