//! Signing, and the inventory of what was signed.

use std::sync::PoisonError;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palisade_ledger::{CertificateKind, Change, Hash, Issued, Millis, NodeId, State, Uid, limits};
use palisade_link::api::{CertificateReply, CertificateRequest, Done, IssueCertificate, Purpose};
use palisade_link::x509::{self, IssuingCa, Request, SigningRequest};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::policy::{self, Terms};
use super::{CaError, CaService, received};
use crate::author::AuthorError;
use crate::ledger::AppendError;
use crate::pki;
use crate::system;

impl CaService {
    /// A certificate for a user's command. It goes out only once the ledger has it.
    pub(super) async fn issue_for_user(
        &self,
        wish: &IssueCertificate,
        author: Uid,
    ) -> Result<Done, CaError> {
        let request = self::request(&wish.request)?;
        let state = self.inner.ledger.now();
        let user = state
            .user(author)
            .ok_or_else(|| CaError::Refused("you are no user of this cluster".to_owned()))?;
        let terms = policy::for_user(&state, user, wish).map_err(CaError::Refused)?;
        let ca = self
            .signer(&state)
            .map_err(|error| where_else(&state, error))?;
        let chain = sign(&ca, &request, &terms)?;
        let issued = entry(&chain, &terms, None, Some(author))?;
        let serial = hex(&issued.serial);
        self.append_issued(issued).await?;
        tracing::info!(subject = terms.common_name, serial, by = %user.name, "issued a certificate");
        Ok(Done {
            message: format!("issued {serial} for {}", terms.common_name),
            data: serde_json::to_value(reply(&chain)).ok(),
        })
    }

    /// A certificate for a member node, for itself.
    pub async fn certificate(
        &self,
        node: NodeId,
        wish: &CertificateRequest,
    ) -> Result<CertificateReply, CaError> {
        let request = self::request(&wish.request)?;
        let state = self.inner.ledger.now();
        let terms = policy::for_node(&state, node, wish.purpose, request.hosts())
            .map_err(CaError::Refused)?;
        let ca = self.signer(&state)?;
        let chain = sign(&ca, &request, &terms)?;
        self.record(entry(&chain, &terms, Some(node), None)?).await;
        tracing::info!(%node, purpose = ?wish.purpose, "issued a node's certificate");
        Ok(reply(&chain))
    }

    /// A certificate for this node itself, by its own CA or another node's.
    pub async fn own_certificate(
        &self,
        request: &x509::KeyRequest,
        purpose: Purpose,
    ) -> Result<Vec<Vec<u8>>, CaError> {
        let state = self.inner.ledger.now();
        let Ok(ca) = self.signer(&state) else {
            let others = self.inner.others.get().ok_or(CaError::NoIssuer)?;
            let wish = CertificateRequest {
                request: STANDARD.encode(&request.request),
                purpose,
            };
            let own = self
                .own(&state)
                .ok_or_else(|| CaError::Refused("this node is not in the ledger yet".to_owned()))?;
            let good = |reply: CertificateReply| {
                // What the ledger says now: the answer took a while.
                let state = self.inner.ledger.now();
                let terms = policy::for_node(&state, own, purpose, &[]);
                let terms = terms.map_err(CaError::Refused)?;
                received::chain(&reply, &request.request, &terms, &state)
            };
            let ask = |node| others.sign(node, wish.clone());
            return received::first_good(others.as_ref(), ask, good).await;
        };
        let parsed = SigningRequest::parse(&request.request)?;
        let own = self.own(&state);
        let terms = self
            .own_terms(&state, own, purpose)
            .map_err(CaError::Refused)?;
        let chain = sign(&ca, &parsed, &terms)?;
        self.record(entry(&chain, &terms, own, None)?).await;
        Ok(chain)
    }

    /// The issuer's own leaf names what its machine and configuration say, too.
    pub(super) fn own_terms(
        &self,
        state: &State,
        own: Option<NodeId>,
        purpose: Purpose,
    ) -> Result<Terms, String> {
        let mut terms = match own {
            Some(id) => policy::for_node(state, id, purpose, &[])?,
            None if purpose != Purpose::Server => {
                return Err("this node is not in the ledger, so it has no name in etcd".to_owned());
            }
            None => Terms {
                purpose: x509::Purpose::Server,
                common_name: "palisade".to_owned(),
                hosts: Vec::new(),
                lifetime: time::Duration::days(i64::from(state.server_certificate_days())),
            },
        };
        for name in &self.inner.wires.names {
            if !terms.hosts.contains(name) {
                terms.hosts.push(name.clone());
            }
        }
        Ok(terms)
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

    /// Puts what was issued into the ledger; kept for later, if there is no quorum now.
    pub(super) async fn record(&self, issued: Issued) {
        if let Err(error) = self.append_issued(issued.clone()).await {
            tracing::warn!(%error, serial = hex(&issued.serial), "issued, but not yet in the ledger");
            let mut waiting = self
                .inner
                .unrecorded
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            waiting.push(issued);
        }
    }

    /// Tries again what [`Self::record`] kept.
    pub(super) async fn record_rest(&self) -> Result<(), CaError> {
        loop {
            let next = {
                let waiting = self.inner.unrecorded.lock();
                waiting
                    .unwrap_or_else(PoisonError::into_inner)
                    .last()
                    .cloned()
            };
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
            let mut waiting = self
                .inner
                .unrecorded
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            waiting.retain(|issued| issued.serial != next.serial);
        }
    }

    /// As this node, or, where the ledger does not know it yet, by the cluster key that lies with it.
    async fn append_issued(&self, certificate: Issued) -> Result<(), CaError> {
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

/// Reads a request in base64.
fn request(text: &str) -> Result<SigningRequest, CaError> {
    let der = STANDARD
        .decode(text)
        .map_err(|_| CaError::Refused("the request is no base64".to_owned()))?;
    Ok(SigningRequest::parse(&der)?)
}

/// Signs under terms that were decided.
pub(super) fn sign(
    ca: &IssuingCa,
    request: &SigningRequest,
    terms: &Terms,
) -> Result<Vec<Vec<u8>>, CaError> {
    let serial = system::serial().map_err(crate::pki::PkiError::from)?;
    let said = Request {
        common_name: &terms.common_name,
        hosts: &terms.hosts,
        now: system::now(),
        lifetime: terms.lifetime,
        serial: &serial,
    };
    match ca.sign(request, terms.purpose, &said) {
        Err(x509::IssueError::Expired(day)) => Err(CaError::Refused(format!(
            "the issuing CA expired on {day}: stop the node and say palisade ca rescue"
        ))),
        chain => Ok(chain?),
    }
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

fn reply(chain: &[Vec<u8>]) -> CertificateReply {
    CertificateReply {
        chain: chain.iter().map(|der| STANDARD.encode(der)).collect(),
    }
}

/// Who signs instead of this node.
fn where_else(state: &State, error: CaError) -> CaError {
    if !matches!(error, CaError::NoIssuer) {
        return error;
    }
    let active = state.active_ca().map(Hash::of);
    // Who recorded a leaf for itself by that CA is most likely the one that has it.
    let holder = state
        .issued()
        .filter(|issued| Some(issued.issuer) == active)
        .filter_map(|issued| issued.holder)
        .min();
    match holder.and_then(|id| state.node(id)) {
        Some(node) => CaError::Refused(format!(
            "this node does not hold the issuing CA's key; ask another, for example node {} at {}",
            node.id, node.address
        )),
        None => CaError::NoIssuer,
    }
}

/// Hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}
