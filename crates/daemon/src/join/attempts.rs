//! How often somebody may fail to prove that he may join: by address, and by token.
//!
//! The secrets can't be guessed by trying (256 bits, or 600,000 rounds of PBKDF2 over at least 20
//! characters); the limit keeps the log readable and the processor free.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use palisade_ledger::TokenId;

use crate::api::neighbourhood;

/// Failures within [`WINDOW`] from one address.
const PER_ADDRESS: u32 = 10;
/// Failures within [`WINDOW`] at one token, from everywhere.
const PER_TOKEN: u32 = 20;
/// How long failures count.
const WINDOW: Duration = Duration::from_mins(1);
/// Addresses and tokens that are remembered; beyond, all wait for the window to end.
const MAX_REMEMBERED: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Address(IpAddr),
    Token(TokenId),
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    since: Duration,
    count: u32,
}

/// Failures, as far as they count. Times are measured from any one point.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    failures: HashMap<Who, Failures>,
}

impl Attempts {
    /// Whether one more attempt may be looked at.
    pub(super) fn may_try(&self, now: Duration, address: IpAddr, token: Option<TokenId>) -> bool {
        let within = |who: Who, limit: u32| match self.failures.get(&who) {
            Some(failures) if now.saturating_sub(failures.since) < WINDOW => failures.count < limit,
            Some(_) => true,
            None => self.failures.len() < MAX_REMEMBERED,
        };
        within(Who::Address(neighbourhood(address)), PER_ADDRESS)
            && token.is_none_or(|id| within(Who::Token(id), PER_TOKEN))
    }

    /// Notes a failure. `token` is one that the ledger knows.
    pub(super) fn failed(&mut self, now: Duration, address: IpAddr, token: Option<TokenId>) {
        self.failures
            .retain(|_, failures| now.saturating_sub(failures.since) < WINDOW);
        let address = Who::Address(neighbourhood(address));
        for who in [Some(address), token.map(Who::Token)].into_iter().flatten() {
            let failures = self.failures.entry(who).or_insert(Failures {
                since: now,
                count: 0,
            });
            failures.count = failures.count.saturating_add(1);
        }
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
            assert!(attempts.may_try(at(5), address(1), None));
            attempts.failed(at(5), address(1), None);
        }
        assert!(!attempts.may_try(at(30), address(1), None));
        assert!(attempts.may_try(at(30), address(2), None));
        assert!(attempts.may_try(at(65), address(1), None));
    }

    #[test]
    fn failures_at_one_token_are_limited_wherever_they_come_from() {
        let mut attempts = Attempts::default();
        let (tried, other) = (TokenId([1; 8]), TokenId([2; 8]));
        for number in 0..PER_TOKEN {
            assert!(attempts.may_try(at(0), address(number), Some(tried)));
            attempts.failed(at(0), address(number), Some(tried));
        }
        assert!(!attempts.may_try(at(1), address(99), Some(tried)));
        assert!(attempts.may_try(at(1), address(99), Some(other)));
        assert!(attempts.may_try(at(60), address(99), Some(tried)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut attempts = Attempts::default();
        for number in 0..10_000 {
            if attempts.may_try(at(0), address(number), None) {
                attempts.failed(at(0), address(number), None);
            }
        }
        assert_eq!(attempts.failures.len(), MAX_REMEMBERED);
        attempts.failed(at(60), address(1), None);
        assert_eq!(attempts.failures.len(), 1);
    }
}
