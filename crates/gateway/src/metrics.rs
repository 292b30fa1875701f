//! Counters of the door, for whoever shows them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counts since the start. All are monotonic, but for `sessions`.
#[derive(Debug, Default)]
pub struct Metrics {
    pub(crate) accepted: AtomicU64,
    pub(crate) sessions: AtomicI64,
    pub(crate) cancels: AtomicU64,
    pub(crate) cancels_unknown: AtomicU64,
    pub(crate) reused: AtomicU64,
    pub(crate) connected: AtomicU64,
    pub(crate) bytes_from_clients: AtomicU64,
    pub(crate) bytes_to_clients: AtomicU64,
    by_kind: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

/// One figure: a name, the label that parts it if there is one, and the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// What is counted, in Prometheus' manner, without a prefix: `logins_total`.
    pub name: &'static str,
    /// A label's name and value, such as `("method", "key")`.
    pub label: Option<(&'static str, &'static str)>,
    /// The count.
    pub value: i64,
}

impl Metrics {
    pub(crate) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn login(&self, method: &'static str) {
        self.count("logins_total", method);
    }

    pub(crate) fn refusal(&self, kind: &'static str) {
        self.count("refusals_total", kind);
    }

    pub(crate) fn ended(&self, reason: &'static str) {
        self.count("sessions_ended_total", reason);
    }

    fn count(&self, name: &'static str, value: &'static str) {
        let mut by_kind = self.by_kind.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_kind.entry((name, value)).or_default();
        *count = count.saturating_add(1);
    }

    /// All figures now.
    #[must_use]
    pub fn figures(&self) -> Vec<Figure> {
        let load = |counter: &AtomicU64| {
            i64::try_from(counter.load(Ordering::Relaxed)).unwrap_or(i64::MAX)
        };
        let plain = [
            ("connections_total", load(&self.accepted)),
            ("sessions", self.sessions.load(Ordering::Relaxed)),
            ("cancels_total", load(&self.cancels)),
            ("cancels_unknown_total", load(&self.cancels_unknown)),
            ("backends_reused_total", load(&self.reused)),
            ("backends_connected_total", load(&self.connected)),
            ("bytes_from_clients_total", load(&self.bytes_from_clients)),
            ("bytes_to_clients_total", load(&self.bytes_to_clients)),
        ];
        let mut figures: Vec<Figure> = plain
            .into_iter()
            .map(|(name, value)| Figure {
                name,
                label: None,
                value,
            })
            .collect();
        let by_kind = self.by_kind.lock().unwrap_or_else(PoisonError::into_inner);
        figures.extend(by_kind.iter().map(|((name, kind), count)| Figure {
            name,
            label: Some((
                if *name == "logins_total" {
                    "method"
                } else {
                    "kind"
                },
                kind,
            )),
            value: i64::try_from(*count).unwrap_or(i64::MAX),
        }));
        figures
    }
}
