//! What somebody must be told about the shared store.

use palisade_ledger::{Hash, Head, StoreConfig};

use super::replica::Alarm;

/// What happened with the shared store, worth an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerEvent {
    /// It shows what no node can have written: nothing of it is applied, and the chain is put back.
    Tampered {
        /// What, in words.
        what: String,
    },
    /// It was turned back: the chain is put back.
    RolledBack {
        /// The node's head.
        seen: Head,
        /// The store's.
        shown: Option<Head>,
    },
    /// It shows a second chain, validly signed: nothing is touched, and nothing appended.
    Forked {
        /// The first entry that differs.
        seq: u64,
        /// Its hash in the node's chain.
        own: Hash,
        /// Its hash in the store.
        shown: Hash,
    },
    /// All is as it should be again.
    Healed,
    /// Entries can't be appended.
    QuorumLost {
        /// Why, in words.
        why: String,
    },
    /// Entries can be appended again.
    QuorumBack,
    /// The ledger is kept elsewhere from now on.
    Moved {
        /// Where.
        store: StoreConfig,
    },
}

impl From<Alarm> for LedgerEvent {
    fn from(alarm: Alarm) -> Self {
        match alarm {
            Alarm::Tampered { what } => Self::Tampered { what },
            Alarm::RolledBack { seen, shown } => Self::RolledBack { seen, shown },
            Alarm::Forked { seq, own, shown } => Self::Forked { seq, own, shown },
            Alarm::Healed => Self::Healed,
        }
    }
}

impl std::fmt::Display for LedgerEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tampered { what } => write!(
                f,
                "the ledger's store was tampered with: {what}; nothing of it is applied, and the \
                 verified chain is put back"
            ),
            Self::RolledBack { seen, shown } => write!(
                f,
                "the ledger's store was turned back: this node holds entry {}, the store ended with \
                 {}; the verified chain is put back",
                seen.seq,
                shown.map_or_else(
                    || "nothing".to_owned(),
                    |head| format!("entry {}", head.seq)
                ),
            ),
            Self::Forked { seq, own, shown } => write!(
                f,
                "the ledger was forked: entry {seq} is {own} here and {shown} in the store, both \
                 validly signed; nothing is appended until a human has decided: palisade ledger resolve shows both \
                 chains, and keeps one"
            ),
            Self::Healed => f.write_str("the ledger's store holds the verified chain again"),
            Self::QuorumLost { why } => {
                write!(f, "the ledger's store takes no entries: {why}")
            }
            Self::QuorumBack => f.write_str("the ledger's store takes entries again"),
            Self::Moved { store } => match store {
                StoreConfig::Embedded => f.write_str("the ledger is kept on this node alone"),
                StoreConfig::Managed => f.write_str("the ledger is kept in the nodes' own etcd"),
                StoreConfig::Endpoints(urls) => {
                    write!(f, "the ledger is kept in etcd at {}", urls.join(", "))
                }
            },
        }
    }
}
