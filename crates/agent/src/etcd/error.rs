//! What can go wrong with etcd, each with what to do about it.

use std::path::{Path, PathBuf};

/// An operation on the managed etcd failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdError {
    /// It is not installed.
    #[error("etcd is not installed; install it: sudo apt-get install -y etcd-server")]
    NoProgram,
    /// It is too old, or no etcd.
    #[error("{} is etcd {found}; Palisade needs 3.4 or newer: sudo apt-get install -y etcd-server", path.display())]
    TooOld {
        /// The program.
        path: PathBuf,
        /// What it says of its version.
        found: String,
    },
    /// A file or directory.
    #[error("can't {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The OS user that etcd runs as, or a directory of its own.
    #[error(transparent)]
    User(#[from] crate::error::Error),
    /// A private key that others may read.
    #[error("{} may be read by others; chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The key's file.
        path: PathBuf,
    },
    /// Something else listens there.
    #[error("{address} is in use; stop what listens there (ss -ltnp 'sport = :{}'), or set store.managed to another", address.port())]
    PortInUse {
        /// The address.
        address: std::net::SocketAddr,
    },
    /// An etcd that an earlier daemon started does not end.
    #[error("etcd of an earlier daemon, process {pid}, does not end; kill -9 {pid}")]
    NotStopped {
        /// Its process id.
        pid: i32,
    },
    /// The member was taken out of the cluster.
    #[error("this member was removed from etcd's cluster")]
    Removed,
    /// It ended before it served.
    #[error("etcd ended: {reason}")]
    Ended {
        /// The last words of its log.
        reason: String,
    },
    /// It serves nobody yet. Without a majority of its members it can't.
    #[error("etcd does not serve after {seconds} seconds: {reason}")]
    NotReady {
        /// How long was waited.
        seconds: u64,
        /// The last words of its log.
        reason: String,
    },
    /// None of the members answers.
    #[error("no member of etcd answers: {reason}")]
    Unreachable {
        /// What each said.
        reason: String,
    },
    /// A certificate or the TLS configuration.
    #[error(transparent)]
    Tls(#[from] palisade_link::tls::ConfigError),
    /// etcd refused, or did not answer in time.
    #[error("etcd did not {action}: {reason}")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// What it said.
        reason: String,
    },
}

impl EtcdError {
    /// For `map_err`: an operation on a file.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}
