//! Following the ledger's own word on where it is kept.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use palisade_ledger::StoreConfig;

use super::Ledger;
use crate::store::etcd::{EtcdError, EtcdStore};

/// Makes the store that a configuration names, from the node's own files and endpoints; none for the
/// embedded one. It need not ask the store yet ([`EtcdStore::new`]).
pub type StoreBuilder = Arc<
    dyn Fn(
            StoreConfig,
        ) -> Pin<Box<dyn Future<Output = Result<Option<EtcdStore>, EtcdError>> + Send>>
        + Send
        + Sync,
>;

/// How long to wait before a store that could not be made is made again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long an attached store may take to catch up before that is logged.
const CATCH_UP: Duration = Duration::from_secs(10);

impl Ledger {
    /// Keeps the store attached that the ledger names, now and whenever it names another one. Runs
    /// until it is dropped.
    pub async fn follow_store(&self, build: StoreBuilder) {
        let mut states = self.state();
        loop {
            let (entry, config) = {
                let state = states.borrow_and_update();
                (state.store_entry(), state.store().clone())
            };
            match build(config).await {
                Ok(Some(store)) => {
                    if !self.attach(store, CATCH_UP).await {
                        tracing::warn!("the ledger's store has not answered yet");
                    }
                }
                Ok(None) => self.detach().await,
                Err(error) => {
                    tracing::warn!(%error, "the ledger's store can't be used");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
            let moved = states.wait_for(|state| state.store_entry() != entry);
            if moved.await.is_err() {
                return;
            }
        }
    }
}
