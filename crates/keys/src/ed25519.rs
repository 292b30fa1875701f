//! Ed25519 keys and signatures (RFC 8032), with the text forms of the cluster's key files.
//!
//! One function verifies signatures everywhere in Palisade, [`PublicKey::verify`]: libraries differ
//! in which malformed signatures they accept, and a ledger must mean the same on every node.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// DER of a PKCS #8 `PrivateKeyInfo` for Ed25519 up to the 32 bytes of the seed (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// DER of a `SubjectPublicKeyInfo` for Ed25519 up to the 32 bytes of the key (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// Why a key's text was refused. The text itself is never part of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The first character is not the one that this kind of key begins with.
    #[error("a {kind} key begins with `{letter}`")]
    Prefix {
        /// `public` or `secret`.
        kind: &'static str,
        /// `P` or `S`.
        letter: char,
    },
    /// The rest is not the base64 of 32 bytes.
    #[error("after its first letter a {kind} key is the base64 form of 32 bytes (44 characters)")]
    Encoding {
        /// `public` or `secret`.
        kind: &'static str,
    },
    /// The library refused the key.
    #[error("this is not an Ed25519 key")]
    Rejected,
}

/// The signature does not belong to this key and message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

/// An Ed25519 signature: 64 bytes (RFC 8032, section 5.1.6).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Takes the 64 bytes as they are; whether they are a signature shows when verified.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", STANDARD.encode(self.0))
    }
}

/// An Ed25519 public key: of the cluster, or of a user.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Takes the 32 bytes of RFC 8032 as they are.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of RFC 8032.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Checks that `signature` was made over `message` by the owner of this key.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, &signature.0)
            .map_err(|_| BadSignature)
    }

    /// The DER of this key's `SubjectPublicKeyInfo` (RFC 8410): 44 bytes.
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        [SPKI_PREFIX.as_slice(), self.0.as_slice()].concat()
    }

    /// Reads the key out of a `SubjectPublicKeyInfo`, if it is Ed25519's.
    #[must_use]
    pub fn from_spki_der(der: &[u8]) -> Option<Self> {
        let key = der.strip_prefix(&SPKI_PREFIX)?;
        key.try_into().ok().map(Self)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "P{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text, "public", 'P').map(|bytes| Self(*bytes))
    }
}

/// An Ed25519 secret key. It has no `Debug`, no `Display`, and is wiped when dropped.
pub struct SecretKey {
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
}

impl SecretKey {
    /// Makes the key whose RFC 8032 seed is `seed`: 32 bytes from a secure random source.
    pub fn from_seed(seed: Zeroizing<[u8; 32]>) -> Result<Self, KeyError> {
        let pair =
            Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).map_err(|_| KeyError::Rejected)?;
        Ok(Self { seed, pair })
    }

    /// Reads the text form, `S` and base64.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        Self::from_seed(decode(text, "secret", 'S')?)
    }

    /// The text form, for the one file or terminal that it is meant for.
    #[must_use]
    pub fn expose_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(45));
        text.push('S');
        STANDARD.encode_string(*self.seed, &mut text);
        text
    }

    /// The PKCS #8 DER of the key (RFC 8410, section 7), for a TLS library.
    #[must_use]
    pub fn expose_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        let mut der = Zeroizing::new(Vec::with_capacity(48));
        der.extend_from_slice(&PKCS8_PREFIX);
        der.extend_from_slice(self.seed.as_slice());
        der
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(bytes)
    }

    /// Signs `message`. Ed25519 is deterministic: the same message gives the same signature.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(self.pair.sign(message).as_ref());
        Signature(bytes)
    }
}

/// Decodes the canonical base64 of 32 bytes behind `letter`.
fn decode(text: &str, kind: &'static str, letter: char) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let encoded = text
        .trim_end_matches(['\n', '\r'])
        .strip_prefix(letter)
        .ok_or(KeyError::Prefix { kind, letter })?;
    let decoded = STANDARD
        .decode(encoded)
        .map(Zeroizing::new)
        .map_err(|_| KeyError::Encoding { kind })?;
    let mut bytes = Zeroizing::new([0; 32]);
    if decoded.len() != bytes.len() {
        return Err(KeyError::Encoding { kind });
    }
    bytes.copy_from_slice(&decoded);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_seed(Zeroizing::new([byte; 32])).unwrap()
    }

    /// RFC 8032, section 7.1, TEST 1.
    #[test]
    fn signs_like_rfc_8032() {
        let seed: [u8; 32] = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec,
            0x2c, 0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03,
            0x1c, 0xae, 0x7f, 0x60,
        ];
        let key = SecretKey::from_seed(Zeroizing::new(seed)).unwrap();
        assert_eq!(
            key.public().to_string(),
            "P11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
        );
        assert!(
            key.sign(b"")
                .as_bytes()
                .starts_with(&[0xe5, 0x56, 0x43, 0x00])
        );
    }

    #[test]
    fn a_signature_holds_for_its_key_and_message_alone() {
        let signature = key(1).sign(b"message");
        assert_eq!(key(1).public().verify(b"message", &signature), Ok(()));
        assert_eq!(
            key(1).public().verify(b"massage", &signature),
            Err(BadSignature)
        );
        assert_eq!(
            key(2).public().verify(b"message", &signature),
            Err(BadSignature)
        );
    }

    #[test]
    fn text_forms_round_trip() {
        let secret = key(7);
        let again = SecretKey::from_text(&secret.expose_text()).unwrap();
        assert_eq!(again.public(), secret.public());
        let public = secret.public();
        assert_eq!(public.to_string().parse(), Ok(public));
        assert_eq!(PublicKey::from_spki_der(&public.spki_der()), Some(public));
    }

    /// The key of user `root` in the QuasarDB user adder's manual.
    #[test]
    fn the_manuals_keys_are_read() {
        let text = "PoCzwwX8Gdq7Mzz/RG6rH6vRhX84/RupFvVOjXauOEBM=";
        assert_eq!(text.parse::<PublicKey>().unwrap().to_string(), text);
    }

    #[test]
    fn other_texts_are_refused_without_repeating_them() {
        let cases = [
            "",
            "P",
            "X",
            "PAAAA",
            "SoCzwwX8Gdq7Mzz/RG6rH6vRhX84/RupFvVOjXauOEBM=",
        ];
        for text in cases {
            assert!(text.parse::<PublicKey>().is_err(), "{text}");
        }
        // Sixty-four spare bits in the last character would make two texts of one key.
        assert!(
            "PoCzwwX8Gdq7Mzz/RG6rH6vRhX84/RupFvVOjXauOEBN="
                .parse::<PublicKey>()
                .is_err()
        );
        let error = SecretKey::from_text("Ssecret").err().unwrap().to_string();
        assert!(!error.contains("Ssecret"), "{error}");
    }
}
