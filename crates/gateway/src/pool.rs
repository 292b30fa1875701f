//! Idle connections to PostgreSQL that the same user may take up again.
//!
//! A connection serves one user, database and set of startup parameters for all its life, and only
//! while the ledger's entry about that user is the one it was opened under. What a session left
//! behind is discarded before it is kept.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::config::PoolLimits;
use crate::postgres::Backend;
use crate::socket::Resting;

/// Whose connection it is. Two are interchangeable when all of it is equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) parameters: Vec<(String, String)>,
    /// The ledger's last entry that changed the user: a connection from before is never reused.
    pub(crate) changed: u64,
}

/// The idle connections.
pub(crate) struct Pool {
    limits: PoolLimits,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    all: usize,
    by_key: HashMap<PoolKey, Vec<(Instant, Backend<Resting>)>>,
}

impl Pool {
    pub(crate) fn new(limits: PoolLimits) -> Self {
        Self {
            limits,
            idle: Mutex::default(),
        }
    }

    pub(crate) fn limits(&self) -> &PoolLimits {
        &self.limits
    }

    /// A connection that is alive and fits, the one used last first.
    pub(crate) fn take(&self, key: &PoolKey) -> Option<Backend> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let (_, backend) = idle.by_key.get_mut(key)?.pop()?;
            idle.all = idle.all.saturating_sub(1);
            if let Some(backend) = backend.wake() {
                return Some(backend);
            }
        }
    }

    /// Keeps a connection that was reset, if there is room.
    pub(crate) fn keep(&self, key: PoolKey, backend: Backend, now: Instant) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.all >= self.limits.idle {
            return;
        }
        let same = idle.by_key.entry(key).or_default();
        if same.len() < self.limits.idle_per_key {
            same.push((now, backend.rest()));
            idle.all += 1;
        }
    }

    /// Closes what was idle for too long.
    pub(crate) fn sweep(&self, now: Instant) {
        self.retain(|_, since| now.duration_since(since) < self.limits.idle_for);
    }

    /// Closes every connection for which `fits` says no.
    pub(crate) fn retain_keys(&self, fits: impl Fn(&PoolKey) -> bool) {
        self.retain(|key, _| fits(key));
    }

    /// Closes all; how many there were.
    pub(crate) fn clear(&self) -> usize {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *idle).all
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.all
    }

    fn retain(&self, keep: impl Fn(&PoolKey, Instant) -> bool) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.by_key.retain(|key, same| {
            same.retain(|(since, _)| keep(key, *since));
            !same.is_empty()
        });
        idle.all = idle.by_key.values().map(Vec::len).sum();
    }
}
