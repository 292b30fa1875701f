//! Moving the ledger to another store while it stays open.
//!
//! The chain is pushed to the target; the entry that names it is appended to the store in use, which
//! closes that for every node; then the target is attached, which pushes what it still lacks. A crash
//! in between is taken up again by whoever attaches the store that the ledger names.

use std::time::Duration;

use palisade_ledger::{Change, DecodeError, Hash, Head, decode};

use super::Ledger;
use super::error::AppendError;
use crate::store::etcd::{EtcdError, EtcdStore};
use crate::store::shared::{Key, Outcome, Transaction, head_value};
use crate::store::{Store, StoreError};

/// Entries and bytes of one transaction, as for appends.
const ENTRIES: usize = 100;
const BYTES: usize = 1024 * 1024;

/// Entries that the target may lack when the ledger moves: they take a few transactions.
const NEAR: u64 = 1000;

/// How often the target may be found changed under our hands.
const TRIES: usize = 5;

/// How long the target may take to catch up once the ledger has moved.
const ATTACH_WITHIN: Duration = Duration::from_secs(10);

/// Why the ledger was not moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The entry is none that moves the ledger.
    #[error("the entry does not say where the ledger is to be kept")]
    NotAMove,
    /// The entry can't be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
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
    /// The entry was not appended. Nothing has moved.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The ledger names the target, which has not caught up. It goes on by itself.
    #[error("the ledger has moved (entry {}), but its new store has not caught up yet", .0.seq)]
    NotYet(Head),
}

impl Ledger {
    /// Moves the ledger: `entry` is the signed [`Change::StoreSet`] that names `target` (none for the
    /// embedded store). Appends in between wait, or are stale. If the entry is stale, sign it again and
    /// call again: what was pushed to the target is not pushed twice, so that the next try is quick.
    pub async fn move_to(
        &self,
        entry: Vec<u8>,
        target: Option<EtcdStore>,
    ) -> Result<Head, MoveError> {
        if !matches!(decode(&entry)?.change, Change::StoreSet { .. }) {
            return Err(MoveError::NotAMove);
        }
        if let Some(target) = &target
            && !self.is_nearly_at(target).await?
        {
            push(&self.store, self.now().head(), target).await?;
        }
        let head = self.append(entry).await?;
        match target {
            None => self.detach().await,
            Some(target) => {
                if !self.attach(target, ATTACH_WITHIN).await {
                    return Err(MoveError::NotYet(head));
                }
            }
        }
        Ok(head)
    }
}

impl Ledger {
    /// Makes a store that is new hold what this node holds, before it is attached: that it was empty is
    /// no news then.
    pub async fn seed(&self, target: &EtcdStore) -> Result<(), MoveError> {
        push(&self.store, self.now().head(), target).await
    }

    /// Whether `target` answers and lacks little: then an entry that is signed anew, because others
    /// came first, is not held up by a comparison of everything. Attaching compares it anyway.
    async fn is_nearly_at(&self, target: &EtcdStore) -> Result<bool, MoveError> {
        let Some(head) = target.head().await? else {
            return Ok(false);
        };
        let own = self.store.entries(head.seq, 1)?.pop();
        let same = own.is_some_and(|own| Hash::of(&own) == head.hash);
        Ok(same && self.now().head().seq.saturating_sub(head.seq) < NEAR)
    }
}

/// Makes `target` hold the local chain up to `head`. It must hold nothing, or the beginning of it.
pub(super) async fn push(local: &Store, head: Head, target: &EtcdStore) -> Result<(), MoveError> {
    for _ in 0..TRIES {
        if push_once(local, head, target).await? {
            return Ok(());
        }
    }
    Err(MoveError::Busy)
}

async fn push_once(local: &Store, head: Head, target: &EtcdStore) -> Result<bool, MoveError> {
    let (mut next, mut revision) = compare(local, target).await?;
    while next <= head.seq {
        let left = usize::try_from(head.seq - next).unwrap_or(ENTRIES);
        let page = local.entries(next, ENTRIES.min(left.saturating_add(1)))?;
        let mut transaction = Transaction {
            guards: vec![(Key::Head, revision)],
            writes: Vec::new(),
        };
        let (mut bytes, mut last) = (0, None);
        for (seq, entry) in (next..).zip(page) {
            bytes += entry.len();
            if bytes > BYTES && last.is_some() {
                break;
            }
            let hash = Hash::of(&entry);
            last = Some(Head { seq, hash });
            transaction.guards.push((Key::Entry(seq), 0));
            transaction.writes.push((Key::Entry(seq), Some(entry)));
        }
        let Some(last) = last else { return Ok(true) };
        transaction.writes.push((Key::Head, Some(head_value(last))));
        match target.transact(transaction).await? {
            Outcome::Committed(at) => (next, revision) = (last.seq + 1, at),
            Outcome::Conflict | Outcome::Unknown => return Ok(false),
        }
    }
    Ok(true)
}

/// The number of the first entry that the target lacks, and the revision of its head.
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
        (None, None) => Ok((0, 0)),
        (Some(last), Some((value, revision))) if value == head_value(last) => Ok((next, revision)),
        _ => Err(MoveError::Differs("its head is another one".to_owned())),
    }
}
