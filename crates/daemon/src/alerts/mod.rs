//! Alerts: humans are told of what needs them, by the master, each thing once.
//!
//! ```text
//!   alarms    what is the matter, on this node; what was told already, by anyone
//!   desk      where a node's parts report, and from which the master's alerts are taken
//!   notice    one alarm in words and as JSON
//!   send      to a webhook, by mail, to a program
//! ```
//!
//! Who is told stands in the ledger; the secrets for it are sealed there to each node, so that who reads the
//! ledger or a node's disk without its key learns none.

pub mod alarms;
mod desk;
mod mail;
mod notice;
mod program;
mod send;
mod webhook;

pub use alarms::{Due, Turn};
pub use desk::{Desk, Thresholds};
pub use notice::Notice;
pub use send::{SendError, Sender, seal_secret};
