//! What is said on the control socket: JSON and signed entries over HTTP/1.1.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET /v1/head` | | [`HeadReply`] |
//! | `GET /v1/entries?from=N` | | a CBOR sequence of signed entries, at most [`PAGE`] of them |
//! | `POST /v1/entries` | one signed entry | [`HeadReply`], once the entry is durable |
//! | `GET /v1/status` | | [`Status`] |
//! | `GET /v1/challenge` | | [`Challenge`] |
//! | `POST /v1/reload` | | [`Done`]; files are read again, which they are by themselves, too |
//! | `POST /v1/commands` | [`SignedCommand`] | [`Done`] |
//!
//! Reaching the socket gives no right to change anything: entries and commands carry their
//! authors' signatures.

use palisade_keys::Signature;
use serde::{Deserialize, Serialize};

/// Entries in one answer to `GET /v1/entries`.
pub const PAGE: usize = 1000;

/// Where the ledger stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadReply {
    /// Sequence number of the last entry.
    pub seq: u64,
    /// Its hash, in hexadecimal digits.
    pub hash: String,
    /// Whether PostgreSQL is in line with it.
    pub applied: bool,
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

/// A command to the node, for users with the privilege `system`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Stop the daemon and its PostgreSQL.
    Stop,
    /// Drop every managed object of the database.
    PurgeAll,
}

impl Command {
    /// The command's name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::PurgeAll => "purge_all",
        }
    }
}

/// A number used once, which the next command must be signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// 64 hexadecimal digits.
    pub challenge: String,
}

/// A command with its author's signature over [`SignedCommand::message`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedCommand {
    /// What to do.
    pub command: Command,
    /// Who says so.
    pub uid: u32,
    /// The challenge that was given.
    pub challenge: String,
    /// Base64 of 64 bytes.
    pub signature: String,
}

impl SignedCommand {
    /// What is signed. It can't be mistaken for a ledger entry, nor used on another cluster or twice.
    #[must_use]
    pub fn message(command: Command, cluster_key: &str, challenge: &str) -> Vec<u8> {
        let name = command.name();
        format!("palisade command v1\n{cluster_key}\n{name}\n{challenge}\n").into_bytes()
    }

    /// Puts a signature into its text form.
    #[must_use]
    pub fn encode_signature(signature: &Signature) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(signature.as_bytes())
    }

    /// The signature, if it has the right form.
    #[must_use]
    pub fn decode_signature(&self) -> Option<Signature> {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD.decode(&self.signature);
        bytes.ok()?.try_into().ok().map(Signature::from_bytes)
    }
}

/// A command was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What was done, in words.
    pub message: String,
}

/// How the node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The cluster's name.
    pub cluster: String,
    /// Palisade's version.
    pub version: String,
    /// The database that is managed.
    pub database: String,
    /// The ledger's head.
    pub head: HeadReply,
    /// Addresses at which the gateway listens.
    pub gateway: Vec<String>,
    /// PostgreSQL's version, when it is up.
    pub postgres: Option<String>,
    /// Sequence number of the last entry that PostgreSQL was brought in line with.
    pub applied: Option<u64>,
    /// Open sessions through the gateway.
    pub sessions: u64,
    /// Differences found in PostgreSQL and how they were dealt with, newest last.
    pub drift: Vec<DriftLine>,
    /// When the server's certificate ends (RFC 3339).
    pub certificate_until: Option<String>,
    /// Users of the ledger that users.cfg does not name.
    pub not_in_user_list: Vec<String>,
    /// What needs a human, in words; empty when all is well.
    pub problems: Vec<String>,
}

/// One difference between the ledger and PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftLine {
    /// When it was found (RFC 3339).
    pub time: String,
    /// What it is.
    pub what: String,
    /// True if it was put right; false if it is not Palisade's to mend.
    pub mended: bool,
}
