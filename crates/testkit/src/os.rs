//! The machine: where PostgreSQL's programs are, and which OS user may run its server.

use crate::Error;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where distributions put the server programs that are not in `PATH` (Debian's by version).
const SEARCHED: &str = "/usr/lib/postgresql/*/bin, /usr/pgsql-*/bin, /usr/local/pgsql/bin";

/// The user that Debian's and Red Hat's packages make for the server.
const SERVER_USER: &str = "postgres";

/// An OS user by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OsUser {
    /// The user's number.
    pub uid: u32,
    /// The number of its primary group.
    pub gid: u32,
}

impl OsUser {
    /// Makes `command` run as this user.
    pub fn runs(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }
}

/// The OS user that servers must run as: `postgres` when we are root (PostgreSQL refuses root),
/// else nobody but ourselves.
pub fn server_user() -> Result<Option<OsUser>, Error> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let uid = id("-u")?;
    let gid = id("-g")?;
    Ok(Some(OsUser { uid, gid }))
}

/// Asks the name service, not only /etc/passwd.
fn id(option: &str) -> Result<u32, Error> {
    let answer = Command::new("id")
        .args([option, SERVER_USER])
        .output()
        .map_err(Error::spawn("id"))?;
    let text = String::from_utf8_lossy(&answer.stdout);
    text.trim().parse().map_err(|_| Error::NoServerUser {
        name: SERVER_USER,
        reason: String::from_utf8_lossy(&answer.stderr).trim().to_owned(),
    })
}

/// Finds a PostgreSQL program: the newest version's directory first, then `PATH`, so that the
/// wrappers of Debian's postgresql-common don't stand in for the real `psql`.
pub fn find_program(program: &str) -> Result<PathBuf, Error> {
    let mut directories = versioned(Path::new("/usr/lib/postgresql"), "", "bin");
    directories.extend(versioned(Path::new("/usr"), "pgsql-", "bin"));
    directories.push(PathBuf::from("/usr/local/pgsql/bin"));
    if let Some(path) = std::env::var_os("PATH") {
        directories.extend(std::env::split_paths(&path));
    }
    directories
        .into_iter()
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| Error::ProgramMissing {
            program: program.to_owned(),
            searched: SEARCHED,
        })
}

/// `parent/<prefix><number>/<below>` for every number there is, the greatest first.
fn versioned(parent: &Path, prefix: &str, below: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((version, entry.path().join(below)))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, directory)| directory).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_comes_first() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["9", "15", "common", "17"] {
            std::fs::create_dir(parent.path().join(name)).unwrap();
        }
        let found = versioned(parent.path(), "", "bin");
        let expected: Vec<_> = ["17", "15", "9"]
            .iter()
            .map(|v| parent.path().join(v).join("bin"))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = find_program("no-such-program").unwrap_err().to_string();
        assert!(error.contains("`no-such-program`"), "{error}");
    }
}
