//! DTLS 1.2 over UDP listeners (RFC 6347, RFC 7350): one association for each five-tuple.

mod association;
mod front;
mod provider;

pub(crate) use association::{Effects, Epoch, config};

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use chappe_proto::limits::{DTLS_MAX, DTLS_PER_SOURCE, STREAM_IDLE, STREAM_MESSAGE_WITHIN};
use chappe_proto::time::Mono;
use chappe_proto::turn::{FiveTuple, Limit, source};
use dimpl::Config;
use slab::Slab;

use self::association::{Dead, Session};
use self::front::{COOKIE, ClientHello, Cookies, Verdict, is_dtls, refuse_old};
use super::Overdue;
use super::certificate::Certificate;
use super::half_open::{HalfOpen, Ticket};
use super::handshakes::Handshakes;

/// The longest message that a record holds (RFC 6347 section 4.1): there are no fragments of data.
pub(crate) const RECORD_MAX: usize = 1 << 14;
/// Room for the longest datagram.
const SCRATCH: usize = 65_536;

/// A client's association.
struct Association {
    session: Session,
    client: FiveTuple,
    listener: usize,
    /// The random of its ClientHello: another one is another association's.
    random: [u8; 32],
    source: IpAddr,
    /// Its place among those that no message has come from.
    ticket: Option<Ticket>,
    /// When it was opened, or when the last message came.
    heard: Mono,
    /// Its place among the timers.
    due: Mono,
}

/// What became of a datagram.
#[derive(Default)]
pub(crate) struct Received {
    /// The association that it was for.
    pub(crate) index: Option<usize>,
    /// Those that have ended by it: replaced, displaced, or failed.
    pub(crate) ended: Vec<FiveTuple>,
    /// One of them was half open and made room.
    pub(crate) displaced: bool,
    /// It was turned away: there are too many, of all or of its source.
    pub(crate) limited: Option<Limit>,
}

/// The associations of all DTLS listeners.
pub(crate) struct Associations {
    all: Slab<Association>,
    by_client: HashMap<FiveTuple, usize>,
    sources: HashMap<IpAddr, u32>,
    half_open: HalfOpen,
    handshakes: Handshakes,
    timers: BTreeSet<(Mono, usize)>,
    cookies: Cookies,
    config: Arc<Config>,
    epoch: Epoch,
    scratch: Box<[u8]>,
    message: Vec<u8>,
}

impl Associations {
    pub(crate) fn new(epoch: Epoch) -> io::Result<Self> {
        let fresh = || {
            let mut key = [0; 32];
            getrandom::fill(&mut key).is_ok().then_some(key)
        };
        let cookies = Cookies::new(fresh, epoch.mono).ok_or_else(|| io::Error::other("no random numbers"))?;
        Ok(Self {
            all: Slab::new(),
            by_client: HashMap::new(),
            sources: HashMap::new(),
            half_open: HalfOpen::default(),
            handshakes: Handshakes::default(),
            timers: BTreeSet::new(),
            cookies,
            config: config().map_err(io::Error::other)?,
            epoch,
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            message: Vec::new(),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Those from which no message has come.
    pub(crate) fn half_open(&self) -> usize {
        self.half_open.len()
    }

    /// Whose association it is, and by which listener it is reached.
    pub(crate) fn of(&self, index: usize) -> Option<(FiveTuple, usize)> {
        self.all.get(index).map(|association| (association.client, association.listener))
    }

    /// When the next timer is due.
    pub(crate) fn poll_timeout(&self) -> Option<Mono> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Takes a datagram of `client`, which came to the `listener`th listener.
    pub(crate) fn receive(
        &mut self,
        now: Mono,
        listener: usize,
        certificate: &Certificate,
        client: &FiveTuple,
        datagram: &[u8],
        effects: &mut Effects,
    ) -> Received {
        let mut received = Received::default();
        if !is_dtls(datagram) {
            return received;
        }
        let known = self.by_client.get(client).copied();
        if let Some(hello) = ClientHello::read(datagram) {
            match self.cookies.judge(now, client, &hello) {
                Verdict::Answer(answer) => return answered(received, effects, &answer),
                Verdict::Echoed(cookie) => {
                    // One that was sent again is the same association's; another one is a client that has
                    // started over, and has shown that it is there (RFC 6347 section 4.2.8).
                    let same = known.is_some_and(|index| self.all[index].random == hello.random);
                    if !same {
                        if !self.handshakes.take(now, client.client.ip()) {
                            received.limited = Some(Limit::Handshakes);
                            return received;
                        }
                        received.ended.extend(known.and_then(|index| self.remove(index)));
                        let caller = (listener, certificate, client);
                        self.admit(now, caller, &hello, cookie, effects, &mut received);
                        return received;
                    }
                }
            }
        }
        if known.is_none()
            && let Some(alert) = refuse_old(datagram)
        {
            return answered(received, effects, &alert);
        }
        if let Some(index) = known {
            received.index = Some(index);
            self.feed(now, index, datagram, effects, &mut received);
        }
        received
    }

    /// Opens an association for a client that has echoed its cookie.
    fn admit(
        &mut self,
        now: Mono,
        (listener, certificate, client): (usize, &Certificate, &FiveTuple),
        hello: &ClientHello<'_>,
        cookie: [u8; COOKIE],
        effects: &mut Effects,
        received: &mut Received,
    ) {
        let of = source(client.client.ip());
        let held = self.sources.get(&of).copied().unwrap_or(0);
        received.limited = match () {
            () if self.all.len() >= DTLS_MAX => Some(Limit::Streams),
            () if held >= DTLS_PER_SOURCE => Some(Limit::StreamsPerSource),
            () => None,
        };
        if received.limited.is_some() {
            return;
        }
        let Ok(mut session) = Session::new(&self.config, certificate, self.epoch, now) else { return };
        if session.admit(now, hello, cookie, &mut self.scratch, effects).is_err() {
            return;
        }
        let entry = self.all.vacant_entry();
        let index = entry.key();
        let (ticket, displaced) = self.half_open.enter(Some(of), index);
        entry.insert(Association {
            session,
            client: *client,
            listener,
            random: hello.random,
            source: of,
            ticket: Some(ticket),
            heard: now,
            due: Mono::NEVER,
        });
        self.by_client.insert(*client, index);
        self.sources.insert(of, held + 1);
        self.reschedule(index);
        if let Some(displaced) = displaced {
            received.displaced = true;
            received.ended.extend(self.remove(displaced));
        }
    }

    fn feed(
        &mut self,
        now: Mono,
        index: usize,
        datagram: &[u8],
        effects: &mut Effects,
        received: &mut Received,
    ) {
        let Some(association) = self.all.get_mut(index) else { return };
        let fed = association.session.receive(now, datagram, &mut self.scratch, effects);
        if effects.has_data() {
            association.heard = now;
            if let Some(ticket) = association.ticket.take() {
                self.half_open.leave(ticket);
            }
        }
        self.settle(index, &fed, effects, &mut received.ended);
    }

    /// Notes what came of asking an association.
    fn settle(
        &mut self,
        index: usize,
        asked: &Result<(), Dead>,
        effects: &Effects,
        ended: &mut Vec<FiveTuple>,
    ) {
        if asked.is_err() || effects.ended {
            ended.extend(self.remove(index));
        } else {
            self.reschedule(index);
        }
    }

    fn reschedule(&mut self, index: usize) {
        let Some(association) = self.all.get_mut(index) else { return };
        let due = association.session.due;
        if association.due == due {
            return;
        }
        self.timers.remove(&(association.due, index));
        association.due = due;
        if due != Mono::NEVER {
            self.timers.insert((due, index));
        }
    }

    /// Encrypts a message for the client of an association: `head`, `body` and `pad` zero bytes. Answers the
    /// client where that has ended the association.
    pub(crate) fn send(
        &mut self,
        index: usize,
        [head, body]: [&[u8]; 2],
        pad: u8,
        effects: &mut Effects,
    ) -> Option<FiveTuple> {
        let association = self.all.get_mut(index)?;
        self.message.clear();
        self.message.extend_from_slice(head);
        self.message.extend_from_slice(body);
        self.message.resize(self.message.len() + usize::from(pad), 0);
        let sent = association.session.send(&self.message, &mut self.scratch, effects);
        let mut ended = Vec::new();
        self.settle(index, &sent, effects, &mut ended);
        ended.pop()
    }

    /// An association whose timer is due.
    pub(crate) fn due(&self, now: Mono) -> Option<usize> {
        self.timers.first().filter(|(due, _)| *due <= now).map(|(_, index)| *index)
    }

    /// Does what is due for an association. Answers the client where that has ended it.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Mono,
        index: usize,
        effects: &mut Effects,
    ) -> Option<FiveTuple> {
        let association = self.all.get_mut(index)?;
        let asked = association.session.handle_timeout(now, &mut self.scratch, effects);
        let mut ended = Vec::new();
        // What is still due now would be asked for ever.
        let asked = if association.session.due <= now { Err(Dead) } else { asked };
        self.settle(index, &asked, effects, &mut ended);
        ended.pop()
    }

    /// Says goodbye to an association's client and forgets it.
    pub(crate) fn close(&mut self, index: usize, effects: &mut Effects) -> Option<FiveTuple> {
        let association = self.all.get_mut(index)?;
        association.session.close(&mut self.scratch, effects);
        self.remove(index)
    }

    fn remove(&mut self, index: usize) -> Option<FiveTuple> {
        let association = self.all.try_remove(index)?;
        self.timers.remove(&(association.due, index));
        self.by_client.remove(&association.client);
        if let Some(ticket) = association.ticket {
            self.half_open.leave(ticket);
        }
        match self.sources.get_mut(&association.source) {
            Some(held) if *held > 1 => *held -= 1,
            _ => {
                self.sources.remove(&association.source);
            }
        }
        Some(association.client)
    }

    /// Those that have kept silent for too long.
    pub(crate) fn overdue(&self, now: Mono) -> impl Iterator<Item = (usize, Overdue)> {
        self.all.iter().filter_map(move |(index, association)| {
            let silent = now.since(association.heard);
            match association.ticket {
                Some(_) if silent >= STREAM_MESSAGE_WITHIN => Some((index, Overdue::Message)),
                None if silent >= STREAM_IDLE => Some((index, Overdue::Idle)),
                _ => None,
            }
        })
    }

    /// Counts an association's silence from now on.
    pub(crate) fn excuse(&mut self, index: usize, now: Mono) {
        if let Some(association) = self.all.get_mut(index) {
            association.heard = now;
        }
    }
}

fn answered(received: Received, effects: &mut Effects, answer: &[u8]) -> Received {
    effects.packet(answer);
    received
}
