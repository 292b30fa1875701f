//! Entries that the daemon makes: under the cluster key's name, when it holds that key, and under the
//! node's own.

use std::sync::Arc;

use arc_swap::ArcSwap;
use palisade_keys::SecretKey;
use palisade_ledger::{Author, Change, DecodeError, Entry, Hash, Head, NodeId, Refusal, sign};

use crate::identity::NodeKeys;
use crate::ledger::{AppendError, Ledger};
use crate::system;

/// How often an entry is signed again because another came first.
const TRIES: usize = 16;

/// Why an entry could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorError {
    /// It can't be encoded.
    #[error(transparent)]
    Encode(#[from] DecodeError),
    /// The ledger refused it.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// The cluster key at work.
#[derive(Clone)]
pub struct ClusterAuthor {
    key: Arc<SecretKey>,
}

impl ClusterAuthor {
    /// The author whose key this is.
    #[must_use]
    pub fn new(key: SecretKey) -> Self {
        Self { key: Arc::new(key) }
    }

    /// The cluster's secret key.
    #[must_use]
    pub fn key(&self) -> &SecretKey {
        &self.key
    }

    /// The bytes of a genesis.
    pub fn genesis(&self, cluster: &str, database: &str) -> Result<Vec<u8>, DecodeError> {
        let entry = Entry {
            seq: 0,
            prev: Hash::ZERO,
            time: system::millis(),
            author: Author::Cluster,
            change: Change::Genesis {
                cluster: cluster.to_owned(),
                database: database.to_owned(),
                key: self.key.public(),
            },
        };
        sign(&entry, &self.key)
    }

    /// Appends a change in the cluster's name.
    pub async fn append(&self, ledger: &Ledger, change: Change) -> Result<Head, AuthorError> {
        append_as(ledger, Author::Cluster, &self.key, change).await
    }
}

/// The node's own key at work.
#[derive(Clone)]
pub struct NodeAuthor {
    id: NodeId,
    keys: Arc<ArcSwap<NodeKeys>>,
}

impl NodeAuthor {
    /// The node `id` with its keys, which may become others.
    #[must_use]
    pub fn new(id: NodeId, keys: Arc<ArcSwap<NodeKeys>>) -> Self {
        Self { id, keys }
    }

    /// The node.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Its keys now.
    #[must_use]
    pub fn keys(&self) -> Arc<NodeKeys> {
        self.keys.load_full()
    }

    /// Appends a change in the node's name.
    pub async fn append(&self, ledger: &Ledger, change: Change) -> Result<Head, AuthorError> {
        let keys = self.keys();
        append_as(ledger, Author::Node(self.id), &keys.node, change).await
    }
}

/// Signs a change as `author`, whose key this is, and appends it; again, while others come first.
pub async fn append_as(
    ledger: &Ledger,
    author: Author,
    key: &SecretKey,
    change: Change,
) -> Result<Head, AuthorError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let state = ledger.now();
        let entry = Entry {
            seq: state.head().seq.saturating_add(1),
            prev: state.head().hash,
            time: system::millis().max(state.time()),
            author,
            change: change.clone(),
        };
        match ledger.append(sign(&entry, key)?).await {
            Err(AppendError::Refused(Refusal::NotNext { .. } | Refusal::OtherChain { .. }))
                if tries < TRIES => {}
            result => return Ok(result?),
        }
    }
}
