//! Importing an exported ledger: how a store that was turned back is healed by a longer valid chain,
//! and how a ledger moves to another store or format.

use palisade_keys::PublicKey;
use palisade_ledger::{
    Continuity, Hash, Head, Refusal, SplitError, Stale, Verified, continuity, split, verify,
    verify_genesis,
};

use crate::store::{Store, StoreError};

/// Entries that are committed at once.
const BATCH: usize = 1000;

/// Why a file was not imported. Nothing of it was stored, unless the store itself failed.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file is no sequence of entries.
    #[error("the file is damaged {0}")]
    Split(#[from] SplitError),
    /// An entry does not verify.
    #[error("entry {seq} of the file does not verify: {refusal}")]
    Entry {
        /// Its number.
        seq: usize,
        /// Why.
        refusal: Refusal,
    },
    /// Verified entries did not fit together; they always do.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// The file holds no entry.
    #[error("the file holds no entry")]
    Empty,
    /// The file is behind this node or beside it.
    #[error("the file does not continue what this node has seen: {}", describe(.0))]
    Discontinued(Continuity),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn describe(continuity: &Continuity) -> String {
    match continuity {
        Continuity::Continues => "it does".to_owned(),
        Continuity::RolledBack { seen, .. } => {
            format!(
                "this node has seen entry {}, the file ends before it",
                seen.seq
            )
        }
        Continuity::Forked { seen, .. } => {
            format!(
                "entry {} of the file is another one than this node has seen",
                seen.seq
            )
        }
    }
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// Entries that were added.
    pub added: u64,
    /// The head now.
    pub head: Head,
}

/// Verifies the exported ledger `file` from its genesis on, checks that it holds all that this node
/// has stored and seen, and adds what the store lacks.
pub fn import(
    store: &Store,
    cluster_key: &PublicKey,
    file: &[u8],
) -> Result<Imported, ImportError> {
    let entries = verified(cluster_key, file)?;
    let head = entries.last().ok_or(ImportError::Empty)?.head();
    let at = |seq: u64| -> Option<Hash> {
        let index = usize::try_from(seq).ok()?;
        entries.get(index).map(|entry| entry.head().hash)
    };
    for known in [store.seen()?, store.last()?].into_iter().flatten() {
        match continuity(known, Some(head), at) {
            Continuity::Continues => {}
            other => return Err(ImportError::Discontinued(other)),
        }
    }
    let stored = store.last()?.map_or(0, |last| last.seq.saturating_add(1));
    let stored = usize::try_from(stored).unwrap_or(usize::MAX);
    let fresh = entries.get(stored..).unwrap_or_default();
    for batch in fresh.chunks(BATCH) {
        store.append(batch)?;
    }
    Ok(Imported {
        added: u64::try_from(fresh.len()).unwrap_or(u64::MAX),
        head,
    })
}

fn verified(cluster_key: &PublicKey, file: &[u8]) -> Result<Vec<Verified>, ImportError> {
    let parts = split(file)?;
    let (first, rest) = parts.split_first().ok_or(ImportError::Empty)?;
    let (mut state, genesis) = verify_genesis(first, cluster_key)
        .map_err(|refusal| ImportError::Entry { seq: 0, refusal })?;
    let mut entries = vec![genesis];
    for bytes in rest {
        let entry = verify(&state, bytes).map_err(|refusal| ImportError::Entry {
            seq: entries.len(),
            refusal,
        })?;
        state.apply(&entry)?;
        entries.push(entry);
    }
    Ok(entries)
}
