//! Cancel keys: what a client was told of its session, and what PostgreSQL is told instead.
//!
//! A client never learns the key of the PostgreSQL process behind it: that process may serve
//! another session later.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use subtle::ConstantTimeEq as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::wire::backend::Outgoing;
use crate::wire::startup::CancelRequest;

/// PostgreSQL closes the connection once it has sent the signal; this is for one that hangs.
const CANCEL_WITHIN: Duration = Duration::from_secs(5);

/// How to make PostgreSQL cancel what a process of it does.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) process: u32,
    pub(crate) key: Vec<u8>,
}

impl Target {
    /// Asks PostgreSQL; whether it had an effect, it does not say.
    pub(crate) async fn cancel(&self, socket: &Path) -> io::Result<()> {
        let ask = async {
            let mut stream = UnixStream::connect(socket).await?;
            let mut out = Outgoing::default();
            out.cancel(self.process, &self.key);
            stream.write_all(&out.0).await?;
            // It says nothing; it closes.
            stream.read(&mut [0; 1]).await.map(drop)
        };
        tokio::time::timeout(CANCEL_WITHIN, ask)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// The sessions that can be cancelled, by PostgreSQL's process.
#[derive(Default)]
pub(crate) struct CancelKeys(Mutex<HashMap<u32, (Vec<u8>, Target)>>);

/// A session's entry; taken out when dropped.
pub(crate) struct Cancellable {
    keys: Arc<CancelKeys>,
    process: u32,
    key: Vec<u8>,
}

impl CancelKeys {
    /// Enters a session with a new random key: 4 bytes, or 32 for a client that takes so many
    /// (protocol 3.2). `None` when the system has no randomness.
    pub(crate) fn enter(self: &Arc<Self>, target: Target, long: bool) -> Option<Cancellable> {
        let mut key = vec![0; if long { 32 } else { 4 }];
        SystemRandom::new().fill(&mut key).ok()?;
        let process = target.process;
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.insert(process, (key.clone(), target));
        Some(Cancellable {
            keys: Arc::clone(self),
            process,
            key,
        })
    }

    /// The session that the request knows the key of.
    pub(crate) fn find(&self, request: &CancelRequest) -> Option<Target> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, target) = sessions.get(&request.process)?;
        bool::from(key.as_slice().ct_eq(&request.key)).then(|| target.clone())
    }
}

impl Cancellable {
    pub(crate) fn process(&self) -> u32 {
        self.process
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Drop for Cancellable {
    fn drop(&mut self) {
        let mut sessions = self.keys.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The process may have ended and its number been given to another session meanwhile.
        if sessions
            .get(&self.process)
            .is_some_and(|(key, _)| *key == self.key)
        {
            sessions.remove(&self.process);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_key_finds_a_session() {
        let keys = Arc::new(CancelKeys::default());
        let target = Target {
            process: 7,
            key: vec![1, 2, 3, 4],
        };
        let entry = keys.enter(target.clone(), true).unwrap();
        let find = |process, key: &[u8]| {
            let key = key.to_vec();
            keys.find(&CancelRequest { process, key })
        };
        let own = entry.key().to_vec();
        assert_eq!(own.len(), 32);
        assert!(find(7, &own) == Some(target));
        assert!(find(8, &own).is_none());
        assert!(find(7, &own[..4]).is_none());
        assert!(find(7, &[1, 2, 3, 4]).is_none(), "PostgreSQL's own key");
        assert!(find(7, &[]).is_none());
        drop(entry);
        assert!(find(7, &own).is_none());
    }
}
