//! How a node proves that it may join: what its secret's key signs.
//!
//! ```text
//!   token (32 random bytes) ------------------seed---+
//!   cluster secret --PBKDF2, salt: the cluster key---+--> Ed25519 key, public half in the ledger
//!                                                             |
//!        in the TLS session: session_message(exporter, ...) <-+-> in the entry: join_message(node)
//! ```
//!
//! The ledger holds no secret, and every reader of it can check the proof. Each message begins with
//! its purpose, so a signature over one is none over another, nor over an entry.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode, Encoder};
use palisade_keys::PublicKey;
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::entry::Millis;
use crate::node::{NewNode, NodeId};
use crate::show::{self, Hex};

const JOIN: &str = "palisade join v1";
const ROTATE: &str = "palisade rotate v1";
const SESSION: &str = "palisade session v1";

/// Why a token's id was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token's id has 16 hexadecimal digits")]
pub struct TokenIdError;

/// The name of an enrollment token: eight random bytes, no secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TokenId(pub [u8; 8]);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token {self}")
    }
}

impl FromStr for TokenId {
    type Err = TokenIdError;

    fn from_str(text: &str) -> Result<Self, TokenIdError> {
        let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if text.len() != 16 || !digits {
            return Err(TokenIdError);
        }
        let number = u64::from_str_radix(text, 16).map_err(|_| TokenIdError)?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for TokenId {
    type Error = TokenIdError;

    fn try_from(text: String) -> Result<Self, TokenIdError> {
        text.parse()
    }
}

/// Which secret a joining node proved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// A token's.
    #[n(0)]
    Token(#[n(0)] TokenId),
    /// The cluster's.
    #[n(1)]
    Secret,
}

/// An enrollment token as first written down.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct NewToken {
    /// Its name.
    #[n(0)]
    pub id: TokenId,
    /// The public half of the key that its secret is the seed of.
    #[cbor(n(1), with = "codec::one_key")]
    #[serde(serialize_with = "show::show_one_key")]
    pub key: PublicKey,
    /// The last moment that it is good for.
    #[n(2)]
    pub expires: Millis,
    /// A node that joins by it waits for a human's approval.
    #[n(3)]
    pub approval: bool,
    /// What it is for, in a human's words.
    #[n(4)]
    pub note: String,
}

/// An enrollment token as the ledger has it now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Token {
    /// Its name.
    pub id: TokenId,
    /// The key that its holder proves.
    #[serde(serialize_with = "show::show_one_key")]
    pub key: PublicKey,
    /// The last moment that it is good for.
    pub expires: Millis,
    /// A node that joins by it waits for a human's approval.
    pub approval: bool,
    /// What it is for.
    pub note: String,
    /// The node that joined by it: a token is good once.
    pub used_by: Option<NodeId>,
    /// Good for nothing any more.
    pub revoked: bool,
}

/// What the token's or the secret's key signs in a [`crate::Change::NodeJoin`]: the cluster and all
/// of the new node, so that it holds for no other key, id, name or address.
#[must_use]
pub fn join_message(cluster: &PublicKey, node: &NewNode) -> Vec<u8> {
    message(JOIN, cluster, |e| e.encode(node).is_ok())
}

/// What a node's new key signs in a [`crate::Change::NodeRotate`]: its owner has it, and means it.
#[must_use]
pub fn rotate_message(
    cluster: &PublicKey,
    id: NodeId,
    key: &PublicKey,
    seal: &[u8; 32],
) -> Vec<u8> {
    message(ROTATE, cluster, |e| {
        e.u32(id.get())
            .and_then(|e| e.bytes(key.as_bytes()))
            .and_then(|e| e.bytes(seal))
            .is_ok()
    })
}

/// What the token's or the secret's key signs inside the TLS session with the exporter value
/// `exporter` (RFC 9266): it can't be carried to another session or said for another node key.
#[must_use]
pub fn session_message(cluster: &PublicKey, exporter: &[u8; 32], node_key: &PublicKey) -> Vec<u8> {
    message(SESSION, cluster, |e| {
        e.bytes(exporter)
            .and_then(|e| e.bytes(node_key.as_bytes()))
            .is_ok()
    })
}

/// `[purpose, cluster, what]`, the last as one byte string.
fn message(
    purpose: &str,
    cluster: &PublicKey,
    write: impl FnOnce(&mut Encoder<Vec<u8>>) -> bool,
) -> Vec<u8> {
    let mut content = Encoder::new(Vec::with_capacity(256));
    // Writing to a Vec can't fail.
    let written = write(&mut content);
    debug_assert!(written);
    let content = content.into_writer();
    let mut out = Encoder::new(Vec::with_capacity(content.len() + 64));
    let written = out
        .array(3)
        .and_then(|e| e.str(purpose))
        .and_then(|e| e.bytes(cluster.as_bytes()))
        .and_then(|e| e.bytes(&content))
        .is_ok();
    debug_assert!(written);
    out.into_writer()
}
