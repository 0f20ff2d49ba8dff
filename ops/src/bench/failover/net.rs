//! The network around the nodes of a bench: everything between them, and between them and clients, passes
//! here, where it can be swallowed or delayed. A thread of its own, so that the load does not slow it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Room for the datagrams that come while this thread waits for a processor.
const SOCKET_BUFFER: usize = 4 << 20;
/// The longest datagram.
const DATAGRAM_MAX: usize = 65_536;
/// Datagrams on their way over one delayed link.
const ON_THE_WAY: usize = 16_384;

/// A node's real addresses, and its region.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) http: SocketAddr,
    pub(super) mesh: SocketAddr,
    pub(super) region: String,
}

/// What others are told instead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Front {
    pub(super) http: SocketAddr,
    pub(super) mesh: SocketAddr,
}

/// The network. It ends when this is dropped.
pub(super) struct Net {
    /// Where each place is to be found, in their order.
    pub(super) fronts: Vec<Front>,
    holes: watch::Sender<BTreeSet<usize>>,
    cuts: watch::Sender<Option<BTreeSet<u16>>>,
}

impl Net {
    /// Begins to forward. What crosses regions takes `delay` each way.
    pub(super) fn start(places: Vec<Place>, delay: Duration) -> Result<Self> {
        let (holes, watched) = watch::channel(BTreeSet::new());
        let (cuts, cut) = watch::channel(None);
        let mut fronts = Vec::new();
        let mut sockets = Vec::new();
        for _ in &places {
            let (tcp, udp) = (std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, bind()?);
            tcp.set_nonblocking(true)?;
            fronts.push(Front { http: tcp.local_addr()?, mesh: udp.local_addr()? });
            sockets.push((tcp, udp));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("network".to_owned()).spawn(move || {
            let world = World { places, holes: watched, cuts: cut, delay };
            tokio::task::LocalSet::new().block_on(&runtime, run(Rc::new(world), sockets));
        })?;
        Ok(Self { fronts, holes, cuts })
    }

    /// Nothing passes any more between nodes and the process of an edge that has these UDP ports; nor what comes
    /// from ports that nobody came from before, since that is how an edge tries again. Or everything does.
    pub(super) fn cut(&self, ports: Option<BTreeSet<u16>>) {
        self.cuts.send_replace(ports);
    }

    /// Nothing comes from or reaches that place any more; or everything does again.
    pub(super) fn hole(&self, place: usize, begins: bool) {
        self.holes.send_modify(|holes| {
            if begins {
                holes.insert(place);
            } else {
                holes.remove(&place);
            }
        });
    }
}

fn bind() -> Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER); // as much as the system allows
    socket.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

struct World {
    places: Vec<Place>,
    holes: watch::Receiver<BTreeSet<usize>>,
    cuts: watch::Receiver<Option<BTreeSet<u16>>>,
    delay: Duration,
}

impl World {
    fn swallows(&self, one: usize, other: Option<usize>) -> bool {
        let holes = self.holes.borrow();
        holes.contains(&one) || other.is_some_and(|other| holes.contains(&other))
    }

    /// Whether what passes between nodes and that address is lost; `known` is whether it was heard before.
    fn is_cut(&self, from: SocketAddr, known: bool) -> bool {
        let cuts = self.cuts.borrow();
        let cut = cuts.as_ref().is_some_and(|ports| !known || ports.contains(&from.port()));
        cut && self.place_of(from).is_none()
    }

    fn place_of(&self, mesh: SocketAddr) -> Option<usize> {
        self.places.iter().position(|place| place.mesh == mesh)
    }

    fn delay(&self, one: usize, other: Option<usize>) -> Duration {
        let far = other.is_some_and(|other| self.places[one].region != self.places[other].region);
        if far { self.delay } else { Duration::ZERO }
    }
}

async fn run(world: Rc<World>, sockets: Vec<(std::net::TcpListener, std::net::UdpSocket)>) {
    for (index, (tcp, udp)) in sockets.into_iter().enumerate() {
        let (Ok(tcp), Ok(udp)) = (TcpListener::from_std(tcp), UdpSocket::from_std(udp)) else { return };
        tokio::task::spawn_local(streams(Rc::clone(&world), index, tcp));
        tokio::task::spawn_local(datagrams(Rc::clone(&world), index, Rc::new(udp)));
    }
    let mut holes = world.holes.clone();
    while holes.changed().await.is_ok() {}
}

/// What nodes and edges send to the node at `index`, each from a socket of its own.
async fn datagrams(world: Rc<World>, index: usize, front: Rc<UdpSocket>) {
    let mut backs: HashMap<SocketAddr, Link> = HashMap::new();
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        let Ok((len, from)) = front.recv_from(&mut buffer).await else { continue };
        let other = world.place_of(from);
        if world.swallows(index, other) || world.is_cut(from, backs.contains_key(&from)) {
            continue;
        }
        let link = match backs.entry(from) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(free) => {
                let back = bind().ok().and_then(|socket| UdpSocket::from_std(socket).ok());
                let Some(back) = back.map(Rc::new) else { continue };
                let delay = world.delay(index, other);
                let here = Link::new(Rc::clone(&front), from, delay);
                tokio::task::spawn_local(answers(Rc::clone(&world), index, other, Rc::clone(&back), here));
                free.insert(Link::new(back, world.places[index].mesh, delay))
            }
        };
        link.send(&buffer[..len]).await;
    }
}

async fn answers(world: Rc<World>, index: usize, other: Option<usize>, back: Rc<UdpSocket>, link: Link) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        let Ok((len, _)) = back.recv_from(&mut buffer).await else { continue };
        if !world.swallows(index, other) && !world.is_cut(link.to, true) {
            link.send(&buffer[..len]).await;
        }
    }
}

/// One way of a link.
struct Link {
    socket: Rc<UdpSocket>,
    to: SocketAddr,
    delay: Duration,
    late: Option<mpsc::Sender<(Instant, Vec<u8>)>>,
}

impl Link {
    fn new(socket: Rc<UdpSocket>, to: SocketAddr, delay: Duration) -> Self {
        let late = (!delay.is_zero()).then(|| {
            let (late, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
            let socket = Rc::clone(&socket);
            tokio::task::spawn_local(async move {
                while let Some((at, datagram)) = due.recv().await {
                    tokio::time::sleep_until(at).await;
                    let _ = socket.send_to(&datagram, to).await; // lost, as datagrams are
                }
            });
            late
        });
        Self { socket, to, delay, late }
    }

    async fn send(&self, datagram: &[u8]) {
        match &self.late {
            None => drop(self.socket.send_to(datagram, self.to).await),
            Some(late) => {
                let at = tokio::time::sleep(self.delay).deadline();
                let _ = late.try_send((at, datagram.to_vec())); // lost, as datagrams are
            }
        }
    }
}

async fn streams(world: Rc<World>, index: usize, listener: TcpListener) {
    loop {
        let Ok((client, from)) = listener.accept().await else { continue };
        let world = Rc::clone(&world);
        tokio::task::spawn_local(async move {
            let _ = carry(&world, index, client, from).await; // one of both has ended
        });
    }
}

/// Carries a connection's bytes both ways. In a hole nothing is read: both ends see their bytes go nowhere,
/// and who connects is not answered.
async fn carry(world: &World, index: usize, mut client: TcpStream, from: SocketAddr) -> Result<()> {
    let mut holes = world.holes.clone();
    holes.wait_for(|holes| !holes.contains(&index)).await?;
    let socket = TcpSocket::new_v4()?;
    socket.bind((from.ip(), 0).into()).context("nodes limit joins by address")?;
    let mut server = socket.connect(world.places[index].http).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut up, mut down) = (vec![0; 8192], vec![0; 8192]);
    loop {
        holes.wait_for(|holes| !holes.contains(&index)).await?;
        tokio::select! {
            biased;
            _ = holes.changed() => {}
            read = client.read(&mut up) => match read? {
                0 => return Ok(()),
                len => server.write_all(&up[..len]).await?,
            },
            read = server.read(&mut down) => match read? {
                0 => return Ok(()),
                len => client.write_all(&down[..len]).await?,
            },
        }
    }
}
