//! Moving the ledger to another store while it stays open.
//!
//! The chain is pushed to the target, without a head: nobody appends to a store that has none. The entry
//! that names the target is appended to the store in use, which closes that for every node; then the target
//! is attached, which pushes what it still lacks, and the head last. A crash in between is taken up again by
//! whoever attaches the store that the ledger names.

use palisade_ledger::{Hash, Head};

use super::Ledger;
use crate::store::etcd::{EtcdError, EtcdStore};
use crate::store::shared::{Key, Outcome, Transaction, head_value};
use crate::store::{Store, StoreError};

/// Entries and bytes of one transaction, as for appends.
const ENTRIES: usize = 100;
const BYTES: usize = 1024 * 1024;

/// How often the target may be found changed under our hands.
const TRIES: usize = 5;

/// Why a store does not hold the ledger yet.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The target.
    #[error("the store to move to can't be used: {0}")]
    Target(#[from] EtcdError),
    /// The target holds something else.
    #[error(
        "the store to move to holds another ledger of this cluster: {0}; remove it there first"
    )]
    Differs(String),
    /// The target keeps changing.
    #[error("the store to move to is being written by somebody else")]
    Busy,
    /// The local copy.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Ledger {
    /// Makes a store that is new hold what this node holds, all but the head, before the ledger names it:
    /// attaching it is quick then, and that it was empty is no news.
    pub async fn seed(&self, target: &EtcdStore) -> Result<(), MoveError> {
        let head = self.now().head();
        for _ in 0..TRIES {
            if push(&self.store, head, target).await? {
                return Ok(());
            }
        }
        Err(MoveError::Busy)
    }
}

/// Makes `target` hold the local chain up to `head`. It must hold nothing, or the beginning of it; `false`
/// if it changed meanwhile.
async fn push(local: &Store, head: Head, target: &EtcdStore) -> Result<bool, MoveError> {
    let (mut next, mut revision) = compare(local, target).await?;
    while next <= head.seq {
        let left = usize::try_from(head.seq - next).unwrap_or(ENTRIES);
        let page = local.entries(next, ENTRIES.min(left.saturating_add(1)))?;
        let mut transaction = Transaction {
            guards: vec![(Key::Head, revision)],
            writes: Vec::new(),
        };
        let mut bytes = 0;
        for entry in page {
            bytes += entry.len();
            if bytes > BYTES && !transaction.writes.is_empty() {
                break;
            }
            transaction.guards.push((Key::Entry(next), 0));
            transaction.writes.push((Key::Entry(next), Some(entry)));
            next += 1;
        }
        if transaction.writes.is_empty() {
            return Ok(true);
        }
        if std::mem::take(&mut revision) > 0 {
            // The ledger was here before: nobody appends behind the entry by which it left.
            transaction.writes.push((Key::Head, None));
        }
        match target.transact(transaction).await? {
            Outcome::Committed(_) => {}
            Outcome::Conflict | Outcome::Unknown => return Ok(false),
        }
    }
    Ok(true)
}

/// The number of the first entry that the target lacks, and the revision of its head; 0: it has none.
async fn compare(local: &Store, target: &EtcdStore) -> Result<(u64, u64), MoveError> {
    let (mut next, mut last, mut head) = (0, None, None);
    for cell in target.list().await?.listing.cells {
        let differs = |what: &str| Err(MoveError::Differs(what.to_owned()));
        match cell.key {
            Key::Entry(seq) if seq == next => {
                let own = local.entries(seq, 1)?.pop();
                if own.as_ref() != Some(&cell.value) {
                    return differs(&format!("entry {seq} is another one"));
                }
                let hash = Hash::of(&cell.value);
                last = Some(Head { seq, hash });
                next += 1;
            }
            Key::Entry(seq) => return differs(&format!("entry {seq} lies behind a gap")),
            Key::Head => head = Some((cell.value, cell.revision)),
            Key::Touch => {}
            Key::Other(_) => return differs("there are keys that are none of the ledger's"),
        }
    }
    match (last, head) {
        (_, None) => Ok((next, 0)),
        (Some(last), Some((value, revision))) if value == head_value(last) => Ok((next, revision)),
        _ => Err(MoveError::Differs("its head is another one".to_owned())),
    }
}
