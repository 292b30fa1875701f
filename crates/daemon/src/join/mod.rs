//! How a node becomes a member: both ends of it.
//!
//! ```text
//!   joiner                                          member
//!   client::join --TLS, proof over the session-->   Admission --ledger shown-->
//!               --its own joining, signed------->   the ledger verifies it
//!   waiting::Door <--the whole ledger-----------    members::Poller, once an operator added the node
//! ```

mod admission;
mod attempts;
mod client;
mod waiting;

pub use admission::{Admission, Joiner, NoEntry, Session};
pub use client::{JoinError, Joined, Way, await_approval, catch_up, join};
pub use waiting::{Waiting, adopt};
