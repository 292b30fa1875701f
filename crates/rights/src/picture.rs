//! Everything of PostgreSQL that Palisade decides, as plain data: once desired, once observed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::catalog::RelationKind;

/// An SQL privilege.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grant {
    /// Read rows; of a sequence, its value.
    Select,
    /// Add rows.
    Insert,
    /// Change rows; of a sequence, its value.
    Update,
    /// Remove rows.
    Delete,
    /// Remove all rows.
    Truncate,
    /// Point a foreign key at it.
    References,
    /// Put a trigger on it.
    Trigger,
    /// Look into a schema; take from a sequence.
    Usage,
    /// Create in a schema.
    Create,
    /// VACUUM, ANALYZE, REINDEX, CLUSTER, REFRESH and LOCK: from PostgreSQL 17 on owners need it, too.
    Maintain,
    /// Anything that Palisade never gives.
    Other,
}

impl Grant {
    /// SQL's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Truncate => "TRUNCATE",
            Self::References => "REFERENCES",
            Self::Trigger => "TRIGGER",
            Self::Usage => "USAGE",
            Self::Create => "CREATE",
            Self::Maintain => "MAINTAIN",
            Self::Other => "ALL",
        }
    }

    /// From `aclexplode`'s word.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "SELECT" => Self::Select,
            "INSERT" => Self::Insert,
            "UPDATE" => Self::Update,
            "DELETE" => Self::Delete,
            "TRUNCATE" => Self::Truncate,
            "REFERENCES" => Self::References,
            "TRIGGER" => Self::Trigger,
            "USAGE" => Self::Usage,
            "CREATE" => Self::Create,
            "MAINTAIN" => Self::Maintain,
            _ => Self::Other,
        }
    }
}

/// A role: a user's, or a group's of Palisade's own.
#[derive(Clone, PartialEq, Eq)]
pub struct Role {
    /// May log in.
    pub login: bool,
    /// Has only what Palisade gives: no SUPERUSER, CREATEROLE, CREATEDB, REPLICATION, BYPASSRLS; has INHERIT;
    /// no settings, no connection limit, no end of validity.
    pub plain: bool,
    /// The SCRAM verifier, in PostgreSQL's form.
    pub verifier: Option<String>,
}

impl Role {
    /// A group: it can't log in.
    #[must_use]
    pub fn group() -> Self {
        Self {
            login: false,
            plain: true,
            verifier: None,
        }
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verifier = self.verifier.as_ref().map(|_| "...");
        f.debug_struct("Role")
            .field("login", &self.login)
            .field("plain", &self.plain)
            .field("verifier", &verifier)
            .finish()
    }
}

/// A row of `palisade.users`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRow {
    /// The ledger's uid.
    pub uid: u32,
    /// `default_privileges`.
    pub defaults: u32,
    /// Palisade's superuser, not PostgreSQL's.
    pub superuser: bool,
    /// Not disabled.
    pub enabled: bool,
}

/// Schema, name (empty for the schema itself) and user of a row of `palisade.acls`.
pub type AclKey = (String, String, String);

/// Owner and grants of a schema or relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// What it is; `None`: a schema.
    pub kind: Option<RelationKind>,
    /// Its name as SQL has it, quoted.
    pub label: String,
    /// The owning role; `None`: PostgreSQL makes it follow its table.
    pub owner: Option<String>,
    /// Who may what. `PUBLIC` is everyone.
    pub grants: BTreeMap<String, BTreeSet<Grant>>,
    /// Grants on columns, grant options and grants by another than the owner: never desired.
    pub irregular: BTreeSet<String>,
    /// A view runs with the rights of who reads it. True for what is no view.
    pub invoker: bool,
}

/// Everything that Palisade decides in one database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picture {
    /// The users' roles and the groups of Palisade's own, by name.
    pub roles: BTreeMap<String, Role>,
    /// The members of Palisade's groups and of the built-in roles that it gives.
    pub members: BTreeMap<String, BTreeSet<String>>,
    /// Members that may pass their membership on, by group: never desired.
    pub admins: BTreeMap<String, BTreeSet<String>>,
    /// `palisade.users`, by name.
    pub users: BTreeMap<String, UserRow>,
    /// `palisade.acls`.
    pub acls: BTreeMap<AclKey, u32>,
    /// The schemas by object id.
    pub schemas: BTreeMap<u32, Rights>,
    /// The relations by object id.
    pub relations: BTreeMap<u32, Rights>,
}
