//! The ledger as etcd shows it, where no daemon is asked: verified here like any other.

use palisade_daemon::store::etcd::EtcdStore;
use palisade_ledger::{State, Verified};

use super::{Chain, runtime};
use crate::cli::common::ClusterArgs;
use crate::cli::error::CliError;
use crate::cli::store::args::StoreArgs;
use crate::cli::store::ask;

/// Reads the whole ledger out of etcd, verifies it, and shows each entry to `each`.
pub(crate) fn replay_store(
    store: &StoreArgs,
    cluster: &ClusterArgs,
    each: &mut dyn FnMut(&Verified) -> Result<(), CliError>,
) -> Result<State, CliError> {
    let key = cluster.public_key()?;
    let options = store.options();
    let read = async {
        let store = EtcdStore::connect(&options, &key).await?;
        store.ledger(&key).await
    };
    let ledger = runtime()?
        .block_on(read)
        .map_err(|error| ask::failed(&error))?;
    let mut chain = Chain::new(key);
    for entry in &ledger.entries {
        chain.take(entry, each)?;
    }
    chain.finish()
}
