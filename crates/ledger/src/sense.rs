//! Whether a change means something in the state just before it, whoever its author is.

mod fleet;

use palisade_hba::Rules;
use palisade_keys::PublicKey;

use crate::change::{Change, Setting};
use crate::entry::{Author, Entry, Hash};
use crate::limits;
use crate::name::{Uid, UserName};
use crate::node::StoreConfig;
use crate::privileges::Privileges;
use crate::state::{State, trim};
use crate::verify::Refusal;

/// Whether the entry's change means something in this state.
pub(crate) fn check(state: &State, entry: &Entry) -> Result<(), Refusal> {
    let change = &entry.change;
    match change {
        Change::Genesis { .. } => Err(Refusal::Genesis),
        Change::UserAdd { user } => {
            new_user(state, user.uid, &user.name)?;
            free_key(state, user.uid, user.public_key)
        }
        Change::UserImport { user } => {
            match state.user(user.uid) {
                Some(known) if known.name == user.name => {}
                Some(_) => return Err(Refusal::UidTaken(user.uid)),
                None => new_user(state, user.uid, &user.name)?,
            }
            free_key(state, user.uid, Some(user.public_key))
        }
        Change::UserSet {
            uid,
            superuser,
            default_privileges,
        } => {
            exists(state, *uid)?;
            if superuser.is_none() && default_privileges.is_none() {
                return Err(Refusal::Nothing(
                    "neither superuser nor privileges are given",
                ));
            }
            Ok(())
        }
        Change::UserDisabled { uid, .. }
        | Change::UserRemove { uid }
        | Change::UserPassword { uid, .. } => exists(state, *uid),
        Change::UserKey { uid, public_key } => {
            exists(state, *uid)?;
            free_key(state, *uid, Some(*public_key))
        }
        Change::AclSet {
            uid, privileges, ..
        } => {
            exists(state, *uid)?;
            let strange = privileges.without(Privileges::ON_OBJECTS);
            if strange.is_empty() {
                Ok(())
            } else {
                Err(Refusal::NotOnObjects(strange))
            }
        }
        Change::AclUnset { object, uid } => match state.acl(object, *uid) {
            Some(_) => Ok(()),
            None => Err(Refusal::NoAcl(object.clone())),
        },
        Change::HbaSet { text } => match Rules::parse(text) {
            Ok(_) => Ok(()),
            Err(error) => Err(Refusal::Hba(error.to_string())),
        },
        Change::SettingSet { setting } => check_setting(*setting),
        Change::IssuingCaAdd { certificate } => {
            let size = certificate.len();
            bound("a certificate", size, limits::MAX_CERTIFICATE_BYTES)?;
            if state.issuing_cas().any(|der| der == certificate) {
                return Err(Refusal::Nothing("this CA is there already"));
            }
            if state.was_ca_removed(&Hash::of(certificate)) {
                return Err(Refusal::CaRemoved);
            }
            let count = state.issuing_cas().len() + 1;
            bound("the list of issuing CAs", count, limits::MAX_ISSUING_CAS)
        }
        Change::IssuingCaRemove { certificate } => is_ca(state, certificate)
            .then_some(())
            .ok_or(Refusal::Nothing("there is no such CA")),
        Change::IssuingCaActivate { certificate } => {
            if !is_ca(state, certificate) {
                return Err(Refusal::Nothing("there is no such CA"));
            }
            if state.fleet.active_ca == Some(*certificate) {
                return Err(Refusal::Nothing("this CA signs already"));
            }
            Ok(())
        }
        Change::CertificateRevoke { serial, reason } => {
            check_serial(serial)?;
            if state.is_revoked(serial) {
                return Err(Refusal::Nothing("this certificate is revoked already"));
            }
            comment("a reason", reason)
        }
        Change::NodeAdd { .. }
        | Change::NodeJoin { .. }
        | Change::NodeApprove { .. }
        | Change::NodeRemove { .. }
        | Change::NodeRotate { .. }
        | Change::NodeSet { .. }
        | Change::TokenCreate { .. }
        | Change::TokenRevoke { .. }
        | Change::SecretSet { .. }
        | Change::StoreSet { .. }
        | Change::CertificateIssued { .. }
        | Change::AlertAdd { .. }
        | Change::AlertRemove { .. } => fleet::check(state, entry),
    }
}

/// Whether a change that is sound says anything new. Asked of what those say of themselves whom nobody
/// gave a privilege, and of nodes that come before the ledger is shared.
pub(crate) fn check_news(state: &State, entry: &Entry) -> Result<(), Refusal> {
    let nothing = |same: bool, what| {
        let nothing = same.then_some(Refusal::Nothing(what));
        nothing.map_or(Ok(()), Err)
    };
    match &entry.change {
        Change::UserKey { uid, public_key } => {
            let key = state.user(*uid).and_then(|user| user.public_key);
            nothing(key == Some(*public_key), "this is the user's key already")
        }
        Change::UserPassword { uid, verifier } => {
            let password = state.user(*uid).map(|user| &user.password);
            nothing(password == Some(verifier), "the password is so already")
        }
        Change::NodeSet {
            id,
            address,
            hosts,
            store,
        } => {
            let same = state.node(*id).is_some_and(|node| {
                address.as_ref().is_none_or(|new| *new == node.address)
                    && hosts.as_ref().is_none_or(|new| *new == node.hosts)
                    && (store.is_none() || *store == node.store)
            });
            nothing(same, "the node is called so already")
        }
        Change::NodeAdd { .. } | Change::NodeJoin { .. } => {
            // While nobody said where the ledger is kept, the nodes' own configuration may.
            let said = state.store_entry() > 0 || matches!(entry.author, Author::User(_));
            let second = state.nodes().len() > 0 && *state.store() == StoreConfig::Embedded;
            (said && second)
                .then_some(Refusal::NotShared)
                .map_or(Ok(()), Err)
        }
        Change::Genesis { .. }
        | Change::UserAdd { .. }
        | Change::UserSet { .. }
        | Change::UserDisabled { .. }
        | Change::UserRemove { .. }
        | Change::UserImport { .. }
        | Change::AclSet { .. }
        | Change::AclUnset { .. }
        | Change::HbaSet { .. }
        | Change::SettingSet { .. }
        | Change::IssuingCaAdd { .. }
        | Change::IssuingCaRemove { .. }
        | Change::IssuingCaActivate { .. }
        | Change::CertificateRevoke { .. }
        | Change::CertificateIssued { .. }
        | Change::NodeApprove { .. }
        | Change::NodeRemove { .. }
        | Change::NodeRotate { .. }
        | Change::TokenCreate { .. }
        | Change::TokenRevoke { .. }
        | Change::SecretSet { .. }
        | Change::StoreSet { .. }
        | Change::AlertAdd { .. }
        | Change::AlertRemove { .. } => Ok(()),
    }
}

fn is_ca(state: &State, certificate: &Hash) -> bool {
    state.issuing_cas().any(|der| Hash::of(der) == *certificate)
}

fn check_serial(serial: &[u8]) -> Result<(), Refusal> {
    bound("a serial number", serial.len(), limits::MAX_SERIAL_BYTES)?;
    if trim(serial).len() == serial.len() {
        return Ok(());
    }
    Err(Refusal::Bounds {
        what: "a serial number",
        bounds: "no leading zero bytes".to_owned(),
    })
}

/// Who has a key is told by it: it has one owner. Nobody proves the key that he is given here, so a user
/// who took another's public key would be taken for him, or he for the user.
fn free_key(state: &State, uid: Uid, key: Option<PublicKey>) -> Result<(), Refusal> {
    let Some(key) = key else { return Ok(()) };
    let owner = state.user_by_key(&key);
    if owner.is_some_and(|owner| owner.uid != uid)
        || state.node_by_key(&key).is_some()
        || key == *state.cluster_key()
    {
        return Err(Refusal::KeyTaken(key));
    }
    Ok(())
}

fn check_setting(setting: Setting) -> Result<(), Refusal> {
    let (what, value, highest) = match setting {
        Setting::ServerCertificateDays(days) => ("server_certificate_days", days, 397),
        Setting::UserCertificateMinutes(n) => ("user_certificate_minutes", n, 10_080),
    };
    if (1..=highest).contains(&value) {
        return Ok(());
    }
    Err(Refusal::Bounds {
        what,
        bounds: format!("a value from 1 to {highest}"),
    })
}

fn exists(state: &State, uid: Uid) -> Result<(), Refusal> {
    state.user(uid).map(|_| ()).ok_or(Refusal::NoUser(uid))
}

fn new_user(state: &State, uid: Uid, name: &UserName) -> Result<(), Refusal> {
    if state.user(uid).is_some() || state.was_removed(uid) {
        return Err(Refusal::UidTaken(uid));
    }
    if state.user_by_name(name.as_str()).is_some() {
        return Err(Refusal::NameTaken(name.clone()));
    }
    bound(
        "the list of users",
        state.users().len() + 1,
        limits::MAX_USERS,
    )
}

/// Text that is shown in logs and on terminals: a control character could change what they show.
pub(crate) fn plain(what: &'static str, text: &str) -> Result<(), Refusal> {
    if text.chars().any(char::is_control) {
        return Err(Refusal::Bounds {
            what,
            bounds: "no control characters".to_owned(),
        });
    }
    Ok(())
}

/// From one to `most` of something.
pub(crate) fn bound(what: &'static str, count: usize, most: usize) -> Result<(), Refusal> {
    if (1..=most).contains(&count) {
        return Ok(());
    }
    Err(Refusal::Bounds {
        what,
        bounds: format!("a length from 1 to {most}"),
    })
}

/// Up to [`limits::MAX_TEXT_BYTES`] of a human's words; may be empty.
fn comment(what: &'static str, text: &str) -> Result<(), Refusal> {
    if text.len() > limits::MAX_TEXT_BYTES {
        let bounds = format!("at most {} bytes", limits::MAX_TEXT_BYTES);
        return Err(Refusal::Bounds { what, bounds });
    }
    plain(what, text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::entry::Head;
    use crate::user::User;

    /// A million entries would take a minute to sign: the users are put in by hand.
    #[test]
    fn the_list_of_users_is_bounded() {
        let key = PublicKey::from_bytes([2; 32]);
        let head = Head {
            seq: 0,
            hash: Hash::ZERO,
        };
        let mut state = State::begin("main".to_owned(), "main".to_owned(), key, head);
        let somebody = Arc::new(User {
            uid: Uid::new(1).unwrap(),
            name: UserName::new("somebody").unwrap(),
            disabled: false,
            superuser: false,
            default_privileges: Privileges::NONE,
            public_key: None,
            password: None,
            changed: 0,
        });
        let most = u32::try_from(limits::MAX_USERS).unwrap();
        for number in 1..most {
            let uid = Uid::new(number).unwrap();
            state.users.insert(uid, Arc::clone(&somebody));
        }
        let (last, name) = (Uid::new(most).unwrap(), UserName::new("new").unwrap());
        assert_eq!(new_user(&state, last, &name), Ok(()));
        state.users.insert(last, somebody);
        let above = Uid::new(most + 1).unwrap();
        assert!(matches!(
            new_user(&state, above, &name),
            Err(Refusal::Bounds { .. })
        ));
    }
}
