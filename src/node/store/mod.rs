//! Where the ledger is shared: what the ledger says, or the configuration, followed while the node runs.
//!
//! ```text
//!   State.store() --> Embedded: this node alone
//!                     Managed:  etcd that the nodes run (managed.rs), then as below
//!                     Endpoints: connect, attach the ledger; again when the endpoints are others
//! ```

mod door;
mod files;
mod managed;

use std::sync::Arc;
use std::time::Duration;

use palisade_daemon::ca::CaService;
use palisade_daemon::config::Config;
use palisade_daemon::layout::Layout;
use palisade_daemon::ledger::Ledger;
use palisade_daemon::members::Table;
use palisade_daemon::store::etcd::{self, EtcdOptions, EtcdStore};
use palisade_ledger::{State, StoreConfig};
use palisade_link::api::{Done, StoreTarget};
use tokio::sync::{mpsc, oneshot, watch};

pub(super) use door::StoreDoor;
use files::StoreFiles;
use managed::{Fixed, Managed};

use super::member::Member;
use super::status::Board;

/// Between two looks at etcd while it is not as it shall be, and when it is.
const EVERY: Duration = Duration::from_secs(1);

/// How long a store may take to catch up while we wait; it goes on by itself.
const ATTACH_WITHIN: Duration = Duration::from_secs(3);

/// A target that is to be made ready, before the ledger names it.
pub(super) struct Prepare {
    pub(super) target: StoreTarget,
    pub(super) done: oneshot::Sender<Result<Done, String>>,
}

/// The prefix of the ledger's keys in etcd.
pub(super) fn prefix(state: &State) -> String {
    etcd::prefix(state.cluster_key())
}

/// What the keeper of the store needs.
pub(super) struct Keeper {
    ledger: Ledger,
    table: watch::Receiver<Arc<Table>>,
    board: Board,
    config: Config,
    files: StoreFiles,
    ca: CaService,
    managed: Managed,
    attached: Option<Attached>,
    wanted: mpsc::Receiver<Prepare>,
}

/// Which store the ledger is attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Attached {
    /// The entry that named it.
    entry: u64,
    endpoints: Vec<String>,
}

impl Keeper {
    pub(super) fn new(
        member: &Member,
        ledger: &Ledger,
        board: &Board,
        (config, layout): (&Config, &Layout),
        ca: &CaService,
    ) -> (Self, mpsc::Sender<Prepare>) {
        let (prepare, wanted) = mpsc::channel(1);
        let files = StoreFiles::new(layout);
        let fixed = Fixed {
            own: member.id(),
            config: config.clone(),
            directory: layout.etcd_data(),
            files: files.clone(),
            ca: ca.clone(),
        };
        let keeper = Self {
            ledger: ledger.clone(),
            table: member.table(),
            board: board.clone(),
            config: config.clone(),
            files,
            ca: ca.clone(),
            managed: Managed::new(Arc::new(fixed)),
            attached: None,
            wanted,
        };
        (keeper, prepare)
    }

    /// Follows the ledger until the node stops; then stops this node's etcd.
    pub(super) async fn run(mut self, stopping: impl Future<Output = ()>) {
        let mut stopping = std::pin::pin!(stopping);
        let mut state = self.ledger.state();
        loop {
            let now = state.borrow_and_update().clone();
            tokio::select! {
                biased;
                () = &mut stopping => break,
                () = self.follow(&now) => {}
            }
            tokio::select! {
                biased;
                () = &mut stopping => break,
                Some(prepare) = self.wanted.recv() => {
                    let done = self.prepare(&now, prepare.target).await;
                    drop(prepare.done.send(done));
                }
                Ok(()) = changed(&mut state, &now) => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
        self.managed.stop().await;
    }

    async fn follow(&mut self, state: &State) {
        let result = match self.wanted_store(state) {
            StoreConfig::Embedded => {
                self.leave().await;
                self.managed.stop().await;
                Ok(())
            }
            StoreConfig::Managed => self.follow_managed(state).await,
            StoreConfig::Endpoints(endpoints) => {
                self.managed.stop().await;
                self.follow_endpoints(state, endpoints).await
            }
        };
        match result.err().or_else(|| self.managed.trouble()) {
            Some(trouble) => self.board.problem("store", trouble),
            None => self.board.solve("store"),
        }
        self.board
            .set_store_members(self.managed.members().to_vec());
    }

    /// The configuration goes before the ledger.
    fn wanted_store(&self, state: &State) -> StoreConfig {
        let configured = &self.config.store.endpoints;
        if configured.is_empty() {
            state.store().clone()
        } else {
            StoreConfig::Endpoints(configured.iter().map(|text| url(text)).collect())
        }
    }

    async fn follow_managed(&mut self, state: &State) -> Result<(), String> {
        let table = self.table.borrow().clone();
        let followed = self.managed.follow(state, &table).await;
        // Attached even while something is amiss: it may be another member that is.
        let endpoints = self.managed.endpoints(state);
        let urls = endpoints.iter().map(|at| format!("https://{at}")).collect();
        let options = self.own_options(urls);
        let attached = self.attach(state, options).await;
        followed.and(attached)
    }

    async fn follow_endpoints(&mut self, state: &State, urls: Vec<String>) -> Result<(), String> {
        let options = self.options(urls).await?;
        self.attach(state, options).await
    }

    /// An existing etcd: by the configuration's files, or else by a certificate of the cluster's own CA.
    async fn options(&self, urls: Vec<String>) -> Result<EtcdOptions, String> {
        let store = &self.config.store;
        if store.cert_file.is_none() {
            self.files.keep(&self.ca, &[]).await?;
        }
        let own = self.own_options(urls);
        Ok(EtcdOptions {
            endpoints: own.endpoints,
            ca_file: store.ca_file.clone().or(own.ca_file),
            cert_file: store.cert_file.clone().or(own.cert_file),
            key_file: store.key.clone().or(own.key_file),
        })
    }

    fn own_options(&self, endpoints: Vec<String>) -> EtcdOptions {
        EtcdOptions {
            endpoints,
            ca_file: Some(self.files.ca.clone()),
            cert_file: Some(self.files.certificate.clone()),
            key_file: Some(self.files.key.clone()),
        }
    }

    /// Attaches the ledger, unless it is attached there already.
    async fn attach(&mut self, state: &State, options: EtcdOptions) -> Result<(), String> {
        let mut endpoints = options.endpoints.clone();
        endpoints.sort();
        let wanted = Attached {
            entry: state.store_entry(),
            endpoints,
        };
        if self.attached.as_ref() == Some(&wanted) {
            return Ok(());
        }
        let store = EtcdStore::new(&options, state.cluster_key()).await;
        let store = store.map_err(|error| error.to_string())?;
        if self.managed.has_founded()
            && let Err(error) = self.ledger.seed(&store).await
        {
            tracing::warn!(%error, "the new etcd could not be given the ledger at once");
        }
        let endpoints = wanted.endpoints.join(", ");
        if self.ledger.attach(store, ATTACH_WITHIN).await {
            tracing::info!(endpoints, "the ledger is shared through etcd");
        } else {
            tracing::info!(
                endpoints,
                "etcd has not answered yet; the ledger goes on trying"
            );
        }
        self.attached = Some(wanted);
        Ok(())
    }

    async fn leave(&mut self) {
        if self.attached.take().is_some() {
            self.ledger.detach().await;
            tracing::info!("the ledger is on this node alone");
        }
    }

    /// Makes a target ready, so that the entry that names it can be appended.
    async fn prepare(&mut self, state: &State, target: StoreTarget) -> Result<Done, String> {
        let ready = match target {
            StoreTarget::Embedded => {
                let members = state.members().count();
                if members > 1 {
                    return Err(format!(
                        "{members} nodes share the ledger; it can lie on one node alone when the others were removed"
                    ));
                }
                "this node keeps the ledger itself"
            }
            StoreTarget::Managed => {
                self.managed.found(state).await?;
                let endpoints = self.managed.endpoints(state);
                let urls = endpoints.iter().map(|at| format!("https://{at}")).collect();
                self.seed(state, &self.own_options(urls)).await?;
                "this node's etcd serves, and holds the ledger"
            }
            StoreTarget::Endpoints(urls) => {
                let options = self
                    .options(urls.iter().map(|text| url(text)).collect())
                    .await?;
                self.seed(state, &options).await?;
                "that etcd answers, takes this node's certificate, and holds the ledger"
            }
        };
        Ok(Done {
            message: ready.to_owned(),
            data: None,
        })
    }
}

impl Keeper {
    /// Has a store that the ledger does not name yet hold it already.
    async fn seed(&self, state: &State, options: &EtcdOptions) -> Result<(), String> {
        let store = EtcdStore::connect(options, state.cluster_key()).await;
        let store = store.map_err(|error| error.to_string())?;
        let seeded = self.ledger.seed(&store).await;
        seeded.map_err(|error| error.to_string())
    }
}

/// An endpoint as the ledger and etcd's client write it.
fn url(text: &str) -> String {
    let address = text.trim_end_matches('/');
    let address = address.strip_prefix("https://").unwrap_or(address);
    format!("https://{address}")
}

/// Waits until something changed that decides over the store: it, or the nodes.
async fn changed(
    state: &mut watch::Receiver<Arc<State>>,
    before: &State,
) -> Result<(), watch::error::RecvError> {
    loop {
        state.changed().await?;
        let now = state.borrow_and_update().clone();
        if now.store_entry() != before.store_entry() || !now.nodes().eq(before.nodes()) {
            state.mark_changed();
            return Ok(());
        }
    }
}
