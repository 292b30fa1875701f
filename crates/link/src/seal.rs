//! Secrets that one node alone can read: HPKE (RFC 9180, base mode) with DHKEM(X25519, HKDF-SHA256),
//! HKDF-SHA256 and AES-256-GCM.
//!
//! ```text
//!   seal(node's public key, what for, about what, secret) --> the ledger --> open(node's secret key, ...)
//! ```
//!
//! `what for` (HPKE's info) and `about what` (its associated data) are part of the seal: what was sealed
//! for one purpose and name opens for no other. A seal proves nothing of its maker; that is what the
//! signature of the entry around it is for.

use aws_lc_rs::agreement::{PrivateKey, X25519};
use palisade_keys::Zeroizing;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};

use crate::api::{decode, encode};

/// The purpose of secrets that alerts need: the password of a mail server, the key of a web hook.
/// What they are about is the alert's name, and where it is sent: with the name alone, whoever may add
/// alerts could put the sealed bytes behind a target of his own, and a node would tell it the secret.
pub const ALERT: &str = "palisade alert secret v1";

/// The first byte of what is sealed: the suite above. Another suite gets another number.
const VERSION: u8 = 1;

/// Bytes of an X25519 key (RFC 7748).
const KEY: usize = 32;

/// Bytes that sealing adds: version, encapsulated key, tag of AES-GCM.
pub const OVERHEAD: usize = 1 + KEY + 16;

/// Why something was not sealed or opened. What was inside is no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The text of a secret key is not one.
    #[error("a seal key is `X` and the base64 form of 32 bytes")]
    Key,
    /// The random source failed, or the public key is none.
    #[error("the secret can't be sealed to this key")]
    Seal,
    /// Another key, purpose or name, or changed bytes.
    #[error("the sealed secret does not open: it is for another node or purpose, or was changed")]
    Open,
}

/// The key that opens what was sealed to a node. It cannot be printed, and is wiped when dropped.
pub struct SealSecret {
    bytes: Zeroizing<[u8; KEY]>,
    public: [u8; KEY],
}

impl SealSecret {
    /// A new one, from the system's random source.
    pub fn generate() -> Result<Self, SealError> {
        let pair = suite().generate_key_pair();
        let (_, secret) = pair.map_err(|_| SealError::Seal)?;
        Self::from_bytes(secret.secret_bytes()).ok_or(SealError::Seal)
    }

    /// Reads the text form, `X` and base64.
    pub fn from_text(text: &str) -> Result<Self, SealError> {
        let encoded = text.trim_end_matches(['\n', '\r']).strip_prefix('X');
        let bytes = encoded.and_then(decode).map(Zeroizing::new);
        let secret = bytes.and_then(|bytes| Self::from_bytes(&bytes));
        secret.ok_or(SealError::Key)
    }

    /// The text form, for the one file that it is meant for.
    #[must_use]
    pub fn expose_text(&self) -> Zeroizing<String> {
        let encoded = Zeroizing::new(encode(self.bytes.as_slice()));
        let mut text = Zeroizing::new(String::with_capacity(1 + encoded.len()));
        text.push('X');
        text.push_str(&encoded);
        text
    }

    /// The public half, which the ledger holds.
    #[must_use]
    pub fn public(&self) -> [u8; KEY] {
        self.public
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut own = Zeroizing::new([0; KEY]);
        if bytes.len() != KEY {
            return None;
        }
        own.copy_from_slice(bytes);
        let key = PrivateKey::from_private_key(&X25519, own.as_slice()).ok()?;
        let public = key.compute_public_key().ok()?;
        let public = public.as_ref().try_into().ok()?;
        Some(Self { bytes: own, public })
    }
}

/// Several things that a secret is about, as one that no others give: each with its length before it.
#[must_use]
pub fn about(parts: &[&[u8]]) -> Vec<u8> {
    let mut all = Vec::new();
    for part in parts {
        all.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        all.extend_from_slice(part);
    }
    all
}

fn suite() -> &'static dyn Hpke {
    DH_KEM_X25519_HKDF_SHA256_AES_256
}

/// Seals `secret` to the owner of `to`, for a purpose ([`ALERT`]) and about a name.
pub fn seal(
    to: &[u8; KEY],
    purpose: &str,
    about: &[u8],
    secret: &[u8],
) -> Result<Vec<u8>, SealError> {
    let to = HpkePublicKey(to.to_vec());
    let (encapsulated, sealed) = suite()
        .seal(purpose.as_bytes(), about, secret, &to)
        .map_err(|_| SealError::Seal)?;
    Ok([&[VERSION], encapsulated.0.as_slice(), &sealed].concat())
}

/// Opens what [`seal`] made for this key, this purpose and this name.
pub fn open(
    own: &SealSecret,
    purpose: &str,
    about: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let rest = sealed.strip_prefix(&[VERSION]).ok_or(SealError::Open)?;
    let (encapsulated, sealed) = rest.split_at_checked(KEY).ok_or(SealError::Open)?;
    let encapsulated = EncapsulatedSecret(encapsulated.to_vec());
    let own = HpkePrivateKey::from(own.bytes.to_vec());
    let opened = suite().open(&encapsulated, purpose.as_bytes(), about, sealed, &own);
    opened.map(Zeroizing::new).map_err(|_| SealError::Open)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(to: &SealSecret) -> Vec<u8> {
        seal(&to.public(), ALERT, b"mail", b"hunter2").unwrap()
    }

    // "Alert secrets are sealed to the nodes that send them, never in clear in the ledger."
    #[test]
    fn a_secret_opens_for_its_node_purpose_and_alert_alone() {
        let [node, other] = [(); 2].map(|()| SealSecret::generate().unwrap());
        let sealed = sealed(&node);
        assert!(!sealed.windows(7).any(|bytes| bytes == b"hunter2"));
        assert_eq!(sealed.len(), OVERHEAD + 7);
        let opened = open(&node, ALERT, b"mail", &sealed).unwrap();
        assert_eq!(opened.as_slice(), b"hunter2");
        for (key, purpose, about) in [
            (&other, ALERT, b"mail".as_slice()),
            (&node, "palisade backup secret v1", b"mail"),
            (&node, ALERT, b"pager"),
            (&node, ALERT, b""),
        ] {
            assert_eq!(open(key, purpose, about, &sealed), Err(SealError::Open));
        }
    }

    #[test]
    fn parts_run_together_into_no_other_parts() {
        let [one, other] = [about(&[b"ab", b"c"]), about(&[b"a", b"bc"])];
        assert_ne!(one, other);
        assert_ne!(about(&[b"ab", b""]), about(&[b"ab"]));
        let node = SealSecret::generate().unwrap();
        let sealed = seal(&node.public(), ALERT, &one, b"hunter2").unwrap();
        assert!(open(&node, ALERT, &one, &sealed).is_ok());
        assert_eq!(open(&node, ALERT, &other, &sealed), Err(SealError::Open));
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let node = SealSecret::generate().unwrap();
        let sealed = sealed(&node);
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(
                open(&node, ALERT, b"mail", &changed),
                Err(SealError::Open),
                "byte {index}"
            );
        }
        for length in 0..sealed.len() {
            assert!(
                open(&node, ALERT, b"mail", &sealed[..length]).is_err(),
                "{length}"
            );
        }
        assert!(open(&node, ALERT, b"mail", &[sealed.as_slice(), b"x"].concat()).is_err());
    }

    #[test]
    fn the_same_secret_is_never_sealed_to_the_same_bytes() {
        let node = SealSecret::generate().unwrap();
        assert_ne!(sealed(&node), sealed(&node));
    }

    // RFC 7748, section 6.1: points of small order give a shared secret that everybody knows.
    #[test]
    fn a_public_key_of_small_order_is_refused() {
        let mut one = [0; 32];
        one[0] = 1;
        for key in [[0; 32], one] {
            assert_eq!(seal(&key, ALERT, b"mail", b"x"), Err(SealError::Seal));
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        let pairs = text.as_bytes().chunks(2).map(str::from_utf8);
        pairs
            .map(|pair| u8::from_str_radix(pair.unwrap(), 16).unwrap())
            .collect()
    }

    // RFC 9180, appendix A.1.1: the recipient's key pair.
    #[test]
    fn a_key_is_kept_as_text() {
        let secret = hex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8");
        let public = hex("3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d");
        let secret = SealSecret::from_bytes(&secret).unwrap();
        assert_eq!(secret.public().as_slice(), public);
        let again = SealSecret::from_text(&secret.expose_text()).unwrap();
        assert_eq!(again.public(), secret.public());
        assert_eq!(again.bytes, secret.bytes);
        for text in ["", "X", "XAAAA", "SAAAA"] {
            assert_eq!(SealSecret::from_text(text).err(), Some(SealError::Key));
        }
    }
}
