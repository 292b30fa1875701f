//! What the node notes about a shared store beside its own: up to which revision it has heard
//! everything. An old note is right, too; it only makes the next start read more history.

use std::path::{Path, PathBuf};

use crate::files;

/// A note in a file.
pub(super) struct Note {
    path: PathBuf,
    /// etcd's id of the cluster, and its revision.
    pub(super) cluster_id: u64,
    pub(super) revision: u64,
    /// The ledger's entry that named the store then.
    entry: u64,
}

impl Note {
    /// The note in `dir`; one that can't be read says nothing.
    pub(super) fn read(dir: &Path) -> Self {
        let path = dir.join("ledger.watched");
        let text = files::read_private(&path);
        let numbers = text.ok().and_then(|text| {
            let mut numbers = text.split_whitespace().map(str::parse);
            let mut next = || numbers.next()?.ok();
            Some((next()?, next()?, next()?))
        });
        let (cluster_id, revision, entry) = numbers.unwrap_or_default();
        Self {
            path,
            cluster_id,
            revision,
            entry,
        }
    }

    /// The entry under which the ledger was shared, if it was.
    pub(super) fn entry(&self) -> Option<u64> {
        (self.cluster_id != 0).then_some(self.entry)
    }

    /// The ledger is no longer shared.
    pub(super) fn remove(&self) {
        if self.cluster_id != 0
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(%error, "the note on the ledger's store could not be removed");
        }
    }

    /// The revision, if it is that cluster's.
    pub(super) fn of(&self, cluster_id: u64) -> u64 {
        if self.cluster_id == cluster_id {
            self.revision
        } else {
            0
        }
    }

    /// Notes a revision, if it is another one.
    pub(super) fn write(&mut self, cluster_id: u64, revision: u64, entry: u64) {
        let now = (cluster_id, revision, entry);
        if revision == 0 || (self.cluster_id, self.revision, self.entry) == now {
            return;
        }
        (self.cluster_id, self.revision, self.entry) = now;
        let line = format!("{cluster_id} {revision} {entry}\n");
        if let Err(error) = files::write_private(&self.path, line.as_bytes()) {
            tracing::warn!(%error, "the store's revision could not be noted");
        }
    }
}
