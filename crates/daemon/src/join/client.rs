//! The joiner's side.
//!
//! ```text
//!   keys --> TLS: a member of the cluster that the token names, or a stranger
//!        --> proof over this session --> the whole ledger --> verified from its genesis
//!        --> the node's own entry, for the id that comes next --> appended --> stored here
//! ```
//!
//! Cut short anywhere, it can be done again: a node whose key is in the ledger already only fetches it.

use std::sync::Arc;
use std::time::Duration;

use palisade_keys::{PublicKey, SecretKey};
use palisade_ledger::{
    Author, Change, DecodeError, Entry, NewNode, NodeAddress, NodeId, Proof, State, StoreConfig,
    TokenId, is_loopback, join_message, session_message, sign, verify,
};
use palisade_link::api::{JoinKind, JoinProof};
use palisade_link::client::{Client, ClientError};
use palisade_link::https::Connection;
use palisade_link::node::NodeIdentity;
use palisade_link::peer::Expect;

use super::JoinError;
use super::chain::{Chain, store};
use crate::files;
use crate::identity::{NodeKeys, Place};
use crate::layout::Layout;
use crate::system;

/// For a handshake; and, by far, for an answer.
pub(super) const WITHIN: Duration = Duration::from_secs(10);
/// For a page of the ledger, and for an append that waits for PostgreSQL there.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_mins(1);
/// How often the entry is signed anew because another came first.
pub(super) const TRIES: usize = 16;

/// By what a node joins.
pub enum Way {
    /// A token: its id, and the key that its secret is the seed of.
    Token(TokenId, SecretKey),
    /// The cluster's secret, as text.
    Secret(palisade_keys::Zeroizing<String>),
    /// The cluster's private key.
    ClusterKey(SecretKey),
}

/// A node that joined.
#[derive(Debug, Clone)]
pub struct Joined {
    /// Its id.
    pub id: NodeId,
    /// The cluster's name.
    pub cluster: String,
    /// Whether a human must approve it first.
    pub pending: bool,
}

/// Has the node in `layout` join the cluster, by the first of `addresses` that answers. `cluster` is
/// the cluster's public key, where it is known beforehand; a token and the private key know it.
pub async fn join(
    layout: &Layout,
    place: &Place,
    cluster: Option<PublicKey>,
    way: Way,
    addresses: &[NodeAddress],
) -> Result<Joined, JoinError> {
    if layout.is_initialized() {
        return Err(JoinError::Occupied(layout.root().to_owned()));
    }
    layout.create()?;
    let keys = NodeKeys::load_or_create(layout)?;
    let identity = keys.certificate()?;
    let mut failed = JoinError::NoAddress;
    let way = Arc::new(way);
    for address in addresses {
        let (client, cluster) = match reach(address, cluster, &identity).await {
            Ok(reached) => reached,
            Err(error) => {
                failed = error;
                continue;
            }
        };
        let secret = secret_of(way.clone(), cluster).await?;
        let client = prove(&client, &cluster, &identity, &way, &secret)?;
        let mut chain = Chain::new(cluster);
        let joiner = Joiner {
            keys: &keys,
            place,
            way: &way,
            secret: &secret,
        };
        let state = joiner.follow(&client, &mut chain, address).await?;
        let client = match member_session(&client, state, address, &identity).await? {
            Some(another) => prove(&another, &cluster, &identity, &way, &secret)?,
            None => client,
        };
        let id = joiner.join_chain(&client, &mut chain, address).await?;
        return settle(layout, chain, id);
    }
    Err(failed)
}

/// Opens a session with a member: of the cluster that is known, or of whichever it says.
async fn reach(
    address: &NodeAddress,
    cluster: Option<PublicKey>,
    identity: &NodeIdentity,
) -> Result<(Client, PublicKey), JoinError> {
    let expect = match cluster {
        Some(key) => Expect::Cluster(key, address.host().to_owned()),
        None => Expect::Stranger,
    };
    let text = address.to_string();
    let connection = Connection::open(&text, &expect, Some(identity.leaf()), WITHIN).await?;
    let client = Client::https(connection.answer_within(ANSWER_WITHIN));
    if let Some(key) = cluster {
        return Ok((client, key));
    }
    // Hearsay; the ledger that it shows must verify by it, and know the secret.
    let said = client.identity().await?.cluster;
    let key = said.and_then(|key| key.parse().ok());
    let key = key.ok_or_else(|| JoinError::NoCluster(address.clone()))?;
    Ok((client, key))
}

/// A session with a member of the cluster, whose ledger `state` is. A stranger's key must be a member's
/// there: who copied a ledger has none of those. A certificate of the cluster may be that of a node which
/// is out, so its bearer is asked once more, as the member that the ledger has at this address; where it
/// has none, as whichever member he proves to be. None: the session that is there will do.
async fn member_session(
    client: &Client,
    state: &State,
    address: &NodeAddress,
    identity: &NodeIdentity,
) -> Result<Option<Client>, JoinError> {
    let check = |key: Option<PublicKey>| {
        key.and_then(|key| state.node_by_key(&key))
            .filter(|node| !node.pending)
            .map(drop)
            .ok_or_else(|| JoinError::NoMember(address.clone()))
    };
    let shown = client.connection().and_then(Connection::peer_key);
    if shown.is_some() {
        return check(shown).map(|()| None);
    }
    let there = state.members().find(|node| node.address == *address);
    let expect = there.map_or(Expect::Stranger, |node| Expect::Node(node.key));
    let text = address.to_string();
    let connection = Connection::open(&text, &expect, Some(identity.leaf()), WITHIN).await?;
    check(connection.peer_key())?;
    Ok(Some(Client::https(connection.answer_within(ANSWER_WITHIN))))
}

/// The key that proves. Deriving it from a passphrase takes a good part of a second.
async fn secret_of(way: Arc<Way>, cluster: PublicKey) -> Result<SecretKey, JoinError> {
    let derived = tokio::task::spawn_blocking(move || match &*way {
        Way::Token(_, key) | Way::ClusterKey(key) => Ok(SecretKey::from_text(&key.expose_text())?),
        Way::Secret(text) => SecretKey::from_passphrase(text, cluster.as_bytes()),
    });
    let derived = derived.await;
    Ok(derived.map_err(|error| JoinError::Task(error.to_string()))??)
}

fn prove(
    client: &Client,
    cluster: &PublicKey,
    identity: &NodeIdentity,
    way: &Way,
    secret: &SecretKey,
) -> Result<Client, JoinError> {
    let connection = client.connection().ok_or(JoinError::NoAddress)?;
    let message = session_message(cluster, connection.exporter(), &identity.key());
    let kind = match way {
        Way::Token(id, _) => JoinKind::Token(id.to_string()),
        Way::Secret(_) => JoinKind::Secret,
        Way::ClusterKey(_) => JoinKind::ClusterKey,
    };
    Ok(client
        .clone()
        .with_proof(&JoinProof::new(&kind, &message, secret)))
}

struct Joiner<'a> {
    keys: &'a NodeKeys,
    place: &'a Place,
    way: &'a Way,
    secret: &'a SecretKey,
}

impl Joiner<'_> {
    /// Reads the ledger, of a cluster that knows the secret.
    async fn follow<'a>(
        &self,
        client: &Client,
        chain: &'a mut Chain,
        address: &NodeAddress,
    ) -> Result<&'a State, JoinError> {
        let state = chain.follow(client).await?;
        if let Way::Secret(_) = self.way
            && state.join_secret() != Some(&self.secret.public())
        {
            return Err(JoinError::OtherSecret(address.clone()));
        }
        Ok(state)
    }

    /// Reads the ledger, and appends the node's entry to it unless it is there.
    async fn join_chain(
        &self,
        client: &Client,
        chain: &mut Chain,
        address: &NodeAddress,
    ) -> Result<NodeId, JoinError> {
        for _ in 0..TRIES {
            let state = self.follow(client, chain, address).await?;
            if let Some(node) = state.node_by_key(&self.keys.public()) {
                return Ok(node.id);
            }
            if *state.store() == StoreConfig::Embedded {
                return Err(JoinError::Embedded);
            }
            let node = self.node(state);
            let id = node.id;
            let bytes = self.entry(state, node)?;
            // What does not verify here is told without asking.
            drop(verify(state, &bytes)?);
            match client.append(bytes.clone()).await {
                Ok(_) => {
                    chain.take(&bytes)?;
                    return Ok(id);
                }
                Err(ClientError::Refused(failure)) if failure.stale => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(JoinError::Busy)
    }

    /// The node, without the names that another node has: two on one machine share its name.
    fn node(&self, state: &State) -> NewNode {
        let mut node = self.keys.new_node(state.next_node_id(), self.place);
        node.hosts
            .retain(|host| is_loopback(host) || !state.nodes().any(|other| other.serves_as(host)));
        node
    }

    fn entry(&self, state: &State, node: NewNode) -> Result<Vec<u8>, DecodeError> {
        let proof = match self.way {
            Way::Token(id, _) => Some(Proof::Token(*id)),
            Way::Secret(_) => Some(Proof::Secret),
            Way::ClusterKey(_) => None,
        };
        let id = node.id;
        let (author, change, key) = match proof {
            None => (Author::Cluster, Change::NodeAdd { node }, self.secret),
            Some(proof) => {
                let message = join_message(state.cluster_key(), &node);
                let change = Change::NodeJoin {
                    signature: *self.secret.sign(&message).as_bytes(),
                    node,
                    proof,
                };
                (Author::Node(id), change, &self.keys.node)
            }
        };
        let entry = Entry {
            seq: state.head().seq.saturating_add(1),
            prev: state.head().hash,
            time: system::millis().max(state.time()),
            author,
            change,
        };
        sign(&entry, key)
    }
}

/// Writes down what makes the directory a node's.
fn settle(layout: &Layout, chain: Chain, id: NodeId) -> Result<Joined, JoinError> {
    let state = chain.state.ok_or(JoinError::Empty)?;
    let pending = state.node(id).is_none_or(|node| node.pending);
    if pending {
        files::write_private(&layout.pending(), b"this node waits for approval\n")?;
    }
    store(layout, &chain.cluster, &chain.entries)?;
    Ok(Joined {
        id,
        cluster: state.cluster().to_owned(),
        pending,
    })
}
