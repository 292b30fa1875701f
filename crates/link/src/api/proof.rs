//! The proof that a new issuing CA works everywhere, before it signs.
//!
//! ```text
//!   the node that rotates      a member
//!   Begin            --->      makes keys
//!   Show(trial)      --->      shows the candidate's leaves at its doors, meets itself there
//!   connects itself, and asks every other member to: Meet
//!   End              --->      shows again what it showed before
//! ```

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// A member asks another for one step of a proof that it works with a new issuing CA. The answer is a
/// [`super::Done`] with the data that the step names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaProof {
    /// Base64 of DER: the certificate of the candidate.
    pub certificate: String,
    /// What is to be done.
    pub step: ProofStep,
}

/// One step of a proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ProofStep {
    /// Make keys for a trial. Answer: [`TrialRequests`].
    Begin,
    /// Show these leaves at every door for a while. Answer: [`ProofDoors`].
    Show(Trial),
    /// Connect to another node's doors, which show these leaves. Answer: [`ProofMet`].
    Meet {
        /// Whose doors they are.
        node: u32,
        /// Where it says that they are. Hosts are taken from the ledger.
        doors: Vec<DoorAddress>,
        /// What they show.
        trial: Trial,
    },
    /// Show again what was shown before.
    End,
}

/// Base64 of PKCS #10 requests in DER.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialRequests {
    /// For the doors of the node itself.
    pub server: String,
    /// For its etcd, if it runs one.
    pub store: Option<String>,
}

/// Leaves by the candidate: base64 of DER each, the leaf first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// For the doors of the node itself.
    pub server: Vec<String>,
    /// For its etcd; empty if it runs none.
    pub store: Vec<String>,
}

/// Where a trial is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofDoors {
    /// Each door of the node.
    pub doors: Vec<DoorAddress>,
}

/// What came of it when a node met another's doors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofMet {
    /// The doors at which the leaf was met.
    pub met: Vec<DoorKind>,
    /// The door that did not show it, and why.
    pub failed: Option<String>,
}

/// One door of a node that shows a certificate of the cluster's CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoorAddress {
    /// Which.
    pub kind: DoorKind,
    /// Where it listens.
    pub address: SocketAddr,
}

/// The doors that a node may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoorKind {
    /// The front door.
    Gateway,
    /// PostgreSQL's own port.
    Postgres,
    /// The API.
    Api,
    /// etcd, for clients.
    Store,
    /// etcd, for its other members.
    StorePeer,
}

impl DoorKind {
    /// What a person calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Postgres => "PostgreSQL",
            Self::Api => "API",
            Self::Store => "etcd",
            Self::StorePeer => "etcd's peer port",
        }
    }
}
