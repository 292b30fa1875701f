//! Who votes: one, three or five of the nodes, and the next step towards it.

use std::fmt;

use palisade_ledger::NodeId;

use super::store_user;

/// A node that may have a member, as the ledger and the other nodes see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreNode {
    /// Its id.
    pub id: NodeId,
    /// Where its etcd answers other members: `https://HOST:PORT`.
    pub peer_url: String,
    /// Whether it answers, so that it would start a member.
    pub live: bool,
}

/// A member, as etcd has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreMember {
    /// etcd's own number.
    pub id: u64,
    /// Its name; empty until it has started once.
    pub name: String,
    /// Where it answers other members.
    pub peer_urls: Vec<String>,
    /// Whether it follows without a vote.
    pub learner: bool,
    /// Whether it has started and answers.
    pub healthy: bool,
}

/// Why a member goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RemoveReason {
    /// No node of the cluster has it: the node was removed, or it is somebody else's.
    NoNode,
    /// There are fewer nodes than once, and so fewer voters.
    TooMany,
    /// It never came to vote, its node is down, and another could.
    Stuck,
}

impl fmt::Display for RemoveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoNode => "no node of the cluster has it",
            Self::TooMany => "so many need not vote",
            Self::Stuck => "its node is down, and another can vote",
        })
    }
}

/// A change of etcd's members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreStep {
    /// Take a node's member in, without a vote; the node then starts it.
    AddLearner {
        /// The node.
        node: NodeId,
        /// Where its etcd answers other members.
        peer_url: String,
    },
    /// Give a vote. etcd refuses until the member is in sync: try again then.
    Promote {
        /// The member.
        member: u64,
        /// Its node.
        node: NodeId,
    },
    /// Write down a member's new address.
    Move {
        /// The member.
        member: u64,
        /// Its node.
        node: NodeId,
        /// Where its etcd answers other members now.
        peer_url: String,
    },
    /// Take a member out, for good.
    Remove {
        /// The member.
        member: u64,
        /// Its name; empty if it never started.
        name: String,
        /// Why.
        why: RemoveReason,
    },
}

/// How many of so many nodes vote: an odd number, and never more than five (each vote costs every
/// write a message; five stand two failures).
#[must_use]
pub fn voters(nodes: usize) -> usize {
    match nodes {
        0 => 0,
        1 | 2 => 1,
        3 | 4 => 3,
        5.. => 5,
    }
}

/// How many of so many voters must agree.
fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// The next change of the members, if one is due and safe.
///
/// Safe is what leaves a majority of the voters healthy afterwards. Voters stay who they are: one
/// whose node is down may come back; only a removed node's goes. Never are there two learners (etcd
/// 3.4 allows one).
#[must_use]
pub fn store_plan(nodes: &[StoreNode], members: &[StoreMember]) -> Option<StoreStep> {
    let view = View { nodes, members };
    view.moved()
        .or_else(|| view.gone())
        .or_else(|| view.learner())
        .or_else(|| view.surplus())
        .or_else(|| view.grow())
}

struct View<'a> {
    nodes: &'a [StoreNode],
    members: &'a [StoreMember],
}

impl View<'_> {
    /// The node whose member this is: by its address, which `root` alone can write. A name is what the member says of
    /// itself: it counts where no other member is at that node's address.
    fn node_of(&self, member: &StoreMember) -> Option<&StoreNode> {
        let at = |member: &StoreMember, node: &StoreNode| member.peer_urls.contains(&node.peer_url);
        let by_name = |node: &&StoreNode| {
            member.name == store_user(node.id) && !self.members.iter().any(|other| at(other, node))
        };
        let mut nodes = self.nodes.iter();
        let found = nodes.find(|node| at(member, node));
        found.or_else(|| self.nodes.iter().find(by_name))
    }

    fn voting(&self) -> impl Iterator<Item = &StoreMember> {
        self.members.iter().filter(|member| !member.learner)
    }

    /// Voters whose node is of the cluster.
    fn kept(&self) -> usize {
        self.voting()
            .filter(|member| self.node_of(member).is_some())
            .count()
    }

    /// Whether the other voters have a majority among themselves.
    fn may_go(&self, leaving: &StoreMember) -> bool {
        if leaving.learner {
            return true;
        }
        let others = || self.voting().filter(|member| member.id != leaving.id);
        let healthy = others().filter(|member| member.healthy).count();
        others().count() > 0 && healthy >= quorum(others().count())
    }

    fn remove(member: &StoreMember, why: RemoveReason) -> StoreStep {
        StoreStep::Remove {
            member: member.id,
            name: member.name.clone(),
            why,
        }
    }

    fn moved(&self) -> Option<StoreStep> {
        self.members.iter().find_map(|member| {
            let node = self.node_of(member)?;
            let stays = member.peer_urls.as_slice() == std::slice::from_ref(&node.peer_url);
            (!stays).then(|| StoreStep::Move {
                member: member.id,
                node: node.id,
                peer_url: node.peer_url.clone(),
            })
        })
    }

    /// A member without a node leaves; one that is down first, since it helps nobody.
    fn gone(&self) -> Option<StoreStep> {
        self.members
            .iter()
            .filter(|member| self.node_of(member).is_none() && self.may_go(member))
            .min_by_key(|member| (member.healthy, member.id))
            .map(|member| Self::remove(member, RemoveReason::NoNode))
    }

    fn learner(&self) -> Option<StoreStep> {
        let learner = self.members.iter().find(|member| member.learner)?;
        let node = self.node_of(learner)?;
        if self.kept() >= voters(self.nodes.len()) {
            return Some(Self::remove(learner, RemoveReason::TooMany));
        }
        if learner.healthy {
            let voting = self.voting().count();
            let healthy = self.voting().filter(|member| member.healthy).count();
            return (healthy + 1 >= quorum(voting + 1)).then_some(StoreStep::Promote {
                member: learner.id,
                node: node.id,
            });
        }
        let stuck = !node.live && self.candidates().next().is_some();
        stuck.then(|| Self::remove(learner, RemoveReason::Stuck))
    }

    /// The youngest nodes' voters leave first, and before them those that are down.
    fn surplus(&self) -> Option<StoreStep> {
        if self.kept() <= voters(self.nodes.len()) {
            return None;
        }
        self.voting()
            .filter(|member| self.may_go(member))
            .filter_map(|member| Some((self.node_of(member)?, member)))
            .min_by_key(|(node, member)| (member.healthy, std::cmp::Reverse(node.id)))
            .map(|(_, member)| Self::remove(member, RemoveReason::TooMany))
    }

    /// Nodes that answer and have no member, the oldest first.
    fn candidates(&self) -> impl Iterator<Item = &StoreNode> {
        let mut found: Vec<&StoreNode> = self
            .nodes
            .iter()
            .filter(|node| node.live)
            .filter(|node| {
                !self.members.iter().any(|member| {
                    self.node_of(member)
                        .is_some_and(|owner| owner.id == node.id)
                })
            })
            .collect();
        found.sort_by_key(|node| node.id);
        found.into_iter()
    }

    /// Two voters are worse than one: from an odd number it grows when two nodes are there to join.
    fn grow(&self) -> Option<StoreStep> {
        let kept = self.kept();
        let none_yet = self.members.is_empty() || self.members.iter().any(|member| member.learner);
        if none_yet || kept >= voters(self.nodes.len()) {
            return None;
        }
        let needed = if kept % 2 == 1 { 2 } else { 1 };
        if self.candidates().count() < needed {
            return None;
        }
        self.candidates().next().map(|node| StoreStep::AddLearner {
            node: node.id,
            peer_url: node.peer_url.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
