//! The way to a daemon: the control socket of this machine, or HTTPS to a node anywhere.
//!
//! Over HTTPS the node must prove that it is of the cluster, by a certificate that leads to the
//! cluster's public key; we prove the key of the credentials file.

use std::cell::RefCell;
use std::future::Future;
use std::time::Duration;

use palisade_keys::PublicKey;
use palisade_ledger::NodeAddress;
use palisade_link::api::Status;
use palisade_link::client::{Client, ClientError};
use palisade_link::https::Connection;
use palisade_link::peer::Expect;
use palisade_link::x509::{Leaf, user_certificate};
use tokio::runtime::{Builder, Runtime};

use crate::cli::common::{ClusterArgs, read_credentials};
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
}

/// A node over HTTPS: what is needed to reach it again when its connection has ended.
struct Remote {
    address: NodeAddress,
    cluster: PublicKey,
    identity: Leaf,
}

impl Remote {
    fn new(address: &NodeAddress, cluster: &ClusterArgs) -> Result<Self, CliError> {
        let path = cluster.credentials.as_deref().ok_or_else(|| {
            CliError::usage("a node answers only those whom the ledger knows")
                .hint("name your credentials file with --as FILE, or with PALISADE_CREDENTIALS")
        })?;
        let credentials = read_credentials(path)?;
        let identity = user_certificate(
            &credentials.username,
            &credentials.secret_key,
            &entropy::serial()?,
            clock::now(),
            CERTIFICATE_LIFE,
        )
        .map_err(|error| CliError::no("can't make a certificate").because(&error))?;
        Ok(Self {
            address: address.clone(),
            cluster: cluster.public_key()?,
            identity,
        })
    }

    async fn open(&self) -> Result<Client, ClientError> {
        let expect = Expect::Cluster(self.cluster, self.address.host().to_owned());
        let address = self.address.to_string();
        let identity = Some(&self.identity);
        let connection = Connection::open(&address, &expect, identity, OPEN_WITHIN).await?;
        Ok(Client::https(connection.answer_within(ANSWER_WITHIN)))
    }
}

impl Link {
    /// The way to the daemon of these options. Over the socket nothing is said yet.
    pub(crate) fn new(cluster: &ClusterArgs) -> Result<Self, CliError> {
        let runtime = runtime()?;
        let (client, remote) = match &cluster.node {
            None => (Client::new(cluster.socket()?), None),
            Some(address) => {
                let remote = Remote::new(address, cluster)?;
                (runtime.block_on(remote.open())?, Some(remote))
            }
        };
        Ok(Self {
            runtime,
            client: RefCell::new(client),
            remote,
        })
    }

    /// Asks something, and waits for the answer, but not for ever.
    pub(crate) fn ask<T, F>(&self, question: impl FnOnce(Client) -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        self.runtime.block_on(async {
            self.reopen().await?;
            let client = self.client.borrow().clone();
            match tokio::time::timeout(ANSWER_WITHIN, question(client)).await {
                Ok(answer) => answer,
                Err(_) => Err(ClientError::Broken(format!(
                    "no answer within {} seconds",
                    ANSWER_WITHIN.as_secs()
                ))),
            }
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

/// A runtime to wait on.
pub(crate) fn runtime() -> Result<Runtime, CliError> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::no("can't start the I/O runtime").because(&error))
}
