//! Threads of the gateway's own, for its connections alone.
//!
//! Each has an event loop to itself, and a connection stays with the thread that it was given to: no
//! thread ever wakes another for a query, and nothing that they do is shared under a lock. PostgreSQL
//! and the clients are at work at the same time, and what the gateway does for a query is about a
//! quarter of what they do, so half of the machine is more than it can use: with fewer threads each
//! finds more to do when it wakes. Nothing else that the node does stands in a connection's way here.

use std::io;
use std::thread;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The threads. They end when the last connection lets go of what all connections share, of which this
/// is a part.
pub(crate) struct Workers {
    threads: Vec<Handle>,
    /// Dropped, they end the threads.
    _stop: Vec<oneshot::Sender<()>>,
}

impl Workers {
    /// Starts one thread for two processors, at least one. Where the system gives none, the caller's
    /// own threads serve.
    pub(crate) fn start() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let started = (0..(processors / 2).max(1)).map_while(|_| {
            start()
                .inspect_err(|error| {
                    tracing::warn!(%error, "the gateway has fewer threads of its own than it could use");
                })
                .ok()
        });
        let (threads, stop) = started.unzip();
        Self {
            threads,
            _stop: stop,
        }
    }

    /// Who listens.
    pub(crate) fn listening(&self) -> Handle {
        match self.threads.first() {
            Some(first) => first.clone(),
            None => Handle::current(),
        }
    }

    /// Gives a client that was just accepted to the thread that has fewest. Called by the one who listens.
    pub(crate) fn spawn<F>(
        &self,
        tcp: TcpStream,
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let busy = |(_, thread): &(usize, &Handle)| thread.metrics().num_alive_tasks();
        match self.threads.iter().enumerate().min_by_key(busy) {
            None | Some((0, _)) => drop(tokio::spawn(serve(tcp))),
            Some((_, thread)) => match tcp.into_std() {
                Ok(tcp) => drop(thread.spawn(async move {
                    match TcpStream::from_std(tcp) {
                        Ok(tcp) => serve(tcp).await,
                        Err(error) => no_watch(&error),
                    }
                })),
                Err(error) => no_watch(&error),
            },
        }
    }
}

fn no_watch(error: &io::Error) {
    tracing::warn!(%error, "can't watch a connection");
}

fn start() -> io::Result<(Handle, oneshot::Sender<()>)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let (stop, stopped) = oneshot::channel();
    thread::Builder::new()
        .name("gateway".to_owned())
        .spawn(move || {
            // An error: the sender is gone.
            runtime.block_on(stopped).ok();
            runtime.shutdown_background();
        })?;
    Ok((handle, stop))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::thread::ThreadId;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    fn workers(count: usize) -> Workers {
        let (threads, stop) = (0..count).map(|_| start().unwrap()).unzip();
        Workers {
            threads,
            _stop: stop,
        }
    }

    /// Each thread has its share of the clients, and what a client says is read by its thread alone.
    #[tokio::test]
    async fn clients_are_shared_out_and_stay_where_they_are() {
        const CLIENTS: usize = 12;
        let workers = workers(3);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = listener.into_std().unwrap();
        let (tell, mut told) = mpsc::unbounded_channel::<(usize, ThreadId)>();
        let listening = workers.listening();
        let accepting = listening.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            for client in 0..CLIENTS {
                let (tcp, _) = listener.accept().await.unwrap();
                let tell = tell.clone();
                workers.spawn(tcp, move |mut tcp| async move {
                    while tcp.read_u8().await.is_ok() {
                        tell.send((client, thread::current().id())).unwrap();
                    }
                });
            }
            workers
        });
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        let workers = accepting.await.unwrap();
        let mut of = HashMap::new();
        for _ in 0..3 {
            for client in &mut clients {
                client.write_all(b"?").await.unwrap();
            }
            for _ in 0..CLIENTS {
                let (client, thread) = told.recv().await.unwrap();
                assert_eq!(*of.entry(client).or_insert(thread), thread);
            }
        }
        let mut shares = HashMap::new();
        for thread in of.into_values() {
            *shares.entry(thread).or_insert(0) += 1;
        }
        let shares: Vec<_> = shares.into_values().collect();
        assert_eq!(shares, [4, 4, 4]);
        drop(workers);
        // Their threads are gone, and all that they held.
        let gone = tokio::time::timeout(Duration::from_secs(30), told.recv());
        assert_eq!(gone.await.unwrap(), None);
        for mut client in clients {
            let end = client.read_u8().await.unwrap_err();
            assert_ne!(end.kind(), io::ErrorKind::WouldBlock);
        }
    }
}
