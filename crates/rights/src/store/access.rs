//! Who may do what in etcd: one user for each node, with rights on the ledger's prefix alone.

use std::collections::{BTreeMap, BTreeSet};

use palisade_ledger::NodeId;

use super::{STORE_ROLE, STORE_ROOT, store_user};

/// Keys that a role may read and write.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRange {
    /// The first key.
    pub key: Vec<u8>,
    /// The key after the last; empty for one key.
    pub range_end: Vec<u8>,
}

impl KeyRange {
    /// All that begins with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &str) -> Self {
        let mut end = prefix.as_bytes().to_vec();
        // The byte after 0xff would carry over; a prefix is text, which never ends so.
        if let Some(last) = end.last_mut() {
            *last = last.saturating_add(1);
        }
        Self {
            key: prefix.as_bytes().to_vec(),
            range_end: end,
        }
    }
}

/// Users and roles, as etcd has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreAccess {
    /// Whether rights are asked for at all.
    pub enabled: bool,
    /// Each user's roles.
    pub users: BTreeMap<String, BTreeSet<String>>,
    /// Each role's rights. etcd's own role `root` has all and lists none.
    pub roles: BTreeMap<String, BTreeSet<KeyRange>>,
}

/// A change of users, roles or rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessStep {
    /// Delete a user; what it has open is refused from then on.
    DeleteUser(String),
    /// Delete a role.
    DeleteRole(String),
    /// Make a role.
    AddRole(String),
    /// Give a role a right.
    Grant(String, KeyRange),
    /// Take a right from a role.
    Revoke(String, KeyRange),
    /// Make a user without a password: it is proved by a certificate alone.
    AddUser(String),
    /// Give a user a role.
    AddToRole {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// Take a role from a user.
    TakeFromRole {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// Ask for rights from now on.
    Enable,
}

/// What makes etcd's users and roles those of the cluster: a user for each node, `root`, and no other.
/// What takes rights away comes first.
#[must_use]
pub fn access_plan(nodes: &[NodeId], prefix: &str, found: &StoreAccess) -> Vec<AccessStep> {
    let mut wanted: BTreeMap<String, &str> = nodes
        .iter()
        .map(|node| (store_user(*node), STORE_ROLE))
        .collect();
    wanted.insert(STORE_ROOT.to_owned(), STORE_ROOT);
    let mut steps = Vec::new();
    for (user, roles) in &found.users {
        match wanted.get(user) {
            None => steps.push(AccessStep::DeleteUser(user.clone())),
            Some(own) => {
                let more = roles.iter().filter(|role| role != own);
                steps.extend(more.map(|role| AccessStep::TakeFromRole {
                    user: user.clone(),
                    role: role.clone(),
                }));
            }
        }
    }
    let right = KeyRange::prefix(prefix);
    for (role, rights) in &found.roles {
        match role.as_str() {
            STORE_ROOT => {}
            STORE_ROLE => {
                let more = rights.iter().filter(|other| **other != right);
                steps.extend(more.map(|other| AccessStep::Revoke(role.clone(), other.clone())));
            }
            _ => steps.push(AccessStep::DeleteRole(role.clone())),
        }
    }
    for role in [STORE_ROOT, STORE_ROLE] {
        if !found.roles.contains_key(role) {
            steps.push(AccessStep::AddRole(role.to_owned()));
        }
    }
    let role = found.roles.get(STORE_ROLE);
    if !role.is_some_and(|rights| rights.contains(&right)) {
        steps.push(AccessStep::Grant(STORE_ROLE.to_owned(), right));
    }
    for (user, role) in wanted {
        let roles = found.users.get(&user);
        if roles.is_none() {
            steps.push(AccessStep::AddUser(user.clone()));
        }
        if !roles.is_some_and(|roles| roles.contains(role)) {
            let role = role.to_owned();
            steps.push(AccessStep::AddToRole { user, role });
        }
    }
    if !found.enabled {
        steps.push(AccessStep::Enable);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(numbers: &[u32]) -> Vec<NodeId> {
        numbers
            .iter()
            .map(|number| NodeId::new(*number).unwrap())
            .collect()
    }

    /// What etcd does with a step.
    fn carry_out(step: AccessStep, access: &mut StoreAccess) {
        match step {
            AccessStep::DeleteUser(user) => drop(access.users.remove(&user).unwrap()),
            AccessStep::DeleteRole(role) => {
                access.roles.remove(&role).unwrap();
                access.users.values_mut().for_each(|roles| {
                    roles.remove(&role);
                });
            }
            AccessStep::AddRole(role) => {
                assert!(access.roles.insert(role, BTreeSet::new()).is_none());
            }
            AccessStep::Grant(role, right) => {
                assert!(access.roles.get_mut(&role).unwrap().insert(right));
            }
            AccessStep::Revoke(role, right) => {
                assert!(access.roles.get_mut(&role).unwrap().remove(&right));
            }
            AccessStep::AddUser(user) => {
                assert!(access.users.insert(user, BTreeSet::new()).is_none());
            }
            AccessStep::AddToRole { user, role } => {
                assert!(access.roles.contains_key(&role));
                access.users.get_mut(&user).unwrap().insert(role);
            }
            AccessStep::TakeFromRole { user, role } => {
                assert!(access.users.get_mut(&user).unwrap().remove(&role));
            }
            AccessStep::Enable => {
                assert!(access.users["root"].contains("root"));
                access.enabled = true;
            }
        }
    }

    fn mended(nodes: &[NodeId], mut access: StoreAccess) -> StoreAccess {
        for step in access_plan(nodes, "/palisade/0a/", &access) {
            carry_out(step, &mut access);
        }
        access
    }

    #[test]
    fn a_fresh_etcd_gets_a_user_for_each_node_and_rights_are_asked_for_last() {
        let nodes = ids(&[1, 7]);
        let steps = access_plan(&nodes, "/palisade/0a/", &StoreAccess::default());
        assert_eq!(steps.last(), Some(&AccessStep::Enable));
        let access = mended(&nodes, StoreAccess::default());
        let users: Vec<_> = access.users.keys().map(String::as_str).collect();
        assert_eq!(users, ["palisade_node_1", "palisade_node_7", "root"]);
        let right = access.roles[STORE_ROLE].first().unwrap();
        assert_eq!(right.key, b"/palisade/0a/");
        assert_eq!(right.range_end, b"/palisade/0a0");
        assert!(access_plan(&nodes, "/palisade/0a/", &access).is_empty());
    }

    #[test]
    fn a_removed_nodes_user_goes_first() {
        let before = mended(&ids(&[1, 2]), StoreAccess::default());
        let steps = access_plan(&ids(&[1]), "/palisade/0a/", &before);
        assert_eq!(
            steps,
            [AccessStep::DeleteUser("palisade_node_2".to_owned())]
        );
    }

    fn access() -> impl Strategy<Value = StoreAccess> {
        let name = || {
            prop::sample::select(vec![
                "root",
                "palisade_node_1",
                "palisade_node_2",
                "mallory",
            ])
        };
        let role = || prop::sample::select(vec!["root", STORE_ROLE, "other"]);
        let key = || prop::sample::select(vec!["/palisade/0a/", "/", "/palisade/0b/"]);
        let right = key().prop_map(KeyRange::prefix);
        let rights = prop::collection::btree_set(right, 0..3);
        let roles = prop::collection::btree_map(role().prop_map(str::to_owned), rights, 0..3);
        let users = prop::collection::btree_map(
            name().prop_map(str::to_owned),
            prop::collection::btree_set(role().prop_map(str::to_owned), 0..3),
            0..4,
        );
        (any::<bool>(), users, roles).prop_map(|(enabled, mut users, roles)| {
            for own in users.values_mut() {
                own.retain(|role| roles.contains_key(role));
            }
            StoreAccess {
                // etcd enables nothing without its root.
                enabled: enabled && users.get("root").is_some_and(|own| own.contains("root")),
                users,
                roles,
            }
        })
    }

    proptest! {
        /// From wherever somebody brought it, one run makes it right, and a second finds nothing to do.
        #[test]
        fn whatever_was_changed_is_put_right(found in access(), count in 0_u32..4) {
            let nodes = ids(&(1..=count).collect::<Vec<_>>());
            let access = mended(&nodes, found);
            prop_assert!(access_plan(&nodes, "/palisade/0a/", &access).is_empty());
            prop_assert!(access.enabled);
            prop_assert_eq!(access.users.len(), nodes.len() + 1);
        }
    }
}
