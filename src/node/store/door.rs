//! This node's etcd as a door that shows certificates.

use std::net::SocketAddr;
use std::path::PathBuf;

use palisade_daemon::config::ManagedStore;
use palisade_daemon::layout::Layout;
use palisade_daemon::ledger::Ledger;
use palisade_ledger::{NodeId, StoreConfig};
use palisade_link::x509::Leaf;

use super::files::StoreFiles;

/// Where this node's etcd listens, and what it shows.
pub(crate) struct StoreDoor {
    own: NodeId,
    ledger: Ledger,
    listen: ManagedStore,
    files: StoreFiles,
    data: PathBuf,
}

impl StoreDoor {
    pub(crate) fn new(own: NodeId, ledger: &Ledger, listen: ManagedStore, layout: &Layout) -> Self {
        Self {
            own,
            ledger: ledger.clone(),
            listen,
            files: StoreFiles::new(layout),
            data: layout.etcd_data().join("data/member"),
        }
    }

    /// For clients, and for the other members; none where this node runs no member.
    pub(crate) fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        let state = self.ledger.now();
        if *state.store() != StoreConfig::Managed || !self.data.exists() {
            return None;
        }
        let store = state.node(self.own)?.store.as_ref()?;
        Some((
            SocketAddr::new(self.listen.client.ip(), store.client.port()),
            SocketAddr::new(self.listen.peer.ip(), store.peer.port()),
        ))
    }

    /// What it shows.
    pub(crate) fn leaf(&self) -> Result<Leaf, String> {
        self.files.leaf()
    }

    /// Has it show another: it reads its files at each handshake.
    pub(crate) fn show(&self, leaf: &Leaf) -> Result<(), String> {
        self.files.write(leaf)
    }
}
