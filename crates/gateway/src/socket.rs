//! A socket towards PostgreSQL of which only what comes is watched.
//!
//! On a unix socket the kernel says "writable" each time that the other side has read something. Who
//! watches for that is woken once for every query just when PostgreSQL begins to work on it, and takes
//! a processor from it for nothing. So writing is watched for only while there is no room to write, by a
//! second descriptor of the same socket.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// A connected unix socket.
pub(crate) struct ServerSocket {
    stream: AsyncFd<UnixStream>,
    /// The same socket, while a write waits for room.
    full: Option<AsyncFd<UnixStream>>,
}

impl ServerSocket {
    pub(crate) async fn connect(path: &Path) -> io::Result<Self> {
        let stream = tokio::net::UnixStream::connect(path).await?;
        Self::new(stream.into_std()?)
    }

    /// Of a stream that does not block; watched by the thread that calls.
    fn new(stream: UnixStream) -> io::Result<Self> {
        Ok(Self {
            stream: watch(stream, Interest::READABLE)?,
            full: None,
        })
    }

    /// Watched by nobody any more.
    pub(crate) fn rest(self) -> Resting {
        Resting(self.stream.into_inner())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.stream.get_ref().write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

/// A connected unix socket that nobody watches: any thread may take it up.
pub(crate) struct Resting(UnixStream);

impl Resting {
    /// Watched by the thread that calls; `None` if anything has come meanwhile, be it the end.
    pub(crate) fn wake(self) -> Option<ServerSocket> {
        match (&self.0).read(&mut [0; 1]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ServerSocket::new(self.0).ok()
            }
            Ok(_) | Err(_) => None,
        }
    }
}

/// The one way to watch for less than everything that tokio has without `unsafe`. It is deprecated
/// because others than std's sockets, which own their descriptor and keep it, may be given to it.
#[expect(deprecated, reason = "its successor is unsafe")]
fn watch(stream: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    AsyncFd::with_interest(stream, interest)
}

impl AsyncRead for ServerSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.stream.poll_read_ready(context))?;
            let into = buffer.initialize_unfilled();
            match self.stream.get_ref().read(into) {
                Ok(count) => {
                    // Less than there was room for: all is read, and more will be told of.
                    if count > 0 && count < into.len() {
                        guard.clear_ready();
                    }
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => guard.clear_ready(),
                    io::ErrorKind::Interrupted => {}
                    _ => return Poll::Ready(Err(error)),
                },
            }
        }
    }
}

impl AsyncWrite for ServerSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = match &self.full {
                Some(full) => Some(ready!(full.poll_write_ready(context))?),
                None => None,
            };
            match (self.write(bytes), &mut guard) {
                (Err(error), Some(guard)) if error.kind() == io::ErrorKind::WouldBlock => {
                    guard.clear_ready();
                }
                (Err(error), None) if error.kind() == io::ErrorKind::WouldBlock => {
                    let same = self.stream.get_ref().try_clone()?;
                    self.full = Some(watch(same, Interest::WRITABLE)?);
                }
                (result, _) => {
                    self.full = None;
                    return Poll::Ready(result);
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.get_ref().shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn pair() -> (ServerSocket, tokio::net::UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let theirs = tokio::net::UnixStream::from_std(theirs).unwrap();
        (ServerSocket::new(ours).unwrap(), theirs)
    }

    /// More than the socket holds, both ways at once, arrives whole.
    #[tokio::test]
    async fn all_arrives_though_the_socket_is_full() {
        const MUCH: usize = 4 << 20;
        let (mut ours, mut theirs) = pair();
        let sent: Vec<u8> = (0..=255).cycle().take(MUCH).collect();
        let echo = tokio::spawn(async move {
            let mut all = vec![0; MUCH];
            // Let it fill up first.
            tokio::time::sleep(Duration::from_millis(20)).await;
            theirs.read_exact(&mut all).await.unwrap();
            theirs.write_all(&all).await.unwrap();
        });
        ours.write_all(&sent).await.unwrap();
        assert!(ours.full.is_none(), "writing is not watched for any more");
        let mut back = Vec::new();
        ours.read_to_end(&mut back).await.unwrap();
        assert!(back == sent);
        echo.await.unwrap();
    }

    #[tokio::test]
    async fn a_full_socket_is_waited_for_and_its_end_noticed() {
        let (mut ours, theirs) = pair();
        let much = vec![0; 4 << 20];
        let endless = ours.write_all(&much);
        let waited = tokio::time::timeout(Duration::from_millis(50), endless).await;
        assert!(waited.is_err(), "nobody reads");
        assert!(ours.full.is_some());
        drop(theirs);
        let error = ours.write_all(&[0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn who_rests_is_taken_up_only_if_nothing_came() {
        let (ours, mut theirs) = pair();
        let mut ours = ours.rest().wake().unwrap();
        theirs.write_all(b"ab").await.unwrap();
        assert_eq!(ours.read_u8().await.unwrap(), b'a');
        assert!(ours.rest().wake().is_none(), "there is another byte");
        let (ours, theirs) = pair();
        let resting = ours.rest();
        drop(theirs);
        assert!(resting.wake().is_none(), "the other side has gone");
    }

    /// What one thread's loop has watched, another's watches then.
    #[test]
    fn another_thread_takes_it_up() {
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
        };
        let (first, second) = (runtime(), runtime());
        let (ours, mut theirs) = first.block_on(async { pair() });
        let resting = ours.rest();
        let mut ours = second.block_on(async { resting.wake() }).unwrap();
        first.block_on(theirs.write_all(b"x")).unwrap();
        // The first loop does not turn meanwhile.
        assert_eq!(second.block_on(ours.read_u8()).unwrap(), b'x');
    }
}
