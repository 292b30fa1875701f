//! From an accepted connection to a session: one file per phase.
//!
//! ```text
//!   negotiate --Opened--> authenticate --Authenticated--> admit --Session-->
//!   (TLS, startup packet)  (rule, proof)                  (PostgreSQL, cancel key)
//! ```
//!
//! Each phase consumes the one before; a session can't be had without a proof.

pub(crate) mod admit;
pub(crate) mod authenticate;
pub(crate) mod negotiate;

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::ClientStream;
use crate::refusal::Refusal;
use crate::wire::backend::Outgoing;
use crate::wire::frontend;

/// Messages of a login are small; what a client sends ahead of its turn is passed on later.
const READ_BYTES: usize = 1024;
/// What a client may send ahead of its turn before it is logged in.
const LONGEST_INBOX: usize = 16 * 1024;

/// A client's connection, with what came of it and was not used yet.
pub(crate) struct Wire {
    pub(crate) stream: ClientStream,
    pub(crate) inbox: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: ClientStream) -> Self {
        Self {
            stream,
            inbox: Vec::new(),
        }
    }

    /// Reads more into the inbox.
    async fn fill(&mut self) -> Result<(), Refusal> {
        if self.inbox.len() >= LONGEST_INBOX {
            return Err(Refusal::OutOfPlace);
        }
        self.inbox.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.inbox).await? {
            0 => Err(Refusal::Left),
            _ => Ok(()),
        }
    }

    pub(crate) async fn send(&mut self, out: &Outgoing) -> io::Result<()> {
        self.stream.write_all(&out.0).await?;
        self.stream.flush().await
    }

    /// The body of the client's next message, which must be of type `p`.
    async fn answer(&mut self) -> Result<Vec<u8>, Refusal> {
        loop {
            if let Some((body, length)) = frontend::answer(&self.inbox)? {
                let body = body.to_vec();
                self.inbox.drain(..length);
                return Ok(body);
            }
            self.fill().await?;
        }
    }
}
