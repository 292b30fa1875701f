//! The picture that the ledger's state wants, whole or for a few users and objects.
//!
//! `people` has the roles, groups and members, `objects` the owners and grants; `tree` divides large
//! groups, `scope` says what is looked at.

mod objects;
mod people;
mod scope;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use palisade_ledger::{ObjectName, Privileges, State, Uid, User};

use crate::catalog::Catalog;
use crate::picture::Picture;
use crate::plan::{Plan, plan};
use tree::{are_many, leaf_of};

pub use scope::Scope;

/// Owns what has no foreign key.
const OWNER: &str = "palisade_owner";
/// Owns the tables at the ends of foreign keys, which PostgreSQL checks with their owner's rights.
const KEYS: &str = "palisade_keys";
/// May make what lies in a schema, and schemas: Palisade's superusers. To others it is lent for a guarded statement.
const MAKE: &str = "palisade_make";
/// How many members of [`MAKE`] there are to lend it; their own members last for one statement.
const LENT: usize = 16;
/// May connect.
const LOGIN: &str = "palisade_login";
/// May make temporary tables.
const TEMP: &str = "palisade_temp";
/// May go past the gateway: has `set_transaction`.
pub(crate) const DIRECT: &str = "palisade_direct";
/// May look into the schemas.
const USAGE: &str = "palisade_usage";
/// All of Palisade's own groups that are always there.
const GROUPS: [&str; 11] = [
    OWNER,
    KEYS,
    MAKE,
    LOGIN,
    TEMP,
    DIRECT,
    USAGE,
    "palisade_select",
    "palisade_insert",
    "palisade_update",
    "palisade_delete",
];
/// The flags that are plain grants, with their groups.
const DATA: [(Privileges, &str); 4] = [
    (Privileges::SELECT, "palisade_select"),
    (Privileges::INSERT, "palisade_insert"),
    (Privileges::UPDATE, "palisade_update"),
    (Privileges::DELETE, "palisade_delete"),
];

/// The picture that the state wants.
#[must_use]
pub fn desired(state: &State, catalog: &Catalog, scope: &Scope) -> Picture {
    let mut compiler = Compiler::new(state, catalog, scope);
    compiler.groups();
    for user in state.users().filter(|user| scope.has_user(user.uid)) {
        compiler.user(user);
    }
    compiler.keys();
    compiler.acls();
    for (oid, schema) in catalog.schemas() {
        compiler.schema(oid, &schema.name);
    }
    for oid in compiler.concerned() {
        if let Some(relation) = catalog.relation(oid) {
            compiler.relation(oid, relation);
        }
    }
    compiler.picture
}

/// The plan for one change of the state: it looks at what the change touches alone.
#[must_use]
pub fn plan_change(old: &State, new: &State, catalog: &Catalog) -> Plan {
    let scope = Scope::between(old, new, catalog);
    plan(
        &desired(old, catalog, &scope),
        &desired(new, catalog, &scope),
    )
}

/// The groups by which [`MAKE`] is lent.
fn lent() -> impl Iterator<Item = String> {
    (1..=LENT).map(|number| format!("palisade_lent_{number}"))
}

struct Compiler<'a> {
    state: &'a State,
    catalog: &'a Catalog,
    scope: &'a Scope,
    /// Each user's privileges by any ACL together.
    anywhere: BTreeMap<Uid, Privileges>,
    /// The users by the subgroup that they are in; all in one if there are no subgroups.
    leaves: BTreeMap<u32, Vec<&'a User>>,
    picture: Picture,
}

impl<'a> Compiler<'a> {
    fn new(state: &'a State, catalog: &'a Catalog, scope: &'a Scope) -> Self {
        let mut anywhere: BTreeMap<Uid, Privileges> = BTreeMap::new();
        for (uid, privileges) in state.acls().values().flatten() {
            let held = anywhere.entry(*uid).or_default();
            *held = *held | privileges.in_force();
        }
        let many = are_many(state);
        let mut leaves: BTreeMap<u32, Vec<&User>> = BTreeMap::new();
        for user in state.users() {
            let leaf = if many { leaf_of(user.uid) } else { 0 };
            leaves.entry(leaf).or_default().push(user);
        }
        Self {
            state,
            catalog,
            scope,
            anywhere,
            leaves,
            picture: Picture::default(),
        }
    }

    /// The relations to look at.
    fn concerned(&self) -> Vec<u32> {
        let mut found: BTreeSet<u32> = match self.scope {
            Scope::All => return self.catalog.relations().map(|(oid, _)| oid).collect(),
            Scope::Touched { relations, .. } => relations.clone(),
        };
        if let Scope::Touched { defaults: true, .. } = self.scope {
            for object in self.state.acls().keys() {
                if let ObjectName::Relation { schema, name } = object {
                    found.extend(self.catalog.ruled_by(schema, name));
                }
            }
        }
        found.into_iter().collect()
    }
}
