//! SCRAM-SHA-256 (RFC 5802, RFC 7677) for a client that keeps its derived keys.
//!
//! PBKDF2 takes about 0.7 ms, as much as the rest of a log-in together. A client that logs in often
//! keeps what comes out of it (RFC 5802, section 9), and so does this one: it measures the servers.

use std::collections::HashMap;
use std::num::NonZeroU32;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// "n,,": no channel binding, said in base64. PgBouncer has none; all three are asked the same.
const NO_BINDING: &str = "biws";

/// What a password comes to for one salt.
struct Keys {
    client: Vec<u8>,
    stored: Vec<u8>,
    server: Vec<u8>,
}

impl Keys {
    fn derive(password: &str, salt: &[u8], iterations: NonZeroU32) -> Self {
        let mut salted = [0; 32];
        pbkdf2::derive(
            PBKDF2_HMAC_SHA256,
            iterations,
            salt,
            password.as_bytes(),
            &mut salted,
        );
        let client = mac(&salted, b"Client Key");
        Self {
            stored: digest(&SHA256, &client).as_ref().to_vec(),
            server: mac(&salted, b"Server Key"),
            client,
        }
    }
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(HMAC_SHA256, key);
    hmac::sign(&key, message).as_ref().to_vec()
}

/// A password's verifier as PostgreSQL writes it, for PgBouncer's list of users.
pub(super) fn verifier(password: &str, salt: &[u8], iterations: NonZeroU32) -> String {
    let keys = Keys::derive(password, salt, iterations);
    format!(
        "SCRAM-SHA-256${iterations}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(&keys.stored),
        STANDARD.encode(&keys.server)
    )
}

/// A password and the keys that were derived from it.
pub(super) struct Password {
    text: String,
    known: HashMap<(String, String), Keys>,
}

impl Password {
    pub(super) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            known: HashMap::new(),
        }
    }

    /// The answer to the server's first message, and what its last must be. `None` if the message is
    /// not one.
    pub(super) fn answer(&mut self, nonce: &str, server_first: &str) -> Option<(String, String)> {
        let mut parts = server_first.split(',');
        let full_nonce = parts.next()?.strip_prefix("r=")?;
        let salt = parts.next()?.strip_prefix("s=")?;
        let iterations = parts.next()?.strip_prefix("i=")?;
        if !full_nonce.starts_with(nonce) {
            return None;
        }
        let index = (salt.to_owned(), iterations.to_owned());
        if !self.known.contains_key(&index) {
            let bytes = STANDARD.decode(salt).ok()?;
            let keys = Keys::derive(&self.text, &bytes, iterations.parse().ok()?);
            self.known.insert(index.clone(), keys);
        }
        let keys = self.known.get(&index)?;
        let without_proof = format!("c={NO_BINDING},r={full_nonce}");
        let signed = format!("n=,r={nonce},{server_first},{without_proof}");
        let signature = mac(&keys.stored, signed.as_bytes());
        let proof: Vec<u8> = keys
            .client
            .iter()
            .zip(signature)
            .map(|(key, sign)| key ^ sign)
            .collect();
        let last = format!("{without_proof},p={}", STANDARD.encode(proof));
        let expected = mac(&keys.server, signed.as_bytes());
        Some((last, format!("v={}", STANDARD.encode(expected))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, section 3, with the user name left out as PostgreSQL's clients do: the proof is
    /// checked by hand against the verifier.
    #[test]
    fn the_proof_fits_the_verifier() {
        let (salt, iterations) = (b"W22ZaJ0SNY7soEsU", NonZeroU32::new(4096).unwrap());
        let text = verifier("pencil", salt, iterations);
        let stored = text.rsplit('$').next().unwrap().split(':').next().unwrap();
        let stored = STANDARD.decode(stored).unwrap();
        let mut password = Password::new("pencil");
        let first = format!("r=abcdef,s={},i=4096", STANDARD.encode(salt));
        let (last, _) = password.answer("abc", &first).unwrap();
        let (without, proof) = last.split_once(",p=").unwrap();
        let signed = format!("n=,r=abc,{first},{without}");
        let signature = mac(&stored, signed.as_bytes());
        let client: Vec<u8> = STANDARD
            .decode(proof)
            .unwrap()
            .iter()
            .zip(signature)
            .map(|(a, b)| a ^ b)
            .collect();
        assert_eq!(digest(&SHA256, &client).as_ref(), stored);
        assert!(password.answer("xyz", &first).is_none(), "a foreign nonce");
    }
}
