//! The real binary as a process, spoken to over real sockets.

mod dev;
