//! Owners and grants of schemas and relations.

use std::collections::{BTreeMap, BTreeSet};

use palisade_ledger::{Map, ObjectName, Privileges, State, Uid, User};

use super::tree::{are_many, leaf_of, whole_subgroups};
use super::{Compiler, DATA, KEYS, MAKE, OWNER, USAGE};
use crate::catalog::{Relation, RelationKind};
use crate::decide::{ON_DATA, opens};
use crate::picture::{Grant, Rights, Role};
use crate::sql::quote_identifier;

/// Those who hold a flag on an object, seen from who holds it by default.
struct Audience {
    /// Hold it by an ACL and not by default.
    added: BTreeSet<Uid>,
    /// An ACL takes it from these, who have it by default.
    taken: BTreeSet<Uid>,
}

impl Compiler<'_> {
    /// Gives a flag on an object to its group, and to a group of its own where ACLs depart from the
    /// defaults. So the object's own list of grants stays short, however many users there are.
    fn give(
        &mut self,
        rights: &mut Rights,
        (oid, all): (u32, &str),
        grants: &[Grant],
        (audience, by_default): (&Audience, &dyn Fn(&User) -> bool),
        full: bool,
    ) {
        let give = |rights: &mut Rights, group: &str| {
            let held = rights.grants.entry(group.to_owned()).or_default();
            held.extend(grants);
        };
        if audience.taken.is_empty() {
            give(rights, all);
            if audience.added.is_empty() {
                return;
            }
        }
        let own = format!("{all}_{oid}");
        give(rights, &own);
        if full {
            self.picture.roles.insert(own.clone(), Role::group());
        }
        let mut members: BTreeSet<String> = BTreeSet::new();
        let scope = self.scope;
        let mut add = |user: &User| {
            if user.may_log_in() && (full || scope.has_user(user.uid)) {
                members.insert(user.name.to_string());
            }
        };
        for user in audience
            .added
            .iter()
            .filter_map(|uid| self.state.user(*uid))
        {
            add(user);
        }
        if !audience.taken.is_empty() {
            // Only the subgroups in which someone is left out are written out, user by user.
            let many = are_many(self.state);
            let leaf = |uid: &Uid| if many { leaf_of(*uid) } else { 0 };
            let split: BTreeSet<u32> = audience.taken.iter().map(leaf).collect();
            for user in split
                .iter()
                .filter_map(|leaf| self.leaves.get(leaf))
                .flatten()
            {
                if by_default(user) && !audience.taken.contains(&user.uid) {
                    add(user);
                }
            }
            if many && full {
                members.extend(whole_subgroups(all, &split));
            }
        }
        let held = self.picture.members.entry(own).or_default();
        held.extend(members);
    }

    pub(super) fn schema(&mut self, oid: u32, name: &str) {
        let full = self.scope.has_schema(oid);
        let by_default = |user: &User| user.privileges().bits() & ON_DATA != 0;
        let mut audience = Audience {
            added: BTreeSet::new(),
            taken: BTreeSet::new(),
        };
        let mut own = None;
        if let Ok(object) = ObjectName::schema(name) {
            own = self.state.acls().get(&object);
        }
        for (_, acl) in within(self.state, name) {
            for (uid, privileges) in acl {
                let outside = self.state.user(*uid).is_some_and(|u| !by_default(u));
                if outside && opens(*privileges) {
                    audience.added.insert(*uid);
                }
            }
        }
        for (uid, privileges) in own.into_iter().flatten() {
            let Some(user) = self.state.user(*uid).filter(|user| !user.superuser) else {
                continue;
            };
            audience.added.remove(uid);
            match (by_default(user), opens(*privileges)) {
                (true, false) => drop(audience.taken.insert(*uid)),
                (false, true) => drop(audience.added.insert(*uid)),
                _ => {}
            }
        }
        let mut rights = Rights {
            kind: None,
            label: quote_identifier(name),
            owner: Some(OWNER.to_owned()),
            grants: BTreeMap::from([
                (MAKE.to_owned(), BTreeSet::from([Grant::Create])),
                (KEYS.to_owned(), BTreeSet::from([Grant::Usage])),
            ]),
            irregular: BTreeSet::new(),
            invoker: true,
        };
        let give = (&audience, &by_default as &dyn Fn(&User) -> bool);
        self.give(&mut rights, (oid, USAGE), &[Grant::Usage], give, full);
        if full {
            self.picture.schemas.insert(oid, rights);
        }
    }

    /// From whom or to whom the ACLs of a relation take or give a flag.
    fn audience(&self, names: &[ObjectName], ruled: &BTreeSet<Uid>, flag: Privileges) -> Audience {
        let mut audience = Audience {
            added: BTreeSet::new(),
            taken: BTreeSet::new(),
        };
        for user in ruled.iter().filter_map(|uid| self.state.user(*uid)) {
            let by_default = user.privileges().contains(flag);
            let now = match names.iter().find_map(|n| self.state.acl(n, user.uid)) {
                Some(acl) if !user.superuser && user.may_log_in() => acl.in_force().contains(flag),
                _ => by_default,
            };
            match (by_default, now) {
                (true, false) => drop(audience.taken.insert(user.uid)),
                (false, true) => drop(audience.added.insert(user.uid)),
                _ => {}
            }
        }
        audience
    }

    pub(super) fn relation(&mut self, oid: u32, relation: &Relation) {
        let full = self.scope.has_relation(oid);
        let names = self.catalog.names_of(oid);
        let ruled: BTreeSet<Uid> = names
            .iter()
            .filter_map(|name| self.state.acls().get(name))
            .flat_map(Map::keys)
            .copied()
            .collect();
        if !full && ruled.is_empty() {
            return;
        }
        let sequence = relation.kind == RelationKind::Sequence;
        let mut rights = Rights {
            kind: Some(relation.kind),
            label: format!(
                "{}.{}",
                quote_identifier(&relation.schema),
                quote_identifier(&relation.name)
            ),
            owner: match (sequence && relation.parent.is_some(), relation.keyed) {
                (true, _) => None,
                (false, true) => Some(KEYS.to_owned()),
                (false, false) => Some(OWNER.to_owned()),
            },
            grants: BTreeMap::new(),
            irregular: BTreeSet::new(),
            invoker: true,
        };
        if !sequence {
            let (owner, held): (_, &[Grant]) = if relation.keyed {
                let all = &[Grant::Trigger, Grant::Select, Grant::Update, Grant::Delete];
                (KEYS, all)
            } else {
                (OWNER, &[Grant::Trigger])
            };
            let maintain = self.catalog.has_maintain().then_some(Grant::Maintain);
            let held = held.iter().copied().chain(maintain).collect();
            rights.grants.insert(owner.to_owned(), held);
        }
        for (flag, group) in DATA {
            let grants = grants(relation.kind, flag);
            if grants.is_empty() {
                continue;
            }
            let by_default = |user: &User| user.privileges().contains(flag);
            let audience = self.audience(&names, &ruled, flag);
            let give = (&audience, &by_default as &dyn Fn(&User) -> bool);
            self.give(&mut rights, (oid, group), grants, give, full);
        }
        if full {
            self.picture.relations.insert(oid, rights);
        }
    }
}

/// The ACLs of what lies in a schema.
fn within<'a>(
    state: &'a State,
    schema: &'a str,
) -> impl Iterator<Item = (&'a ObjectName, &'a Map<Uid, Privileges>)> {
    let first = ObjectName::Relation {
        schema: schema.to_owned(),
        name: String::new(),
    };
    state
        .acls()
        .from(&first)
        .take_while(move |(object, _)| object.schema_name() == schema)
}

/// The SQL privileges that a flag means.
fn grants(kind: RelationKind, flag: Privileges) -> &'static [Grant] {
    let sequence = kind == RelationKind::Sequence;
    match flag {
        // Whoever may read the keys may point at them.
        Privileges::SELECT if !sequence => &[Grant::Select, Grant::References],
        Privileges::SELECT => &[Grant::Select],
        Privileges::INSERT if sequence => &[Grant::Usage],
        Privileges::INSERT => &[Grant::Insert],
        Privileges::UPDATE => &[Grant::Update],
        Privileges::DELETE if !sequence => &[Grant::Delete, Grant::Truncate],
        _ => &[],
    }
}
