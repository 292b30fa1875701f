//! What to do next with the shared store.

use super::{Replica, STALL};
use crate::store::shared::{Key, Transaction, head_value};

/// Writes of one healing transaction: etcd takes 128 (`--max-txn-ops`), as many comparisons, and the
/// head is one of each.
const MAX_WRITES: usize = 100;

/// Bytes of one transaction's values: etcd takes requests of 1.5 MiB (`--max-request-bytes`).
const MAX_BYTES: usize = 1024 * 1024;

/// What to do next. One transaction at a time: its outcome is told before the next is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// List all keys, and watch from behind [`Replica::watch_behind`].
    List,
    /// Write the key `touch`: when the watch shows it, all before it was seen.
    Touch(Transaction),
    /// Put the verified chain back.
    Heal(Transaction),
    /// Write the head as it is, so that an append whose outcome is unknown can't be made any more.
    Fence(Transaction),
    /// Append nothing before this moment: somebody may put a longer chain back.
    Hold(u64),
    /// Wait for the watch, and ask again at this moment.
    Wait(u64),
    /// Entries may be proposed.
    Ready,
    /// There are two validly signed chains: nothing is touched.
    Forked,
    /// The ledger has moved to another store.
    Closed,
}

impl Replica {
    /// What to do next. `body` gives the bytes of an entry of the chain.
    pub fn next(&mut self, now: u64, body: &dyn Fn(u64) -> Option<Vec<u8>>) -> Next {
        if self.closed {
            return Next::Closed;
        }
        let Some(view) = &self.view else {
            return Next::List;
        };
        if let Some((revision, since)) = self.awaited {
            if view.revision < revision {
                let until = since.saturating_add(STALL);
                if now < until {
                    return Next::Wait(until);
                }
                self.forget();
                return Next::List;
            }
            self.awaited = None;
        }
        if !view.live {
            return self.touch();
        }
        if view.is_used_up() {
            self.forget();
            return Next::List;
        }
        if self.forked.is_some() {
            return Next::Forked;
        }
        if let Some(until) = self.judged.awaited() {
            if now < until {
                return Next::Wait(until);
            }
            return self.touch();
        }
        if let Some(flight) = &self.flight {
            if flight.unknown && !flight.fenced {
                self.made_at = view.revision;
                return Next::Fence(Transaction {
                    guards: vec![(Key::Head, flight.guard)],
                    writes: vec![(Key::Head, Some(head_value(self.head())))],
                });
            }
            return Next::Wait(now.saturating_add(STALL));
        }
        if self.is_wrong() {
            self.made_at = view.revision;
            let later = Next::Wait(now.saturating_add(STALL));
            return self.heal(body).map_or(later, Next::Heal);
        }
        if now < self.hold {
            return Next::Hold(self.hold);
        }
        Next::Ready
    }

    /// Writes a key that says nothing: the change that comes of it is taken in behind all others.
    fn touch(&mut self) -> Next {
        self.made_at = self.view.as_ref().map_or(0, |view| view.revision);
        Next::Touch(Transaction {
            guards: Vec::new(),
            writes: vec![(Key::Touch, Some(Vec::new()))],
        })
    }

    /// Whether the store shows anything but the chain.
    fn is_wrong(&self) -> bool {
        let entries = self
            .view
            .as_ref()
            .is_some_and(|view| !view.wrong.is_empty() || !view.ahead.is_empty());
        entries || self.head_is_wrong()
    }

    /// Whether the store's head is not the chain's.
    pub(super) fn head_is_wrong(&self) -> bool {
        let expected = head_value(self.head());
        let head = self.view.as_ref().map(|view| view.head.value.as_ref());
        head.is_some_and(|head| head != Some(&expected))
    }

    /// The transaction that puts the chain back, or its first part. The head comes last.
    fn heal(&self, body: &dyn Fn(u64) -> Option<Vec<u8>>) -> Option<Transaction> {
        let view = self.view.as_ref()?;
        let expected = head_value(self.head());
        let surplus = view.ahead.iter().map(|(seq, (_, r))| (Key::Entry(seq), *r));
        let wrong = view.wrong.iter().map(|(key, w)| (key.clone(), w.revision));
        let mut all = wrong.chain(surplus).peekable();
        let mut heal = Transaction {
            guards: vec![(Key::Head, view.head.revision)],
            writes: Vec::new(),
        };
        let mut bytes = 0;
        while let Some((key, revision)) = all.peek() {
            let value = match key {
                Key::Entry(seq) if *seq < self.length() => Some(body(*seq)?),
                _ => None,
            };
            bytes += value.as_ref().map_or(0, Vec::len);
            let full = heal.writes.len() >= MAX_WRITES || bytes > MAX_BYTES;
            if full && !heal.writes.is_empty() {
                return Some(heal);
            }
            heal.guards.push((key.clone(), *revision));
            heal.writes.push((key.clone(), value));
            all.next();
        }
        if self.head_is_wrong() {
            heal.writes.push((Key::Head, Some(expected)));
        }
        Some(heal)
    }
}
