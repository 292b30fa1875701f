//! What nodes, operators and joiners say to each other: JSON and signed entries over HTTP/1.1.
//!
//! On the control socket (whoever may open it) and on the HTTPS listener (whoever the ledger knows
//! by the key that TLS proved, asked anew at each request):
//!
//! | request | who | body | answer |
//! |---|---|---|---|
//! | `GET /v1/head` | members, users | | [`HeadReply`] |
//! | `GET /v1/entries?from=N` | members, users (over HTTPS those with `system` or `user_manage`), joiners | | a CBOR sequence of signed entries, at most [`PAGE`] of them |
//! | `POST /v1/entries` | members, users, joiners | one signed entry | [`HeadReply`], once the entry is durable |
//! | `GET /v1/status` | members, users | | [`Status`] |
//! | `GET /v1/challenge` | members, users | | [`Challenge`] |
//! | `POST /v1/commands` | members, users | [`SignedCommand`] | [`Done`] |
//! | `POST /v1/reload` | control socket alone | | [`Done`]; files are read again, which they are by themselves, too |
//! | `GET /metrics` | members, users with `system` | | text in the format `OpenMetrics` |
//!
//! On the HTTPS listener alone:
//!
//! | request | who | body | answer |
//! |---|---|---|---|
//! | `GET /v1/identity` | anyone | | [`Identity`] |
//! | `GET /v1/hello` | members | | [`Hello`] |
//! | `GET /v1/self` | users | | [`Myself`] |
//! | `POST /v1/adopt` | a member of the cluster that the waiting node can verify | [`Adopt`] | [`Done`] |
//! | `POST /v1/certificate` | members | [`CertificateRequest`] | [`CertificateReply`] |
//! | `POST /v1/ca/prove` | members | [`CaProof`] | [`Done`] |
//! | `GET /v1/ca/root`, `GET /v1/ca/lists` | members | | PEM |
//!
//! A joiner is nobody yet: it shows the header [`JOIN_HEADER`], a [`JoinProof`] that is bound to its
//! TLS session, and an entry that verifies by itself. Reaching a door gives no right to change
//! anything: entries and commands carry their authors' signatures. A refusal is a [`Failure`] with a
//! status other than 200.

mod alarm;
mod command;
mod join;
mod proof;
mod status;

pub use alarm::{Alarm, AlarmKind};
pub use command::{
    Challenge, Command, Done, IssueCertificate, Purpose, SignedCommand, StoreTarget,
};
pub use join::{
    Adopt, CertificateReply, CertificateRequest, Identity, JOIN_HEADER, JoinKind, JoinProof,
    StoreAddresses,
};
pub use proof::{
    CaProof, DoorAddress, DoorKind, ProofDoors, ProofMet, ProofStep, Trial, TrialRequests,
};
pub use status::{DriftLine, Hello, NodeLine, Status, StoreKind, StoreMember, StoreStatus};

use serde::{Deserialize, Serialize};

/// Entries in one answer to `GET /v1/entries`.
pub const PAGE: usize = 1000;

/// The paths, so that a client and a server can't spell one differently.
pub mod path {
    /// [`super::HeadReply`].
    pub const HEAD: &str = "/v1/head";
    /// Signed entries, to read and to append.
    pub const ENTRIES: &str = "/v1/entries";
    /// [`super::Status`].
    pub const STATUS: &str = "/v1/status";
    /// [`super::Challenge`].
    pub const CHALLENGE: &str = "/v1/challenge";
    /// [`super::Myself`].
    pub const SELF: &str = "/v1/self";
    /// [`super::SignedCommand`].
    pub const COMMANDS: &str = "/v1/commands";
    /// Files are read again.
    pub const RELOAD: &str = "/v1/reload";
    /// Text in the format `OpenMetrics`.
    pub const METRICS: &str = "/metrics";
    /// [`super::Identity`].
    pub const IDENTITY: &str = "/v1/identity";
    /// [`super::Hello`].
    pub const HELLO: &str = "/v1/hello";
    /// [`super::Adopt`].
    pub const ADOPT: &str = "/v1/adopt";
    /// [`super::CertificateRequest`].
    pub const CERTIFICATE: &str = "/v1/certificate";
    /// [`super::CaProof`].
    pub const CA_PROVE: &str = "/v1/ca/prove";
    /// The root's certificate: the cluster key as X.509, in PEM.
    pub const CA_ROOT: &str = "/v1/ca/root";
    /// The revocation lists, in PEM.
    pub const CA_LISTS: &str = "/v1/ca/lists";
}

/// Where the ledger stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadReply {
    /// Sequence number of the last entry.
    pub seq: u64,
    /// Its hash, in hexadecimal digits.
    pub hash: String,
    /// Whether PostgreSQL is in line with it.
    pub applied: bool,
}

/// What a user needs to sign a change of his own, who may not read the ledger over the network. He takes the
/// node's word for it; what he signs then is good for nothing but what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Myself {
    /// His number in the ledger.
    pub uid: u32,
    /// The last entry.
    pub head: HeadReply,
    /// Its time, in milliseconds: the next is not before it.
    pub time: u64,
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What is wrong.
    pub error: String,
    /// True if the entry was signed for an older head: read the head and sign again.
    #[serde(default)]
    pub stale: bool,
}

/// Base64 (RFC 4648, section 4), as all bytes are written that JSON carries.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The bytes of a base64 text, if it is one.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}
