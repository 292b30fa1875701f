//! The open sessions, and how one is told to end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Context;

use futures_util::task::AtomicWaker;

use crate::policy::{EndReason, Terms};

/// One open session.
pub(crate) struct Live {
    pub(crate) id: u64,
    pub(crate) terms: Terms,
    pub(crate) process: u32,
    ended: AtomicU8,
    waker: AtomicWaker,
}

const REASONS: [EndReason; 6] = [
    EndReason::UserRemoved,
    EndReason::UserDisabled,
    EndReason::CredentialGone,
    EndReason::RuleGone,
    EndReason::RightsChanged,
    EndReason::Shutdown,
];

impl Live {
    /// Tells the session to end; the first reason stays.
    pub(crate) fn end(&self, reason: EndReason) {
        let number = REASONS
            .iter()
            .zip(1_u8..)
            .find_map(|(known, number)| (*known == reason).then_some(number));
        let number = number.unwrap_or(1);
        if self
            .ended
            .compare_exchange(0, number, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
        {
            self.waker.wake();
        }
    }

    /// Why the session must end, if it must.
    pub(crate) fn ended(&self) -> Option<EndReason> {
        let number = self.ended.load(Ordering::Acquire);
        REASONS.get(usize::from(number.checked_sub(1)?)).copied()
    }

    /// As `ended`; else the task is woken when it must end.
    pub(crate) fn poll_ended(&self, context: &Context<'_>) -> Option<EndReason> {
        self.waker.register(context.waker());
        self.ended()
    }
}

/// All open sessions.
#[derive(Default)]
pub(crate) struct Sessions {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Live>>>,
}

/// A session's entry; taken out when dropped.
pub(crate) struct Entry {
    sessions: Arc<Sessions>,
    live: Arc<Live>,
}

impl Sessions {
    pub(crate) fn enter(self: &Arc<Self>, terms: Terms, process: u32) -> Entry {
        let live = Arc::new(Live {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            terms,
            process,
            ended: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        });
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(live.id, Arc::clone(&live));
        Entry {
            sessions: Arc::clone(self),
            live,
        }
    }

    /// The sessions that are open now.
    pub(crate) fn all(&self) -> Vec<Arc<Live>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.len()
    }
}

impl Entry {
    pub(crate) fn live(&self) -> &Live {
        &self.live
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut open = self
            .sessions
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.remove(&self.live.id);
    }
}
