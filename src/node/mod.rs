//! One running node: the daemon, the gateway and the agent, wired together.
//!
//! ```text
//!   Ledger --watch(State)--> gateway (who may enter), API (who may ask)
//!        \--watch(State)--> reconciler (what PostgreSQL enforces) --applied--> control socket, API
//!   files (users.cfg, certificates) --follow--> Ledger, CA --leaf--> gateway, API, PostgreSQL
//!   control socket, API --checked commands--> commands: reconciler, CA, the node's own keys
//!   Poller <--hello--> the other nodes; who is the master
//! ```
//!
//! The crates know nothing of each other; this module knows them all and decides nothing.

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
mod status;
mod waiting;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use palisade_agent::Agent;
use palisade_daemon::ca::{self, CaService};
use palisade_daemon::config::Config;
use palisade_daemon::control::{self, Allowed, Control, Wires};
use palisade_daemon::layout::Layout;
use palisade_daemon::ledger::Ledger;
use palisade_daemon::pki::ServerLeaf;
use palisade_gateway::Gateway;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use begin::Begun;
pub(crate) use error::NodeError;
pub(crate) use log::{start as start_log, start_quiet as start_quiet_log};
use member::Member;
pub(crate) use ports::Ports;
use status::Board;

/// How long a new node waits for the issuer's certificate.
const CERTIFICATE_WITHIN: Duration = Duration::from_secs(30);
/// Between two attempts to get it.
const CERTIFICATE_EVERY: Duration = Duration::from_secs(1);

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
    addresses: Vec<SocketAddr>,
    database: String,
    ledger: Ledger,
}

/// Starts a node; `progress` is told each step as it begins.
pub(crate) async fn start(options: Options, progress: &dyn Fn(&str)) -> Result<Running, NodeError> {
    let Options {
        mut config,
        cluster,
        is_up,
    } = options;
    let layout = Layout::new(&config.node.data_directory);
    layout.create()?;
    progress("Opening the doors");
    let listeners = listen(&config).await?;
    progress("Reading the ledger");
    let who = if is_up {
        Ports::Free
    } else {
        Ports::Configured
    };
    let mut begun = begin::begin(&mut config, &layout, &cluster, who).await?;
    let api = std::mem::take(&mut begun.api);
    let member = begun
        .own
        .as_ref()
        .map(|own| Member::new(own.clone(), begun.ledger.clone()));
    let certificates = certificates(&config, &layout, begun, member.as_ref()).await?;
    progress("Starting PostgreSQL");
    let state = certificates.ledger.now();
    let mut agent = Agent::new(begin::agent(&config, &layout, &state))?;
    agent.start().await?;
    progress("Bringing PostgreSQL in line with the ledger");
    agent.apply(&state).await?;
    let parts = Parts {
        config,
        layout,
        agent,
        member,
        own_list: is_up,
    };
    serve(
        parts,
        certificates,
        Listeners {
            gateway: listeners,
            api,
        },
    )
}

/// Begins a cluster, as `start` does, but serves nothing. What is there already is kept.
pub(crate) async fn begin_only(config: &Config, cluster: &str) -> Result<Ledger, NodeError> {
    let layout = Layout::new(&config.node.data_directory);
    layout.create()?;
    let mut config = config.clone();
    let begun = begin::begin(&mut config, &layout, cluster, Ports::None).await?;
    Ok(begun.ledger)
}

/// What a node has before its doors open.
struct Parts {
    config: Config,
    layout: Layout,
    agent: Agent,
    member: Option<Member>,
    own_list: bool,
}

struct Listeners {
    gateway: Vec<TcpListener>,
    api: Vec<TcpListener>,
}

/// The ledger, and the leaf that the doors begin with.
struct Certificates {
    ledger: Ledger,
    ca: CaService,
    leaf: ServerLeaf,
    problem: Option<ca::CaError>,
    users: Option<(
        palisade_daemon::user_list::UserList,
        palisade_daemon::author::ClusterAuthor,
    )>,
    listed: Option<std::collections::BTreeSet<String>>,
}

async fn certificates(
    config: &Config,
    layout: &Layout,
    begun: Begun,
    member: Option<&Member>,
) -> Result<Certificates, NodeError> {
    let wires = ca::Wires {
        node: begun.own.map(|own| own.author),
        cluster: begun.cluster,
        names: begin::hosts(config),
    };
    let ca = CaService::new(begun.pki, begun.ledger.clone(), wires);
    if let Some(member) = member {
        ca.set_others(Arc::new(member.peers()));
        member.fetch_root(layout).await;
    }
    let deadline = tokio::time::Instant::now() + CERTIFICATE_WITHIN;
    let (leaf, problem) = loop {
        match ca.begin_server().await {
            Ok(begun) => break begun,
            // The issuer may be on its way up.
            Err(ca::CaError::Remote(reason)) if tokio::time::Instant::now() < deadline => {
                tracing::info!(reason, "waiting for this node's certificate");
                tokio::time::sleep(CERTIFICATE_EVERY).await;
            }
            Err(error) => return Err(error.into()),
        }
    };
    Ok(Certificates {
        ledger: begun.ledger,
        ca,
        leaf,
        problem,
        users: begun.users,
        listed: begun.listed,
    })
}

fn serve(
    parts: Parts,
    certificates: Certificates,
    listeners: Listeners,
) -> Result<Running, NodeError> {
    let Parts {
        config,
        layout,
        agent,
        member,
        own_list,
    } = parts;
    let Certificates {
        ledger,
        ca,
        leaf,
        problem,
        users,
        listed,
    } = certificates;
    let state = ledger.now();
    let board = Board::new(&ledger, &config, begin::version(&agent));
    board.set_certificate(&leaf);
    if let Some(listed) = listed.filter(|_| !own_list) {
        board.set_listed(listed);
    }
    if let Some(problem) = problem {
        board.problem("server certificate", problem.to_string());
    }

    let (stop, stopping) = watch::channel(false);
    let (stopped, has_stopped) = mpsc::channel(1);
    let (commands, permitted) = mpsc::channel(4);
    let (to_postgres, for_postgres) = mpsc::channel(4);
    let (applied, follow_applied) = watch::channel(state.head().seq);
    let reload = Arc::new(Notify::new());
    let mut tasks = JoinSet::new();

    let shown = doors::Shown::new(
        &leaf.leaf,
        member.as_ref().map(Member::identity),
        door_addresses(&config, &listeners),
    )?;
    let shown = Arc::new(shown);
    ca.set_doors(shown.clone());
    let gateway = Gateway::new(
        begin::gateway(&config, &layout, &agent)?,
        ledger.state(),
        shown.gateway.clone(),
    );
    board.observe(gateway.observer());
    let addresses = bound(&listeners.gateway);
    let out = member
        .as_ref()
        .map(|member| member.removed(&board, &mut tasks));
    tasks.spawn(gateway.serve(listeners.gateway, either(stopping.clone(), out.clone())));

    let control = Control::new(
        ledger.clone(),
        Allowed {
            stop: config.security.enable_stop,
            purge_all: config.security.enable_purge_all,
        },
        board.reader(),
        Wires {
            commands,
            applied: follow_applied,
            reload: reload.clone(),
            node: member.as_ref().map(Member::id),
        },
    );
    if let (Some(member), Some((tls, _))) = (&member, &shown.api) {
        board.set_member(member, &ca);
        let services = member.services(&board, &ca, &layout);
        let door = member.door(services, &control, tls.clone());
        for listener in listeners.api {
            let served = door.clone().serve(listener);
            let out = either(stopping.clone(), out.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = served => {}
                    () = out => {}
                }
            });
        }
        member.spawn(&mut tasks);
    }
    let socket = config.control_socket();
    let listener = control::bind(&socket)?;
    let metrics = board.metrics();
    tasks.spawn(async move {
        if let Err(error) = control.serve(listener, metrics).await {
            tracing::error!(%error, "the control socket failed");
        }
    });
    let refresh = shown.refresh.clone();
    let parts = commands::Parts {
        postgres: to_postgres,
        ca: ca.clone(),
        member: member.clone(),
        layout: layout.clone(),
        shown,
    };
    tasks.spawn(commands::run(permitted, parts));
    tasks.spawn(follow::files(follow::Files {
        ledger: ledger.clone(),
        users,
        ca,
        leaf,
        board: board.clone(),
        own_list,
        reload,
    }));
    let reconciler = reconcile::Reconciler {
        agent,
        state: ledger.state(),
        applied,
        permitted: for_postgres,
        refresh,
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
        ledger,
    })
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

    /// The node's ledger.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Serves until a signal or a command says stop, then stops PostgreSQL and everything else.
    pub(crate) async fn wait(self) -> Result<(), NodeError> {
        let mut stopping = self.stop.subscribe();
        tokio::select! {
            () = signals() => tracing::info!("stopping: signal"),
            _ = stopping.wait_for(|stop| *stop) => tracing::info!("stopping: command"),
        }
        self.stop().await
    }

    /// Stops PostgreSQL and everything else.
    pub(crate) async fn stop(mut self) -> Result<(), NodeError> {
        self.stop.send_replace(true);
        // The reconciler stops PostgreSQL last, and says when it has.
        self.stopped.recv().await;
        self.tasks.shutdown().await;
        drop(std::fs::remove_file(&self.socket));
        Ok(())
    }
}

fn bound(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    let addresses = listeners.iter().map(TcpListener::local_addr);
    addresses.filter_map(Result::ok).collect()
}

fn door_addresses(config: &Config, listeners: &Listeners) -> Vec<ca::DoorAddress> {
    let mut addresses = Vec::new();
    for at in bound(&listeners.gateway) {
        addresses.push(doors::door("gateway", at, true));
    }
    for at in bound(&listeners.api) {
        addresses.push(doors::door("API", at, false));
    }
    if let Some(ip) = config.postgres.listen {
        let at = SocketAddr::new(ip, config.postgres.port);
        addresses.push(doors::door("PostgreSQL", at, true));
    }
    addresses
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
