//! The etcd that the daemon runs itself: its process, its members, its users.
//!
//! ```text
//!   on each node      Server::start(Config, Start)      a child that dies with us, mutual TLS alone
//!                     own_member(...)                   run, join, or leave: what etcd's list says of us
//!   on one (master)   Cluster::connect(.., root)
//!                       .reconcile(Wanted) -> Report    users, rights, alarms, then one member at a time
//! ```
//!
//! # How a node uses it
//!
//! The node that founds the store (`palisade store move managed`, or the first of `init`) calls
//! [`Server::start`] with [`Start::First`]; with the identity `root` ([`STORE_ROOT`]) it then calls
//! [`Cluster::reconcile`], which switches etcd's own access control on before anything else. From then
//! on the master does so every few seconds, and at once when the ledger's nodes change.
//!
//! Every other node asks etcd for its members ([`Cluster::members`], with its own identity, over the
//! addresses of the nodes in the ledger) and does what [`own_member`] says.
//!
//! # Whose it is
//!
//! Started by root, etcd runs as the OS user `etcd`, which its package makes, or as the one of PostgreSQL, and
//! has nothing but its data and copies of its certificate and key: [`renew`].
//!
//! # Certificates
//!
//! All are leaves of the cluster's CA for [`x509::Purpose::Store`](palisade_link::x509::Purpose), with
//! [`STORE_HOST`] among the alternative names: etcd takes no client's certificate without it. A member's has,
//! besides, the hosts of the node's store addresses. The common name is [`store_user`] of the node, or `root`.
//! A certificate `root` is made by a node that holds an issuing CA, for itself, for minutes, and its key
//! is never written to a file.

mod access;
mod channel;
mod cluster;
mod config;
mod error;
mod home;
mod log;
mod process;
mod program;
mod server;

pub use cluster::{Cluster, OwnMember, Report, Wanted, own_member};
pub use config::{Config, Files, Start};
pub use error::EtcdError;
pub use home::renew;
pub use palisade_rights::{STORE_HOST, STORE_ROOT, store_user};
pub use server::{Server, ServerState};
