//! Why a node did not join.

use palisade_keys::PassphraseError;
use palisade_ledger::{DecodeError, NodeAddress, Refusal, SplitError, Stale};
use palisade_link::client::ClientError;
use palisade_link::https::OpenError;

use super::client::TRIES;
use crate::files::FileError;
use crate::identity::IdentityError;
use crate::store::StoreError;

/// Why a node did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// A file of the node.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its keys.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Its store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No address was given.
    #[error("no address of a member was given")]
    NoAddress,
    /// No member was reached.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The member refused, or what it said can't be read.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The member said nothing of its cluster.
    #[error("{0} is a member of no cluster")]
    NoCluster(NodeAddress),
    /// The cluster's secret.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The ledger that was shown is not that of a cluster that knows the secret.
    #[error("{0} belongs to a cluster that does not know this secret")]
    OtherSecret(NodeAddress),
    /// Whoever answers is no member of the cluster whose ledger it shows.
    #[error("who answers at {0} is no member of the cluster whose ledger it shows")]
    NoMember(NodeAddress),
    /// The ledger that was shown is no sequence of entries.
    #[error("what the member shows is no ledger: {0}")]
    Split(#[from] SplitError),
    /// It does not verify.
    #[error("the ledger that the member shows does not verify: {0}")]
    Refused(#[from] Refusal),
    /// Verified entries did not fit together; they always do.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// It is empty.
    #[error("the ledger that the member shows is empty")]
    Empty,
    /// The entry can't be written.
    #[error(transparent)]
    Encode(#[from] DecodeError),
    /// Others came first, each time.
    #[error("other changes came in between, {TRIES} times; try again")]
    Busy,
    /// One node keeps the ledger.
    #[error("this cluster keeps its ledger on one node, so no other can join")]
    Embedded,
    /// The node is one already.
    #[error("{} holds a node of a cluster already", .0.display())]
    Occupied(std::path::PathBuf),
    /// The node was removed while it waited.
    #[error("the node in {} was refused", .0.display())]
    Gone(std::path::PathBuf),
    /// Another thread failed.
    #[error("the work was cut short: {0}")]
    Task(String),
}

impl JoinError {
    /// Whether it may be over in a moment: the member is on its way up, or has no quorum yet.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Open(OpenError::Connect { .. } | OpenError::Slow { .. })
            | Self::Client(ClientError::Broken(_))
            | Self::Busy => true,
            Self::Client(ClientError::Refused(failure)) => failure.error.contains("no quorum"),
            _ => false,
        }
    }
}
