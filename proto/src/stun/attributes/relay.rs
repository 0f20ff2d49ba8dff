//! The attributes of TURN (RFC 8656 section 18).

use std::net::SocketAddr;

use super::{
    ADDITIONAL_ADDRESS_FAMILY, ADDITIONAL_ADDRESS_FAMILY_DRAFT, CHANNEL_NUMBER, EVEN_PORT, ICMP, LIFETIME,
    REQUESTED_ADDRESS_FAMILY, REQUESTED_TRANSPORT, RESERVATION_TOKEN,
};
use crate::stun::message::{BadAttribute, Message};
use crate::stun::writer::Writer;

/// The family of a relayed address (RFC 8656 section 18.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// 0x01.
    V4,
    /// 0x02.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    #[must_use]
    pub const fn of(address: SocketAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Its number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V4 => 0x01,
            Self::V6 => 0x02,
        }
    }
}

/// EVEN-PORT (RFC 8656 section 18.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvenPort {
    /// The R bit: reserve the next higher port too.
    pub reserve: bool,
}

impl Message<'_> {
    /// CHANNEL-NUMBER: any 16 bits.
    ///
    /// # Errors
    /// When it is not of its length, as with all that follow.
    pub fn channel_number(&self) -> Result<Option<u16>, BadAttribute> {
        Ok(self.fixed(CHANNEL_NUMBER)?.map(|[high, low, _, _]: [u8; 4]| u16::from_be_bytes([high, low])))
    }

    /// LIFETIME in seconds.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn lifetime(&self) -> Result<Option<u32>, BadAttribute> {
        Ok(self.fixed(LIFETIME)?.map(u32::from_be_bytes))
    }

    /// REQUESTED-TRANSPORT: the number of an IP protocol.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn requested_transport(&self) -> Result<Option<u8>, BadAttribute> {
        Ok(self.fixed(REQUESTED_TRANSPORT)?.map(|[protocol, ..]: [u8; 4]| protocol))
    }

    /// REQUESTED-ADDRESS-FAMILY: `Err` inside when it is neither of the two.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn requested_address_family(&self) -> Result<Option<Result<Family, u8>>, BadAttribute> {
        Ok(self.fixed(REQUESTED_ADDRESS_FAMILY)?.map(family))
    }

    /// ADDITIONAL-ADDRESS-FAMILY: `Err` inside when it is neither of the two.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn additional_address_family(&self) -> Result<Option<Result<Family, u8>>, BadAttribute> {
        let value = self.fixed(ADDITIONAL_ADDRESS_FAMILY)?;
        Ok(value.or(self.fixed(ADDITIONAL_ADDRESS_FAMILY_DRAFT)?).map(family))
    }

    /// EVEN-PORT. Some clients pad its one byte to four and count them: accepted.
    ///
    /// # Errors
    /// When it is empty.
    pub fn even_port(&self) -> Result<Option<EvenPort>, BadAttribute> {
        match self.get(EVEN_PORT) {
            None => Ok(None),
            Some([]) => Err(BadAttribute(EVEN_PORT)),
            Some([bits, ..]) => Ok(Some(EvenPort { reserve: bits & 0x80 != 0 })),
        }
    }

    /// RESERVATION-TOKEN.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn reservation_token(&self) -> Result<Option<[u8; 8]>, BadAttribute> {
        self.fixed(RESERVATION_TOKEN)
    }
}

fn family([number, ..]: [u8; 4]) -> Result<Family, u8> {
    Family::ALL.into_iter().find(|family| family.number() == number).ok_or(number)
}

impl Writer {
    /// Adds LIFETIME in seconds.
    #[must_use]
    pub fn lifetime(self, seconds: u32) -> Self {
        self.attribute(LIFETIME, &seconds.to_be_bytes())
    }

    /// Adds CHANNEL-NUMBER.
    #[must_use]
    pub fn channel_number(self, number: u16) -> Self {
        let [high, low] = number.to_be_bytes();
        self.attribute(CHANNEL_NUMBER, &[high, low, 0, 0])
    }

    /// Adds REQUESTED-TRANSPORT: the number of an IP protocol.
    #[must_use]
    pub fn requested_transport(self, protocol: u8) -> Self {
        self.attribute(REQUESTED_TRANSPORT, &[protocol, 0, 0, 0])
    }

    /// Adds REQUESTED-ADDRESS-FAMILY or ADDITIONAL-ADDRESS-FAMILY.
    #[must_use]
    pub fn family(self, kind: u16, family: Family) -> Self {
        self.attribute(kind, &[family.number(), 0, 0, 0])
    }

    /// Adds EVEN-PORT.
    #[must_use]
    pub fn even_port(self, even: EvenPort) -> Self {
        self.attribute(EVEN_PORT, &[u8::from(even.reserve) << 7])
    }

    /// Adds RESERVATION-TOKEN.
    #[must_use]
    pub fn reservation_token(self, token: [u8; 8]) -> Self {
        self.attribute(RESERVATION_TOKEN, &token)
    }

    /// Adds ICMP: two reserved bytes, 7 bits of type, 9 of code, four bytes of error data (RFC 8656
    /// section 18.13).
    #[must_use]
    pub fn icmp(self, kind: u8, code: u8, data: [u8; 4]) -> Self {
        let packed = (u16::from(kind & 0x7F) << 9) | u16::from(code);
        let mut value = [0; 8];
        value[2..4].copy_from_slice(&packed.to_be_bytes());
        value[4..].copy_from_slice(&data);
        self.attribute(ICMP, &value)
    }
}
