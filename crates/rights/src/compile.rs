//! The picture that the ledger's state wants, whole or for a few users and objects.

use std::collections::{BTreeMap, BTreeSet};

use palisade_ledger::{Map, ObjectName, Privileges, State, Uid, User};

use crate::catalog::{Catalog, Relation, RelationKind};
use crate::decide::{ON_DATA, opens};
use crate::picture::{Grant, Picture, Rights, Role, UserRow};
use crate::plan::{Plan, plan};
use crate::sql::quote_identifier;

/// Owns what has no foreign key.
pub(crate) const OWNER: &str = "palisade_owner";
/// Owns the tables at the ends of foreign keys, which PostgreSQL checks with their owner's rights.
pub(crate) const KEYS: &str = "palisade_keys";
/// May connect.
const LOGIN: &str = "palisade_login";
/// May make temporary tables.
const TEMP: &str = "palisade_temp";
/// May go past the gateway: has `set_transaction`.
pub(crate) const DIRECT: &str = "palisade_direct";
/// May look into the schemas.
const USAGE: &str = "palisade_usage";
/// What `system` means to PostgreSQL.
const SYSTEM: [&str; 3] = ["pg_checkpoint", "pg_monitor", "pg_signal_backend"];
/// All of Palisade's own groups that are always there.
pub(crate) const GROUPS: [&str; 10] = [
    OWNER,
    KEYS,
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
/// From this many users on (by the greatest uid) the groups of the default privileges are trees of
/// subgroups, by the uid's last digits to the base of four. To take a flag on one object from one user, all
/// the others must be given it: with the tree that takes 3 names on each of 4 levels and those of his own
/// subgroup, not everyone's.
const MANY_USERS: u32 = 64;
/// Levels of the tree: 256 subgroups at the bottom.
const LEVELS: u32 = 4;
/// The groups that have subgroups.
const DIVIDED: [&str; 5] = [
    USAGE,
    "palisade_select",
    "palisade_insert",
    "palisade_update",
    "palisade_delete",
];
/// The flags that need ownership in PostgreSQL.
const DEFINES: [Privileges; 5] = [
    Privileges::INDEX,
    Privileges::ALTER,
    Privileges::CREATE,
    Privileges::DROP,
    Privileges::GRANT,
];

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
    fn has_user(&self, uid: Uid) -> bool {
        match self {
            Self::All => true,
            Self::Touched { users, .. } => users.contains(&uid),
        }
    }

    fn has_schema(&self, oid: u32) -> bool {
        match self {
            Self::All => true,
            Self::Touched { schemas, .. } => schemas.contains(&oid),
        }
    }

    fn has_relation(&self, oid: u32) -> bool {
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
            for (uid, privileges) in before.into_iter().chain(after).flatten() {
                let other = |acl: Option<&Map<Uid, Privileges>>| {
                    acl.and_then(|acl| acl.get(uid)).copied() == Some(*privileges)
                };
                if !(other(before) && other(after)) {
                    users.insert(*uid);
                }
            }
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

/// Whether the groups have subgroups.
fn are_many(state: &State) -> bool {
    let greatest = state.users().last();
    greatest.is_some_and(|user| user.uid.get() > MANY_USERS)
}

/// The lowest subgroup that a user is in, as a number whose digits are the path to it.
fn leaf_of(uid: Uid) -> u32 {
    lowest_digits(uid.get(), LEVELS)
}

/// The last digits to the base of four.
fn lowest_digits(number: u32, digits: u32) -> u32 {
    number & ((1 << (2 * digits)) - 1)
}

/// The name of a subgroup: the digits of its path, the last digit of the uid first.
fn subgroup(group: &str, path: u32, level: u32) -> String {
    let digit = |place: u32| char::from_digit((path >> (2 * place)) & 3, 4).unwrap_or('0');
    let digits: String = (0..level).map(digit).collect();
    format!("{group}_u{digits}")
}

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

/// Those who hold a flag on an object, seen from who holds it by default.
struct Audience {
    /// Hold it by an ACL and not by default.
    added: BTreeSet<Uid>,
    /// An ACL takes it from these, who have it by default.
    taken: BTreeSet<Uid>,
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

    /// The subgroups of a group: each is a member of the one above, and none depends on who is in it.
    fn subgroups(&mut self, group: &str) {
        for level in 1..=LEVELS {
            for path in 0..(1 << (2 * level)) {
                let name = subgroup(group, path, level);
                let above = match level - 1 {
                    0 => group.to_owned(),
                    higher => subgroup(group, lowest_digits(path, higher), higher),
                };
                let members = self.picture.members.entry(above).or_default();
                members.insert(name.clone());
                self.picture.roles.insert(name, Role::group());
            }
        }
    }

    fn groups(&mut self) {
        for group in GROUPS {
            self.picture
                .members
                .insert(group.to_owned(), BTreeSet::new());
            if *self.scope == Scope::All {
                self.picture.roles.insert(group.to_owned(), Role::group());
            }
        }
        for role in SYSTEM {
            self.picture
                .members
                .insert(role.to_owned(), BTreeSet::new());
        }
        if *self.scope == Scope::All && are_many(self.state) {
            for group in DIVIDED {
                self.subgroups(group);
            }
        }
    }

    /// Puts a user into a group of the default privileges, or her subgroup of it.
    fn join_by_default(&mut self, group: &str, user: &User) {
        if are_many(self.state) {
            let lowest = subgroup(group, leaf_of(user.uid), LEVELS);
            self.join(&lowest, user);
        } else {
            self.join(group, user);
        }
    }

    fn join(&mut self, group: &str, user: &User) {
        let members = self.picture.members.entry(group.to_owned()).or_default();
        members.insert(user.name.to_string());
    }

    /// A user's role, row, and the groups that don't hang on one object.
    fn user(&mut self, user: &User) {
        let defaults = user.privileges();
        let direct = defaults.contains(Privileges::SET_TRANSACTION);
        let role = Role {
            login: user.may_log_in(),
            plain: true,
            verifier: user
                .password
                .as_ref()
                .filter(|_| direct)
                .map(|verifier| verifier.expose_text().to_string()),
        };
        self.picture.roles.insert(user.name.to_string(), role);
        let row = UserRow {
            uid: user.uid.get(),
            defaults: user.default_privileges.bits(),
            superuser: user.superuser,
            enabled: !user.disabled,
        };
        self.picture.users.insert(user.name.to_string(), row);
        if !user.may_log_in() {
            return;
        }
        self.join(LOGIN, user);
        if direct {
            self.join(DIRECT, user);
        }
        if defaults.bits() & ON_DATA != 0 {
            self.join_by_default(USAGE, user);
        }
        for (flag, group) in DATA {
            if defaults.contains(flag) {
                self.join_by_default(group, user);
            }
        }
        let holds = |flag| user.superuser || self.holds_anywhere(user, flag);
        let defines = DEFINES.into_iter().any(holds);
        let creates = holds(Privileges::CREATE);
        if defines {
            self.join(OWNER, user);
        }
        if creates {
            self.join(TEMP, user);
        }
        if defaults.contains(Privileges::SYSTEM) {
            for role in SYSTEM {
                self.join(role, user);
            }
        }
    }

    /// By default or by any ACL.
    fn holds_anywhere(&self, user: &User, flag: Privileges) -> bool {
        let by_acl = self.anywhere.get(&user.uid).copied().unwrap_or_default();
        (user.privileges() | by_acl).contains(flag)
    }

    /// Who defines may do so on tables with foreign keys only if nothing that their owner may do there is
    /// more than she may: she reads, updates and deletes by default, and no ACL on such a table says less.
    fn keys(&mut self) {
        let needed = Privileges::SELECT | Privileges::UPDATE | Privileges::DELETE;
        let owners = self.picture.members.get(OWNER).cloned().unwrap_or_default();
        if owners.is_empty() {
            return;
        }
        let mut lacking: BTreeSet<Uid> = BTreeSet::new();
        let keyed = self.catalog.relations().filter(|(_, r)| r.keyed);
        for (oid, _) in keyed.filter(|(_, r)| r.kind != RelationKind::Sequence) {
            for acl in self
                .catalog
                .names_of(oid)
                .iter()
                .filter_map(|n| self.state.acls().get(n))
            {
                let less = acl.iter().filter(|(_, p)| !p.in_force().contains(needed));
                lacking.extend(less.map(|(uid, _)| *uid));
            }
        }
        for (name, acl) in self.state.acls() {
            if matches!(name, ObjectName::Schema { .. }) {
                let shut = acl.iter().filter(|(_, p)| !opens(**p));
                lacking.extend(shut.map(|(uid, _)| *uid));
            }
        }
        for user in owners
            .iter()
            .filter_map(|name| self.state.user_by_name(name))
        {
            let able = user.privileges().contains(needed) && !lacking.contains(&user.uid);
            if user.superuser || able {
                self.join(KEYS, user);
            }
        }
    }

    fn acls(&mut self) {
        for (object, acl) in self.state.acls() {
            let (schema, name) = match object {
                ObjectName::Schema { schema } => (schema, ""),
                ObjectName::Relation { schema, name } => (schema, name.as_str()),
            };
            for (uid, privileges) in acl.iter().filter(|(uid, _)| self.scope.has_user(**uid)) {
                if let Some(user) = self.state.user(*uid) {
                    let key = (schema.clone(), name.to_owned(), user.name.to_string());
                    self.picture.acls.insert(key, privileges.bits());
                }
            }
        }
    }

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

    fn schema(&mut self, oid: u32, name: &str) {
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
                (OWNER.to_owned(), BTreeSet::from([Grant::Create])),
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

    fn relation(&mut self, oid: u32, relation: &Relation) {
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
            let held = held.iter().copied().collect();
            rights.grants.insert(owner.to_owned(), held);
        }
        for (flag, group) in DATA {
            let grants = grants(relation.kind, flag);
            if grants.is_empty() {
                continue;
            }
            let by_default = |user: &User| user.privileges().contains(flag);
            let mut audience = Audience {
                added: BTreeSet::new(),
                taken: BTreeSet::new(),
            };
            for user in ruled.iter().filter_map(|uid| self.state.user(*uid)) {
                let now = match names.iter().find_map(|n| self.state.acl(n, user.uid)) {
                    Some(acl) if !user.superuser && user.may_log_in() => {
                        acl.in_force().contains(flag)
                    }
                    _ => by_default(user),
                };
                match (by_default(user), now) {
                    (true, false) => drop(audience.taken.insert(user.uid)),
                    (false, true) => drop(audience.added.insert(user.uid)),
                    _ => {}
                }
            }
            let give = (&audience, &by_default as &dyn Fn(&User) -> bool);
            self.give(&mut rights, (oid, group), grants, give, full);
        }
        if full {
            self.picture.relations.insert(oid, rights);
        }
    }
}

/// The greatest subgroups of a group that have none of these lowest ones.
fn whole_subgroups(group: &str, split: &BTreeSet<u32>) -> Vec<String> {
    let mut found = Vec::new();
    // The paths to those that have some of them, level by level.
    let mut broken = BTreeSet::from([0]);
    for level in 1..=LEVELS {
        let mut below = BTreeSet::new();
        for above in broken {
            for digit in 0..4 {
                let path = above | (digit << (2 * (level - 1)));
                if split.iter().any(|leaf| lowest_digits(*leaf, level) == path) {
                    below.insert(path);
                } else {
                    found.push(subgroup(group, path, level));
                }
            }
        }
        broken = below;
    }
    found
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
