//! What the shared store shows, as far as it differs from the node's own chain.

use std::collections::{BTreeMap, BTreeSet};

use palisade_ledger::{Hash, limits::MAX_ENTRY_BYTES};

use crate::store::shared::{Key, Listing, Put};

/// Bytes of entries behind the chain's end that are kept at once: of more, the first. The rest is
/// listed again when these were taken.
const MAX_AHEAD: usize = 64 * 1024 * 1024;

/// Bytes of a rewritten entry that are kept to say whose it is.
const MAX_NAMED: usize = 4096;

/// Keys that are none of the ledger's, kept at once; and their bytes.
const MAX_OTHERS: usize = 1000;
const MAX_OTHER_BYTES: usize = 4 * 1024 * 1024;

/// The key `head`, as it was seen last.
#[derive(Debug, Default)]
pub(super) struct HeadCell {
    pub(super) value: Option<Vec<u8>>,
    pub(super) revision: u64,
}

/// A key that does not hold what it should.
#[derive(Debug)]
pub(super) struct Wrong {
    /// When it was written; 0 when it is not there.
    pub(super) revision: u64,
    pub(super) shown: Option<Hash>,
    /// The bytes, if a second chain may go through them, or they are few.
    pub(super) value: Option<Vec<u8>>,
    pub(super) reason: Option<String>,
    /// Whether it stands as it was created. Nodes create an entry once and never write another one over
    /// it, so that what was written again is nobody's chain.
    pub(super) first: bool,
}

impl Wrong {
    fn new(value: Option<Vec<u8>>, revision: u64, first: bool) -> Self {
        Self {
            revision,
            first,
            shown: value.as_deref().map(Hash::of),
            value: value
                .filter(|value| value.len() <= if first { MAX_ENTRY_BYTES } else { MAX_NAMED }),
            reason: None,
        }
    }

    fn absent() -> Self {
        Self::new(None, 0, false)
    }
}

/// The store as this node sees it.
#[derive(Debug)]
pub(super) struct View {
    /// All up to here is known.
    pub(super) revision: u64,
    /// Where it was listed.
    pub(super) listed: u64,
    /// Whether the history before the listing has come: a later revision did.
    pub(super) live: bool,
    pub(super) head: HeadCell,
    /// Keys that are not as the chain has them.
    pub(super) wrong: BTreeMap<Key, Wrong>,
    /// Entries behind the chain's end: value and revision.
    pub(super) ahead: Ahead,
    /// Number and bytes of keys among `wrong` that are none of the ledger's, and whether there are more.
    others: usize,
    other_bytes: usize,
    more_others: bool,
    /// Keys that were noted since they were compared last.
    pub(super) noted: BTreeSet<Key>,
    /// Entries of the history before the listing that lay behind the chain's end.
    pub(super) past: Ahead,
}

/// Entries behind the chain's end: value and revision. It keeps the first ones, within [`MAX_AHEAD`].
#[derive(Debug, Default)]
pub(super) struct Ahead {
    entries: BTreeMap<u64, (Vec<u8>, u64)>,
    bytes: usize,
    /// Whether some were not kept.
    more: bool,
}

impl Ahead {
    pub(super) fn insert(&mut self, seq: u64, value: Vec<u8>, revision: u64) {
        self.remove(seq);
        self.bytes += cost(&value);
        self.entries.insert(seq, (value, revision));
        while self.bytes > MAX_AHEAD && self.entries.len() > 1 {
            let Some((_, (value, _))) = self.entries.pop_last() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(cost(&value));
            self.more = true;
        }
    }

    pub(super) fn remove(&mut self, seq: u64) -> Option<(Vec<u8>, u64)> {
        let removed = self.entries.remove(&seq)?;
        self.bytes = self.bytes.saturating_sub(cost(&removed.0));
        Some(removed)
    }

    pub(super) fn get(&self, seq: u64) -> Option<&(Vec<u8>, u64)> {
        self.entries.get(&seq)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &(Vec<u8>, u64))> {
        self.entries.iter().map(|(seq, entry)| (*seq, entry))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// What an entry takes, about.
fn cost(value: &[u8]) -> usize {
    value.len() + 64
}

impl View {
    /// The view that a listing gives. `seen` is set for the entries of the chain that it shows.
    pub(super) fn of(listing: Listing, chain: &[Hash], seen: &mut [bool]) -> Self {
        let mut view = Self {
            revision: listing.revision,
            listed: listing.revision,
            live: false,
            head: HeadCell::default(),
            wrong: BTreeMap::new(),
            ahead: Ahead::default(),
            others: 0,
            other_bytes: 0,
            more_others: false,
            noted: BTreeSet::from([Key::Head]),
            past: Ahead::default(),
        };
        let mut present = vec![false; chain.len()];
        for cell in listing.cells {
            if let Key::Entry(seq) = cell.key
                && let Some(index) = usize::try_from(seq).ok()
                && let Some(place) = present.get_mut(index)
            {
                *place = true;
            }
            let (value, version) = (cell.value, cell.version);
            let put = Some(Put { value, version });
            view.note(cell.key, put, cell.revision, chain, seen);
        }
        for (seq, _) in (0..).zip(&present).filter(|(_, present)| !**present) {
            view.wrong.insert(Key::Entry(seq), Wrong::absent());
            view.noted.insert(Key::Entry(seq));
        }
        // A store that holds what it should has nothing to compare.
        let mut noted = std::mem::take(&mut view.noted);
        noted.retain(|key| view.wrong_at(key).is_some());
        view.noted = noted;
        view
    }

    /// Takes in one key. `seen` is set for an entry that it shows as the chain has it.
    pub(super) fn note(
        &mut self,
        key: Key,
        put: Option<Put>,
        revision: u64,
        chain: &[Hash],
        seen: &mut [bool],
    ) {
        match key {
            Key::Touch => {}
            Key::Head => {
                self.noted.insert(key);
                if revision > self.head.revision {
                    let value = put.map(|put| put.value);
                    self.head = HeadCell { value, revision };
                }
                if self.head.value.is_none() {
                    // A key that is not there has no revision to guard by.
                    self.head.revision = 0;
                }
            }
            Key::Entry(seq) => {
                self.wrong.remove(&key);
                let index = usize::try_from(seq).unwrap_or(usize::MAX);
                match (chain.get(index), put) {
                    (Some(own), Some(put)) if Hash::of(&put.value) == *own => {
                        if let Some(seen) = seen.get_mut(index) {
                            *seen = true;
                        }
                    }
                    (Some(_), None) => {
                        self.wrong.insert(key.clone(), Wrong::absent());
                    }
                    (Some(_), Some(put)) => {
                        let wrong = Wrong::new(Some(put.value), revision, put.version == 1);
                        self.wrong.insert(key.clone(), wrong);
                    }
                    (None, Some(put)) => self.ahead.insert(seq, put.value, revision),
                    (None, None) => {
                        self.ahead.remove(seq);
                    }
                }
                if self.wrong_at(&key).is_some() {
                    self.noted.insert(key);
                }
            }
            Key::Other(ref bytes) => {
                let size = bytes.len();
                if self.wrong.remove(&key).is_some() {
                    self.others = self.others.saturating_sub(1);
                    self.other_bytes = self.other_bytes.saturating_sub(size);
                }
                if put.is_none() {
                    return;
                }
                let full = self.others >= MAX_OTHERS || self.other_bytes + size > MAX_OTHER_BYTES;
                if full && self.others > 0 {
                    self.more_others = true;
                    return;
                }
                self.others += 1;
                self.other_bytes += size;
                self.noted.insert(key.clone());
                self.wrong.insert(key, Wrong::new(None, revision, false));
            }
        }
    }

    /// Whether all that was kept was dealt with, and there is more in the store.
    pub(super) fn is_used_up(&self) -> bool {
        (self.ahead.more && self.ahead.is_empty()) || (self.more_others && self.others == 0)
    }

    /// An entry behind the chain's end did not verify.
    pub(super) fn refuse(&mut self, seq: u64, value: Vec<u8>, revision: u64, reason: String) {
        let mut wrong = Wrong::absent();
        wrong.revision = revision;
        wrong.shown = Some(Hash::of(&value));
        wrong.value = Some(value).filter(|value| value.len() <= MAX_ENTRY_BYTES);
        wrong.reason = Some(reason);
        self.noted.insert(Key::Entry(seq));
        self.wrong.insert(Key::Entry(seq), wrong);
    }

    /// The chain was extended by an entry of the history: is it still there?
    pub(super) fn extended(&mut self, seq: u64, hash: Hash) {
        let key = Key::Entry(seq);
        self.noted.insert(key.clone());
        match self.ahead.remove(seq) {
            Some((value, _)) if Hash::of(&value) == hash => {}
            Some((value, revision)) => {
                let wrong = Wrong::new(Some(value), revision, false);
                self.wrong.insert(key, wrong);
            }
            None => {
                self.wrong.insert(key, Wrong::absent());
            }
        }
    }

    /// This node wrote an entry.
    pub(super) fn wrote(&mut self, seq: u64, hash: Hash) {
        if let Some((value, revision)) = self.ahead.remove(seq)
            && Hash::of(&value) != hash
        {
            let wrong = Wrong::new(Some(value), revision, false);
            self.noted.insert(Key::Entry(seq));
            self.wrong.insert(Key::Entry(seq), wrong);
        }
    }

    /// This node wrote the head.
    pub(super) fn wrote_head(&mut self, value: Vec<u8>, revision: u64) {
        if revision > self.head.revision {
            let value = Some(value);
            self.head = HeadCell { value, revision };
        }
    }

    /// The revision of a key that is not as the chain has it.
    pub(super) fn wrong_at(&self, key: &Key) -> Option<u64> {
        let ahead = match key {
            Key::Entry(seq) => self.ahead.get(*seq).map(|(_, revision)| *revision),
            Key::Head | Key::Touch | Key::Other(_) => None,
        };
        self.wrong.get(key).map(|wrong| wrong.revision).or(ahead)
    }

    /// What stands in the place of an entry of the chain.
    pub(super) fn wrong_entry(&self, seq: u64) -> Option<&Wrong> {
        self.wrong.get(&Key::Entry(seq))
    }

    /// What the store shows under an entry's number, where it is not the chain's.
    pub(super) fn shown(&self, seq: u64) -> Option<&[u8]> {
        match self.wrong.get(&Key::Entry(seq)) {
            Some(wrong) => wrong.value.as_deref(),
            None => self.ahead.get(seq).map(|(value, _)| value.as_slice()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_behind_the_end_are_kept_within_bounds_the_first_of_them() {
        const MEBIBYTE: usize = 1024 * 1024;
        let mut ahead = Ahead::default();
        for seq in (10..110).rev() {
            ahead.insert(seq, vec![0; MEBIBYTE], seq);
        }
        let kept: Vec<u64> = ahead.iter().map(|(seq, _)| seq).collect();
        assert!(kept.len() * MEBIBYTE <= MAX_AHEAD, "{}", kept.len());
        assert_eq!(kept.first(), Some(&10));
        assert!(ahead.more, "that there were more is known");
        // Another value in the same place takes the room of the one before.
        for revision in 0..1000 {
            ahead.insert(10, vec![0; MEBIBYTE], revision);
        }
        assert!(ahead.entries.contains_key(&10) && ahead.bytes <= MAX_AHEAD);
        for seq in kept {
            ahead.remove(seq);
        }
        assert_eq!(ahead.bytes, 0);
    }

    #[test]
    fn keys_that_are_nobodys_are_kept_within_bounds() {
        let listing = Listing {
            revision: 1,
            cells: Vec::new(),
        };
        let mut view = View::of(listing, &[], &mut []);
        for number in 0_u64..5000 {
            let key = Key::Other(number.to_string().into_bytes());
            let value = vec![0; 1000];
            let put = Some(Put { value, version: 1 });
            view.note(key, put, 2 + number, &[], &mut []);
        }
        assert_eq!(view.wrong.len(), MAX_OTHERS);
        assert!(view.noted.len() <= MAX_OTHERS + 1);
        assert!(view.more_others);
    }
}
