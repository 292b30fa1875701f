//! What the shared store shows, as far as it differs from the node's own chain.

use std::collections::BTreeMap;

use palisade_ledger::{Hash, limits::MAX_ENTRY_BYTES};

use crate::store::shared::{Key, Listing};

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
    /// The bytes, unless they are larger than any entry.
    pub(super) value: Option<Vec<u8>>,
    pub(super) reason: Option<String>,
}

impl Wrong {
    fn new(value: Option<Vec<u8>>, revision: u64) -> Self {
        Self {
            revision,
            shown: value.as_deref().map(Hash::of),
            value: value.filter(|value| value.len() <= MAX_ENTRY_BYTES),
            reason: None,
        }
    }

    fn absent() -> Self {
        Self::new(None, 0)
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
    pub(super) ahead: BTreeMap<u64, (Vec<u8>, u64)>,
    /// Keys that were noted since they were compared last.
    pub(super) noted: Vec<Key>,
}

impl View {
    pub(super) fn of(listing: Listing, chain: &[Hash]) -> Self {
        let mut view = Self {
            revision: listing.revision,
            listed: listing.revision,
            live: false,
            head: HeadCell::default(),
            wrong: BTreeMap::new(),
            ahead: BTreeMap::new(),
            noted: vec![Key::Head],
        };
        let mut present = vec![false; chain.len()];
        for cell in listing.cells {
            if let Key::Entry(seq) = cell.key
                && let Some(index) = usize::try_from(seq).ok()
                && let Some(place) = present.get_mut(index)
            {
                *place = true;
            }
            view.note(cell.key, Some(cell.value), cell.revision, chain);
        }
        for (seq, _) in (0..).zip(&present).filter(|(_, present)| !**present) {
            view.wrong.insert(Key::Entry(seq), Wrong::absent());
            view.noted.push(Key::Entry(seq));
        }
        // A store that holds what it should has nothing to compare.
        let mut noted = std::mem::take(&mut view.noted);
        noted.retain(|key| view.wrong_at(key).is_some());
        view.noted = noted;
        view
    }

    /// Takes in one key.
    pub(super) fn note(&mut self, key: Key, value: Option<Vec<u8>>, revision: u64, chain: &[Hash]) {
        if key != Key::Touch {
            self.noted.push(key.clone());
        }
        match key {
            Key::Touch => {}
            Key::Head => {
                if revision > self.head.revision {
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
                match (chain.get(index), value) {
                    (Some(own), Some(value)) if Hash::of(&value) == *own => {}
                    (Some(_), None) => {
                        self.wrong.insert(key, Wrong::absent());
                    }
                    (Some(_), Some(value)) => {
                        self.wrong.insert(key, Wrong::new(Some(value), revision));
                    }
                    (None, Some(value)) => {
                        self.ahead.insert(seq, (value, revision));
                    }
                    (None, None) => {
                        self.ahead.remove(&seq);
                    }
                }
            }
            Key::Other(_) => match value {
                Some(value) => {
                    self.wrong.insert(key, Wrong::new(Some(value), revision));
                }
                None => {
                    self.wrong.remove(&key);
                }
            },
        }
    }

    /// An entry behind the chain's end did not verify.
    pub(super) fn refuse(&mut self, seq: u64, value: Vec<u8>, revision: u64, reason: String) {
        let mut wrong = Wrong::new(Some(value), revision);
        wrong.reason = Some(reason);
        self.noted.push(Key::Entry(seq));
        self.wrong.insert(Key::Entry(seq), wrong);
    }

    /// The chain was extended by an entry of the history: is it still there?
    pub(super) fn extended(&mut self, seq: u64, hash: Hash) {
        let key = Key::Entry(seq);
        self.noted.push(key.clone());
        match self.ahead.remove(&seq) {
            Some((value, _)) if Hash::of(&value) == hash => {}
            Some((value, revision)) => {
                self.wrong.insert(key, Wrong::new(Some(value), revision));
            }
            None => {
                self.wrong.insert(key, Wrong::absent());
            }
        }
    }

    /// This node wrote an entry.
    pub(super) fn wrote(&mut self, seq: u64, hash: Hash) {
        if let Some((value, revision)) = self.ahead.remove(&seq)
            && Hash::of(&value) != hash
        {
            let wrong = Wrong::new(Some(value), revision);
            self.noted.push(Key::Entry(seq));
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
            Key::Entry(seq) => self.ahead.get(seq).map(|(_, revision)| *revision),
            Key::Head | Key::Touch | Key::Other(_) => None,
        };
        self.wrong.get(key).map(|wrong| wrong.revision).or(ahead)
    }

    /// What the store shows under an entry's number, where it is not the chain's.
    pub(super) fn shown(&self, seq: u64) -> Option<&[u8]> {
        match self.wrong.get(&Key::Entry(seq)) {
            Some(wrong) => wrong.value.as_deref(),
            None => self.ahead.get(&seq).map(|(value, _)| value.as_slice()),
        }
    }
}
