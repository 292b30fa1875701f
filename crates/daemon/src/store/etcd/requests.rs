//! Requests: linearizable reads, asked of each member in turn, and transactions, sent once.

use std::time::Duration;

use etcd_client::{Compare, CompareOp, Error, GetOptions, KeyValue, Txn, TxnOp};

use super::channel::Line;
use super::{EtcdError, EtcdStore, Failure, Listed, MAX_MESSAGE, Probed};
use crate::store::shared::{Cell, Key, Listing, Outcome, Transaction};

/// Keys of one page: at [`palisade_ledger::limits::MAX_ENTRY_BYTES`] each they stay below
/// [`MAX_MESSAGE`].
const PAGE: i64 = 400;

/// How long one member may take to answer one request.
const ANSWER_WITHIN: Duration = Duration::from_millis(1500);

impl EtcdStore {
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
    pub(super) async fn range(&self, from: u64, most: usize) -> Result<Vec<Cell>, EtcdError> {
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
            version: unsigned(pair.version()),
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
pub(super) fn told(line: &Line, error: &Error) -> Failure {
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
