//! A user, as entries made and changed him.

use palisade_keys::{PublicKey, ScramVerifier};
use serde::Serialize;

use crate::change::{ImportedUser, NewUser};
use crate::name::{Uid, UserName};
use crate::privileges::Privileges;
use crate::show;

/// A user as the ledger has it now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct User {
    /// The id.
    pub uid: Uid,
    /// The name, also of the PostgreSQL role.
    pub name: UserName,
    /// Not allowed to log in.
    pub disabled: bool,
    /// Has every privilege on every object.
    pub superuser: bool,
    /// What holds where no ACL names the user.
    pub default_privileges: Privileges,
    /// The key that logs in and signs for the user.
    #[serde(serialize_with = "show::show_key")]
    pub public_key: Option<PublicKey>,
    /// What checks the user's password.
    #[serde(serialize_with = "show::hide_verifier")]
    pub password: Option<ScramVerifier>,
    /// Sequence number of the last entry that changed the user or an ACL of his. A session or a
    /// prepared connection that was opened under another number is out of date.
    pub changed: u64,
}

impl User {
    /// A user as the entry of this number adds him.
    pub(crate) fn added(new: &NewUser, seq: u64) -> Self {
        Self {
            uid: new.uid,
            name: new.name.clone(),
            disabled: new.disabled,
            superuser: new.superuser,
            default_privileges: new.default_privileges,
            public_key: new.public_key,
            password: new.password.clone(),
            changed: seq,
        }
    }

    /// Whether the user may log in at all.
    #[must_use]
    pub fn may_log_in(&self) -> bool {
        !self.disabled && (self.superuser || !self.default_privileges.contains(Privileges::DENIED))
    }

    /// The default privileges that are in force: all for a superuser, none for who is shut out.
    #[must_use]
    pub fn privileges(&self) -> Privileges {
        match (self.may_log_in(), self.superuser) {
            (false, _) => Privileges::NONE,
            (true, true) => Privileges::ALL,
            (true, false) => self.default_privileges,
        }
    }

    /// Writes the fields of `read` that `before` did not have, all if there is none, into the user.
    pub(crate) fn take_over(&mut self, before: Option<&ImportedUser>, read: &ImportedUser) {
        if before.map(|b| b.disabled) != Some(read.disabled) {
            self.disabled = read.disabled;
        }
        if before.map(|b| b.superuser) != Some(read.superuser) {
            self.superuser = read.superuser;
        }
        if before.map(|b| b.default_privileges) != Some(read.default_privileges) {
            self.default_privileges = read.default_privileges;
        }
        if before.map(|b| b.public_key) != Some(read.public_key) {
            self.public_key = Some(read.public_key);
        }
    }
}
