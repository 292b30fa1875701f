//! Signing: for users, for the other nodes, for this one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palisade_ledger::{Hash, NodeId, State, Uid};
use palisade_link::api::{CertificateReply, CertificateRequest, Done, IssueCertificate, Purpose};
use palisade_link::x509::{self, IssuingCa, Request, SigningRequest};
use tokio::time::Instant;

use super::inventory::entry;
use super::policy::{self, Terms};
use super::{CaError, CaService, received};
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

    /// A certificate for a member node, for itself. Of what the ledger refuses nothing goes out.
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
        self.inner.asked.take(node, Instant::now())?;
        let chain = self.sign_for(&ca, &request, &terms, Some(node)).await?;
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
        self.sign_for(&ca, &parsed, &terms, own).await
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
