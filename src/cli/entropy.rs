//! The one place where the command line draws randomness.

use aws_lc_rs::rand;
use palisade_keys::{SecretKey, Zeroizing};

use super::error::CliError;

/// Fills `bytes` from the operating system's generator.
fn fill(bytes: &mut [u8]) -> Result<(), CliError> {
    rand::fill(bytes).map_err(|_| CliError::no("the system gives no randomness"))
}

/// A new secret key.
pub(crate) fn secret_key() -> Result<SecretKey, CliError> {
    let mut seed = Zeroizing::new([0; 32]);
    fill(seed.as_mut_slice())?;
    SecretKey::from_seed(seed).map_err(|error| CliError::no("can't make a key").because(&error))
}

/// A salt for a password's verifier, as long as PostgreSQL's own.
pub(crate) fn salt() -> Result<[u8; 16], CliError> {
    let mut salt = [0; 16];
    fill(&mut salt)?;
    Ok(salt)
}

/// A certificate's serial number: positive and not zero (RFC 5280, section 4.1.2.2).
pub(crate) fn serial() -> Result<[u8; 16], CliError> {
    let mut serial = [0; 16];
    fill(&mut serial)?;
    serial[0] = (serial[0] & 0x7f) | 0x40;
    Ok(serial)
}
