//! The kinds of change. Each has a number that is never reused; a number that is not here is refused.
//!
//! To add a kind: a variant with the next number, its row in `authority.rs`, its sense in `sense.rs`,
//! its effect in `state.rs`, a place in `tests/common`, its golden bytes (`tests/golden.rs`), a row in the table of
//! `tests/authority.rs`, a line in `docs/ledger.md`, and the same in `tests/verify.py`.

use minicbor::{Decode, Encode};
use palisade_keys::{PublicKey, ScramVerifier};
use serde::Serialize;

use crate::address::NodeAddress;
use crate::alert::NewAlert;
use crate::certificate::Issued;
use crate::codec;
use crate::join::{NewToken, Proof, TokenId};
use crate::name::{Uid, UserName};
use crate::node::{NewNode, NodeId, StoreAddress, StoreConfig};
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
    /// A node that an operator vouches for.
    #[n(15)]
    NodeAdd {
        /// The node.
        #[n(0)]
        node: NewNode,
    },
    /// A node that proves a secret of the cluster, and signs this itself.
    #[n(16)]
    NodeJoin {
        /// The node.
        #[n(0)]
        node: NewNode,
        /// Which secret it proves.
        #[n(1)]
        proof: Proof,
        /// The secret's key over [`crate::join_message`].
        #[cbor(n(2), with = "minicbor::bytes")]
        #[serde(serialize_with = "show::show_bytes")]
        signature: [u8; 64],
    },
    /// A node that waited is a member from now on.
    #[n(17)]
    NodeApprove {
        /// Which.
        #[n(0)]
        id: NodeId,
    },
    /// A node is gone, and the certificates that it holds are revoked. The id is never given again.
    #[n(18)]
    NodeRemove {
        /// Which.
        #[n(0)]
        id: NodeId,
    },
    /// A node's new keys, in place of the old.
    #[n(19)]
    NodeRotate {
        /// Which.
        #[n(0)]
        id: NodeId,
        /// The new key.
        #[cbor(n(1), with = "codec::one_key")]
        #[serde(serialize_with = "show::show_one_key")]
        key: PublicKey,
        /// The new X25519 key that secrets are sealed to.
        #[cbor(n(2), with = "codec::seal_key")]
        #[serde(serialize_with = "show::show_bytes")]
        seal: [u8; 32],
        /// The new key over [`crate::rotate_message`].
        #[cbor(n(3), with = "minicbor::bytes")]
        #[serde(serialize_with = "show::show_bytes")]
        signature: [u8; 64],
    },
    /// Where a node is. What is left out stays.
    #[n(20)]
    NodeSet {
        /// Which.
        #[n(0)]
        id: NodeId,
        /// Where its API answers.
        #[n(1)]
        address: Option<NodeAddress>,
        /// All further names that it serves under.
        #[n(2)]
        hosts: Option<Vec<String>>,
        /// Where its managed etcd would listen.
        #[n(3)]
        store: Option<StoreAddress>,
    },
    /// A token by which one node may join.
    #[n(21)]
    TokenCreate {
        /// The token.
        #[n(0)]
        token: NewToken,
    },
    /// A token is good for nothing any more.
    #[n(22)]
    TokenRevoke {
        /// Which.
        #[n(0)]
        id: TokenId,
    },
    /// The cluster secret that nodes may join by, in place of the one before; or none.
    #[n(23)]
    SecretSet {
        /// The public half of the key that is derived from it.
        #[cbor(n(0), with = "codec::public_key", has_nil)]
        #[serde(serialize_with = "show::show_key")]
        key: Option<PublicKey>,
    },
    /// Where the cluster keeps its ledger from now on.
    #[n(24)]
    StoreSet {
        /// Where.
        #[n(0)]
        store: StoreConfig,
    },
    /// A certificate was issued.
    #[n(25)]
    CertificateIssued {
        /// The certificate.
        #[n(0)]
        certificate: Issued,
    },
    /// Somebody is told when something is wrong.
    #[n(26)]
    AlertAdd {
        /// The alert.
        #[n(0)]
        alert: NewAlert,
    },
    /// An alert is sent no more.
    #[n(27)]
    AlertRemove {
        /// Its name.
        #[n(0)]
        name: String,
    },
    /// Leaf certificates are signed by this issuing CA from now on.
    #[n(28)]
    IssuingCaActivate {
        /// SHA-256 over its certificate.
        #[n(0)]
        certificate: crate::Hash,
    },
}
