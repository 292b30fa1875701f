//! The node that rotates the CA has every member prove that it works with the candidate: at each of its
//! doors, over the network, met by every other member.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palisade_ledger::{NodeId, State};
use palisade_link::api::{
    CaProof, Done, DoorAddress, DoorKind, ProofDoors, ProofMet, ProofStep, Purpose, Trial,
    TrialRequests,
};
use palisade_link::x509::{self, IssuingCa, Leaf, SigningRequest};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::task::JoinSet;

use super::policy;
use super::rotate::{TRIAL_LIFE, der};
use super::{CaError, CaService};

/// One proof, as the node sees it that rotates.
struct Proving {
    candidate: Arc<IssuingCa>,
    certificate: String,
    state: Arc<State>,
    own: Option<NodeId>,
    /// By the candidate: how this node shows itself to etcd.
    identity: Option<Leaf>,
}

/// What a member has proved.
struct Proved {
    node: Option<NodeId>,
    doors: Vec<DoorKind>,
    by: Vec<NodeId>,
}

impl CaService {
    /// Has every member prove that it works with the candidate. Stops at the first that does not; what
    /// was shown before is shown again in either case.
    pub(super) async fn prove_everywhere(&self, certificate: &str) -> Result<Done, CaError> {
        let candidate = self.known_candidate(certificate)?;
        let state = self.inner.ledger.now();
        let own = self.own(&state);
        let proving = Proving {
            identity: self.own_identity(&candidate, &state, own).await?,
            candidate,
            certificate: certificate.to_owned(),
            own,
            state,
        };
        let others = proving.state.members().map(|node| Some(node.id));
        let others = others.filter(|id| *id != own);
        let mut ready = Vec::new();
        // Who is not there is known before anything is shown.
        for node in std::iter::once(own).chain(others) {
            let begun = self.ask::<TrialRequests>(&proving, node, ProofStep::Begin);
            let begun = begun.await.map_err(|error| cannot(node, &error))?;
            ready.push((node, begun));
        }
        let mut proved = Vec::new();
        for (node, begun) in ready {
            proved.push(self.prove_one(&proving, node, &begun).await?);
        }
        Ok(report(&proved))
    }

    /// A certificate for etcd by the candidate for this node as a client.
    async fn own_identity(
        &self,
        candidate: &IssuingCa,
        state: &State,
        own: Option<NodeId>,
    ) -> Result<Option<Leaf>, CaError> {
        if own.is_none() {
            return Ok(None);
        }
        let made = x509::make_request("trial", &[])?;
        let request = SigningRequest::parse(&made.request)?;
        let chain = self
            .try_out(candidate, state, own, Purpose::Store, &request)
            .await?;
        let key = made.key;
        Ok(Some(Leaf { chain, key }))
    }

    async fn prove_one(
        &self,
        proving: &Proving,
        node: Option<NodeId>,
        begun: &TrialRequests,
    ) -> Result<Proved, CaError> {
        let met = match self.show_at(proving, node, begun).await {
            Ok((doors, trial)) => self.meet_all(proving, node, doors, trial).await,
            Err(error) => Err(cannot(node, &error)),
        };
        let ended = self.ask::<()>(proving, node, ProofStep::End).await;
        let proved = met?;
        ended.map_err(|error| cannot(node, &error))?;
        let node = node.map_or(0, NodeId::get);
        tracing::info!(node, doors = names(&proved.doors), by = ?proved.by, "the candidate is proved");
        Ok(proved)
    }

    /// Signs the trial of a node and has it shown there.
    async fn show_at(
        &self,
        proving: &Proving,
        node: Option<NodeId>,
        begun: &TrialRequests,
    ) -> Result<(Vec<DoorAddress>, Trial), CaError> {
        let Proving {
            candidate, state, ..
        } = proving;
        let mut trial = Trial::default();
        let text = |chain: Vec<Vec<u8>>| chain.iter().map(|der| STANDARD.encode(der)).collect();
        let request = SigningRequest::parse(&der(&begun.server)?)?;
        let signed = self.try_out(candidate, state, node, Purpose::Server, &request);
        trial.server = text(signed.await?);
        if let Some(store) = &begun.store {
            let request = SigningRequest::parse(&der(store)?)?;
            let signed = self.try_out(candidate, state, node, Purpose::Store, &request);
            trial.store = text(signed.await?);
        }
        let step = ProofStep::Show(trial.clone());
        let shown = self.ask::<ProofDoors>(proving, node, step).await?;
        Ok((shown.doors, trial))
    }

    /// A trial leaf, for minutes.
    async fn try_out(
        &self,
        candidate: &IssuingCa,
        state: &State,
        node: Option<NodeId>,
        purpose: Purpose,
        request: &SigningRequest,
    ) -> Result<Vec<Vec<u8>>, CaError> {
        let terms = match node {
            Some(id) if node != self.own(state) => {
                policy::for_node(state, id, purpose, request.hosts())
            }
            own => self.own_terms(state, own, purpose),
        };
        let mut terms = terms.map_err(CaError::Refused)?;
        terms.lifetime = TRIAL_LIFE;
        self.sign_for(candidate, request, &terms, node).await
    }

    /// Connects to the doors of a node, and has every other member do so.
    async fn meet_all(
        &self,
        proving: &Proving,
        node: Option<NodeId>,
        doors: Vec<DoorAddress>,
        trial: Trial,
    ) -> Result<Proved, CaError> {
        let kinds = doors.iter().map(|door| door.kind).collect();
        let mut proved = Proved {
            node,
            doors: kinds,
            by: Vec::new(),
        };
        let Some(id) = node else {
            return Ok(proved);
        };
        let number = id.get();
        // Whether a node reaches itself from outside says nothing.
        if let Some(own) = proving.own.filter(|own| *own != id) {
            let identity = proving.identity.as_ref();
            let met = self.meet_doors(number, &doors, &trial, identity).await?;
            judge(id, own, met, &mut proved)?;
        }
        let step = ProofStep::Meet {
            node: number,
            doors,
            trial,
        };
        let mut asked = JoinSet::new();
        let clients = proving.state.members().map(|node| node.id);
        for by in clients.filter(|by| *by != id && Some(*by) != proving.own) {
            let answer = self.asked(proving, by, step.clone())?;
            asked.spawn(async move { (by, answer.await.map_err(CaError::Remote)) });
        }
        while let Some(answer) = asked.join_next().await {
            let (by, done) = answer.map_err(|error| CaError::Remote(error.to_string()))?;
            let met = done
                .and_then(data)
                .map_err(|error| cannot(Some(by), &error))?;
            judge(id, by, met, &mut proved)?;
        }
        proved.by.sort();
        Ok(proved)
    }

    /// Has a node, or this one, do a step.
    async fn ask<T: DeserializeOwned>(
        &self,
        proving: &Proving,
        node: Option<NodeId>,
        step: ProofStep,
    ) -> Result<T, CaError> {
        match node {
            Some(node) if Some(node) != proving.own => {
                let answer = self.asked(proving, node, step)?;
                data(answer.await.map_err(CaError::Remote)?)
            }
            _ => {
                let certificate = proving.certificate.clone();
                data(self.proof(&CaProof { certificate, step }).await?)
            }
        }
    }

    fn asked(
        &self,
        proving: &Proving,
        node: NodeId,
        step: ProofStep,
    ) -> Result<crate::api::Answer<Done>, CaError> {
        let others = self.inner.others.get().ok_or(CaError::NoIssuer)?;
        let certificate = proving.certificate.clone();
        Ok(others.prove(node, CaProof { certificate, step }))
    }
}

fn data<T: DeserializeOwned>(done: Done) -> Result<T, CaError> {
    let data = done.data.unwrap_or_default();
    serde_json::from_value(data)
        .map_err(|error| CaError::Remote(format!("its answer is not one: {error}")))
}

fn judge(node: NodeId, by: NodeId, met: ProofMet, proved: &mut Proved) -> Result<(), CaError> {
    if let Some(reason) = met.failed {
        let seen = CaError::Remote(format!("seen from node {by}, {reason}"));
        return Err(cannot(Some(node), &seen));
    }
    proved.by.push(by);
    Ok(())
}

fn report(proved: &[Proved]) -> Done {
    let lines: Vec<_> = proved
        .iter()
        .map(|proved| {
            json!({
                "node": proved.node,
                "doors": names(&proved.doors),
                "met_by": proved.by,
            })
        })
        .collect();
    let nodes: Vec<_> = proved.iter().filter_map(|proved| proved.node).collect();
    Done {
        message: format!("{} nodes proved the candidate", proved.len()),
        data: Some(json!({ "nodes": nodes, "proofs": lines })),
    }
}

fn names(doors: &[DoorKind]) -> String {
    let mut names: Vec<_> = doors.iter().map(|door| door.name()).collect();
    names.dedup();
    names.join(", ")
}

fn cannot(node: Option<NodeId>, error: &CaError) -> CaError {
    let node = node.map_or("this node".to_owned(), |id| format!("node {id}"));
    CaError::Refused(format!("{node} can't prove the candidate: {error}"))
}
