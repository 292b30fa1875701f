//! The leaf that the doors show: what a human put there, or one of our own, renewed in time.

use std::time::Duration;

use palisade_ledger::State;
use palisade_link::api::Purpose;
use palisade_link::x509::{self, Leaf};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::{CaError, CaService};
use crate::pki::{PkiError, ServerLeaf};
use crate::system;

/// After a renewal that failed: the issuer may be on its way up.
const TRY_AGAIN: Duration = Duration::from_secs(5);

impl CaService {
    /// The leaf to begin with. A file that can't be shown is told of, and the one that was accepted
    /// last is taken, or a new one made; the file stays as it is.
    pub async fn begin_server(&self) -> Result<(ServerLeaf, Option<CaError>), CaError> {
        self.duties().await;
        let now = system::now();
        let mut problem = None;
        if self.inner.pki.has_server() {
            match self.read_checked(now) {
                Ok(leaf) if !self.is_due(&leaf, now) => return self.begun(leaf, None),
                Ok(leaf) => {
                    // Due, and still good: what can't be renewed now is shown as it is.
                    return match self.renew().await {
                        Ok(leaf) => self.begun(leaf, None),
                        Err(error) => self.begun(leaf, Some(error)),
                    };
                }
                Err(error) => {
                    let ours = self
                        .inner
                        .pki
                        .read_server()
                        .is_ok_and(|leaf| leaf.is_ours(self.inner.ledger.now().cluster_key()));
                    if !ours {
                        problem = Some(error);
                    }
                }
            }
        }
        if problem.is_some()
            && let Ok(leaf) = self.inner.pki.read_serving()
            && leaf.check(&self.wanted(), now).is_ok()
        {
            return self.begun(leaf, problem);
        }
        let made = if problem.is_some() {
            self.make_aside().await?
        } else {
            self.renew().await?
        };
        self.begun(made, problem)
    }

    fn begun(
        &self,
        leaf: ServerLeaf,
        problem: Option<CaError>,
    ) -> Result<(ServerLeaf, Option<CaError>), CaError> {
        self.inner.pki.write_serving(&leaf.leaf)?;
        Ok((leaf, problem))
    }

    /// Looks whether the doors are to show another leaf, and has them show it. What can't be shown is
    /// refused, and the one that is shown stays.
    pub async fn follow_server(&self, shown: &ServerLeaf) -> Result<Option<ServerLeaf>, CaError> {
        // A trial is shown, or a leaf for etcd is being made: soon.
        let Ok(mut pace) = self.inner.showing.try_lock() else {
            return Ok(None);
        };
        let now = system::now();
        let state = self.inner.ledger.now();
        let next = if self.inner.pki.is_replaced(shown) {
            let ours = |leaf: &ServerLeaf| leaf.is_ours(state.cluster_key());
            match self.read_checked(now) {
                Ok(leaf) => leaf,
                // Somebody removed the file: he wants the node's own.
                Err(_)
                    if self.is_removed()
                        || self.inner.pki.read_server().is_ok_and(|leaf| ours(&leaf)) =>
                {
                    self.renew().await?
                }
                Err(error) => return Err(error),
            }
        } else if self.is_due(shown, now) {
            if pace
                .not_before
                .is_some_and(|not_before| Instant::now() < not_before)
            {
                return Ok(None);
            }
            let renewed = self.renew().await;
            pace.not_before = renewed.is_err().then(|| Instant::now() + TRY_AGAIN);
            renewed?
        } else {
            return Ok(None);
        };
        self.show(&next.leaf)?;
        Ok(Some(next))
    }

    /// Shows a leaf at every door, and notes it for PostgreSQL.
    pub(super) fn show(&self, leaf: &Leaf) -> Result<(), CaError> {
        let doors = self.inner.doors.get();
        if let Some(doors) = doors {
            doors.show(leaf).map_err(CaError::Doors)?;
        }
        self.inner.pki.write_serving(leaf)?;
        if let Some(doors) = doors {
            doors.refresh();
        }
        Ok(())
    }

    fn is_removed(&self) -> bool {
        let layout = self.inner.pki.layout();
        !layout.server_certificate().exists()
    }

    fn read_checked(&self, now: OffsetDateTime) -> Result<ServerLeaf, CaError> {
        let leaf = self.inner.pki.read_server()?;
        leaf.check(&self.wanted(), now)
            .map_err(|why| PkiError::Unfit {
                path: self.inner.pki.layout().server_certificate(),
                why,
            })?;
        Ok(leaf)
    }

    /// The names of which a certificate must have one.
    fn wanted(&self) -> Vec<String> {
        let state = self.inner.ledger.now();
        let mut names = self
            .own(&state)
            .and_then(|id| super::node_names(&state, id).ok())
            .unwrap_or_default();
        for name in &self.inner.wires.names {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// Whether a leaf is one of ours and is to be replaced: two thirds of its life are over, another
    /// CA signs now, or the node has got another name.
    fn is_due(&self, leaf: &ServerLeaf, now: OffsetDateTime) -> bool {
        let state = self.inner.ledger.now();
        if !leaf.is_ours(state.cluster_key()) {
            return false;
        }
        leaf.is_due(now) || self.other_ca_signs(leaf.issuer()) || self.is_renamed(leaf, &state)
    }

    /// Whether another CA than this one signs now, so that a certificate by it is to be replaced.
    #[must_use]
    pub fn other_ca_signs(&self, issuer: Option<&[u8]>) -> bool {
        let state = self.inner.ledger.now();
        if let Ok(ca) = self.signer(&state) {
            return issuer != Some(ca.certificate());
        }
        let now = system::now();
        let active = state.active_ca();
        active.is_some_and(|active| {
            let is_good = x509_parser::parse_x509_certificate(active)
                .is_ok_and(|(_, ca)| now < ca.validity().not_after.to_datetime());
            is_good && issuer != Some(active)
        })
    }

    fn is_renamed(&self, leaf: &ServerLeaf, state: &State) -> bool {
        let names = self
            .own(state)
            .and_then(|id| super::node_names(state, id).ok());
        names.is_some_and(|names| names.iter().any(|name| !leaf.names(name)))
    }

    /// A new leaf of our own, in its files.
    async fn renew(&self) -> Result<ServerLeaf, CaError> {
        let leaf = self.make().await?;
        Ok(self.inner.pki.write_server(&leaf)?)
    }

    /// A new leaf beside a file of a human's that can't be shown.
    async fn make_aside(&self) -> Result<ServerLeaf, CaError> {
        let leaf = self.make().await?;
        self.inner.pki.write_serving(&leaf)?;
        Ok(self.inner.pki.read_serving()?)
    }

    async fn make(&self) -> Result<Leaf, CaError> {
        let request = x509::make_request("palisade", &[])?;
        let chain = self.own_certificate(&request, Purpose::Server).await?;
        Ok(Leaf {
            chain,
            key: request.key,
        })
    }
}
