//! The PostgreSQL front door: TLS, authentication by rule, and the bytes passed through.
//!
//! ```text
//!   client            gateway                                              PostgreSQL
//!     |  TCP            | gate: places in all, per address, deadline            |
//!     |---------------->|                                                       |
//!     |  SSLRequest, or | negotiate: TLS 1.3, startup packet (strict)           |
//!     |  direct TLS     |                                                       |
//!     |  user, database | authenticate: first matching rule of the ledger;      |
//!     |<--- SCRAM ----->|   TLS client key, certificate, or SCRAM(-PLUS)        |
//!     |                 | admit: an idle connection of this user, or a new one  |
//!     |                 |------------- unix socket, peer, as the user --------->|
//!     |<-- ready -------|   our own cancel key; entered among the sessions      |
//!     |                 |                                                       |
//!     |<=============== splice: bytes both ways, headers hopped over ==========>|
//!     |                 |   (lockstep for users without set_transaction)        |
//!     |<-- 57P01 -------| supervise: the ledger changed, the terms don't hold   |
//! ```
//!
//! What decides is the ledger's [`State`](palisade_ledger::State), which the gateway only reads: it
//! has no way to append to it. It parses no SQL to authorize; PostgreSQL itself enforces the rights
//! of the user as whom the session runs.
//!
//! Three things hold by construction:
//!
//! - no bytes that came before TLS are read after it, and none past a packet's end;
//! - a session needs a client that was authenticated, and stays only as long as the
//!   terms of its login hold: they are checked again after it is entered, and at every change;
//! - what a client is told never depends on whether the user exists.
//!
//! A session costs no buffers while it is idle, one task, and two sockets. A connection to
//! PostgreSQL that a client leaves idle is reset and may serve the same user's next login.
//!
//! `SHOW hba_file` passes through like any statement: PostgreSQL answers it to those who have
//! `pg_read_all_settings`, which users with the privilege `system` have through `pg_monitor`.

mod cancel;
mod certificate;
mod client;
mod config;
mod connection;
mod gate;
mod interfaces;
mod lockstep;
mod login;
mod metrics;
mod policy;
mod pool;
mod postgres;
mod refusal;
pub mod scram;
mod server;
mod sessions;
mod socket;
mod splice;
mod tls;
pub mod wire;
mod workers;

pub use config::{Config, Interfaces, Limits, PoolLimits};
pub use metrics::{Figure, Metrics};
pub use policy::{Attempt, Explanation, Verdict, explain};
pub use server::{Gateway, Observer, SessionInfo};
pub use tls::{IdentityError, TlsIdentity};
