//! Who this node is: the key that its TLS connections and entries prove, and the key that opens what
//! is sealed to it. Made once, each in a file of mode 0600; never shown to anybody, never sent.
//!
//! ```text
//!   private/node.key, seal.key        now
//!   private/node.key.next, ...        while the node takes new ones: written before the entry that
//!                                     names them, and put in place once the ledger has that entry
//! ```

use std::path::{Path, PathBuf};

use palisade_keys::{PublicKey, SecretKey};
use palisade_ledger::{
    Change, NewNode, NodeAddress, NodeId, State, StoreAddress, is_loopback, rotate_message,
};
use palisade_link::node::NodeIdentity;
use palisade_link::seal::SealSecret;
use palisade_link::x509::IssueError;

use crate::files::{self, FileError};
use crate::layout::Layout;
use crate::system::{self, NoEntropy};

/// Why a node's keys could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// A file does not hold what it should.
    #[error("{} holds no {what}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
    },
    /// The certificate could not be made.
    #[error(transparent)]
    Certificate(#[from] IssueError),
}

/// A node's own keys.
pub struct NodeKeys {
    /// What its TLS connections and its entries prove.
    pub node: SecretKey,
    /// What opens what is sealed to it.
    pub seal: SealSecret,
}

/// Where a node says that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where its API answers.
    pub address: NodeAddress,
    /// More names and addresses that it serves under.
    pub hosts: Vec<String>,
    /// Where its managed etcd would listen.
    pub store: Option<StoreAddress>,
}

impl NodeKeys {
    /// Reads the keys of the node that lives in `layout`, or makes them.
    pub fn load_or_create(layout: &Layout) -> Result<Self, IdentityError> {
        Ok(Self {
            node: node_key(&layout.node_key())?,
            seal: seal_key(&layout.seal_key())?,
        })
    }

    /// Reads the keys that are to follow, or makes them.
    pub fn load_or_create_next(layout: &Layout) -> Result<Self, IdentityError> {
        Ok(Self {
            node: node_key(&next(&layout.node_key()))?,
            seal: seal_key(&next(&layout.seal_key()))?,
        })
    }

    /// Puts keys that are to follow in place, if the ledger names them for this node: a rotation may
    /// have been cut short after its entry.
    pub fn finish_rotation(layout: &Layout, state: &State) -> Result<bool, IdentityError> {
        let path = next(&layout.node_key());
        if !path.exists() {
            return Ok(false);
        }
        let keys = Self::load_or_create_next(layout)?;
        if state.node_by_key(&keys.node.public()).is_none() {
            return Ok(false);
        }
        // The seal key first: as long as the node key lies there, this is done again.
        for (from, to) in [
            (next(&layout.seal_key()), layout.seal_key()),
            (path, layout.node_key()),
        ] {
            let moved = match std::fs::rename(&from, &to) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                other => other,
            };
            moved.map_err(|source| FileError::Io {
                what: "replace",
                path: to.clone(),
                source,
            })?;
        }
        files::sync_directory(&layout.private())?;
        Ok(true)
    }

    /// The node's key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.node.public()
    }

    /// The certificate that shows the key in TLS.
    pub fn certificate(&self) -> Result<NodeIdentity, IdentityError> {
        let serial = system::serial()?;
        Ok(NodeIdentity::new(&self.node, &serial, system::now())?)
    }

    /// The node as it asks to be written down.
    #[must_use]
    pub fn new_node(&self, id: NodeId, place: &Place) -> NewNode {
        NewNode {
            id,
            key: self.public(),
            seal: self.seal.public(),
            address: place.address.clone(),
            hosts: place.hosts.clone(),
            store: place.store.clone(),
        }
    }

    /// The change by which `next` follow these keys.
    #[must_use]
    pub fn rotation(cluster: &PublicKey, id: NodeId, next: &Self) -> Change {
        let (key, seal) = (next.public(), next.seal.public());
        let message = rotate_message(cluster, id, &key, &seal);
        Change::NodeRotate {
            id,
            key,
            seal,
            signature: *next.node.sign(&message).as_bytes(),
        }
    }
}

/// What a node may say anew of itself: other ports. New names are an operator's to give, since its
/// certificates will say them; those are in the second list.
#[must_use]
pub fn moved(state: &State, id: NodeId, place: &Place) -> (Option<Change>, Vec<String>) {
    let Some(node) = state.node(id) else {
        return (None, Vec::new());
    };
    let mut missing = Vec::new();
    let mut may_say = |host: &str| {
        let known = node.serves_as(host);
        if !known && !is_loopback(host) && !missing.iter().any(|named| named == host) {
            missing.push(host.to_owned());
        }
        known
    };
    let address = (node.address != place.address && may_say(place.address.host()))
        .then(|| place.address.clone());
    let store = place.store.as_ref().filter(|store| {
        let hosts = [store.peer.host(), store.client.host()];
        node.store.as_ref() != Some(*store) && hosts.into_iter().all(&mut may_say)
    });
    for host in &place.hosts {
        may_say(host);
    }
    let change = (address.is_some() || store.is_some()).then(|| Change::NodeSet {
        id,
        address,
        hosts: None,
        store: store.cloned(),
    });
    (change, missing)
}

fn next(path: &Path) -> PathBuf {
    path.with_added_extension("next")
}

fn node_key(path: &Path) -> Result<SecretKey, IdentityError> {
    if !path.exists() {
        let key = SecretKey::from_seed(system::random::<32>()?).map_err(|_| NoEntropy)?;
        files::write_private(path, key.expose_text().as_bytes())?;
    }
    let text = files::read_private(path)?;
    SecretKey::from_text(text.trim()).map_err(|_| IdentityError::Content {
        path: path.to_owned(),
        what: "node key",
    })
}

fn seal_key(path: &Path) -> Result<SealSecret, IdentityError> {
    if !path.exists() {
        let key = SealSecret::generate().map_err(|_| NoEntropy)?;
        files::write_private(path, key.expose_text().as_bytes())?;
    }
    let text = files::read_private(path)?;
    SealSecret::from_text(text.trim()).map_err(|_| IdentityError::Content {
        path: path.to_owned(),
        what: "seal key",
    })
}
