//! What can go wrong with the ledger.

use palisade_ledger::{Author, Millis, Refusal, Stale};
use palisade_link::x509::IssueError;

use crate::store::StoreError;

/// Why the ledger could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is none yet.
    #[error("there is no ledger yet")]
    Empty,
    /// An entry of the store does not verify.
    #[error("entry {seq} of the ledger does not verify: {refusal}; nothing after it is applied")]
    Entry {
        /// Its number.
        seq: u64,
        /// Why.
        refusal: Refusal,
    },
    /// Verified entries did not fit together; they always do.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// The system gave no thread.
    #[error("the ledger's thread could not be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// Why an entry was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// It does not verify.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Its author's clock is ahead.
    #[error(
        "the entry's time, {time}, is more than five minutes ahead of this node's clock, {now}"
    )]
    Ahead {
        /// The entry's time.
        time: Millis,
        /// This node's.
        now: Millis,
    },
    /// Its author said too much about himself lately.
    #[error("{author} made too many entries about itself; try again in {seconds} seconds")]
    TooOften {
        /// Who.
        author: Author,
        /// When he may again.
        seconds: u64,
    },
    /// The certificate is none of an issuing CA that the cluster key certified.
    #[error(transparent)]
    IssuingCa(#[from] IssueError),
    /// The store takes nothing: too few of its members are there, or none can be reached. The entry
    /// was not stored.
    #[error("no quorum: refusing mutation")]
    NoQuorum,
    /// The store fell silent while it had the entry.
    #[error(
        "no quorum: the store fell silent before it answered, and the entry may be taken up yet; look \
         at the ledger before you try again"
    )]
    Unknown,
    /// The store shows a second chain that is validly signed.
    #[error(
        "the ledger was forked at entry {0}: refusing mutation until a human has decided (palisade ledger resolve)"
    )]
    Forked(u64),
    /// It could not be made durable.
    #[error("the entry could not be stored: {0}")]
    Store(String),
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
}
