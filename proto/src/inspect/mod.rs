//! What an operator sees of a room while somebody watches it: [`tap`] keeps what passes, [`redact`] hides what is in
//! it. And how one [`session`] is.

mod candidate;
mod description;
pub mod redact;
pub mod session;
pub mod tap;

pub use session::{EdgeWay, SessionCounts, SessionDetails};
pub use tap::{Fate, Filter, Passed, SignalsPage, Tap, What};
