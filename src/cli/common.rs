//! The options that commands share: where the cluster is, and who signs.

use std::path::{Path, PathBuf};

use clap::Args;
use palisade_keys::{Credentials, PublicKey, SecretKey};
use palisade_ledger::NodeAddress;

use super::error::CliError;
use super::files;
use super::store::args::StoreArgs;

/// Where the cluster is, and who you are.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Where the cluster is")]
pub(crate) struct ClusterArgs {
    /// The node's data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]
    #[arg(long, value_name = "DIR", env = "PALISADE_DIR", hide_env_values = true, value_hint = clap::ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,

    /// The daemon's control socket [default: DIR/control.sock]
    #[arg(long, value_name = "PATH", env = "PALISADE_SOCKET", hide_env_values = true, value_hint = clap::ValueHint::FilePath)]
    pub(crate) socket: Option<PathBuf>,

    /// Ask this node over HTTPS, not the daemon of this machine; needs --as or --as-cluster-key
    #[arg(
        id = "asked_node",
        long = "node",
        value_name = "HOST:PORT",
        conflicts_with = "socket"
    )]
    pub(crate) node: Option<NodeAddress>,

    /// The cluster's public key, which every entry is checked against [default: `DIR/cluster_public.key`]
    #[arg(long, value_name = "FILE", env = "PALISADE_CLUSTER_PUBLIC_KEY_FILE", hide_env_values = true, value_hint = clap::ValueHint::FilePath)]
    pub(crate) cluster_public_key_file: Option<PathBuf>,

    /// Be the user of this credentials file: who signs a change, and who asks a node over the network
    #[arg(long = "as", alias = "credentials", value_name = "CREDENTIALS", env = "PALISADE_CREDENTIALS", hide_env_values = true, value_hint = clap::ValueHint::FilePath, help_heading = "Who you are")]
    pub(crate) credentials: Option<PathBuf>,

    /// Be the cluster, by its private key, which may do anything
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, help_heading = "Who you are")]
    pub(crate) as_cluster_key: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// Where a node's data is when nobody says otherwise.
pub(crate) fn default_directory() -> Result<PathBuf, CliError> {
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/palisade".into());
    }
    // The XDG base directory specification: relative paths are to be ignored.
    let data = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(".local/share")));
    data.map(|data| data.join("palisade"))
        .ok_or_else(|| CliError::usage("there is no home directory").hint("give --dir DIR"))
}

impl ClusterArgs {
    /// The node's data directory.
    pub(crate) fn directory(&self) -> Result<PathBuf, CliError> {
        match &self.dir {
            Some(dir) => Ok(dir.clone()),
            None => default_directory(),
        }
    }

    /// The control socket.
    pub(crate) fn socket(&self) -> Result<PathBuf, CliError> {
        match &self.socket {
            Some(socket) => Ok(socket.clone()),
            None => Ok(self.directory()?.join("control.sock")),
        }
    }

    /// Where the data is of the node behind the socket: beside it, unless somebody says otherwise.
    pub(crate) fn socket_directory(&self) -> Result<PathBuf, CliError> {
        let beside = self.socket.as_deref().and_then(Path::parent);
        match (&self.dir, beside) {
            (None, Some(beside)) => Ok(beside.to_owned()),
            _ => self.directory(),
        }
    }

    /// The file with the cluster's public key.
    pub(crate) fn public_key_file(&self) -> Result<PathBuf, CliError> {
        match &self.cluster_public_key_file {
            Some(file) => Ok(file.clone()),
            None => Ok(self.directory()?.join("cluster_public.key")),
        }
    }

    /// Whether somebody else than the daemon of this machine is asked.
    pub(crate) fn is_remote(&self) -> bool {
        self.node.is_some()
    }

    /// The etcd to read and to append to, where no daemon is to be asked.
    pub(crate) fn outside(&self) -> Option<&StoreArgs> {
        Some(&self.store).filter(|store| store.is_given() && !self.is_remote())
    }

    /// The same, but a daemon is asked whatever is said of etcd.
    pub(crate) fn at_daemon(&self) -> Self {
        Self {
            store: StoreArgs::default(),
            ..self.clone()
        }
    }

    /// Who signs, or asks over the network. The cluster key goes before credentials that the environment
    /// names.
    pub(crate) fn signer(&self) -> Result<Signer, CliError> {
        if let Some(path) = &self.as_cluster_key {
            return Ok(Signer::Cluster(read_secret_key(path)?));
        }
        read_credentials(self.credentials()?).map(Signer::User)
    }

    /// The credentials file that was named.
    pub(crate) fn credentials(&self) -> Result<&Path, CliError> {
        self.credentials.as_deref().ok_or_else(|| {
            CliError::usage("a change must be signed")
                .hint("name your credentials file with --as FILE, or with PALISADE_CREDENTIALS")
        })
    }

    /// The cluster's public key.
    pub(crate) fn public_key(&self) -> Result<PublicKey, CliError> {
        let path = self.public_key_file()?;
        read_public_key(&path)
    }
}

/// Reads a secret key's file, which must be its owner's alone.
pub(crate) fn read_secret_key(path: &Path) -> Result<SecretKey, CliError> {
    let text = files::read_secret(path, files::MAX_KEY_BYTES)?;
    SecretKey::from_text(&text).map_err(|error| {
        CliError::file(format!("{} is not a private key", path.display())).because(&error)
    })
}

/// Reads a public key's file.
pub(crate) fn read_public_key(path: &Path) -> Result<PublicKey, CliError> {
    let text = files::read_trusted(path, files::MAX_KEY_BYTES).map_err(|error| {
        error.hint("name the cluster's public key with --cluster-public-key-file FILE")
    })?;
    text.parse().map_err(|error| {
        CliError::file(format!("{} is not a public key", path.display())).because(&error)
    })
}

/// Who signs, with the key.
pub(crate) enum Signer {
    /// The user of a credentials file.
    User(Credentials),
    /// The cluster key.
    Cluster(SecretKey),
}

impl Signer {
    /// The key.
    pub(crate) fn key(&self) -> &SecretKey {
        match self {
            Self::User(credentials) => &credentials.secret_key,
            Self::Cluster(key) => key,
        }
    }
}

/// Reads a credentials file, which must be its owner's alone.
pub(crate) fn read_credentials(path: &Path) -> Result<Credentials, CliError> {
    let text = files::read_secret(path, files::MAX_KEY_BYTES)?;
    Credentials::from_json(&text).map_err(|error| {
        CliError::file(format!("{} is not a credentials file", path.display())).because(&error)
    })
}
