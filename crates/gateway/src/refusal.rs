//! Why a client does not get in: one face for the client, one kind for logs and metrics.
//!
//! The client's face never depends on whether a user exists, is disabled, or which credential he has.

use std::io;

use palisade_hba::Method;

use crate::postgres::BackendError;
use crate::scram::ScramError;
use crate::wire::backend::Face;
use crate::wire::frontend::AnswerError;
use crate::wire::startup::StartupError;

/// A refused or failed login.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the client left before it logged in")]
    Left,
    #[error("reading from or writing to the client: {0}")]
    Io(#[source] io::Error),
    #[error("the login took too long")]
    Deadline,
    #[error("too many connections of this address, or in all, are logging in")]
    Crowded,
    #[error("startup packet: {0}")]
    Startup(#[from] StartupError),
    #[error("bytes in plaintext behind a request for encryption")]
    Injection,
    #[error("a request that is out of place in the startup")]
    OutOfPlace,
    #[error("TLS handshake: {0}")]
    Tls(#[source] io::Error),
    #[error("direct TLS without the ALPN protocol `postgresql`")]
    Alpn,
    #[error("plaintext, but traffic must be encrypted")]
    Plaintext,
    #[error("replication was asked for")]
    Replication,
    #[error("no rule matches")]
    NoRule,
    #[error("the rule in line {line} rejects")]
    Rejected { line: u32 },
    #[error("method {method} (rule in line {line}): {reason}")]
    Credential {
        method: Method,
        line: u32,
        user: String,
        reason: &'static str,
    },
    #[error("method {method} (rule in line {line}): {error}")]
    Scram {
        method: Method,
        line: u32,
        user: String,
        error: ScramError,
    },
    #[error("authentication response: {0}")]
    Answer(#[from] AnswerError),
    #[error("the right to log in ended during the login: {0}")]
    Ended(&'static str),
    #[error("PostgreSQL: {0}")]
    Backend(#[from] BackendError),
    #[error("the system's random source failed")]
    Entropy,
}

impl Refusal {
    /// The kind, for metrics and logs.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Io(_) => "io",
            Self::Deadline => "deadline",
            Self::Crowded => "crowded",
            Self::Startup(_) | Self::OutOfPlace | Self::Answer(_) => "protocol",
            Self::Injection => "plaintext_injection",
            Self::Tls(_) | Self::Alpn => "tls",
            Self::Plaintext => "plaintext",
            Self::Replication => "replication",
            Self::NoRule => "no_rule",
            Self::Rejected { .. } => "rejected",
            Self::Credential { .. } => "credential",
            Self::Scram { error, .. } => match error {
                ScramError::Wrong => "password",
                ScramError::Binding | ScramError::Downgrade => "channel_binding",
                ScramError::Malformed
                | ScramError::Unsupported
                | ScramError::Mechanism
                | ScramError::Flag
                | ScramError::Nonce => "protocol",
            },
            Self::Ended(_) => "ended",
            Self::Backend(_) => "backend",
            Self::Entropy => "internal",
        }
    }

    /// What the client may read; `None` where there is nobody to tell, or no way.
    pub(crate) fn face(&self) -> Option<Face> {
        let face = |sqlstate, message: String| {
            Some(Face {
                sqlstate,
                message,
                hint: None,
            })
        };
        match self {
            Self::Left | Self::Io(_) | Self::Deadline | Self::Tls(_) => None,
            Self::Crowded => face("53300", "too many connections are logging in".to_owned()),
            Self::Startup(StartupError::NoUser | StartupError::NameTooLong) => {
                face("28000", self.to_string())
            }
            Self::Startup(StartupError::Version) => face("0A000", self.to_string()),
            Self::Startup(_) | Self::Answer(_) => face("08P01", self.to_string()),
            Self::Injection => face(
                "08P01",
                "received unencrypted data after a request for encryption".to_owned(),
            ),
            Self::OutOfPlace => face("08P01", "unexpected request during startup".to_owned()),
            Self::Alpn => face(
                "08P01",
                "received direct SSL connection request without ALPN protocol negotiation extension"
                    .to_owned(),
            ),
            Self::Plaintext => Some(Face {
                sqlstate: "28000",
                message: "this cluster takes encrypted connections only".to_owned(),
                hint: Some("Connect with sslmode=verify-full (or at least sslmode=require)."),
            }),
            Self::Replication => face("0A000", "replication connections are not served here".to_owned()),
            Self::NoRule | Self::Rejected { .. } => face(
                "28000",
                "no rule of this cluster lets you in from here with this user and database"
                    .to_owned(),
            ),
            Self::Credential { user, .. } => face(
                "28000",
                format!("certificate authentication failed for user \"{user}\""),
            ),
            Self::Scram { user, error, .. } => match error {
                ScramError::Wrong => face(
                    "28P01",
                    format!("password authentication failed for user \"{user}\""),
                ),
                ScramError::Binding | ScramError::Downgrade => face("28000", error.to_string()),
                ScramError::Malformed
                | ScramError::Unsupported
                | ScramError::Mechanism
                | ScramError::Flag
                | ScramError::Nonce => face("08P01", error.to_string()),
            },
            Self::Ended(reason) => face("57P01", format!("terminating connection: {reason}")),
            Self::Backend(error) => Some(error.face()),
            Self::Entropy => face("58000", "the server has no randomness".to_owned()),
        }
    }
}

/// A client that hangs up is no error of ours.
impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => Self::Left,
            _ => Self::Io(error),
        }
    }
}
