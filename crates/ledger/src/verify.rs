//! Verification: the one way from bytes to a change of the state.

use palisade_hba::Rules;
use palisade_keys::PublicKey;

use crate::authority::{self, Need};
use crate::change::{Change, Setting};
use crate::codec::{self, DecodeError};
use crate::entry::{Author, Entry, Hash, Head, Millis};
use crate::guard::{Guard, lockout};
use crate::limits;
use crate::name::{Uid, UserName};
use crate::object::ObjectName;
use crate::privileges::Privileges;
use crate::state::{State, trim};

/// An entry that passed every check, with the bytes that were signed. [`verify`] alone makes one;
/// it can be applied to the very state that it was verified against.
#[must_use]
#[derive(Debug)]
pub struct Verified {
    entry: Entry,
    bytes: Vec<u8>,
    hash: Hash,
}

impl Verified {
    /// The entry.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The signed bytes: what is stored.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether its time lies further ahead of `now` than [`limits::MAX_AHEAD_MILLIS`]. A store that
    /// takes in a new entry refuses it then; one that reads an old entry back does not ask.
    #[must_use]
    pub fn is_ahead_of(&self, now: Millis) -> bool {
        self.entry.time.0 > now.0.saturating_add(limits::MAX_AHEAD_MILLIS)
    }

    /// The head of the chain that ends with this entry.
    #[must_use]
    pub fn head(&self) -> Head {
        Head {
            seq: self.entry.seq,
            hash: self.hash,
        }
    }
}

/// Why an entry is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are no entry.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It does not come next. Whoever made it read an older head: read again and sign again.
    #[error(
        "entry {seq} does not follow the ledger's head, entry {head}; read the head and sign again"
    )]
    NotNext {
        /// The number that it claims.
        seq: u64,
        /// The head's number.
        head: u64,
    },
    /// It has the right number, but another entry before it: a fork.
    #[error("entry {seq} continues another chain: the entry before it has another hash")]
    OtherChain {
        /// The number that it claims.
        seq: u64,
    },
    /// Its time lies before the entry before it: whoever signs takes the later of his clock and
    /// [`State::time`]. (The cluster key may go back, to heal a ledger whose time ran ahead.)
    #[error("its time, {time}, lies before the last entry's, {last}")]
    Time {
        /// Its time.
        time: Millis,
        /// The last entry's.
        last: Millis,
    },
    /// Its author is no user.
    #[error("its author, uid {0}, is not a user")]
    UnknownAuthor(Uid),
    /// Its author has no key.
    #[error("its author, user {0}, has no key to sign with")]
    NoKey(UserName),
    /// Its author may not log in, and so may not sign.
    #[error("its author, user {0}, is disabled or denied")]
    AuthorShutOut(UserName),
    /// The signature is not the author's.
    #[error("its signature is not that of {0}")]
    Signature(Author),
    /// The author lacks what the change needs.
    #[error("user {author} may not make this change: it needs {need}")]
    Missing {
        /// Who tried.
        author: UserName,
        /// What was missing.
        need: Need,
    },
    /// The author would give or take more than he holds.
    #[error("user {author} may not manage a user with {excess}, which {author} does not have")]
    Exceeds {
        /// Who tried.
        author: UserName,
        /// The flags beyond his own.
        excess: Privileges,
    },
    /// Superusers are managed by superusers.
    #[error("user {0} may not manage a superuser: only a superuser may")]
    SuperuserNeeded(UserName),
    /// `trust` lets anybody in as anybody.
    #[error(
        "user {0} may not set rules with the method trust, by which anybody logs in as anybody: only a superuser may"
    )]
    Trust(UserName),
    /// It would lock everybody out.
    #[error("refused: {0}")]
    Guard(Guard),
    /// A second genesis, or a first entry that is none.
    #[error("a genesis is the first entry, and the first entry alone")]
    Genesis,
    /// The uid is in use, or was.
    #[error("uid {0} is in use or was used before; uids are never given twice")]
    UidTaken(Uid),
    /// The name is in use.
    #[error("there is already a user {0}")]
    NameTaken(UserName),
    /// No such user.
    #[error("there is no user with uid {0}")]
    NoUser(Uid),
    /// There is no such list to unset.
    #[error("no ACL on {0} names that user")]
    NoAcl(ObjectName),
    /// The flags don't act on objects.
    #[error("{0} can't stand in an ACL: an ACL holds {objects}", objects = Privileges::ON_OBJECTS)]
    NotOnObjects(Privileges),
    /// The rules can't be read.
    #[error("the rules are refused: {0}")]
    Hba(String),
    /// A value is out of its bounds.
    #[error("{what} must have {bounds}")]
    Bounds {
        /// What.
        what: &'static str,
        /// Its bounds.
        bounds: String,
    },
    /// Nothing would change.
    #[error("nothing would change: {0}")]
    Nothing(&'static str),
}

/// Decodes an entry without verifying anything but its form. For tools that show entries.
pub fn decode(bytes: &[u8]) -> Result<Entry, DecodeError> {
    codec::open(bytes).map(|envelope| envelope.entry)
}

/// Verifies a chain's first entry: a genesis, signed by the cluster key `expected`, which it names.
/// Gives the state that it begins.
pub fn verify_genesis(bytes: &[u8], expected: &PublicKey) -> Result<(State, Verified), Refusal> {
    let envelope = codec::open(bytes)?;
    let entry = &envelope.entry;
    let Change::Genesis {
        cluster,
        database,
        key,
    } = &entry.change
    else {
        return Err(Refusal::Genesis);
    };
    if entry.seq != 0 || entry.prev != Hash::ZERO || entry.author != Author::Cluster {
        return Err(Refusal::Genesis);
    }
    let signed = expected.verify(&envelope.to_be_signed(), &envelope.signature);
    if key != expected || signed.is_err() {
        return Err(Refusal::Signature(Author::Cluster));
    }
    bound("a cluster's name", cluster.len(), limits::MAX_TEXT_BYTES)?;
    plain("a cluster's name", cluster)?;
    bound(
        "a database's name",
        database.len(),
        limits::MAX_IDENTIFIER_BYTES,
    )?;
    plain("a database's name", database)?;
    check_time(entry.time)?;
    let verified = seal(bytes, envelope.entry.clone());
    let mut state = State::begin(cluster.clone(), database.clone(), *key, verified.head());
    state.time = entry.time;
    Ok((state, verified))
}

/// Verifies one entry against the state just before it: form, chain, signature, authority, sense
/// and guards.
pub fn verify(state: &State, bytes: &[u8]) -> Result<Verified, Refusal> {
    let envelope = codec::open(bytes)?;
    let entry = &envelope.entry;
    check_chain(state, entry)?;
    let key = author_key(state, entry.author)?;
    key.verify(&envelope.to_be_signed(), &envelope.signature)
        .map_err(|_| Refusal::Signature(entry.author))?;
    authority::check(state, entry.author, &entry.change)?;
    check_sense(state, &entry.change)?;
    if entry.author != Author::Cluster
        && let Some(guard) = lockout(state, &entry.change)
    {
        return Err(Refusal::Guard(guard));
    }
    Ok(seal(bytes, envelope.entry))
}

fn seal(bytes: &[u8], entry: Entry) -> Verified {
    Verified {
        entry,
        bytes: bytes.to_vec(),
        hash: Hash::of(bytes),
    }
}

fn check_chain(state: &State, entry: &Entry) -> Result<(), Refusal> {
    let head = state.head();
    if Some(entry.seq) != head.seq.checked_add(1) {
        return Err(Refusal::NotNext {
            seq: entry.seq,
            head: head.seq,
        });
    }
    if entry.prev != head.hash {
        return Err(Refusal::OtherChain { seq: entry.seq });
    }
    check_time(entry.time)?;
    if entry.time < state.time() && entry.author != Author::Cluster {
        return Err(Refusal::Time {
            time: entry.time,
            last: state.time(),
        });
    }
    Ok(())
}

fn author_key(state: &State, author: Author) -> Result<PublicKey, Refusal> {
    match author {
        Author::Cluster => Ok(*state.cluster_key()),
        Author::User(uid) => {
            let user = state.user(uid).ok_or(Refusal::UnknownAuthor(uid))?;
            user.public_key
                .ok_or_else(|| Refusal::NoKey(user.name.clone()))
        }
    }
}

/// Whether the change means something in this state.
fn check_sense(state: &State, change: &Change) -> Result<(), Refusal> {
    match change {
        Change::Genesis { .. } => Err(Refusal::Genesis),
        Change::UserAdd { user } => new_user(state, user.uid, &user.name),
        Change::UserImport { user } => match state.user(user.uid) {
            Some(known) if known.name == user.name => Ok(()),
            Some(_) => Err(Refusal::UidTaken(user.uid)),
            None => new_user(state, user.uid, &user.name),
        },
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
        | Change::UserKey { uid, .. }
        | Change::UserPassword { uid, .. } => exists(state, *uid),
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
            let count = state.issuing_cas().len() + 1;
            bound("the list of issuing CAs", count, limits::MAX_ISSUING_CAS)
        }
        Change::IssuingCaRemove { certificate } => {
            let known = state.issuing_cas().any(|der| Hash::of(der) == *certificate);
            known
                .then_some(())
                .ok_or(Refusal::Nothing("there is no such CA"))
        }
        Change::CertificateRevoke { serial, reason } => {
            bound("a serial number", serial.len(), limits::MAX_SERIAL_BYTES)?;
            if trim(serial).len() != serial.len() || serial.is_empty() {
                return Err(Refusal::Bounds {
                    what: "a serial number",
                    bounds: "no leading zero bytes".to_owned(),
                });
            }
            if state.is_revoked(serial) {
                return Err(Refusal::Nothing("this certificate is revoked already"));
            }
            bound("a reason", reason.len() + 1, limits::MAX_TEXT_BYTES + 1)?;
            plain("a reason", reason)
        }
    }
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
    if state.user(uid).is_some() || state.removed.contains(&uid) {
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

fn check_time(time: Millis) -> Result<(), Refusal> {
    if time.0 <= limits::MAX_TIME_MILLIS {
        return Ok(());
    }
    Err(Refusal::Bounds {
        what: "a time",
        bounds: "a year up to 9999".to_owned(),
    })
}

/// Text that is shown in logs and on terminals: a control character could change what they show.
fn plain(what: &'static str, text: &str) -> Result<(), Refusal> {
    if text.chars().any(char::is_control) {
        return Err(Refusal::Bounds {
            what,
            bounds: "no control characters".to_owned(),
        });
    }
    Ok(())
}

/// From one to `most` of something.
fn bound(what: &'static str, count: usize, most: usize) -> Result<(), Refusal> {
    if (1..=most).contains(&count) {
        return Ok(());
    }
    Err(Refusal::Bounds {
        what,
        bounds: format!("a length from 1 to {most}"),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::state::User;

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
