//! The client's SCRAM messages (RFC 5802, section 7), read strictly.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palisade_keys::SCRAM_KEY_BYTES;

/// What the client says instead of a binding when it does bind.
const BOUND_PREFIX: &str = "p=tls-server-end-point";

/// Why a SCRAM exchange failed. All but [`Wrong`](ScramError::Wrong) say that the client, or someone
/// between, does not keep to the protocol; none depends on the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// A message that is not of RFC 5802's form.
    #[error("malformed SCRAM message")]
    Malformed,
    /// An authorization identity, or an extension that must be understood: there are none here.
    #[error("the client asks for a SCRAM extension that is not supported")]
    Unsupported,
    /// A mechanism that was not offered.
    #[error("the client selected a SASL mechanism that was not offered")]
    Mechanism,
    /// The gs2 flag contradicts the mechanism.
    #[error("the client's channel binding flag contradicts the mechanism")]
    Flag,
    /// The client did not see the offer of channel binding that was made.
    #[error("SCRAM channel binding negotiation error")]
    Downgrade,
    /// The client is bound to another channel than this one.
    #[error("SCRAM channel binding check failed")]
    Binding,
    /// The nonce is not that of this exchange.
    #[error("the SCRAM nonce does not match")]
    Nonce,
    /// The proof does not fit.
    #[error("wrong password, or a user who may not log in with one")]
    Wrong,
}

/// What a client says about channel binding: the gs2-cbind-flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GsFlag {
    /// `n`: it can't.
    NotSupported,
    /// `y`: it can, but thinks that the server can't.
    NotOffered,
    /// `p=tls-server-end-point`: it does.
    Bound,
}

/// The client's first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientFirst<'a> {
    /// The gs2 header, both commas included.
    pub header: &'a str,
    /// The flag in it.
    pub flag: GsFlag,
    /// What follows the header.
    pub bare: &'a str,
    /// The client's nonce.
    pub nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    /// Reads `n,,n=USER,r=NONCE`. The name in it means nothing: PostgreSQL's startup packet has it.
    pub fn parse(message: &'a [u8]) -> Result<Self, ScramError> {
        let text = text(message)?;
        let (flag_text, rest) = text.split_once(',').ok_or(ScramError::Malformed)?;
        let (identity, bare) = rest.split_once(',').ok_or(ScramError::Malformed)?;
        let flag = match flag_text {
            "n" => GsFlag::NotSupported,
            "y" => GsFlag::NotOffered,
            BOUND_PREFIX => GsFlag::Bound,
            other if other.starts_with("p=") => return Err(ScramError::Unsupported),
            _ => return Err(ScramError::Malformed),
        };
        match identity {
            "" => {}
            other if other.starts_with("a=") => return Err(ScramError::Unsupported),
            _ => return Err(ScramError::Malformed),
        }
        let header = text.strip_suffix(bare).ok_or(ScramError::Malformed)?;
        let mut attributes = bare.split(',');
        match attributes.next() {
            Some(name) if name.starts_with("n=") => {}
            Some(extension) if extension.starts_with("m=") => return Err(ScramError::Unsupported),
            Some(_) | None => return Err(ScramError::Malformed),
        }
        let nonce = attributes
            .next()
            .and_then(|attribute| attribute.strip_prefix("r="))
            .filter(|nonce| is_printable(nonce))
            .ok_or(ScramError::Malformed)?;
        if !attributes.all(is_attribute) {
            return Err(ScramError::Malformed);
        }
        Ok(Self {
            header,
            flag,
            bare,
            nonce,
        })
    }
}

/// The client's last message.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientFinal<'a> {
    /// Base64 of the gs2 header and the channel's data.
    pub binding: &'a str,
    /// The nonce of both sides.
    pub nonce: &'a str,
    /// The message without the proof: the last part of what is signed.
    pub without_proof: &'a str,
    /// The proof.
    pub proof: [u8; SCRAM_KEY_BYTES],
}

impl<'a> ClientFinal<'a> {
    /// Reads `c=BINDING,r=NONCE,p=PROOF`.
    pub fn parse(message: &'a [u8]) -> Result<Self, ScramError> {
        let text = text(message)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let proof = STANDARD
            .decode(proof)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(ScramError::Malformed)?;
        let mut attributes = without_proof.split(',');
        let mut next = |prefix| {
            attributes
                .next()
                .and_then(|attribute| attribute.strip_prefix(prefix))
                .ok_or(ScramError::Malformed)
        };
        let (binding, nonce) = (next("c=")?, next("r=")?);
        if !attributes.all(is_attribute) {
            return Err(ScramError::Malformed);
        }
        Ok(Self {
            binding,
            nonce,
            without_proof,
            proof,
        })
    }
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    let text = std::str::from_utf8(message).map_err(|_| ScramError::Malformed)?;
    if text.contains('\0') {
        Err(ScramError::Malformed)
    } else {
        Ok(text)
    }
}

/// RFC 5802's `printable`, at least one.
fn is_printable(nonce: &str) -> bool {
    !nonce.is_empty() && nonce.bytes().all(|byte| matches!(byte, 0x21..=0x7e))
}

/// An optional extension: a letter, `=`, and a value that is passed over.
fn is_attribute(attribute: &str) -> bool {
    matches!(attribute.as_bytes(), [letter, b'=', _, ..] if letter.is_ascii_alphabetic())
}
