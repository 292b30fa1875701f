//! Who may author what. The privilege is looked up in the state just before the entry.
//!
//! ```text
//!   anything                                   the cluster key
//!   add, change, disable, remove a user        user_manage; never more flags than the author holds,
//!                                              unless superuser; only a superuser makes or touches one
//!   own public key or password                 that user
//!   set, unset an object's ACL                 set_acl (on that object)
//!   hba rules, settings, issuing CAs,          system
//!   revocation, nodes, tokens, the cluster     (rules with `trust`: only a superuser)
//!   secret, alerts
//!   where the ledger is kept                   a superuser
//!   join by a token or the secret              the joining node itself, with the secret's signature
//!   rotate own node key                        that node, by its old key
//!   own address, fewer own names               that node; else system
//!   a certificate was issued                   any member node; else system
//! ```
//!
//! A node that waits for approval or was removed authors nothing.

use palisade_hba::{Method, Rules};

use crate::address::NodeAddress;
use crate::change::{Change, NewUser};
use crate::entry::{Author, Entry, Hash};
use crate::guard::Guard;
use crate::name::Uid;
use crate::node::{Node, NodeId, StoreAddress, StoreConfig};
use crate::object::ObjectName;
use crate::privileges::Privileges;
use crate::state::State;
use crate::user::User;
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
    /// This very node, which is none yet.
    Joining(NodeId),
    /// This very node.
    ThisNode(NodeId),
    /// This very node, or a user with this privilege.
    ThisNodeOr(NodeId, Privileges),
    /// A member node, or a user with this privilege.
    MemberOr(Privileges),
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
            | Change::IssuingCaActivate { .. }
            | Change::CertificateRevoke { .. }
            | Change::NodeAdd { .. }
            | Change::NodeApprove { .. }
            | Change::NodeRemove { .. }
            | Change::TokenCreate { .. }
            | Change::TokenRevoke { .. }
            | Change::SecretSet { .. }
            | Change::StoreSet { .. }
            | Change::AlertAdd { .. }
            | Change::AlertRemove { .. } => Self::Privilege(Privileges::SYSTEM),
            Change::NodeJoin { node, .. } => Self::Joining(node.id),
            Change::NodeRotate { id, .. } => Self::ThisNode(*id),
            Change::NodeSet { id, .. } => Self::ThisNodeOr(*id, Privileges::SYSTEM),
            Change::CertificateIssued { .. } => Self::MemberOr(Privileges::SYSTEM),
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
            Self::Joining(id) => write!(f, "to be the joining node {id}"),
            Self::ThisNode(id) => write!(f, "to be node {id}"),
            Self::ThisNodeOr(id, flag) => write!(f, "to be node {id}, or the privilege {flag}"),
            Self::MemberOr(flag) => write!(f, "to be a member node, or the privilege {flag}"),
        }
    }
}

/// Whether `author` may make `change` to `state`.
pub(crate) fn check(state: &State, author: Author, change: &Change) -> Result<(), Refusal> {
    let need = Need::of(change);
    let author = match author {
        // A node that joins signs for itself; the cluster key adds one.
        Author::Cluster if matches!(need, Need::Joining(_)) => return Err(Refusal::Joining),
        Author::Cluster => return Ok(()),
        Author::Node(id) => return check_node(state, id, need, change),
        Author::User(uid) => uid,
    };
    let user = state.user(author).ok_or(Refusal::UnknownAuthor(author))?;
    if !user.may_log_in() {
        return Err(Refusal::AuthorShutOut(user.name.clone()));
    }
    let held = match &need {
        Need::ClusterKey | Need::Joining(_) | Need::ThisNode(_) => false,
        Need::Privilege(flag) | Need::ThisNodeOr(_, flag) | Need::MemberOr(flag) => {
            user.privileges().contains(*flag)
        }
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
        | Change::IssuingCaActivate { .. }
        | Change::CertificateRevoke { .. }
        | Change::CertificateIssued { .. }
        | Change::UserImport { .. }
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
        | Change::AlertRemove { .. } => Ok(()),
    }
}

/// What a node may do on its own authority: join, change its key, say where it is, and say what it
/// issued.
fn check_node(state: &State, author: NodeId, need: Need, change: &Change) -> Result<(), Refusal> {
    if need == Need::Joining(author) {
        return Ok(());
    }
    let node = state.node(author).ok_or(Refusal::UnknownNode(author))?;
    if node.pending {
        return Err(Refusal::NodePending(author));
    }
    let held = match &need {
        Need::ThisNode(id) | Need::ThisNodeOr(id, _) => *id == author,
        Need::MemberOr(_) => true,
        Need::ClusterKey
        | Need::Privilege(_)
        | Need::PrivilegeOn(..)
        | Need::Oneself(_)
        | Need::Joining(_) => false,
    };
    if !held {
        return Err(Refusal::NodeMissing { node: author, need });
    }
    // What nobody holds and nobody asked for would outlive whoever made it up.
    if let Change::CertificateIssued { certificate } = change
        && certificate.holder.is_none()
        && certificate.by.is_none()
    {
        return Err(Refusal::Nothing(
            "a node says who holds a certificate, or who asked for it",
        ));
    }
    if let Change::NodeSet {
        address,
        hosts,
        store,
        ..
    } = change
    {
        let hosts = hosts.iter().flatten().map(String::as_str);
        return own_names(node, address.as_ref(), hosts, store.as_ref());
    }
    Ok(())
}

/// A certificate names a node by its hosts and address. A node that could name itself anew could have
/// a certificate in anybody's name: by itself it may drop names and change ports.
fn own_names<'a>(
    node: &'a Node,
    address: Option<&'a NodeAddress>,
    hosts: impl Iterator<Item = &'a str>,
    store: Option<&'a StoreAddress>,
) -> Result<(), Refusal> {
    let listen = store
        .into_iter()
        .flat_map(|store| [&store.peer, &store.client]);
    let mut named = hosts.chain(address.into_iter().chain(listen).map(NodeAddress::host));
    match named.find(|host| !node.serves_as(host)) {
        None => Ok(()),
        Some(host) => Err(Refusal::NewName {
            node: node.id,
            host: host.to_owned(),
        }),
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

/// Why an entry that may stand in the ledger has no effect, if it has none. A store that takes in a
/// new one refuses it.
pub(crate) fn without_effect(state: &State, entry: &Entry) -> Option<Refusal> {
    if let Change::StoreSet { store } = &entry.change {
        return store_stays(state, entry.author, store);
    }
    if let Change::IssuingCaRemove { certificate } = &entry.change {
        let signs = state.active_ca().map(Hash::of);
        let guarded = signs == Some(*certificate) && entry.author != Author::Cluster;
        return guarded.then_some(Refusal::Guard(Guard::ActiveCa));
    }
    None
}

/// Who moves the ledger can keep every entry from it, or everybody from appending: that takes a
/// superuser. On one node alone it lies only where there is one: others would each go on by
/// themselves, and who is disabled on one would log in on the next.
fn store_stays(state: &State, author: Author, store: &StoreConfig) -> Option<Refusal> {
    if let Author::User(uid) = author
        && let Some(user) = state.user(uid).filter(|user| !user.superuser)
    {
        return Some(Refusal::Store(user.name.clone()));
    }
    let nodes = state.nodes().len();
    (*store == StoreConfig::Embedded && nodes > 1).then_some(Refusal::Shared(nodes))
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
