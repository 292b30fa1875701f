//! What a picture is made of: everything, or what a change of the state touches.

use std::collections::BTreeSet;

use palisade_ledger::{Map, ObjectName, Privileges, State, Uid, User};

use super::tree::are_many;
use crate::catalog::Catalog;

/// What a picture is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// These users and these schemas and relations.
    Touched {
        /// The users.
        users: BTreeSet<Uid>,
        /// The schemas, by object id.
        schemas: BTreeSet<u32>,
        /// The relations, by object id.
        relations: BTreeSet<u32>,
        /// Some user's default privileges changed, so that he may come to or leave the groups of any object
        /// that has an ACL.
        defaults: bool,
    },
}

impl Scope {
    pub(super) fn has_user(&self, uid: Uid) -> bool {
        match self {
            Self::All => true,
            Self::Touched { users, .. } => users.contains(&uid),
        }
    }

    pub(super) fn has_schema(&self, oid: u32) -> bool {
        match self {
            Self::All => true,
            Self::Touched { schemas, .. } => schemas.contains(&oid),
        }
    }

    pub(super) fn has_relation(&self, oid: u32) -> bool {
        match self {
            Self::All => true,
            Self::Touched { relations, .. } => relations.contains(&oid),
        }
    }

    /// What differs between two states: the users whose rights changed, and the objects on which.
    #[must_use]
    pub fn between(old: &State, new: &State, catalog: &Catalog) -> Self {
        let mut users = BTreeSet::new();
        let mut names: BTreeSet<&ObjectName> = BTreeSet::new();
        let mut defaults = false;
        if are_many(old) != are_many(new) {
            return Self::All;
        }
        let ids = |state: &State| state.users().map(|user| user.uid).collect::<BTreeSet<_>>();
        for uid in ids(old).union(&ids(new)) {
            let (before, after) = (old.user(*uid), new.user(*uid));
            if before == after {
                continue;
            }
            users.insert(*uid);
            // A superuser has no exceptions, even one who may not log in.
            let rights = |user: Option<&User>| {
                user.map(|user| (user.privileges(), user.superuser, user.default_privileges))
            };
            if rights(before) != rights(after) || before.map(|u| &u.name) != after.map(|u| &u.name)
            {
                defaults = true;
                // His exceptions change their meaning with his defaults.
                for state in [old, new] {
                    let has = state.acls().iter().filter(|(_, acl)| acl.contains_key(uid));
                    names.extend(has.map(|(name, _)| name));
                }
            }
        }
        for name in old.acls().keys().chain(new.acls().keys()) {
            let (before, after) = (old.acls().get(name), new.acls().get(name));
            if before == after {
                continue;
            }
            names.insert(name);
            users.extend(departing(before, after));
        }
        let schemas = names
            .iter()
            .filter_map(|name| catalog.schema_named(name.schema_name()))
            .collect();
        let relations = names
            .iter()
            .flat_map(|name| match name {
                ObjectName::Schema { .. } => Vec::new(),
                ObjectName::Relation { schema, name } => catalog.ruled_by(schema, name),
            })
            .collect();
        Self::Touched {
            users,
            schemas,
            relations,
            defaults,
        }
    }
}

/// Those on whom two ACLs of an object differ.
fn departing<'a>(
    before: Option<&'a Map<Uid, Privileges>>,
    after: Option<&'a Map<Uid, Privileges>>,
) -> impl Iterator<Item = Uid> + 'a {
    let both = before.into_iter().chain(after).flatten();
    let differs = move |(uid, privileges): &(&Uid, &Privileges)| {
        [before, after]
            .into_iter()
            .any(|acl| acl.and_then(|acl| acl.get(uid)) != Some(privileges))
    };
    both.filter(differs).map(|(uid, _)| *uid)
}
