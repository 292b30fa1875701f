//! A key out of a secret that people carry about: the cluster secret, by which nodes join.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use zeroize::Zeroizing;

use crate::ed25519::{KeyError, SecretKey};
use crate::scram::normalize_password;

/// Rounds of PBKDF2-HMAC-SHA256 (RFC 8018, section 5.2): what OWASP's "Password Storage Cheat Sheet"
/// asks for. The public half of the key is no secret, so anybody may guess against it.
const ROUNDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(599_999);

/// Characters that a secret has at least. Twenty random letters and digits are 100 bits; twenty of a
/// human's own choosing are hardly less than a sentence.
pub const MIN_PASSPHRASE_CHARS: usize = 20;

/// Bytes that a salt has at least: a cluster's public key has 32.
const MIN_SALT_BYTES: usize = 16;

/// Why no key was derived. The secret is never part of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// Too easy to guess.
    #[error("a secret to join by has at least {MIN_PASSPHRASE_CHARS} characters")]
    Short,
    /// No salt to speak of.
    #[error("the salt must have at least {MIN_SALT_BYTES} bytes")]
    Salt,
    /// The library refused the key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl SecretKey {
    /// The key that `secret` and `salt` give; the same each time. Normalized as a password is, so that
    /// it can be typed on any keyboard. Takes a good part of a second, on purpose.
    pub fn from_passphrase(secret: &str, salt: &[u8]) -> Result<Self, PassphraseError> {
        let secret = normalize_password(secret);
        if secret.chars().count() < MIN_PASSPHRASE_CHARS {
            return Err(PassphraseError::Short);
        }
        if salt.len() < MIN_SALT_BYTES {
            return Err(PassphraseError::Salt);
        }
        let mut seed = Zeroizing::new([0; 32]);
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(
            algorithm,
            ROUNDS,
            salt,
            secret.as_bytes(),
            seed.as_mut_slice(),
        );
        Ok(Self::from_seed(seed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "correct horse battery staple";

    /// `hashlib.pbkdf2_hmac("sha256", b"correct horse battery staple", bytes(32), 600000)` in Python
    /// gives the seed.
    #[test]
    fn a_secret_gives_the_same_key_each_time() {
        let key = SecretKey::from_passphrase(SECRET, &[0; 32]).unwrap();
        assert_eq!(
            key.expose_text().as_str(),
            "Slk+MF3TVbJlVkhC9Zf1Q4Yo8+Cr+HLzI2cxIGn00NcU="
        );
        let other = SecretKey::from_passphrase(SECRET, &[1; 32]).unwrap();
        assert_ne!(key.public(), other.public());
    }

    #[test]
    fn a_short_secret_is_refused() {
        let short = SecretKey::from_passphrase("nineteen characters", &[0; 32]);
        assert_eq!(short.err(), Some(PassphraseError::Short));
        let unsalted = SecretKey::from_passphrase(SECRET, &[0; 15]);
        assert_eq!(unsalted.err(), Some(PassphraseError::Salt));
    }
}
