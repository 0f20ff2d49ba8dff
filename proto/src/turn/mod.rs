//! The TURN server machine (RFC 8656).
//!
//! [`Server`] is fed packets and says what to do; `api` has the types that cross. Read `server` first:
//! it sorts what comes in. Then a file for each request (`binding`, `allocate`, `refresh`,
//! `create_permission`, `channel_bind`), `data` for the hot path, and what they work on: `table` of
//! `allocation`s with their `permission`s and `channel`s, `relays` with their `ports`, `bandwidth` and the
//! other `limit`s (`churn` is what ended lately), `usage` and `listing` for operators, `realm`s, `credential`s and `nonce`s, the peer `gate`. Who sends a request is found out
//! in `authenticate`; who is unknown is answered by `unauthenticated`. [`Client`] is the other side, and
//! `probe` uses it to find out whether a server works.

mod allocate;
mod allocation;
mod answer;
mod api;
mod authenticate;
mod bandwidth;
mod binding;
mod channel;
mod channel_bind;
mod churn;
mod client;
mod config;
mod counters;
mod create_permission;
mod credential;
mod data;
mod feed;
mod gate;
mod icmp;
mod limit;
mod listing;
mod nonce;
mod permission;
mod ports;
mod probe;
mod realm;
mod refresh;
mod relays;
mod server;
mod source_rates;
mod table;
mod unauthenticated;
mod usage;

pub use api::*;
pub use client::{Authentication, Client, ClientEvent, Exchange, Options as ClientOptions, Outcome};
pub use config::{BadRealm, Config, Quotas, RelayAddress};
pub use counters::{AllocationView, Counters, Drop};
pub use credential::{PROBE_USER, password};
pub use gate::{forms, is_special};
pub use limit::{Limit, LimitLog};
pub use probe::{ProbeOutput, Probing, Reach};
pub use server::Server;
pub use source_rates::{SourceRates, source};
