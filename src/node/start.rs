//! How a node starts: first what makes it one of its cluster, then PostgreSQL and the front door.
//!
//! ```text
//!   ledger -> keys, certificate -> [ API, keeper of the store, peers, control socket ]
//!                               -> PostgreSQL, in line with the ledger -> [ gateway, reconciler ]
//! ```

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use palisade_agent::Agent;
use palisade_daemon::author::ClusterAuthor;
use palisade_daemon::ca::{self, CaService};
use palisade_daemon::config::Config;
use palisade_daemon::control::{self, Allowed, Control, Wires};
use palisade_daemon::layout::Layout;
use palisade_daemon::ledger::Ledger;
use palisade_daemon::pki::ServerLeaf;
use palisade_daemon::user_list::UserList;
use palisade_gateway::Gateway;
use palisade_link::api::{DoorAddress, DoorKind};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::alerts::Alerts;
use super::begin::{self, Begun};
use super::error::NodeError;
use super::member::Member;
use super::ports::{self, Ports};
use super::status::Board;
use super::store::{Keeper, StoreDoor};
use super::{Options, Progress, Running, commands, doors, either, follow, reconcile, until};

/// How long a new node waits for the issuer's certificate.
const CERTIFICATE_WITHIN: Duration = Duration::from_secs(30);
/// Between two attempts to get it.
const CERTIFICATE_EVERY: Duration = Duration::from_secs(1);

/// Starts a node; `progress` is told each step as it begins.
pub(crate) async fn start(options: Options, progress: Progress) -> Result<Running, NodeError> {
    let Options {
        mut config,
        cluster,
        ports,
        sharing,
        ready,
    } = options;
    let is_up = matches!(ports, Ports::Free(_));
    let layout = Layout::new(&config.node.data_directory);
    layout.create()?;
    progress("Opening the doors");
    let gateway = ports::gateway(&config, ports).await?;
    progress("Reading the ledger");
    let mut begun = begin::begin(&mut config, &layout, &cluster, (ports, sharing)).await?;
    let listeners = Listeners {
        gateway,
        api: std::mem::take(&mut begun.api),
    };
    let node = Node {
        member: begun
            .own
            .as_ref()
            .map(|own| Member::new(own.clone(), begun.ledger.clone())),
        ledger: begun.ledger.clone(),
        config,
        layout,
        own_list: is_up,
        held: std::mem::take(&mut begun.held),
    };
    let certificates = node.certificates(begun).await?;
    let api = bound(&listeners.api).first().copied();
    let (half, wires) = node.join_cluster(certificates, listeners)?;
    if let (Some(ready), Some(api)) = (ready, api) {
        ready.send(api).ok();
    }
    progress("Starting PostgreSQL");
    let state = node.ledger.now();
    let mut agent = Agent::new(begin::agent(&node.config, &node.layout, &state))?;
    agent.start().await?;
    half.board.set_postgres(begin::version(&agent));
    progress("Bringing PostgreSQL in line with the ledger");
    let state = node.ledger.now();
    let report = agent.apply(&state).await?;
    half.board.set_applied(state.head().seq, report.missing);
    half.applied.send_replace(state.head().seq);
    node.open(agent, half, wires)
}

/// What a node is made of.
struct Node {
    config: Config,
    layout: Layout,
    ledger: Ledger,
    member: Option<Member>,
    own_list: bool,
    held: ports::Held,
}

struct Listeners {
    gateway: Vec<TcpListener>,
    api: Vec<TcpListener>,
}

/// The leaf that the doors begin with, and what else was begun.
struct Certificates {
    ca: CaService,
    leaf: ServerLeaf,
    problem: Option<ca::CaError>,
    users: Option<(UserList, ClusterAuthor)>,
    listed: Option<BTreeSet<String>>,
}

/// The half of a node that makes it one of its cluster.
struct Half {
    tasks: JoinSet<()>,
    board: Board,
    shown: Arc<doors::Shown>,
    keeper: Option<JoinHandle<()>>,
    socket: std::path::PathBuf,
    applied: watch::Sender<u64>,
    /// Becomes true when the node was removed.
    out: Option<watch::Receiver<bool>>,
    gateway: Vec<TcpListener>,
}

/// What the other half needs.
struct PostgresWires {
    permitted: mpsc::Receiver<control::Permitted>,
    stop: watch::Sender<bool>,
    stopping: watch::Receiver<bool>,
}

impl Node {
    async fn certificates(&self, begun: Begun) -> Result<Certificates, NodeError> {
        let wires = ca::Wires {
            node: begun.own.map(|own| own.author),
            cluster: begun.cluster,
            names: begin::hosts(&self.config),
        };
        let ca = CaService::new(begun.pki, begun.ledger, wires);
        if let Some(member) = &self.member {
            ca.set_others(Arc::new(member.peers()));
            member.fetch_root(&self.layout).await;
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
            ca,
            leaf,
            problem,
            users: begun.users,
            listed: begun.listed,
        })
    }

    fn board(&self, certificates: &mut Certificates) -> Board {
        let board = Board::new(&self.ledger, &self.config);
        board.set_certificate(&certificates.leaf);
        if let Some(listed) = certificates.listed.take().filter(|_| !self.own_list) {
            board.set_listed(listed);
        }
        if let Some(problem) = certificates.problem.take() {
            board.problem("server certificate", problem.to_string());
        }
        board
    }

    fn join_cluster(
        &self,
        mut certificates: Certificates,
        listeners: Listeners,
    ) -> Result<(Half, PostgresWires), NodeError> {
        let board = self.board(&mut certificates);
        let Certificates {
            ca, leaf, users, ..
        } = certificates;
        let (stop, stopping) = watch::channel(false);
        let (commands, permitted) = mpsc::channel(4);
        let (to_postgres, for_postgres) = mpsc::channel(4);
        let (applied, follow_applied) = watch::channel(0);
        let reload = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        let shown = doors::Shown::new(
            &leaf.leaf,
            self.member.as_ref().map(Member::identity),
            self.door_addresses(&listeners),
            self.store_door(),
        )?;
        let shown = Arc::new(shown);
        ca.set_doors(shown.clone());
        let control = self.control(
            &board,
            Wires {
                commands,
                applied: follow_applied,
                reload: reload.clone(),
                node: self.member.as_ref().map(Member::id),
            },
        );
        let mut prepare = None;
        let mut keeper_task = None;
        let mut out = None;
        if let Some(member) = &self.member {
            board.set_member(member, &ca);
            let removed = member.removed(&board, &mut tasks);
            let ends = Ends {
                stopping: stopping.clone(),
                out: Some(removed.clone()),
            };
            self.open_api(
                member,
                (&board, &ca, &control),
                &shown,
                listeners.api,
                &ends,
                &mut tasks,
            );
            let configured = (&self.config, &self.layout);
            let (keeper, to_keeper) = Keeper::new(member, &self.ledger, &board, configured, &ca);
            keeper_task = Some(tokio::spawn(keeper.run(until(stopping.clone()))));
            member.spawn(&mut tasks);
            prepare = Some(to_keeper);
            out = Some(removed);
        }
        let socket = self.open_socket(control, &board, &mut tasks)?;
        let alerts = self
            .member
            .as_ref()
            .map(|member| Alerts::new(&self.config, member, &self.ledger, &board));
        if let Some(alerts) = alerts.clone() {
            tasks.spawn(alerts.run());
        }
        let parts = commands::Parts {
            postgres: to_postgres,
            alerts,
            ca: ca.clone(),
            member: self.member.clone(),
            layout: self.layout.clone(),
            shown: shown.clone(),
            store: prepare,
        };
        tasks.spawn(commands::run(permitted, parts));
        tasks.spawn(follow::files(follow::Files {
            ledger: self.ledger.clone(),
            users,
            ca,
            leaf,
            board: board.clone(),
            own_list: self.own_list,
            reload,
        }));
        let half = Half {
            tasks,
            board,
            shown,
            keeper: keeper_task,
            socket,
            applied,
            out,
            gateway: listeners.gateway,
        };
        let wires = PostgresWires {
            permitted: for_postgres,
            stop,
            stopping,
        };
        Ok((half, wires))
    }

    fn control(&self, board: &Board, wires: Wires) -> Control {
        let allowed = Allowed {
            stop: self.config.security.enable_stop,
            purge_all: self.config.security.enable_purge_all,
        };
        Control::new(self.ledger.clone(), allowed, board.reader(), wires)
    }

    fn open_socket(
        &self,
        control: Control,
        board: &Board,
        tasks: &mut JoinSet<()>,
    ) -> Result<std::path::PathBuf, NodeError> {
        let socket = self.config.control_socket();
        let listener = control::bind(&socket)?;
        let metrics = board.metrics();
        tasks.spawn(async move {
            if let Err(error) = control.serve(listener, metrics).await {
                tracing::error!(%error, "the control socket failed");
            }
        });
        Ok(socket)
    }

    fn open_api(
        &self,
        member: &Member,
        (board, ca, control): (&Board, &CaService, &Control),
        shown: &doors::Shown,
        listeners: Vec<TcpListener>,
        ends: &Ends,
        tasks: &mut JoinSet<()>,
    ) {
        let Some((tls, _)) = &shown.api else {
            return;
        };
        let services = member.services(board, ca, &self.layout);
        let door = member.door(services, control, tls.clone());
        for listener in listeners {
            let served = door.clone().serve(listener);
            let over = either(ends.stopping.clone(), ends.out.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = served => {}
                    () = over => {}
                }
            });
        }
    }

    fn store_door(&self) -> Option<StoreDoor> {
        let own = self.member.as_ref()?.id();
        let listen = self.config.store.managed.clone();
        Some(StoreDoor::new(own, &self.ledger, listen, &self.layout))
    }

    fn door_addresses(&self, listeners: &Listeners) -> Vec<DoorAddress> {
        let mut addresses = Vec::new();
        for at in bound(&listeners.gateway) {
            addresses.push(doors::door(DoorKind::Gateway, at));
        }
        for at in bound(&listeners.api) {
            addresses.push(doors::door(DoorKind::Api, at));
        }
        if let Some(ip) = self.config.postgres.listen {
            let at = SocketAddr::new(ip, self.config.postgres.port);
            addresses.push(doors::door(DoorKind::Postgres, at));
        }
        addresses
    }

    /// Opens the front door before a PostgreSQL that is in line with the ledger.
    fn open(
        self,
        agent: Agent,
        mut half: Half,
        wires: PostgresWires,
    ) -> Result<Running, NodeError> {
        let gateway = Gateway::new(
            begin::gateway(&self.config, &self.layout, &agent)?,
            self.ledger.state(),
            half.shown.gateway.clone(),
        );
        half.board.observe(gateway.observer());
        let addresses = bound(&half.gateway);
        let over = either(wires.stopping.clone(), half.out.clone());
        half.tasks.spawn(gateway.serve(half.gateway, over));
        let (stopped, has_stopped) = mpsc::channel(1);
        let reconciler = reconcile::Reconciler {
            agent,
            state: self.ledger.state(),
            applied: half.applied,
            permitted: wires.permitted,
            refresh: half.shown.refresh.clone(),
            stop: wires.stop.clone(),
            stopped,
            board: half.board,
        };
        let removed = removed(half.out);
        half.tasks
            .spawn(reconcile::run(reconciler, until(wires.stopping), removed));
        Ok(Running {
            tasks: half.tasks,
            keeper: half.keeper,
            _held: self.held,
            stop: wires.stop,
            stopped: has_stopped,
            socket: half.socket,
            addresses,
            database: self.ledger.now().database().to_owned(),
            directory: self.layout.root().to_owned(),
            node: self.member.as_ref().map(Member::id),
        })
    }
}

/// Until the node is removed from its cluster; for ever, where it can't be.
async fn removed(out: Option<watch::Receiver<bool>>) {
    match out {
        Some(out) => until(out).await,
        None => std::future::pending().await,
    }
}

/// When a door closes.
struct Ends {
    stopping: watch::Receiver<bool>,
    out: Option<watch::Receiver<bool>>,
}

fn bound(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    let addresses = listeners.iter().map(TcpListener::local_addr);
    addresses.filter_map(Result::ok).collect()
}
