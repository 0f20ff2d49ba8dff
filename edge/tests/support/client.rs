//! A TURN client over UDP or TCP, as small as the tests allow.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use chappe_proto::id::SessionId;
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::stun::attributes::{
    DATA, DONT_FRAGMENT, NONCE, REALM, USERNAME, XOR_MAPPED_ADDRESS, XOR_PEER_ADDRESS, XOR_RELAYED_ADDRESS,
};
use chappe_proto::stun::{self, Class, Key, Message, Method, TransactionId, Writer};
use chappe_proto::turn::{Transport, password};

use super::dtls::DtlsClient;

/// An expiry that no test lives to see, and that coturn can read (31 bits).
const FAR: u64 = 2_000_000_000;

/// Data that came from a peer.
#[derive(Debug, PartialEq, Eq)]
pub enum Data {
    /// As ChannelData.
    Channel(u16, Vec<u8>),
    /// As a Data indication.
    Indication(SocketAddr, Vec<u8>),
}

/// Bytes both ways.
pub trait Duplex: Read + Write {}

impl<T: Read + Write> Duplex for T {}

enum Road {
    Udp(UdpSocket),
    Tcp(TcpStream, Vec<u8>),
    Stream(Box<dyn Duplex>, Vec<u8>),
    Dtls(Box<DtlsClient>),
}

/// A TURN client.
pub struct Client {
    road: Road,
    username: String,
    password: String,
    known: Option<(String, String)>,
    transactions: u64,
}

impl Client {
    /// A client of the server at `server`, which shares `secret` with whoever issues credentials.
    pub fn new(transport: Transport, server: SocketAddr, secret: &[u8], session: Option<SessionId>) -> Self {
        let road = match transport {
            Transport::Udp | Transport::Dtls => {
                let socket = UdpSocket::bind(SocketAddr::new(server.ip(), 0)).unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                socket.connect(server).unwrap();
                Road::Udp(socket)
            }
            Transport::Tcp | Transport::Tls => {
                let stream = TcpStream::connect(server).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                stream.set_nodelay(true).unwrap();
                Road::Tcp(stream, Vec::new())
            }
        };
        Self::with(road, secret, session)
    }

    /// A client on a stream that stands.
    pub fn over(stream: impl Duplex + 'static, secret: &[u8]) -> Self {
        Self::with(Road::Stream(Box::new(stream), Vec::new()), secret, None)
    }

    /// A client on an association that stands.
    pub fn over_dtls(client: DtlsClient, secret: &[u8]) -> Self {
        Self::with(Road::Dtls(Box::new(client)), secret, None)
    }

    /// The association that it sends on.
    pub fn dtls(&mut self) -> &mut DtlsClient {
        match &mut self.road {
            Road::Dtls(client) => client,
            _ => panic!("not over DTLS"),
        }
    }

    fn with(road: Road, secret: &[u8], session: Option<SessionId>) -> Self {
        let user = session.map_or("someone".to_owned(), |session| session.to_string());
        let username = format!("{FAR}:{user}");
        let password = password(&Secret(secret.to_vec()), &username);
        Self { road, username, password, known: None, transactions: 0 }
    }

    /// The UDP socket that it sends from.
    pub fn udp(&self) -> &UdpSocket {
        match &self.road {
            Road::Udp(socket) => socket,
            _ => panic!("not over UDP"),
        }
    }

    /// The TCP stream that it sends on.
    pub fn tcp(&mut self) -> &mut TcpStream {
        match &mut self.road {
            Road::Tcp(stream, _) => stream,
            _ => panic!("not over TCP"),
        }
    }

    /// Sends bytes as they are: a datagram, or a part of the stream.
    pub fn send(&mut self, bytes: &[u8]) {
        match &mut self.road {
            Road::Udp(socket) => assert_eq!(socket.send(bytes).unwrap(), bytes.len()),
            Road::Tcp(stream, _) => stream.write_all(bytes).unwrap(),
            Road::Dtls(client) => client.send(bytes),
            Road::Stream(stream, _) => {
                stream.write_all(bytes).unwrap();
                stream.flush().unwrap();
            }
        }
    }

    /// The next message, padding included over a stream.
    pub fn receive(&mut self) -> Vec<u8> {
        match &mut self.road {
            Road::Udp(socket) => {
                let mut buffer = vec![0; 65_536];
                let len = socket.recv(&mut buffer).unwrap();
                buffer.truncate(len);
                buffer
            }
            Road::Tcp(stream, rest) => next(stream, rest),
            Road::Stream(stream, rest) => next(stream, rest),
            Road::Dtls(client) => client.receive(),
        }
    }

    /// The next data from a peer.
    pub fn data(&mut self) -> Data {
        let bytes = self.receive();
        if stun::is_stun(&bytes) {
            let message = Message::parse(&bytes).unwrap();
            assert_eq!((message.class, message.method), (Class::Indication, Method::DATA));
            let peer = message.xor_address(XOR_PEER_ADDRESS).unwrap().unwrap();
            return Data::Indication(peer, message.get(DATA).unwrap().to_vec());
        }
        let number = u16::from_be_bytes([bytes[0], bytes[1]]);
        let len = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        Data::Channel(number, bytes[4..4 + len].to_vec())
    }

    fn writer(&mut self, class: Class, method: Method) -> Writer {
        self.transactions += 1;
        let mut id = [0; 12];
        id[4..].copy_from_slice(&self.transactions.to_be_bytes());
        Writer::new(class, method, TransactionId(id))
    }

    /// Sends a request and answers with its response: `Err` holds the error code.
    fn ask(&mut self, method: Method, with: impl Fn(Writer) -> Writer) -> Result<Vec<u8>, u16> {
        loop {
            let mut request = with(self.writer(Class::Request, method));
            if let Some((realm, nonce)) = &self.known {
                let key = Key::long_term(&self.username, realm, &self.password);
                request = request
                    .attribute(USERNAME, self.username.as_bytes())
                    .attribute(REALM, realm.as_bytes())
                    .attribute(NONCE, nonce.as_bytes())
                    .integrity(key.as_slice());
            }
            let request = request.finish();
            self.send(&request);
            let response = loop {
                let response = self.receive();
                if stun::is_stun(&response) && response[4..20] == request[4..20] {
                    break response;
                }
            };
            let message = Message::parse(&response).unwrap();
            if message.class == Class::Success {
                return Ok(response);
            }
            let code = message.error_code().unwrap().unwrap().0;
            let retry = (code == 401 && self.known.is_none()) || code == 438;
            if !retry {
                return Err(code);
            }
            let text = |kind| String::from_utf8(message.get(kind).unwrap().to_vec()).unwrap();
            self.known = Some((text(REALM), text(NONCE)));
        }
    }

    /// The address that the server sees.
    pub fn binding(&mut self) -> SocketAddr {
        let response = self.ask(Method::BINDING, |request| request).unwrap();
        Message::parse(&response).unwrap().xor_address(XOR_MAPPED_ADDRESS).unwrap().unwrap()
    }

    /// Allocates, and answers with the relayed address.
    pub fn allocate(&mut self) -> Result<SocketAddr, u16> {
        let response = self.ask(Method::ALLOCATE, |request| request.requested_transport(17))?;
        Ok(Message::parse(&response).unwrap().xor_address(XOR_RELAYED_ADDRESS).unwrap().unwrap())
    }

    /// Allocates an IPv6 address.
    pub fn allocate_v6(&mut self) -> Result<SocketAddr, u16> {
        use stun::attributes::{Family, REQUESTED_ADDRESS_FAMILY};
        let response = self.ask(Method::ALLOCATE, |request| {
            request.requested_transport(17).family(REQUESTED_ADDRESS_FAMILY, Family::V6)
        })?;
        Ok(Message::parse(&response).unwrap().xor_address(XOR_RELAYED_ADDRESS).unwrap().unwrap())
    }

    /// Refreshes the allocation; a lifetime of zero deletes it.
    pub fn refresh(&mut self, seconds: u32) -> Result<(), u16> {
        self.ask(Method::REFRESH, |request| request.lifetime(seconds)).map(drop)
    }

    /// Installs a permission.
    pub fn permit(&mut self, peer: SocketAddr) -> Result<(), u16> {
        self.ask(Method::CREATE_PERMISSION, |request| request.xor_address(XOR_PEER_ADDRESS, peer)).map(drop)
    }

    /// Binds a channel.
    pub fn bind(&mut self, number: u16, peer: SocketAddr) -> Result<(), u16> {
        let attributes = |request: Writer| request.channel_number(number).xor_address(XOR_PEER_ADDRESS, peer);
        self.ask(Method::CHANNEL_BIND, attributes).map(drop)
    }

    /// Sends data to a peer by a Send indication.
    pub fn send_to(&mut self, peer: SocketAddr, data: &[u8]) {
        let indication = self.writer(Class::Indication, Method::SEND);
        self.send(&indication.xor_address(XOR_PEER_ADDRESS, peer).attribute(DATA, data).finish());
    }

    /// The same, with DONT-FRAGMENT where `df`.
    pub fn send_unfragmented(&mut self, peer: SocketAddr, data: &[u8], df: bool) {
        let indication = self.writer(Class::Indication, Method::SEND).xor_address(XOR_PEER_ADDRESS, peer);
        let indication = if df { indication.attribute(DONT_FRAGMENT, &[]) } else { indication };
        self.send(&indication.attribute(DATA, data).finish());
    }

    /// Sends data on a channel, padded over a stream.
    pub fn send_on(&mut self, channel: u16, data: &[u8]) {
        let mut bytes = channel_data(channel, data);
        if matches!(self.road, Road::Tcp(..) | Road::Stream(..)) {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        self.send(&bytes);
    }
}

/// The next message of a stream.
fn next(stream: &mut (impl Read + ?Sized), rest: &mut Vec<u8>) -> Vec<u8> {
    loop {
        if let Some(len) = stun::frame(rest).unwrap() {
            return rest.drain(..len).collect();
        }
        let mut buffer = [0; 4096];
        let len = stream.read(&mut buffer).unwrap();
        assert!(len > 0, "the server closed the stream");
        rest.extend(&buffer[..len]);
    }
}

/// ChannelData, unpadded.
pub fn channel_data(channel: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = channel.to_be_bytes().to_vec();
    bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend(data);
    bytes
}
