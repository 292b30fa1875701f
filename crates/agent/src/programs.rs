//! The programs that we run. As root we run none that somebody else could have put there: none that a `PATH`
//! names, and none in a place that others may write. Each runs with an environment of its own.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;

/// The oldest PostgreSQL whose views can run with the rights of who reads them.
pub(crate) const OLDEST_VERSION: u32 = 15;

/// Where the system's administrator puts programs.
const PLACES: [&str; 7] = [
    "/usr/bin",
    "/bin",
    "/usr/sbin",
    "/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/opt/etcd",
];

/// The fixed places, and behind them, where we are not root, those of `PATH`.
fn places() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = PLACES.map(PathBuf::from).to_vec();
    if !rustix::process::geteuid().is_root()
        && let Some(path) = std::env::var_os("PATH")
    {
        places.extend(std::env::split_paths(&path));
    }
    places
}

/// The first program of this name that may be run; none if there is none at all.
pub(crate) fn find(name: &str) -> Result<Option<PathBuf>, Error> {
    let mut refused = None;
    for path in places().into_iter().map(|place| place.join(name)) {
        if path.is_file() {
            match check(&path) {
                Ok(_) => return Ok(Some(path)),
                Err(error) => refused = Some(error),
            }
        }
    }
    refused.map_or(Ok(None), Err)
}

/// A command that runs the program with nothing of our environment, in the root directory.
pub(crate) fn command(program: &Path) -> Result<Command, Error> {
    let mut command = Command::new(check(program)?);
    command
        .arg0(program)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/");
    Ok(command)
}

/// Where the program really is; as root, only if root alone may change what is there.
fn check(program: &Path) -> Result<PathBuf, Error> {
    let real = std::fs::canonicalize(program).map_err(Error::file("find", program))?;
    if !rustix::process::geteuid().is_root() {
        return Ok(real);
    }
    for place in real.ancestors() {
        let found = std::fs::metadata(place).map_err(Error::file("look at", place))?;
        let mode = found.mode();
        let by_group = mode & 0o020 != 0 && found.gid() != 0;
        // In a directory like /tmp what is root's stays root's.
        let open = (by_group || mode & 0o002 != 0) && mode & 0o1000 == 0;
        if found.uid() != 0 || open {
            return Err(Error::OpenProgram {
                program: program.to_owned(),
                place: place.to_owned(),
            });
        }
    }
    Ok(real)
}

/// The directory of PostgreSQL's server programs, and their major version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Programs {
    pub(crate) directory: PathBuf,
    pub(crate) version: u32,
}

impl Programs {
    /// The configured directory, else the newest that distributions install, else the usual places.
    pub(crate) fn find(configured: Option<&Path>) -> Result<Self, Error> {
        let candidates = match configured {
            Some(directory) => vec![directory.to_owned()],
            None => installed(),
        };
        let (mut too_old, mut refused) = (None, None);
        for directory in candidates {
            if !directory.join("initdb").is_file() {
                continue;
            }
            let found = Self {
                directory,
                version: 0,
            };
            match found.version() {
                Ok(Some(version)) if version >= OLDEST_VERSION => {
                    return Ok(Self { version, ..found });
                }
                Ok(Some(version)) => too_old = Some(version),
                Ok(None) => {}
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or(Error::NoPrograms { too_old }))
    }

    pub(crate) fn command(&self, program: &str) -> Result<Command, Error> {
        command(&self.directory.join(program))
    }

    fn version(&self) -> Result<Option<u32>, Error> {
        let answer = self.command("postgres")?.arg("--version").output();
        Ok(answer.ok().and_then(|answer| version_in(&answer.stdout)))
    }
}

/// The newest version first.
fn installed() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (parent, prefix) in [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")] {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let version = name.to_str().and_then(|name| name.strip_prefix(prefix));
            if let Some(version) = version.and_then(|version| version.parse::<u32>().ok()) {
                found.push((version, entry.path().join("bin")));
            }
        }
    }
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    let mut directories: Vec<PathBuf> = found.into_iter().map(|(_, path)| path).collect();
    directories.push(PathBuf::from("/usr/local/pgsql/bin"));
    directories.extend(places());
    directories
}

fn version_in(said: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(said).ok()?;
    let number = text
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    number
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    /// A directory with a program `initdb` and `postgres` that says it is version 15.
    fn planted() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in ["initdb", "postgres"] {
            let path = dir.path().join(name);
            std::fs::write(&path, "#!/bin/sh\necho postgres 15.0; env\n").unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        dir
    }

    #[test]
    fn a_program_that_others_may_change_is_not_run_as_root() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not root: this was not tried");
            return;
        }
        let dir = planted();
        let program = dir.path().join("postgres");
        Programs::find(Some(dir.path())).unwrap();
        let link = tempfile::tempdir().unwrap();
        let linked = link.path().join("postgres");
        symlink(&program, &linked).unwrap();
        command(&linked).unwrap();
        for place in [&*program, dir.path()] {
            let was = std::fs::metadata(place).unwrap().permissions();
            for mode in [0o757, 0o777] {
                std::fs::set_permissions(place, PermissionsExt::from_mode(mode)).unwrap();
                let told = Programs::find(Some(dir.path())).unwrap_err();
                assert!(matches!(told, Error::OpenProgram { .. }), "{told}");
                assert!(told.to_string().contains("chmod go-w"), "{told}");
                command(&linked).unwrap_err();
            }
            std::fs::set_permissions(place, was).unwrap();
            chown(place, Some(64_999), None).unwrap();
            let told = Programs::find(Some(dir.path())).unwrap_err();
            assert!(matches!(told, Error::OpenProgram { .. }), "{told}");
            chown(place, Some(0), None).unwrap();
        }
        Programs::find(Some(dir.path())).unwrap();
    }

    #[test]
    fn a_program_gets_nothing_of_our_environment() {
        let dir = planted();
        let mut postgres = command(&dir.path().join("postgres")).unwrap();
        let told = String::from_utf8(postgres.output().unwrap().stdout).unwrap();
        let names: Vec<&str> = told
            .lines()
            .filter_map(|line| line.split_once('=').map(|(name, _)| name))
            .filter(|name| !matches!(*name, "PWD" | "_" | "SHLVL" | "OLDPWD"))
            .collect();
        assert_eq!(names, ["PATH"], "{told}");
    }

    #[test]
    fn programs_of_the_system_are_found() {
        assert!(find("id").unwrap().is_some());
        assert!(find("no-such-program").unwrap().is_none());
        assert!(Programs::find(None).unwrap().version >= OLDEST_VERSION);
    }

    #[test]
    fn the_version_is_read() {
        assert_eq!(
            version_in(b"postgres (PostgreSQL) 15.18 (Debian 15.18-0)\n"),
            Some(15)
        );
        assert_eq!(version_in(b"postgres (PostgreSQL) 19devel\n"), Some(19));
        assert_eq!(version_in(b"hello"), None);
    }
}
