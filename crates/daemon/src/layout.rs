//! Where things lie in a node's data directory.
//!
//! ```text
//!   DIR/                    0755 for root (PostgreSQL's user must pass), else 0700
//!     cluster_public.key    what clients need
//!     root.crt              the same, as X.509, for psql
//!     server.crt
//!     root.crl, crl.pem     what holds no more, for PostgreSQL; issuing.crl for etcd
//!     control.sock          0600
//!     private/              0700: ledger, keys
//!       node.key, seal.key  who this node is, and what it can open
//!       *.next              the same, while it changes them
//!       told.json           which alarms humans were told of
//!       cluster.secret      where `init` made one
//!       join.secret         only while the node waits to be added
//!       etcd/               keys and certificates for etcd
//!     etcd/                 managed etcd's data
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

    /// The node's key.
    #[must_use]
    pub fn node_key(&self) -> PathBuf {
        self.private().join("node.key")
    }

    /// The key that opens what is sealed to the node.
    #[must_use]
    pub fn seal_key(&self) -> PathBuf {
        self.private().join("seal.key")
    }

    /// The cluster secret, where `palisade init` made it.
    #[must_use]
    pub fn cluster_secret(&self) -> PathBuf {
        self.private().join("cluster.secret")
    }

    /// The cluster secret of a node that waits to be added.
    #[must_use]
    pub fn join_secret(&self) -> PathBuf {
        self.private().join("join.secret")
    }

    /// Which alarms humans were told of.
    #[must_use]
    pub fn told(&self) -> PathBuf {
        self.private().join("told.json")
    }

    /// There as long as a node that joined waits for approval.
    #[must_use]
    pub fn pending(&self) -> PathBuf {
        self.private().join("join.pending")
    }

    /// Whether a node lives here that waits to be added to a cluster.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.is_initialized() && self.join_secret().exists()
    }

    /// Managed etcd's data.
    #[must_use]
    pub fn etcd_data(&self) -> PathBuf {
        self.root.join("etcd")
    }

    /// Keys and certificates for etcd.
    #[must_use]
    pub fn etcd_keys(&self) -> PathBuf {
        self.private().join("etcd")
    }

    /// The server's certificate chain that was accepted last: what PostgreSQL shows.
    #[must_use]
    pub fn serving_certificate(&self) -> PathBuf {
        self.private().join("serving.crt")
    }

    /// Its key.
    #[must_use]
    pub fn serving_key(&self) -> PathBuf {
        self.private().join("serving.key")
    }

    /// The root's revocation list.
    #[must_use]
    pub fn root_list(&self) -> PathBuf {
        self.root.join("root.crl")
    }

    /// The revocation lists of the root and of every issuing CA, for PostgreSQL's `ssl_crl_file`.
    #[must_use]
    pub fn lists(&self) -> PathBuf {
        self.root.join("crl.pem")
    }

    /// One list with every revoked serial number, for etcd's `--client-crl-file`.
    #[must_use]
    pub fn store_list(&self) -> PathBuf {
        self.root.join("issuing.crl")
    }

    /// What `palisade ca rescue` left for the next start.
    #[must_use]
    pub fn rescue(&self) -> PathBuf {
        self.private().join("rescue.entries")
    }

    pub(crate) fn mock_secret(&self) -> PathBuf {
        self.private().join("mock.secret")
    }
}
