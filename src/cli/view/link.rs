//! The way to a daemon: the control socket of this machine, or HTTPS to a node anywhere.
//!
//! Over HTTPS the node must prove that it is of the cluster, by a certificate that leads to the
//! cluster's public key; we prove the key of the credentials file, or the cluster's own.

use std::cell::RefCell;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use palisade_keys::PublicKey;
use palisade_ledger::NodeAddress;
use palisade_link::api::Status;
use palisade_link::client::{Client, ClientError};
use palisade_link::https::{Connection, OpenError};
use palisade_link::peer::Expect;
use palisade_link::x509::{Leaf, user_certificate};
use tokio::runtime::{Builder, Runtime};

use crate::cli::common::{ClusterArgs, Signer};
use crate::cli::error::CliError;
use crate::cli::{clock, entropy};

/// How long one answer of the daemon may take: a durable append waits for the disk.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);
/// How long reaching a node may take, name and handshake included.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// How long the certificate says it is good for that shows our key. Nobody asks.
const CERTIFICATE_LIFE: time::Duration = time::Duration::hours(1);

/// A way to a daemon, and a runtime to wait on.
pub(crate) struct Link {
    runtime: Runtime,
    client: RefCell<Client>,
    remote: Option<Remote>,
    /// Where the node's data is that is asked over the socket.
    directory: PathBuf,
}

/// A node over HTTPS: what is needed to reach it again when its connection has ended.
pub(super) struct Remote {
    pub(super) address: NodeAddress,
    cluster: PublicKey,
    identity: Leaf,
}

impl Remote {
    fn new(address: &NodeAddress, cluster: &ClusterArgs) -> Result<Self, CliError> {
        if cluster.as_cluster_key.is_none() && cluster.credentials.is_none() {
            return Err(
                CliError::usage("a node answers only those whom the ledger knows").hint(
                    "name your credentials file with --as FILE or PALISADE_CREDENTIALS, or the cluster's \
                     private key with --as-cluster-key FILE",
                ),
            );
        }
        Self::shown(address, cluster.public_key()?, &cluster.signer()?)
    }

    /// As whom we show ourselves: by the key alone; a name in the certificate counts for nothing.
    fn shown(address: &NodeAddress, cluster: PublicKey, signer: &Signer) -> Result<Self, CliError> {
        let identity = user_certificate(
            match signer {
                Signer::User(credentials) => &credentials.username,
                Signer::Cluster(_) => "the cluster key",
            },
            signer.key(),
            &entropy::serial()?,
            clock::now(),
            CERTIFICATE_LIFE,
        )
        .map_err(|error| CliError::no("can't make a certificate").because(&error))?;
        Ok(Self {
            address: address.clone(),
            cluster,
            identity,
        })
    }

    async fn open(&self) -> Result<Client, ClientError> {
        let expect = Expect::Cluster(self.cluster, self.address.host().to_owned());
        Ok(Client::https(self.connect(&expect).await?))
    }

    /// A connection to whoever is expected at the address.
    pub(super) async fn connect(&self, expect: &Expect) -> Result<Connection, OpenError> {
        let address = self.address.to_string();
        let identity = Some(&self.identity);
        let connection = Connection::open(&address, expect, identity, OPEN_WITHIN).await?;
        Ok(connection.answer_within(ANSWER_WITHIN))
    }
}

impl Link {
    /// The way to the daemon of these options. Over the socket nothing is said yet.
    pub(crate) fn new(cluster: &ClusterArgs) -> Result<Self, CliError> {
        Self::by(cluster, None)
    }

    /// The same, as somebody else than the options say.
    pub(crate) fn by(cluster: &ClusterArgs, signer: Option<&Signer>) -> Result<Self, CliError> {
        let runtime = runtime()?;
        let (client, remote) = match &cluster.node {
            None => (Client::new(cluster.socket()?), None),
            Some(address) => {
                let remote = match signer {
                    Some(signer) => Remote::shown(address, cluster.public_key()?, signer)?,
                    None => Remote::new(address, cluster)?,
                };
                (runtime.block_on(remote.open())?, Some(remote))
            }
        };
        Ok(Self {
            runtime,
            client: RefCell::new(client),
            remote,
            directory: cluster.socket_directory()?,
        })
    }

    /// The way to a node over HTTPS that was not reached yet.
    #[cfg(test)]
    pub(super) fn unopened(address: &NodeAddress, cluster: PublicKey, user: &Signer) -> Self {
        Self {
            runtime: runtime().unwrap(),
            client: RefCell::new(Client::new("/nowhere")),
            remote: Some(Remote::shown(address, cluster, user).unwrap()),
            directory: PathBuf::from("/nowhere"),
        }
    }

    /// The node over HTTPS, if one is asked so.
    pub(super) fn remote(&self) -> Option<&Remote> {
        self.remote.as_ref()
    }

    /// The client as it is, and where the data is of the node behind the socket.
    pub(super) fn local(&self) -> (Client, &Path) {
        (self.client.borrow().clone(), &self.directory)
    }

    /// Waits for something that has time limits of its own.
    pub(super) fn block_on<T>(&self, answer: impl Future<Output = T>) -> T {
        self.runtime.block_on(answer)
    }

    /// Waits for what is asked of somebody else than [`Link::ask`] asks, but not for ever.
    pub(super) fn wait<T, E>(&self, answer: impl Future<Output = Result<T, E>>) -> Result<T, E>
    where
        E: From<ClientError>,
    {
        self.runtime.block_on(within(answer))
    }

    /// Asks something, and waits for the answer, but not for ever.
    pub(crate) fn ask<T, F>(&self, question: impl FnOnce(Client) -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        self.runtime.block_on(async {
            self.reopen().await?;
            let client = self.client.borrow().clone();
            within(question(client)).await
        })
    }

    /// A connection that ended meanwhile (somebody thought about a question) is made anew.
    async fn reopen(&self) -> Result<(), ClientError> {
        let ended = match self.client.borrow().connection() {
            Some(connection) => !connection.is_open(),
            None => false,
        };
        if let Some(remote) = self.remote.as_ref().filter(|_| ended) {
            let client = remote.open().await?;
            self.client.replace(client);
        }
        Ok(())
    }

    /// How the node is.
    pub(crate) fn status(&self) -> Result<Status, CliError> {
        Ok(self.ask(|client| async move { client.status().await })?)
    }

    /// Lets time pass.
    pub(crate) fn pause(&self, time: Duration) {
        self.runtime
            .block_on(async { tokio::time::sleep(time).await });
    }
}

async fn within<T, E: From<ClientError>>(
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let slow = |_| {
        ClientError::Broken(format!(
            "no answer within {} seconds",
            ANSWER_WITHIN.as_secs()
        ))
    };
    tokio::time::timeout(ANSWER_WITHIN, answer)
        .await
        .map_err(slow)?
}

/// A runtime to wait on.
pub(crate) fn runtime() -> Result<Runtime, CliError> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::no("can't start the I/O runtime").because(&error))
}
