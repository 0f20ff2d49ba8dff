//! QUIC between processes: mutual TLS by the cluster's own CA.

pub mod frame;
pub mod pki;
pub mod uplink;
