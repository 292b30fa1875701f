//! The embedded store: the ledger's signed entries in redb, and beside it the head seen last.
//!
//! The store takes [`Verified`] entries alone, and an append is durable when it returns. The head
//! seen last lies in a file of its own, so that a store put back from a backup is noticed.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use palisade_ledger::{Continuity, Hash, Head, Verified, continuity};
use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::files::{self, FileError};

const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");

/// The file of the head seen last.
const HEAD: &str = "ledger.head";

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file beside the database.
    #[error(transparent)]
    File(#[from] FileError),
    /// The database was written by a version of another major format.
    #[error(
        "{} has an older format; export the ledger with the version that wrote it \
         (palisade ledger export), and import it here", .0.display()
    )]
    OldFormat(PathBuf),
    /// Another process has it open.
    #[error("{} is open in another process: this cluster runs already (palisade status)", .0.display())]
    InUse(PathBuf),
    /// The database failed.
    #[error("the ledger at {} can't be {what}: {source}", path.display())]
    Database {
        /// `opened`, `read`, `written`.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What redb said.
        source: Box<redb::Error>,
    },
    /// The first entry makes the store a cluster's.
    #[error("the first entry of a ledger is not taken out")]
    Genesis,
    /// There is an entry of that number; entries are never replaced.
    #[error("the store has an entry {0} already")]
    Occupied(u64),
    /// The store shows another chain than the one seen last.
    #[error("{}", describe(.0))]
    Discontinued(Continuity),
    /// The file of the head seen last can't be read.
    #[error("{} is damaged: it holds the head seen last, as \"NUMBER HASH\"", .0.display())]
    HeadFile(PathBuf),
}

fn describe(continuity: &Continuity) -> String {
    match continuity {
        Continuity::Continues => "the ledger continues".to_owned(),
        Continuity::RolledBack { seen, shown } => format!(
            "the ledger was turned back: this node has seen entry {}, the store ends with {}; \
             nothing of it is applied. Put the longer ledger back (palisade ledger import)",
            seen.seq,
            shown.map_or_else(
                || "nothing".to_owned(),
                |head| format!("entry {}", head.seq)
            ),
        ),
        Continuity::Forked { seen, shown } => format!(
            "the ledger was forked: entry {} had the hash {}, the store shows {shown} in its place; \
             nothing of it is applied. Somebody rewrote the store: put the true ledger back",
            seen.seq, seen.hash
        ),
    }
}

/// The embedded store.
pub struct Store {
    /// None after an error of the disk, when the file could not be opened anew yet.
    database: RwLock<Option<Database>>,
    path: PathBuf,
    head_path: PathBuf,
}

impl Store {
    /// Opens or makes the store in `dir`: `ledger.redb` and `ledger.head`, both of mode 0600.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("ledger.redb");
        Ok(Self {
            database: RwLock::new(Some(open(&path)?)),
            head_path: dir.join(HEAD),
            path,
        })
    }

    /// Works on the database. After one error of the disk redb refuses everything until its file is
    /// opened anew; a disk that was full for a moment must not stop the ledger for good.
    fn with<T>(&self, work: impl Fn(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let tried = {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            database.as_ref().map(&work)
        };
        match tried {
            Some(Err(StoreError::Database { source, .. }))
                if matches!(*source, redb::Error::PreviousIo) => {}
            Some(done) => return done,
            None => {}
        }
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // The old one holds the file's lock.
        *database = None;
        let fresh = open(&self.path)?;
        tracing::info!("the ledger's file was opened anew after an error of the disk");
        work(database.insert(fresh))
    }

    /// The directory that it lies in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// The entries from number `from` on, at most `most` of them, in their order.
    pub fn entries(&self, from: u64, most: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        self.with(|database| self.read_entries(database, from, most))
    }

    fn read_entries(
        &self,
        database: &Database,
        from: u64,
        most: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let read = database.begin_read().map_err(failed("read", &self.path))?;
        let table = match read.open_table(ENTRIES) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(failed("read", &self.path)(error)),
        };
        let range = table.range(from..).map_err(failed("read", &self.path))?;
        range
            .take(most)
            .map(|row| {
                let (_, bytes) = row.map_err(failed("read", &self.path))?;
                Ok(bytes.value().to_vec())
            })
            .collect()
    }

    /// Appends entries, all or none. They are durable when this returns.
    pub fn append(&self, entries: &[Verified]) -> Result<(), StoreError> {
        let Some(last) = entries.last() else {
            return Ok(());
        };
        self.with(|database| self.write_entries(database, entries))?;
        // The entries are durable: a head that can't be noted weakens only the next start's check.
        if let Err(error) = self.remember(last.head()) {
            tracing::error!(%error, "the head of the ledger could not be noted");
        }
        Ok(())
    }

    fn write_entries(&self, database: &Database, entries: &[Verified]) -> Result<(), StoreError> {
        let mut write = database
            .begin_write()
            .map_err(failed("written", &self.path))?;
        // Also closes redb's documented window for a partial commit after a crash.
        write.set_quick_repair(true);
        {
            let mut table = write
                .open_table(ENTRIES)
                .map_err(failed("written", &self.path))?;
            for entry in entries {
                let seq = entry.head().seq;
                let before = table
                    .insert(seq, entry.bytes())
                    .map_err(failed("written", &self.path))?;
                if before.is_some() {
                    return Err(StoreError::Occupied(seq));
                }
            }
        }
        write.commit().map_err(failed("written", &self.path))
    }

    /// Takes the entries from number `from` on out, for good: a human decided that another chain is the
    /// cluster's. The head seen last is set back before: a crash in between leaves a store that opens, with
    /// all its entries.
    pub fn cut(&self, from: u64) -> Result<(), StoreError> {
        let before = from.checked_sub(1).ok_or(StoreError::Genesis)?;
        let Some(last) = self.entries(before, 1)?.pop() else {
            return Ok(());
        };
        let hash = Hash::of(&last);
        self.remember(Head { seq: before, hash })?;
        self.with(|database| self.remove_entries(database, from))
    }

    fn remove_entries(&self, database: &Database, from: u64) -> Result<(), StoreError> {
        let mut write = database
            .begin_write()
            .map_err(failed("written", &self.path))?;
        write.set_quick_repair(true);
        write
            .open_table(ENTRIES)
            .map_err(failed("written", &self.path))?
            .retain_in(from.., |_, _| false)
            .map_err(failed("written", &self.path))?;
        write.commit().map_err(failed("written", &self.path))
    }

    /// Notes the head seen last.
    fn remember(&self, head: Head) -> Result<(), StoreError> {
        let line = format!("{} {}\n", head.seq, head.hash);
        Ok(files::write_private(&self.head_path, line.as_bytes())?)
    }

    /// The head seen last; none before the first entry.
    pub fn seen(&self) -> Result<Option<Head>, StoreError> {
        seen(self.directory())
    }

    /// Checks that the store still holds the head seen last.
    pub fn check_continuity(&self) -> Result<(), StoreError> {
        let Some(seen) = self.seen()? else {
            return Ok(());
        };
        let at = self.entries(seen.seq, 1)?;
        let last = self.last()?;
        match continuity(seen, last, |_| at.first().map(|bytes| Hash::of(bytes))) {
            Continuity::Continues => Ok(()),
            other => Err(StoreError::Discontinued(other)),
        }
    }

    /// The last entry that is stored.
    pub fn last(&self) -> Result<Option<Head>, StoreError> {
        self.with(|database| self.read_last(database))
    }

    fn read_last(&self, database: &Database) -> Result<Option<Head>, StoreError> {
        let read = database.begin_read().map_err(failed("read", &self.path))?;
        let Ok(table) = read.open_table(ENTRIES) else {
            return Ok(None);
        };
        let last = table.last().map_err(failed("read", &self.path))?;
        Ok(last.map(|(seq, bytes)| Head {
            seq: seq.value(),
            hash: Hash::of(bytes.value()),
        }))
    }
}

/// The head that the node with its store in `dir` has seen last; none before the first entry. The store
/// may be open.
pub fn seen(dir: &Path) -> Result<Option<Head>, StoreError> {
    let path = dir.join(HEAD);
    if !path.exists() {
        return Ok(None);
    }
    let text = files::read_private(&path)?;
    let damaged = || StoreError::HeadFile(path.clone());
    let (seq, hash) = text.trim_end().split_once(' ').ok_or_else(damaged)?;
    let seq = seq.parse().map_err(|_| damaged())?;
    let hash = parse_hash(hash).ok_or_else(damaged)?;
    Ok(Some(Head { seq, hash }))
}

/// Opens or makes the database.
fn open(path: &Path) -> Result<Database, StoreError> {
    let file = files::open_private(path)?;
    let wrong = |error| match error {
        redb::DatabaseError::UpgradeRequired(_) => StoreError::OldFormat(path.to_owned()),
        redb::DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.to_owned()),
        other => failed("opened", path)(other),
    };
    let backend = FileBackend::new(file).map_err(wrong)?;
    redb::Builder::new()
        .create_with_backend(backend)
        .map_err(wrong)
}

fn failed<E: Into<redb::Error>>(what: &'static str, path: &Path) -> impl FnOnce(E) -> StoreError {
    let path = path.to_owned();
    move |error| StoreError::Database {
        what,
        path,
        source: Box::new(error.into()),
    }
}

fn parse_hash(text: &str) -> Option<Hash> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(Hash(bytes))
}
