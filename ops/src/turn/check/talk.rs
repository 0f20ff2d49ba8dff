//! A conversation with a server: the client machine, its socket, and a limit to every wait.

use std::net::SocketAddr;
use std::time::Duration;

use chappe_cluster::clock;
use chappe_proto::stun::{Algorithm, Class, Message, Method, TransactionId, Writer, is_stun};
use chappe_proto::time::Mono;
use chappe_proto::turn::{Client, ClientEvent, Transport};

use super::fault::{Fault, Refusal};
use super::ice_servers::Credentials;
use super::link::Link;

/// The first retransmission over UDP (RFC 8489 section 6.2.1).
const RTO: Duration = Duration::from_millis(500);

/// An answer.
pub(super) struct Answer {
    pub(super) event: ClientEvent,
    /// From the last request that was sent for it.
    pub(super) took: Duration,
}

/// A raw answer.
pub(super) struct Response {
    pub(super) bytes: Vec<u8>,
    /// Bytes of the request.
    pub(super) request: usize,
    pub(super) took: Duration,
    /// How often the request was sent.
    pub(super) sent: u32,
}

/// A conversation.
pub(super) struct Talk {
    link: Link,
    client: Client,
    stream: bool,
    wait: Duration,
    /// No wait is longer than this.
    deadline: Mono,
    /// When a request was sent last.
    asked: Mono,
    /// A success response has come that the machine did not take.
    untaken: Option<Method>,
    /// The last error response.
    refusal: Option<Refusal>,
    /// It did not answer: it is not asked any more.
    dead: Option<Fault>,
}

impl Talk {
    pub(super) fn new(
        link: Link,
        transport: Transport,
        credentials: Option<&Credentials>,
        wait: Duration,
        deadline: Mono,
    ) -> Self {
        let (username, password) = credentials
            .map_or(("", ""), |credentials| (credentials.username.as_str(), credentials.password.as_str()));
        Self {
            link,
            client: Client::new(username, password, transport, clock::random()),
            stream: transport.is_stream(),
            wait,
            deadline,
            asked: clock::mono(),
            untaken: None,
            refusal: None,
            dead: None,
        }
    }

    pub(super) fn local(&self) -> Result<SocketAddr, Fault> {
        self.link.local()
    }

    /// How its requests are authenticated, once they are: the algorithm of the key.
    pub(super) fn algorithm(&self) -> Option<&'static str> {
        self.client.authentication().map(|by| match by.algorithm {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        })
    }

    /// Moves the end of all waits.
    pub(super) fn set_deadline(&mut self, deadline: Mono) {
        self.deadline = deadline;
    }

    /// Makes a request and waits for what comes of it. An error response is a [`Fault::Code`].
    pub(super) async fn ask(
        &mut self,
        method: Method,
        start: impl FnOnce(&mut Client, Mono),
    ) -> Result<Answer, Fault> {
        if let Some(fault) = &self.dead {
            return Err(fault.clone());
        }
        (self.untaken, self.refusal) = (None, None);
        let now = clock::mono();
        start(&mut self.client, now);
        let give_up = (now + self.wait).min(self.deadline);
        match self.answer(give_up).await {
            Ok(Some(event)) => self.judge(event),
            Ok(None) => Err(self.died(match self.untaken {
                Some(method) => Fault::BadIntegrity(method),
                None => Fault::Silent(method, give_up.since(now)),
            })),
            Err(fault) => Err(self.died(fault)),
        }
    }

    fn died(&mut self, fault: Fault) -> Fault {
        self.dead = Some(fault.clone());
        fault
    }

    fn judge(&mut self, event: ClientEvent) -> Result<Answer, Fault> {
        match event {
            ClientEvent::Refused { .. } | ClientEvent::Redirected(_) => {
                Err(self.refusal.take().map_or(Fault::NotStun, Fault::Code))
            }
            ClientEvent::TimedOut(method) => {
                let wait = self.wait;
                Err(self.died(Fault::Silent(method, wait)))
            }
            event => Ok(Answer { event, took: clock::mono().since(self.asked) }),
        }
    }

    /// The machine's next event, or nothing by then.
    async fn answer(&mut self, give_up: Mono) -> Result<Option<ClientEvent>, Fault> {
        loop {
            while let Some(message) = self.client.poll_transmit() {
                self.asked = clock::mono();
                self.link.send(&message).await?;
            }
            if let Some(event) = self.client.poll_event() {
                return Ok(Some(event));
            }
            let now = clock::mono();
            if now >= give_up {
                return Ok(None);
            }
            let next = self.client.poll_timeout().unwrap_or(give_up).min(give_up);
            tokio::select! {
                packet = self.link.receive() => { self.take(&packet?); }
                () = tokio::time::sleep(next.until(now)) => self.client.handle_timeout(clock::mono()),
            }
        }
    }

    /// Hands a packet to the machine, and returns the data in it.
    fn take(&mut self, packet: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
        let data = self.client.handle_input(clock::mono(), packet);
        if let Ok(message) = Message::parse(packet) {
            match message.class {
                Class::Error => self.refusal = Some(Refusal::of(&message)),
                Class::Success => self.untaken = Some(message.method),
                _ => {}
            }
        }
        data.map(|(peer, body)| (peer, packet[body].to_vec()))
    }

    /// Sends data for a peer, as the machine has it: through a channel if one is bound.
    pub(super) async fn send(&mut self, peer: SocketAddr, payload: &[u8]) -> Result<(), Fault> {
        let mut message = Vec::new();
        self.client.send(peer, payload, &mut message);
        self.link.send(&message).await
    }

    /// The next packet: data, if it is.
    pub(super) async fn packet(&mut self) -> Result<Option<(SocketAddr, Vec<u8>)>, Fault> {
        let packet = self.link.receive().await?;
        Ok(self.take(&packet))
    }

    /// Makes a request without credentials, by hand, and returns whatever answers it.
    pub(super) async fn raw(
        &mut self,
        method: Method,
        fill: impl FnOnce(Writer) -> Writer,
    ) -> Result<Response, Fault> {
        let transaction = TransactionId(clock::random());
        let request = fill(Writer::new(Class::Request, method, transaction)).finish();
        let begin = clock::mono();
        let give_up = (begin + self.wait).min(self.deadline);
        let (mut sent, mut again, mut asked, mut stranger) = (0, begin, begin, false);
        loop {
            let now = clock::mono();
            if now >= give_up {
                let silent = Fault::Silent(method, give_up.since(begin));
                return Err(if stranger { Fault::NotStun } else { silent });
            }
            if now >= again {
                asked = now;
                self.link.send(&request).await?;
                again = if self.stream { give_up } else { now + RTO * (1 << sent) };
                sent += 1;
            }
            tokio::select! {
                packet = self.link.receive() => {
                    let bytes = packet?;
                    match Message::parse(&bytes) {
                        Ok(message) if message.transaction == transaction => {
                            let took = clock::mono().since(asked);
                            return Ok(Response { bytes, request: request.len(), took, sent });
                        }
                        Ok(_) => {}
                        Err(_) => stranger |= is_stun(&bytes) || !bytes.is_empty(),
                    }
                }
                () = tokio::time::sleep(again.min(give_up).until(now)) => {}
            }
        }
    }
}
