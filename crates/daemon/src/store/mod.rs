//! Where the ledger is kept: in this node's own database ([`Store`]), and in etcd for all nodes
//! (etcd).
//!
//! [`shared`] says what a shared store shows and takes, without saying which one it is.

mod embedded;

pub mod etcd;
pub mod shared;

pub use embedded::{Store, StoreError, seen};
