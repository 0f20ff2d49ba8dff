//! Many allocations: how fast they are made, and what they hold.

use anyhow::{Context, Result};

use super::Args;
use super::client::TurnClient;
use super::server::Server;

/// Clients that ask at a time: few enough that no queue of 208 KiB overflows.
const AT_A_TIME: usize = 32;
/// Allocations made before memory is looked at: tables and buffers then have their first size.
const WARM: usize = 64;

/// Makes so many allocations, each of a client on a port of its own: a request without credentials that
/// is answered 401, then one with.
pub(super) fn allocate(args: &Args, server: &Server, count: usize) -> Result<Vec<TurnClient>> {
    let mut clients = Vec::with_capacity(count);
    while clients.len() < count {
        let first = clients.len();
        for index in first..count.min(first + AT_A_TIME) {
            let mut client = TurnClient::new(args.host, server.address, &server.credentials(index))?;
            client.begin();
            client.transmit()?;
            clients.push(client);
        }
        // All are under way: what the first waits for, the others have by then.
        for client in &mut clients[first..] {
            client.receive()?;
            client.transmit()?;
        }
        for client in &mut clients[first..] {
            client.allocated().with_context(|| format!("after {first} allocations"))?;
        }
    }
    Ok(clients)
}

/// Deletes them.
pub(super) fn delete(clients: Vec<TurnClient>) -> Result<()> {
    for mut client in clients {
        client.delete()?;
    }
    Ok(())
}

/// Bytes of the server's memory for each idle allocation.
pub(super) fn memory_each(args: &Args, server: &Server) -> Result<f64> {
    let process = server.process.context("its process is not known")?;
    let warm = allocate(args, server, WARM)?;
    let before = process.memory()?;
    let idle = allocate(args, server, args.idle.into())?;
    let grown = process.memory()?.saturating_sub(before);
    delete(warm)?;
    delete(idle)?;
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    Ok(grown as f64 / f64::from(args.idle))
}
