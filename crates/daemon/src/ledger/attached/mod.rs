//! A store in etcd at work: performs what [`Replica`] says, and tells it what came of that.

mod answers;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use palisade_keys::PublicKey;
use palisade_ledger::{Hash, Head, State, Verified};
use palisade_link::api::{StoreKind, StoreStatus};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::ledger::embedded::{Limits, admit_batch};
use crate::ledger::error::AppendError;
use crate::ledger::event::LedgerEvent;
use crate::ledger::notes::Note;
use crate::ledger::replica::{Next, Replica, Sent};
use crate::ledger::writer::{Append, Job, Writer, answer};
use crate::store::Store;
use crate::store::etcd::{EtcdError, EtcdStore, Heard, Listed, Probed, Watch};
use crate::store::shared::{Outcome, Transaction};

/// Entries of one transaction: etcd takes 128 operations (`--max-txn-ops`), one of them the head's.
const BATCH: Limits = Limits {
    entries: 100,
    bytes: 1024 * 1024,
};

/// How old the last answer may be for an entry to be sent at once. An older one is renewed first: so
/// that what a store without a quorum is asked for was not asked, and is refused for certain.
const FRESH: Duration = Duration::from_millis(500);

/// How long to find out what became of an entry that was sent before its author is told that this is
/// not known: longer than a store needs to choose another leader.
const CERTAINTY: Duration = Duration::from_secs(10);

/// How often a quiet store is asked whether it is there.
const PROBE: Duration = Duration::from_secs(1);

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a store may take to come up before its silence is told.
const START: Duration = Duration::from_secs(10);

/// How often the revision is noted.
const NOTE: Duration = Duration::from_secs(5);

/// What came of a request.
pub(in crate::ledger) enum Done {
    Listed(Result<Listed, EtcdError>),
    Sent(Sent, Result<Outcome, EtcdError>),
    Probed(Result<Probed, EtcdError>),
}

/// What woke the thread.
pub(in crate::ledger) enum Woken {
    Job(Job),
    Heard(Option<Heard>),
    Done(Done),
}

type Request = Pin<Box<dyn Future<Output = Done> + Send>>;

/// The attached store.
pub(in crate::ledger) struct Attached {
    store: EtcdStore,
    local: Arc<Store>,
    cluster_key: PublicKey,
    replica: Replica,
    watch: Option<Watch>,
    request: Option<Request>,
    /// Proposed entries' authors, with their heads to be.
    flying: Vec<(Append, Head)>,
    begun: Instant,
    cluster_id: Option<u64>,
    note: Note,
    noted: Instant,
    /// The last answer.
    contact: Option<Instant>,
    quorum: Option<bool>,
    problem: Option<String>,
    not_before: Option<Instant>,
    wake: Option<Instant>,
    /// Who waits until it holds all that this node holds: somebody, until it was compared.
    caught_up: Vec<oneshot::Sender<()>>,
    told_closed: bool,
}

impl Attached {
    pub(in crate::ledger) fn new(
        store: EtcdStore,
        local: &Arc<Store>,
        state: Arc<State>,
        chain: Vec<Hash>,
        done: oneshot::Sender<()>,
    ) -> Self {
        let now = Instant::now();
        Self {
            store,
            local: local.clone(),
            cluster_key: *state.cluster_key(),
            replica: Replica::new(state, chain, 0),
            watch: None,
            request: None,
            flying: Vec::new(),
            begun: now,
            cluster_id: None,
            note: Note::read(local.directory()),
            noted: now,
            contact: None,
            quorum: None,
            problem: None,
            not_before: None,
            wake: None,
            caught_up: vec![done],
            told_closed: false,
        }
    }

    /// Whether that very store is attached, and the ledger is still kept there.
    pub(in crate::ledger) fn is(&self, store: &EtcdStore) -> bool {
        !self.replica.is_closed() && self.store.endpoints() == store.endpoints()
    }

    /// Goes on with the same ledger by other endpoints, unless it has moved: `false` then. What was
    /// sent and not answered is looked for there.
    pub(in crate::ledger) fn reach_by(&mut self, store: &EtcdStore) -> bool {
        if self.replica.is_closed() {
            return false;
        }
        self.note();
        self.store = store.clone();
        self.request = None;
        self.replica.unanswered();
        self.relist();
        self.contact = None;
        self.not_before = None;
        true
    }

    /// All must be listed again, and watched from where everything was heard.
    fn relist(&mut self) {
        self.replica.forget();
        self.watch = None;
    }

    /// Tells when all that the store shows is applied.
    pub(in crate::ledger) fn tell_when_caught_up(&mut self, done: oneshot::Sender<()>) {
        self.caught_up.push(done);
    }

    /// The next thing that happens.
    pub(in crate::ledger) async fn woken(&mut self) -> Woken {
        let heard = async {
            match &mut self.watch {
                Some(watch) => watch.next().await,
                None => std::future::pending().await,
            }
        };
        let done = async {
            match &mut self.request {
                Some(request) => request.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            heard = heard => Woken::Heard(heard),
            done = done => {
                self.request = None;
                Woken::Done(done)
            }
        }
    }

    pub(in crate::ledger) fn wake_at(&self) -> Option<Instant> {
        let patience = self.flying.iter().map(|(append, _)| append.until).min();
        [self.wake, patience].into_iter().flatten().min()
    }

    pub(in crate::ledger) fn forked(&self) -> Option<u64> {
        self.replica.forked().map(|(seq, _)| seq)
    }

    pub(in crate::ledger) fn status(&self, kind: StoreKind) -> StoreStatus {
        let problem = match (self.forked(), &self.problem) {
            (Some(seq), _) => Some(format!(
                "the ledger was forked at entry {seq}: palisade ledger resolve shows both chains"
            )),
            (None, problem) => problem.clone(),
        };
        StoreStatus {
            kind,
            quorum: self.quorum.unwrap_or(false) && self.forked().is_none(),
            behind: !self.caught_up.is_empty(),
            endpoints: self.store.endpoints(),
            members: Vec::new(),
            problem,
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.begun);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn moment(&self, millis: u64) -> Instant {
        self.begun + Duration::from_millis(millis)
    }

    /// Notes up to which revision all was heard.
    pub(in crate::ledger) fn note(&mut self) {
        if let Some(cluster_id) = self.cluster_id {
            let entry = self.replica.state().store_entry();
            self.note.write(cluster_id, self.replica.revision(), entry);
        }
        self.noted = Instant::now();
    }

    /// Ends the work with this store; what was sent and not answered stays unknown.
    pub(in crate::ledger) fn let_go(&mut self, writer: &mut Writer) {
        self.note();
        self.request = None;
        self.watch = None;
        self.abandon(&AppendError::Unknown);
        self.settle(writer);
    }

    fn abandon(&mut self, error: &AppendError) {
        self.replica.abandon();
        for (append, _) in self.flying.drain(..) {
            let error = match error {
                AppendError::Store(text) => AppendError::Store(text.clone()),
                _ => AppendError::Unknown,
            };
            answer(append.done, Err(error));
        }
    }

    /// Does what is to be done next.
    pub(in crate::ledger) fn advance(&mut self, writer: &mut Writer) {
        self.settle(writer);
        self.wake = None;
        let now = Instant::now();
        if now >= self.noted + NOTE {
            self.note();
        }
        if self.request.is_some() {
            return;
        }
        if let Some(not_before) = self.not_before.filter(|moment| *moment > now) {
            self.wake = Some(not_before);
            return;
        }
        let local = self.local.clone();
        let body = move |seq: u64| local.entries(seq, 1).ok().and_then(|mut one| one.pop());
        match self.replica.next(self.millis(now), &body) {
            Next::List => self.list(),
            Next::Touch(transaction) => self.send(Sent::Touch, transaction),
            Next::Heal(transaction) => self.send(Sent::Heal, transaction),
            Next::Fence(transaction) => self.send(Sent::Fence, transaction),
            Next::Ready => self.ready(now, writer),
            Next::Hold(until) | Next::Wait(until) => self.wake = Some(self.moment(until)),
            Next::Forked => self.probe_if_quiet(now),
            Next::Closed => self.closed(writer),
        }
    }

    fn list(&mut self) {
        self.watch = None;
        let store = self.store.clone();
        self.request = Some(Box::pin(async move { Done::Listed(store.list().await) }));
    }

    fn send(&mut self, sent: Sent, transaction: Transaction) {
        let store = self.store.clone();
        self.request = Some(Box::pin(async move {
            Done::Sent(sent, store.transact(transaction).await)
        }));
    }

    fn probe(&mut self) {
        let store = self.store.clone();
        self.request = Some(Box::pin(async move { Done::Probed(store.probe().await) }));
    }

    fn probe_if_quiet(&mut self, now: Instant) {
        match self.contact.map(|contact| contact + PROBE) {
            Some(next) if now < next => self.wake = Some(next),
            _ => self.probe(),
        }
    }

    fn ready(&mut self, now: Instant, writer: &mut Writer) {
        if !self.caught_up.is_empty() {
            self.note();
        }
        for done in self.caught_up.drain(..) {
            done.send(()).ok();
        }
        if writer.waiting.is_empty() {
            return self.probe_if_quiet(now);
        }
        if self.contact.is_none_or(|contact| contact + FRESH < now) {
            return self.probe();
        }
        let mut state = self.replica.state().as_ref().clone();
        let (batch, waiters) =
            admit_batch(&mut writer.waiting, &mut state, &BATCH, &mut writer.turns);
        let heads: Vec<Head> = batch.iter().map(Verified::head).collect();
        match self.replica.propose(batch) {
            Some((id, transaction)) => {
                self.flying = waiters.into_iter().zip(heads).collect();
                for (append, _) in &mut self.flying {
                    append.until = append.until.max(now + CERTAINTY);
                }
                self.send(Sent::Append(id), transaction);
            }
            // All were refused.
            None => self.probe_if_quiet(now),
        }
    }

    /// The ledger has moved: nothing is taken from here any more, and what waits waits for the other.
    fn closed(&mut self, writer: &mut Writer) {
        self.watch = None;
        if !self.told_closed {
            self.told_closed = true;
            let store = self.replica.state().store().clone();
            writer.tell(LedgerEvent::Moved { store });
        }
    }
}
