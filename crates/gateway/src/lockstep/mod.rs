//! Sessions of users without the privilege `set_transaction`: one statement at a time.

mod machine;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use crate::client::ClientStream;
use crate::sessions::Live;
use crate::socket::ServerSocket;
use crate::splice::{Outcome, with_scratch};
use machine::Machine;

/// What is read at once; messages longer than this pass in parts.
const READ_BYTES: usize = 16 * 1024;

/// A restricted session's two connections.
pub(crate) struct Lockstep {
    client: ClientStream,
    server: ServerSocket,
    machine: Machine,
    from_client: Vec<u8>,
    from_server: Vec<u8>,
    client_closed: bool,
    server_closed: bool,
    /// Nothing that was written to the client waits in between.
    flushed: bool,
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
}

impl Lockstep {
    pub(crate) fn new(client: ClientStream, server: ServerSocket, first: Vec<u8>) -> Self {
        Self {
            client,
            server,
            machine: Machine::new(),
            from_client: first,
            from_server: Vec::new(),
            client_closed: false,
            flushed: true,
            server_closed: false,
            bytes_up: 0,
            bytes_down: 0,
        }
    }

    /// Passes messages until one side is done or the session must end.
    pub(crate) async fn run(&mut self, live: &Live) -> Outcome {
        std::future::poll_fn(|context| {
            if let Some(reason) = live.poll_ended(context) {
                return Poll::Ready(Outcome::Ended(reason));
            }
            match self.poll(context) {
                Poll::Ready(Ok(outcome)) => Poll::Ready(outcome),
                Poll::Ready(Err(error)) => Poll::Ready(Outcome::Failed(error)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Outcome>> {
        loop {
            self.turn()?;
            let sent = self.poll_send(context)?;
            if self.machine.terminated {
                if self.machine.is_idle() && self.machine.to_server.is_empty() {
                    return Poll::Ready(Ok(Outcome::Idle));
                }
                // PostgreSQL notices the end of the connection by itself.
                return Poll::Ready(Ok(Outcome::Closed));
            }
            if self.server_closed
                && self.from_server.is_empty()
                && self.machine.to_client.is_empty()
            {
                return Poll::Ready(Ok(Outcome::Closed));
            }
            if self.client_closed && self.machine.waits_for_client() {
                // A part of a message may be left; the rest of it will never come.
                return Poll::Ready(Ok(Outcome::Closed));
            }
            let received = self.poll_receive(context)?;
            if !sent && !received {
                return Poll::Pending;
            }
        }
    }

    /// Lets the machine take what it can.
    fn turn(&mut self) -> io::Result<()> {
        let taken = self
            .machine
            .server(&self.from_server)
            .map_err(io::Error::other)?;
        self.from_server.drain(..taken);
        let taken = self
            .machine
            .client(&self.from_client)
            .map_err(io::Error::other)?;
        self.from_client.drain(..taken);
        Ok(())
    }

    /// `true` if anything was sent.
    fn poll_send(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let before = self.machine.to_server.len() + self.machine.to_client.len();
        if before == 0 && self.flushed {
            return Ok(false);
        }
        if let Poll::Ready(Err(_)) =
            poll_write(&mut self.server, context, &mut self.machine.to_server)
        {
            // It closed; what it said before that is still to be read.
            self.machine.to_server.clear();
        }
        match poll_write(&mut self.client, context, &mut self.machine.to_client) {
            Poll::Ready(result) => {
                result?;
                self.flushed = true;
            }
            Poll::Pending => self.flushed = false,
        }
        Ok(self.machine.to_server.len() + self.machine.to_client.len() < before)
    }

    /// `true` if anything came.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let mut any = false;
        if !self.server_closed && self.from_server.len() < READ_BYTES {
            match poll_fill(&mut self.server, context, &mut self.from_server) {
                Poll::Ready(Ok(0)) => {
                    self.server_closed = true;
                    any = true;
                }
                Poll::Ready(Ok(n)) => {
                    self.bytes_down += u64::try_from(n).unwrap_or_default();
                    any = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {}
            }
        }
        if !self.client_closed && self.from_client.len() < READ_BYTES {
            match poll_fill(&mut self.client, context, &mut self.from_client) {
                Poll::Ready(Ok(0)) => {
                    self.client_closed = true;
                    any = true;
                }
                Poll::Ready(Ok(n)) => {
                    self.bytes_up += u64::try_from(n).unwrap_or_default();
                    any = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {}
            }
        }
        Ok(any)
    }

    /// After [`Outcome::Ended`]: says `last`, if a message may begin now, and closes.
    pub(crate) async fn finish(&mut self, last: &[u8]) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.machine.to_client);
        if self.machine.between_messages() {
            bytes.extend_from_slice(last);
        }
        self.client.write_all(&bytes).await?;
        self.client.shutdown().await
    }

    /// Closes the client's side; gives back PostgreSQL's with the reports that it made meanwhile.
    pub(crate) fn release(self) -> (ServerSocket, Vec<Vec<u8>>) {
        (self.server, self.machine.reports)
    }
}

fn poll_write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    context: &mut Context<'_>,
    bytes: &mut Vec<u8>,
) -> Poll<io::Result<()>> {
    while !bytes.is_empty() {
        let n = ready!(Pin::new(&mut *stream).poll_write(context, bytes))?;
        if n == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        bytes.drain(..n);
    }
    Pin::new(stream).poll_flush(context)
}

fn poll_fill<S: AsyncRead + Unpin>(
    stream: &mut S,
    context: &mut Context<'_>,
    into: &mut Vec<u8>,
) -> Poll<io::Result<usize>> {
    with_scratch(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
        into.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
}
