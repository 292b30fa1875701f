//! The doors that show certificates: the gateway, the API, and PostgreSQL's own port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use palisade_daemon::api::TlsConfig;
use palisade_daemon::ca::{DoorAddress, Doors};
use palisade_daemon::members::SharedIdentity;
use palisade_gateway::TlsIdentity;
use palisade_keys::Zeroizing;
use palisade_link::peer;
use palisade_link::x509::Leaf;
use tokio::sync::Notify;

use super::error::NodeError;

/// What the doors show, and where they are.
pub(super) struct Shown {
    pub(super) gateway: Arc<ArcSwap<TlsIdentity>>,
    /// The API's, where there is one.
    pub(super) api: Option<(TlsConfig, SharedIdentity)>,
    leaf: Mutex<Leaf>,
    addresses: Vec<DoorAddress>,
    /// Told when PostgreSQL is to read its files again.
    pub(super) refresh: Arc<Notify>,
}

impl Shown {
    pub(super) fn new(
        leaf: &Leaf,
        identity: Option<&SharedIdentity>,
        addresses: Vec<DoorAddress>,
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
        self.addresses.clone()
    }
}

fn copy(leaf: &Leaf) -> Leaf {
    Leaf {
        chain: leaf.chain.clone(),
        key: Zeroizing::new(leaf.key.to_vec()),
    }
}

/// A door as it is reached from this machine.
pub(super) fn door(name: &'static str, at: SocketAddr, postgres: bool) -> DoorAddress {
    let ip = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    DoorAddress {
        name,
        address: SocketAddr::new(ip, at.port()),
        postgres,
    }
}
