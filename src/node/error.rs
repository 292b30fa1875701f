//! Why a node does not start, each with a remedy.

use std::net::SocketAddr;
use std::path::PathBuf;

use palisade_daemon::author::AuthorError;
use palisade_daemon::files::FileError;
use palisade_daemon::ledger::OpenError;
use palisade_daemon::pki::PkiError;
use palisade_daemon::store::StoreError;
use palisade_daemon::system::NoEntropy;
use palisade_daemon::user_list::UserListError;
use palisade_gateway::IdentityError;

/// Why a node does not start or stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    /// The environment.
    #[error(transparent)]
    Config(#[from] palisade_daemon::config::ConfigError),
    /// A file of the node.
    #[error(transparent)]
    File(#[from] FileError),
    /// Certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The cluster private key.
    #[error("the cluster private key can't be loaded: {0}")]
    ClusterKey(PkiError),
    /// The user list.
    #[error("the user list can't be loaded: {0}")]
    UserList(#[from] UserListError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// An entry of our own.
    #[error("the ledger refused an entry of this node's own: {0}")]
    Author(#[from] AuthorError),
    /// The genesis can't be written.
    #[error("the ledger can't be begun: {0}")]
    Genesis(#[from] palisade_ledger::DecodeError),
    /// TLS.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// PostgreSQL.
    #[error(transparent)]
    Agent(#[from] palisade_agent::Error),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] palisade_daemon::control::ControlError),
    /// Randomness.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The node's keys.
    #[error(transparent)]
    Keys(#[from] palisade_daemon::identity::IdentityError),
    /// Joining.
    #[error("this node can't join: {0}")]
    Join(#[from] palisade_daemon::join::JoinError),
    /// The CA.
    #[error(transparent)]
    Ca(#[from] palisade_daemon::ca::CaError),
    /// TLS of the API.
    #[error(transparent)]
    Tls(#[from] palisade_link::tls::ConfigError),
    /// An address.
    #[error("this node's address can't be used: {0}")]
    Place(String),
    /// The node was removed, or its keys were lost.
    #[error("the node in {} is not (or no longer) a member of its cluster", .0.display())]
    NotMember(PathBuf),
    /// A part of the work ended where it never does.
    #[error("the work was cut short: {0}")]
    Task(String),
    /// A signal, before the node served.
    #[error("stopped while waiting")]
    Interrupted,
    /// There is no cluster and no key to begin one with.
    #[error("{} holds no cluster yet, and there is no cluster private key to begin one with", .0.display())]
    NoCluster(PathBuf),
    /// The key is another cluster's.
    #[error("{} is not the private key of the cluster in {}", key.display(), dir.display())]
    OtherCluster {
        /// The key's file.
        key: PathBuf,
        /// The data directory.
        dir: PathBuf,
    },
    /// The database is another.
    #[error("the configuration names database {configured}, but this cluster manages {ledger}")]
    OtherDatabase {
        /// By the configuration.
        configured: String,
        /// By the ledger.
        ledger: String,
    },
    /// A setting that is not built yet.
    #[error("postgres.mode \"attached\" is not supported yet")]
    Attached,
    /// The directory is somebody else's.
    #[error("{} is not empty and holds no Palisade cluster", .0.display())]
    NotOurs(PathBuf),
    /// PostgreSQL was not started; it always was.
    #[error("PostgreSQL is not running")]
    NoPostgres,
    /// A port.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

impl NodeError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NoCluster(_) => Some(
                "make a key pair (palisade keygen -p cluster_public.key -s cluster_private.key) and name \
                 the private one in security.cluster_private_file, or say: palisade up"
                    .to_owned(),
            ),
            Self::OtherCluster { .. } => {
                Some("name the key that this cluster began with, or another data directory".to_owned())
            }
            Self::OtherDatabase { ledger, .. } => {
                Some(format!("set postgres.database to \"{ledger}\""))
            }
            Self::Attached => Some("use \"managed\"".to_owned()),
            Self::NotOurs(_) => Some("name an empty or a new directory with --dir".to_owned()),
            Self::Listen { source, address } => match source.kind() {
                std::io::ErrorKind::AddrInUse => Some(format!(
                    "another program has port {port}: stop it (ss -ltnp 'sport = :{port}' names it), or \
                     choose another address",
                    port = address.port()
                )),
                std::io::ErrorKind::AddrNotAvailable => {
                    Some("this machine does not have that address".to_owned())
                }
                _ => None,
            },
            Self::ClusterKey(_) => Some(
                "the daemon must be able to read the file, and nobody else: chown it to the daemon's user, \
                 chmod 600"
                    .to_owned(),
            ),
            Self::UserList(UserListError::Content { .. }) => {
                Some("mend the file at that place; nothing of it was taken in".to_owned())
            }
            Self::UserList(UserListError::File(_)) => {
                Some("check the path in security.user_list and the file's permissions".to_owned())
            }
            Self::NotMember(_) => Some(
                "it was removed, or its key is another than the ledger has: begin in another directory, and join \
                 anew (palisade join)"
                    .to_owned(),
            ),
            Self::Place(_) => Some("name host and port in api.advertise".to_owned()),
            Self::UserList(UserListError::Later(_))
            | Self::Config(_)
            | Self::Keys(_)
            | Self::Join(_)
            | Self::Ca(_)
            | Self::Tls(_)
            | Self::Interrupted
            | Self::Task(_)
            | Self::File(_)
            | Self::Pki(_)
            | Self::Store(_)
            | Self::Ledger(_)
            | Self::Author(_)
            | Self::Genesis(_)
            | Self::Identity(_)
            | Self::Agent(_)
            | Self::NoPostgres
            | Self::Control(_)
            | Self::Entropy(_) => None,
        }
    }
}
