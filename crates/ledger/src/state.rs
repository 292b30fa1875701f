//! The state that the ledger's entries fold to: a value, changed by verified entries alone.

use std::sync::Arc;

use palisade_hba::Rules;
use palisade_keys::PublicKey;

use crate::authority::{Need, without_effect};
use crate::certificate::CertificateKind;
use crate::change::{Change, ImportedUser, Setting};
use crate::entry::{Author, Entry, Hash, Head, Millis};
use crate::fleet::Fleet;
use crate::map::Map;
use crate::name::{Uid, UserName};
use crate::object::ObjectName;
use crate::privileges::Privileges;
use crate::user::User;
use crate::verify::Verified;

/// The kinds of certificates by which somebody logs in under the common name.
const CLIENTS: [CertificateKind; 3] = [
    CertificateKind::User,
    CertificateKind::Service,
    CertificateKind::Tool,
];

/// A verified entry was offered to a state that is not the one it was verified against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("entry {entry} does not follow this state's head, entry {head}")]
pub struct Stale {
    /// Sequence number of the entry.
    pub entry: u64,
    /// Sequence number of the state's last entry.
    pub head: u64,
}

/// The users' access control lists: for each object, who may do what in place of the defaults.
pub type Acls = Map<ObjectName, Map<Uid, Privileges>>;

/// What the ledger says now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    pub(crate) head: Head,
    pub(crate) time: Millis,
    pub(crate) cluster: String,
    pub(crate) database: String,
    pub(crate) key: PublicKey,
    pub(crate) users: Map<Uid, Arc<User>>,
    pub(crate) names: Map<UserName, Uid>,
    /// The users by their keys.
    pub(crate) user_keys: Map<PublicKey, Uid>,
    pub(crate) removed: Map<Uid, ()>,
    pub(crate) imported: Map<Uid, Arc<ImportedUser>>,
    pub(crate) acls: Acls,
    pub(crate) hba: Arc<Rules>,
    pub(crate) hba_entry: u64,
    pub(crate) server_certificate_days: u16,
    pub(crate) user_certificate_minutes: u16,
    pub(crate) issuing_cas: Vec<Arc<[u8]>>,
    /// The issuing CAs that there were: none comes back.
    pub(crate) removed_cas: Map<Hash, ()>,
    pub(crate) fleet: Fleet,
}

impl State {
    /// The state right after a genesis.
    pub(crate) fn begin(cluster: String, database: String, key: PublicKey, head: Head) -> Self {
        Self {
            head,
            time: Millis(0),
            cluster,
            database,
            key,
            users: Map::default(),
            names: Map::default(),
            user_keys: Map::default(),
            removed: Map::default(),
            imported: Map::default(),
            acls: Map::default(),
            hba: Arc::new(Rules::default_rules()),
            hba_entry: head.seq,
            server_certificate_days: 90,
            user_certificate_minutes: 480,
            issuing_cas: Vec::new(),
            removed_cas: Map::default(),
            fleet: Fleet::default(),
        }
    }

    /// The last entry that this state holds.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// The ledger's time: the next entry's may not be before. It is that of the last entry by the
    /// cluster key, or by a user about more than himself: nodes, and users who manage nothing, of which a
    /// cluster has many, do not move it.
    #[must_use]
    pub fn time(&self) -> Millis {
        self.time
    }

    /// The cluster's name.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The database that the cluster manages.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The cluster's public key.
    #[must_use]
    pub fn cluster_key(&self) -> &PublicKey {
        &self.key
    }

    /// All users, by uid.
    pub fn users(&self) -> impl ExactSizeIterator<Item = &User> {
        self.users.values().map(AsRef::as_ref)
    }

    /// The user of this id.
    #[must_use]
    pub fn user(&self, uid: Uid) -> Option<&User> {
        self.users.get(&uid).map(AsRef::as_ref)
    }

    /// The user of this name.
    #[must_use]
    pub fn user_by_name(&self, name: &str) -> Option<&User> {
        self.names.get(name).and_then(|uid| self.user(*uid))
    }

    /// The user whose key this is now: a key has one owner.
    #[must_use]
    pub fn user_by_key(&self, key: &PublicKey) -> Option<&User> {
        self.user_keys.get(key).and_then(|uid| self.user(*uid))
    }

    /// A uid that was never used, for a user added without one: the one above the highest, or, once
    /// somebody took the highest that there is, the lowest free one.
    #[must_use]
    pub fn next_uid(&self) -> Option<Uid> {
        let used = |set: Option<&Uid>| set.map_or(0, |uid| uid.get());
        let highest = used(self.users.last_key()).max(used(self.removed.last_key()));
        let unused = |uid: &Uid| !self.users.contains_key(uid) && !self.removed.contains_key(uid);
        let numbers = highest.checked_add(1).into_iter().chain(1..highest);
        numbers
            .filter_map(|number| Uid::new(number).ok())
            .find(unused)
    }

    /// The explicit access control lists.
    #[must_use]
    pub fn acls(&self) -> &Acls {
        &self.acls
    }

    /// What an ACL says of this user on this object, if one names him there.
    #[must_use]
    pub fn acl(&self, object: &ObjectName, uid: Uid) -> Option<Privileges> {
        self.acls.get(object)?.get(&uid).copied()
    }

    /// What a user may do to an object: the explicit ACL in place of the default privileges.
    #[must_use]
    pub fn privileges_on(&self, uid: Uid, object: &ObjectName) -> Privileges {
        let Some(user) = self.user(uid) else {
            return Privileges::NONE;
        };
        let default = user.privileges();
        if user.superuser || !user.may_log_in() {
            return default;
        }
        self.acl(object, uid).map_or(default, Privileges::in_force)
    }

    /// The rules of the front door.
    #[must_use]
    pub fn hba(&self) -> &Rules {
        &self.hba
    }

    /// Sequence number of the entry that set the rules; the genesis's for the default ones.
    #[must_use]
    pub fn hba_entry(&self) -> u64 {
        self.hba_entry
    }

    /// Days that a server's certificate is good for.
    #[must_use]
    pub fn server_certificate_days(&self) -> u16 {
        self.server_certificate_days
    }

    /// Minutes that a user's certificate is good for.
    #[must_use]
    pub fn user_certificate_minutes(&self) -> u16 {
        self.user_certificate_minutes
    }

    /// The certificates of the issuing CAs, in DER.
    pub fn issuing_cas(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.issuing_cas.iter().map(AsRef::as_ref)
    }

    /// Whether the issuing CA whose certificate has this SHA-256 was removed. It never comes back: its
    /// key may be a thief's.
    #[must_use]
    pub fn was_ca_removed(&self, certificate: &Hash) -> bool {
        self.removed_cas.contains_key(certificate)
    }

    /// Whether a user of this id was removed. The id is never given again.
    #[must_use]
    pub fn was_removed(&self, uid: Uid) -> bool {
        self.removed.contains_key(&uid)
    }

    /// What `users.cfg` said of this user when it was last read.
    #[must_use]
    pub fn imported(&self, uid: Uid) -> Option<&ImportedUser> {
        self.imported.get(&uid).map(AsRef::as_ref)
    }

    /// Applies a verified entry. Refused if it was verified against another state.
    pub fn apply(&mut self, verified: &Verified) -> Result<(), Stale> {
        let entry = verified.entry();
        if entry.prev != self.head.hash || Some(entry.seq) != self.head.seq.checked_add(1) {
            return Err(Stale {
                entry: entry.seq,
                head: self.head.seq,
            });
        }
        self.time = self.time_after(entry);
        if without_effect(self, entry).is_none() {
            self.change(&entry.change, entry.seq, self.time);
        }
        self.head = verified.head();
        Ok(())
    }

    /// The ledger's time once it has `entry`. A stolen node could write straight into the store, where
    /// nobody's clock is asked, and set it to the year 9999, by itself or with any user's key: every token
    /// would count as expired, and everything that is past would be forgotten.
    pub(crate) fn time_after(&self, entry: &Entry) -> Millis {
        match entry.author {
            Author::Node(_) => self.time,
            Author::User(_) if matches!(Need::of(&entry.change), Need::Oneself(_)) => self.time,
            Author::Cluster | Author::User(_) => entry.time,
        }
    }

    /// The effect of each kind of change, once it is known to be allowed.
    pub(crate) fn change(&mut self, change: &Change, seq: u64, time: Millis) {
        match change {
            Change::Genesis { .. } => {}
            Change::UserAdd { user } => self.put(User::added(user, seq), time),
            Change::UserImport { user } => self.import(user, seq, time),
            Change::UserSet {
                uid,
                superuser,
                default_privileges,
            } => self.update(*uid, seq, time, |user| {
                user.superuser = superuser.unwrap_or(user.superuser);
                user.default_privileges = default_privileges.unwrap_or(user.default_privileges);
            }),
            Change::UserDisabled { uid, disabled } => {
                self.update(*uid, seq, time, |user| user.disabled = *disabled);
            }
            Change::UserRemove { uid } => self.remove(*uid, time),
            Change::UserKey { uid, public_key } => {
                self.update(*uid, seq, time, |user| user.public_key = Some(*public_key));
            }
            Change::UserPassword { uid, verifier } => {
                self.update(*uid, seq, time, |user| user.password.clone_from(verifier));
            }
            Change::AclSet {
                object,
                uid,
                privileges,
            } => {
                self.set_acl(object, *uid, *privileges);
                self.update(*uid, seq, time, |_| {});
            }
            Change::AclUnset { object, uid } => {
                self.unset_acl(object, *uid);
                self.update(*uid, seq, time, |_| {});
            }
            Change::HbaSet { text } => {
                if let Ok(rules) = Rules::parse(text) {
                    self.hba = Arc::new(rules);
                    self.hba_entry = seq;
                }
            }
            Change::SettingSet { setting } => match setting {
                Setting::ServerCertificateDays(days) => self.server_certificate_days = *days,
                Setting::UserCertificateMinutes(n) => self.user_certificate_minutes = *n,
            },
            Change::IssuingCaAdd { certificate } => {
                self.issuing_cas.push(certificate.as_slice().into());
            }
            Change::IssuingCaRemove { certificate } => {
                self.issuing_cas.retain(|der| Hash::of(der) != *certificate);
                self.removed_cas.insert(*certificate, ());
            }
            Change::CertificateRevoke { serial, reason } => {
                self.fleet.revoke(serial, time, reason.clone());
            }
            Change::NodeAdd { node } => self.fleet.add(node, false, seq),
            Change::NodeJoin { node, proof, .. } => self.fleet.join(node, *proof, seq),
            Change::NodeApprove { id } => self.fleet.update(*id, seq, |node| node.pending = false),
            Change::NodeRemove { id } => self.fleet.remove(*id, time),
            Change::NodeRotate { id, key, seal, .. } => self.fleet.update(*id, seq, |node| {
                node.key = *key;
                node.seal = *seal;
            }),
            Change::NodeSet {
                id,
                address,
                hosts,
                store,
            } => self.fleet.update(*id, seq, |node| {
                node.address = address.as_ref().unwrap_or(&node.address).clone();
                node.hosts = hosts.as_ref().unwrap_or(&node.hosts).clone();
                node.store = store.as_ref().or(node.store.as_ref()).cloned();
            }),
            Change::TokenCreate { token } => self.fleet.create(token, time),
            Change::TokenRevoke { id } => self.fleet.revoke_token(*id),
            Change::SecretSet { key } => self.fleet.secret = *key,
            Change::StoreSet { store } => {
                self.fleet.store = Arc::new(store.clone());
                self.fleet.store_entry = seq;
            }
            Change::CertificateIssued { certificate } => {
                let cas: Vec<Hash> = self.issuing_cas().map(Hash::of).collect();
                self.fleet.issue(certificate, &cas, time);
            }
            Change::AlertAdd { alert } => {
                let name = alert.name.clone();
                self.fleet.alerts.insert(name, Arc::new(alert.clone()));
            }
            Change::AlertRemove { name } => {
                self.fleet.alerts.remove(name);
            }
            Change::IssuingCaActivate { certificate } => {
                self.fleet.active_ca = Some(*certificate);
            }
        }
    }

    /// Adds a user. A certificate in his name from before he was is not his.
    fn put(&mut self, user: User, now: Millis) {
        let why = "there was no user of this name yet";
        self.fleet.forget(&user.name, &CLIENTS, now, why);
        self.names.insert(user.name.clone(), user.uid);
        if let Some(key) = user.public_key {
            self.user_keys.insert(key, user.uid);
        }
        self.users.insert(user.uid, Arc::new(user));
    }

    fn update(&mut self, uid: Uid, seq: u64, now: Millis, edit: impl FnOnce(&mut User)) {
        if let Some(user) = self.users.get_mut(&uid) {
            let user = Arc::make_mut(user);
            let before = user.public_key;
            edit(user);
            user.changed = seq;
            let after = user.public_key;
            if before != after {
                before.map(|key| self.user_keys.remove(&key));
                after.map(|key| self.user_keys.insert(key, uid));
                let (name, kinds) = (user.name.clone(), [CertificateKind::User]);
                self.fleet
                    .forget(&name, &kinds, now, "the user has another key");
            }
        }
    }

    /// Takes over what the file says now and did not say before. What it said all along may have been
    /// changed in the ledger since, and stands: a user disabled there is not let in again because
    /// his privileges changed in the file.
    fn import(&mut self, read: &ImportedUser, seq: u64, now: Millis) {
        let before = self.imported.insert(read.uid, Arc::new(read.clone()));
        if self.users.contains_key(&read.uid) {
            let before = before.as_deref();
            self.update(read.uid, seq, now, |user| user.take_over(before, read));
            return;
        }
        self.put(
            User {
                uid: read.uid,
                name: read.name.clone(),
                disabled: read.disabled,
                superuser: read.superuser,
                default_privileges: read.default_privileges,
                public_key: Some(read.public_key),
                password: None,
                changed: seq,
            },
            now,
        );
    }

    fn remove(&mut self, uid: Uid, now: Millis) {
        if let Some(user) = self.users.remove(&uid) {
            let why = "the user was removed";
            self.fleet.forget(&user.name, &CLIENTS, now, why);
            self.names.remove(&user.name);
            user.public_key.map(|key| self.user_keys.remove(&key));
        }
        self.removed.insert(uid, ());
        self.imported.remove(&uid);
        let named = self.acls.iter().filter(|(_, acl)| acl.contains_key(&uid));
        let objects: Vec<ObjectName> = named.map(|(object, _)| object.clone()).collect();
        for object in objects {
            self.unset_acl(&object, uid);
        }
    }

    fn set_acl(&mut self, object: &ObjectName, uid: Uid, privileges: Privileges) {
        if let Some(acl) = self.acls.get_mut(object) {
            acl.insert(uid, privileges);
            return;
        }
        let mut acl = Map::default();
        acl.insert(uid, privileges);
        self.acls.insert(object.clone(), acl);
    }

    fn unset_acl(&mut self, object: &ObjectName, uid: Uid) {
        if let Some(acl) = self.acls.get_mut(object) {
            acl.remove(&uid);
            if acl.is_empty() {
                self.acls.remove(object);
            }
        }
    }
}

/// A serial number without leading zeros, so that each number has one form.
pub(crate) fn trim(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    serial.get(zeros..).unwrap_or_default()
}
