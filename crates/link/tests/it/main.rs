//! Sessions over loopback TCP: each test is an attack that has to fail, or a promise that is kept.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod callers;
mod limits;
mod pins;
mod relay;
mod support;
mod versions;
