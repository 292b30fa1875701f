//! The node's ledger: one thread that verifies and commits, and the state that everybody follows.
//!
//! ```text
//!   append(bytes) --queue--> [verify against a copy -> commit the batch -> publish] --watch--> State
//!                                        |   ^
//!                     attached: transaction  watch        (what the store shows is verified, too)
//!                                        v   |
//!                                        etcd
//! ```
//!
//! A batch is what waits in the queue: it is verified entry by entry against a copy of the state,
//! committed in one transaction, and only then published and acknowledged. While a store in etcd is
//! attached, its transaction comes before the local one: the local copy is always a prefix of what
//! etcd acknowledged. Without a quorum nothing is appended, and the last verified state stands.

mod admission;
mod attached;
mod embedded;
mod error;
mod event;
mod moving;
mod notes;
pub mod replica;
mod writer;

use std::cmp::Ordering;
use std::sync::Arc;

use palisade_keys::PublicKey;
use palisade_ledger::{Hash, Head, State, limits::MAX_BATCH, verify, verify_genesis};
use palisade_link::api::StoreStatus;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::store::etcd::EtcdStore;
use crate::store::{Store, StoreError};

pub use error::{AppendError, OpenError};
pub use event::LedgerEvent;
pub use moving::MoveError;
use writer::{Append, Job, Writer};

/// Appends that may wait; a caller beyond waits itself.
const QUEUE: usize = 1024;

/// Events that a slow listener may be behind.
const EVENTS: usize = 256;

/// A handle to the node's ledger.
#[derive(Clone)]
pub struct Ledger {
    jobs: mpsc::Sender<Job>,
    state: watch::Receiver<Arc<State>>,
    status: watch::Receiver<StoreStatus>,
    events: broadcast::Sender<LedgerEvent>,
    store: Arc<Store>,
}

impl Ledger {
    /// Reads and verifies the whole ledger of `store`, whose root of trust is `cluster_key`, and
    /// begins to take entries.
    pub fn open(store: Store, cluster_key: &PublicKey) -> Result<Self, OpenError> {
        store.check_continuity()?;
        let (state, chain) = load(&store, cluster_key, u64::MAX)?;
        Self::start(store, state, chain)
    }

    /// Begins a ledger with its genesis.
    pub fn begin(store: Store, cluster_key: &PublicKey, genesis: &[u8]) -> Result<Self, OpenError> {
        let (state, verified) = verify_genesis(genesis, cluster_key)
            .map_err(|refusal| OpenError::Entry { seq: 0, refusal })?;
        let chain = vec![verified.head().hash];
        store.append(&[verified])?;
        Self::start(store, state, chain)
    }

    fn start(store: Store, state: State, chain: Vec<Hash>) -> Result<Self, OpenError> {
        let store = Arc::new(store);
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let (publish, state) = watch::channel(Arc::new(state));
        let (tell, status) = watch::channel(StoreStatus::default());
        let (events, _) = broadcast::channel(EVENTS);
        let writer = Writer::new(store.clone(), publish, waiting, tell, events.clone(), chain);
        writer.start().map_err(OpenError::Thread)?;
        Ok(Self {
            jobs,
            state,
            status,
            events,
            store,
        })
    }

    /// The state, as it is now and as it will be.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<Arc<State>> {
        self.state.clone()
    }

    /// The state now.
    #[must_use]
    pub fn now(&self) -> Arc<State> {
        self.state.borrow().clone()
    }

    /// Where the ledger is kept and whether entries can be appended, as it is now and as it will be.
    #[must_use]
    pub fn store(&self) -> watch::Receiver<StoreStatus> {
        self.status.clone()
    }

    /// What somebody must be told about the shared store, from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<LedgerEvent> {
        self.events.subscribe()
    }

    /// Appends one signed entry. It is durable and published when this returns its head.
    pub async fn append(&self, bytes: Vec<u8>) -> Result<Head, AppendError> {
        let (done, answer) = oneshot::channel();
        self.job(Job::Append(Append::new(bytes, done))).await?;
        answer.await.map_err(|_| AppendError::Stopping)?
    }

    /// Attaches a store in etcd: compares all that it shows with the local copy, catches up, and from
    /// then on appends there first. Returns when that is done, or after `within` with `false`: it goes
    /// on by itself then, and the last verified state stands. The very store that is attached stays as it
    /// is, and is reached by the endpoints of `store` if those are others; one that the ledger has left
    /// is let go.
    pub async fn attach(&self, store: EtcdStore, within: std::time::Duration) -> bool {
        let (done, answer) = oneshot::channel();
        if self.job(Job::Attach { store, done }).await.is_err() {
            return false;
        }
        matches!(tokio::time::timeout(within, answer).await, Ok(Ok(())))
    }

    /// Lets the attached store go. Entries are appended to the local copy alone if the ledger says
    /// that it is kept there, else none are.
    pub async fn detach(&self) {
        let (done, answer) = oneshot::channel();
        if self.job(Job::Detach { done }).await.is_ok() {
            drop(answer.await);
        }
    }

    async fn job(&self, job: Job) -> Result<(), AppendError> {
        let sent = self.jobs.send(job).await;
        sent.map_err(|_| AppendError::Stopping)
    }

    /// Whether this node has another entry of this number than the one with this hash (in hexadecimal
    /// digits). To have none is not to have another one.
    pub fn parts_from(&self, seq: u64, hash: &str) -> Result<bool, StoreError> {
        let head = self.now().head();
        let own = match seq.cmp(&head.seq) {
            Ordering::Greater => None,
            Ordering::Equal => Some(head.hash),
            Ordering::Less => {
                let entry = self.store.entries(seq, 1)?.pop();
                entry.map(|entry| Hash::of(&entry))
            }
        };
        Ok(own.is_some_and(|own| own.to_string() != hash))
    }

    /// Signed entries from number `from` on, at most `most`.
    pub fn entries(&self, from: u64, most: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        self.store.entries(from, most)
    }
}

/// Folds the chain of `store` up to entry `last`, or its end; and gives the hashes of its entries.
fn load(
    store: &Store,
    cluster_key: &PublicKey,
    last: u64,
) -> Result<(State, Vec<Hash>), OpenError> {
    let first = store.entries(0, 1)?.pop().ok_or(OpenError::Empty)?;
    let (mut state, genesis) = verify_genesis(&first, cluster_key)
        .map_err(|refusal| OpenError::Entry { seq: 0, refusal })?;
    let mut chain = vec![genesis.head().hash];
    let mut next = 1;
    loop {
        let page = store.entries(next, MAX_BATCH)?;
        if page.is_empty() {
            return Ok((state, chain));
        }
        for bytes in page {
            if next > last {
                return Ok((state, chain));
            }
            let verified = verify(&state, &bytes)
                .map_err(|refusal| OpenError::Entry { seq: next, refusal })?;
            state.apply(&verified)?;
            chain.push(verified.head().hash);
            next += 1;
        }
    }
}
