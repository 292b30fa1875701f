//! A member: started, watched, started again after a crash, stopped.

use std::sync::Arc;
use std::time::Duration;

use palisade_keys::Zeroizing;
use palisade_link::x509::Leaf;
use palisade_rights::STORE_HOST;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::channel::Terms;
use super::config::{Config, Start};
use super::error::EtcdError;
use super::process::{Process, end_leftover};
use super::program::Program;
use crate::os::{self, OsUser};

/// Between two questions whether it serves.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// An answer of our own member, over loopback.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Before the first restart; doubled for each that follows soon.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// A run of this length was a good one.
const GOOD_RUN: Duration = Duration::from_mins(1);

/// How a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerState {
    /// Its process runs and does not serve yet: it replays its log, or there is no majority.
    Starting,
    /// It answers.
    Serving,
    /// Its process ended; it is started again after a pause.
    Down {
        /// Its last words.
        reason: String,
    },
    /// It was taken out of the cluster, and is not started again. [`Config::clean`] before it joins anew.
    Removed,
    /// It was stopped.
    Stopped,
}

enum Order {
    Restart(oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
}

/// A member that runs in the background until it is stopped or dropped.
#[derive(Debug)]
pub struct Server {
    orders: mpsc::Sender<Order>,
    state: watch::Receiver<ServerState>,
    config: Arc<Config>,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts a member, and ends one that a killed daemon left. Returns when its process runs;
    /// [`Server::ready`] waits until it serves, which without a majority of the members it does not.
    pub async fn start(config: Config, start: Start) -> Result<Self, EtcdError> {
        let program = Program::find(config.program.as_deref())?;
        let user = os::store_user(config.os_user.as_deref())?;
        end_leftover(&config.directory).await?;
        config.prepare(&start, &user)?;
        let config = Arc::new(config);
        let run = Run {
            program,
            start,
            config: config.clone(),
            user,
        };
        let process = run.process().await?;
        let (orders, receive) = mpsc::channel(4);
        let (announce, state) = watch::channel(ServerState::Starting);
        let task = tokio::spawn(run.supervise(process, receive, announce));
        Ok(Self {
            orders,
            state,
            config,
            task,
        })
    }

    /// What it was started with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How it is, now and from now on.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ServerState> {
        self.state.clone()
    }

    /// Waits until it serves.
    pub async fn ready(&self, within: Duration) -> Result<(), EtcdError> {
        let mut state = self.state.clone();
        let settled = state
            .wait_for(|state| !matches!(state, ServerState::Starting | ServerState::Down { .. }));
        match timeout(within, settled).await {
            Ok(Ok(state)) => match &*state {
                ServerState::Removed => Err(EtcdError::Removed),
                ServerState::Stopped => Err(EtcdError::Ended {
                    reason: "it was stopped".to_owned(),
                }),
                _ => Ok(()),
            },
            Ok(Err(_)) => Err(EtcdError::Ended {
                reason: "it was stopped".to_owned(),
            }),
            Err(_) => Err(EtcdError::NotReady {
                seconds: within.as_secs(),
                reason: match &*self.state.borrow() {
                    ServerState::Down { reason } => reason.clone(),
                    _ => "it waits for a majority of the members".to_owned(),
                },
            }),
        }
    }

    /// Ends every connection, by a restart: etcd asks a client's right to watch when the watch
    /// begins and never again, so after a node was removed every member is restarted once, one after
    /// the other.
    pub async fn drop_connections(&self) {
        let (done, wait) = oneshot::channel();
        if self.orders.send(Order::Restart(done)).await.is_ok() {
            wait.await.ok();
        }
    }

    /// Stops it: a leader hands over first.
    pub async fn stop(self) {
        let (done, wait) = oneshot::channel();
        if self.orders.send(Order::Stop(done)).await.is_ok() {
            wait.await.ok();
        }
        self.task.await.ok();
    }
}

struct Run {
    program: Program,
    start: Start,
    config: Arc<Config>,
    user: OsUser,
}

impl Run {
    async fn process(&self) -> Result<Process, EtcdError> {
        check_ports(&self.config)?;
        let arguments = self.config.arguments(&self.start, &self.program);
        let directory = std::path::absolute(&self.config.directory)
            .map_err(EtcdError::file("find", &self.config.directory))?;
        Process::start(&self.program.path, &arguments, &directory, &self.user).await
    }

    /// Keeps it running. A [`Process`] that is dropped ends.
    async fn supervise(
        self,
        mut process: Process,
        mut orders: mpsc::Receiver<Order>,
        state: watch::Sender<ServerState>,
    ) {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            state.send_replace(ServerState::Starting);
            let order = tokio::select! {
                order = orders.recv() => order,
                () = self.serve(&mut process, &state) => {
                    if process.log().says_removed() {
                        tracing::info!("this member was removed from etcd's cluster");
                        state.send_replace(ServerState::Removed);
                        wait_for_stop(&mut orders).await;
                        return;
                    }
                    None
                }
            };
            match order {
                Some(Order::Stop(done)) => {
                    process.stop().await;
                    state.send_replace(ServerState::Stopped);
                    done.send(()).ok();
                    return;
                }
                Some(Order::Restart(done)) => {
                    process.stop().await;
                    pause = FIRST_PAUSE;
                    process = match self.process().await {
                        Ok(process) => process,
                        Err(error) => {
                            match self.again(error, &mut pause, &mut orders, &state).await {
                                Some(process) => process,
                                None => return,
                            }
                        }
                    };
                    done.send(()).ok();
                }
                // The handle was dropped.
                None if !process.has_ended() => return,
                None => {
                    if began.elapsed() > GOOD_RUN {
                        pause = FIRST_PAUSE;
                    }
                    let error = EtcdError::Ended {
                        reason: process.log().last_words(),
                    };
                    process = match self.again(error, &mut pause, &mut orders, &state).await {
                        Some(process) => process,
                        None => return,
                    };
                }
            }
        }
    }

    /// Waits and starts it again, until that works or it is to stop.
    async fn again(
        &self,
        mut error: EtcdError,
        pause: &mut Duration,
        orders: &mut mpsc::Receiver<Order>,
        state: &watch::Sender<ServerState>,
    ) -> Option<Process> {
        loop {
            tracing::error!(%error, again_in = ?*pause, "etcd is down");
            let reason = error.to_string();
            state.send_replace(ServerState::Down { reason });
            let mut asked = None;
            tokio::select! {
                () = sleep(*pause) => {}
                order = orders.recv() => match order {
                    Some(Order::Restart(done)) => asked = Some(done),
                    Some(Order::Stop(done)) => {
                        state.send_replace(ServerState::Stopped);
                        done.send(()).ok();
                        return None;
                    }
                    None => return None,
                },
            }
            *pause = (*pause * 2).min(LAST_PAUSE);
            let started = self.process().await;
            if let Some(done) = asked {
                done.send(()).ok();
            }
            match started {
                Ok(process) => return Some(process),
                Err(next) => error = next,
            }
        }
    }

    /// Says when it serves, and returns when it has ended.
    async fn serve(&self, process: &mut Process, state: &watch::Sender<ServerState>) {
        let serving = async {
            while !self.answers().await {
                sleep(LOOK_EVERY).await;
            }
            state.send_replace(ServerState::Serving);
            tracing::info!(address = %self.config.advertise.client, "etcd serves");
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = serving => {}
            _ = process.ended() => {}
        }
    }

    /// Asks it how it is, with its own certificate.
    async fn answers(&self) -> bool {
        let Some(own) = read_leaf(&self.config) else {
            return false;
        };
        let Ok(terms) = Terms::new(&self.config.cluster_key, &own) else {
            return false;
        };
        let asking = async {
            let address = self.config.near().to_string();
            let mut client = terms.connect(&address, STORE_HOST).await.ok()?;
            client.status().await.ok()
        };
        matches!(timeout(ANSWER_WITHIN, asking).await, Ok(Some(_)))
    }
}

/// Who was removed has nothing to do but to stop.
async fn wait_for_stop(orders: &mut mpsc::Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Restart(done) => drop(done),
            Order::Stop(done) => {
                done.send(()).ok();
                return;
            }
        }
    }
}

fn read_leaf(config: &Config) -> Option<Leaf> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&config.files.certificate)
        .ok()?
        .map(|der| der.map(|der| der.to_vec()))
        .collect();
    let key = PrivatePkcs8KeyDer::from_pem_file(&config.files.key).ok()?;
    Some(Leaf {
        chain: chain.ok()?,
        key: Zeroizing::new(key.secret_pkcs8_der().to_vec()),
    })
}

/// Is a port taken? etcd says so too, but only in its log.
fn check_ports(config: &Config) -> Result<(), EtcdError> {
    for address in [config.listen_peer, config.listen_client] {
        if let Err(error) = std::net::TcpListener::bind(address)
            && error.kind() == std::io::ErrorKind::AddrInUse
        {
            return Err(EtcdError::PortInUse { address });
        }
    }
    Ok(())
}
