//! The inventory of certificates: what was issued, to whom, by which CA, until when.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::entry::{Hash, Millis};
use crate::name::Uid;
use crate::node::NodeId;
use crate::show;

/// What a certificate is for.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum CertificateKind {
    /// A node's PostgreSQL, gateway or API.
    #[n(0)]
    Server,
    /// A node's etcd, as server, peer or client.
    #[n(1)]
    Store,
    /// A user's.
    #[n(2)]
    User,
    /// A service's, with names of its own.
    #[n(3)]
    Service,
    /// A tool's: a client of the store or the API.
    #[n(4)]
    Tool,
    /// An issuing CA's.
    #[n(5)]
    IssuingCa,
}

/// A certificate that was issued.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Issued {
    /// Its serial number: up to 20 bytes, big-endian, no leading zero.
    #[cbor(n(0), with = "minicbor::bytes")]
    #[serde(serialize_with = "show::show_bytes")]
    pub serial: Vec<u8>,
    /// Whom it names.
    #[n(1)]
    pub subject: String,
    /// What it is for.
    #[n(2)]
    pub kind: CertificateKind,
    /// The node that has its key: when the node is removed, it is revoked.
    #[n(3)]
    pub holder: Option<NodeId>,
    /// SHA-256 over the certificate of the CA that signed it.
    #[n(4)]
    pub issuer: Hash,
    /// The last moment that it is good for.
    #[n(5)]
    pub until: Millis,
    /// The user who asked for it.
    #[n(6)]
    pub by: Option<Uid>,
}

/// A certificate that holds no more, for the list of RFC 5280, section 5.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Revocation {
    /// When, by the entry's time.
    pub at: Millis,
    /// Why, in words.
    pub reason: String,
    /// The last moment that it would have been good for, if the inventory said so at that time. A
    /// list of revoked certificates may leave it out after that.
    pub until: Option<Millis>,
}
