//! SCRAM-SHA-256 verifiers (RFC 5802, RFC 7677), in the form that PostgreSQL stores in
//! `pg_authid.rolpassword`, and the one check that a server makes with them.
//!
//! A verifier is not the password, but who has it can pose as the server to that user: it is kept
//! out of logs, and compared in constant time.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use aws_lc_rs::{hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize, Zeroizing};

use crate::fingerprint::sha256;

/// Bytes of a SCRAM-SHA-256 key: those of SHA-256.
pub const SCRAM_KEY_BYTES: usize = 32;
/// PostgreSQL's default and RFC 7677's minimum.
pub const MIN_ITERATIONS: u32 = 4096;
/// A client runs this many rounds at login; more would let a verifier stall every client.
pub const MAX_ITERATIONS: u32 = 1_000_000;
/// PostgreSQL draws 16 (`SCRAM_DEFAULT_SALT_LEN`); less is no salt.
pub const MIN_SALT_BYTES: usize = 12;
/// Far above what any client makes.
const MAX_SALT_BYTES: usize = 64;

/// Why a verifier's text was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// It does not have PostgreSQL's form.
    #[error("a verifier reads SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY")]
    Form,
    /// The iteration count is out of bounds.
    #[error("the iteration count must lie between {MIN_ITERATIONS} and {MAX_ITERATIONS}")]
    Iterations,
    /// The salt is too short or too long.
    #[error("the salt must have {MIN_SALT_BYTES} to {MAX_SALT_BYTES} bytes")]
    Salt,
}

/// What a server needs to check a password without knowing it (RFC 5802, section 3).
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    stored_key: [u8; SCRAM_KEY_BYTES],
    server_key: [u8; SCRAM_KEY_BYTES],
}

/// The client's key, recovered from a proof that was right. Only [`ScramVerifier::check_proof`]
/// makes one, so holding it says that the password was known to the client.
#[must_use]
pub struct RecoveredClientKey(Zeroizing<[u8; SCRAM_KEY_BYTES]>);

impl RecoveredClientKey {
    /// The 32 bytes of RFC 5802's `ClientKey`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; SCRAM_KEY_BYTES] {
        &self.0
    }
}

impl ScramVerifier {
    /// Derives the verifier of `password` (RFC 5802, section 3): normalized by `SASLprep` where it
    /// can be, as PostgreSQL does. Costs `iterations` rounds of HMAC-SHA-256.
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Result<Self, VerifierError> {
        let iterations = bounded(iterations)?;
        check_salt(salt)?;
        let mut salted = Zeroizing::new([0; SCRAM_KEY_BYTES]);
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            iterations,
            salt,
            normalize_password(password).as_bytes(),
            salted.as_mut_slice(),
        );
        let client_key = Zeroizing::new(mac(salted.as_slice(), b"Client Key"));
        Ok(Self {
            iterations,
            salt: salt.to_vec(),
            stored_key: sha256(client_key.as_slice()),
            server_key: mac(salted.as_slice(), b"Server Key"),
        })
    }

    /// A verifier from its parts. Used for the mock verifier of a user that does not exist: with
    /// random keys no proof fits it.
    pub fn from_parts(
        iterations: u32,
        salt: Vec<u8>,
        stored_key: [u8; SCRAM_KEY_BYTES],
        server_key: [u8; SCRAM_KEY_BYTES],
    ) -> Result<Self, VerifierError> {
        check_salt(&salt)?;
        Ok(Self {
            iterations: bounded(iterations)?,
            salt,
            stored_key,
            server_key,
        })
    }

    /// Rounds of PBKDF2 that a client makes.
    #[must_use]
    pub fn iterations(&self) -> u32 {
        self.iterations.get()
    }

    /// The salt, which the server tells every client.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// Checks a client's proof over `auth_message` (RFC 5802, section 3): recovers the client's key
    /// and compares its hash with the stored key in constant time.
    #[must_use]
    pub fn check_proof(
        &self,
        auth_message: &[u8],
        proof: &[u8; SCRAM_KEY_BYTES],
    ) -> Option<RecoveredClientKey> {
        let mut client_key = Zeroizing::new(mac(&self.stored_key, auth_message));
        for (byte, mask) in client_key.iter_mut().zip(proof) {
            *byte ^= mask;
        }
        let matches = sha256(client_key.as_slice()).ct_eq(&self.stored_key);
        bool::from(matches).then_some(RecoveredClientKey(client_key))
    }

    /// The server's signature over `auth_message`, by which the client knows that the server holds
    /// the verifier.
    #[must_use]
    pub fn server_signature(&self, auth_message: &[u8]) -> [u8; SCRAM_KEY_BYTES] {
        mac(&self.server_key, auth_message)
    }

    /// PostgreSQL's text of the verifier, for the ledger and for `ALTER ROLE ... PASSWORD`.
    #[must_use]
    pub fn expose_text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "SCRAM-SHA-256${}:{}${}:{}",
            self.iterations,
            STANDARD.encode(&self.salt),
            STANDARD.encode(self.stored_key),
            STANDARD.encode(self.server_key),
        ))
    }
}

impl Drop for ScramVerifier {
    fn drop(&mut self) {
        self.stored_key.zeroize();
        self.server_key.zeroize();
    }
}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScramVerifier({} rounds, keys hidden)", self.iterations)
    }
}

impl FromStr for ScramVerifier {
    type Err = VerifierError;

    fn from_str(text: &str) -> Result<Self, VerifierError> {
        let rest = text
            .strip_prefix("SCRAM-SHA-256$")
            .ok_or(VerifierError::Form)?;
        let (head, keys) = rest.split_once('$').ok_or(VerifierError::Form)?;
        let (iterations, salt) = head.split_once(':').ok_or(VerifierError::Form)?;
        let (stored, server) = keys.split_once(':').ok_or(VerifierError::Form)?;
        let rounds: u32 = iterations.parse().map_err(|_| VerifierError::Form)?;
        if rounds.to_string() != iterations {
            return Err(VerifierError::Form);
        }
        let salt = STANDARD.decode(salt).map_err(|_| VerifierError::Form)?;
        Self::from_parts(rounds, salt, key(stored)?, key(server)?)
    }
}

/// `SASLprep` (RFC 4013) where the password allows it, else its bytes as they are: what PostgreSQL
/// and libpq do (PostgreSQL, `src/common/saslprep.c`).
#[must_use]
pub fn normalize_password(password: &str) -> Zeroizing<String> {
    match stringprep::saslprep(password) {
        Ok(prepared) => Zeroizing::new(prepared.into_owned()),
        Err(_) => Zeroizing::new(password.to_owned()),
    }
}

fn bounded(iterations: u32) -> Result<NonZeroU32, VerifierError> {
    NonZeroU32::new(iterations)
        .filter(|rounds| (MIN_ITERATIONS..=MAX_ITERATIONS).contains(&rounds.get()))
        .ok_or(VerifierError::Iterations)
}

fn check_salt(salt: &[u8]) -> Result<(), VerifierError> {
    if (MIN_SALT_BYTES..=MAX_SALT_BYTES).contains(&salt.len()) {
        Ok(())
    } else {
        Err(VerifierError::Salt)
    }
}

fn key(text: &str) -> Result<[u8; SCRAM_KEY_BYTES], VerifierError> {
    let bytes = STANDARD.decode(text).map_err(|_| VerifierError::Form)?;
    bytes.try_into().map_err(|_| VerifierError::Form)
}

fn mac(key: &[u8], data: &[u8]) -> [u8; SCRAM_KEY_BYTES] {
    let mut out = [0; SCRAM_KEY_BYTES];
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    out.copy_from_slice(hmac::sign(&key, data).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, section 3: user `user`, password `pencil`.
    const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
    const AUTH_MESSAGE: &str = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
        r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
        c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    fn pencil() -> ScramVerifier {
        ScramVerifier::derive("pencil", &STANDARD.decode(SALT).unwrap(), 4096).unwrap()
    }

    fn proof(text: &str) -> [u8; 32] {
        STANDARD.decode(text).unwrap().try_into().unwrap()
    }

    #[test]
    fn the_rfcs_exchange_verifies() {
        let right = proof("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        assert!(
            pencil()
                .check_proof(AUTH_MESSAGE.as_bytes(), &right)
                .is_some()
        );
        assert_eq!(
            STANDARD.encode(pencil().server_signature(AUTH_MESSAGE.as_bytes())),
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
        let mut wrong = right;
        wrong[31] ^= 1;
        assert!(
            pencil()
                .check_proof(AUTH_MESSAGE.as_bytes(), &wrong)
                .is_none()
        );
        assert!(pencil().check_proof(b"another exchange", &right).is_none());
    }

    #[test]
    fn text_round_trips_and_debug_hides_it() {
        let text = pencil().expose_text();
        assert_eq!(text.parse::<ScramVerifier>().unwrap(), pencil());
        assert_eq!(
            format!("{:?}", pencil()),
            "ScramVerifier(4096 rounds, keys hidden)"
        );
    }

    #[test]
    fn weak_or_malformed_verifiers_are_refused() {
        let salt = [1; 16];
        assert_eq!(
            ScramVerifier::derive("x", &salt, 1),
            Err(VerifierError::Iterations)
        );
        assert_eq!(
            ScramVerifier::derive("x", &salt, MAX_ITERATIONS + 1),
            Err(VerifierError::Iterations)
        );
        assert_eq!(
            ScramVerifier::derive("x", b"short", 4096),
            Err(VerifierError::Salt)
        );
        let good = pencil().expose_text();
        for bad in [
            "",
            "md5d41d8cd98f00b204e9800998ecf8427e",
            &good.replace("4096", "04096"),
            &good.replace("4096", "+4096"),
            &good.replace('$', ":"),
            &format!("{}=", *good),
        ] {
            assert!(bad.parse::<ScramVerifier>().is_err(), "{bad}");
        }
    }

    #[test]
    fn passwords_are_normalized_as_postgresql_does() {
        // U+00A0 becomes a space; a prohibited character leaves the bytes as they are.
        assert_eq!(normalize_password("a\u{a0}b").as_str(), "a b");
        assert_eq!(normalize_password("a\u{7}b").as_str(), "a\u{7}b");
    }
}
