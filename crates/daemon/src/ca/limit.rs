//! How often one member has certificates signed: a stolen node neither keeps the issuer busy nor fills
//! the ledger.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use palisade_ledger::NodeId;
use tokio::time::Instant;

use super::CaError;

/// Signatures for one member within [`WINDOW`]: a rotation of the CA takes two, and so does a renewal.
const MOST: usize = 16;
/// The time over which they are counted.
const WINDOW: Duration = Duration::from_mins(10);

/// When which member was last signed for.
#[derive(Default)]
pub(super) struct Limit(Mutex<BTreeMap<NodeId, VecDeque<Instant>>>);

impl Limit {
    /// Counts one for this member, or says when it may come again.
    pub(super) fn take(&self, node: NodeId, now: Instant) -> Result<(), CaError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = all.entry(node).or_default();
        times.retain(|at| now.duration_since(*at) < WINDOW);
        if times.len() < MOST {
            times.push_back(now);
            return Ok(());
        }
        let first = times.front().map_or(WINDOW, |at| now.duration_since(*at));
        let wait = WINDOW.saturating_sub(first).as_secs().saturating_add(1);
        Err(CaError::Refused(format!(
            "node {node} had {MOST} certificates signed within {} minutes; the next one in {wait} seconds",
            WINDOW.as_secs() / 60
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_has_its_own_count_that_ends_with_time() {
        let (limit, begun) = (Limit::default(), Instant::now());
        let (one, two) = (NodeId::new(1).unwrap(), NodeId::new(2).unwrap());
        let at = |seconds| begun + Duration::from_secs(seconds);
        for second in 0..16 {
            limit.take(one, at(second)).unwrap();
        }
        let refused = limit.take(one, at(16)).unwrap_err().to_string();
        assert!(refused.contains("in 585 seconds"), "{refused}");
        limit.take(two, at(16)).unwrap();
        assert!(limit.take(one, at(599)).is_err());
        limit.take(one, at(600)).unwrap();
        assert!(limit.take(one, at(600)).is_err());
    }
}
