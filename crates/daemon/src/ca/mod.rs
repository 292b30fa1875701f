//! The certificate authority of a node: who may have which certificate, and what becomes of it.
//!
//! ```text
//!   command of a user --policy--> sign --> CertificateIssued (ledger) --> the chain goes out
//!   request of a node --its entry in the ledger--> sign --> CertificateIssued --> the chain
//!   own leaf: read, checked, renewed at 2/3 of its life, shown at every door
//!   ca rotate: candidate -> install -> prove at every door of every node -> cut over -> retire
//!   revocations of the ledger --> lists for PostgreSQL and etcd
//! ```
//!
//! Private keys never travel: requests do. Where this node holds no active issuing CA it asks one that
//! does, by [`Others`].

mod duties;
mod follow;
mod inventory;
mod issue;
mod limit;
mod policy;
mod prove;
mod proving;
mod received;
pub mod rescue;
mod rotate;
mod trial;

use std::sync::{Arc, OnceLock};

use palisade_ledger::{Hash, Issued, NodeId, State};
use palisade_link::api::{
    CaProof, CertificateReply, CertificateRequest, Command, Done, DoorAddress,
};
use palisade_link::x509::{IssueError, IssuingCa, Leaf};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;

use crate::api::Answer;
use crate::author::{AuthorError, ClusterAuthor, NodeAuthor};
use crate::ledger::Ledger;
use crate::pki::{Pki, PkiError, Place};

pub use policy::{STORE_HOST, node_names};

/// Why the CA did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// Files and certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A certificate could not be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The ledger did not take an entry of this node.
    #[error("the ledger did not take it: {0}")]
    Author(#[from] AuthorError),
    /// It is not for the asker.
    #[error("{0}")]
    Refused(String),
    /// Another node said no, or nothing.
    #[error("{0}")]
    Remote(String),
    /// This node is not the issuer, and knows none.
    #[error("this node issues no certificates; ask the node that holds the issuing CA's key")]
    NoIssuer,
    /// The doors did not take a certificate.
    #[error("the doors refuse the certificate: {0}")]
    Doors(String),
}

/// The doors of this node, as far as certificates go.
pub trait Doors: Send + Sync {
    /// Shows this leaf from now on, to whoever comes; who is inside stays.
    fn show(&self, leaf: &Leaf) -> Result<(), String>;
    /// PostgreSQL's certificate or revocation lists have changed (`private/serving.*`, `crl.pem`).
    fn refresh(&self);
    /// Where the doors listen.
    fn addresses(&self) -> Vec<DoorAddress>;
    /// What this node's etcd shows and the node shows to etcd, if it runs one.
    fn store_leaf(&self) -> Option<Leaf> {
        None
    }
    /// Has etcd show this leaf to whoever comes from now on.
    fn show_store(&self, _leaf: &Leaf) -> Result<(), String> {
        Ok(())
    }
}

/// The other nodes, over the peer link.
pub trait Others: Send + Sync {
    /// The other members, in the order in which they are asked: those that say they issue first.
    fn nodes(&self) -> Vec<NodeId>;
    /// Has that node sign a certificate for this one.
    fn sign(&self, node: NodeId, request: CertificateRequest) -> Answer<CertificateReply>;
    /// That node's revocation lists, in PEM.
    fn lists(&self, node: NodeId) -> Answer<Vec<u8>>;
    /// Asks a node to prove that it works with a candidate.
    fn prove(&self, node: NodeId, proof: CaProof) -> Answer<Done>;
}

/// What ties the CA to the node.
pub struct Wires {
    /// The node at work, where the ledger names it.
    pub node: Option<NodeAuthor>,
    /// The cluster key, where it lies with the node.
    pub cluster: Option<ClusterAuthor>,
    /// The names and addresses of this machine and of its configuration.
    pub names: Vec<String>,
}

/// While it is kept, nothing else changes what the doors show.
#[must_use]
pub struct Still(#[expect(dead_code, reason = "it is kept, not looked at")] OwnedMutexGuard<Pace>);

/// The certificate authority of a node.
#[derive(Clone)]
pub struct CaService {
    inner: Arc<Inner>,
}

struct Inner {
    pki: Pki,
    ledger: Ledger,
    wires: Wires,
    doors: OnceLock<Arc<dyn Doors>>,
    others: OnceLock<Arc<dyn Others>>,
    /// One thing at a time: what shows a leaf, and what proves one.
    showing: Arc<Mutex<Pace>>,
    /// One change of the keys here at a time.
    step: std::sync::Mutex<()>,
    /// Issued, and not yet in the ledger: there was no quorum.
    unrecorded: std::sync::Mutex<Vec<Issued>>,
    /// How often each member asked.
    asked: limit::Limit,
    /// The keys of a trial that is to be signed, and the trial that is shown.
    trial: std::sync::Mutex<Option<trial::TrialKeys>>,
    held: std::sync::Mutex<Option<trial::Held>>,
}

/// When something may be tried again.
#[derive(Default)]
struct Pace {
    not_before: Option<Instant>,
}

impl CaService {
    /// The service over the certificates of this node.
    #[must_use]
    pub fn new(pki: Pki, ledger: Ledger, wires: Wires) -> Self {
        Self {
            inner: Arc::new(Inner {
                pki,
                ledger,
                wires,
                doors: OnceLock::new(),
                others: OnceLock::new(),
                showing: Arc::default(),
                step: std::sync::Mutex::default(),
                unrecorded: std::sync::Mutex::default(),
                asked: limit::Limit::default(),
                trial: std::sync::Mutex::default(),
                held: std::sync::Mutex::default(),
            }),
        }
    }

    /// Tells where the doors are, once they stand. The first call counts.
    pub fn set_doors(&self, doors: Arc<dyn Doors>) {
        drop(self.inner.doors.set(doors));
    }

    /// Tells how the other nodes are reached. The first call counts.
    pub fn set_others(&self, others: Arc<dyn Others>) {
        drop(self.inner.others.set(others));
    }

    /// The files.
    #[must_use]
    pub fn pki(&self) -> &Pki {
        &self.inner.pki
    }

    /// Whether this node holds the key of the CA that signs for the cluster.
    #[must_use]
    pub fn is_issuer(&self) -> bool {
        self.signer(&self.inner.ledger.now()).is_ok()
    }

    /// The CA here that signs leaves now.
    fn signer(&self, state: &State) -> Result<Arc<IssuingCa>, CaError> {
        self.keep_step()?;
        let ca = self.inner.pki.ca(Place::Issuing).ok_or(CaError::NoIssuer)?;
        let active = state
            .active_ca()
            .is_none_or(|active| active == ca.certificate());
        // One that a rescue made is on its way into the ledger.
        if active || self.inner.pki.layout().rescue().exists() {
            Ok(ca)
        } else {
            Err(CaError::NoIssuer)
        }
    }

    /// This node, if it is a member by the key that it has.
    fn own(&self, state: &State) -> Option<NodeId> {
        let author = self.inner.wires.node.as_ref()?;
        let node = state.node(author.id())?;
        let holds = !node.pending && node.key == author.keys().node.public();
        holds.then_some(node.id)
    }

    /// Carries out a command that was checked, if it is one of the CA's.
    pub async fn command(
        &self,
        command: &Command,
        author: palisade_ledger::Uid,
    ) -> Option<Result<Done, String>> {
        let done = match command {
            Command::IssueCertificate(wish) => self.issue_for_user(wish, author).await,
            Command::CaCandidate => self.candidate(),
            Command::CaInstall { certificate } => self.install(certificate),
            Command::CaProve { certificate } => self.prove_everywhere(certificate).await,
            Command::CaCutOver { certificate } => self.cut_over(certificate).await,
            Command::CaAbandon { certificate } => self.abandon(certificate),
            Command::Stop
            | Command::PurgeAll
            | Command::RotateNode
            | Command::StoreMove { .. }
            | Command::AlertTest { .. } => return None,
        };
        Some(done.map_err(|error| error.to_string()))
    }

    /// Keeps what the doors show as it is; none while a leaf is tried or renewed.
    pub fn still(&self) -> Option<Still> {
        self.inner.showing.clone().try_lock_owned().ok().map(Still)
    }

    /// The revocation lists, in PEM: they are for anybody.
    pub fn lists(&self) -> Result<Vec<u8>, String> {
        let lists = self.inner.pki.lists();
        lists
            .map(String::into_bytes)
            .map_err(|error| error.to_string())
    }
}

/// SHA-256 over a certificate, as the ledger names a CA.
fn hash(certificate: &[u8]) -> Hash {
    Hash::of(certificate)
}
