//! `palisade ca rotate`, on the nodes: a candidate is made, certified, proved, and then signs.
//!
//! ```text
//!   operator's command           here
//!   ca_candidate                 a key, and the request that the cluster key certifies
//!   ca_install                   the candidate's certificate lies beside its key
//!      (IssuingCaAdd)
//!   ca_prove                     trial leaves; handshakes at every door of every member (proving.rs)
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
use palisade_link::api::Done;
use palisade_link::x509::IssuingCa;
use serde_json::json;

use super::issue::hex;
use super::{CaError, CaService, hash};
use crate::pki::Place;
use crate::system;

/// Until every member has a leaf by the new CA.
const RENEWED_WITHIN: Duration = Duration::from_secs(50);

/// A trial leaf's life: a proof takes seconds.
pub(super) const TRIAL_LIFE: time::Duration = time::Duration::minutes(10);

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
    pub(super) fn known_candidate(
        &self,
        certificate: &str,
    ) -> Result<std::sync::Arc<IssuingCa>, CaError> {
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

pub(super) fn der(text: &str) -> Result<Vec<u8>, CaError> {
    STANDARD.decode(text).map_err(|_| {
        CaError::Refused(format!(
            "`{}` is no base64",
            hex(text.as_bytes().get(..8).unwrap_or_default())
        ))
    })
}
