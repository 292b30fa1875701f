//! The kinds of change. Each has a number that is never reused; a number that is not here is refused.
//!
//! To add a kind: a variant with the next number, its row in `authority.rs`, its effect in
//! `state.rs`, a place in `tests/common`, its golden bytes (`tests/golden.rs`), a row in the table of
//! `tests/authority.rs`, a line in `docs/ledger.md`, and the same in `tests/verify.py`.

use minicbor::{Decode, Encode};
use palisade_keys::{PublicKey, ScramVerifier};
use serde::Serialize;

use crate::codec;
use crate::name::{Uid, UserName};
use crate::object::ObjectName;
use crate::privileges::Privileges;
use crate::show;

/// A user as first written down.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct NewUser {
    /// The id; never used before.
    #[n(0)]
    pub uid: Uid,
    /// The name; not in use.
    #[n(1)]
    pub name: UserName,
    /// Not allowed to log in.
    #[n(2)]
    pub disabled: bool,
    /// Has every privilege on every object.
    #[n(3)]
    pub superuser: bool,
    /// What holds where no ACL names the user.
    #[n(4)]
    pub default_privileges: Privileges,
    /// The key that logs in and signs for the user.
    #[cbor(n(5), with = "codec::public_key", has_nil)]
    #[serde(serialize_with = "show::show_key")]
    pub public_key: Option<PublicKey>,
    /// What checks the user's password.
    #[cbor(n(6), with = "codec::verifier", has_nil)]
    #[serde(serialize_with = "show::hide_verifier")]
    pub password: Option<ScramVerifier>,
}

/// A user as `users.cfg` tells it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct ImportedUser {
    /// The id.
    #[n(0)]
    pub uid: Uid,
    /// The name.
    #[n(1)]
    pub name: UserName,
    /// Not allowed to log in.
    #[n(2)]
    pub disabled: bool,
    /// Has every privilege on every object.
    #[n(3)]
    pub superuser: bool,
    /// What holds where no ACL names the user.
    #[n(4)]
    pub default_privileges: Privileges,
    /// The key that logs in and signs for the user.
    #[cbor(n(5), with = "codec::one_key")]
    #[serde(serialize_with = "show::show_one_key")]
    pub public_key: PublicKey,
}

/// A setting of the whole cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// Days that a server's certificate is good for: 1 to 397.
    #[n(0)]
    ServerCertificateDays(#[n(0)] u16),
    /// Minutes that a user's certificate by the cluster's CA is good for: 1 to 10,080 (a week).
    #[n(1)]
    UserCertificateMinutes(#[n(0)] u16),
}

/// One change.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Change {
    /// The first entry: the cluster's name, its database, and the key that is its root of trust.
    #[n(0)]
    Genesis {
        /// What the cluster is called.
        #[n(0)]
        cluster: String,
        /// The database that it manages.
        #[n(1)]
        database: String,
        /// The cluster's public key.
        #[cbor(n(2), with = "codec::one_key")]
        #[serde(serialize_with = "show::show_one_key")]
        key: PublicKey,
    },
    /// A new user.
    #[n(1)]
    UserAdd {
        /// The user.
        #[n(0)]
        user: NewUser,
    },
    /// Other rights for a user. What is left out stays.
    #[n(2)]
    UserSet {
        /// Whose.
        #[n(0)]
        uid: Uid,
        /// Superuser from now on, or no more.
        #[n(1)]
        superuser: Option<bool>,
        /// The new default privileges.
        #[n(2)]
        default_privileges: Option<Privileges>,
    },
    /// A user may no longer log in, or may again.
    #[n(3)]
    UserDisabled {
        /// Who.
        #[n(0)]
        uid: Uid,
        /// True to shut out.
        #[n(1)]
        disabled: bool,
    },
    /// A user is gone, with every ACL that names him. The uid is never given again.
    #[n(4)]
    UserRemove {
        /// Who.
        #[n(0)]
        uid: Uid,
    },
    /// A user's new key, in place of the old.
    #[n(5)]
    UserKey {
        /// Whose.
        #[n(0)]
        uid: Uid,
        /// The key.
        #[cbor(n(1), with = "codec::one_key")]
        #[serde(serialize_with = "show::show_one_key")]
        public_key: PublicKey,
    },
    /// A user's new password, or none from now on.
    #[n(6)]
    UserPassword {
        /// Whose.
        #[n(0)]
        uid: Uid,
        /// What checks it.
        #[cbor(n(1), with = "codec::verifier", has_nil)]
        #[serde(serialize_with = "show::hide_verifier")]
        verifier: Option<ScramVerifier>,
    },
    /// What a user may do to one object, in place of the default privileges.
    #[n(7)]
    AclSet {
        /// The object.
        #[n(0)]
        object: ObjectName,
        /// Who.
        #[n(1)]
        uid: Uid,
        /// The whole of what is allowed there.
        #[n(2)]
        privileges: Privileges,
    },
    /// A user's default privileges hold for an object again.
    #[n(8)]
    AclUnset {
        /// The object.
        #[n(0)]
        object: ObjectName,
        /// Who.
        #[n(1)]
        uid: Uid,
    },
    /// The rules of the front door, in the language of `pg_hba.conf`.
    #[n(9)]
    HbaSet {
        /// The whole text.
        #[n(0)]
        text: String,
    },
    /// A setting of the cluster.
    #[n(10)]
    SettingSet {
        /// Which, and its value.
        #[n(0)]
        setting: Setting,
    },
    /// An issuing CA, certified by the cluster key.
    #[n(11)]
    IssuingCaAdd {
        /// Its certificate, in DER.
        #[cbor(n(0), with = "minicbor::bytes")]
        #[serde(serialize_with = "show::show_bytes")]
        certificate: Vec<u8>,
    },
    /// An issuing CA is no longer one.
    #[n(12)]
    IssuingCaRemove {
        /// SHA-256 over its certificate.
        #[n(0)]
        certificate: crate::Hash,
    },
    /// A certificate holds no more.
    #[n(13)]
    CertificateRevoke {
        /// Its serial number: up to 20 bytes, big-endian.
        #[cbor(n(0), with = "minicbor::bytes")]
        #[serde(serialize_with = "show::show_bytes")]
        serial: Vec<u8>,
        /// Why.
        #[n(1)]
        reason: String,
    },
    /// A user as `users.cfg` tells it, appended under the cluster key's name.
    #[n(14)]
    UserImport {
        /// The user.
        #[n(0)]
        user: ImportedUser,
    },
}
