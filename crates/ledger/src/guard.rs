//! The guards: changes that would lock every superuser out, or leave no node, are refused, unless the
//! cluster key makes them.

use palisade_hba::{Method, Rule};

use crate::change::Change;
use crate::name::Uid;
use crate::state::State;
use crate::user::User;

/// What a change would have left the cluster without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Guard {
    /// No superuser that may log in.
    #[error("it would leave no enabled superuser; make another one first, or use the cluster key")]
    LastSuperuser,
    /// No rule that lets one in with what he has.
    #[error(
        "it would leave no superuser a way in: no rule matches one with a key or password that he has; \
         add such a rule, or use the cluster key"
    )]
    NoWayIn,
    /// No CA that signs.
    #[error(
        "it is the issuing CA that signs, and without one nobody logs in by a certificate; let another one \
         sign first (palisade ca rotate), or use the cluster key"
    )]
    ActiveCa,
    /// No member node.
    #[error("it would leave no node; add another one first, or use the cluster key")]
    LastNode,
}

/// Whether `change` would take from the superusers of `state` what they had before: somebody who is
/// one, and a rule by which he gets in; or from the cluster its last member node.
#[must_use]
pub fn lockout(state: &State, change: &Change) -> Option<Guard> {
    if let Change::NodeRemove { id } = change {
        let mut members = state.members();
        let last = members.next().is_some_and(|node| node.id == *id) && members.next().is_none();
        return last.then_some(Guard::LastNode);
    }
    let touched = |uid: &Uid| state.user(*uid).is_some_and(|user| user.superuser);
    let relevant = match change {
        Change::UserSet { uid, .. }
        | Change::UserDisabled { uid, .. }
        | Change::UserRemove { uid }
        | Change::UserPassword { uid, .. } => touched(uid),
        Change::UserImport { user } => touched(&user.uid),
        Change::HbaSet { .. } => true,
        // A new key is a way in where the old one was; the rest takes nothing away.
        Change::UserKey { .. }
        | Change::Genesis { .. }
        | Change::UserAdd { .. }
        | Change::AclSet { .. }
        | Change::AclUnset { .. }
        | Change::SettingSet { .. }
        | Change::IssuingCaAdd { .. }
        | Change::IssuingCaRemove { .. }
        | Change::IssuingCaActivate { .. }
        | Change::CertificateRevoke { .. }
        | Change::CertificateIssued { .. }
        | Change::NodeAdd { .. }
        | Change::NodeJoin { .. }
        | Change::NodeApprove { .. }
        | Change::NodeRemove { .. }
        | Change::NodeRotate { .. }
        | Change::NodeSet { .. }
        | Change::TokenCreate { .. }
        | Change::TokenRevoke { .. }
        | Change::SecretSet { .. }
        | Change::StoreSet { .. }
        | Change::AlertAdd { .. }
        | Change::AlertRemove { .. } => false,
    };
    if !relevant {
        return None;
    }
    let before = missing(state);
    let mut after = state.clone();
    after.change(change, state.head().seq.saturating_add(1), state.time());
    match (before, missing(&after)) {
        (None, lacking) => lacking,
        (Some(Guard::NoWayIn), Some(Guard::LastSuperuser)) => Some(Guard::LastSuperuser),
        (Some(_), _) => None,
    }
}

/// What the superusers of `state` lack.
fn missing(state: &State) -> Option<Guard> {
    let mut superusers = state
        .users()
        .filter(|user| user.superuser && user.may_log_in())
        .peekable();
    if superusers.peek().is_none() {
        return Some(Guard::LastSuperuser);
    }
    let open = superusers.any(|user| {
        let name = user.name.as_str();
        state
            .hba()
            .way_in(state.database(), name, &|role| role == name, &|rule| {
                usable(user, rule)
            })
            .is_some()
    });
    (!open).then_some(Guard::NoWayIn)
}

/// Whether this user has what the rule asks for. Anyone can be issued a certificate.
fn usable(user: &User, rule: &Rule) -> bool {
    match rule.method {
        Method::Reject => false,
        Method::Trust | Method::Cert => true,
        Method::ScramSha256 => user.password.is_some(),
        Method::Key => user.public_key.is_some(),
        Method::Auto => user.public_key.is_some() || user.password.is_some(),
    }
}
