//! How a node is, and how it sees the others.

use serde::{Deserialize, Serialize};

use super::{Alarm, HeadReply};

/// How the node is, and the cluster as this node sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The cluster's name.
    pub cluster: String,
    /// Palisade's version.
    pub version: String,
    /// The database that is managed.
    pub database: String,
    /// The ledger's head.
    pub head: HeadReply,
    /// Addresses at which the gateway listens.
    pub gateway: Vec<String>,
    /// PostgreSQL's version, when it is up.
    pub postgres: Option<String>,
    /// Sequence number of the last entry that PostgreSQL was brought in line with.
    pub applied: Option<u64>,
    /// Open sessions through the gateway.
    pub sessions: u64,
    /// Differences found in PostgreSQL and how they were dealt with, newest last.
    pub drift: Vec<DriftLine>,
    /// When the server's certificate ends (RFC 3339).
    pub certificate_until: Option<String>,
    /// Users of the ledger that users.cfg does not name.
    pub not_in_user_list: Vec<String>,
    /// Objects that access control lists name and that PostgreSQL did not have when it was brought in line.
    #[serde(default)]
    pub missing_objects: Vec<String>,
    /// What needs a human, in words; empty when all is well.
    pub problems: Vec<String>,
    /// This node's id; none while it is no member.
    #[serde(default)]
    pub node: Option<u32>,
    /// The id of the node that is master, as this node sees it.
    #[serde(default)]
    pub master: Option<u32>,
    /// All nodes of the ledger, by their ids, those that wait for approval among them.
    #[serde(default)]
    pub nodes: Vec<NodeLine>,
    /// Where the ledger is kept.
    #[serde(default)]
    pub store: StoreStatus,
}

/// A node, as another one sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLine {
    /// Its id.
    pub id: u32,
    /// `HOST:PORT` of its API.
    pub address: String,
    /// Its key's fingerprint, `SHA256:...`.
    pub fingerprint: String,
    /// True while it waits for a human's approval.
    pub pending: bool,
    /// Whether it answers.
    pub live: bool,
    /// Why it does not count as live, in words.
    #[serde(default)]
    pub reason: Option<String>,
    /// Whether it holds the key of an issuing CA.
    #[serde(default)]
    pub issuer: bool,
    /// Palisade's version there, when it answered last.
    #[serde(default)]
    pub version: Option<String>,
    /// Where its ledger stood, when it answered last.
    #[serde(default)]
    pub head: Option<HeadReply>,
    /// When its certificate ends (RFC 3339).
    #[serde(default)]
    pub certificate_until: Option<String>,
    /// Open sessions there.
    #[serde(default)]
    pub sessions: Option<u64>,
    /// What needs a human there.
    #[serde(default)]
    pub problems: Vec<String>,
    /// When it answered last (RFC 3339).
    #[serde(default)]
    pub seen: Option<String>,
}

/// What a node tells a member that asks whether it lives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its id in the ledger; none while it waits to be added.
    pub node: Option<u32>,
    /// Palisade's version.
    pub version: String,
    /// Where its ledger stands.
    pub head: HeadReply,
    /// Where it keeps it.
    pub store: StoreStatus,
    /// Whether it holds the key of an issuing CA.
    pub issuer: bool,
    /// When its certificate ends (RFC 3339).
    pub certificate_until: Option<String>,
    /// What needs a human there.
    pub problems: Vec<String>,
    /// Open sessions through its gateway.
    pub sessions: u64,
    /// When its daemon started (RFC 3339).
    pub started: String,
    /// The node that it takes for the master, so that one that returns knows that there is one.
    #[serde(default)]
    pub master: Option<u32>,
    /// What needs a human there, and what lately did.
    #[serde(default)]
    pub alarms: Vec<Alarm>,
    /// Of the alarms of all nodes, those that humans were told of by this node.
    #[serde(default)]
    pub told: Vec<Alarm>,
}

/// The store of the ledger, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Which one.
    pub kind: StoreKind,
    /// Whether entries can be appended.
    pub quorum: bool,
    /// Whether it may lack entries that this node has: it was not reached yet, or not compared.
    #[serde(default)]
    pub behind: bool,
    /// `https://HOST:PORT` of etcd.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// etcd's members.
    #[serde(default)]
    pub members: Vec<StoreMember>,
    /// What is wrong, in words.
    #[serde(default)]
    pub problem: Option<String>,
}

impl Default for StoreStatus {
    /// The embedded store, which is its own quorum.
    fn default() -> Self {
        Self {
            kind: StoreKind::Embedded,
            quorum: true,
            behind: false,
            endpoints: Vec::new(),
            members: Vec::new(),
            problem: None,
        }
    }
}

/// Where the ledger is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// On this node alone.
    #[default]
    Embedded,
    /// In etcd that the daemons run.
    Managed,
    /// In etcd that was there.
    Endpoints,
}

/// A member of etcd.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreMember {
    /// etcd's id of it, in hexadecimal digits.
    pub id: String,
    /// Its name; empty until it started.
    pub name: String,
    /// URLs for the other members.
    pub peer_urls: Vec<String>,
    /// URLs for clients.
    pub client_urls: Vec<String>,
    /// True while it has no vote yet.
    pub learner: bool,
    /// Whether it leads.
    #[serde(default)]
    pub leader: bool,
    /// Whether it answers; none if it was not asked.
    #[serde(default)]
    pub live: Option<bool>,
}

/// One difference between the ledger and PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftLine {
    /// When it was found (RFC 3339).
    pub time: String,
    /// What it is.
    pub what: String,
    /// True if it was put right; false if it is not Palisade's to mend.
    pub mended: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A status as a node of one said it before there were several.
    #[test]
    fn an_older_nodes_status_is_read() {
        let text = r#"{"cluster":"c","version":"0.1.0","database":"main",
            "head":{"seq":3,"hash":"ab","applied":true},"gateway":[],"postgres":"15","applied":3,
            "sessions":0,"drift":[],"certificate_until":null,"not_in_user_list":[],"problems":[]}"#;
        let status: Status = serde_json::from_str(text).unwrap();
        assert_eq!(status.node, None);
        assert_eq!(status.store, StoreStatus::default());
        assert!(status.nodes.is_empty());
    }
}
