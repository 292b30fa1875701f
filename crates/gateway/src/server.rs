//! The accept loop, the supervision of open sessions, and what all connections share.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use palisade_hba::Interface;
use palisade_ledger::State;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cancel::CancelKeys;
use crate::config::Config;
use crate::connection;
use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::policy::{EndReason, Terms};
use crate::pool::{Pool, PoolKey};
use crate::scram::MockSecret;
use crate::sessions::Sessions;
use crate::tls::TlsIdentity;
use crate::workers::Workers;

/// How often idle connections to PostgreSQL, and the ends of certificates, are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// After a failed `accept`: file descriptors may come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// At a shutdown, for the sessions to say goodbye.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(2);

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) socket: PathBuf,
    pub(crate) identity: Arc<ArcSwap<TlsIdentity>>,
    pub(crate) mock: MockSecret,
    pub(crate) gate: Arc<Gate>,
    pub(crate) pool: Pool,
    pub(crate) cancels: Arc<CancelKeys>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) metrics: Arc<Metrics>,
    workers: Workers,
    closing: AtomicBool,
    state: watch::Receiver<Arc<State>>,
}

impl Shared {
    /// Whether the gateway stops: no session may begin any more.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// The ledger's state now.
    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.borrow())
    }

    /// This machine's own addresses, if the rules ask for any; `None` if they can't be told.
    pub(crate) fn interfaces(&self, state: &State) -> Option<Vec<Interface>> {
        if !state.hba().ask_for_interfaces() {
            return Some(Vec::new());
        }
        (self.config.interfaces)()
            .inspect_err(|error| {
                tracing::error!(%error, "nobody gets in: there are rules for samehost or samenet, and this machine's addresses can't be read");
            })
            .ok()
    }

    /// Whether a session on these terms may go on under this state, now.
    pub(crate) fn check(&self, terms: &Terms, state: &State) -> Result<(), EndReason> {
        let interfaces = self.interfaces(state);
        terms.check(state, interfaces.as_deref(), (self.config.clock)())
    }

    /// Ends those of the sessions on such terms that may not go on.
    fn end_where(&self, state: &State, such: impl Fn(&Terms) -> bool) {
        let (interfaces, now) = (self.interfaces(state), (self.config.clock)());
        for live in self.sessions.all() {
            if such(&live.terms)
                && let Err(reason) = live.terms.check(state, interfaces.as_deref(), now)
            {
                live.end(reason);
            }
        }
    }

    /// Whether a connection to PostgreSQL may still serve its user.
    pub(crate) fn is_current(&self, key: &PoolKey) -> bool {
        is_current(&self.state.borrow(), key)
    }
}

fn is_current(state: &State, key: &PoolKey) -> bool {
    state
        .user_by_name(&key.user)
        .is_some_and(|user| user.changed == key.changed && user.may_log_in())
}

/// The PostgreSQL front door.
pub struct Gateway {
    shared: Arc<Shared>,
}

/// One open session, for those who may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// Counts up from the gateway's start.
    pub id: u64,
    /// The user.
    pub user: String,
    /// The database.
    pub database: String,
    /// Where the client is.
    pub address: std::net::IpAddr,
    /// What the user proved himself with: `key`, `cert`, `scram-sha-256`, or `trust` for nothing.
    pub proof: &'static str,
    /// The process that serves it in PostgreSQL.
    pub process: u32,
}

/// Looks into a gateway that serves.
#[derive(Clone)]
pub struct Observer {
    shared: Arc<Shared>,
}

impl Observer {
    /// Counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The open sessions.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionInfo> {
        let mut sessions: Vec<SessionInfo> = self
            .shared
            .sessions
            .all()
            .iter()
            .map(|live| SessionInfo {
                id: live.id,
                user: live.terms.attempt.user.clone(),
                database: live.terms.attempt.database.clone(),
                address: live.terms.attempt.address,
                proof: live.terms.proof.name(),
                process: live.process,
            })
            .collect();
        sessions.sort_unstable_by_key(|session| session.id);
        sessions
    }

    /// How many connections to PostgreSQL wait for the next log-in of their user.
    #[must_use]
    pub fn idle_connections(&self) -> usize {
        self.shared.pool.count()
    }
}

impl Gateway {
    /// A gateway that follows `state` and shows `identity`; both may change while it serves.
    #[must_use]
    pub fn new(
        config: Config,
        state: watch::Receiver<Arc<State>>,
        identity: Arc<ArcSwap<TlsIdentity>>,
    ) -> Self {
        let shared = Shared {
            socket: config.socket(),
            mock: MockSecret::new(&config.mock_secret),
            gate: Gate::new(config.limits),
            pool: Pool::new(config.pool),
            cancels: Arc::default(),
            sessions: Arc::default(),
            metrics: Arc::default(),
            workers: Workers::start(),
            closing: AtomicBool::new(false),
            identity,
            state,
            config,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// A look into it, also while it serves.
    #[must_use]
    pub fn observer(&self) -> Observer {
        Observer {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Serves until `shutdown` is ready; then ends all sessions.
    pub async fn serve(self, listeners: Vec<TcpListener>, shutdown: impl Future<Output = ()>) {
        let shared = &self.shared;
        let mut tasks = JoinSet::new();
        for listener in listeners {
            tasks.spawn_on(
                accept(Arc::clone(shared), listener),
                &shared.workers.listening(),
            );
        }
        tasks.spawn(supervise(Arc::clone(shared)));
        // Not by the workers: as long as there is a timer, each of their waits has to set one.
        tasks.spawn(sweep(Arc::clone(shared)));
        shutdown.await;
        shared.closing.store(true, Ordering::Release);
        tasks.shutdown().await;
        for live in shared.sessions.all() {
            live.end(EndReason::Shutdown);
        }
        let gone = async {
            while shared.sessions.count() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(SHUTDOWN_WITHIN, gone).await.is_err() {
            tracing::warn!("some sessions did not end in time");
        }
        shared.pool.clear();
    }
}

/// Takes connections, each in a task of its own: a slow client delays nobody.
async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    // Registered anew, here: a client is to wake the workers, not another thread that wakes them.
    let again = listener.into_std().and_then(TcpListener::from_std);
    let prepared = again.and_then(|listener| connection::prepare(&listener).map(|()| listener));
    let listener = match prepared {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "can't listen");
            return;
        }
    };
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => take(&shared, tcp, peer),
            Err(error) => {
                tracing::warn!(%error, "can't take a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn take(shared: &Arc<Shared>, tcp: TcpStream, peer: SocketAddr) {
    Metrics::add(&shared.metrics.accepted, 1);
    let Some(place) = shared.gate.enter(peer.ip()) else {
        connection::turn_away(shared, &tcp, peer);
        return;
    };
    let connection = Arc::clone(shared);
    shared.workers.spawn(tcp, move |tcp| {
        connection::serve(connection, tcp, peer, place)
    });
}

/// Looks at every open session when the ledger changes.
async fn supervise(shared: Arc<Shared>) {
    let mut changes = shared.state.clone();
    while changes.changed().await.is_ok() {
        let state = Arc::clone(&changes.borrow_and_update());
        shared.pool.retain_keys(|key| is_current(&state, key));
        shared.end_where(&state, |_| true);
    }
}

/// Closes what was idle for too long, and ends the sessions whose certificate has come to its end.
async fn sweep(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    loop {
        ticks.tick().await;
        shared.pool.sweep(Instant::now());
        shared.end_where(&shared.state(), Terms::has_certificate);
    }
}

/// Counts a session as long as it is held.
pub(crate) struct Counted(Arc<Metrics>);

impl Counted {
    pub(crate) fn new(metrics: &Arc<Metrics>) -> Self {
        metrics.sessions.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(metrics))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}
