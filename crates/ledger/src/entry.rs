//! An entry of the ledger: who changed what, when, after which entry; and how it is signed.

use std::fmt;

use minicbor::{Decode, Encode};
use palisade_keys::SecretKey;
use serde::{Serialize, Serializer};

use crate::change::Change;
use crate::codec::{self, DecodeError};
use crate::name::Uid;
use crate::node::NodeId;
use crate::show::Hex;

/// SHA-256 over the bytes of a whole signed entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// What the genesis names as the entry before it.
    pub const ZERO: Self = Self([0; 32]);

    /// The hash of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(palisade_keys::sha256(bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The last entry of a chain: its sequence number (the genesis has 0) and hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Head {
    /// Sequence number of the last entry.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

/// Milliseconds since 1970-01-01 00:00 UTC, by the author's clock. A user's entry never lies before
/// the entry before it; the cluster key's may, to heal a ledger whose time was set too far ahead.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use time::format_description::well_known::Rfc3339;
        let time = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000);
        match time.ok().and_then(|time| time.format(&Rfc3339).ok()) {
            Some(text) => f.write_str(&text),
            None => write!(f, "{} ms", self.0),
        }
    }
}

/// Who made a change, and so whose key signed it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    /// The cluster key, whose name is `>[HAL_9000]<`.
    #[n(0)]
    Cluster,
    /// A user, by uid.
    #[n(1)]
    User(#[n(0)] Uid),
    /// A node, by id.
    #[n(2)]
    Node(#[n(0)] NodeId),
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str(crate::name::RESERVED_NAME),
            Self::User(uid) => write!(f, "uid {uid}"),
            Self::Node(id) => write!(f, "node {id}"),
        }
    }
}

/// One entry, as its author wrote it. Whether it may stand in the ledger is [`crate::verify`]'s word.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Entry {
    /// Its place: one more than the entry before.
    #[n(1)]
    pub seq: u64,
    /// Hash of the entry before.
    #[n(2)]
    pub prev: Hash,
    /// When the author made it.
    #[n(3)]
    pub time: Millis,
    /// Who made it.
    #[n(4)]
    pub author: Author,
    /// What it changes.
    #[n(5)]
    pub change: Change,
}

/// Signs `entry` with its author's key. The bytes returned are what is stored, hashed and sent.
/// Fails if the entry is larger than [`crate::limits::MAX_ENTRY_BYTES`].
pub fn sign(entry: &Entry, key: &SecretKey) -> Result<Vec<u8>, DecodeError> {
    codec::seal(entry, key)
}
