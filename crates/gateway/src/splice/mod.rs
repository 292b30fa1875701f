//! Passing bytes between a client and PostgreSQL: one task per session, no buffers while idle.
//!
//! ```text
//!   client --TCP--> scratch --TLS--> scan --> unix socket --> PostgreSQL
//!   client <--TCP-- TLS <-- scan <-- scratch <-- unix socket <-- PostgreSQL
//! ```
//!
//! `scratch` belongs to the thread: it is filled, used and done with inside of one poll. Only what
//! the other side does not take at once is kept, and then nothing more is read. The scanners see
//! where messages begin, so that a session can be ended between two messages and an idle connection
//! to PostgreSQL told from a busy one; they hold nothing back but the client's `Terminate`.

mod client;

use std::cell::RefCell;
use std::io::{self, BufRead as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::ServerConnection;
use tokio::io::{AsyncWrite as _, ReadBuf};

use crate::client::ClientStream;
use crate::policy::EndReason;
use crate::sessions::Live;
use crate::socket::ServerSocket;
use crate::wire::scan::{DownScanner, UpScanner, Upward, is_idle};
use client::Client;

/// Four TLS records: large results take few system calls, and it stays in the second-level cache.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// Reads from the client before PostgreSQL has its turn: a long upload must not hide its error.
const READS_IN_TURN: usize = 16;

/// Lends the thread's buffer for one poll.
pub(crate) fn with_scratch<T>(use_it: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| use_it(scratch))
}

/// How a splice came to its end.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The client said `Terminate` while PostgreSQL was idle: the connection to it may be reused.
    Idle,
    /// PostgreSQL closed, and the client has all that it said.
    Closed,
    /// One side failed.
    Failed(io::Error),
    /// The session must end; PostgreSQL may still be at work.
    Ended(EndReason),
}

/// A session's two connections.
pub(crate) struct Splice {
    client: Client,
    server: ServerSocket,
    up: Direction,
    scan_up: UpScanner,
    scan_down: DownScanner,
    server_closed: bool,
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
}

/// What goes on to PostgreSQL.
#[derive(Default)]
struct Direction {
    unsent: Vec<u8>,
    state: UpState,
}

#[derive(Default, PartialEq, Eq, Clone, Copy)]
enum UpState {
    #[default]
    Open,
    /// The client said `Terminate`, or closed; PostgreSQL need be told once `unsent` is gone.
    Closing,
    /// PostgreSQL was told.
    Closed,
    /// `Terminate` in an idle session: withheld.
    Withheld,
}

impl Splice {
    /// A splice over a client that is logged in. `first` came from the client behind its login.
    pub(crate) fn new(client: ClientStream, server: ServerSocket, first: &[u8]) -> Self {
        let mut splice = Self {
            client: Client::new(client),
            server,
            up: Direction::default(),
            scan_up: UpScanner::default(),
            scan_down: DownScanner::default(),
            server_closed: false,
            bytes_up: 0,
            bytes_down: 0,
        };
        if !first.is_empty() {
            splice
                .up
                .take(&mut splice.scan_up, &splice.scan_down, first);
        }
        splice
    }

    /// Passes bytes until one side is done or the session must end.
    pub(crate) async fn run(&mut self, live: &Live) -> Outcome {
        std::future::poll_fn(|context| {
            if let Some(reason) = live.poll_ended(context) {
                return Poll::Ready(Outcome::Ended(reason));
            }
            with_scratch(|scratch| self.poll(context, scratch))
        })
        .await
    }

    fn poll(&mut self, context: &mut Context<'_>, scratch: &mut [u8]) -> Poll<Outcome> {
        match self.poll_up(context, scratch) {
            Poll::Ready(Ok(())) if self.up.state == UpState::Withheld => {
                return Poll::Ready(Outcome::Idle);
            }
            Poll::Ready(Ok(())) if self.up.state == UpState::Open => {
                // Its turn is over before its bytes are.
                context.waker().wake_by_ref();
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Outcome::Failed(error)),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        self.poll_down(context, scratch).map(|result| match result {
            Ok(()) => Outcome::Closed,
            Err(error) => Outcome::Failed(error),
        })
    }

    /// Client to PostgreSQL; ready when nothing more will come, or its turn is over.
    fn poll_up(&mut self, context: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<()>> {
        for _ in 0..READS_IN_TURN {
            if ready!(self.up.poll_flush(context, &mut self.server)).is_err() {
                // It closed; what it said before that is still to be read.
                self.up.unsent = Vec::new();
                self.up.state = UpState::Closed;
            }
            match self.up.state {
                UpState::Open => {}
                UpState::Closing => {
                    ready!(Pin::new(&mut self.server).poll_shutdown(context))?;
                    self.up.state = UpState::Closed;
                    return Poll::Ready(Ok(()));
                }
                UpState::Closed | UpState::Withheld => return Poll::Ready(Ok(())),
            }
            match &mut self.client {
                Client::Plain { tcp, .. } => {
                    let bytes = ready!(poll_read(Pin::new(tcp), context, scratch))?;
                    if bytes.is_empty() {
                        self.up.state = UpState::Closing;
                        continue;
                    }
                    self.bytes_up += length(bytes);
                    self.up.take(&mut self.scan_up, &self.scan_down, bytes);
                }
                Client::Tls { tcp, tls } => {
                    // What came with the login is there before anything is read.
                    if drain(
                        tls,
                        &mut self.up,
                        &mut self.scan_up,
                        &self.scan_down,
                        &mut self.bytes_up,
                    )? {
                        continue;
                    }
                    let mut bytes = ready!(poll_read(Pin::new(tcp), context, scratch))?;
                    if bytes.is_empty() {
                        self.up.state = UpState::Closing;
                        continue;
                    }
                    while !bytes.is_empty() && self.up.state == UpState::Open {
                        tls.read_tls(&mut bytes)?;
                        let state = tls.process_new_packets().map_err(io::Error::other)?;
                        drain(
                            tls,
                            &mut self.up,
                            &mut self.scan_up,
                            &self.scan_down,
                            &mut self.bytes_up,
                        )?;
                        if state.peer_has_closed() && self.up.state == UpState::Open {
                            self.up.state = UpState::Closing;
                        }
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// PostgreSQL to client; ready when PostgreSQL has closed and the client has it all.
    fn poll_down(&mut self, context: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<()>> {
        loop {
            ready!(self.client.poll_flush(context))?;
            if self.server_closed {
                return Poll::Ready(Ok(()));
            }
            let bytes = ready!(poll_read(Pin::new(&mut self.server), context, scratch))?;
            self.pass_down(bytes)?;
        }
    }

    fn pass_down(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            self.server_closed = true;
            self.client.say_goodbye();
            return Ok(());
        }
        self.scan_down.scan(bytes);
        self.bytes_down += length(bytes);
        self.client.push(bytes)
    }

    /// After [`Outcome::Ended`]: passes on the rest of the message that is on its way, then `last`,
    /// and closes.
    pub(crate) async fn finish(&mut self, last: &[u8]) -> io::Result<()> {
        std::future::poll_fn(|context| {
            with_scratch(|scratch| self.poll_to_boundary(context, scratch))
        })
        .await?;
        if !self.server_closed {
            self.client.push(last)?;
            self.client.say_goodbye();
        }
        std::future::poll_fn(|context| self.client.poll_flush(context)).await?;
        std::future::poll_fn(|context| self.client.poll_shutdown(context)).await
    }

    fn poll_to_boundary(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.client.poll_flush(context))?;
            let missing = match self.scan_down.to_boundary() {
                Some(missing) if !self.server_closed => missing,
                Some(_) | None => 0,
            };
            if missing == 0 {
                return Poll::Ready(Ok(()));
            }
            let upto = missing.min(scratch.len());
            let part = scratch.get_mut(..upto).unwrap_or_default();
            let bytes = ready!(poll_read(Pin::new(&mut self.server), context, part))?;
            self.pass_down(bytes)?;
        }
    }

    /// Closes the client's side; gives back PostgreSQL's with the reports that it made meanwhile.
    pub(crate) async fn release(mut self) -> (ServerSocket, Vec<Vec<u8>>) {
        self.client.say_goodbye();
        // The client has left; whether it takes our goodbye does not matter, and is not waited for.
        std::future::poll_fn(|context| Poll::Ready(self.client.poll_flush(context).is_ready()))
            .await;
        (self.server, self.scan_down.reports)
    }
}

impl Direction {
    /// Scans the client's bytes and keeps what goes on.
    fn take(&mut self, up: &mut UpScanner, down: &DownScanner, bytes: &[u8]) {
        if self.state != UpState::Open {
            return;
        }
        match up.scan(bytes) {
            Upward::All => self.unsent.extend_from_slice(bytes),
            Upward::Terminate { before } => {
                let (head, tail) = bytes.split_at_checked(before).unwrap_or((bytes, &[]));
                self.unsent.extend_from_slice(head);
                if is_idle(up, down) {
                    self.state = UpState::Withheld;
                } else {
                    self.unsent
                        .extend_from_slice(tail.get(..5).unwrap_or_default());
                    self.state = UpState::Closing;
                }
            }
        }
    }

    fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
        server: &mut ServerSocket,
    ) -> Poll<io::Result<()>> {
        let mut sent = 0;
        let result = loop {
            let rest = self.unsent.get(sent..).unwrap_or_default();
            if rest.is_empty() {
                break Poll::Ready(Ok(()));
            }
            match Pin::new(&mut *server).poll_write(context, rest) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => sent += n,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        if sent == self.unsent.len() {
            self.unsent = Vec::new();
        } else {
            self.unsent.drain(..sent);
        }
        result
    }
}

/// Takes all decrypted bytes out of `tls`; `true` if there were any.
fn drain(
    tls: &mut ServerConnection,
    direction: &mut Direction,
    up: &mut UpScanner,
    down: &DownScanner,
    count: &mut u64,
) -> io::Result<bool> {
    let mut any = false;
    loop {
        let mut reader = tls.reader();
        let taken = match reader.fill_buf() {
            Ok([]) => return Ok(any),
            Ok(bytes) => {
                direction.take(up, down, bytes);
                bytes.len()
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(any),
            // The end without a goodbye: to PostgreSQL it is an end all the same.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(any),
            Err(error) => return Err(error),
        };
        reader.consume(taken);
        *count += u64::try_from(taken).unwrap_or_default();
        any = true;
    }
}

fn poll_read<'b, S: tokio::io::AsyncRead>(
    stream: Pin<&mut S>,
    context: &mut Context<'_>,
    into: &'b mut [u8],
) -> Poll<io::Result<&'b [u8]>> {
    let mut buffer = ReadBuf::new(into);
    ready!(stream.poll_read(context, &mut buffer))?;
    let filled = buffer.filled().len();
    Poll::Ready(Ok(into.get(..filled).unwrap_or_default()))
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or_default()
}
