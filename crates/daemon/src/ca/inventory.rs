//! The inventory of what was signed: in the ledger before it goes out, or soon after.

use std::sync::{MutexGuard, PoisonError};

use palisade_ledger::{CertificateKind, Change, Hash, Issued, Millis, NodeId, Uid, limits};
use palisade_link::api::Purpose;
use palisade_link::x509::{self, IssuingCa, SigningRequest};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::issue::{hex, sign};
use super::policy::{self, Terms};
use super::{CaError, CaService};
use crate::author::AuthorError;
use crate::ledger::AppendError;
use crate::pki;
use crate::system;

/// The longest life of a node's certificate that the ledger could not take yet.
const UNRECORDED_LIFE: time::Duration = time::Duration::days(1);

impl CaService {
    /// Signs for a node, and gives the chain once the ledger has it; what the ledger refuses goes to
    /// no other node. While the ledger takes nothing, a chain goes out that is good for a day at most
    /// and is recorded later: the store may need this very certificate to come up.
    pub(super) async fn sign_for(
        &self,
        ca: &IssuingCa,
        request: &SigningRequest,
        terms: &Terms,
        holder: Option<NodeId>,
    ) -> Result<Vec<Vec<u8>>, CaError> {
        let state = self.inner.ledger.now();
        // A rescue's CA is on its way into the ledger, which takes nothing of it before.
        if state.issuing_cas().any(|der| der == ca.certificate()) {
            let chain = sign(ca, request, terms)?;
            match self
                .append_issued(entry(&chain, terms, holder, None)?)
                .await
            {
                Ok(()) => return Ok(chain),
                Err(error) if takes_nothing(&error) => {}
                // Who has the CA's key needs nobody's leave for his own leaf.
                Err(error) if holder == self.own(&state) => {
                    tracing::warn!(%error, "this node's own certificate is not in the ledger");
                }
                Err(error) => return Err(error),
            }
        }
        let short = Terms {
            lifetime: terms.lifetime.min(UNRECORDED_LIFE),
            ..terms.clone()
        };
        let chain = sign(ca, request, &short)?;
        self.keep(entry(&chain, &short, holder, None)?)?;
        Ok(chain)
    }

    /// Records the leaf that the doors show, if the inventory lacks it: whoever signed it may have
    /// stopped before he could.
    pub(super) async fn record_own(&self) -> Result<(), CaError> {
        let state = self.inner.ledger.now();
        let Some(own) = self.own(&state) else {
            return Ok(());
        };
        let Ok(shown) = self.inner.pki.read_serving() else {
            return Ok(());
        };
        let first = shown
            .leaf
            .chain
            .first()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let known =
            pki::serial(first).is_none_or(|serial| state.issued_by_serial(&serial).is_some());
        if known || system::now() > shown.until || !shown.is_ours(state.cluster_key()) {
            return Ok(());
        }
        let terms =
            policy::for_node(&state, own, Purpose::Server, &[]).map_err(CaError::Refused)?;
        let issued = entry(&shown.leaf.chain, &terms, Some(own), None)?;
        match self.append_issued(issued).await {
            // The one who signed it came first.
            Err(CaError::Author(AuthorError::Append(AppendError::Refused(_)))) => Ok(()),
            recorded => recorded,
        }
    }

    /// Keeps what was issued for when the ledger takes entries again.
    fn keep(&self, issued: Issued) -> Result<(), CaError> {
        tracing::warn!(
            serial = hex(&issued.serial),
            "issued, but not yet in the ledger"
        );
        let mut waiting = self.waiting();
        let now = system::millis();
        waiting.retain(|issued| issued.until > now);
        let same = waiting.iter().filter(|kept| kept.holder == issued.holder);
        if same.count() >= limits::MAX_HELD {
            return Err(CaError::Refused(
                "too many certificates of this node wait to be recorded: there is no quorum"
                    .to_owned(),
            ));
        }
        waiting.push(issued);
        Ok(())
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Issued>> {
        let waiting = self.inner.unrecorded.lock();
        waiting.unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries again what [`Self::keep`] kept.
    pub(super) async fn record_rest(&self) -> Result<(), CaError> {
        loop {
            let next = self.waiting().last().cloned();
            let Some(next) = next else {
                return Ok(());
            };
            match self.append_issued(next.clone()).await {
                Ok(()) => {}
                // It is in the inventory already, or its holder has left: nothing to add.
                Err(CaError::Author(AuthorError::Append(AppendError::Refused(refusal)))) => {
                    tracing::debug!(%refusal, "not recorded");
                }
                Err(error) => return Err(error),
            }
            self.waiting().retain(|issued| issued.serial != next.serial);
        }
    }

    /// As this node, or, where the ledger does not know it yet, by the cluster key that lies with it.
    pub(super) async fn append_issued(&self, certificate: Issued) -> Result<(), CaError> {
        let ledger = &self.inner.ledger;
        let change = Change::CertificateIssued { certificate };
        let own = self.own(&ledger.now());
        if let Some(node) = self.inner.wires.node.as_ref().filter(|_| own.is_some()) {
            node.append(ledger, change).await?;
        } else if let Some(cluster) = &self.inner.wires.cluster {
            cluster.append(ledger, change).await?;
        } else {
            return Err(CaError::Refused(
                "this node is not in the ledger yet, so nothing that it issues could be recorded"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

/// Whether the ledger said nothing to the entry: it takes none now, or may have taken it.
fn takes_nothing(error: &CaError) -> bool {
    let CaError::Author(AuthorError::Append(error)) = error else {
        return false;
    };
    matches!(error, AppendError::NoQuorum | AppendError::Unknown)
}

/// What the inventory says of a chain.
pub(super) fn entry(
    chain: &[Vec<u8>],
    terms: &Terms,
    holder: Option<NodeId>,
    by: Option<Uid>,
) -> Result<Issued, CaError> {
    let [leaf, issuer, ..] = chain else {
        return Err(CaError::Refused("the chain is too short".to_owned()));
    };
    let unreadable = || CaError::Refused("the certificate can't be read".to_owned());
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| unreadable())?;
    let until = parsed.validity().not_after.timestamp();
    let mut subject = terms.common_name.clone();
    for host in terms
        .hosts
        .iter()
        .filter(|host| **host != terms.common_name)
    {
        if subject.len() + host.len() + 2 <= limits::MAX_TEXT_BYTES {
            subject.push_str(", ");
            subject.push_str(host);
        }
    }
    Ok(Issued {
        serial: pki::serial(leaf).ok_or_else(unreadable)?,
        subject,
        kind: match terms.purpose {
            x509::Purpose::Server => CertificateKind::Server,
            x509::Purpose::Store => CertificateKind::Store,
            x509::Purpose::User => CertificateKind::User,
            x509::Purpose::Service => CertificateKind::Service,
            x509::Purpose::Tool => CertificateKind::Tool,
        },
        holder,
        issuer: Hash::of(issuer),
        until: Millis(u64::try_from(until).unwrap_or(0).saturating_mul(1000)),
        by,
    })
}
