//! Nodes: who they are, where they are, and where the cluster keeps its ledger.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use palisade_keys::{Fingerprint, PublicKey};
use serde::{Deserialize, Serialize};

use crate::address::NodeAddress;
use crate::codec;
use crate::show;

/// Why a node's id was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a node's id is a whole number from 1 to {}", u32::MAX)]
pub struct NodeIdError;

/// A node's id. The cluster assigns it, in ascending order; it is never given again.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct NodeId(#[n(0)] NonZeroU32);

impl NodeId {
    /// The id of a cluster's first node.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The id of this number, unless it is zero.
    pub fn new(number: u32) -> Result<Self, NodeIdError> {
        NonZeroU32::new(number).map(Self).ok_or(NodeIdError)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// The id after this one; itself once the numbers are used up.
    pub(crate) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        text.parse().map_err(|_| NodeIdError).and_then(Self::new)
    }
}

/// Where a node's managed etcd listens, or would.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct StoreAddress {
    /// For the other members.
    #[n(0)]
    pub peer: NodeAddress,
    /// For clients.
    #[n(1)]
    pub client: NodeAddress,
}

/// A node as first written down. Certificates of the cluster's CA name it by `hosts` and its address.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct NewNode {
    /// The id: [`crate::State::next_node_id`].
    #[n(0)]
    pub id: NodeId,
    /// The key that its TLS connections prove and that signs its entries.
    #[cbor(n(1), with = "codec::one_key")]
    #[serde(serialize_with = "show::show_one_key")]
    pub key: PublicKey,
    /// The X25519 key that secrets are sealed to (RFC 9180).
    #[cbor(n(2), with = "codec::seal_key")]
    #[serde(serialize_with = "show::show_bytes")]
    pub seal: [u8; 32],
    /// Where its API answers.
    #[n(3)]
    pub address: NodeAddress,
    /// Further DNS names and IP addresses that it serves under, in the form of [`crate::parse_host`].
    #[n(4)]
    pub hosts: Vec<String>,
    /// Where its managed etcd would listen.
    #[n(5)]
    pub store: Option<StoreAddress>,
}

/// A node as the ledger has it now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Node {
    /// The id.
    pub id: NodeId,
    /// The key that its TLS connections prove and that signs its entries.
    #[serde(serialize_with = "show::show_one_key")]
    pub key: PublicKey,
    /// The X25519 key that secrets are sealed to.
    #[serde(serialize_with = "show::show_bytes")]
    pub seal: [u8; 32],
    /// Where its API answers.
    pub address: NodeAddress,
    /// Further DNS names and IP addresses that it serves under.
    pub hosts: Vec<String>,
    /// Where its managed etcd would listen.
    pub store: Option<StoreAddress>,
    /// Waits for a human's approval: is no member, authors nothing and gets no certificate.
    pub pending: bool,
    /// Sequence number of the last entry that changed the node.
    pub changed: u64,
}

impl Node {
    /// What a person compares, and what a pin holds.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.key.fingerprint()
    }

    /// Whether certificates may name the node by `host`: one of its hosts, or its address's.
    #[must_use]
    pub fn serves_as(&self, host: &str) -> bool {
        self.address.host() == host || self.hosts.iter().any(|own| own == host)
    }

    /// Whether a certificate of the node's may say `host`: what it serves as, and where its etcd
    /// listens.
    #[must_use]
    pub fn is_called(&self, host: &str) -> bool {
        let store = self.store.iter();
        let mut listens = store.flat_map(|store| [&store.peer, &store.client]);
        self.serves_as(host) || listens.any(|address| address.host() == host)
    }
}

/// Where the cluster keeps its ledger.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreConfig {
    /// In the one node's own file.
    #[default]
    #[n(0)]
    Embedded,
    /// In an etcd that the nodes run themselves.
    #[n(1)]
    Managed,
    /// In an existing etcd, at these URLs: `https://HOST:PORT`.
    #[n(2)]
    Endpoints(#[n(0)] Vec<String>),
}
