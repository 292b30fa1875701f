//! The whole gateway before a real PostgreSQL, with the clients that people use.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::let_underscore_must_use,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

mod cancel;
mod clients;
mod ending;
mod explain;
mod methods;
mod raw;
mod reference;
mod restricted;
mod reuse;
mod secrets;
mod startup;
mod support;
