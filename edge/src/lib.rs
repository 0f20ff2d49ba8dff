//! Chappe's relay: the sockets and the loop around the STUN/TURN machine of `chappe_proto::turn`, and
//! the uplink that tells it what is in force.
//!
//! ```text
//! clients ── listener ──┐                  ┌── relay ── peers
//!                       driver ── Server ──┘
//!                         │ command
//! nodes ─── uplink ───────┘
//! ```
//!
//! Two threads: the [`driver`]'s, which owns the machine and every socket that media crosses, and
//! another for what may wait: uplinks, and the probes of the listeners.

mod clock;
mod command;
mod config;
mod driver;
mod edge;
mod error;
mod health;
mod listener;
mod probe;
mod relay;
mod stats;
mod status;
mod system;
mod token;
pub mod trust;
#[allow(unsafe_code, reason = "system calls that no safe crate offers; see the module's head")]
pub mod udp;
mod uplink;

pub use config::{
    Acme, AcmeClient, Backend, CertificateFiles, Config, Credentials, ListenAt, Sealed, Source, Web,
};
pub use edge::{Edge, NotSet};
pub use error::{CertificateError, StartError};
pub use stats::{SocketCounters, Stats};
pub use status::{Observer, Status, Stuck};
pub use uplink::{Keep, LinkState, Node, Process, Tls, TlsError, Uplink};
