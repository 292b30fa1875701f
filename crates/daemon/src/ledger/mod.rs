//! The node's ledger: one thread that verifies and commits, and the state that everybody follows.
//!
//! ```text
//!   append(bytes) --queue--> [verify against a copy -> commit the batch -> publish] --watch--> State
//! ```
//!
//! A batch is what waits in the queue: it is verified entry by entry against a copy of the state,
//! committed in one transaction, and only then published and acknowledged.

pub mod replica;

use std::sync::Arc;

use palisade_keys::PublicKey;
use palisade_ledger::{
    Head, Millis, Refusal, Stale, State, Verified, limits::MAX_BATCH, verify, verify_genesis,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::store::{Store, StoreError};
use crate::system;

/// Appends that may wait; a caller beyond waits itself.
const QUEUE: usize = 1024;

/// Why the ledger could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is none yet.
    #[error("there is no ledger yet")]
    Empty,
    /// An entry of the store does not verify.
    #[error("entry {seq} of the ledger does not verify: {refusal}; nothing after it is applied")]
    Entry {
        /// Its number.
        seq: u64,
        /// Why.
        refusal: Refusal,
    },
    /// Verified entries did not fit together; they always do.
    #[error(transparent)]
    Stale(#[from] Stale),
}

/// Why an entry was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// It does not verify.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Its author's clock is ahead.
    #[error(
        "the entry's time, {time}, is more than five minutes ahead of this node's clock, {now}"
    )]
    Ahead {
        /// The entry's time.
        time: Millis,
        /// This node's.
        now: Millis,
    },
    /// It could not be made durable.
    #[error("the entry could not be stored: {0}")]
    Store(String),
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
}

struct Append {
    bytes: Vec<u8>,
    done: oneshot::Sender<Result<Head, AppendError>>,
}

/// A handle to the node's ledger.
#[derive(Clone)]
pub struct Ledger {
    queue: mpsc::Sender<Append>,
    state: watch::Receiver<Arc<State>>,
    store: Arc<Store>,
}

impl Ledger {
    /// Reads and verifies the whole ledger of `store`, whose root of trust is `cluster_key`, and
    /// begins to take entries.
    pub fn open(store: Store, cluster_key: &PublicKey) -> Result<Self, OpenError> {
        store.check_continuity()?;
        let state = load(&store, cluster_key)?;
        Ok(Self::start(store, state))
    }

    /// Begins a ledger with its genesis.
    pub fn begin(store: Store, cluster_key: &PublicKey, genesis: &[u8]) -> Result<Self, OpenError> {
        let (state, verified) = verify_genesis(genesis, cluster_key)
            .map_err(|refusal| OpenError::Entry { seq: 0, refusal })?;
        store.append(&[verified])?;
        Ok(Self::start(store, state))
    }

    fn start(store: Store, state: State) -> Self {
        let store = Arc::new(store);
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (publish, state) = watch::channel(Arc::new(state));
        let writer = Writer {
            store: store.clone(),
            publish,
            waiting,
        };
        std::thread::spawn(move || writer.run());
        Self {
            queue,
            state,
            store,
        }
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

    /// Appends one signed entry. It is durable and published when this returns its head.
    pub async fn append(&self, bytes: Vec<u8>) -> Result<Head, AppendError> {
        let (done, answer) = oneshot::channel();
        let append = Append { bytes, done };
        let sent = self.queue.send(append).await;
        sent.map_err(|_| AppendError::Stopping)?;
        answer.await.map_err(|_| AppendError::Stopping)?
    }

    /// Signed entries from number `from` on, at most `most`.
    pub fn entries(&self, from: u64, most: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        self.store.entries(from, most)
    }
}

fn load(store: &Store, cluster_key: &PublicKey) -> Result<State, OpenError> {
    let mut next = 1;
    let first = store.entries(0, 1)?.pop().ok_or(OpenError::Empty)?;
    let (mut state, _) = verify_genesis(&first, cluster_key)
        .map_err(|refusal| OpenError::Entry { seq: 0, refusal })?;
    loop {
        let page = store.entries(next, MAX_BATCH)?;
        if page.is_empty() {
            return Ok(state);
        }
        for bytes in page {
            let verified = verify(&state, &bytes)
                .map_err(|refusal| OpenError::Entry { seq: next, refusal })?;
            state.apply(&verified)?;
            next += 1;
        }
    }
}

struct Writer {
    store: Arc<Store>,
    publish: watch::Sender<Arc<State>>,
    waiting: mpsc::Receiver<Append>,
}

impl Writer {
    fn run(mut self) {
        while let Some(first) = self.waiting.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < MAX_BATCH
                && let Ok(next) = self.waiting.try_recv()
            {
                batch.push(next);
            }
            self.commit(batch);
        }
    }

    fn commit(&self, batch: Vec<Append>) {
        let mut state = State::clone(&self.publish.borrow());
        let now = system::millis();
        let mut accepted = Vec::with_capacity(batch.len());
        let mut waiters = Vec::with_capacity(batch.len());
        for append in batch {
            match admit(&mut state, &append.bytes, now) {
                Ok(verified) => {
                    waiters.push((append.done, verified.head()));
                    accepted.push(verified);
                }
                Err(error) => answer(append.done, Err(error)),
            }
        }
        match self.store.append(&accepted) {
            Ok(()) => {
                if !accepted.is_empty() {
                    self.publish.send_replace(Arc::new(state));
                }
                for (done, head) in waiters {
                    answer(done, Ok(head));
                }
            }
            Err(error) => {
                tracing::error!(%error, "the ledger could not be written");
                for (done, _) in waiters {
                    answer(done, Err(AppendError::Store(error.to_string())));
                }
            }
        }
    }
}

fn admit(state: &mut State, bytes: &[u8], now: Millis) -> Result<Verified, AppendError> {
    let verified = verify(state, bytes)?;
    if verified.is_ahead_of(now) {
        let time = verified.entry().time;
        return Err(AppendError::Ahead { time, now });
    }
    state
        .apply(&verified)
        .map_err(|stale| AppendError::Store(stale.to_string()))?;
    Ok(verified)
}

/// The caller may have gone away; the entry stands all the same.
fn answer(done: oneshot::Sender<Result<Head, AppendError>>, result: Result<Head, AppendError>) {
    drop(done.send(result));
}
