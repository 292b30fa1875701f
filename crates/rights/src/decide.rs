//! What a user may do, and the rule that decided. Deny wins; no rule means no.

use std::fmt;

use palisade_ledger::{ObjectName, Privileges, State, Uid, User};

/// The flags that act on data or definitions; an ACL on a schema without any of them shuts it.
pub(crate) const ON_DATA: u32 = 0b11_1111_1110;

/// Why a set of privileges is what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// No user has this id.
    Unknown,
    /// The user is disabled.
    Disabled,
    /// The default privileges have `denied`.
    Denied,
    /// The user is a superuser.
    Superuser,
    /// An ACL gives the user no right on the schema, and so on nothing in it.
    Shut(ObjectName),
    /// The ACL on this object.
    Acl(ObjectName),
    /// No ACL names the user here: the default privileges.
    Default,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("there is no such user"),
            Self::Disabled => f.write_str("the user is disabled"),
            Self::Denied => f.write_str("the user's default privileges have denied"),
            Self::Superuser => f.write_str("the user is a superuser"),
            Self::Shut(schema) => write!(f, "the ACL on schema {schema} shuts the user out of it"),
            Self::Acl(object) => write!(f, "the user's ACL on {object}"),
            Self::Default => f.write_str("the user's default privileges"),
        }
    }
}

/// A user's privileges on an object and the rule that they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// What the user may do; never has `denied`.
    pub privileges: Privileges,
    /// Why.
    pub rule: Rule,
}

/// A user's privileges on one object.
#[must_use]
pub fn effective(state: &State, uid: Uid, object: &ObjectName) -> Effective {
    match state.user(uid) {
        Some(user) => effective_on(state, user, std::slice::from_ref(object)),
        None => Effective {
            privileges: Privileges::NONE,
            rule: Rule::Unknown,
        },
    }
}

/// A user's privileges on an object that follows others: the nearest name's ACL decides.
#[must_use]
pub fn effective_on(state: &State, user: &User, names: &[ObjectName]) -> Effective {
    let none = |rule| Effective {
        privileges: Privileges::NONE,
        rule,
    };
    if user.disabled {
        return none(Rule::Disabled);
    }
    if user.superuser {
        return Effective {
            privileges: Privileges::ALL,
            rule: Rule::Superuser,
        };
    }
    if !user.may_log_in() {
        return none(Rule::Denied);
    }
    for name in names {
        if let Some(schema) = shut_schema(state, user.uid, name) {
            return none(Rule::Shut(schema));
        }
    }
    for name in names {
        if let Some(privileges) = state.acl(name, user.uid) {
            return Effective {
                privileges: privileges.in_force(),
                rule: Rule::Acl(name.clone()),
            };
        }
    }
    Effective {
        privileges: user.default_privileges,
        rule: Rule::Default,
    }
}

/// The schema of a relation, if an ACL shuts the user out of it.
fn shut_schema(state: &State, uid: Uid, object: &ObjectName) -> Option<ObjectName> {
    if matches!(object, ObjectName::Schema { .. }) {
        return None;
    }
    let schema = ObjectName::schema(object.schema_name()).ok()?;
    let privileges = state.acl(&schema, uid)?;
    (!opens(privileges)).then_some(schema)
}

/// Whether an ACL on a schema lets its user into it.
pub(crate) fn opens(privileges: Privileges) -> bool {
    privileges.in_force().bits() & ON_DATA != 0
}

/// A decision with its reason.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether the user may.
    pub allowed: bool,
    /// The rule that decided.
    pub rule: Rule,
    /// What was asked for.
    pub privilege: Privileges,
    /// What of it the user lacks.
    pub missing: Privileges,
    /// On what.
    pub object: ObjectName,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.allowed { "yes" } else { "no" };
        write!(
            f,
            "{word}: {} on {}: {}",
            self.privilege, self.object, self.rule
        )?;
        match (self.allowed, &self.rule) {
            (false, Rule::Acl(_) | Rule::Default) => write!(f, " lacks {}", self.missing),
            _ => Ok(()),
        }
    }
}

/// May this user do this to this object?
///
/// What acts on no object (`system`, `user_manage`, `set_transaction`) is decided by the default privileges.
///
/// To create a relation the right is needed on its schema, and also on its own name where an ACL
/// names the user there: a relation that was dropped is made again only by who may.
pub fn can(state: &State, user: &str, privilege: Privileges, object: &ObjectName) -> Answer {
    let answer = |decided: Effective| Answer {
        allowed: !privilege.is_empty() && decided.privileges.contains(privilege),
        rule: decided.rule,
        privilege,
        missing: privilege.without(decided.privileges),
        object: object.clone(),
    };
    let Some(user) = state.user_by_name(user) else {
        return answer(Effective {
            privileges: Privileges::NONE,
            rule: Rule::Unknown,
        });
    };
    if (privilege & Privileges::ON_OBJECTS).is_empty() {
        // These act on the whole system: no ACL gives or takes them.
        return answer(effective_on(state, user, &[]));
    }
    let own = effective(state, user.uid, object);
    if privilege.contains(Privileges::CREATE)
        && matches!(object, ObjectName::Relation { .. })
        && let Ok(schema) = ObjectName::schema(object.schema_name())
    {
        let above = effective(state, user.uid, &schema);
        let refused = !above.privileges.contains(Privileges::CREATE);
        if refused || !matches!(own.rule, Rule::Acl(_)) {
            // The other flags that were asked for are still the relation's.
            let rest = privilege.without(Privileges::CREATE);
            if own.privileges.contains(rest) {
                let mut decided = answer(above);
                decided.allowed = !refused;
                return decided;
            }
        }
    }
    answer(own)
}
