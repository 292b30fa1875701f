//! What this node knows of the others.

use std::collections::BTreeMap;

use palisade_ledger::{NodeId, State};
use palisade_link::api::{Hello, NodeLine};

/// What happened to a node, as this one sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeEvent {
    /// It does not answer any more.
    Down(NodeId),
    /// It answers again.
    Back(NodeId),
    /// There is another master, or none.
    Master(Option<NodeId>),
}

/// One of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether it counts as live.
    pub live: bool,
    /// Why it does not answer, in words.
    pub reason: Option<String>,
    /// What it said last.
    pub hello: Option<Hello>,
    /// When that was (RFC 3339).
    pub at: Option<String>,
}

/// All that is known of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// The master, if one is known.
    pub master: Option<NodeId>,
    /// The others; this node is not among them.
    pub others: BTreeMap<NodeId, Seen>,
}

impl Table {
    /// The lines of `palisade status`: all nodes of the ledger, of which `own` says `hello` itself.
    #[must_use]
    pub fn lines(&self, state: &State, own: Option<NodeId>, hello: &Hello) -> Vec<NodeLine> {
        let nobody = Seen::default();
        state
            .nodes()
            .map(|node| {
                let is_own = own == Some(node.id);
                let seen = self.others.get(&node.id).unwrap_or(&nobody);
                let said = if is_own {
                    Some(hello)
                } else {
                    seen.hello.as_ref()
                };
                NodeLine {
                    id: node.id.get(),
                    address: node.address.to_string(),
                    fingerprint: node.fingerprint().to_string(),
                    pending: node.pending,
                    live: is_own || seen.live,
                    reason: if is_own { None } else { seen.reason.clone() },
                    issuer: said.is_some_and(|hello| hello.issuer),
                    version: said.map(|hello| hello.version.clone()),
                    head: said.map(|hello| hello.head.clone()),
                    certificate_until: said.and_then(|hello| hello.certificate_until.clone()),
                    sessions: said.map(|hello| hello.sessions),
                    problems: said.map_or_else(Vec::new, |hello| hello.problems.clone()),
                    seen: seen.at.clone(),
                }
            })
            .collect()
    }

    /// Nodes that hold an issuing CA's key and live, the master first, then by id.
    #[must_use]
    pub fn issuers(&self) -> Vec<NodeId> {
        let mut issuers: Vec<NodeId> = self
            .others
            .iter()
            .filter(|(_, seen)| seen.live && seen.hello.as_ref().is_some_and(|h| h.issuer))
            .map(|(id, _)| *id)
            .collect();
        issuers.sort_by_key(|id| (self.master != Some(*id), *id));
        issuers
    }
}
