//! The certificate authority of a node: what each may have, what is refused, what follows what.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_imports,
    missing_docs,
    reason = "tests"
)]

mod issuing;
mod leaf;
mod lists;
mod received;
mod rescue;
mod rotation;
#[path = "../store_support/mod.rs"]
mod store_support;
mod support;
