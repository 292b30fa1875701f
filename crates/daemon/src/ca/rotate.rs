//! `palisade ca rotate`, on the nodes: a candidate is made, certified, proved, and then signs.
//!
//! ```text
//!   operator's command           here
//!   ca_candidate                 a key, and the request that the cluster key certifies
//!   ca_install                   the candidate's certificate lies beside its key
//!      (IssuingCaAdd)
//!   ca_prove                     trial leaves; a handshake at every door of every member
//!      (IssuingCaActivate)       the candidate signs; every node renews its leaf
//!   ca_cut_over                  waits until every member has
//!      (IssuingCaRemove)         the old key is forgotten
//!   ca_abandon                   instead: the candidate's key is forgotten
//! ```

use std::sync::PoisonError;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palisade_ledger::{CertificateKind, NodeId, State};
use palisade_link::api::{CaProof, Done, Purpose};
use palisade_link::x509::inspect::{Context, Severity, inspect, key_spki};
use palisade_link::x509::{self, IssuingCa, Leaf, SigningRequest};
use serde_json::json;

use super::issue::hex;
use super::{CaError, CaService, hash, policy};
use crate::pki::Place;
use crate::system;

/// Until every member has a leaf by the new CA.
const RENEWED_WITHIN: Duration = Duration::from_secs(50);

/// A trial leaf's life: a proof takes seconds.
const TRIAL_LIFE: time::Duration = time::Duration::minutes(10);

fn done(message: impl Into<String>, data: serde_json::Value) -> Done {
    Done {
        message: message.into(),
        data: Some(data),
    }
}

impl CaService {
    pub(super) fn candidate(&self) -> Result<Done, CaError> {
        let state = self.inner.ledger.now();
        self.keep_step()?;
        let request = {
            let _alone = self
                .inner
                .step
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            self.inner.pki.make_candidate()?
        };
        let issuer = self.signer(&state).is_ok();
        let data = json!({ "request": STANDARD.encode(request), "issuer": issuer });
        Ok(done("a candidate for the issuing CA was made", data))
    }

    pub(super) fn install(&self, certificate: &str) -> Result<Done, CaError> {
        let state = self.inner.ledger.now();
        let der = self::der(certificate)?;
        self.inner.pki.install_candidate(der, state.cluster_key())?;
        Ok(done("the candidate is certified", json!({})))
    }

    pub(super) fn abandon(&self, certificate: &str) -> Result<Done, CaError> {
        let der = self::der(certificate)?;
        let candidate = self.inner.pki.ca(Place::Candidate);
        // One that was never certified is given up under any name.
        if candidate.is_none_or(|candidate| candidate.certificate() == der) {
            self.inner.pki.drop_ca(Place::Candidate)?;
        }
        Ok(done("the candidate is given up", json!({})))
    }

    /// The candidate of this certificate, which the ledger knows, too.
    fn proved_candidate(&self, certificate: &str) -> Result<std::sync::Arc<IssuingCa>, CaError> {
        let der = self::der(certificate)?;
        let state = self.inner.ledger.now();
        if !state.issuing_cas().any(|known| known == der) {
            return Err(CaError::Refused(
                "the ledger does not know this candidate".to_owned(),
            ));
        }
        self.inner
            .pki
            .ca(Place::Candidate)
            .filter(|candidate| candidate.certificate() == der)
            .ok_or_else(|| CaError::Refused("this node has no such candidate".to_owned()))
    }

    /// Has every member prove that it works with the candidate. Stops at the first that does not.
    pub(super) async fn prove_everywhere(&self, certificate: &str) -> Result<Done, CaError> {
        let candidate = self.proved_candidate(certificate)?;
        let state = self.inner.ledger.now();
        let own = self.own(&state);
        self.prove_own(&candidate, &state, own)
            .await
            .map_err(|error| cannot(own, &error))?;
        let mut proved: Vec<u32> = own.into_iter().map(NodeId::get).collect();
        for node in state.members().filter(|node| Some(node.id) != own) {
            self.prove_other(&candidate, &state, node.id, certificate)
                .await
                .map_err(|error| cannot(Some(node.id), &error))?;
            proved.push(node.id.get());
        }
        Ok(done(
            format!("{} nodes proved the candidate", proved.len().max(1)),
            json!({ "nodes": proved }),
        ))
    }

    async fn prove_own(
        &self,
        candidate: &IssuingCa,
        state: &State,
        own: Option<NodeId>,
    ) -> Result<(), CaError> {
        let made = x509::make_request("trial", &[])?;
        let request = SigningRequest::parse(&made.request)?;
        let mut terms = self
            .own_terms(state, own, Purpose::Server)
            .map_err(CaError::Refused)?;
        terms.lifetime = TRIAL_LIFE;
        let chain = self.sign_for(candidate, &request, &terms, own).await?;
        let trial = Leaf {
            chain,
            key: made.key,
        };
        let host = terms.hosts.first().map_or("localhost", String::as_str);
        self.prove_here(&trial, host).await
    }

    async fn prove_other(
        &self,
        candidate: &IssuingCa,
        state: &State,
        node: NodeId,
        certificate: &str,
    ) -> Result<(), CaError> {
        let others = self.inner.others.get().ok_or(CaError::NoIssuer)?;
        let ask = |chain: Vec<String>| {
            others.prove(
                node,
                CaProof {
                    certificate: certificate.to_owned(),
                    chain,
                },
            )
        };
        let begun = ask(Vec::new()).await.map_err(CaError::Remote)?;
        let request = begun
            .data
            .as_ref()
            .and_then(|data| data.get("request")?.as_str())
            .ok_or_else(|| CaError::Remote("it sent no request for a trial".to_owned()))?;
        let request = SigningRequest::parse(&self::der(request)?)?;
        let mut terms = policy::for_node(state, node, Purpose::Server, request.hosts())
            .map_err(CaError::Refused)?;
        terms.lifetime = TRIAL_LIFE;
        let chain = self
            .sign_for(candidate, &request, &terms, Some(node))
            .await?;
        let chain = chain.iter().map(|der| STANDARD.encode(der)).collect();
        ask(chain).await.map_err(CaError::Remote)?;
        Ok(())
    }

    /// What another node's issuer asks of this one: first a request for a trial leaf, then the proof
    /// with it.
    pub async fn proof(&self, proof: &CaProof) -> Result<Done, CaError> {
        let state = self.inner.ledger.now();
        let candidate = self::der(&proof.certificate)?;
        // The one that signs needs no proof; a leaf of it could be any node's.
        if !is_candidate(&state, &candidate) {
            return Err(CaError::Refused(
                "this node's ledger does not know such a candidate".to_owned(),
            ));
        }
        IssuingCa::check(&candidate, state.cluster_key(), None)?;
        if proof.chain.is_empty() {
            let made = x509::make_request("trial", &[])?;
            let request = STANDARD.encode(&made.request);
            let mut trial = self
                .inner
                .trial
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *trial = Some(made);
            return Ok(done("a trial is ready", json!({ "request": request })));
        }
        let made = {
            let mut trial = self
                .inner
                .trial
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            trial.take()
        };
        let made = made.ok_or_else(|| CaError::Refused("no trial was begun".to_owned()))?;
        let chain: Result<Vec<_>, _> = proof.chain.iter().map(|text| self::der(text)).collect();
        let chain = chain?;
        if chain.get(1) != Some(&candidate) {
            return Err(CaError::Refused(
                "the trial is not by the candidate".to_owned(),
            ));
        }
        let trial = Leaf {
            chain,
            key: made.key,
        };
        let own = self.own(&state);
        let names = own.and_then(|id| super::node_names(&state, id).ok());
        let host = names.and_then(|names| names.into_iter().next());
        let host = host.as_deref().unwrap_or("localhost");
        check_trial(&trial, &state, host)?;
        self.prove_here(&trial, host).await?;
        Ok(done("proved", json!({})))
    }

    /// Waits until every member shows a leaf by the CA that was activated.
    pub(super) async fn cut_over(&self, certificate: &str) -> Result<Done, CaError> {
        let der = self::der(certificate)?;
        let mut states = self.inner.ledger.state();
        let state = self.inner.ledger.now();
        self.keep_step()?;
        if state.active_ca() != Some(der.as_slice()) {
            return Err(CaError::Refused(
                "the ledger does not say yet that this CA signs (IssuingCaActivate)".to_owned(),
            ));
        }
        let all = states.wait_for(|state| behind(state, &der).is_empty());
        let waited = tokio::time::timeout(RENEWED_WITHIN, all).await.is_ok();
        let behind = behind(&self.inner.ledger.now(), &der);
        if waited && behind.is_empty() {
            return Ok(done(
                "every node has a certificate by the new CA",
                json!({}),
            ));
        }
        let names: Vec<_> = behind.iter().map(ToString::to_string).collect();
        Err(CaError::Refused(format!(
            "these nodes have no certificate by the new CA yet: {}; they get one when they are reached",
            names.join(", ")
        )))
    }
}

/// The members that have no leaf by this CA yet but a trial, or whose certificate for etcd is still by
/// another.
fn behind(state: &State, ca: &[u8]) -> Vec<NodeId> {
    let ca = hash(ca);
    let trial = u64::try_from(TRIAL_LIFE.whole_milliseconds()).unwrap_or(0);
    let trial = system::millis().0.saturating_add(trial);
    let has = |id: NodeId, kind: CertificateKind, new: bool| {
        state.issued().any(|issued| {
            issued.holder == Some(id)
                && issued.kind == kind
                && (issued.issuer == ca) == new
                && issued.until.0 > trial
        })
    };
    let renewed = |id: NodeId| {
        has(id, CertificateKind::Server, true)
            && (has(id, CertificateKind::Store, true) || !has(id, CertificateKind::Store, false))
    };
    state
        .members()
        .map(|node| node.id)
        .filter(|id| !renewed(*id))
        .collect()
}

/// A CA that was added after the one that signs.
fn is_candidate(state: &State, certificate: &[u8]) -> bool {
    let active = state.active_ca();
    let mut later = state
        .issuing_cas()
        .skip_while(|der| Some(*der) != active)
        .skip(1);
    later.any(|der| der == certificate)
}

/// What a door is to show must be good for this node: nobody else's name, nobody else's key.
fn check_trial(trial: &Leaf, state: &State, host: &str) -> Result<(), CaError> {
    let refused = |reason: String| CaError::Refused(format!("the trial is no good: {reason}"));
    let key =
        key_spki(trial.expose_key_pem().as_bytes()).map_err(|error| refused(error.to_string()))?;
    let issuing: Vec<_> = state.issuing_cas().map(<[u8]>::to_vec).collect();
    let context = Context {
        now: system::now(),
        host: Some(host),
        key: Some(&key),
        cluster: Some(state.cluster_key()),
        issuing: &issuing,
        revoked: &|_| None,
    };
    let report = inspect(&trial.chain, &context).map_err(|error| refused(error.to_string()))?;
    let mut faults = report.faults.iter();
    match faults.find(|fault| fault.severity == Severity::Error) {
        Some(fault) => Err(refused(fault.what.clone())),
        None => Ok(()),
    }
}

fn cannot(node: Option<NodeId>, error: &CaError) -> CaError {
    let node = node.map_or("this node".to_owned(), |id| format!("node {id}"));
    CaError::Refused(format!("{node} can't prove the candidate: {error}"))
}

fn der(text: &str) -> Result<Vec<u8>, CaError> {
    STANDARD.decode(text).map_err(|_| {
        CaError::Refused(format!(
            "`{}` is no base64",
            hex(text.as_bytes().get(..8).unwrap_or_default())
        ))
    })
}
