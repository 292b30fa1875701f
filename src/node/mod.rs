//! One running node: the daemon, the gateway and the agent, wired together.
//!
//! ```text
//!   Ledger --watch(State)--> gateway (who may enter)
//!        \--watch(State)--> reconciler (what PostgreSQL enforces) --applied--> control socket
//!   files (users.cfg, certificates) --follow--> Ledger, gateway
//!   control socket --checked commands--> reconciler, stop
//! ```
//!
//! The crates know nothing of each other; this module knows them all and decides nothing.

mod begin;
mod error;
mod follow;
mod log;
mod reconcile;
mod status;

use std::sync::Arc;

use arc_swap::ArcSwap;
use palisade_agent::Agent;
use palisade_daemon::config::Config;
use palisade_daemon::control::{self, Allowed, Control, Wires};
use palisade_daemon::layout::Layout;
use palisade_daemon::ledger::Ledger;
use palisade_daemon::pki;
use palisade_gateway::{Gateway, TlsIdentity};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use begin::Begun;
pub(crate) use error::NodeError;
pub(crate) use log::{start as start_log, start_quiet as start_quiet_log};
use status::Board;

/// What a node is told.
pub(crate) struct Options {
    /// The configuration.
    pub(crate) config: Config,
    /// What a new cluster is called.
    pub(crate) cluster: String,
    /// `palisade up`: the user list is its own, and the ledger says which database is managed.
    pub(crate) is_up: bool,
}

/// A node that serves.
pub(crate) struct Running {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
    stopped: mpsc::Receiver<()>,
    socket: std::path::PathBuf,
    addresses: Vec<std::net::SocketAddr>,
    database: String,
}

/// Starts a node; `progress` is told each step as it begins.
pub(crate) async fn start(options: Options, progress: &dyn Fn(&str)) -> Result<Running, NodeError> {
    let config = options.config;
    let layout = Layout::new(&config.node.data_directory);
    layout.create()?;
    progress("Opening the doors");
    let listeners = listen(&config).await?;
    progress("Reading the ledger");
    let begun = begin::begin(&config, &layout, &options.cluster, options.is_up).await?;
    let hosts = begin::hosts(&config);
    let state = begun.ledger.now();
    let leaf = begun.pki.server(&hosts, state.server_certificate_days())?;
    let identity = Arc::new(ArcSwap::from_pointee(TlsIdentity::from_leaf(&leaf.leaf)?));
    progress("Starting PostgreSQL");
    let mut agent = Agent::new(begin::agent(&config, &layout, &state))?;
    agent.start().await?;
    progress("Bringing PostgreSQL in line with the ledger");
    let own_list = options.is_up;
    serve(
        config,
        layout,
        begun,
        agent,
        listeners,
        (leaf, identity, own_list),
    )
    .await
}

/// Begins a cluster, as `start` does, but serves nothing. What is there already is kept.
pub(crate) async fn begin_only(config: &Config, cluster: &str) -> Result<Ledger, NodeError> {
    let layout = Layout::new(&config.node.data_directory);
    layout.create()?;
    let begun = begin::begin(config, &layout, cluster, true).await?;
    Ok(begun.ledger)
}

type Identity = (pki::ServerLeaf, Arc<ArcSwap<TlsIdentity>>, bool);

async fn serve(
    config: Config,
    layout: Layout,
    begun: Begun,
    mut agent: Agent,
    listeners: Vec<TcpListener>,
    (leaf, identity, own_list): Identity,
) -> Result<Running, NodeError> {
    let state = begun.ledger.now();
    agent.apply(&state).await?;
    let board = Board::new(&begun.ledger, &config, begin::version(&agent));
    board.set_certificate(&leaf);
    if let Some(listed) = begun.listed.filter(|_| !own_list) {
        board.set_listed(listed);
    }

    let (stop, stopping) = watch::channel(false);
    let (stopped, has_stopped) = mpsc::channel(1);
    let (commands, permitted) = mpsc::channel(4);
    let (applied, follow_applied) = watch::channel(state.head().seq);
    let reload = Arc::new(Notify::new());
    let mut tasks = JoinSet::new();

    let gateway = Gateway::new(
        begin::gateway(&config, &layout, &agent)?,
        begun.ledger.state(),
        identity.clone(),
    );
    board.observe(gateway.observer());
    let addresses = listeners
        .iter()
        .filter_map(|l| l.local_addr().ok())
        .collect();
    let closing = stopping.clone();
    tasks.spawn(gateway.serve(listeners, until(closing)));

    let control = Control::new(
        begun.ledger.clone(),
        Allowed {
            stop: config.security.enable_stop,
            purge_all: config.security.enable_purge_all,
        },
        board.reader(),
        Wires {
            commands,
            applied: follow_applied,
            reload: reload.clone(),
            node: None,
        },
    );
    let socket = config.control_socket();
    let listener = control::bind(&socket)?;
    tasks.spawn(async move {
        if let Err(error) = control.serve(listener, Arc::new(String::new)).await {
            tracing::error!(%error, "the control socket failed");
        }
    });
    tasks.spawn(follow::files(follow::Files {
        ledger: begun.ledger.clone(),
        users: begun.users,
        pki: begun.pki,
        leaf,
        identity,
        hosts: begin::hosts(&config),
        board: board.clone(),
        own_list,
        reload,
    }));
    let reconciler = reconcile::Reconciler {
        agent,
        state: begun.ledger.state(),
        applied,
        permitted,
        stop: stop.clone(),
        stopped,
        board,
    };
    tasks.spawn(reconcile::run(reconciler, until(stopping)));
    Ok(Running {
        tasks,
        stop,
        stopped: has_stopped,
        socket,
        addresses,
        database: state.database().to_owned(),
    })
}

impl Running {
    /// Where the gateway listens.
    pub(crate) fn addresses(&self) -> &[std::net::SocketAddr] {
        &self.addresses
    }

    /// The database that is managed.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// Serves until a signal or a command says stop, then stops PostgreSQL and everything else.
    pub(crate) async fn wait(mut self) -> Result<(), NodeError> {
        let mut stopping = self.stop.subscribe();
        tokio::select! {
            () = signals() => tracing::info!("stopping: signal"),
            _ = stopping.wait_for(|stop| *stop) => tracing::info!("stopping: command"),
        }
        self.stop.send_replace(true);
        // The reconciler stops PostgreSQL last, and says when it has.
        self.stopped.recv().await;
        self.tasks.shutdown().await;
        drop(std::fs::remove_file(&self.socket));
        Ok(())
    }
}

async fn until(mut stopping: watch::Receiver<bool>) {
    stopping.wait_for(|stop| *stop).await.ok();
}

async fn listen(config: &Config) -> Result<Vec<TcpListener>, NodeError> {
    let mut listeners = Vec::new();
    for address in &config.gateway.listen {
        let listener = TcpListener::bind(address).await;
        listeners.push(listener.map_err(|source| NodeError::Listen {
            address: *address,
            source,
        })?);
    }
    Ok(listeners)
}

/// SIGINT or SIGTERM.
async fn signals() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminate => {}
        result = tokio::signal::ctrl_c() => drop(result),
    }
}
