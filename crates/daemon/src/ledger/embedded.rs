//! Commits without a shared store: what waits is verified, made durable and published.

use std::collections::VecDeque;
use std::sync::Arc;

use palisade_ledger::{State, StoreConfig, Verified, limits::MAX_BATCH};

use super::admission::{Turns, admit};
use super::error::AppendError;
use super::writer::{Append, Writer, answer};
use crate::system;

impl Writer {
    /// Whether entries may go to the local copy alone. Not while the ledger is shared, nor when it was
    /// shared under the same entry before this start: then the configuration names an etcd that is yet
    /// to be attached, and others append there. The only node of a cluster may go on by itself: to
    /// start the etcd that the ledger is to be kept in, it needs entries. Where an entry says that the
    /// ledger lies on one node, it is that one.
    pub(super) fn is_local(&self) -> bool {
        let state = self.publish.borrow();
        let alone = state.members().count() <= 1;
        match state.store() {
            StoreConfig::Embedded if state.store_entry() > 0 => alone,
            StoreConfig::Embedded => alone || self.shared_under != Some(0),
            StoreConfig::Managed => !self.was_attached && alone,
            StoreConfig::Endpoints(_) => false,
        }
    }

    /// Commits what waits, as far as it belongs here.
    pub(super) fn commit(&mut self) {
        while !self.waiting.is_empty() && self.is_local() {
            let mut state = State::clone(&self.publish.borrow());
            let (accepted, waiters) = admit_batch(
                &mut self.waiting,
                &mut state,
                &Limits::LOCAL,
                &mut self.turns,
            );
            if accepted.is_empty() {
                continue;
            }
            let heads: Vec<_> = accepted.iter().map(Verified::head).collect();
            match self.store.append(&accepted) {
                Ok(()) => {
                    self.chain.extend(heads.iter().map(|head| head.hash));
                    self.publish.send_replace(Arc::new(state));
                    for (append, head) in waiters.into_iter().zip(heads) {
                        answer(append.done, Ok(head));
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the ledger could not be written");
                    for append in waiters {
                        answer(append.done, Err(AppendError::Store(error.to_string())));
                    }
                }
            }
        }
    }
}

/// How much goes into one batch.
pub(super) struct Limits {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

impl Limits {
    const LOCAL: Self = Self {
        entries: MAX_BATCH,
        bytes: usize::MAX,
    };
}

/// Verifies what waits against `state`, which follows; answers what is refused. Ends behind an entry
/// that moves the ledger.
pub(super) fn admit_batch(
    waiting: &mut VecDeque<Append>,
    state: &mut State,
    limits: &Limits,
    turns: &mut Turns,
) -> (Vec<Verified>, Vec<Append>) {
    let now = system::millis();
    let (mut accepted, mut waiters) = (Vec::new(), Vec::new());
    let (mut bytes, store) = (0, state.store_entry());
    while accepted.len() < limits.entries && state.store_entry() == store {
        let Some(next) = waiting.front() else { break };
        bytes += next.bytes.len();
        if bytes > limits.bytes && !accepted.is_empty() {
            break;
        }
        let Some(append) = waiting.pop_front() else {
            break;
        };
        match admit(state, &append.bytes, now, turns) {
            Ok(verified) => {
                accepted.push(verified);
                waiters.push(append);
            }
            Err(error) => answer(append.done, Err(error)),
        }
    }
    (accepted, waiters)
}
