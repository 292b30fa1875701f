//! The node: store, issuing CA, control socket, configuration and the files it follows.
//!
//! ```text
//!   control socket --signed entries--> Ledger (one writer) --> Store (redb) + head seen last
//!   users.cfg ------UserList--------->    |
//!   cluster key ----ClusterAuthor---->    +--watch--> State --> gateway, agent (wired by the binary)
//!   Pki: root.crt, issuing CA, server leaf --renewed, reloaded--> gateway
//! ```
//!
//! The gateway and the agent are other crates, which this one does not know.

pub mod alerts;
pub mod api;
pub mod author;
pub mod ca;
pub mod config;
pub mod control;
pub mod files;
pub mod identity;
pub mod import;
pub mod join;
pub mod layout;
pub mod ledger;
pub mod members;
pub mod metrics;
pub mod pki;
pub mod store;
pub mod system;
pub mod user_list;
