//! Whole messages of the PostgreSQL protocol over a stream; the codec is postgres-protocol's.

use bytes::BytesMut;
use postgres_protocol::message::backend::{Header, Message};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Anything that carries bytes both ways.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A message before login is a few hundred bytes; libpq bounds them alike (30,000).
const LONGEST_BEFORE_LOGIN: i32 = 64 * 1024;

/// A stream of messages.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    input: BytesMut,
    output: BytesMut,
    logged_in: bool,
}

impl Wire {
    /// Over a stream on which the startup message comes next.
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            logged_in: false,
        }
    }

    /// From here on the other side is trusted with our memory: its rows are as long as they are.
    pub(super) fn logged_in(&mut self) {
        self.logged_in = true;
    }

    /// Sends what `build` has written.
    pub(super) async fn send(
        &mut self,
        build: impl FnOnce(&mut BytesMut) -> io::Result<()>,
    ) -> io::Result<()> {
        build(&mut self.output)?;
        self.stream.write_all_buf(&mut self.output).await?;
        self.stream.flush().await
    }

    /// The next message. Loses nothing when it is dropped half-way.
    pub(super) async fn receive(&mut self) -> io::Result<Message> {
        loop {
            if !self.logged_in
                && let Some(header) = Header::parse(&self.input)?
                && header.len() > LONGEST_BEFORE_LOGIN
            {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "oversized message",
                ));
            }
            if let Some(message) = Message::parse(&mut self.input)? {
                return Ok(message);
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads until the other side closes, and throws it away.
    pub(super) async fn drain(&mut self) {
        let mut nowhere = [0; 256];
        while let Ok(1..) = self.stream.read(&mut nowhere).await {}
    }
}
