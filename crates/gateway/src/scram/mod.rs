//! The server's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677, RFC 5929).
//!
//! ```text
//!   Offer --first()--> Challenged --finish()--> PasswordProved
//! ```
//!
//! Each step consumes the one before, and only the last gives the proof that the rest of the login
//! demands. A user who does not exist, has no password or may not log in takes the same steps with
//! a made-up verifier and fails at the same place: what can be seen from outside is the same.

pub mod message;
mod secret;

pub use message::ScramError;
pub use secret::{MockSecret, ScramSecret};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palisade_keys::SCRAM_KEY_BYTES;
use subtle::ConstantTimeEq as _;

use message::{ClientFinal, ClientFirst, GsFlag};

/// The mechanism without channel binding.
pub const SCRAM: &str = "SCRAM-SHA-256";
/// The mechanism with it.
pub const SCRAM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// Bytes of the server's nonce (PostgreSQL: `SCRAM_RAW_NONCE_LEN`).
pub const NONCE_BYTES: usize = 18;

/// What the exchange can be bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// No TLS: there is nothing to bind to.
    Plain,
    /// TLS: the hash of the server's certificate, `tls-server-end-point` of RFC 5929.
    Tls {
        /// SHA-256 over the certificate's DER.
        end_point: [u8; 32],
    },
}

/// The password was proved. Made by [`Challenged::finish`] alone.
#[derive(Debug)]
#[must_use]
pub struct PasswordProved {
    bound: bool,
}

impl PasswordProved {
    /// Whether the proof was bound to the TLS channel.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.bound
    }
}

/// Mechanisms are offered; the client's first message is awaited.
#[derive(Debug)]
#[must_use]
pub struct Offer {
    channel: Channel,
}

impl Offer {
    /// An exchange over this channel.
    pub fn new(channel: Channel) -> Self {
        Self { channel }
    }

    /// The mechanisms, the best first. With channel binding only where there is a channel to bind to:
    /// libpq aborts when it is offered without TLS.
    #[must_use]
    pub fn mechanisms(&self) -> &'static [&'static str] {
        match self.channel {
            Channel::Plain => &[SCRAM],
            Channel::Tls { .. } => &[SCRAM_PLUS, SCRAM],
        }
    }

    /// Takes the client's first message; gives the server's first message.
    pub fn first(
        self,
        mechanism: &str,
        message: &[u8],
        secret: ScramSecret,
        nonce: &[u8; NONCE_BYTES],
    ) -> Result<(Challenged, String), ScramError> {
        let first = ClientFirst::parse(message)?;
        let binding = self.binding(mechanism, &first)?;
        let nonce = format!("{}{}", first.nonce, STANDARD.encode(nonce));
        let verifier = secret.verifier();
        let challenge = format!(
            "r={nonce},s={},i={}",
            STANDARD.encode(verifier.salt()),
            verifier.iterations()
        );
        let next = Challenged {
            bound: first.flag == GsFlag::Bound,
            binding,
            auth_message: format!("{},{challenge},", first.bare),
            nonce,
            secret,
        };
        Ok((next, challenge))
    }

    /// The value that the client must repeat as `c=`: RFC 5802, section 6.
    fn binding(&self, mechanism: &str, first: &ClientFirst<'_>) -> Result<String, ScramError> {
        let mut bytes = first.header.as_bytes().to_vec();
        match (mechanism, first.flag, self.channel) {
            (SCRAM_PLUS, GsFlag::Bound, Channel::Tls { end_point }) => bytes.extend(end_point),
            (SCRAM, GsFlag::NotSupported, _) | (SCRAM, GsFlag::NotOffered, Channel::Plain) => {}
            // "y" says that the server did not offer channel binding. It did: someone took it out.
            (SCRAM, GsFlag::NotOffered, Channel::Tls { .. }) => return Err(ScramError::Downgrade),
            (SCRAM_PLUS, _, Channel::Tls { .. }) | (SCRAM, GsFlag::Bound, _) => {
                return Err(ScramError::Flag);
            }
            _ => return Err(ScramError::Mechanism),
        }
        Ok(STANDARD.encode(bytes))
    }
}

/// The challenge is sent; the client's proof is awaited.
#[must_use]
pub struct Challenged {
    bound: bool,
    binding: String,
    nonce: String,
    auth_message: String,
    secret: ScramSecret,
}

impl Challenged {
    /// Takes the client's last message; gives the server's, by which the client knows the server.
    pub fn finish(mut self, message: &[u8]) -> Result<(PasswordProved, String), ScramError> {
        let last = ClientFinal::parse(message)?;
        if !bool::from(last.nonce.as_bytes().ct_eq(self.nonce.as_bytes())) {
            return Err(ScramError::Nonce);
        }
        if !bool::from(last.binding.as_bytes().ct_eq(self.binding.as_bytes())) {
            return Err(ScramError::Binding);
        }
        self.auth_message.push_str(last.without_proof);
        let auth_message = self.auth_message.as_bytes();
        let proof: &[u8; SCRAM_KEY_BYTES] = &last.proof;
        // Both are computed, whatever the first says.
        let known = self.secret.verifier().check_proof(auth_message, proof);
        let signature = self.secret.verifier().server_signature(auth_message);
        match known {
            Some(_) if self.secret.is_genuine() => {
                let answer = format!("v={}", STANDARD.encode(signature));
                Ok((PasswordProved { bound: self.bound }, answer))
            }
            Some(_) | None => Err(ScramError::Wrong),
        }
    }
}

#[cfg(test)]
mod tests;
