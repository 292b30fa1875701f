//! The client's side of a splice: what goes to it, in plaintext or through rustls.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::ServerConnection;
use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;

use crate::client::ClientStream;

/// The client's side of a splice.
pub(super) enum Client {
    Plain {
        tcp: TcpStream,
        unsent: Vec<u8>,
    },
    Tls {
        tcp: TcpStream,
        tls: Box<ServerConnection>,
    },
}

impl Client {
    pub(super) fn new(client: ClientStream) -> Self {
        match client {
            ClientStream::Plain(tcp) => Self::Plain {
                tcp,
                unsent: Vec::new(),
            },
            ClientStream::Tls(stream) => {
                let (tcp, mut tls) = stream.into_inner();
                // Never more than one scratch full is given to it at a time.
                tls.set_buffer_limit(None);
                Self::Tls {
                    tcp,
                    tls: Box::new(tls),
                }
            }
        }
    }

    /// Takes bytes for the client; the caller flushes before it brings more.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain { unsent, .. } => {
                unsent.extend_from_slice(bytes);
                Ok(())
            }
            Self::Tls { tls, .. } => tls.writer().write_all(bytes),
        }
    }

    pub(super) fn say_goodbye(&mut self) {
        if let Self::Tls { tls, .. } = self {
            tls.send_close_notify();
        }
    }

    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain { tcp, unsent } => {
                while !unsent.is_empty() {
                    let n = ready!(Pin::new(&mut *tcp).poll_write(context, unsent))?;
                    if n == unsent.len() {
                        *unsent = Vec::new();
                    } else {
                        unsent.drain(..n);
                    }
                }
            }
            Self::Tls { tcp, tls } => {
                while tls.wants_write() {
                    let mut to = Writer {
                        tcp: &mut *tcp,
                        context: &mut *context,
                    };
                    match tls.write_tls(&mut to) {
                        Ok(_) => {}
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            return Poll::Pending;
                        }
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain { tcp, .. } | Self::Tls { tcp, .. } => Pin::new(tcp).poll_shutdown(context),
        }
    }
}

/// Lets rustls write to a socket that may not be ready.
struct Writer<'a, 'c, 'w> {
    tcp: &'a mut TcpStream,
    context: &'c mut Context<'w>,
}

impl io::Write for Writer<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.tcp).poll_write(self.context, bytes) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        // One record, as a short answer is, goes by `send`: on a socket `writev` costs the kernel more.
        if let [one] = parts {
            return self.write(one);
        }
        match Pin::new(&mut *self.tcp).poll_write_vectored(self.context, parts) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
