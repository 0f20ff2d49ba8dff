//! The frames of PROTOCOL.md: reading what a client sends, writing what it is sent.

mod client;
mod server;

pub use client::{ClientFrame, IceFailure, Join, deny_reason};
pub use server::{
    EdgeOffer, GoneReason, IceReason, IceServer, KnockView, LimitsView, PeerChange, PeerView, ServerFrame,
    UndeliveredReason, Welcome,
};
