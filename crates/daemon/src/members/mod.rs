//! The other members: asked every two seconds whether they live, over links that are pinned to the
//! keys that the ledger has for them now.
//!
//! ```text
//!   State --members--> Poller --GET /v1/hello, in parallel--> Answers --> Election --> Table, events
//!                         \--no member yet, but the ledger says so--> POST /v1/adopt
//! ```

mod election;
mod poller;
mod table;

pub use election::{Answers, COOLDOWN, DOWN_AFTER, Election, Turn};
pub use poller::{Poller, SharedIdentity};
pub use table::{NodeEvent, Seen, Table};
