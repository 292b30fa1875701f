//! How often somebody may fail to prove that he may join, by address.
//!
//! The secrets can't be guessed by trying (256 bits, or 600,000 rounds of PBKDF2 over at least 20
//! characters); the limit keeps the log readable and the processor free. There is none by token: a
//! token's id is no secret, and who knows it could keep its owner from joining.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::api::neighbourhood;

/// Failures within [`WINDOW`] from one address.
const PER_ADDRESS: u32 = 10;
/// How long failures count.
const WINDOW: Duration = Duration::from_mins(1);
/// Addresses that are remembered. Beyond, failures don't count: who has so many addresses must not keep
/// others from joining.
const MAX_REMEMBERED: usize = 4096;

#[derive(Debug, Clone, Copy)]
struct Failures {
    since: Duration,
    count: u32,
}

/// Failures, as far as they count. Times are measured from any one point.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    failures: HashMap<IpAddr, Failures>,
}

impl Attempts {
    /// Whether one more attempt may be looked at.
    pub(super) fn may_try(&self, now: Duration, address: IpAddr) -> bool {
        match self.failures.get(&neighbourhood(address)) {
            Some(failures) if now.saturating_sub(failures.since) < WINDOW => {
                failures.count < PER_ADDRESS
            }
            Some(_) | None => true,
        }
    }

    /// Notes a failure.
    pub(super) fn failed(&mut self, now: Duration, address: IpAddr) {
        self.failures
            .retain(|_, failures| now.saturating_sub(failures.since) < WINDOW);
        let address = neighbourhood(address);
        if self.failures.len() >= MAX_REMEMBERED && !self.failures.contains_key(&address) {
            return;
        }
        let failures = self.failures.entry(address).or_insert(Failures {
            since: now,
            count: 0,
        });
        failures.count = failures.count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn failures_from_one_address_are_limited() {
        let mut attempts = Attempts::default();
        for _ in 0..PER_ADDRESS {
            assert!(attempts.may_try(at(5), address(1)));
            attempts.failed(at(5), address(1));
        }
        assert!(!attempts.may_try(at(30), address(1)));
        assert!(attempts.may_try(at(30), address(2)));
        assert!(attempts.may_try(at(65), address(1)));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_keeps_nobody_out() {
        let mut attempts = Attempts::default();
        for number in 0..10_000 {
            assert!(attempts.may_try(at(0), address(number)));
            attempts.failed(at(0), address(number));
        }
        assert_eq!(attempts.failures.len(), MAX_REMEMBERED);
        attempts.failed(at(60), address(1));
        assert_eq!(attempts.failures.len(), 1);
    }
}
