//! The ledger in etcd (3.4 or newer, v3 API), over mutual TLS.
//!
//! ```text
//!   /palisade/<16 hex digits of the cluster key>/ledger/<20 digits>   a signed entry
//!   /palisade/<...>/head                                              "NUMBER HASH"
//!   /palisade/<...>/touch                                             written to hear of it
//! ```
//!
//! Reads are linearizable. A transaction is sent once: when its answer does not come it is
//! [`super::shared::Outcome::Unknown`], and whoever sent it reads back. Requests go to one member until it fails, then
//! to the next.

mod channel;
mod failure;
mod options;
mod outside;
mod requests;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use etcd_client::{Client, Error};
use palisade_keys::PublicKey;
use palisade_ledger::StoreConfig;

pub use failure::{EtcdError, Failure};
pub use options::EtcdOptions;
pub use outside::{Ledger as OutsideLedger, Shown};
pub use watch::{Heard, Watch};

use super::shared::{Key, Listing};
use channel::Line;
use requests::told;

/// Bytes of the largest answer that is taken.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// All keys at one revision, and whose they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The keys.
    pub listing: Listing,
    /// etcd's own id of the cluster: another one after a restored backup.
    pub cluster_id: u64,
}

/// Who answered, and how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probed {
    /// etcd's own id of the cluster.
    pub cluster_id: u64,
    /// Its revision now.
    pub revision: u64,
}

/// A cluster's ledger in an etcd. Cheap to clone.
#[derive(Clone)]
pub struct EtcdStore {
    inner: Arc<Inner>,
}

struct Inner {
    first: Line,
    /// All of them, the first as well.
    lines: Vec<Line>,
    current: AtomicUsize,
    prefix: Vec<u8>,
    /// Where the connections' tasks live.
    runtime: tokio::runtime::Handle,
}

impl std::fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("EtcdStore").field(&self.endpoints()).finish()
    }
}

/// Below which prefix a cluster's keys lie.
#[must_use]
pub fn prefix(cluster_key: &PublicKey) -> String {
    let print = cluster_key.fingerprint();
    let (first, _) = print.as_bytes().split_at(8);
    let digits = u64::from_be_bytes(first.try_into().unwrap_or_default());
    format!("/palisade/{digits:016x}/")
}

impl EtcdStore {
    /// Checks the files, connects to the first endpoint that answers, and reads the head once. Must be
    /// called within a tokio runtime, which then carries the connections.
    pub async fn connect(
        options: &EtcdOptions,
        cluster_key: &PublicKey,
    ) -> Result<Self, EtcdError> {
        let store = Self::new(options, cluster_key).await?;
        match store.probe().await {
            Ok(_) => Ok(store),
            Err(error) => Err(store.diagnose(error).await),
        }
    }

    /// Says more of endpoints that just gave no answer, if there is more to say.
    pub async fn diagnose(&self, error: EtcdError) -> EtcdError {
        let EtcdError::Endpoints(mut failures) = error else {
            return error;
        };
        for (url, failure) in &mut failures {
            let line = self.inner.lines.iter().find(|line| line.url == *url);
            if matches!(failure, Failure::NoAnswer(_))
                && let Some(line) = line
                && let Some(reason) = line.diagnose().await
            {
                *failure = reason;
            }
        }
        EtcdError::Endpoints(failures)
    }

    /// Like [`Self::connect`], but asks nobody yet: for a node that starts before its etcd does.
    pub async fn new(options: &EtcdOptions, cluster_key: &PublicKey) -> Result<Self, EtcdError> {
        let endpoints = options.read_endpoints()?;
        if endpoints.iter().any(|endpoint| endpoint.tls) {
            options.tls()?;
        }
        let mut lines = Vec::new();
        for endpoint in &endpoints {
            lines.push(Line::new(endpoint, options).await?);
        }
        let Some(first) = lines.first().cloned() else {
            return Err(EtcdError::Options("no endpoint is given".to_owned()));
        };
        let runtime = tokio::runtime::Handle::current();
        Ok(Self {
            inner: Arc::new(Inner {
                first,
                lines,
                current: AtomicUsize::new(0),
                prefix: prefix(cluster_key).into_bytes(),
                runtime,
            }),
        })
    }

    /// Its endpoints.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        let lines = self.inner.lines.iter();
        lines.map(|line| line.url.clone()).collect()
    }

    /// Below which prefix the cluster's keys lie.
    #[must_use]
    pub fn prefix(&self) -> String {
        String::from_utf8_lossy(&self.inner.prefix).into_owned()
    }

    /// Whether a configuration names this very store.
    #[must_use]
    pub fn is(&self, config: &StoreConfig) -> bool {
        matches!(config, StoreConfig::Endpoints(urls) if *urls == self.endpoints())
    }

    /// A client of the member that is asked now, for what is not the ledger's own (members, RBAC,
    /// status). Its errors can be told by [`Self::explain`].
    #[must_use]
    pub fn client(&self) -> Client {
        self.line().client
    }

    /// What an error of [`Self::client`] means, and that the next member is to be asked.
    #[must_use]
    pub fn explain(&self, error: &Error) -> Failure {
        let line = self.line();
        let failure = told(&line, error);
        self.pass_over(&line);
        failure
    }

    fn line(&self) -> Line {
        let at = self.inner.current.load(Ordering::Relaxed);
        let lines = &self.inner.lines;
        let line = lines.get(at % lines.len().max(1));
        line.unwrap_or(&self.inner.first).clone()
    }

    /// The next member is asked from now on, unless another one is already.
    fn pass_over(&self, line: &Line) {
        let at = self.inner.current.load(Ordering::Relaxed);
        let lines = &self.inner.lines;
        if lines
            .get(at % lines.len().max(1))
            .is_some_and(|now| now.url == line.url)
        {
            self.inner
                .current
                .store(at.wrapping_add(1), Ordering::Relaxed);
        }
    }

    fn failed(&self, text: &str) -> EtcdError {
        let failure = Failure::NoAnswer(text.to_owned());
        EtcdError::Endpoints(vec![(self.line().url, failure)])
    }

    fn key(&self, key: &Key) -> Vec<u8> {
        [self.inner.prefix.clone(), key.to_bytes()].concat()
    }
}
