//! A second chain: when it is one, and what a judgement on it may cost.

use std::collections::VecDeque;

use palisade_keys::PublicKey;
use palisade_ledger::{Author, Hash, State, decode, is_signed};

use super::{Judge, Replica};
use crate::store::shared::parse_head;

/// Verdicts that are remembered.
const MAX_VERDICTS: usize = 16;

/// At most one full judgement in this time: it folds the chain anew. Milliseconds.
const JUDGE_EVERY: u64 = 60_000;

/// Verdicts on foreign entries.
#[derive(Debug, Default)]
pub(super) struct Judged {
    verdicts: VecDeque<(u64, Hash, bool)>,
    /// No full judgement before this moment.
    not_before: u64,
    /// A judgement that had to be put off until then.
    awaited: Option<u64>,
}

impl Judged {
    /// Whether it is not known yet if there is a second chain.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited.is_some()
    }

    /// When it can be judged.
    pub(super) fn awaited(&self) -> Option<u64> {
        self.awaited
    }

    fn remember(&mut self, seq: u64, hash: Hash, valid: bool) {
        if self.verdicts.len() >= MAX_VERDICTS {
            self.verdicts.pop_front();
        }
        self.verdicts.push_back((seq, hash, valid));
    }
}

impl Replica {
    /// Looks for a second chain: the store's head names its end, its links lead back to an entry that
    /// stands behind one of ours, as it was created, where the store never agreed with us; and that
    /// entry is validly signed.
    pub(super) fn find_fork(&mut self, now: u64, judge: Judge<'_>) -> Option<(u64, Hash)> {
        self.judged.awaited = None;
        let view = self.view.as_ref()?;
        let (seq, hash) = self.branch()?;
        let mut verdicts = self.judged.verdicts.iter();
        let known = verdicts.find(|verdict| (verdict.0, verdict.1) == (seq, hash));
        if let Some((_, _, valid)) = known {
            return valid.then_some((seq, hash));
        }
        let bytes = view.shown(seq)?;
        let valid = if !may_be_signed(&self.state, seq, bytes) {
            false
        } else if now < self.judged.not_before {
            self.judged.awaited = Some(self.judged.not_before);
            return None;
        } else {
            self.judged.not_before = now.saturating_add(JUDGE_EVERY);
            judge(seq, bytes)
        };
        self.judged.remember(seq, hash, valid);
        valid.then_some((seq, hash))
    }

    /// Where another chain leaves ours, if it may be one that nodes have made.
    fn branch(&self) -> Option<(u64, Hash)> {
        let view = self.view.as_ref()?;
        let head = parse_head(view.head.value.as_deref()?)?;
        let (mut seq, mut hash) = (head.seq, head.hash);
        loop {
            if self.hash_at(seq) == Some(hash) || self.is_rewritten(seq) {
                return None;
            }
            let bytes = view.shown(seq).filter(|bytes| Hash::of(bytes) == hash)?;
            let entry = decode(bytes).ok().filter(|entry| entry.seq == seq)?;
            // A second genesis.
            let Some(before) = seq.checked_sub(1) else {
                break;
            };
            if self.hash_at(before) == Some(entry.prev) {
                break;
            }
            (seq, hash) = (before, entry.prev);
        }
        // Behind our own end it is no second chain, but one that did not verify.
        self.hash_at(seq).map(|_| (seq, hash))
    }

    /// Whether what stands in the place of one of our entries was written over it, or over anything.
    fn is_rewritten(&self, seq: u64) -> bool {
        let Some(seen) = usize::try_from(seq).ok().and_then(|at| self.seen.get(at)) else {
            return false;
        };
        let wrong = self.view.as_ref().and_then(|view| view.wrong_entry(seq));
        *seen || wrong.is_some_and(|wrong| !wrong.first)
    }
}

/// Who has signed an entry, by the keys of `state`.
pub(super) fn author(state: &State, bytes: &[u8]) -> Option<Author> {
    let author = decode(bytes).ok()?.author;
    let (key, _) = key(state, author)?;
    is_signed(bytes, &key).then_some(author)
}

/// The author's key, and the last entry that may have changed it.
fn key(state: &State, author: Author) -> Option<(PublicKey, u64)> {
    match author {
        Author::Cluster => Some((*state.cluster_key(), 0)),
        Author::User(uid) => {
            let user = state.user(uid)?;
            Some((user.public_key?, user.changed))
        }
        Author::Node(id) => state.node(id).map(|node| (node.key, node.changed)),
    }
}

/// Whether an entry may be signed as it should: the cheap look before the judgement. A key that was
/// changed since says nothing.
fn may_be_signed(state: &State, seq: u64, bytes: &[u8]) -> bool {
    let Ok(entry) = decode(bytes) else {
        return false;
    };
    match key(state, entry.author) {
        Some((key, changed)) => changed >= seq || is_signed(bytes, &key),
        None => true,
    }
}
