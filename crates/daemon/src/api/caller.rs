//! Who calls, by the key that TLS proved, and what he may ask for.
//!
//! Nothing here is remembered over a request: each asks the state as it is then.

use palisade_keys::PublicKey;
use palisade_ledger::{Node, Privileges, State, User};
use palisade_link::api::path;

/// Who the key belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Who<'a> {
    /// Who has the cluster key. It may do anything by its signature, so reading is nothing more.
    Cluster,
    /// A member node.
    Member(&'a Node),
    /// A node that waits for a human's approval.
    Pending(&'a Node),
    /// A user who may log in.
    User(&'a User),
    /// Nobody that the ledger knows, or no key at all.
    Stranger,
}

impl<'a> Who<'a> {
    /// Looks the key up.
    pub(super) fn of(state: &'a State, key: Option<&PublicKey>) -> Self {
        let Some(key) = key else {
            return Self::Stranger;
        };
        if key == state.cluster_key() {
            return Self::Cluster;
        }
        if let Some(node) = state.node_by_key(key) {
            return if node.pending {
                Self::Pending(node)
            } else {
                Self::Member(node)
            };
        }
        match state.user_by_key(key) {
            Some(user) if user.may_log_in() => Self::User(user),
            Some(_) | None => Self::Stranger,
        }
    }

    /// Whether the ledger knows whose key it is, and he is let in.
    pub(super) fn is_known(self) -> bool {
        matches!(self, Self::Cluster | Self::Member(_) | Self::User(_))
    }

    /// For the log.
    pub(super) fn name(self) -> String {
        match self {
            Self::Cluster => "the cluster key".to_owned(),
            Self::Member(node) => format!("node {}", node.id),
            Self::Pending(node) => format!("node {} (waiting for approval)", node.id),
            Self::User(user) => format!("user {}", user.name),
            Self::Stranger => "a stranger".to_owned(),
        }
    }
}

/// Who may use a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone.
    Anyone,
    /// Member nodes.
    Members,
    /// Users who may log in.
    Users,
    /// Member nodes, the cluster key, and users with the privilege `system`.
    MembersAndSystem,
    /// Member nodes, the cluster key, and users who may log in.
    MembersAndUsers,
    /// As above, and who proves in his session that he may join.
    Joiners,
    /// Who may see what passwords are checked with: member nodes, who have it anyway, and joiners, who shall;
    /// the cluster key; users with `system` or `user_manage`.
    Readers,
}

impl Access {
    /// Whether it is open to these, joiners aside.
    pub(super) fn admits(self, who: Who<'_>) -> bool {
        let user = match who {
            Who::Cluster | Who::Member(_) => None,
            Who::User(user) => Some(user.privileges()),
            Who::Pending(_) | Who::Stranger => return self == Self::Anyone,
        };
        match (self, user) {
            (Self::Members, _) => matches!(who, Who::Member(_)),
            (Self::Users, held) => held.is_some(),
            (Self::Anyone | Self::MembersAndUsers | Self::Joiners, _) | (_, None) => true,
            (Self::MembersAndSystem, Some(held)) => held.contains(Privileges::SYSTEM),
            (Self::Readers, Some(held)) => {
                held.contains(Privileges::SYSTEM) || held.contains(Privileges::USER_MANAGE)
            }
        }
    }

    /// Whether who proves that he may join may use it.
    pub(super) fn is_for_joiners(self) -> bool {
        matches!(self, Self::Joiners | Self::Readers)
    }
}

/// All doors: method, path, who may use it. What is not here is not there.
pub const DOORS: &[(&str, &str, Access)] = &[
    ("GET", path::IDENTITY, Access::Anyone),
    ("GET", path::HELLO, Access::Members),
    ("GET", path::HEAD, Access::MembersAndUsers),
    ("GET", path::ENTRIES, Access::Readers),
    ("POST", path::ENTRIES, Access::Joiners),
    ("GET", path::STATUS, Access::MembersAndUsers),
    ("GET", path::SELF, Access::Users),
    ("GET", path::CHALLENGE, Access::MembersAndUsers),
    ("POST", path::COMMANDS, Access::MembersAndUsers),
    ("POST", path::CERTIFICATE, Access::Members),
    ("POST", path::CA_PROVE, Access::Members),
    ("GET", path::CA_ROOT, Access::Members),
    ("GET", path::CA_LISTS, Access::Members),
    ("GET", path::METRICS, Access::MembersAndSystem),
];

/// Who may use this door, if there is one.
pub(super) fn access(method: &str, path: &str) -> Option<Access> {
    DOORS
        .iter()
        .find(|(m, p, _)| *m == method && *p == path)
        .map(|(_, _, access)| *access)
}
