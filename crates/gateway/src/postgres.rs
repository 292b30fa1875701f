//! Logging in at PostgreSQL, over its private socket, as the user who proved himself to us.
//!
//! The socket's directory is open to PostgreSQL and the daemon alone, and PostgreSQL takes the
//! daemon's OS user for any enabled user (`peer` with a map). There is no password on this leg.

use std::io;
use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::cancel::Target;
use crate::socket::{Resting, ServerSocket};
use crate::wire::backend::{BadLength, Face, Outgoing, error_field, message};
use crate::wire::take;

/// A message during login or reset; the longest is an error or a notice.
const LONGEST_MESSAGE: usize = 64 * 1024;
/// All the messages of a login are about 500 bytes.
const READ_BYTES: usize = 2048;

/// Why PostgreSQL could not be logged in to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackendError {
    #[error("connecting to its socket: {0}")]
    Connect(#[source] io::Error),
    #[error("talking to it: {0}")]
    Io(#[from] io::Error),
    #[error("it ended the connection")]
    Closed,
    #[error("it asks for a proof on its private socket (authentication request {0})")]
    AsksForProof(u32),
    #[error("it said something unexpected: message {0:?}")]
    Unexpected(char),
    #[error(transparent)]
    Length(#[from] BadLength),
    // Quoted: a message may have a name of the client's choice in it.
    #[error("error {sqlstate}: {message:?}")]
    Refused {
        sqlstate: &'static str,
        message: String,
    },
    #[error("the client asked for database {asked:?}, the cluster manages {managed:?}")]
    OtherDatabase { asked: String, managed: String },
}

/// Errors that the client, who has proved himself, is told as PostgreSQL has them: what he asked for
/// is not there or the server is full. All others are between the daemon and PostgreSQL.
const TOLD: [&str; 12] = [
    "3D000", "53300", "57P03", "55000", "22023", "42704", "42501", "57P01", "57P02", "0A000",
    "22021", "55006",
];

impl BackendError {
    /// What the client may read.
    pub(crate) fn face(&self) -> Face {
        let face = |sqlstate, message: &str| Face {
            sqlstate,
            message: message.to_owned(),
            hint: None,
        };
        match self {
            Self::Refused { sqlstate, message } if TOLD.contains(sqlstate) => {
                face(sqlstate, message)
            }
            Self::OtherDatabase { asked, managed } => face(
                "3D000",
                &format!("database \"{asked}\" does not exist: this cluster manages \"{managed}\""),
            ),
            Self::Refused { .. } | Self::AsksForProof(_) => {
                face("57P03", "the database does not know this user yet")
            }
            Self::Connect(_)
            | Self::Io(_)
            | Self::Closed
            | Self::Unexpected(_)
            | Self::Length(_) => face("57P03", "the database is not available"),
        }
    }

    /// Whether PostgreSQL has no more room for connections.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Refused { sqlstate, .. } if *sqlstate == "53300")
    }
}

/// A logged-in, idle connection to PostgreSQL, held by one who uses it or, as `Backend<Resting>`, by nobody.
pub(crate) struct Backend<S = ServerSocket> {
    pub(crate) stream: S,
    pub(crate) target: Target,
    /// What PostgreSQL reported of its parameters, by name.
    pub(crate) reported: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Backend {
    /// Opens a connection as `user`.
    pub(crate) async fn login(
        socket: &Path,
        user: &str,
        database: &str,
        parameters: &[(String, String)],
    ) -> Result<Self, BackendError> {
        let mut stream = ServerSocket::connect(socket)
            .await
            .map_err(BackendError::Connect)?;
        let mut out = Outgoing::default();
        out.startup(user, database, parameters);
        stream.write_all(&out.0).await?;
        let mut backend = Self {
            stream,
            target: Target {
                process: 0,
                key: Vec::new(),
            },
            reported: Vec::new(),
        };
        backend.read_until_ready().await?;
        Ok(backend)
    }

    /// Makes PostgreSQL forget what a session left behind.
    pub(crate) async fn reset(&mut self) -> Result<(), BackendError> {
        let mut out = Outgoing::default();
        out.query("DISCARD ALL");
        self.stream.write_all(&out.0).await?;
        self.read_until_ready().await
    }

    /// For whoever takes it up next.
    pub(crate) fn rest(self) -> Backend<Resting> {
        Backend {
            stream: self.stream.rest(),
            target: self.target,
            reported: self.reported,
        }
    }

    /// Remembers a `ParameterStatus`.
    pub(crate) fn note(reported: &mut Vec<(Vec<u8>, Vec<u8>)>, body: &[u8]) {
        let Some((name, rest)) = crate::wire::take_string(body) else {
            return;
        };
        let Some((value, _)) = crate::wire::take_string(rest) else {
            return;
        };
        match reported.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => reported.push((name.to_vec(), value.to_vec())),
        }
    }

    async fn read_until_ready(&mut self) -> Result<(), BackendError> {
        let mut buffer = Vec::with_capacity(READ_BYTES);
        loop {
            if self.stream.read_buf(&mut buffer).await? == 0 {
                return Err(BackendError::Closed);
            }
            let mut used = 0;
            while let Some(found) =
                message(buffer.get(used..).unwrap_or_default(), LONGEST_MESSAGE)?
            {
                used += found.length;
                if self.take(found.kind, found.body)? {
                    // Nothing may follow: PostgreSQL waits for us now. What it says unasked (that it
                    // shuts down, a notification) makes this connection useless.
                    return match buffer.get(used) {
                        None => Ok(()),
                        Some(more) => Err(BackendError::Unexpected(char::from(*more))),
                    };
                }
            }
            buffer.drain(..used);
        }
    }

    /// Takes one message; `true` when PostgreSQL is ready and idle.
    fn take(&mut self, kind: u8, body: &[u8]) -> Result<bool, BackendError> {
        match kind {
            b'R' => match take::<4>(body).map(|(code, _)| u32::from_be_bytes(code)) {
                Some(0) => Ok(false),
                code => Err(BackendError::AsksForProof(code.unwrap_or_default())),
            },
            b'S' => {
                Self::note(&mut self.reported, body);
                Ok(false)
            }
            b'K' => {
                let (process, key) = take::<4>(body).ok_or(BadLength)?;
                self.target = Target {
                    process: u32::from_be_bytes(process),
                    key: key.to_vec(),
                };
                Ok(false)
            }
            // Notices and notifications are for a session that is not there, or is gone.
            b'N' | b'A' | b'C' => Ok(false),
            b'Z' if body == b"I" => Ok(true),
            b'E' => Err(refused(body)),
            other => Err(BackendError::Unexpected(char::from(other))),
        }
    }
}

impl Backend<Resting> {
    /// Takes it up, if PostgreSQL has said nothing since, not even goodbye.
    pub(crate) fn wake(self) -> Option<Backend> {
        Some(Backend {
            stream: self.stream.wake()?,
            target: self.target,
            reported: self.reported,
        })
    }
}

fn refused(body: &[u8]) -> BackendError {
    let text =
        |code| String::from_utf8_lossy(error_field(body, code).unwrap_or_default()).into_owned();
    let found = text(b'C');
    let sqlstate = TOLD.into_iter().find(|told| *told == found);
    let message = text(b'M');
    match sqlstate {
        Some(sqlstate) => BackendError::Refused { sqlstate, message },
        None => BackendError::Refused {
            sqlstate: "XX000",
            message: format!("{found} {message}"),
        },
    }
}
