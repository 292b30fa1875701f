//! Roles and groups, and who is in them.

use std::collections::BTreeSet;

use palisade_ledger::{ObjectName, Privileges, Uid, User};

use super::tree::{LEVELS, are_many, leaf_of, lowest_digits, subgroup};
use super::{Compiler, DATA, DIRECT, GROUPS, KEYS, LOGIN, MAKE, OWNER, Scope, TEMP, USAGE, lent};
use crate::catalog::RelationKind;
use crate::decide::{ON_DATA, opens};
use crate::picture::{Role, UserRow};

/// What `system` means to PostgreSQL.
const SYSTEM: [&str; 3] = ["pg_checkpoint", "pg_monitor", "pg_signal_backend"];
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

impl Compiler<'_> {
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

    pub(super) fn groups(&mut self) {
        for group in GROUPS.into_iter().map(str::to_owned).chain(lent()) {
            if *self.scope == Scope::All {
                self.picture.roles.insert(group.clone(), Role::group());
            }
            self.picture.members.insert(group, BTreeSet::new());
        }
        let makers = self.picture.members.entry(MAKE.to_owned()).or_default();
        makers.extend(lent());
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
    pub(super) fn user(&mut self, user: &User) {
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
        if user.superuser {
            self.join(MAKE, user);
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
    pub(super) fn keys(&mut self) {
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

    pub(super) fn acls(&mut self) {
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
}
