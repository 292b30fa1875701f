//! The user list that a daemon follows: what it says and the ledger lacks is appended under the
//! cluster key's name, at start and whenever the file changes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use palisade_ledger::users_cfg::{UsersCfg, UsersCfgError};
use palisade_ledger::{Change, lockout};

use crate::author::{AuthorError, ClusterAuthor};
use crate::files::{self, FileError};
use crate::ledger::{AppendError, Ledger};

/// Why a user list was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum UserListError {
    /// The file can't be read.
    #[error("{0}; the daemon needs read access to the user list, and nobody else may write it")]
    File(#[from] FileError),
    /// Nothing can be appended now.
    #[error("the user list is taken in later: {0}")]
    Later(AppendError),
    /// The file's content.
    #[error("{}: {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: UsersCfgError,
    },
}

/// A followed user list.
pub struct UserList {
    path: PathBuf,
    seen: Option<String>,
}

/// What one reading did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Users that the file names.
    pub users: usize,
    /// Users that were added or changed in the ledger.
    pub appended: usize,
    /// Users whose record the ledger refused, and why.
    pub refused: Vec<String>,
    /// The names of the file's users.
    pub named: BTreeSet<String>,
    /// Users of the ledger that the file does not name.
    pub missing: Vec<String>,
}

impl UserList {
    /// Follows the file at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            seen: None,
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file; `None` if it says what it said before.
    pub async fn read(
        &mut self,
        ledger: &Ledger,
        author: &ClusterAuthor,
    ) -> Result<Option<Reading>, UserListError> {
        let text = files::read_guarded(&self.path)?;
        if self.seen.as_ref() == Some(&text) {
            return Ok(None);
        }
        let list = UsersCfg::parse(&text).map_err(|source| UserListError::Content {
            path: self.path.clone(),
            source,
        })?;
        self.seen = Some(text);
        let state = ledger.now();
        let mut reading = Reading {
            users: list.users().len(),
            named: list
                .users()
                .iter()
                .map(|user| user.username.to_string())
                .collect(),
            missing: list
                .missing(&state)
                .iter()
                .map(ToString::to_string)
                .collect(),
            refused: list
                .conflicts(&state)
                .iter()
                .map(ToString::to_string)
                .collect(),
            ..Reading::default()
        };
        for user in list.news(&state) {
            let name = user.name.clone();
            let change = Change::UserImport { user };
            // The cluster key could force what a file must not: lock every superuser out.
            if let Some(guard) = lockout(&ledger.now(), &change) {
                reading.refused.push(format!("user {name}: {guard}"));
                continue;
            }
            match author.append(ledger, change).await {
                Ok(_) => reading.appended += 1,
                Err(AuthorError::Append(
                    error @ (AppendError::NoQuorum | AppendError::Unknown),
                )) => {
                    // To be read again: what it says is still to be taken in.
                    self.seen = None;
                    return Err(UserListError::Later(error));
                }
                Err(error) => reading.refused.push(format!("user {name}: {error}")),
            }
        }
        Ok(Some(reading))
    }
}
