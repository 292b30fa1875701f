//! Throwaway PostgreSQL servers and other real components for tests.
//!
//! ```no_run
//! # fn main() -> Result<(), palisade_testkit::Error> {
//! let postgres = palisade_testkit::Postgres::start()?;
//! assert_eq!(postgres.psql("select 1 + 1")?, "2");
//! # Ok(()) }
//! ```
//!
//! Everything that is started here lives in its own temporary directory, listens on loopback or on
//! a private socket, and is gone when the value is dropped, even when the test was killed.
//! This crate serves tests only: nothing that ships depends on it.

pub mod chain;
mod dir;
mod error;
pub mod etcd;
mod os;
mod port;
mod postgres;
pub mod receiver;
mod template;
mod wait;

pub use dir::{TempDir, temp_dir};
pub use error::Error;
pub use os::{OsUser, find_program, server_user};
pub use port::{free_port, free_ports};
pub use postgres::{Builder, Postgres, Shutdown};
pub use wait::poll;
