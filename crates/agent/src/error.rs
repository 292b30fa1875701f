//! What can go wrong, each with what to do about it.

use std::path::{Path, PathBuf};

/// An operation of the agent failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// PostgreSQL is not installed, or too old.
    #[error(
        "no PostgreSQL 15 or newer was found{}; install it: sudo apt-get install -y postgresql",
        too_old.map(|version| format!(" (version {version} is too old)")).unwrap_or_default()
    )]
    NoPrograms {
        /// The version that was found, if any.
        too_old: Option<u32>,
    },
    /// The OS user to run the server as does not exist.
    #[error(
        "there is no OS user `{name}` to run servers as; make it: adduser --system --group {name}"
    )]
    NoOsUser {
        /// Its name.
        name: String,
    },
    /// Only root can run the server as another user.
    #[error(
        "running PostgreSQL as `{name}` needs root; leave postgres.os_user out, or start as root"
    )]
    NotRoot {
        /// The user's name.
        name: String,
    },
    /// A directory on the way is closed to the server's user.
    #[error("the OS user `{user}` that runs the server can't pass {}; use a directory elsewhere, or: chmod o+x {}", path.display(), path.display())]
    Unreachable {
        /// The closed directory.
        path: PathBuf,
        /// The server's user.
        user: String,
    },
    /// The server's user could lead the daemon astray in its directory.
    #[error("the OS user `{user}` may change {}, below which the daemon writes as root; use a directory elsewhere, or say: chown root {} && chmod go-w {}", path.display(), path.display(), path.display())]
    Theirs {
        /// The directory.
        path: PathBuf,
        /// The server's user.
        user: String,
    },
    /// A program that somebody else than root may change.
    #[error("{} is not run as root, because others than root may change {}; say: chown root {} && chmod go-w {}", program.display(), place.display(), place.display(), place.display())]
    OpenProgram {
        /// The program.
        program: PathBuf,
        /// What others may change: the program itself or a directory above it.
        place: PathBuf,
    },
    /// The directory is not empty and no PostgreSQL data directory.
    #[error("{} has files and is no PostgreSQL data directory; name an empty directory", path.display())]
    ForeignDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// The data directory belongs to another OS user.
    #[error("{} belongs to the OS user number {owner}, not to `{user}`; use your own directory, or: chown -R {user} {}", path.display(), path.display())]
    WrongOwner {
        /// The directory.
        path: PathBuf,
        /// Who it belongs to.
        owner: u32,
        /// Who it should belong to.
        user: String,
    },
    /// The data directory was made by another major version.
    #[error("{} is of PostgreSQL {found}, but PostgreSQL {installed} is installed; install it (sudo apt-get install -y postgresql-{found}) or upgrade the data with pg_upgrade", path.display())]
    WrongVersion {
        /// The directory.
        path: PathBuf,
        /// Its version.
        found: String,
        /// The installed version.
        installed: u32,
    },
    /// A unix socket's path has at most 107 bytes.
    #[error("the socket path {} is longer than the 107 bytes that the system allows; use a shorter directory", path.display())]
    LongSocketPath {
        /// The path.
        path: PathBuf,
    },
    /// Something listens on the port.
    #[error(
        "port {port} of {address} is in use; stop what listens there (ss -ltnp 'sport = :{port}'), or choose another port"
    )]
    PortInUse {
        /// The port.
        port: u16,
        /// The address.
        address: String,
    },
    /// No space is left.
    #[error("the disk of {} is full; free some space and start again", path.display())]
    DiskFull {
        /// Where.
        path: PathBuf,
    },
    /// A program ended with an error.
    #[error("{program} failed: {output}")]
    Program {
        /// The program.
        program: String,
        /// What it said.
        output: String,
    },
    /// The server did not come up.
    #[error("PostgreSQL does not start: {reason}; its log is {}", log.display())]
    NotReady {
        /// The last words of its log.
        reason: String,
        /// Its log.
        log: PathBuf,
    },
    /// The server runs and does not stop.
    #[error("PostgreSQL (process {pid}) does not stop")]
    NotStopped {
        /// Its process id.
        pid: i32,
    },
    /// An operation on a file failed.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// PostgreSQL refused a statement, or the connection broke.
    #[error("PostgreSQL: cannot {action}: {}", describe(source))]
    Sql {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: tokio_postgres::Error,
    },
    /// PostgreSQL refuses a file that was compiled for it; the old one is in place.
    #[error("PostgreSQL refuses the compiled {file}: {reason}; the old one stays in force")]
    RefusedFile {
        /// Which file.
        file: &'static str,
        /// What it said.
        reason: String,
    },
    /// PostgreSQL did not take up new files; the old ones are in place.
    #[error(
        "PostgreSQL did not reload its configuration within {seconds} s; the old files are back"
    )]
    NotReloaded {
        /// How long we waited.
        seconds: u64,
    },
    /// Another plan was executed since this one was made.
    #[error(
        "the plan was made for generation {made_for} and the server is at {found}: observe again"
    )]
    Stale {
        /// The generation that the plan was made for.
        made_for: i64,
        /// The server's.
        found: i64,
    },
}

impl Error {
    /// For `map_err`: an operation on a file; a full disk has its own variant.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path }
            }
            _ => Self::File {
                action,
                path,
                source,
            },
        }
    }

    /// For `map_err`: a statement or connection.
    pub(crate) fn sql(action: &'static str) -> impl FnOnce(tokio_postgres::Error) -> Self {
        move |source| Self::Sql { action, source }
    }

    /// Whether the same may well succeed when tried again on fresh observations: an object went
    /// away meanwhile, a lock was not to be had, or another plan came first.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        const PASSING: [&str; 7] = [
            "40001", "40P01", "42704", "42P01", "3F000", "55P03", "XX000",
        ];
        match self {
            Self::Stale { .. } => true,
            Self::Sql { source, .. } => source
                .code()
                .is_some_and(|code| PASSING.contains(&code.code())),
            _ => false,
        }
    }
}

fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(told) => format!("{} ({})", told.message(), told.code().code()),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}
