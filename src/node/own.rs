//! This node among the others: its keys, its place, and what it says of itself.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use palisade_daemon::author::{ClusterAuthor, NodeAuthor};
use palisade_daemon::config::Config;
use palisade_daemon::identity::{NodeKeys, Place, moved};
use palisade_daemon::layout::Layout;
use palisade_daemon::ledger::Ledger;
use palisade_daemon::members::SharedIdentity;
use palisade_keys::PublicKey;
use palisade_ledger::{
    Change, Node, NodeAddress, NodeId, State, StoreAddress, is_loopback, parse_host,
};
use palisade_link::api::{Identity, StoreAddresses, encode};
use tokio::net::TcpListener;

use super::error::NodeError;

/// A node that the ledger names.
#[derive(Clone)]
pub(super) struct Own {
    pub(super) author: NodeAuthor,
    pub(super) keys: Arc<ArcSwap<NodeKeys>>,
    /// What it shows in TLS.
    pub(super) identity: SharedIdentity,
    pub(super) place: Place,
}

impl Own {
    /// The node that lives in `layout`, as the ledger has it. A cluster that has no node yet gets this
    /// one as its first, where the cluster key lies here.
    pub(super) async fn establish(
        layout: &Layout,
        ledger: &Ledger,
        cluster: Option<&ClusterAuthor>,
        place: Place,
    ) -> Result<Option<Self>, NodeError> {
        if NodeKeys::finish_rotation(layout, &ledger.now())? {
            tracing::info!("this node's new keys are in place");
        }
        let keys = NodeKeys::load_or_create(layout)?;
        let state = ledger.now();
        let id = match state.node_by_key(&keys.public()) {
            Some(node) => node.id,
            None if state.next_node_id() == NodeId::FIRST => {
                let Some(cluster) = cluster else {
                    tracing::warn!(
                        "the ledger names no node, and without the cluster's private key this one can't be added: it stays alone"
                    );
                    return Ok(None);
                };
                let node = keys.new_node(NodeId::FIRST, &place);
                cluster.append(ledger, Change::NodeAdd { node }).await?;
                NodeId::FIRST
            }
            None => return Err(NodeError::NotMember(layout.root().to_owned())),
        };
        let identity = Arc::new(ArcSwap::from_pointee(keys.certificate()?));
        let keys = Arc::new(ArcSwap::from_pointee(keys));
        Ok(Some(Self {
            author: NodeAuthor::new(id, keys.clone()),
            keys,
            identity,
            place,
        }))
    }

    /// The node's id.
    pub(super) fn id(&self) -> NodeId {
        self.author.id()
    }

    /// What the node says of itself to anyone.
    pub(super) fn says(&self, state: &State) -> Identity {
        let keys = self.keys.load();
        let key = keys.public();
        let member = state.node_by_key(&key).is_some_and(|node| !node.pending);
        identity(&keys, &self.place, Some(state.cluster_key()), member)
    }

    /// Tells the ledger that the node has other ports than it says. New names are an operator's to give.
    pub(super) async fn tell_place(&self, ledger: &Ledger) -> Result<(), String> {
        let (change, missing) = moved(&ledger.now(), self.id(), &self.place);
        if let Some(change) = change {
            let appended = self.author.append(ledger, change).await;
            appended.map_err(|error| {
                format!("the ledger does not have this node's address: {error}")
            })?;
        }
        if missing.is_empty() {
            return Ok(());
        }
        tracing::info!(
            names = missing.join(", "),
            "the ledger does not have these names for this node, so its certificate does not say them; an \
             operator adds them with palisade node set"
        );
        Ok(())
    }
}

/// The node that lives in `layout`, if the ledger has it.
pub(super) fn known(layout: &Layout, state: &State) -> Result<Option<Node>, NodeError> {
    if !layout.node_key().exists() {
        return Ok(None);
    }
    let keys = NodeKeys::load_or_create(layout)?;
    Ok(state.node_by_key(&keys.public()).cloned())
}

/// What a node says of itself.
pub(super) fn identity(
    keys: &NodeKeys,
    place: &Place,
    cluster: Option<&PublicKey>,
    member: bool,
) -> Identity {
    Identity {
        key: keys.public().to_string(),
        seal: encode(&keys.seal.public()),
        address: place.address.to_string(),
        hosts: place.hosts.clone(),
        store: place.store.as_ref().map(|store| StoreAddresses {
            peer: store.peer.to_string(),
            client: store.client.to_string(),
        }),
        member,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: cluster.map(ToString::to_string),
    }
}

/// Where a node with this configuration is, whose API listens here.
pub(super) fn place(config: &Config, api: &[TcpListener]) -> Result<Place, NodeError> {
    let wrong = |error: palisade_ledger::AddressError| NodeError::Place(error.to_string());
    let bound = api.first().and_then(|listener| listener.local_addr().ok());
    let address: NodeAddress = match (&config.api.advertise, bound) {
        (Some(advertised), _) => advertised.parse().map_err(wrong)?,
        (None, Some(bound)) => near(bound.ip(), bound, "localhost").map_err(wrong)?,
        (None, None) => return Err(NodeError::Place("the API does not listen".to_owned())),
    };
    let managed = |at: SocketAddr| near(at.ip(), at, address.host()).map_err(wrong);
    let store = StoreAddress {
        peer: managed(config.store.managed.peer)?,
        client: managed(config.store.managed.client)?,
    };
    let mut hosts = Vec::new();
    let gateway = config.gateway.listen.iter().map(|at| at.ip().to_string());
    let named = config.api.names.iter().cloned();
    for host in super::begin::host_name()
        .into_iter()
        .chain(gateway)
        .chain(named)
    {
        // What nobody can connect to is no name: 0.0.0.0, or a host name with a strange letter.
        let Ok(host) = parse_host(&host) else {
            continue;
        };
        if !is_loopback(&host) && host != address.host() && !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    Ok(Place {
        address,
        hosts,
        store: Some(store),
    })
}

fn near(
    ip: IpAddr,
    at: SocketAddr,
    host: &str,
) -> Result<NodeAddress, palisade_ledger::AddressError> {
    if ip.is_unspecified() {
        NodeAddress::new(host, at.port())
    } else {
        NodeAddress::new(&ip.to_string(), at.port())
    }
}
