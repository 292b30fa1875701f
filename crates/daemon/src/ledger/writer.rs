//! The ledger's one thread: what waits, the clock it waits by, and the store that is attached.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use palisade_ledger::{Hash, Head, State, StoreConfig};
use palisade_link::api::{StoreKind, StoreStatus};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::admission::Turns;
use super::attached::{Attached, Woken};
use super::error::AppendError;
use super::event::LedgerEvent;
use super::notes::Note;
use crate::store::Store;
use crate::store::etcd::EtcdStore;

/// How long an entry waits for the store before its author is told that it takes nothing: longer than
/// an etcd needs to choose another leader.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the thread sleeps when nothing is to be done.
const IDLE: Duration = Duration::from_mins(1);

/// An entry on its way in.
pub(super) struct Append {
    pub(super) bytes: Vec<u8>,
    pub(super) done: oneshot::Sender<Result<Head, AppendError>>,
    pub(super) until: Instant,
}

impl Append {
    pub(super) fn new(bytes: Vec<u8>, done: oneshot::Sender<Result<Head, AppendError>>) -> Self {
        let until = Instant::now() + PATIENCE;
        Self { bytes, done, until }
    }
}

/// What the thread is asked to do.
pub(super) enum Job {
    Append(Append),
    Attach {
        store: EtcdStore,
        done: oneshot::Sender<()>,
    },
    Detach {
        done: oneshot::Sender<()>,
    },
}

/// The caller may have gone away; the entry stands all the same.
pub(super) fn answer(
    done: oneshot::Sender<Result<Head, AppendError>>,
    result: Result<Head, AppendError>,
) {
    drop(done.send(result));
}

pub(super) struct Writer {
    pub(super) store: Arc<Store>,
    pub(super) publish: watch::Sender<Arc<State>>,
    jobs: mpsc::Receiver<Job>,
    status: watch::Sender<StoreStatus>,
    pub(super) events: broadcast::Sender<LedgerEvent>,
    /// Hashes of the stored entries, by their number.
    pub(super) chain: Vec<Hash>,
    pub(super) waiting: VecDeque<Append>,
    pub(super) turns: Turns,
    attached: Option<Attached>,
    pub(super) was_attached: bool,
    /// The entry under which the ledger was shared when that was noted last, in this run or before.
    pub(super) shared_under: Option<u64>,
}

impl Writer {
    pub(super) fn new(
        store: Arc<Store>,
        publish: watch::Sender<Arc<State>>,
        jobs: mpsc::Receiver<Job>,
        status: watch::Sender<StoreStatus>,
        events: broadcast::Sender<LedgerEvent>,
        chain: Vec<Hash>,
    ) -> Self {
        Self {
            shared_under: Note::read(store.directory()).entry(),
            store,
            publish,
            jobs,
            status,
            events,
            chain,
            waiting: VecDeque::new(),
            turns: Turns::default(),
            attached: None,
            was_attached: false,
        }
    }

    /// Starts the thread. It ends, and closes the store, when the last handle is gone.
    pub(super) fn start(self) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || runtime.block_on(self.run()))
            .map(drop)
    }

    async fn run(mut self) {
        self.tell_status();
        while self.round().await {}
        if let Some(mut attached) = self.attached.take() {
            attached.note();
        }
    }

    /// One round; `false` when the last handle is gone.
    async fn round(&mut self) -> bool {
        let until = self.wake_at();
        let woken = async {
            match &mut self.attached {
                Some(attached) => attached.woken().await,
                None => std::future::pending().await,
            }
        };
        let woken = tokio::select! {
            woken = woken => Some(woken),
            job = self.jobs.recv() => match job {
                Some(job) => Some(Woken::Job(job)),
                None => return false,
            },
            () = tokio::time::sleep_until(until) => None,
        };
        match woken {
            Some(Woken::Job(job)) => {
                self.take(job);
                while let Ok(job) = self.jobs.try_recv() {
                    self.take(job);
                }
            }
            Some(woken) => self.with_attached(|attached, writer| attached.take(woken, writer)),
            None => {}
        }
        self.with_attached(Attached::advance);
        if self.attached.is_none() {
            self.commit();
        }
        self.expire();
        self.tell_status();
        true
    }

    /// Lends the attached store the rest of the writer.
    fn with_attached(&mut self, work: impl FnOnce(&mut Attached, &mut Self)) {
        if let Some(mut attached) = self.attached.take() {
            work(&mut attached, self);
            self.attached = Some(attached);
        }
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Append(append) => self.waiting.push_back(append),
            Job::Attach { store, done } => {
                if let Some(attached) = &mut self.attached
                    && (attached.is(&store) || attached.reach_by(&store))
                {
                    return attached.tell_when_caught_up(done);
                }
                self.let_go();
                self.was_attached = true;
                let state = self.publish.borrow().clone();
                let chain = self.chain.clone();
                self.attached = Some(Attached::new(store, &self.store, state, chain, done));
            }
            Job::Detach { done } => {
                self.let_go();
                self.shared_under = None;
                Note::read(self.store.directory()).remove();
                done.send(()).ok();
            }
        }
    }

    fn let_go(&mut self) {
        self.with_attached(Attached::let_go);
        self.attached = None;
    }

    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let patience = self.waiting.iter().map(|append| append.until).min();
        let attached = self.attached.as_ref().and_then(Attached::wake_at);
        let all = [patience, attached];
        let first = all.into_iter().flatten().min();
        first.unwrap_or(now + IDLE)
    }

    /// Tells those who waited long enough that the store takes nothing.
    fn expire(&mut self) {
        let now = Instant::now();
        let forked = self.attached.as_ref().and_then(Attached::forked);
        for append in std::mem::take(&mut self.waiting) {
            match forked {
                Some(seq) => answer(append.done, Err(AppendError::Forked(seq))),
                None if append.until <= now => answer(append.done, Err(AppendError::NoQuorum)),
                None => self.waiting.push_back(append),
            }
        }
    }

    pub(super) fn tell(&self, event: LedgerEvent) {
        match &event {
            LedgerEvent::Healed | LedgerEvent::QuorumBack | LedgerEvent::Moved { .. } => {
                tracing::info!("{event}");
            }
            LedgerEvent::Tampered { .. }
            | LedgerEvent::RolledBack { .. }
            | LedgerEvent::Forked { .. }
            | LedgerEvent::QuorumLost { .. } => tracing::warn!("{event}"),
        }
        // Nobody need listen.
        drop(self.events.send(event));
    }

    fn tell_status(&self) {
        let kind = match self.publish.borrow().store() {
            StoreConfig::Embedded => StoreKind::Embedded,
            StoreConfig::Managed => StoreKind::Managed,
            StoreConfig::Endpoints(_) => StoreKind::Endpoints,
        };
        let status = match &self.attached {
            // The configuration names an etcd, and the ledger none.
            Some(attached) if kind == StoreKind::Embedded => attached.status(StoreKind::Endpoints),
            Some(attached) => attached.status(kind),
            None => StoreStatus {
                kind,
                quorum: self.is_local(),
                behind: kind != StoreKind::Embedded,
                problem: (!self.is_local())
                    .then(|| "the etcd that keeps the ledger is not attached".to_owned()),
                ..StoreStatus::default()
            },
        };
        self.status.send_if_modified(|told| {
            let other = *told != status;
            *told = status;
            other
        });
    }
}
