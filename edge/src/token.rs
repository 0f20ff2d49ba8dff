//! The names of sockets towards the system's poll.

use mio::Token;

/// What a token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// A relayed socket.
    Relay(u32),
    /// A UDP listener.
    Udp(usize),
    /// A TCP listener.
    Tcp(usize),
    /// A stream.
    Stream(usize),
    /// A web client's connection.
    Pipe(usize),
    /// The connection to its server.
    Backend(usize),
    /// Other threads' orders.
    Commands,
}

/// The kind of a token is in its upper half, which of its kind in the lower one.
const KIND: u32 = 32;

/// The token of a socket.
pub(crate) const fn token(ready: Ready) -> Token {
    let (kind, index) = match ready {
        Ready::Relay(index) => (0, index as usize),
        Ready::Udp(index) => (1, index),
        Ready::Tcp(index) => (2, index),
        Ready::Stream(index) => (3, index),
        Ready::Pipe(index) => (4, index),
        Ready::Backend(index) => (5, index),
        Ready::Commands => (6, 0),
    };
    Token(kind << KIND | index)
}

impl From<Token> for Ready {
    fn from(Token(token): Token) -> Self {
        let index = token & ((1 << KIND) - 1);
        match token >> KIND {
            0 => u32::try_from(index).map_or(Self::Commands, Self::Relay),
            1 => Self::Udp(index),
            2 => Self::Tcp(index),
            3 => Self::Stream(index),
            4 => Self::Pipe(index),
            5 => Self::Backend(index),
            _ => Self::Commands,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_name_what_they_were_made_of() {
        for ready in [
            Ready::Relay(u32::MAX >> 1),
            Ready::Udp(1),
            Ready::Tcp(0),
            Ready::Stream(70_000),
            Ready::Pipe(3),
            Ready::Backend(3),
            Ready::Commands,
        ] {
            assert_eq!(Ready::from(token(ready)), ready);
        }
    }
}
