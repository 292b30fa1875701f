//! The clock, the source of randomness, and what the process shows of itself: the only place of this crate that asks
//! the system.

use palisade_ledger::Millis;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// The machine gave no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random bytes")]
pub struct NoEntropy;

/// Now, in UTC.
#[must_use]
pub fn now() -> OffsetDateTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one reading of the wall clock in the daemon"
    )]
    std::time::SystemTime::now().into()
}

/// Now, as the ledger counts.
#[must_use]
pub fn millis() -> Millis {
    let millis = now().unix_timestamp_nanos() / 1_000_000;
    Millis(u64::try_from(millis).unwrap_or(0))
}

/// Keeps the keys in memory out of core files, and out of the sight of others of the same OS user (ptrace, /proc).
/// The servers that we start write no core files either.
pub fn hide_memory() {
    let nothing = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Where the system refuses, nothing is worse than before.
    setrlimit(Resource::Core, nothing).ok();
    set_dumpable_behavior(DumpableBehavior::NotDumpable).ok();
}

/// Random bytes for keys, salts, challenges and serial numbers.
pub fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, NoEntropy> {
    let mut bytes = Zeroizing::new([0; N]);
    aws_lc_rs::rand::fill(bytes.as_mut_slice()).map_err(|_| NoEntropy)?;
    Ok(bytes)
}

/// A certificate's serial number: 16 random bytes, positive and of full length (RFC 5280, section
/// 4.1.2.2).
pub fn serial() -> Result<[u8; 16], NoEntropy> {
    let mut serial = *random::<16>()?;
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x3f) | 0x40;
    }
    Ok(serial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_core_file_is_written() {
        hide_memory();
        let limit = rustix::process::getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
        let shown = rustix::process::dumpable_behavior().unwrap();
        assert_eq!(shown, DumpableBehavior::NotDumpable);
    }
}
