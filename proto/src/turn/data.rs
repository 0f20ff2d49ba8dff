//! Data, both ways: ChannelData and Send indications to peers (RFC 8656 sections 12.6 and 11.2),
//! ChannelData and Data indications to clients (sections 12.7 and 11.3). No byte of a payload is
//! copied or allocated for, and data never refreshes anything.

use std::net::SocketAddr;
use std::ops::Range;

use rand_chacha::rand_core::Rng;

use super::allocation::count;
use super::api::{FiveTuple, Forward, Head, RelayId, Transport};
use super::bandwidth::Way;
use super::counters::Drop;
use super::server::Server;
use super::table::AllocationId;
use crate::stun::attributes::{DATA, DONT_FRAGMENT, Family, KNOWN, XOR_PEER_ADDRESS};
use crate::stun::{HEADER, MAGIC_COOKIE, Message, TransactionId, attributes};
use crate::time::Now;

/// The type of a Data indication.
const DATA_INDICATION: u16 = 0x0017;

impl Server {
    /// ChannelData of a client. What follows the payload is padding.
    pub(super) fn channel_data(
        &mut self,
        now: Now,
        from: &FiveTuple,
        packet: &[u8],
    ) -> Result<Forward, Drop> {
        let &[n1, n0, l1, l0] = packet.first_chunk().ok_or(Drop::Malformed)?;
        let body = 4..4 + usize::from(u16::from_be_bytes([l1, l0]));
        if body.end > packet.len() {
            return Err(Drop::Malformed);
        }
        let id = self.table.of_client(from).ok_or(Drop::NoAllocation)?;
        let allocation = self.table.get(id).ok_or(Drop::NoAllocation)?;
        let number = u16::from_be_bytes([n1, n0]);
        let channel = allocation.channels.by_number(now.mono, number).ok_or(Drop::NoChannel)?;
        if !channel.is_permitted(now.mono) {
            return Err(Drop::NoPermission);
        }
        let peer = channel.peer;
        self.relay(now, id, peer, body, false)
    }

    /// A Send indication of a client: what is wrong with it is dropped without a word.
    pub(super) fn send(
        &mut self,
        now: Now,
        from: &FiveTuple,
        message: &Message<'_>,
    ) -> Result<Forward, Drop> {
        if !message.unknown(&KNOWN).is_empty() {
            return Err(Drop::Unexpected);
        }
        let id = self.table.of_client(from).ok_or(Drop::NoAllocation)?;
        let peer = message.xor_address(XOR_PEER_ADDRESS).ok().flatten().ok_or(Drop::Malformed)?;
        let body = message.range(DATA).ok_or(Drop::Malformed)?;
        self.check_permission(now, id, peer)?;
        let df = message.range(DONT_FRAGMENT).is_some();
        // Unknown where it cannot be done, and an indication with an unknown attribute is dropped.
        if df && !self.dont_fragment {
            return Err(Drop::Unexpected);
        }
        self.relay(now, id, peer, body, df)
    }

    /// A datagram from a peer.
    pub(super) fn receive(
        &mut self,
        now: Now,
        relay: RelayId,
        peer: SocketAddr,
        length: usize,
    ) -> Result<Forward, Drop> {
        let id = self.relays.owner(relay).ok_or(Drop::NoAllocation)?;
        let forward = self.deliver(now, id, peer, 0..length)?;
        count(&mut self.counters.received, length);
        Ok(forward)
    }

    /// Whether an allocation has a permission for a peer, and the gate lets its port through.
    pub(super) fn check_permission(&self, now: Now, id: AllocationId, peer: SocketAddr) -> Result<(), Drop> {
        let allocation = self.table.get(id).ok_or(Drop::NoAllocation)?;
        let permission = allocation.permissions.find(now.mono, peer.ip()).ok_or(Drop::NoPermission)?;
        if permission.some_ports && !self.gate.allows(peer) { Err(Drop::DeniedPeer) } else { Ok(()) }
    }

    /// Out of the relayed socket, or straight to the other client where the peer is a relayed address
    /// of this server.
    fn relay(
        &mut self,
        now: Now,
        id: AllocationId,
        peer: SocketAddr,
        body: Range<usize>,
        df: bool,
    ) -> Result<Forward, Drop> {
        let length = body.len();
        self.admit(now, id, Way::ToPeer, length, peer.is_ipv4())?;
        let allocation = self.table.get_mut(id).ok_or(Drop::NoAllocation)?;
        let relay = allocation.relays.get(Family::of(peer)).ok_or(Drop::NoPermission)?;
        count(&mut allocation.sent, length);
        count(&mut self.counters.sent, length);
        let Some(other) = self.relays.at(peer) else {
            return Ok(Forward::ToPeer { relay, peer, body, df });
        };
        let other = self.relays.owner(other).ok_or(Drop::NoAllocation)?;
        let (advertised, bound) = self.relays.addresses(relay).ok_or(Drop::NoAllocation)?;
        // The other side sees the address that it gave a permission to.
        let source = match self.check_permission(now, other, advertised) {
            Err(Drop::NoPermission) if bound != advertised => bound,
            _ => advertised,
        };
        let forward = self.deliver(now, other, source, body)?;
        count(&mut self.counters.received, length);
        Ok(forward)
    }

    /// To the client of an allocation, by channel if the peer has one.
    fn deliver(
        &mut self,
        now: Now,
        id: AllocationId,
        peer: SocketAddr,
        body: Range<usize>,
    ) -> Result<Forward, Drop> {
        let length = body.len();
        let allocation = self.table.get(id).ok_or(Drop::NoAllocation)?;
        let (client, via) = (allocation.client, allocation.via);
        let channel = allocation.channels.by_peer(now.mono, peer).filter(|it| it.is_permitted(now.mono));
        let (head, pad) = if let Some(channel) = channel {
            channel_head(channel.number, length, client.transport)?
        } else {
            self.check_permission(now, id, peer)?;
            let mut transaction = [0; 12];
            self.rng.fill_bytes(&mut transaction);
            data_head(peer, length, TransactionId(transaction))?
        };
        self.admit(now, id, Way::ToClient, length, peer.is_ipv4())?;
        if let Some(allocation) = self.table.get_mut(id) {
            count(&mut allocation.received, length);
        }
        Ok(Forward::ToClient { client, via, head, body, pad })
    }
}

/// Zero bytes to the next multiple of four.
const fn padding(length: usize) -> u8 {
    match length % 4 {
        0 => 0,
        1 => 3,
        2 => 2,
        _ => 1,
    }
}

/// The head of ChannelData, padded over streams alone (RFC 8656 section 12.5).
fn channel_head(number: u16, length: usize, transport: Transport) -> Result<(Head, u8), Drop> {
    let mut head = Head { bytes: [0; 48], len: 4 };
    head.bytes[..2].copy_from_slice(&number.to_be_bytes());
    let field = u16::try_from(length).map_err(|_| Drop::Malformed)?;
    head.bytes[2..4].copy_from_slice(&field.to_be_bytes());
    let pad = if transport.is_stream() { padding(length) } else { 0 };
    Ok((head, pad))
}

/// The head of a Data indication: header, XOR-PEER-ADDRESS and the head of DATA.
fn data_head(peer: SocketAddr, length: usize, transaction: TransactionId) -> Result<(Head, u8), Drop> {
    let (address, size) = attributes::address::xored(peer, transaction);
    let pad = padding(length);
    let end = HEADER + 4 + usize::from(size) + 4;
    let field = u16::try_from(end - HEADER + length + usize::from(pad)).map_err(|_| Drop::Malformed)?;
    let data = u16::try_from(length).map_err(|_| Drop::Malformed)?;
    let mut bytes = [0; 48];
    bytes[..2].copy_from_slice(&DATA_INDICATION.to_be_bytes());
    bytes[2..4].copy_from_slice(&field.to_be_bytes());
    bytes[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    bytes[8..20].copy_from_slice(&transaction.0);
    bytes[20..22].copy_from_slice(&XOR_PEER_ADDRESS.to_be_bytes());
    bytes[23] = size;
    bytes[24..end - 4].copy_from_slice(&address[..usize::from(size)]);
    bytes[end - 4..end - 2].copy_from_slice(&DATA.to_be_bytes());
    bytes[end - 2..end].copy_from_slice(&data.to_be_bytes());
    Ok((Head { bytes, len: size + 28 }, pad))
}
