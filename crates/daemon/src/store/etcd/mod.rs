//! The ledger in etcd (3.4 or newer, v3 API), over mutual TLS.
//!
//! ```text
//!   /palisade/<16 hex digits of the cluster key>/ledger/<20 digits>   a signed entry
//!   /palisade/<...>/head                                              "NUMBER HASH"
//!   /palisade/<...>/touch                                             written to hear of it
//! ```
//!
//! Reads are linearizable. A transaction is sent once: when its answer does not come it is
//! [`Outcome::Unknown`], and whoever sent it reads back. Requests go to one member until it fails, then
//! to the next.

mod channel;
mod failure;
mod options;
mod outside;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, Error, GetOptions, KeyValue, Txn, TxnOp};
use palisade_keys::PublicKey;
use palisade_ledger::{Head, StoreConfig};

pub use failure::{EtcdError, Failure};
pub use options::EtcdOptions;
pub use outside::Ledger as OutsideLedger;
pub use watch::{Heard, Watch};

use super::shared::{Cell, Key, Listing, Outcome, Transaction, parse_head};
use channel::Line;

/// Keys of one page: at [`palisade_ledger::limits::MAX_ENTRY_BYTES`] each they stay below
/// [`MAX_MESSAGE`].
const PAGE: i64 = 400;

/// Bytes of the largest answer that is taken.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// How long one member may take to answer one request.
const ANSWER_WITHIN: Duration = Duration::from_millis(1500);

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

    /// Asks each member in turn until one answers.
    async fn read(
        &self,
        key: &[u8],
        options: &GetOptions,
    ) -> Result<etcd_client::GetResponse, EtcdError> {
        let mut failures = Vec::new();
        for _ in 0..self.inner.lines.len() {
            let line = self.line();
            line.take_failure();
            let kv = line.client.kv_client();
            let mut kv = kv.max_decoding_message_size(MAX_MESSAGE);
            let get = kv.get(key, Some(options.clone()));
            let failure = match tokio::time::timeout(ANSWER_WITHIN, get).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => told(&line, &error),
                Err(_) => silent(&line),
            };
            self.pass_over(&line);
            failures.push((line.url, failure));
        }
        Err(EtcdError::Endpoints(failures))
    }

    /// Asks for the head, linearizably: whether there is a quorum, and whose.
    pub async fn probe(&self) -> Result<Probed, EtcdError> {
        let options = GetOptions::new().with_count_only();
        let response = self.read(&self.key(&Key::Head), &options).await?;
        let header = response.header();
        Ok(Probed {
            cluster_id: header.map_or(0, etcd_client::ResponseHeader::cluster_id),
            revision: header.map_or(0, |header| unsigned(header.revision())),
        })
    }

    /// The head as the store names it; unverified.
    pub async fn head(&self) -> Result<Option<Head>, EtcdError> {
        let response = self.read(&self.key(&Key::Head), &GetOptions::new()).await?;
        let pair = response.kvs().first();
        Ok(pair.and_then(|pair| parse_head(pair.value())))
    }

    /// All keys, as they stood at one revision.
    pub async fn list(&self) -> Result<Listed, EtcdError> {
        let end = successor(&self.inner.prefix);
        let mut from = self.inner.prefix.clone();
        let mut listed: Option<Listed> = None;
        loop {
            let revision = listed.as_ref().map_or(0, |listed| listed.listing.revision);
            let options = GetOptions::new()
                .with_range(end.clone())
                .with_limit(PAGE)
                .with_revision(i64::try_from(revision).unwrap_or(0));
            let response = self.read(&from, &options).await?;
            let header = response.header();
            let listed = listed.get_or_insert_with(|| Listed {
                listing: Listing {
                    revision: header.map_or(0, |header| unsigned(header.revision())),
                    cells: Vec::new(),
                },
                cluster_id: header.map_or(0, etcd_client::ResponseHeader::cluster_id),
            });
            let cells = response.kvs().iter().filter_map(|pair| self.cell(pair));
            listed.listing.cells.extend(cells);
            match response.kvs().last() {
                Some(last) if response.more() => {
                    from = last.key().to_vec();
                    from.push(0);
                }
                _ => return Ok(listed.clone()),
            }
        }
    }

    /// At most `most` entries from number `from` on.
    async fn range(&self, from: u64, most: usize) -> Result<Vec<Cell>, EtcdError> {
        let end = successor(&self.key(&Key::Entry(u64::MAX)));
        let (mut from, mut cells) = (self.key(&Key::Entry(from)), Vec::new());
        while cells.len() < most {
            let left = i64::try_from(most - cells.len()).unwrap_or(PAGE);
            let options = GetOptions::new()
                .with_range(end.clone())
                .with_limit(left.min(PAGE));
            let response = self.read(&from, &options).await?;
            cells.extend(response.kvs().iter().filter_map(|pair| self.cell(pair)));
            match response.kvs().last() {
                Some(last) if response.more() => {
                    from = last.key().to_vec();
                    from.push(0);
                }
                _ => break,
            }
        }
        Ok(cells)
    }

    fn cell(&self, pair: &KeyValue) -> Option<Cell> {
        let key = pair.key().strip_prefix(self.inner.prefix.as_slice())?;
        Some(Cell {
            key: Key::parse(key),
            value: pair.value().to_vec(),
            revision: unsigned(pair.mod_revision()),
        })
    }

    /// Sends a transaction, once. An error says that it was not made.
    pub async fn transact(&self, transaction: Transaction) -> Result<Outcome, EtcdError> {
        let mut failures = Vec::new();
        for _ in 0..self.inner.lines.len() {
            let line = self.line();
            line.take_failure();
            let mut kv = line.client.kv_client();
            let sent = kv.txn(self.encode(&transaction));
            let failure = match tokio::time::timeout(ANSWER_WITHIN, sent).await {
                Ok(Ok(response)) if response.succeeded() => {
                    let revision = response
                        .header()
                        .map_or(0, |header| unsigned(header.revision()));
                    return Ok(Outcome::Committed(revision));
                }
                Ok(Ok(_)) => return Ok(Outcome::Conflict),
                Ok(Err(error)) => {
                    let unsent = was_not_made(&error);
                    let failure = told(&line, &error);
                    tracing::debug!(%error, %failure, unsent, "a transaction failed");
                    self.pass_over(&line);
                    if !unsent {
                        return Ok(Outcome::Unknown);
                    }
                    failure
                }
                Err(_) => {
                    self.pass_over(&line);
                    return Ok(Outcome::Unknown);
                }
            };
            failures.push((line.url, failure));
        }
        Err(EtcdError::Endpoints(failures))
    }

    fn encode(&self, transaction: &Transaction) -> Txn {
        let guards: Vec<Compare> = transaction
            .guards
            .iter()
            .map(|(key, revision)| {
                let revision = i64::try_from(*revision).unwrap_or(i64::MAX);
                Compare::mod_revision(self.key(key), CompareOp::Equal, revision)
            })
            .collect();
        let writes: Vec<TxnOp> = transaction
            .writes
            .iter()
            .map(|(key, value)| match value {
                Some(value) => TxnOp::put(self.key(key), value.clone(), None),
                None => TxnOp::delete(self.key(key), None),
            })
            .collect();
        Txn::new().when(guards).and_then(writes)
    }
}

fn unsigned(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or(0)
}

/// The first key behind all that begin with `prefix`.
fn successor(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

fn silent(line: &Line) -> Failure {
    line.take_failure().unwrap_or_else(|| {
        let text = format!("nothing within {} ms", ANSWER_WITHIN.as_millis());
        Failure::NoAnswer(text)
    })
}

/// Whether an error says for certain that the request was not carried out: the connection was never
/// made, or etcd refused it before it went to the log.
fn was_not_made(error: &Error) -> bool {
    match error {
        Error::GRpcStatus(status) => {
            let refused = matches!(
                status.code(),
                tonic::Code::InvalidArgument
                    | tonic::Code::PermissionDenied
                    | tonic::Code::Unauthenticated
                    | tonic::Code::ResourceExhausted
                    | tonic::Code::OutOfRange
            );
            refused || never_connected(status)
        }
        Error::InvalidArgs(_) | Error::InvalidUri(_) => true,
        _ => false,
    }
}

fn never_connected(status: &tonic::Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// What an error means: what the connection saw says more than gRPC does.
fn told(line: &Line, error: &Error) -> Failure {
    if let Some(failure) = line.take_failure() {
        return failure;
    }
    let Error::GRpcStatus(status) = error else {
        return Failure::NoAnswer(error.to_string());
    };
    let text = status.message().to_owned();
    match status.code() {
        tonic::Code::PermissionDenied | tonic::Code::Unauthenticated => Failure::Forbidden(text),
        // "user name is empty", "authentication is not enabled": etcd's auth errors.
        tonic::Code::InvalidArgument if text.contains("user name") || text.contains("auth") => {
            Failure::Forbidden(text)
        }
        tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Cancelled => {
            Failure::NoAnswer(text)
        }
        _ => Failure::Refused(text),
    }
}
