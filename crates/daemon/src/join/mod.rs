//! How a node becomes a member: both ends of it.
//!
//! ```text
//!   joiner                                          member
//!   client::join --TLS, proof over the session-->   Admission --ledger shown-->
//!               --its own joining, signed------->   the ledger verifies it
//!   waiting::Door <--the whole ledger-----------    members::Poller, once an operator added the node
//! ```

mod admission;
mod approval;
mod attempts;
mod chain;
mod client;
mod error;
mod waiting;

pub use admission::{Admission, Joiner, NoEntry, Session};
pub use approval::await_approval;
pub use client::{Joined, Way, join};
pub use error::JoinError;
pub use waiting::{Waiting, adopt};
