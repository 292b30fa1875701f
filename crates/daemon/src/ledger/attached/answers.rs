//! What the store answers and what its watch hears, taken in.

use palisade_keys::PublicKey;
use palisade_ledger::{verify, verify_genesis};
use tokio::time::Instant;

use super::{Attached, Done, PAUSE, PROBE, START, Woken};
use crate::ledger::error::AppendError;
use crate::ledger::event::LedgerEvent;
use crate::ledger::load;
use crate::ledger::replica::{Sent, Settled, Taken};
use crate::ledger::writer::{Writer, answer};
use crate::store::Store;
use crate::store::etcd::{EtcdError, Heard, Listed, Probed};
use crate::store::shared::Outcome;

impl Attached {
    /// Takes in what happened.
    pub(in crate::ledger) fn take(&mut self, woken: Woken, writer: &mut Writer) {
        match woken {
            Woken::Job(_) => {}
            Woken::Heard(heard) => self.heard(heard, writer),
            Woken::Done(Done::Probed(probed)) => {
                if let Some(probed) = self.answered(probed, writer) {
                    self.probed(probed);
                }
            }
            Woken::Done(Done::Listed(listed)) => {
                if let Some(listed) = self.answered(listed, writer) {
                    self.listed(listed);
                }
            }
            Woken::Done(Done::Sent(sent, outcome)) => self.sent(sent, outcome, writer),
        }
        self.settle(writer);
    }

    fn heard(&mut self, heard: Option<Heard>, writer: &mut Writer) {
        match heard {
            Some(Heard::Changes(changes)) => {
                let now = self.millis(Instant::now());
                let (local, key) = (self.local.clone(), self.cluster_key);
                let judge = move |seq: u64, bytes: &[u8]| judge(&local, &key, seq, bytes);
                let taken = self.replica.changes(changes, now, &judge);
                self.keep(taken, writer);
            }
            Some(Heard::Lost(why)) => {
                tracing::debug!(why, "the watch of the ledger's store was lost");
                // Whether the store is there is asked at once, not at the next probe.
                self.contact = None;
            }
            Some(Heard::Compacted) | None => {
                if self.replica.is_listed() && self.replica.heard() == 0 {
                    tracing::info!("the store's history since this node heard of it is gone");
                    self.watch = Some(self.store.watch(self.replica.listed_at()));
                } else {
                    self.relist();
                }
            }
        }
    }

    /// A store that was put back from a backup never gets to the revision that the watch waits for, or
    /// gets there with other changes.
    fn probed(&mut self, probed: Probed) {
        let other = self
            .cluster_id
            .is_some_and(|known| known != probed.cluster_id);
        if other || probed.revision < self.replica.heard() {
            self.relist();
        }
    }

    fn listed(&mut self, listed: Listed) {
        match self.cluster_id {
            None => self.replica.set_known(self.note.of(listed.cluster_id)),
            Some(known) if known != listed.cluster_id => {
                tracing::warn!("the ledger's store is another etcd cluster than before");
                self.replica.set_known(0);
            }
            Some(_) => {}
        }
        self.cluster_id = Some(listed.cluster_id);
        self.replica.listing(listed.listing);
        self.watch = Some(self.store.watch(self.replica.watch_behind()));
    }

    fn sent(&mut self, sent: Sent, outcome: Result<Outcome, EtcdError>, writer: &mut Writer) {
        let outcome = match outcome {
            Ok(Outcome::Unknown) => {
                // One member may have died; the next transaction goes to another one.
                let again = self.contact.take().is_none();
                self.not_before = Some(Instant::now() + PAUSE);
                if again {
                    let why = "its members give no answer".to_owned();
                    self.silent(why, writer);
                }
                Outcome::Unknown
            }
            Ok(outcome) => {
                self.answered(Ok(()), writer);
                outcome
            }
            // It was not made: entries may be proposed again; all else is tried again.
            Err(error) => {
                self.silent(error.to_string(), writer);
                match sent {
                    Sent::Append(_) => Outcome::Conflict,
                    Sent::Touch | Sent::Heal | Sent::Fence => Outcome::Unknown,
                }
            }
        };
        let now = self.millis(Instant::now());
        let taken = self.replica.outcome(sent, outcome, now);
        self.keep(taken, writer);
    }

    /// Notes that the store answered, or did not.
    fn answered<T>(&mut self, result: Result<T, EtcdError>, writer: &mut Writer) -> Option<T> {
        match result {
            Ok(answer) => {
                self.contact = Some(Instant::now());
                self.problem = None;
                if self.quorum == Some(false) {
                    writer.tell(LedgerEvent::QuorumBack);
                }
                self.quorum = Some(true);
                Some(answer)
            }
            Err(error) => {
                self.silent(error.to_string(), writer);
                None
            }
        }
    }

    fn silent(&mut self, why: String, writer: &mut Writer) {
        self.contact = None;
        self.not_before = Some(Instant::now() + PAUSE);
        self.problem = Some(why.clone());
        if self.quorum.is_none() && Instant::now() < self.begun + START {
            // Node and etcd may just have been started together.
            return;
        }
        if self.quorum != Some(false) {
            writer.tell(LedgerEvent::QuorumLost { why });
        }
        self.quorum = Some(false);
    }

    /// Stores and publishes what was taken, and tells its alarms.
    fn keep(&mut self, taken: Taken, writer: &mut Writer) {
        for alarm in taken.alarms {
            writer.tell(alarm.into());
        }
        if taken.entries.is_empty() {
            return;
        }
        match writer.store.append(&taken.entries) {
            Ok(()) => {
                let hashes = taken.entries.iter().map(|entry| entry.head().hash);
                writer.chain.extend(hashes);
                writer.publish.send_replace(self.replica.state().clone());
            }
            Err(error) => {
                // The store has the entries; they are taken in again when the disk takes them.
                tracing::error!(%error, "the ledger could not be written");
                let stored = writer.publish.borrow().clone();
                self.replica.rewind(stored);
                self.watch = None;
                self.not_before = Some(Instant::now() + PROBE);
                self.problem = Some(error.to_string());
                self.abandon(&AppendError::Store(error.to_string()));
            }
        }
    }

    /// Answers the authors of what was settled.
    pub(super) fn settle(&mut self, writer: &mut Writer) {
        match self.replica.settled() {
            Some(Settled::Committed) => {
                for (append, head) in self.flying.drain(..) {
                    answer(append.done, Ok(head));
                }
            }
            Some(Settled::Again) => {
                for (append, _) in self.flying.drain(..).rev() {
                    writer.waiting.push_front(append);
                }
            }
            None => {}
        }
        let now = Instant::now();
        if self.flying.iter().any(|(append, _)| append.until <= now) {
            self.request = None;
            self.abandon(&AppendError::Unknown);
        }
    }
}

/// Whether `bytes` verify behind the local entry before number `seq`.
fn judge(local: &Store, cluster_key: &PublicKey, seq: u64, bytes: &[u8]) -> bool {
    let Some(before) = seq.checked_sub(1) else {
        return verify_genesis(bytes, cluster_key).is_ok();
    };
    match load(local, cluster_key, before) {
        Ok((state, _)) => verify(&state, bytes).is_ok(),
        Err(_) => false,
    }
}
