//! The encoding: deterministic CBOR (RFC 8949, section 4.2) in a `COSE_Sign1` (RFC 9052, section 4.2).
//!
//! Decoding is strict by one rule: what was decoded is encoded again and must give the same bytes.
//! Unknown keys, long integers, indefinite lengths, maps out of order, a second spelling of base64:
//! all fail that test.

#![expect(
    clippy::ref_option,
    clippy::option_option,
    clippy::unnecessary_wraps,
    reason = "the signatures that minicbor's derive calls"
)]

use minicbor::data::Tag;
use minicbor::decode::Error as CborError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};
use palisade_keys::{PublicKey, ScramVerifier, SecretKey, Signature};

use crate::address::NodeAddress;
use crate::entry::{Entry, Hash, Millis};
use crate::join::TokenId;
use crate::limits::MAX_ENTRY_BYTES;
use crate::name::{Uid, UserName};
use crate::object::ObjectName;
use crate::privileges::Privileges;
use crate::weak::{WEAK_KEY, WEAK_SEAL, is_weak, is_weak_seal};

/// CBOR tag of a `COSE_Sign1` (RFC 9052, section 2).
const COSE_SIGN1: Tag = Tag::new(18);
/// The protected header: the map `{1: -8}`, algorithm `EdDSA` (RFC 9053, section 2.2).
const PROTECTED: &[u8] = &[0xa1, 0x01, 0x27];
/// `external_aad`: a signature for the ledger is none for anything else.
const CONTEXT: &[u8] = b"palisade ledger v1";

/// Why bytes are not an entry, or an entry can't be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Larger than any entry.
    #[error("an entry has at most {MAX_ENTRY_BYTES} bytes, this one {0}")]
    TooLarge(usize),
    /// Not the CBOR that was expected.
    #[error("not an entry: {0}")]
    Malformed(String),
    /// The same content has another, canonical encoding.
    #[error("not an entry: its encoding is not the canonical one")]
    NotCanonical,
}

impl From<CborError> for DecodeError {
    fn from(error: CborError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// A decoded entry and the parts that its signature covers. Nothing is verified yet.
pub(crate) struct Envelope<'a> {
    pub(crate) entry: Entry,
    pub(crate) signature: Signature,
    payload: &'a [u8],
}

impl Envelope<'_> {
    /// What the author signed.
    pub(crate) fn to_be_signed(&self) -> Vec<u8> {
        to_be_signed(self.payload)
    }
}

/// `Sig_structure` of RFC 9052, section 4.4.
fn to_be_signed(payload: &[u8]) -> Vec<u8> {
    let mut out = Encoder::new(Vec::with_capacity(payload.len() + 48));
    // Writing to a Vec can't fail.
    let written = out
        .array(4)
        .and_then(|e| e.str("Signature1"))
        .and_then(|e| e.bytes(PROTECTED))
        .and_then(|e| e.bytes(CONTEXT))
        .and_then(|e| e.bytes(payload))
        .is_ok();
    debug_assert!(written);
    out.into_writer()
}

fn envelope(payload: &[u8], signature: &Signature) -> Vec<u8> {
    let mut out = Encoder::new(Vec::with_capacity(payload.len() + 80));
    let written = out
        .tag(COSE_SIGN1)
        .and_then(|e| e.array(4))
        .and_then(|e| e.bytes(PROTECTED))
        .and_then(|e| e.map(0))
        .and_then(|e| e.bytes(payload))
        .and_then(|e| e.bytes(signature.as_bytes()))
        .is_ok();
    debug_assert!(written);
    out.into_writer()
}

pub(crate) fn seal(entry: &Entry, key: &SecretKey) -> Result<Vec<u8>, DecodeError> {
    let payload = payload(entry)?;
    let bytes = envelope(&payload, &key.sign(&to_be_signed(&payload)));
    if bytes.len() > MAX_ENTRY_BYTES {
        return Err(DecodeError::TooLarge(bytes.len()));
    }
    Ok(bytes)
}

fn payload(entry: &Entry) -> Result<Vec<u8>, DecodeError> {
    minicbor::to_vec(entry).map_err(|error| DecodeError::Malformed(error.to_string()))
}

/// Decodes one entry that takes up all of `bytes`.
pub(crate) fn open(bytes: &[u8]) -> Result<Envelope<'_>, DecodeError> {
    if bytes.len() > MAX_ENTRY_BYTES {
        return Err(DecodeError::TooLarge(bytes.len()));
    }
    let mut decoder = Decoder::new(bytes);
    if decoder.tag()? != COSE_SIGN1 || decoder.array()? != Some(4) {
        return Err(DecodeError::Malformed("not a COSE_Sign1".to_owned()));
    }
    if decoder.bytes()? != PROTECTED {
        let message = "the protected header is not {1: -8}".to_owned();
        return Err(DecodeError::Malformed(message));
    }
    if decoder.map()? != Some(0) {
        return Err(DecodeError::Malformed("an unprotected header".to_owned()));
    }
    let content = decoder.bytes()?;
    let signature: [u8; 64] = decoder
        .bytes()?
        .try_into()
        .map_err(|_| DecodeError::Malformed("a signature has 64 bytes".to_owned()))?;
    let signature = Signature::from_bytes(signature);
    let entry: Entry = minicbor::decode(content)?;
    if payload(&entry)? != content || envelope(content, &signature) != bytes {
        return Err(DecodeError::NotCanonical);
    }
    Ok(Envelope {
        entry,
        signature,
        payload: content,
    })
}

fn refused(error: impl std::fmt::Display) -> CborError {
    CborError::message(error)
}

/// Implements CBOR for a type through a simpler one, with the type's own checks on the way in.
macro_rules! through {
    ($type:ty, $write:ident, |$v:ident| $out:expr, $read:ident, |$raw:ident| $in:expr) => {
        impl<C> Encode<C> for $type {
            fn encode<W: Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), EncodeError<W::Error>> {
                let $v = self;
                e.$write($out)?.ok()
            }
        }
        impl<'b, C> Decode<'b, C> for $type {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, CborError> {
                let $raw = d.$read()?;
                $in
            }
        }
    };
}

through!(Uid, u32, |v| v.get(), u32, |raw| Uid::new(raw)
    .map_err(refused));
through!(Privileges, u32, |v| v.bits(), u32, |raw| Self::from_bits(
    raw
)
.map_err(refused));
through!(UserName, str, |v| v.as_str(), str, |raw| Self::new(raw)
    .map_err(refused));
through!(Millis, u64, |v| v.0, u64, |raw| Ok(Self(raw)));
through!(Hash, bytes, |v| &v.0, bytes, |raw| raw
    .try_into()
    .map(Self)
    .map_err(|_| refused("a hash has 32 bytes")));
through!(TokenId, bytes, |v| &v.0, bytes, |raw| raw
    .try_into()
    .map(Self)
    .map_err(|_| refused("a token's id has 8 bytes")));

impl<C> Encode<C> for NodeAddress {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.str(&self.to_string())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for NodeAddress {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, CborError> {
        d.str()?.parse().map_err(refused)
    }
}

/// `[schema]` or `[schema, name]`.
impl<C> Encode<C> for ObjectName {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        match self {
            Self::Schema { schema } => e.array(1)?.str(schema)?.ok(),
            Self::Relation { schema, name } => e.array(2)?.str(schema)?.str(name)?.ok(),
        }
    }
}

impl<'b, C> Decode<'b, C> for ObjectName {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, CborError> {
        match d.array()? {
            Some(1) => Self::schema(d.str()?).map_err(refused),
            Some(2) => Self::relation(d.str()?, d.str()?).map_err(refused),
            _ => Err(refused("an object is [schema] or [schema, name]")),
        }
    }
}

/// A public key as 32 bytes.
pub(crate) mod one_key {
    use super::{CborError, Decoder, EncodeError, Encoder, PublicKey, Write, refused};
    use super::{WEAK_KEY, is_weak};

    pub(crate) fn encode<C, W: Write>(
        key: &PublicKey,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.bytes(key.as_bytes())?.ok()
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<PublicKey, CborError> {
        let bytes = d.bytes()?.try_into();
        let key = bytes
            .map(PublicKey::from_bytes)
            .map_err(|_| refused("a public key has 32 bytes"))?;
        if is_weak(&key) {
            return Err(refused(WEAK_KEY));
        }
        Ok(key)
    }
}

/// An X25519 public key as 32 bytes.
pub(crate) mod seal_key {
    use super::{
        CborError, Decoder, EncodeError, Encoder, WEAK_SEAL, Write, is_weak_seal, refused,
    };

    pub(crate) fn encode<C, W: Write>(
        key: &[u8; 32],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.bytes(key)?.ok()
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<[u8; 32], CborError> {
        let key = d.bytes()?.try_into();
        let key = key.map_err(|_| refused("a public key has 32 bytes"))?;
        if is_weak_seal(&key) {
            return Err(refused(WEAK_SEAL));
        }
        Ok(key)
    }
}

/// A secret for each of several nodes: a map from the node's id to bytes, in ascending order.
pub(crate) mod sealed {
    use std::collections::BTreeMap;

    use super::{CborError, Decode, Decoder, Encode, EncodeError, Encoder, Write, refused};
    use crate::node::NodeId;

    pub(crate) fn encode<C, W: Write>(
        sealed: &BTreeMap<NodeId, Vec<u8>>,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.map(sealed.len() as u64)?;
        for (id, bytes) in sealed {
            id.encode(e, ctx)?;
            e.bytes(bytes)?;
        }
        Ok(())
    }

    pub(crate) fn decode<C>(
        d: &mut Decoder<'_>,
        ctx: &mut C,
    ) -> Result<BTreeMap<NodeId, Vec<u8>>, CborError> {
        let count = d.map()?.ok_or_else(|| refused("a map of no length"))?;
        let mut sealed = BTreeMap::new();
        for _ in 0..count {
            sealed.insert(NodeId::decode(d, ctx)?, d.bytes()?.to_vec());
        }
        Ok(sealed)
    }
}

/// A public key that may be left out.
pub(crate) mod public_key {
    use super::{CborError, Decoder, EncodeError, Encoder, PublicKey, Write, one_key};

    pub(crate) fn encode<C, W: Write>(
        key: &Option<PublicKey>,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        match key {
            Some(key) => one_key::encode(key, e, ctx),
            None => e.null()?.ok(),
        }
    }

    pub(crate) fn decode<C>(
        d: &mut Decoder<'_>,
        ctx: &mut C,
    ) -> Result<Option<PublicKey>, CborError> {
        one_key::decode(d, ctx).map(Some)
    }

    pub(crate) fn is_nil(key: &Option<PublicKey>) -> bool {
        key.is_none()
    }

    pub(crate) fn nil() -> Option<Option<PublicKey>> {
        Some(None)
    }
}

/// A SCRAM verifier in PostgreSQL's text form, that may be left out.
pub(crate) mod verifier {
    use super::{CborError, Decoder, EncodeError, Encoder, ScramVerifier, Write, refused};

    pub(crate) fn encode<C, W: Write>(
        verifier: &Option<ScramVerifier>,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        match verifier {
            Some(verifier) => e.str(&verifier.expose_text())?.ok(),
            None => e.null()?.ok(),
        }
    }

    pub(crate) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Option<ScramVerifier>, CborError> {
        d.str()?.parse().map(Some).map_err(refused)
    }

    pub(crate) fn is_nil(verifier: &Option<ScramVerifier>) -> bool {
        verifier.is_none()
    }

    pub(crate) fn nil() -> Option<Option<ScramVerifier>> {
        Some(None)
    }
}
