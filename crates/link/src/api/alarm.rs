//! What needs a human, as nodes tell it to the one that sends alerts.

use serde::{Deserialize, Serialize};

/// What an alarm is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// A node does not answer.
    NodeDown,
    /// The ledger takes no entries.
    QuorumLost,
    /// A certificate ends soon.
    CertificateExpiry,
    /// A certificate could not be renewed or loaded.
    CertificateRenewal,
    /// The store shows another or a shorter ledger than the verified one, or a forged entry.
    Ledger,
    /// Many log-ins were refused within a minute.
    RefusedLogins,
    /// PostgreSQL differed from the ledger.
    Drift,
    /// An operator tries out an alert.
    Test,
}

impl AlarmKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::NodeDown,
        Self::QuorumLost,
        Self::CertificateExpiry,
        Self::CertificateRenewal,
        Self::Ledger,
        Self::RefusedLogins,
        Self::Drift,
        Self::Test,
    ];

    /// Its name, in alerts and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NodeDown => "node_down",
            Self::QuorumLost => "quorum_lost",
            Self::CertificateExpiry => "certificate_expiry",
            Self::CertificateRenewal => "certificate_renewal",
            Self::Ledger => "ledger",
            Self::RefusedLogins => "refused_logins",
            Self::Drift => "drift",
            Self::Test => "test",
        }
    }
}

/// One thing that needs a human, from when it began. Two alarms are the same if kind, node, subject
/// and beginning are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Alarm {
    /// What it is about.
    pub kind: AlarmKind,
    /// The node that it is about.
    pub node: u32,
    /// What on that node, such as a file; may be empty.
    pub subject: String,
    /// When it began: milliseconds since 1970, by the clock of the node that saw it.
    pub since: u64,
    /// What is the matter, in words.
    pub text: String,
    /// Whether it is over.
    #[serde(default)]
    pub over: bool,
}
