//! Whose password is asked for: a real verifier, or one that looks like it.

use std::fmt;

use aws_lc_rs::hmac;
use palisade_keys::{MIN_ITERATIONS, SCRAM_KEY_BYTES, ScramVerifier, VerifierError, Zeroizing};

/// Bytes of a made-up salt: as many as `palisade user passwd` and PostgreSQL draw.
const SALT_BYTES: usize = 16;

/// What made-up salts are derived from. It must outlive restarts and be the same on every node: a
/// salt that changes tells that its user does not exist.
pub struct MockSecret(hmac::Key);

impl MockSecret {
    /// From 32 secret bytes that only the cluster's nodes know.
    #[must_use]
    pub fn new(bytes: &Zeroizing<[u8; 32]>) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes.as_slice()))
    }

    fn derive(&self, label: &[u8], user: &str) -> [u8; SCRAM_KEY_BYTES] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(label);
        context.update(user.as_bytes());
        let mut out = [0; SCRAM_KEY_BYTES];
        for (to, from) in out.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        out
    }

    /// The verifier of a user who has none. No proof fits it: its keys are nobody's.
    fn verifier(&self, user: &str) -> Result<ScramVerifier, VerifierError> {
        let salt = self.derive(b"salt\0", user).into_iter().take(SALT_BYTES);
        ScramVerifier::from_parts(
            MIN_ITERATIONS,
            salt.collect(),
            self.derive(b"stored\0", user),
            self.derive(b"server\0", user),
        )
    }
}

impl fmt::Debug for MockSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MockSecret")
    }
}

/// The verifier that an exchange runs with, and whether it can succeed at all.
pub struct ScramSecret {
    verifier: ScramVerifier,
    genuine: bool,
}

impl ScramSecret {
    /// For `user`, whose verifier is `known`. With `may_log_in` false the exchange is the same and
    /// fails at its end. The made-up verifier is computed in every case, so that it takes the same time.
    pub fn new(
        mock: &MockSecret,
        user: &str,
        known: Option<&ScramVerifier>,
        may_log_in: bool,
    ) -> Result<Self, VerifierError> {
        let made_up = mock.verifier(user)?;
        Ok(Self {
            genuine: known.is_some() && may_log_in,
            verifier: known.cloned().unwrap_or(made_up),
        })
    }

    pub(super) fn verifier(&self) -> &ScramVerifier {
        &self.verifier
    }

    pub(super) fn is_genuine(&self) -> bool {
        self.genuine
    }
}
