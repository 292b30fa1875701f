//! The reconcilers: observe, plan, execute; and the servers that Palisade manages.
//!
//! ```text
//!   Config -> Agent::start -> initdb, postgres (a child, private socket) -> guards in the database
//!   State  -> Agent::apply -> pg_hba.conf, pg_ident.conf -> sessions ended -> plan -> one transaction
//!             Agent::check_drift -> what differs (managed) and what is not ours (foreign)
//! ```
//!
//! The agent decides nothing: what is desired is computed by `palisade-rights` from the ledger's state.
//! It logs in over the private socket as the bootstrap superuser and never runs a user's code: it reads
//! catalogues, and grants, revokes and hands over by statements that evaluate no expression.
//!
//! [`etcd`] does the same for the etcd that the cluster runs itself.
//!
//! `sql/` holds the guards: event triggers that ask, in the database, for each statement that defines
//! something, whether the session's user has the flag for it.

mod agent;
mod config;
mod error;
pub mod etcd;
mod execute;
mod files;
mod install;
mod observe;
mod os;
mod place;
mod programs;
mod server;
mod session;

pub use agent::{Agent, DriftReport, Report};
pub use config::{Config, Tcp};
pub use error::Error;
pub use server::Endpoint;
