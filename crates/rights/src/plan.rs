//! The difference of two pictures, as ordered steps.
//!
//! Order: what is taken goes before what is given; roles are there before they are used, and go last.

use std::collections::BTreeSet;
use std::fmt;

use crate::catalog::RelationKind;
use crate::picture::{AclKey, Grant, Picture, Rights, Role, UserRow};
use crate::sql::{list, quote_identifier, quote_literal, role as role_name};

/// One step towards what is desired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Makes a role.
    CreateRole(String, Role),
    /// Puts a role's attributes right.
    AlterRole(String, Role),
    /// Takes members out of a group.
    Leave(String, BTreeSet<String>),
    /// Puts members into a group.
    Join(String, BTreeSet<String>),
    /// Takes from members the right to pass their membership on.
    NoAdmin(String, BTreeSet<String>),
    /// Writes a row that the guards read.
    PutUser(String, UserRow),
    /// Removes a row that the guards read.
    RemoveUser(String),
    /// Writes an ACL that the guards read.
    PutAcl(AclKey, u32),
    /// Removes an ACL that the guards read.
    RemoveAcl(AclKey),
    /// Hands an object to its owning role.
    SetOwner(Object, String),
    /// Takes privileges from a role; without a list, all that it has.
    Revoke(Object, String, BTreeSet<Grant>),
    /// Takes away grants on columns, grant options and grants by others.
    Regularize(Object, BTreeSet<String>),
    /// Gives privileges to a role.
    Grant(Object, String, BTreeSet<Grant>),
    /// Makes a view run with the rights of who reads it.
    MakeInvoker(Object),
    /// Removes a role; what it owns goes to `palisade_owner`.
    DropRole(String),
}

/// A schema or relation in a step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// What it is; `None`: a schema.
    pub kind: Option<RelationKind>,
    /// Its quoted name.
    pub label: String,
}

impl PartialOrd for RelationKind {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RelationKind {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (*self as u8).cmp(&(*other as u8))
    }
}

impl Object {
    fn of(rights: &Rights) -> Self {
        Self {
            kind: rights.kind,
            label: rights.label.clone(),
        }
    }

    /// `SCHEMA "a"`, `TABLE "a"."b"`, `SEQUENCE "a"."b"`, as GRANT has it.
    fn target(&self) -> String {
        let noun = match self.kind {
            None => "SCHEMA",
            Some(RelationKind::Sequence) => "SEQUENCE",
            Some(RelationKind::Table | RelationKind::View) => "TABLE",
        };
        format!("{noun} {}", self.label)
    }
}

fn words(grants: &BTreeSet<Grant>) -> String {
    if grants.contains(&Grant::Other) {
        return Grant::Other.word().to_owned();
    }
    let words: Vec<&str> = grants.iter().map(|grant| grant.word()).collect();
    words.join(", ")
}

fn role_options(role: &Role) -> String {
    let login = if role.login { "LOGIN" } else { "NOLOGIN" };
    let password = match &role.verifier {
        Some(verifier) => quote_literal(verifier),
        None => "NULL".to_owned(),
    };
    format!(
        "{login} INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS \
         CONNECTION LIMIT -1 VALID UNTIL 'infinity' PASSWORD {password}"
    )
}

impl Step {
    /// The step's SQL: one or more statements, each ended by a semicolon.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "a table: one line of SQL per step")]
    pub fn sql(&self) -> String {
        match self {
            Self::CreateRole(name, role) => {
                format!("CREATE ROLE {} {};", role_name(name), role_options(role))
            }
            Self::AlterRole(name, role) => {
                let name = role_name(name);
                let options = role_options(role);
                format!("ALTER ROLE {name} {options}; ALTER ROLE {name} RESET ALL;")
            }
            Self::Leave(group, members) => {
                format!(
                    "REVOKE {} FROM {} CASCADE;",
                    role_name(group),
                    list(members)
                )
            }
            Self::Join(group, members) => {
                format!("GRANT {} TO {};", role_name(group), list(members))
            }
            Self::NoAdmin(group, members) => {
                let (group, members) = (role_name(group), list(members));
                format!("REVOKE ADMIN OPTION FOR {group} FROM {members} CASCADE;")
            }
            Self::PutUser(name, row) => format!(
                "INSERT INTO palisade.users (name, uid, defaults, superuser, enabled) VALUES ({}, {}, {}, {}, {}) \
                 ON CONFLICT (name) DO UPDATE SET uid = excluded.uid, defaults = excluded.defaults, \
                 superuser = excluded.superuser, enabled = excluded.enabled;",
                quote_literal(name),
                row.uid,
                row.defaults,
                row.superuser,
                row.enabled
            ),
            Self::RemoveUser(name) => {
                format!(
                    "DELETE FROM palisade.users WHERE name = {};",
                    quote_literal(name)
                )
            }
            Self::PutAcl((schema, name, user), privileges) => format!(
                "INSERT INTO palisade.acls (schema, name, user_name, privileges) VALUES ({}, {}, {}, {privileges}) \
                 ON CONFLICT (schema, name, user_name) DO UPDATE SET privileges = excluded.privileges;",
                quote_literal(schema),
                quote_literal(name),
                quote_literal(user)
            ),
            Self::RemoveAcl((schema, name, user)) => format!(
                "DELETE FROM palisade.acls WHERE schema = {} AND name = {} AND user_name = {};",
                quote_literal(schema),
                quote_literal(name),
                quote_literal(user)
            ),
            Self::SetOwner(object, owner) => {
                // ALTER TABLE takes every kind of relation here.
                let noun = if object.kind.is_none() {
                    "SCHEMA"
                } else {
                    "TABLE"
                };
                format!(
                    "ALTER {noun} {} OWNER TO {};",
                    object.label,
                    role_name(owner)
                )
            }
            Self::Revoke(object, grantee, grants) => {
                let what = if grants.is_empty() {
                    "ALL".to_owned()
                } else {
                    words(grants)
                };
                let target = object.target();
                format!(
                    "REVOKE {what} ON {target} FROM {} CASCADE;",
                    role_name(grantee)
                )
            }
            Self::Regularize(object, _) => match object.kind {
                None => format!(
                    "SELECT palisade.settle_schema({}::regnamespace);",
                    quote_literal(&object.label)
                ),
                Some(_) => format!(
                    "SELECT palisade.regularize({}::regclass);",
                    quote_literal(&object.label)
                ),
            },
            Self::Grant(object, grantee, grants) => {
                let target = object.target();
                format!(
                    "GRANT {} ON {target} TO {};",
                    words(grants),
                    role_name(grantee)
                )
            }
            Self::MakeInvoker(object) => {
                format!("ALTER VIEW {} SET (security_invoker = true);", object.label)
            }
            Self::DropRole(name) => {
                let name = role_name(name);
                format!(
                    "REASSIGN OWNED BY {name} TO \"palisade_owner\"; DROP OWNED BY {name} CASCADE; DROP ROLE {name};"
                )
            }
        }
    }
}

/// A line for people. It never has a password's verifier.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateRole(name, _) => write!(f, "create the role {name}"),
            Self::AlterRole(name, role) => {
                let login = if role.login { "log in" } else { "not log in" };
                write!(
                    f,
                    "put right the attributes of the role {name}, which may {login}"
                )
            }
            Self::Leave(group, members) => {
                write!(f, "take {} out of {group}", some(members))
            }
            Self::Join(group, members) => write!(f, "put {} into {group}", some(members)),
            Self::NoAdmin(group, members) => {
                write!(f, "forbid {} to pass {group} on", some(members))
            }
            Self::PutUser(name, _) => write!(f, "write the rights of {name} for the guards"),
            Self::RemoveUser(name) => write!(f, "remove the rights of {name} from the guards"),
            Self::PutAcl(key, _) => write!(f, "write the ACL of {} for the guards", acl(key)),
            Self::RemoveAcl(key) => write!(f, "remove the ACL of {} from the guards", acl(key)),
            Self::SetOwner(object, owner) => write!(f, "give {} to {owner}", object.target()),
            Self::Revoke(object, grantee, grants) => {
                write!(
                    f,
                    "revoke {} on {} from {grantee}",
                    words(grants),
                    object.target()
                )
            }
            Self::Regularize(object, what) => {
                let what: Vec<&str> = what.iter().map(String::as_str).collect();
                write!(f, "take back from {}: {}", object.target(), what.join("; "))
            }
            Self::Grant(object, grantee, grants) => {
                write!(
                    f,
                    "grant {} on {} to {grantee}",
                    words(grants),
                    object.target()
                )
            }
            Self::MakeInvoker(object) => write!(f, "make {} a security_invoker view", object.label),
            Self::DropRole(name) => write!(f, "remove the role {name}"),
        }
    }
}

/// Up to three names, and how many more.
fn some(names: &BTreeSet<String>) -> String {
    let first: Vec<&str> = names.iter().take(3).map(String::as_str).collect();
    match names.len().saturating_sub(first.len()) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

fn acl((schema, name, user): &AclKey) -> String {
    let object = if name.is_empty() {
        quote_identifier(schema)
    } else {
        format!("{}.{}", quote_identifier(schema), quote_identifier(name))
    };
    format!("{user} on {object}")
}

/// Ordered steps; empty when nothing is to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps in their order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Whether nothing is to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The SQL of all steps.
    #[must_use]
    pub fn sql(&self) -> String {
        let steps: Vec<String> = self.steps.iter().map(Step::sql).collect();
        steps.join("\n")
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        Ok(())
    }
}

/// What makes `have` into `want`.
///
/// Roles that `want` lacks are dropped: the observer lists only those that Palisade once made.
#[must_use]
pub fn plan(have: &Picture, want: &Picture) -> Plan {
    let mut steps = Vec::new();
    roles(have, want, &mut steps);
    members(have, want, &mut steps);
    rows(have, want, &mut steps);
    for (oid, wanted) in want.schemas.iter().chain(&want.relations) {
        let found = have.schemas.get(oid).or_else(|| have.relations.get(oid));
        rights(found, wanted, &mut steps);
    }
    let gone = have
        .roles
        .keys()
        .filter(|name| !want.roles.contains_key(*name));
    steps.extend(gone.map(|name| Step::DropRole(name.clone())));
    Plan { steps }
}

fn roles(have: &Picture, want: &Picture, steps: &mut Vec<Step>) {
    for (name, wanted) in &want.roles {
        match have.roles.get(name) {
            None => steps.push(Step::CreateRole(name.clone(), wanted.clone())),
            Some(found) if found != wanted => {
                steps.push(Step::AlterRole(name.clone(), wanted.clone()));
            }
            Some(_) => {}
        }
    }
}

fn members(have: &Picture, want: &Picture, steps: &mut Vec<Step>) {
    let nobody = BTreeSet::new();
    let mut joins = Vec::new();
    let groups: BTreeSet<&String> = have.members.keys().chain(want.members.keys()).collect();
    for group in groups {
        let found = have.members.get(group).unwrap_or(&nobody);
        let wanted = want.members.get(group).unwrap_or(&nobody);
        // A dropped role's memberships go with it, on either side.
        let dropped =
            |role: &String| have.roles.contains_key(role) && !want.roles.contains_key(role);
        if dropped(group) {
            continue;
        }
        let leave: BTreeSet<String> = found
            .difference(wanted)
            .filter(|member| !dropped(member))
            .cloned()
            .collect();
        if !leave.is_empty() {
            steps.push(Step::Leave(group.clone(), leave));
        }
        let join: BTreeSet<String> = wanted.difference(found).cloned().collect();
        if !join.is_empty() {
            joins.push(Step::Join(group.clone(), join));
        }
    }
    for (group, found) in &have.admins {
        let staying = want.members.get(group).unwrap_or(&nobody);
        let members: BTreeSet<String> = found.intersection(staying).cloned().collect();
        if !members.is_empty() {
            steps.push(Step::NoAdmin(group.clone(), members));
        }
    }
    // For each new member PostgreSQL walks all that the group is in. The groups of single objects hold
    // subgroups of the others, so they come last, while nothing is above them.
    joins.sort_by_key(|step| matches!(step, Step::Join(group, _) if is_of_object(group)));
    steps.extend(joins);
}

/// Whether a group is an object's own: its name ends with an object id.
fn is_of_object(group: &str) -> bool {
    let last = group.rsplit('_').next().unwrap_or_default();
    !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit())
}

fn rows(have: &Picture, want: &Picture, steps: &mut Vec<Step>) {
    let gone = have
        .users
        .keys()
        .filter(|name| !want.users.contains_key(*name));
    steps.extend(gone.map(|name| Step::RemoveUser(name.clone())));
    for (name, row) in &want.users {
        if have.users.get(name) != Some(row) {
            steps.push(Step::PutUser(name.clone(), row.clone()));
        }
    }
    let gone = have.acls.keys().filter(|key| !want.acls.contains_key(*key));
    steps.extend(gone.map(|key| Step::RemoveAcl(key.clone())));
    for (key, privileges) in &want.acls {
        if have.acls.get(key) != Some(privileges) {
            steps.push(Step::PutAcl(key.clone(), *privileges));
        }
    }
}

fn rights(found: Option<&Rights>, wanted: &Rights, steps: &mut Vec<Step>) {
    let object = Object::of(wanted);
    let mut held = found.map(|found| found.grants.clone()).unwrap_or_default();
    if let (Some(owner), Some(found)) = (&wanted.owner, found)
        && found.owner.as_ref() != Some(owner)
    {
        steps.push(Step::SetOwner(object.clone(), owner.clone()));
        // PostgreSQL gives the new owner what the old one held.
        let all = BTreeSet::from([Grant::Other]);
        steps.push(Step::Revoke(object.clone(), owner.clone(), all));
        held.remove(owner);
        held.remove(found.owner.as_ref().unwrap_or(owner));
    }
    if let Some(found) = found {
        if !found.irregular.is_empty() {
            let irregular = found.irregular.clone();
            steps.push(Step::Regularize(object.clone(), irregular));
        }
        for (grantee, grants) in &held {
            let none = BTreeSet::new();
            let keep = wanted.grants.get(grantee).unwrap_or(&none);
            let extra: BTreeSet<Grant> = grants.difference(keep).copied().collect();
            if !extra.is_empty() {
                steps.push(Step::Revoke(object.clone(), grantee.clone(), extra));
            }
        }
        if wanted.invoker && !found.invoker {
            steps.push(Step::MakeInvoker(object.clone()));
        }
    }
    for (grantee, grants) in &wanted.grants {
        let none = BTreeSet::new();
        let has = held.get(grantee).unwrap_or(&none);
        let missing: BTreeSet<Grant> = grants.difference(has).copied().collect();
        if !missing.is_empty() {
            steps.push(Step::Grant(object.clone(), grantee.clone(), missing));
        }
    }
}
