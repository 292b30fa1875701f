//! The one place where the command line reads the clock.

use std::time::{SystemTime, UNIX_EPOCH};

use palisade_ledger::Millis;
use time::OffsetDateTime;

/// Now.
pub(crate) fn now() -> OffsetDateTime {
    #[expect(clippy::disallowed_methods, reason = "the one place")]
    SystemTime::now().into()
}

/// Now, as the ledger counts.
pub(crate) fn millis() -> Millis {
    let since = SystemTime::from(now()).duration_since(UNIX_EPOCH);
    Millis(since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }))
}
