//! Fingerprints: what a person compares, and what a pin holds.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::{KeyError, PublicKey};

/// SHA-256 (FIPS 180-4) of `data`.
#[must_use]
pub fn sha256(data: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, data).as_ref());
    out
}

/// SHA-256 over a `SubjectPublicKeyInfo` in DER. Written as OpenSSH writes it: `SHA256:` and base64
/// without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a `SubjectPublicKeyInfo` (DER).
    #[must_use]
    pub fn of_spki(spki_der: &[u8]) -> Self {
        Self(sha256(spki_der))
    }

    /// Takes the 32 bytes of a SHA-256 as they are.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PublicKey {
    /// The fingerprint of this key's `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_spki(&self.spki_der())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", STANDARD_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Fingerprint {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let error = KeyError::Encoding {
            kind: "fingerprint",
        };
        let encoded = text.strip_prefix("SHA256:").ok_or(error)?;
        let decoded = STANDARD_NO_PAD.decode(encoded).map_err(|_| error)?;
        decoded.try_into().map(Self).map_err(|_| error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        let print = PublicKey::from_bytes([3; 32]).fingerprint();
        assert_eq!(print.to_string().parse(), Ok(print));
        assert!("SHA256:AAAA".parse::<Fingerprint>().is_err());
        assert!("MD5:AAAA".parse::<Fingerprint>().is_err());
    }
}
