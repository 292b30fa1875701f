//! Replication without I/O: the node's own verified chain, beside what a shared store shows.
//!
//! ```text
//!   Listing, Changes --> [note -> extend the chain by what verifies -> compare the rest] --> Taken
//!   next(now)        --> List | Touch | Heal | Fence | Hold | Wait | Ready
//!   propose(batch)   --> Transaction --outcome--> settled: Committed | Again
//! ```
//!
//! What the shared store shows is believed only as far as it verifies as an extension of the node's
//! own chain. All else is an alarm, and is healed: the verified chain is put back, each write guarded
//! by the revision that was seen.
//!
//! Nodes create an entry once, and write over one only to heal, the same bytes. So another entry
//! under a key that was written twice, or that this node has seen as its chain has it, is
//! tampering, whoever signed it: an authorised author stops nobody by it. Only a second chain that
//! stands as it was created, in a store that never agreed with this node there, and that is
//! *validly signed*, is a fork: nothing is touched, the node refuses to append, and a human decides.
//!
//! Two nodes can't extend the chain differently as long as the store keeps its history: an append
//! compares the revision of the head, and a node appends only when it has heard of every revision up
//! to that one, in order, and applied what it showed. After a [`Listing`] the history behind the
//! node's last entry is read again, up to a revision that the node itself made (`touch`).

mod alarm;
mod flight;
mod fork;
mod next;
mod view;

use std::sync::Arc;

use palisade_ledger::{Hash, Head, State, Verified, verify};

use crate::store::shared::{Changes, Key, Listing};

pub use alarm::Alarm;
use flight::Flight;
pub use next::Next;
use view::View;

/// How long a node that saw tampering waits before it appends: nodes that hold a longer chain put it
/// back in that time. Milliseconds.
pub const GRACE: u64 = 1000;

/// How long to wait for a change that must come before everything is listed again. Milliseconds.
pub const STALL: u64 = 1000;

/// Says whether these bytes are a valid entry behind the node's own entry before that number; for
/// number 0, whether they are a genesis of the cluster.
pub type Judge<'a> = &'a dyn Fn(u64, &[u8]) -> bool;

/// What came of something that the store showed. The entries are to be stored, in their order, before
/// the state is published.
#[must_use]
#[derive(Debug, Default)]
pub struct Taken {
    /// Entries that verified and extend the chain.
    pub entries: Vec<Verified>,
    /// What somebody must be told.
    pub alarms: Vec<Alarm>,
}

/// Which transaction an outcome belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// [`Next::Touch`].
    Touch,
    /// [`Next::Heal`].
    Heal,
    /// [`Next::Fence`].
    Fence,
    /// Of [`Replica::propose`], with its number.
    Append(u64),
}

/// What became of entries that were proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// They stand in the chain.
    Committed,
    /// They don't, and never will: look at the head, and verify them again.
    Again,
}

/// One node's chain, and what it knows of a shared store.
pub struct Replica {
    state: Arc<State>,
    /// Hashes of the chain's entries, by their number.
    chain: Vec<Hash>,
    /// Which of them this store has shown as they are, once.
    seen: Vec<bool>,
    /// The entry that named this store.
    opened_at: u64,
    closed: bool,
    view: Option<View>,
    flight: Option<Flight>,
    flights: u64,
    settled: Option<Settled>,
    forked: Option<(u64, Hash)>,
    judged: fork::Judged,
    alarms: alarm::Alarms,
    /// No append before this moment.
    hold: u64,
    /// Up to this revision of the store everything was heard, before the view.
    known: u64,
    /// A revision that must come, and since when.
    awaited: Option<(u64, u64)>,
    /// The view's revision when the last transaction was made.
    made_at: u64,
}

impl Replica {
    /// A replica of the chain with these hashes, which folds to `state`. `known` is a revision of the
    /// store up to which the node had heard everything when it noted that (0: none), see
    /// [`Self::revision`].
    #[must_use]
    pub fn new(state: Arc<State>, chain: Vec<Hash>, known: u64) -> Self {
        Self {
            opened_at: state.store_entry(),
            state,
            seen: vec![known > 0; chain.len()],
            chain,
            closed: false,
            view: None,
            flight: None,
            flights: 0,
            settled: None,
            forked: None,
            judged: fork::Judged::default(),
            alarms: alarm::Alarms::default(),
            hold: 0,
            known,
            awaited: None,
            made_at: 0,
        }
    }

    /// The state that the chain folds to.
    #[must_use]
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Whether an entry was applied that names another store: nothing more is taken from this one.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The first entry in which a second validly signed chain differs, and its hash.
    #[must_use]
    pub fn forked(&self) -> Option<(u64, Hash)> {
        self.forked
    }

    /// Up to which revision all was heard, in order; 0 if nothing was. Worth a note on disk: the next
    /// start reads the store's history from there.
    ///
    /// A noted revision says that the store had agreed, and that all it showed is in the chain: it
    /// stands still while there is a fork, or an entry behind a gap.
    #[must_use]
    pub fn revision(&self) -> u64 {
        let disputed = self.forked.is_some() || self.judged.is_awaited();
        // A store that is new and empty is no store that was turned back, as often as it is listed.
        let agreed = self.known > 0 || self.alarms.was_right;
        let live = self.view.as_ref().filter(|_| agreed);
        let live = live.filter(|view| view.live && view.ahead.is_empty() && !disputed);
        live.map_or(self.known, |view| view.revision)
    }

    /// The last revision that a watch has shown, or the listing; 0 while the history is read.
    #[must_use]
    pub fn heard(&self) -> u64 {
        let live = self.view.as_ref().filter(|view| view.live);
        live.map_or(0, |view| view.revision)
    }

    /// At which revision all was listed last; 0 if it was not.
    #[must_use]
    pub fn listed_at(&self) -> u64 {
        self.view.as_ref().map_or(0, |view| view.listed)
    }

    /// Sets up to which revision everything was heard: what was noted, or 0 when the store is another
    /// one than it was.
    pub fn set_known(&mut self, revision: u64) {
        self.known = revision;
        self.seen.fill(revision > 0);
    }

    /// Whether there is a view at all.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.view.is_some()
    }

    /// Behind which revision to begin to watch after a listing: the last one up to which everything
    /// was heard, so that entries are seen that were there since and were taken away. A revision in
    /// the store itself would not do: whoever takes entries away can write the ones before anew.
    #[must_use]
    pub fn watch_behind(&self) -> u64 {
        self.known
    }

    /// Goes back to `state`, which the local store holds: what came behind it was not stored.
    pub fn rewind(&mut self, state: Arc<State>) {
        let length = usize::try_from(state.head().seq).unwrap_or(usize::MAX);
        self.chain.truncate(length.saturating_add(1));
        self.seen.truncate(length.saturating_add(1));
        self.closed = state.store_entry() != self.opened_at;
        self.state = state;
        self.forget();
        // What was not stored is read again, from the history.
        self.known = 0;
    }

    /// The view is lost: all must be listed again.
    pub fn forget(&mut self) {
        self.known = self.revision();
        self.view = None;
        self.awaited = None;
    }

    fn length(&self) -> u64 {
        u64::try_from(self.chain.len()).unwrap_or(u64::MAX)
    }

    fn hash_at(&self, seq: u64) -> Option<Hash> {
        let index = usize::try_from(seq).ok()?;
        self.chain.get(index).copied()
    }

    fn head(&self) -> Head {
        self.state.head()
    }

    /// Takes in all that the store shows. The chain is not extended yet: the history comes first.
    pub fn listing(&mut self, listing: Listing) {
        if self.closed {
            return;
        }
        if listing.revision < self.known {
            // The store itself was turned back: its revisions mean nothing to us.
            self.set_known(0);
        }
        self.view = Some(View::of(listing, &self.chain, &mut self.seen));
        self.awaited = None;
    }

    /// Takes in what one revision changed. Revisions must come in their order; those that came before
    /// are passed over.
    pub fn changes(&mut self, changes: Changes, now: u64, judge: Judge<'_>) -> Taken {
        let mut taken = Taken::default();
        if self.closed {
            return taken;
        }
        let Some(view) = &mut self.view else {
            return taken;
        };
        if let Some((_, since)) = &mut self.awaited {
            // The watch goes on, if slowly.
            *since = now;
        }
        if changes.revision <= view.listed {
            if !view.live {
                self.history(changes, &mut taken);
            }
            return taken;
        }
        if changes.revision <= view.revision {
            return taken;
        }
        view.revision = changes.revision;
        view.live = true;
        view.past = view::Ahead::default();
        for (key, put) in changes.keys {
            let revision = changes.revision;
            view.note(key, put, revision, &self.chain, &mut self.seen);
        }
        self.evaluate(now, judge, &mut taken);
        taken
    }

    /// What was in the store before the listing: it only extends the chain, for it may be gone since.
    fn history(&mut self, changes: Changes, taken: &mut Taken) {
        let Some(view) = &mut self.view else { return };
        for (key, put) in changes.keys {
            let Key::Entry(seq) = key else { continue };
            match put {
                Some(put) => {
                    let own = usize::try_from(seq).ok();
                    let own = own.and_then(|at| self.chain.get(at).zip(self.seen.get_mut(at)));
                    match own {
                        Some((hash, seen)) => *seen |= Hash::of(&put.value) == *hash,
                        None => view.past.insert(seq, put.value, changes.revision),
                    }
                }
                None => drop(view.past.remove(seq)),
            }
        }
        // As a node that watched: what lies behind a gap waits, in its last form.
        while !self.closed {
            let seq = self.length();
            let Some(view) = &mut self.view else { return };
            let Some((value, _)) = view.past.remove(seq) else {
                break;
            };
            let Ok(verified) = verify(&self.state, &value) else {
                break;
            };
            let hash = verified.head().hash;
            self.extend(verified, taken);
            if let Some(view) = &mut self.view {
                view.extended(seq, hash);
            }
        }
    }

    /// Extends the chain by what verifies, and compares the rest.
    fn evaluate(&mut self, now: u64, judge: Judge<'_>, taken: &mut Taken) {
        while !self.closed {
            let seq = self.length();
            let Some(view) = &mut self.view else { return };
            let Some((value, revision)) = view.ahead.remove(seq) else {
                break;
            };
            match verify(&self.state, &value) {
                Ok(verified) => self.extend(verified, taken),
                Err(refusal) => {
                    view.refuse(seq, value, revision, refusal.to_string());
                    break;
                }
            }
        }
        if self.closed {
            return;
        }
        self.settle_by_view();
        if self.view.as_ref().is_some_and(View::is_used_up) {
            // All is listed again.
            return;
        }
        self.forked = self.find_fork(now, judge);
        let alarms = self.compare();
        if !alarms.is_empty() {
            self.hold = now.saturating_add(GRACE);
        }
        taken.alarms.extend(alarms);
    }

    fn extend(&mut self, verified: Verified, taken: &mut Taken) {
        let head = verified.head();
        if Arc::make_mut(&mut self.state).apply(&verified).is_err() {
            return;
        }
        self.chain.push(head.hash);
        self.seen.push(true);
        self.closed = self.state.store_entry() != self.opened_at;
        taken.entries.push(verified);
        let Some(flight) = &self.flight else { return };
        let place = usize::try_from(head.seq.saturating_sub(flight.first));
        let ours = place.ok().and_then(|place| flight.hashes.get(place));
        let last = flight.first.saturating_add(flight.hashes.len() as u64) == head.seq + 1;
        if ours != Some(&head.hash) {
            self.settle(Settled::Again);
        } else if last {
            self.settle(Settled::Committed);
        }
    }

    /// Something has changed that this node has not heard of yet.
    fn await_any(&mut self, now: u64) {
        let Some(view) = &self.view else { return };
        if view.revision <= self.made_at {
            self.awaited = Some((view.revision + 1, now));
        }
    }
}
