//! MAPPED-ADDRESS, ALTERNATE-SERVER and the XOR- addresses (RFC 8489 sections 14.1, 14.2 and 14.15,
//! RFC 8656 sections 18.3 and 18.5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{ALTERNATE_SERVER, MAPPED_ADDRESS, XOR_PEER_ADDRESS};
use crate::stun::message::{BadAttribute, MAGIC_COOKIE, Message, TransactionId};
use crate::stun::writer::Writer;

const IPV4: u8 = 0x01;
const IPV6: u8 = 0x02;

/// The value of MAPPED-ADDRESS and how many of its bytes count.
pub(in crate::stun) fn plain(address: SocketAddr) -> ([u8; 20], u8) {
    let mut value = [0; 20];
    value[2..4].copy_from_slice(&address.port().to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => {
            value[1] = IPV4;
            value[4..8].copy_from_slice(&ip.octets());
            (value, 8)
        }
        IpAddr::V6(ip) => {
            value[1] = IPV6;
            value[4..].copy_from_slice(&ip.octets());
            (value, 20)
        }
    }
}

/// XORs port and address with the magic cookie and the transaction id: the same again undoes it.
fn xor(value: &mut [u8], transaction: TransactionId) {
    let cookie = MAGIC_COOKIE.to_be_bytes();
    let mask = cookie.iter().chain(&transaction.0);
    value.iter_mut().skip(2).zip(&cookie).take(2).for_each(|(byte, mask)| *byte ^= mask);
    value.iter_mut().skip(4).zip(mask).for_each(|(byte, mask)| *byte ^= mask);
}

/// The value of an XOR- address and how many of its bytes count.
pub(crate) fn xored(address: SocketAddr, transaction: TransactionId) -> ([u8; 20], u8) {
    let (mut value, length) = plain(address);
    xor(&mut value, transaction);
    (value, length)
}

fn read(value: &[u8]) -> Option<SocketAddr> {
    let (&[_, family, p1, p0], ip) = value.split_first_chunk()?;
    let ip = match family {
        IPV4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(ip).ok()?)),
        IPV6 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(ip).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes([p1, p0])))
}

fn read_xored(value: &[u8], transaction: TransactionId) -> Option<SocketAddr> {
    let mut plain = [0; 20];
    let plain = plain.get_mut(..value.len())?;
    plain.copy_from_slice(value);
    xor(plain, transaction);
    read(plain)
}

impl Message<'_> {
    /// The first MAPPED-ADDRESS.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn mapped_address(&self) -> Result<Option<SocketAddr>, BadAttribute> {
        let value = self.get(MAPPED_ADDRESS);
        value.map(|value| read(value).ok_or(BadAttribute(MAPPED_ADDRESS))).transpose()
    }

    /// ALTERNATE-SERVER: where the client is to ask instead.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn alternate_server(&self) -> Result<Option<SocketAddr>, BadAttribute> {
        let value = self.get(ALTERNATE_SERVER);
        value.map(|value| read(value).ok_or(BadAttribute(ALTERNATE_SERVER))).transpose()
    }

    /// The first XOR- address of this type.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn xor_address(&self, kind: u16) -> Result<Option<SocketAddr>, BadAttribute> {
        let value = self.get(kind);
        value.map(|value| read_xored(value, self.transaction).ok_or(BadAttribute(kind))).transpose()
    }

    /// Every XOR-PEER-ADDRESS: a CreatePermission may have several (RFC 8656 section 10.1).
    pub fn peers(&self) -> impl Iterator<Item = Result<SocketAddr, BadAttribute>> {
        self.attributes().filter(|(kind, _)| *kind == XOR_PEER_ADDRESS).map(|(_, value)| {
            let value = self.bytes.get(value).unwrap_or_default();
            read_xored(value, self.transaction).ok_or(BadAttribute(XOR_PEER_ADDRESS))
        })
    }
}

impl Writer {
    /// Adds ALTERNATE-SERVER.
    #[must_use]
    pub fn alternate_server(self, address: SocketAddr) -> Self {
        let (value, length) = plain(address);
        self.attribute(ALTERNATE_SERVER, &value[..usize::from(length)])
    }

    /// Adds an XOR- address of this type.
    #[must_use]
    pub fn xor_address(self, kind: u16, address: SocketAddr) -> Self {
        let (value, length) = xored(address, self.transaction);
        self.attribute(kind, &value[..usize::from(length)])
    }
}
