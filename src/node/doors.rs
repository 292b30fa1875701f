//! The doors that show certificates: the gateway, the API, PostgreSQL's own port, and etcd.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use palisade_daemon::api::TlsConfig;
use palisade_daemon::ca::Doors;
use palisade_daemon::members::SharedIdentity;
use palisade_gateway::TlsIdentity;
use palisade_keys::Zeroizing;
use palisade_link::api::{DoorAddress, DoorKind};
use palisade_link::peer;
use palisade_link::x509::Leaf;
use tokio::sync::Notify;

use super::error::NodeError;
use super::store::StoreDoor;

/// What the doors show, and where they are.
pub(super) struct Shown {
    pub(super) gateway: Arc<ArcSwap<TlsIdentity>>,
    /// The API's, where there is one.
    pub(super) api: Option<(TlsConfig, SharedIdentity)>,
    leaf: Mutex<Leaf>,
    addresses: Vec<DoorAddress>,
    /// This node's etcd, if it may run one.
    store: Option<StoreDoor>,
    /// Told when PostgreSQL is to read its files again.
    pub(super) refresh: Arc<Notify>,
}

impl Shown {
    pub(super) fn new(
        leaf: &Leaf,
        identity: Option<&SharedIdentity>,
        addresses: Vec<DoorAddress>,
        store: Option<StoreDoor>,
    ) -> Result<Self, NodeError> {
        let gateway = TlsIdentity::from_leaf(leaf)?;
        let api = match identity {
            None => None,
            Some(identity) => {
                let config = peer::server_config(&identity.load(), Some(leaf))?;
                Some((Arc::new(ArcSwap::new(config)), identity.clone()))
            }
        };
        Ok(Self {
            gateway: Arc::new(ArcSwap::from_pointee(gateway)),
            api,
            leaf: Mutex::new(copy(leaf)),
            addresses,
            store,
            refresh: Arc::default(),
        })
    }

    /// The node has other keys: the API shows them from now on.
    pub(super) fn show_identity(&self) -> Result<(), String> {
        let leaf = copy(&self.leaf.lock().unwrap_or_else(PoisonError::into_inner));
        self.show_at_api(&leaf)
    }

    fn show_at_api(&self, leaf: &Leaf) -> Result<(), String> {
        if let Some((api, identity)) = &self.api {
            let config = peer::server_config(&identity.load(), Some(leaf));
            api.store(config.map_err(|error| error.to_string())?);
        }
        Ok(())
    }
}

impl Doors for Shown {
    fn show(&self, leaf: &Leaf) -> Result<(), String> {
        let gateway = TlsIdentity::from_leaf(leaf).map_err(|error| error.to_string())?;
        self.show_at_api(leaf)?;
        self.gateway.store(Arc::new(gateway));
        *self.leaf.lock().unwrap_or_else(PoisonError::into_inner) = copy(leaf);
        Ok(())
    }

    fn refresh(&self) {
        self.refresh.notify_one();
    }

    fn addresses(&self) -> Vec<DoorAddress> {
        let mut addresses = self.addresses.clone();
        let store = self.store.as_ref().and_then(StoreDoor::addresses);
        if let Some((client, peer)) = store {
            addresses.push(door(DoorKind::Store, client));
            addresses.push(door(DoorKind::StorePeer, peer));
        }
        addresses
    }

    fn store_leaf(&self) -> Option<Leaf> {
        let store = self.store.as_ref()?;
        store.addresses()?;
        store.leaf().ok()
    }

    fn show_store(&self, leaf: &Leaf) -> Result<(), String> {
        match &self.store {
            Some(store) => store.show(leaf),
            None => Ok(()),
        }
    }
}

fn copy(leaf: &Leaf) -> Leaf {
    Leaf {
        chain: leaf.chain.clone(),
        key: Zeroizing::new(leaf.key.to_vec()),
    }
}

/// A door that listens at this address.
pub(super) fn door(kind: DoorKind, address: SocketAddr) -> DoorAddress {
    DoorAddress { kind, address }
}
