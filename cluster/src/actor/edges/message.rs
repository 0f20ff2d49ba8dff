//! What the actor of the edges is told and asked.

use std::net::IpAddr;
use std::time::Duration;

use actix::Message;
use chappe_proto::id::{EdgeId, NodeId};
use chappe_proto::mesh::node::EdgeReport;
use chappe_proto::mesh::probe::Found;
use chappe_proto::mesh::uplink::{Alternate, Directive, EdgeHello, Health};
use chappe_proto::select::fleet::{RoundTrip, Seen};
use chappe_proto::signal::frame::IceFailure;
use tokio::sync::{mpsc, watch};

use super::Numbered;
use crate::mesh::uplink::Asked;

/// An uplink's task tells of its edge.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LinkSays {
    /// Which uplink.
    pub link: u64,
    /// Its edge, by its certificate.
    pub edge: EdgeId,
    /// What.
    pub event: LinkEvent,
}

/// What happens on an uplink.
#[derive(Debug)]
pub enum LinkEvent {
    /// The edge has registered; directives go there.
    Up {
        /// What it offers.
        hello: Box<EdgeHello>,
        /// Its uplink comes from an address that is nobody's on the Internet: it is a neighbour in a LAN, say.
        inside: bool,
        /// The way to its uplink's task.
        directives: mpsc::Sender<Numbered>,
        /// The same for where new clients go while the edge takes none.
        elsewhere: watch::Sender<Option<Vec<Alternate>>>,
        /// The same for what operators ask of the edge.
        asks: mpsc::Sender<Asked>,
    },
    /// A directive has been carried out.
    Done(u64),
    /// A report.
    Health {
        /// What it says.
        health: Box<Health>,
        /// The round-trip time of the uplink.
        rtt: Duration,
    },
    /// It has probed another edge.
    Probed {
        /// The probe's number.
        number: u64,
        /// The edge that was probed.
        edge: EdgeId,
        /// What it found.
        found: Vec<Found>,
    },
    /// The uplink has ended; `goodbye` where the edge said so.
    Down {
        /// Whether the edge stops.
        goodbye: bool,
    },
}

/// A directive for every edge.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Direct(pub Directive);

/// What another node hears of its edges.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Elsewhere {
    /// Who says it.
    pub from: NodeId,
    /// All of it.
    pub reports: Vec<EdgeReport>,
}

/// How an edge did for a client that it was handed to.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct IceReport {
    /// Which.
    pub edge: EdgeId,
    /// The client's address.
    pub ip: IpAddr,
    /// How ICE failed over it; nothing where the client has measured it.
    pub failure: Option<IceFailure>,
}

/// The registry changed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RegistryChanged;

/// The node has stopped.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Stop;

/// All edges as they were last heard.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Seen>")]
pub struct ListEdges;

/// How far edges are from those that probe them.
#[derive(Debug, Message)]
#[rtype(result = "Vec<RoundTrip>")]
pub struct RoundTrips;

/// The way to an edge that reports here; none to another.
#[derive(Debug, Message)]
#[rtype(result = "Option<mpsc::Sender<Asked>>")]
pub struct WayTo(pub EdgeId);

/// The edges that report here and are alive.
#[derive(Debug, Message)]
#[rtype(result = "Vec<EdgeId>")]
pub struct Reporting;
