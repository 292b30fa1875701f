//! What can go wrong in a test's own scaffolding.

use std::io;
use std::path::PathBuf;

/// A component under test could not be started, reached or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is on this machine neither in `PATH` nor where Debian and others put it.
    #[error("can't find the program `{program}` in PATH or {searched}: install PostgreSQL")]
    ProgramMissing {
        /// The program's name.
        program: String,
        /// The directories that were looked at besides `PATH`.
        searched: &'static str,
    },
    /// We are root, and there is no OS user to run the server as.
    #[error("can't run PostgreSQL as root, and there is no OS user `{name}`: {reason}")]
    NoServerUser {
        /// The user that was looked for.
        name: &'static str,
        /// What `id` answered.
        reason: String,
    },
    /// A file or directory operation failed.
    #[error("can't {operation} {}", path.display())]
    File {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A directory that must be ours belongs to another user.
    #[error("{} belongs to uid {owner}, not to us: remove it or set TMPDIR", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
    },
    /// A program could not be run at all.
    #[error("can't run `{program}`")]
    Spawn {
        /// The program.
        program: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A program ran and failed.
    #[error("`{program}` failed ({status}): {output}")]
    Failed {
        /// The program.
        program: String,
        /// Its exit status.
        status: String,
        /// What it wrote to standard error.
        output: String,
    },
    /// The server ended or did not come up; the log says why.
    #[error("PostgreSQL did not start: {reason}\n{log}")]
    NotReady {
        /// Ended, or silent for too long.
        reason: &'static str,
        /// The server's log so far.
        log: String,
    },
    /// A program of etcd is not in `PATH`.
    #[error("can't find the program `{program}` in PATH: install etcd-server and etcd-client")]
    EtcdMissing {
        /// The program's name.
        program: String,
    },
    /// An etcd ended or did not come up; the log says why.
    #[error("etcd did not start\n{log}")]
    EtcdNotReady {
        /// The members' logs so far.
        log: String,
    },
    /// No port could be reserved.
    #[error("no free loopback port between {first} and {last}")]
    NoPort {
        /// The first port tried.
        first: u16,
        /// The last port tried.
        last: u16,
    },
    /// A server of the test's own can't listen on loopback.
    #[error("can't listen on loopback")]
    Listen(#[source] io::Error),
    /// A server of the test's own can't speak TLS.
    #[error("can't speak TLS: {0}")]
    Tls(String),
    /// The awaited did not happen in time.
    #[error("waited {milliseconds} ms in vain for {what}")]
    TimedOut {
        /// What was awaited.
        what: String,
        /// For how long.
        milliseconds: u128,
    },
}

impl Error {
    /// Names the operation and the path of a failed file operation.
    pub(crate) fn file(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            operation,
            path,
            source,
        }
    }

    /// Names the program that could not be run.
    pub(crate) fn spawn(program: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let program = program.into();
        move |source| Self::Spawn { program, source }
    }
}
