//! Who calls, by the key that TLS proved, and what he may ask for.
//!
//! Nothing here is remembered over a request: each asks the state as it is then.

use palisade_keys::PublicKey;
use palisade_ledger::{Node, Privileges, State, User};
use palisade_link::api::path;

/// Who the key belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Who<'a> {
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

    /// Whether it is a member or a user.
    pub(super) fn is_known(self) -> bool {
        matches!(self, Self::Member(_) | Self::User(_))
    }

    /// For the log.
    pub(super) fn name(self) -> String {
        match self {
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
    /// Member nodes, and users with the privilege `system`.
    MembersAndSystem,
    /// Member nodes, and users who may log in.
    MembersAndUsers,
    /// As above, and who proves in his session that he may join.
    Joiners,
}

impl Access {
    /// Whether it is open to these, joiners aside.
    pub(super) fn admits(self, who: Who<'_>) -> bool {
        match (self, who) {
            (Self::Anyone, _)
            | (_, Who::Member(_))
            | (Self::MembersAndUsers | Self::Joiners, Who::User(_)) => true,
            (Self::MembersAndSystem, Who::User(user)) => {
                user.privileges().contains(Privileges::SYSTEM)
            }
            (Self::Members, Who::User(_))
            | (
                Self::Members | Self::MembersAndSystem | Self::MembersAndUsers | Self::Joiners,
                Who::Pending(_) | Who::Stranger,
            ) => false,
        }
    }
}

/// All doors: method, path, who may use it. What is not here is not there.
pub const DOORS: &[(&str, &str, Access)] = &[
    ("GET", path::IDENTITY, Access::Anyone),
    ("GET", path::HELLO, Access::Members),
    ("GET", path::HEAD, Access::MembersAndUsers),
    ("GET", path::ENTRIES, Access::Joiners),
    ("POST", path::ENTRIES, Access::Joiners),
    ("GET", path::STATUS, Access::MembersAndUsers),
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
