//! Chappe's relay: the sockets and the loop around the STUN/TURN machine of `chappe_proto::turn`, and
//! the uplink that tells it what is in force.

#[allow(unsafe_code, reason = "system calls that no safe crate offers; see the module's head")]
mod udp;
