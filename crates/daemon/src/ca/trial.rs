//! What a node does when another one's issuer asks it to prove that it works with a candidate.

use std::sync::PoisonError;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palisade_ledger::{NodeId, State};
use palisade_link::api::{
    CaProof, Done, DoorAddress, ProofDoors, ProofMet, ProofStep, Trial, TrialRequests,
};
use palisade_link::x509::inspect::{Context, Severity, inspect, key_spki};
use palisade_link::x509::{self, IssuingCa, KeyRequest, Leaf};
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::prove::{Expected, far, is_store, meet, near};
use super::rotate::der;
use super::{CaError, CaService};
use crate::system;

/// Until a door of this node shows the leaf: PostgreSQL has to read its files again.
const SHOWN_WITHIN: Duration = Duration::from_secs(20);
/// Until a door of another node, which has met itself there, is reached.
const MET_WITHIN: Duration = Duration::from_secs(5);
/// How long a trial is shown when nobody says that it is over.
const HELD_FOR: Duration = Duration::from_mins(1);
/// Doors that a node can have.
const MOST_DOORS: usize = 32;

/// The keys of a trial that the issuer is to sign for.
pub(super) struct TrialKeys {
    server: KeyRequest,
    store: Option<KeyRequest>,
}

/// A trial that is shown now.
pub(super) struct Held {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Leaves for the doors of a node, and for its etcd.
struct Leaves {
    server: Leaf,
    store: Option<Leaf>,
}

impl CaService {
    /// One step of a proof.
    pub async fn proof(&self, proof: &CaProof) -> Result<Done, CaError> {
        if proof.step == ProofStep::End {
            self.end_trial().await;
            return done("the trial is over", &());
        }
        let state = self.inner.ledger.now();
        let candidate = der(&proof.certificate)?;
        // The one that signs needs no proof; a leaf of it could be any node's.
        if !is_candidate(&state, &candidate) {
            return Err(CaError::Refused(
                "this node's ledger does not know such a candidate".to_owned(),
            ));
        }
        IssuingCa::check(&candidate, state.cluster_key(), None)?;
        match &proof.step {
            ProofStep::Begin => done("a trial is ready", &self.begin_trial()?),
            ProofStep::Show(trial) => {
                let doors = self.show_trial(&state, &candidate, trial).await?;
                done("proved", &ProofDoors { doors })
            }
            ProofStep::Meet { node, doors, trial } => {
                let met = self.meet_doors(*node, doors, trial, None).await?;
                done("met", &met)
            }
            ProofStep::End => Ok(Done::default()),
        }
    }

    fn begin_trial(&self) -> Result<TrialRequests, CaError> {
        let has_store = self.store_leaf().is_some();
        let made = TrialKeys {
            server: x509::make_request("trial", &[])?,
            store: if has_store {
                Some(x509::make_request("trial", &[])?)
            } else {
                None
            },
        };
        let text = |made: &KeyRequest| STANDARD.encode(&made.request);
        let requests = TrialRequests {
            server: text(&made.server),
            store: made.store.as_ref().map(text),
        };
        let trial = self.inner.trial.lock();
        *trial.unwrap_or_else(PoisonError::into_inner) = Some(made);
        Ok(requests)
    }

    /// Shows the trial at every door of this node, and meets it there as a client would. It stays until
    /// [`Self::end_trial`]. Sessions are not touched: a leaf counts when a connection begins.
    async fn show_trial(
        &self,
        state: &State,
        candidate: &[u8],
        trial: &Trial,
    ) -> Result<Vec<DoorAddress>, CaError> {
        let made = {
            let made = self.inner.trial.lock();
            made.unwrap_or_else(PoisonError::into_inner).take()
        };
        let made = made.ok_or_else(|| CaError::Refused("no trial was begun".to_owned()))?;
        let host = self.host(state);
        let leaves = Leaves {
            server: signed(&trial.server, made.server, candidate, state, &host)?,
            store: match made.store {
                Some(made) => Some(signed(&trial.store, made, candidate, state, &host)?),
                None => None,
            },
        };
        self.end_trial().await;
        let pace = self.inner.showing.clone().lock_owned().await;
        let before = Leaves {
            server: self.inner.pki.read_serving()?.leaf,
            store: self.store_leaf(),
        };
        let shown = match self.show_all(&leaves) {
            Ok(()) => self.meet_own(state, &leaves, &host).await,
            Err(error) => Err(error),
        };
        let doors = match shown {
            Ok(doors) => doors,
            Err(error) => {
                self.show_all(&before)?;
                return Err(error);
            }
        };
        let (end, ended) = oneshot::channel();
        let service = self.clone();
        let task = tokio::spawn(async move {
            // Ended by word, by a new trial, or by silence.
            drop(tokio::time::timeout(HELD_FOR, ended).await);
            if let Err(error) = service.show_all(&before) {
                tracing::error!(%error, "the certificates from before the trial are not shown again");
            }
            drop(pace);
        });
        *self.held() = Some(Held { end, task });
        Ok(doors)
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<Held>> {
        let held = self.inner.held.lock();
        held.unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows again what was shown before the trial, if one is shown.
    async fn end_trial(&self) {
        let held = self.held().take();
        if let Some(Held { end, task }) = held {
            end.send(()).ok();
            task.await.ok();
        }
    }

    fn store_leaf(&self) -> Option<Leaf> {
        self.inner.doors.get()?.store_leaf()
    }

    fn show_all(&self, leaves: &Leaves) -> Result<(), CaError> {
        self.show(&leaves.server)?;
        if let (Some(leaf), Some(doors)) = (&leaves.store, self.inner.doors.get()) {
            doors.show_store(leaf).map_err(CaError::Doors)?;
        }
        Ok(())
    }

    async fn meet_own(
        &self,
        state: &State,
        leaves: &Leaves,
        host: &str,
    ) -> Result<Vec<DoorAddress>, CaError> {
        let doors = self.inner.doors.get();
        let mut doors = doors.map(|doors| doors.addresses()).unwrap_or_default();
        doors.retain(|door| leaves.store.is_some() || !is_store(door.kind));
        for door in &doors {
            let leaf = match &leaves.store {
                Some(leaf) if is_store(door.kind) => leaf,
                _ => &leaves.server,
            };
            let expected = Expected {
                cluster: state.cluster_key(),
                host,
                leaf: leaf.chain.first().map(Vec::as_slice).unwrap_or_default(),
                identity: leaves.store.as_ref(),
            };
            let at = near(door);
            let met = meet(door.kind, &at, &expected, SHOWN_WITHIN);
            met.await.map_err(CaError::Refused)?;
        }
        Ok(doors)
    }

    /// Meets the doors of another node over the network, as `identity` or as who this node is to etcd.
    pub(super) async fn meet_doors(
        &self,
        node: u32,
        doors: &[DoorAddress],
        trial: &Trial,
        identity: Option<&Leaf>,
    ) -> Result<ProofMet, CaError> {
        let state = self.inner.ledger.now();
        let node = NodeId::new(node).ok().and_then(|id| state.node(id));
        let node = node.filter(|node| !node.pending && doors.len() <= MOST_DOORS);
        let node = node.ok_or_else(|| CaError::Refused("there is no such node".to_owned()))?;
        let first = |chain: &[String]| chain.first().map(|text| der(text)).transpose();
        let (server, store) = (first(&trial.server)?, first(&trial.store)?);
        let own = self.store_leaf();
        let host = node.address.host().trim_matches(['[', ']']);
        let mut met = Vec::new();
        for door in doors {
            let leaf = if is_store(door.kind) { &store } else { &server };
            let (Some(at), Some(leaf)) = (far(node, door), leaf) else {
                continue;
            };
            let expected = Expected {
                cluster: state.cluster_key(),
                host,
                leaf,
                identity: identity.or(own.as_ref()),
            };
            if let Err(failed) = meet(door.kind, &at, &expected, MET_WITHIN).await {
                let failed = Some(failed);
                return Ok(ProofMet { met, failed });
            }
            met.push(door.kind);
        }
        Ok(ProofMet { met, failed: None })
    }

    /// The first name of this node.
    fn host(&self, state: &State) -> String {
        let own = self.own(state);
        let names = own.and_then(|id| super::node_names(state, id).ok());
        let host = names.and_then(|names| names.into_iter().next());
        host.unwrap_or_else(|| "localhost".to_owned())
    }
}

/// The leaf that the issuer made of a request: by the candidate, and good for this node.
fn signed(
    chain: &[String],
    made: KeyRequest,
    candidate: &[u8],
    state: &State,
    host: &str,
) -> Result<Leaf, CaError> {
    let chain: Result<Vec<_>, _> = chain.iter().map(|text| der(text)).collect();
    let chain = chain?;
    if chain.get(1).is_none_or(|issuer| issuer != candidate) {
        return Err(CaError::Refused(
            "the trial is not by the candidate".to_owned(),
        ));
    }
    let key = made.key;
    let trial = Leaf { chain, key };
    check_trial(&trial, state, host)?;
    Ok(trial)
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

fn done(message: &str, data: &impl Serialize) -> Result<Done, CaError> {
    let data = serde_json::to_value(data).map_err(|error| CaError::Refused(error.to_string()))?;
    Ok(Done {
        message: message.to_owned(),
        data: Some(data),
    })
}
