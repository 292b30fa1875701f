//! A chain that is read from somebody else, verified as it comes, and stored.

use palisade_keys::PublicKey;
use palisade_ledger::{State, Verified, split, verify, verify_genesis};
use palisade_link::api::PAGE;
use palisade_link::client::Client;

use super::JoinError;
use crate::files;
use crate::layout::Layout;
use crate::store::Store;

/// A chain as far as it was read.
pub(super) struct Chain {
    pub(super) cluster: PublicKey,
    pub(super) state: Option<State>,
    pub(super) entries: Vec<Verified>,
}

impl Chain {
    pub(super) fn new(cluster: PublicKey) -> Self {
        Self {
            cluster,
            state: None,
            entries: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), JoinError> {
        let verified = match &mut self.state {
            None => {
                let (state, verified) = verify_genesis(bytes, &self.cluster)?;
                self.state = Some(state);
                verified
            }
            Some(state) => {
                let verified = verify(state, bytes)?;
                state.apply(&verified)?;
                verified
            }
        };
        self.entries.push(verified);
        Ok(())
    }

    /// Reads what the member has and we don't.
    pub(super) async fn follow(&mut self, client: &Client) -> Result<&State, JoinError> {
        loop {
            let next = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
            let page = client.entries(next).await?;
            let page = split(&page)?;
            for entry in &page {
                self.take(entry)?;
            }
            if page.len() < PAGE {
                return self.state.as_ref().ok_or(JoinError::Empty);
            }
        }
    }

    /// Reads what is stored.
    pub(super) fn stored(cluster: PublicKey, store: &Store) -> Result<Self, JoinError> {
        let mut chain = Self::new(cluster);
        loop {
            let next = u64::try_from(chain.entries.len()).unwrap_or(u64::MAX);
            let page = store.entries(next, PAGE)?;
            if page.is_empty() {
                return Ok(chain);
            }
            for bytes in &page {
                chain.take(bytes)?;
            }
        }
    }
}

/// The ledger first: only with the public key beside it is the directory a node's.
pub(super) fn store(
    layout: &Layout,
    cluster: &PublicKey,
    entries: &[Verified],
) -> Result<(), JoinError> {
    let store = Store::open(&layout.private())?;
    let stored = store.last()?.map_or(0, |last| last.seq.saturating_add(1));
    let stored = usize::try_from(stored).unwrap_or(usize::MAX);
    store.append(entries.get(stored..).unwrap_or_default())?;
    let public = format!("{cluster}\n");
    files::write_public(&layout.cluster_public_key(), public.as_bytes())?;
    Ok(())
}
