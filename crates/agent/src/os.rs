//! The machine: PostgreSQL's programs, processes, OS users, and files that belong to another user.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::time::{Instant, sleep};

use crate::error::Error;

/// The oldest PostgreSQL whose views can run with the rights of who reads them.
pub(crate) const OLDEST_VERSION: u32 = 15;

/// Between two looks at a process that is not our child.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// An OS user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OsUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) name: String,
}

impl OsUser {
    /// The user of this name, asked of the name service.
    pub(crate) fn named(name: &str) -> Result<Self, Error> {
        let number = |option: &str| id(&[option, name]).and_then(|text| text.parse().ok());
        match (number("-u"), number("-g")) {
            (Some(uid), Some(gid)) => Ok(Self {
                uid,
                gid,
                name: name.to_owned(),
            }),
            _ => Err(Error::NoOsUser {
                name: name.to_owned(),
            }),
        }
    }

    /// Makes a command run as this user, if it isn't our own.
    pub(crate) fn runs(&self, command: &mut Command) {
        if rustix::process::geteuid().is_root() {
            command.uid(self.uid).gid(self.gid);
        }
    }
}

/// The name of the user that we run as.
pub(crate) fn own_name() -> Result<String, Error> {
    id(&["-un"]).ok_or_else(|| Error::NoOsUser {
        name: rustix::process::geteuid().as_raw().to_string(),
    })
}

/// Who the server runs as: a configured user, `postgres` when we are root, else ourselves.
pub(crate) fn server_user(configured: Option<&str>) -> Result<OsUser, Error> {
    let own = own_name()?;
    let root = rustix::process::geteuid().is_root();
    match configured {
        Some(name) if name != own && !root => Err(Error::NotRoot {
            name: name.to_owned(),
        }),
        Some(name) => OsUser::named(name),
        None if root => OsUser::named("postgres"),
        None => OsUser::named(&own),
    }
}

/// Who etcd runs as: when we are root `etcd`, which its package makes, or PostgreSQL's user; else ourselves.
pub(crate) fn store_user(postgres: Option<&str>) -> Result<OsUser, Error> {
    if !rustix::process::geteuid().is_root() {
        return OsUser::named(&own_name()?);
    }
    OsUser::named("etcd").or_else(|_| server_user(postgres))
}

fn id(arguments: &[&str]) -> Option<String> {
    let answer = Command::new("id").args(arguments).output().ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    (answer.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

/// A server that a killed daemon may have left.
pub(crate) struct Leftover<'a> {
    /// For people.
    pub(crate) program: &'static str,
    /// Its process id as it was written down; nothing, or no number: there is none.
    pub(crate) number: &'a str,
    /// Where it works.
    pub(crate) directory: &'a Path,
    /// What asks it to end, and what makes it.
    pub(crate) signals: [Signal; 2],
    /// How long it may take after each.
    pub(crate) within: Duration,
}

impl Leftover<'_> {
    /// Ends it; else returns its number.
    pub(crate) async fn end(&self) -> Result<(), i32> {
        let Some(pid) = self.number.trim().parse().ok().and_then(Pid::from_raw) else {
            return Ok(());
        };
        let number = pid.as_raw_nonzero().get();
        // The number may be another process's by now: only one that works in this directory is ours.
        let works_in = std::fs::read_link(format!("/proc/{number}/cwd"));
        let (Ok(works_in), Ok(own)) = (works_in, std::fs::canonicalize(self.directory)) else {
            return Ok(());
        };
        if works_in != own || pid == rustix::process::getpid() {
            return Ok(());
        }
        let program = self.program;
        tracing::warn!(
            pid = number,
            "{program} of an earlier daemon still runs: stopping it"
        );
        for signal in self.signals {
            kill_process(pid, signal).ok();
            let until = Instant::now() + self.within;
            while Instant::now() < until {
                if test_kill_process(pid).is_err() {
                    return Ok(());
                }
                sleep(LOOK_EVERY).await;
            }
        }
        Err(number)
    }
}

/// The directory of PostgreSQL's server programs, and their major version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Programs {
    pub(crate) directory: PathBuf,
    pub(crate) version: u32,
}

impl Programs {
    /// The configured directory, else the newest that distributions install, else `PATH`.
    pub(crate) fn find(configured: Option<&Path>) -> Result<Self, Error> {
        let candidates = match configured {
            Some(directory) => vec![directory.to_owned()],
            None => installed(),
        };
        let mut too_old = None;
        for directory in candidates {
            if !directory.join("initdb").is_file() {
                continue;
            }
            match version_of(&directory.join("postgres")) {
                Some(version) if version >= OLDEST_VERSION => {
                    return Ok(Self { directory, version });
                }
                Some(version) => too_old = Some(version),
                None => {}
            }
        }
        Err(Error::NoPrograms { too_old })
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        Command::new(self.directory.join(program))
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
    if let Some(path) = std::env::var_os("PATH") {
        directories.extend(std::env::split_paths(&path));
    }
    directories
}

fn version_of(postgres: &Path) -> Option<u32> {
    let answer = Command::new(postgres).arg("--version").output().ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    let number = text
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    number
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// Makes a directory of mode 0700 that belongs to `user`, with its parents.
pub(crate) fn make_private(path: &Path, user: &OsUser) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(Error::file("make", path))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
        .map_err(Error::file("set the mode of", path))?;
    give(path, user)
}

/// Hands a path to a user; no effect when it has it.
pub(crate) fn give(path: &Path, user: &OsUser) -> Result<(), Error> {
    let found = std::fs::metadata(path).map_err(Error::file("look at", path))?;
    if found.uid() == user.uid {
        return Ok(());
    }
    std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid))
        .map_err(Error::file("change the owner of", path))
}

/// Can this user get to the directory? PostgreSQL's own message for it names the wrong thing.
pub(crate) fn check_reachable(path: &Path, user: &OsUser) -> Result<(), Error> {
    for above in path.ancestors().skip(1) {
        let Ok(found) = std::fs::metadata(above) else {
            continue;
        };
        let bit = if found.uid() == user.uid {
            0o100
        } else if found.gid() == user.gid {
            0o010
        } else {
            0o001
        };
        if user.uid != 0 && found.mode() & bit == 0 {
            return Err(Error::Unreachable {
                path: above.to_owned(),
                user: user.name.clone(),
            });
        }
    }
    Ok(())
}

/// Replaces a file at once: whoever reads it sees the old or the new contents, and they
/// survive a power cut. Its mode is 0600.
pub(crate) fn replace(path: &Path, contents: impl AsRef<[u8]>, user: &OsUser) -> Result<(), Error> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let failed = || Error::file("write", path);
    let mut file = tempfile::NamedTempFile::new_in(parent).map_err(failed())?;
    // By its descriptor: where the directory is the user's, the name may be something else by now.
    let owner = file.as_file().metadata().map_err(failed())?.uid();
    if owner != user.uid {
        std::os::unix::fs::fchown(file.as_file(), Some(user.uid), Some(user.gid))
            .map_err(Error::file("change the owner of", path))?;
    }
    file.write_all(contents.as_ref()).map_err(failed())?;
    file.as_file().sync_all().map_err(failed())?;
    file.persist(path).map_err(|error| failed()(error.error))?;
    let directory = std::fs::File::open(parent).map_err(failed())?;
    directory.sync_all().map_err(failed())
}
