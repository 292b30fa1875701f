//! What is wrong with what the store shows, in words, each thing once.

use std::collections::BTreeSet;

use palisade_ledger::{Hash, Head, StoreConfig};

use super::{Replica, fork};
use crate::store::shared::{Key, parse_head};

/// Things named in one alarm; of more only the number is told.
const NAMED: usize = 3;

/// Alarms remembered: what is wrong still after as many others is told again.
const MAX_TOLD: usize = 4096;

/// What somebody must be told about the shared store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alarm {
    /// It shows what no node of the cluster can have written.
    Tampered {
        /// What, in words.
        what: String,
    },
    /// It was turned back: it shows the beginning of the chain alone.
    RolledBack {
        /// The node's head.
        seen: Head,
        /// The store's.
        shown: Option<Head>,
    },
    /// It shows another chain, validly signed.
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
}

/// What was told already.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    /// Revisions in which a key was written, and the keys, as their hashes.
    told: BTreeSet<(u64, Hash)>,
    forked: Option<(u64, Hash)>,
    raised: bool,
    /// Whether all was right once: then nothing is missing because it is new.
    pub(super) was_right: bool,
}

/// What is left of the chain in a store that was turned back.
#[derive(Debug, Clone, Copy)]
enum Remnant {
    Nothing,
    /// The beginning of it, or all, and no head.
    Headless,
    UpTo(Head),
}

impl Replica {
    /// Compares the view with the chain: what is new about what is wrong.
    pub(super) fn compare(&mut self) -> Vec<Alarm> {
        if self.judged.is_awaited() {
            return Vec::new();
        }
        let head_wrong = self.head_is_wrong();
        let Some(view) = &mut self.view else {
            return Vec::new();
        };
        let noted = std::mem::take(&mut view.noted);
        if view.wrong.is_empty() && view.ahead.is_empty() && !head_wrong {
            let healed = std::mem::take(&mut self.alarms).raised;
            self.alarms.was_right = true;
            return if healed {
                vec![Alarm::Healed]
            } else {
                Vec::new()
            };
        }
        let mut fresh: Vec<Key> = Vec::new();
        for key in noted.into_iter().chain([Key::Head]) {
            let at = match key {
                Key::Head => head_wrong.then_some(view.head.revision),
                _ => view.wrong_at(&key),
            };
            if let Some(revision) = at
                && (self.alarms.told).insert((revision, Hash::of(&key.to_bytes())))
            {
                fresh.push(key);
            }
        }
        while self.alarms.told.len() > MAX_TOLD {
            self.alarms.told.pop_first();
        }
        if let Some((seq, shown)) = self.forked {
            let first = self.alarms.forked != Some((seq, shown));
            self.alarms.forked = Some((seq, shown));
            self.alarms.raised = true;
            let own = self.hash_at(seq).unwrap_or(Hash::ZERO);
            let alarm = Alarm::Forked { seq, own, shown };
            return if first { vec![alarm] } else { Vec::new() };
        }
        self.alarms.forked = None;
        let turned_back = self.turned_back();
        if fresh.is_empty() || turned_back.is_some_and(|remnant| self.seeds(remnant)) {
            return Vec::new();
        }
        self.alarms.raised = true;
        let rolled_back = |shown| Alarm::RolledBack {
            seen: self.head(),
            shown,
        };
        vec![match turned_back {
            Some(Remnant::Nothing) => rolled_back(None),
            Some(Remnant::UpTo(head)) => rolled_back(Some(head)),
            Some(Remnant::Headless) | None => Alarm::Tampered {
                what: self.describe(&fresh),
            },
        }]
    }

    /// Whether the store shows the beginning of the chain alone, or nothing; and its end.
    fn turned_back(&self) -> Option<Remnant> {
        let view = self.view.as_ref()?;
        let (remnant, first) = match &view.head.value {
            None if view.wrong.contains_key(&Key::Entry(0)) => (Remnant::Nothing, 0),
            None => {
                let mut entries = 0..self.length();
                let first = entries.find(|seq| view.wrong.contains_key(&Key::Entry(*seq)));
                (Remnant::Headless, first.unwrap_or(self.length()))
            }
            Some(value) => {
                let head = parse_head(value)?;
                if self.hash_at(head.seq) != Some(head.hash) {
                    return None;
                }
                (Remnant::UpTo(head), head.seq + 1)
            }
        };
        let missing = self.length().saturating_sub(first);
        let suffix = (first..self.length()).all(|seq| {
            let wrong = view.wrong.get(&Key::Entry(seq));
            wrong.is_some_and(|wrong| wrong.revision == 0)
        });
        let only = view.ahead.is_empty() && view.wrong.len() as u64 == missing;
        let any = missing > 0 || matches!(remnant, Remnant::Headless);
        (suffix && only && any).then_some(remnant)
    }

    /// Whether a store that shows this is one that the ledger is just moving to: this node never heard of
    /// it before, and nothing was appended since the entry that names it. (Entries behind that one are
    /// appended where it says, so a store that lacks it while they exist was turned back.) The only node
    /// of a cluster may have gone on by itself while it started its etcd.
    fn seeds(&self, remnant: Remnant) -> bool {
        if self.alarms.was_right || self.known > 0 {
            return false;
        }
        let alone =
            *self.state.store() == StoreConfig::Managed && self.state.members().count() <= 1;
        match remnant {
            Remnant::Nothing | Remnant::Headless if self.opened_at == 0 || alone => true,
            Remnant::Nothing | Remnant::Headless | Remnant::UpTo(_) => {
                self.opened_at > 0 && self.opened_at == self.head().seq
            }
        }
    }

    fn describe(&self, keys: &[Key]) -> String {
        let mut words: Vec<String> = keys
            .iter()
            .take(NAMED)
            .map(|key| self.describe_key(key))
            .collect();
        if keys.len() > NAMED {
            words.push(format!("and {} more", keys.len() - NAMED));
        }
        words.join("; ")
    }

    fn describe_key(&self, key: &Key) -> String {
        let Some(view) = &self.view else {
            return key.to_string();
        };
        match (key, view.wrong.get(key)) {
            (Key::Head, _) => match view.head.value.as_deref().map(parse_head) {
                None => "the head was removed".to_owned(),
                Some(None) => "the head is no head".to_owned(),
                Some(Some(head)) => format!("the head names entry {}, {}", head.seq, head.hash),
            },
            (Key::Entry(seq), Some(wrong)) => match (&wrong.reason, wrong.shown) {
                (Some(reason), _) => format!("entry {seq} does not verify: {reason}"),
                (None, Some(_)) => match wrong.value.as_deref() {
                    Some(bytes) => fork::author(&self.state, bytes).map_or_else(
                        || format!("entry {seq} was rewritten"),
                        |author| format!("entry {seq} was rewritten with one signed by {author}"),
                    ),
                    None => format!("entry {seq} was rewritten"),
                },
                (None, None) => format!("entry {seq} was deleted"),
            },
            (Key::Entry(seq), None) => format!("entry {seq} lies behind a gap"),
            (key, _) => format!("{key} is none of the ledger's"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use palisade_keys::{SecretKey, Zeroizing};
    use palisade_ledger::{Author, Change, Entry, Millis, sign, verify_genesis};

    use super::*;
    use crate::store::shared::{Changes, Listing, Put};

    /// Whoever writes to etcd again and again is told of again and again, and fills no memory.
    #[test]
    fn what_was_told_is_remembered_within_bounds() {
        let key = SecretKey::from_seed(Zeroizing::new([7; 32])).unwrap();
        let genesis = Entry {
            seq: 0,
            prev: Hash::ZERO,
            time: Millis(1),
            author: Author::Cluster,
            change: Change::Genesis {
                cluster: "test".to_owned(),
                database: "main".to_owned(),
                key: key.public(),
            },
        };
        let genesis = sign(&genesis, &key).unwrap();
        let (state, _) = verify_genesis(&genesis, &key.public()).unwrap();
        let mut replica = Replica::new(Arc::new(state), vec![Hash::of(&genesis)], 0);
        replica.listing(Listing {
            revision: 1,
            cells: Vec::new(),
        });
        let most = u64::try_from(MAX_TOLD).unwrap();
        let mut alarms = 0;
        for revision in 2..most + 1000 {
            let put = Put {
                value: b"garbage".to_vec(),
                version: revision,
            };
            let keys = vec![(Key::Head, Some(put))];
            let changes = Changes { revision, keys };
            alarms += replica
                .changes(changes, revision, &|_, _| false)
                .alarms
                .len();
        }
        assert!(alarms > MAX_TOLD, "{alarms}");
        assert!(replica.alarms.told.len() <= MAX_TOLD);
    }
}
