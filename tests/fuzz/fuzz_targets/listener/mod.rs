//! What stands around the DTLS front in the edge: its own files, and stand-ins for the rest.

#[path = "../../../../edge/src/listener/dtls/mod.rs"]
pub(crate) mod dtls;
#[path = "../../../../edge/src/listener/half_open.rs"]
mod half_open;
#[path = "../../../../edge/src/listener/handshakes.rs"]
mod handshakes;

/// As in the edge's stream.rs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    No,
    Message,
    Idle,
}

/// A certificate without files.
pub(crate) mod certificate {
    pub(crate) struct Certificate {
        pub(crate) certified: Certified,
        pub(crate) key: Key,
    }

    pub(crate) struct Certified {
        pub(crate) cert: Vec<Vec<u8>>,
    }

    pub(crate) struct Key(pub(crate) Vec<u8>);

    impl Key {
        pub(crate) fn secret_der(&self) -> &[u8] {
            &self.0
        }
    }

    impl Certificate {
        pub(crate) const fn current(&self) -> &Self {
            self
        }
    }
}
