//! A user list (`users.cfg`) changed in place, without a daemon.
//!
//! What may go wrong, and what is done:
//!
//! ```text
//!   two programs add at once           a lock on the directory, and the file read under it
//!   the lock is never given back       given up after LOCK_SECONDS
//!   the file is damaged                left as it is; line and column are named
//!   a crash half way                   temporary file, fsync, rename
//!   the file is a symbolic link        the file that it leads to is changed, the link stays
//!   the link leads nowhere             refused: nothing is made at a place that a link chose
//!   owner or mode would change         kept, or refused
//! ```

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use palisade_ledger::users_cfg::{FileUser, UsersCfg};

use crate::cli::error::CliError;
use crate::cli::files::{self, Audience, Staged, Update};

/// How long another program may hold the list. Adding a user takes milliseconds.
const LOCK_SECONDS: u64 = 30;
/// How long to wait before the lock is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// A user list that nobody else changes meanwhile.
pub(super) struct LockedList {
    path: PathBuf,
    exists: bool,
    users: UsersCfg,
    /// Given back when it is closed.
    _lock: File,
}

/// A new text of the list, not yet in its place.
pub(super) enum StagedList {
    New(Staged),
    Changed(Update),
}

impl LockedList {
    /// Locks the list and reads it; one that is not there is empty.
    pub(super) fn open(path: &Path) -> Result<Self, CliError> {
        let path = follow(path)?;
        let lock = lock(files::directory_of(&path))?;
        let exists = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => true,
            Ok(_) => {
                return Err(CliError::file(format!(
                    "{} is not a regular file, and is left alone",
                    path.display()
                )));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => {
                let failure = CliError::file(format!("can't read {}", path.display()));
                return Err(failure.because(&error));
            }
        };
        let users = if exists {
            let text = files::read_text(&path, files::MAX_LIST_BYTES)?;
            UsersCfg::parse(&text).map_err(|error| {
                CliError::file(format!("{} can't be read as a user list", path.display()))
                    .because(&error)
                    .hint("the file was left as it is; mend it, or start a new one elsewhere")
            })?
        } else {
            UsersCfg::default()
        };
        Ok(Self {
            path,
            exists,
            users,
            _lock: lock,
        })
    }

    /// The users that are there.
    pub(super) fn users(&self) -> &UsersCfg {
        &self.users
    }

    /// Adds a user, and writes the new text beside the old.
    pub(super) fn stage(&mut self, user: FileUser) -> Result<StagedList, CliError> {
        add(&mut self.users, user, &self.path)?;
        let text = self.users.text();
        Ok(if self.exists {
            StagedList::Changed(files::stage_update(&self.path, text.as_bytes())?)
        } else {
            let staged = files::stage(&self.path, text.as_bytes(), Audience::Everybody, false)?;
            StagedList::New(staged)
        })
    }
}

impl StagedList {
    /// Puts the new text in its place, and the secret's file, too; or neither.
    pub(super) fn place(self, secret: Option<Staged>) -> Result<(), CliError> {
        let secret = secret.map(Staged::place).transpose()?;
        let placed = match self {
            Self::New(staged) => files::place_all(vec![staged]),
            Self::Changed(update) => update.place(),
        };
        if placed.is_err()
            && let Some(secret) = secret
        {
            secret.undo();
        }
        placed
    }
}

/// Adds a user to a list that has neither the uid nor the name.
pub(super) fn add(users: &mut UsersCfg, user: FileUser, path: &Path) -> Result<(), CliError> {
    let (uid, name) = (user.uid, user.username.clone());
    users.add(user).map_err(|_| {
        let name_taken = users.users().iter().any(|known| known.username == name);
        let taken = if name_taken {
            format!("there is already a user {name} in {}", path.display())
        } else {
            format!(
                "there is already a user with uid {uid} in {}",
                path.display()
            )
        };
        let free = users.next_uid().map_or_else(
            |_| "remove the other one first".to_owned(),
            |next| format!("the next free uid is {next}; without --uid it is taken"),
        );
        let error = CliError::no(taken);
        if name_taken { error } else { error.hint(free) }
    })
}

/// The file that a symbolic link leads to.
fn follow(path: &Path) -> Result<PathBuf, CliError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => fs::canonicalize(path).map_err(|error| {
            CliError::file(format!(
                "{} is a symbolic link that leads nowhere",
                path.display()
            ))
            .because(&error)
            .hint("name the file itself")
        }),
        Ok(_) | Err(_) => Ok(path.to_path_buf()),
    }
}

/// A lock on a directory: unlike one on the file, it outlives the file's replacement.
fn lock(directory: &Path) -> Result<File, CliError> {
    let fail = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            CliError::file(format!("there is no directory {}", directory.display()))
                .hint(files::make_directory(directory))
        }
        _ => CliError::file(format!("can't lock the directory {}", directory.display()))
            .because(&error),
    };
    let file = File::open(directory).map_err(fail)?;
    let tries = LOCK_SECONDS * 1000 / 20;
    for _ in 0..tries {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(fail(error)),
            Err(TryLockError::WouldBlock) => pause(),
        }
    }
    Err(CliError::file(format!(
        "another program has locked the directory {} for {LOCK_SECONDS} seconds",
        directory.display()
    ))
    .hint("`lsof` or `fuser` on the directory names it"))
}

fn pause() {
    #[expect(
        clippy::disallowed_methods,
        reason = "no executor runs here, and a lock can't be waited for with a limit"
    )]
    std::thread::sleep(LOCK_RETRY);
}
