//! Whoever is told of something: servers on loopback that take everything and show what they were given.
//!
//! ```text
//!   Web    HTTP or HTTPS: each request is a Post
//!   Mail   SMTP, with STARTTLS or without: each connection is a Talk
//! ```
//!
//! They run on threads of their own, each connection on another, so that tests with and without an executor may
//! ask them; a client that breaks off takes nothing else with it.

mod mail;
mod tls;
mod web;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::{Error, poll};

pub use mail::{Mail, Talk};
pub use tls::Tls;
pub use web::{Post, Web};

/// How long a client may be silent.
const SILENCE: Duration = Duration::from_mins(1);

/// What a server was given, in the order in which that was complete.
#[derive(Debug)]
struct Given<T>(Arc<Mutex<Vec<T>>>);

impl<T> Default for Given<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for Given<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Clone> Given<T> {
    fn push(&self, one: T) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(one);
    }

    fn all(&self) -> Vec<T> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }

    /// The one of this number, from 0 on, as soon as it is there.
    fn nth(&self, what: &str, nth: usize, within: Duration) -> Result<T, Error> {
        poll(what, within, || self.all().get(nth).cloned())
    }
}

/// A listener whose connections are served until it is dropped.
#[derive(Debug)]
struct Server {
    port: u16,
    stopped: Arc<AtomicBool>,
}

impl Server {
    /// Serves each connection by `serve`, whose failure ends that connection alone.
    fn start(
        serve: impl Fn(TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::Listen)?;
        let port = listener.local_addr().map_err(Error::Listen)?.port();
        let stopped = Arc::new(AtomicBool::new(false));
        let (stop, serve) = (stopped.clone(), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                let serve = serve.clone();
                std::thread::spawn(move || {
                    // A client that breaks off is what some tests are about: what it gave is there.
                    drop(stream.set_read_timeout(Some(SILENCE)));
                    drop(serve(stream));
                });
            }
        });
        Ok(Self { port, stopped })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        // Wakes the listener, so that it looks.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

/// A connection, with TLS or without.
trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// One line with its end; empty when the client has hung up.
fn line(from: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    Ok(line)
}

/// Writes a reply at once.
fn reply(to: &mut BufReader<Box<dyn Stream>>, text: &str) -> std::io::Result<()> {
    let to = to.get_mut();
    to.write_all(text.as_bytes())?;
    to.flush()
}
