//! One running node: the daemon, the gateway and the agent, wired together.
//!
//! ```text
//!   Ledger --watch(State)--> gateway (who may enter), API (who may ask), keeper (where it is shared)
//!        \\--watch(State)--> reconciler (what PostgreSQL enforces) --applied--> control socket, API
//!   files (users.cfg, certificates) --follow--> Ledger, CA --leaf--> gateway, API, PostgreSQL
//!   control socket, API --checked commands--> commands: reconciler, CA, keeper, the node's own keys
//!   Poller <--hello--> the other nodes; who is the master
//! ```
//!
//! The crates know nothing of each other; this module knows them all and decides nothing.

mod alerts;
mod begin;
mod commands;
mod doors;
mod error;
mod follow;
mod log;
mod member;
mod own;
mod peers;
mod ports;
mod reconcile;
mod start;
mod status;
mod store;
mod waiting;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use palisade_daemon::config::Config;
use palisade_daemon::layout::Layout;
use palisade_daemon::ledger::Ledger;
use palisade_ledger::NodeId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

pub(crate) use error::NodeError;
pub(crate) use log::{start as start_log, start_quiet as start_quiet_log};
pub(crate) use ports::{Ports, after};
pub(crate) use start::start;

/// For this node's etcd to hand its office over and to end.
const ETCD_STOPS_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);

/// What a node is told.
pub(crate) struct Options {
    /// The configuration.
    pub(crate) config: Config,
    /// What a new cluster is called.
    pub(crate) cluster: String,
    /// Who decides over its ports. With [`Ports::Free`] the user list is `up`'s own, and the ledger says
    /// which database is managed.
    pub(crate) ports: Ports,
    /// Where a new cluster keeps its ledger.
    pub(crate) sharing: Sharing,
    /// Told where the API answers, as soon as other nodes may join.
    pub(crate) ready: Option<oneshot::Sender<SocketAddr>>,
}

/// Where a new cluster keeps its ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// As the ledger says: on its first node alone, until an operator moves it.
    AsItIs,
    /// In etcd that the nodes run; a cluster that keeps it on one node moves it there.
    Managed,
}

/// Told each step of a start as it begins.
pub(crate) type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// A node that serves.
pub(crate) struct Running {
    tasks: JoinSet<()>,
    /// The keeper of the store, which stops this node's etcd.
    keeper: Option<JoinHandle<()>>,
    /// The ports of that etcd, whether it runs or not.
    _held: ports::Held,
    stop: watch::Sender<bool>,
    stopped: mpsc::Receiver<()>,
    socket: std::path::PathBuf,
    addresses: Vec<SocketAddr>,
    database: String,
    directory: std::path::PathBuf,
    node: Option<NodeId>,
}

/// Begins a cluster, as `start` does, but serves nothing. What is there already is kept.
pub(crate) async fn begin_only(config: &Config, cluster: &str) -> Result<Ledger, NodeError> {
    let layout = Layout::new(&config.node.data_directory);
    layout.create()?;
    let mut config = config.clone();
    let begun = begin::begin(
        &mut config,
        &layout,
        cluster,
        (Ports::None, Sharing::AsItIs),
    )
    .await?;
    Ok(begun.ledger)
}

impl Running {
    /// Where the gateway listens.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The database that is managed.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// The node's data directory.
    pub(crate) fn directory(&self) -> &std::path::Path {
        &self.directory
    }

    /// The node's id, if the ledger names it.
    pub(crate) fn node(&self) -> Option<NodeId> {
        self.node
    }

    /// Serves until a signal or a command says stop, then stops PostgreSQL and everything else.
    pub(crate) async fn wait(self) -> Result<(), NodeError> {
        let mut stopping = self.stop.subscribe();
        tokio::select! {
            () = until(signals()) => tracing::info!("stopping: signal"),
            _ = stopping.wait_for(|stop| *stop) => tracing::info!("stopping: command"),
        }
        self.stop().await
    }

    /// Stops PostgreSQL and everything else.
    pub(crate) async fn stop(mut self) -> Result<(), NodeError> {
        self.stop.send_replace(true);
        // The reconciler stops PostgreSQL last, and says when it has.
        self.stopped.recv().await;
        if let Some(keeper) = self.keeper.take() {
            drop(tokio::time::timeout(ETCD_STOPS_WITHIN, keeper).await);
        }
        self.tasks.shutdown().await;
        drop(std::fs::remove_file(&self.socket));
        Ok(())
    }
}

async fn until(mut stopping: watch::Receiver<bool>) {
    stopping.wait_for(|stop| *stop).await.ok();
}

/// Until the node stops or, where it can be, is removed from its cluster.
async fn either(stopping: watch::Receiver<bool>, out: Option<watch::Receiver<bool>>) {
    match out {
        None => until(stopping).await,
        Some(out) => tokio::select! {
            () = until(stopping) => {}
            () = until(out) => {}
        },
    }
}

/// Whether SIGINT or SIGTERM came since this was asked for the first time: one that comes while a node
/// starts is kept until all that started can be stopped in good order.
pub(crate) fn signals() -> watch::Receiver<bool> {
    use tokio::signal::unix::{SignalKind, signal};
    static SIGNALS: OnceLock<watch::Receiver<bool>> = OnceLock::new();
    let listen = || {
        let (came, signals) = watch::channel(false);
        // Registered here and now, not when the task runs for the first time.
        let kinds = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        for mut kind in kinds.into_iter().flatten() {
            let came = came.clone();
            tokio::spawn(async move {
                if kind.recv().await.is_some() {
                    came.send_replace(true);
                }
            });
        }
        signals
    };
    SIGNALS.get_or_init(listen).clone()
}
