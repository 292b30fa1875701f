//! Key formats, fingerprints, signatures, SCRAM verifiers, and secrets that cannot print.
//!
//! Everything here is a value or a pure function: no file is opened, no clock is read and no
//! randomness is drawn. Who makes a key passes the 32 random bytes in.
//!
//! ```text
//!   SecretKey  --public()-->  PublicKey  --fingerprint()-->  Fingerprint
//!       |                        |
//!     sign()                  verify()
//!       +------> Signature ------+
//!
//!   password --ScramVerifier::derive()--> ScramVerifier --check_proof()--> ServerSignature
//! ```
//!
//! The text forms are those of the cluster's files: a public key is `P` and base64, a secret key
//! `S` and base64, each of the 32 bytes of RFC 8032.

mod credentials;
mod ed25519;
mod fingerprint;
mod passphrase;
mod scram;

pub use credentials::{Credentials, CredentialsError};
pub use ed25519::{BadSignature, KeyError, PublicKey, SecretKey, Signature};
pub use fingerprint::{Fingerprint, sha256};
pub use passphrase::{MIN_PASSPHRASE_CHARS, PassphraseError};
pub use scram::{
    MAX_ITERATIONS, MIN_ITERATIONS, MIN_SALT_BYTES, RecoveredClientKey, SCRAM_KEY_BYTES,
    ScramVerifier, VerifierError, normalize_password,
};
pub use zeroize::Zeroizing;
