//! Who may author what. The privilege is looked up in the state just before the entry.
//!
//! ```text
//!   anything                                   the cluster key
//!   add, change, disable, remove a user        user_manage; never more flags than the author holds,
//!                                              unless superuser; only a superuser makes or touches one
//!   own public key or password                 that user
//!   set, unset an object's ACL                 set_acl (on that object)
//!   hba rules, settings, issuing CAs,          system
//!   revocation                               (rules with `trust`: only a superuser)
//! ```

use palisade_hba::{Method, Rules};

use crate::change::{Change, NewUser};
use crate::entry::Author;
use crate::name::Uid;
use crate::object::ObjectName;
use crate::privileges::Privileges;
use crate::state::{State, User};
use crate::verify::Refusal;

/// What a change needs its author to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// The cluster key itself.
    ClusterKey,
    /// A user with this privilege.
    Privilege(Privileges),
    /// A user with this privilege on this object.
    PrivilegeOn(Privileges, ObjectName),
    /// This very user.
    Oneself(Uid),
}

impl Need {
    /// What `change` needs.
    #[must_use]
    pub fn of(change: &Change) -> Self {
        match change {
            Change::Genesis { .. } | Change::UserImport { .. } => Self::ClusterKey,
            Change::UserAdd { .. }
            | Change::UserSet { .. }
            | Change::UserDisabled { .. }
            | Change::UserRemove { .. } => Self::Privilege(Privileges::USER_MANAGE),
            Change::UserKey { uid, .. } | Change::UserPassword { uid, .. } => Self::Oneself(*uid),
            Change::AclSet { object, .. } | Change::AclUnset { object, .. } => {
                Self::PrivilegeOn(Privileges::SET_ACL, object.clone())
            }
            Change::HbaSet { .. }
            | Change::SettingSet { .. }
            | Change::IssuingCaAdd { .. }
            | Change::IssuingCaRemove { .. }
            | Change::CertificateRevoke { .. } => Self::Privilege(Privileges::SYSTEM),
        }
    }
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ClusterKey => f.write_str("the cluster key"),
            Self::Privilege(flag) => write!(f, "the privilege {flag}"),
            Self::PrivilegeOn(flag, object) => write!(f, "the privilege {flag} on {object}"),
            Self::Oneself(uid) => write!(f, "to be the user with uid {uid}"),
        }
    }
}

/// Whether `author` may make `change` to `state`.
pub(crate) fn check(state: &State, author: Author, change: &Change) -> Result<(), Refusal> {
    let need = Need::of(change);
    let Author::User(author) = author else {
        return Ok(());
    };
    let user = state.user(author).ok_or(Refusal::UnknownAuthor(author))?;
    if !user.may_log_in() {
        return Err(Refusal::AuthorShutOut(user.name.clone()));
    }
    let held = match &need {
        Need::ClusterKey => false,
        Need::Privilege(flag) => user.privileges().contains(*flag),
        Need::PrivilegeOn(flag, object) => state.privileges_on(author, object).contains(*flag),
        Need::Oneself(uid) => author == *uid,
    };
    if !held {
        return Err(Refusal::Missing {
            author: user.name.clone(),
            need,
        });
    }
    if user.superuser {
        return Ok(());
    }
    match change {
        Change::UserAdd { user: new } => within(user, &profile(new)),
        Change::UserSet {
            uid,
            superuser,
            default_privileges,
        } => {
            within(user, &standing(state, *uid))?;
            let profile = Profile {
                superuser: superuser.unwrap_or(false),
                privileges: default_privileges.unwrap_or(Privileges::NONE),
            };
            within(user, &profile)
        }
        Change::UserDisabled { uid, .. } | Change::UserRemove { uid } => {
            within(user, &standing(state, *uid))
        }
        Change::HbaSet { text } => without_trust(user, text),
        Change::Genesis { .. }
        | Change::UserKey { .. }
        | Change::UserPassword { .. }
        | Change::AclSet { .. }
        | Change::AclUnset { .. }
        | Change::SettingSet { .. }
        | Change::IssuingCaAdd { .. }
        | Change::IssuingCaRemove { .. }
        | Change::CertificateRevoke { .. }
        | Change::UserImport { .. } => Ok(()),
    }
}

/// A rule with `trust` would let its author in as anybody, a superuser included: only a superuser
/// may write one. A text that can't be read is refused later, for everybody.
fn without_trust(author: &User, text: &str) -> Result<(), Refusal> {
    let trusts = |rules: &Rules| rules.iter().any(|rule| rule.method == Method::Trust);
    if Rules::parse(text).is_ok_and(|rules| trusts(&rules)) {
        return Err(Refusal::Trust(author.name.clone()));
    }
    Ok(())
}

/// How much a user is or would be allowed.
struct Profile {
    superuser: bool,
    privileges: Privileges,
}

fn profile(user: &NewUser) -> Profile {
    Profile {
        superuser: user.superuser,
        privileges: user.default_privileges,
    }
}

fn standing(state: &State, uid: Uid) -> Profile {
    state.user(uid).map_or(
        Profile {
            superuser: false,
            privileges: Privileges::NONE,
        },
        |user| Profile {
            superuser: user.superuser,
            privileges: user.default_privileges,
        },
    )
}

/// "Never more flags than the author holds, unless superuser; only a superuser makes a superuser."
/// `denied` takes away and so may be given by anyone who manages users.
fn within(author: &User, profile: &Profile) -> Result<(), Refusal> {
    if profile.superuser {
        return Err(Refusal::SuperuserNeeded(author.name.clone()));
    }
    let allowed = author.privileges() | Privileges::DENIED;
    let excess = profile.privileges.without(allowed);
    if excess.is_empty() {
        Ok(())
    } else {
        Err(Refusal::Exceeds {
            author: author.name.clone(),
            excess,
        })
    }
}
