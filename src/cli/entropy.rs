//! Randomness for the command line: keys, salts and serial numbers.

use palisade_daemon::system::{self, NoEntropy};
use palisade_keys::{SecretKey, Zeroizing};

use super::error::CliError;

fn none(_: NoEntropy) -> CliError {
    CliError::no("the system gives no randomness")
}

/// A new secret key.
pub(crate) fn secret_key() -> Result<SecretKey, CliError> {
    let seed = system::random().map_err(none)?;
    SecretKey::from_seed(seed).map_err(|error| CliError::no("can't make a key").because(&error))
}

/// 32 random bytes, for a secret that becomes a key.
pub(crate) fn seed() -> Result<Zeroizing<[u8; 32]>, CliError> {
    system::random().map_err(none)
}

/// A new cluster secret: 256 bits in 43 characters that need no quoting.
pub(crate) fn cluster_secret() -> Result<Zeroizing<String>, CliError> {
    use base64::Engine as _;
    let bytes = seed()?;
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    Ok(Zeroizing::new(engine.encode(bytes.as_slice())))
}

/// A salt for a password's verifier, as long as PostgreSQL's own.
pub(crate) fn salt() -> Result<[u8; 16], CliError> {
    Ok(*system::random().map_err(none)?)
}

/// A certificate's serial number: positive and not zero (RFC 5280, section 4.1.2.2).
pub(crate) fn serial() -> Result<[u8; 16], CliError> {
    system::serial().map_err(none)
}
