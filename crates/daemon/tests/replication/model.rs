//! A model of etcd: revisions, transactions, history, compaction.

use std::collections::BTreeMap;

use palisade_daemon::store::shared::{Cell, Changes, Key, Listing, Outcome, Put, Transaction};

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) revision: u64,
    /// Value, revision and version.
    pub(crate) cells: BTreeMap<Key, (Vec<u8>, u64, u64)>,
    pub(crate) history: Vec<Changes>,
    pub(crate) compacted: u64,
}

impl Model {
    pub(crate) fn transact(&mut self, transaction: &Transaction) -> Outcome {
        let holds = transaction.guards.iter().all(|(key, revision)| {
            let at = self.cells.get(key).map_or(0, |(_, at, _)| *at);
            at == *revision
        });
        if !holds {
            return Outcome::Conflict;
        }
        self.write(transaction.writes.clone());
        Outcome::Committed(self.revision)
    }

    /// Writes without asking.
    pub(crate) fn write(&mut self, writes: Vec<(Key, Option<Vec<u8>>)>) {
        self.revision += 1;
        let mut keys = Vec::new();
        for (key, value) in writes {
            let put = match value {
                Some(value) => {
                    let version = self.cells.get(&key).map_or(1, |(_, _, last)| last + 1);
                    let cell = (value.clone(), self.revision, version);
                    self.cells.insert(key.clone(), cell);
                    Some(Put { value, version })
                }
                None if self.cells.remove(&key).is_none() => continue,
                None => None,
            };
            keys.push((key, put));
        }
        self.history.push(Changes {
            revision: self.revision,
            keys,
        });
    }

    pub(crate) fn listing(&self) -> Listing {
        let cells = self
            .cells
            .iter()
            .map(|(key, (value, revision, version))| Cell {
                key: key.clone(),
                value: value.clone(),
                revision: *revision,
                version: *version,
            });
        Listing {
            revision: self.revision,
            cells: cells.collect(),
        }
    }

    /// The first changes behind `revision`; `Err` if they are compacted away.
    pub(crate) fn after(&self, revision: u64) -> Result<Option<Changes>, ()> {
        if revision < self.compacted {
            return Err(());
        }
        let next = self.history.iter().find(|one| one.revision > revision);
        Ok(next.cloned())
    }

    pub(crate) fn compact(&mut self, revision: u64) {
        self.compacted = self.compacted.max(revision);
    }
}
