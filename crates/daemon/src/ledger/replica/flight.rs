//! Transactions on their way: what is proposed, and what came of what was sent.

use palisade_ledger::{Hash, Verified};

use super::{Replica, Sent, Settled, Taken};
use crate::store::shared::{Key, Outcome, Transaction, head_value};

/// Entries on their way into the shared store.
pub(super) struct Flight {
    pub(super) id: u64,
    /// Number of the first.
    pub(super) first: u64,
    pub(super) hashes: Vec<Hash>,
    /// Not yet applied; empty when they came by the watch.
    pub(super) batch: Vec<Verified>,
    /// The revision of the head that the transaction compares.
    pub(super) guard: u64,
    pub(super) unknown: bool,
    pub(super) fenced: bool,
}

impl Replica {
    pub(super) fn settle(&mut self, settled: Settled) {
        self.flight = None;
        self.settled = Some(settled);
    }

    /// The head was written since the transaction was made, and its entries never came: it was not
    /// made, and its guard holds no more.
    pub(super) fn settle_by_view(&mut self) {
        if let (Some(view), Some(flight)) = (&self.view, &self.flight)
            && flight.unknown
            && view.live
            && view.head.revision != flight.guard
            && self.length() == flight.first
        {
            self.settle(Settled::Again);
        }
    }

    /// Makes the transaction that appends `batch`, which was verified against [`Self::state`]. None
    /// when [`Self::next`] would not say [`super::Next::Ready`].
    pub fn propose(&mut self, batch: Vec<Verified>) -> Option<(u64, Transaction)> {
        let view = self.view.as_ref()?;
        let last = batch.last()?.head();
        let first = self.length();
        let mut guards = vec![(Key::Head, view.head.revision)];
        let mut writes = Vec::with_capacity(batch.len() + 1);
        for (seq, entry) in (first..).zip(&batch) {
            guards.push((Key::Entry(seq), 0));
            writes.push((Key::Entry(seq), Some(entry.bytes().to_vec())));
        }
        writes.push((Key::Head, Some(head_value(last))));
        self.flights += 1;
        self.made_at = view.revision;
        self.settled = None;
        self.flight = Some(Flight {
            id: self.flights,
            first,
            hashes: batch.iter().map(|entry| entry.head().hash).collect(),
            guard: view.head.revision,
            batch,
            unknown: false,
            fenced: false,
        });
        Some((self.flights, Transaction { guards, writes }))
    }

    /// What became of the entries proposed last, once it is known.
    pub fn settled(&mut self) -> Option<Settled> {
        self.settled.take()
    }

    /// Gives up the entries proposed last: their author was told that nothing is known. If they were
    /// or will be stored, they come as any others.
    pub fn abandon(&mut self) {
        self.flight = None;
        self.settled = None;
    }

    /// What was sent last will not be answered any more.
    pub fn unanswered(&mut self) {
        if let Some(flight) = &mut self.flight {
            flight.unknown = true;
        }
    }

    /// Takes in what became of a transaction.
    pub fn outcome(&mut self, sent: Sent, outcome: Outcome, now: u64) -> Taken {
        let mut taken = Taken::default();
        let Some(view) = &mut self.view else {
            // The transaction's own effect is seen in the next listing.
            self.unknown_to_all(sent, outcome);
            return taken;
        };
        match (sent, outcome) {
            (Sent::Touch | Sent::Heal, Outcome::Committed(revision)) => {
                if view.revision < revision {
                    self.awaited = Some((revision, now));
                }
            }
            (Sent::Touch | Sent::Heal, _) => self.await_any(now),
            (Sent::Fence, Outcome::Committed(revision)) => {
                view.wrote_head(head_value(self.state.head()), revision);
                if self.flight.is_some() {
                    self.settle(Settled::Again);
                }
            }
            (Sent::Fence, Outcome::Conflict) => {
                if let Some(flight) = &mut self.flight {
                    flight.fenced = true;
                }
                self.await_any(now);
            }
            (Sent::Fence, Outcome::Unknown) => {}
            (Sent::Append(id), outcome) => self.appended(id, outcome, now, &mut taken),
        }
        taken
    }

    fn unknown_to_all(&mut self, sent: Sent, outcome: Outcome) {
        let Some(flight) = &mut self.flight else {
            return;
        };
        match (sent, outcome) {
            (Sent::Append(id), Outcome::Conflict) if id == flight.id => {
                self.settle(Settled::Again);
            }
            (Sent::Append(id), _) if id == flight.id => flight.unknown = true,
            (Sent::Fence, Outcome::Committed(_)) => self.settle(Settled::Again),
            _ => {}
        }
    }

    fn appended(&mut self, id: u64, outcome: Outcome, now: u64, taken: &mut Taken) {
        let Some(flight) = &mut self.flight else {
            return;
        };
        if flight.id != id {
            return;
        }
        match outcome {
            Outcome::Unknown => flight.unknown = true,
            Outcome::Conflict => {
                self.settle(Settled::Again);
                self.await_any(now);
            }
            Outcome::Committed(revision) => {
                // Those that came by the watch already are in the chain.
                let arrived = self.chain.len() as u64 - flight.first;
                let arrived = usize::try_from(arrived).unwrap_or(usize::MAX);
                let batch = std::mem::take(&mut flight.batch);
                for verified in batch.into_iter().skip(arrived) {
                    let (seq, hash) = (verified.head().seq, verified.head().hash);
                    self.extend(verified, taken);
                    if let Some(view) = &mut self.view {
                        view.wrote(seq, hash);
                    }
                }
                let value = head_value(self.head());
                if let Some(view) = &mut self.view {
                    view.wrote_head(value, revision);
                }
            }
        }
    }
}
