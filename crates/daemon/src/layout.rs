//! Where things lie in a node's data directory.
//!
//! ```text
//!   DIR/                    0755 for root (PostgreSQL's user must pass), else 0700
//!     cluster_public.key    what clients need
//!     root.crt              the same, as X.509, for psql
//!     server.crt
//!     control.sock          0600
//!     private/              0700: ledger, keys
//!     postgres/             PostgreSQL's data
//!     run/                  PostgreSQL's private socket
//! ```

use std::path::{Path, PathBuf};

use crate::files::{self, FileError};

/// The paths of one node.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout of the data directory `root`; nothing is made.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Makes the directories that are not there.
    pub fn create(&self) -> Result<(), FileError> {
        let mode = if rustix::process::geteuid().is_root() {
            0o755
        } else {
            0o700
        };
        if let Some(parent) = self.root.parent() {
            std::fs::create_dir_all(parent).map_err(|source| FileError::Io {
                what: "create",
                path: parent.to_owned(),
                source,
            })?;
        }
        files::directory(&self.root, mode)?;
        files::directory(&self.private(), 0o700)
    }

    /// The data directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether a cluster lives here.
    #[must_use]
    pub fn is_initialized(&self) -> bool {
        self.cluster_public_key().exists() && self.private().join("ledger.redb").exists()
    }

    /// What nobody else may read.
    #[must_use]
    pub fn private(&self) -> PathBuf {
        self.root.join("private")
    }

    /// The cluster's public key.
    #[must_use]
    pub fn cluster_public_key(&self) -> PathBuf {
        self.root.join("cluster_public.key")
    }

    /// The cluster's private key, where `palisade up` made it.
    #[must_use]
    pub fn cluster_private_key(&self) -> PathBuf {
        self.private().join("cluster_private.key")
    }

    /// The root's certificate.
    #[must_use]
    pub fn root_certificate(&self) -> PathBuf {
        self.root.join("root.crt")
    }

    /// The server's certificate chain.
    #[must_use]
    pub fn server_certificate(&self) -> PathBuf {
        self.root.join("server.crt")
    }

    /// The key of the server's certificate.
    #[must_use]
    pub fn server_key(&self) -> PathBuf {
        self.private().join("server.key")
    }

    pub(crate) fn issuing_certificate(&self) -> PathBuf {
        self.private().join("issuing.crt")
    }

    pub(crate) fn issuing_key(&self) -> PathBuf {
        self.private().join("issuing.key")
    }

    pub(crate) fn mock_secret(&self) -> PathBuf {
        self.private().join("mock.secret")
    }
}
