//! The etcd that the cluster runs itself: who is a member of it, and who may do what in it.
//!
//! ```text
//!   nodes (ledger, liveness) --+                        nodes (ledger) ----+
//!   members (etcd) ------------+-> store_plan -> step   access (etcd) -----+-> access_plan -> steps
//! ```
//!
//! Membership is changed one step at a time and looked at again after each: [`store_plan`] gives the
//! next step, or none when all is well or nothing can be done without endangering the quorum.

mod access;
mod members;

use palisade_ledger::NodeId;

pub use access::{AccessStep, KeyRange, StoreAccess, access_plan};
pub use members::{RemoveReason, StoreMember, StoreNode, StoreStep, store_plan, voters};

/// The DNS name that each certificate for the managed etcd has among its alternative names: of
/// members, of the nodes as clients, of `root`. etcd takes no client's certificate without it
/// (`--client-cert-allowed-hostname`), so that a user of the database who is called `root` is
/// not etcd's root. No other certificate may carry it.
pub const STORE_HOST: &str = "store.palisade.internal";

/// etcd's own name for the user who may do anything; the common name of its certificate.
pub const STORE_ROOT: &str = "root";

/// The role of each node in etcd: read and write below the ledger's prefix.
pub const STORE_ROLE: &str = "palisade-node";

/// The name of a node in etcd: of its member, of its user, and the common name of its certificate. No
/// user of the database can have it, so that the certificate logs in nowhere else.
#[must_use]
pub fn store_user(node: NodeId) -> String {
    format!("palisade_node_{node}")
}
