//! A logged-in session: runs one statement at a time and hands over what comes back.

use super::connect::{ConnectError, Endpoint};
use super::error::ServerError;
use super::wire::Wire;
use bytes::Bytes;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{DataRowBody, Message, RowDescriptionBody};
use postgres_protocol::message::frontend::{self, CopyData};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A connection that can't be written to has its last word here already, or never.
const LAST_WORD_WITHIN: Duration = Duration::from_secs(2);

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// The type's number in `pg_type`.
    pub(super) type_oid: u32,
}

/// A row: text, or NULL.
pub(super) type Row = Vec<Option<String>>;

/// Takes what a statement gives, in the server's order.
pub(super) trait Receiver {
    /// A result begins.
    fn columns(&mut self, columns: Vec<Column>) -> io::Result<()>;
    /// A row of it.
    fn row(&mut self, row: Row) -> io::Result<()>;
    /// The statement is done; `tag` is such as `INSERT 0 1`.
    fn complete(&mut self, tag: &str) -> io::Result<()>;
    /// A part of what COPY TO STDOUT gives.
    fn copy_data(&mut self, data: &[u8]) -> io::Result<()>;
    /// A warning or the like.
    fn notice(&mut self, notice: &ServerError);
    /// What NOTIFY sent.
    fn notification(&mut self, channel: &str, payload: &str);
}

/// Gives what COPY FROM STDIN takes.
pub(super) trait CopySource {
    /// The next part; `None` at the end. Loses nothing when it is dropped half-way.
    async fn next(&mut self) -> io::Result<Option<Bytes>>;
}

/// There is nothing to copy from.
pub(super) struct NoCopySource;

impl CopySource for NoCopySource {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        Err(io::Error::other(
            "there is no data here to copy from: use \\copy",
        ))
    }
}

/// Why a statement did not end well.
#[derive(Debug, thiserror::Error)]
pub(super) enum QueryError {
    /// The server refused it; the session goes on.
    #[error("{}", .0.message)]
    Server(Box<ServerError>),
    /// The connection is gone; with the server's last word if it gave one.
    #[error("the connection to the cluster was lost: {source}")]
    Lost {
        /// Such as `terminating connection due to administrator command`.
        last_word: Option<Box<ServerError>>,
        /// What broke.
        source: io::Error,
    },
    /// Our own output can't be written.
    #[error("can't write: {0}")]
    Output(io::Error),
}

/// Whether a transaction block is open, by the server's last word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transaction {
    /// None.
    Idle,
    /// One.
    Open,
    /// One that has failed and waits for ROLLBACK.
    Failed,
}

/// A logged-in session.
pub(super) struct Session {
    wire: Wire,
    endpoint: Endpoint,
    parameters: BTreeMap<String, String>,
    backend: Option<(i32, i32)>,
    transaction: Transaction,
    interrupts: Signal,
}

impl Session {
    /// Connects and logs in; shows the notices that came with it.
    pub(super) async fn open(
        endpoint: Endpoint,
        receiver: &mut dyn Receiver,
    ) -> Result<Self, ConnectError> {
        let interrupts = signal(SignalKind::interrupt()).map_err(|error| ConnectError::Other {
            cause: error.to_string(),
            hint: "the operating system refuses to hand over Ctrl-C".to_owned(),
        })?;
        let (wire, greeting) = endpoint.connect().await?;
        for notice in &greeting.notices {
            receiver.notice(notice);
        }
        Ok(Self {
            wire,
            endpoint,
            parameters: greeting.parameters,
            backend: greeting.backend,
            transaction: Transaction::Idle,
            interrupts,
        })
    }

    /// Where this session goes and as whom.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A parameter that the server reports by itself, such as `server_version`.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// The process that serves this session.
    pub(super) fn process_id(&self) -> Option<i32> {
        self.backend.map(|(process, _)| process)
    }

    /// Whether a transaction block is open.
    pub(super) fn transaction(&self) -> Transaction {
        self.transaction
    }

    /// Resolves at Ctrl-C.
    pub(super) async fn interrupted(&mut self) {
        self.interrupts.recv().await;
    }

    /// Says goodbye.
    pub(super) async fn close(mut self) {
        let goodbye = self.wire.send(|buffer| {
            frontend::terminate(buffer);
            Ok(())
        });
        // A connection that is gone needs no goodbye.
        goodbye.await.ok();
    }

    /// Runs one statement to its end. Ctrl-C asks the server to cancel it.
    pub(super) async fn run(
        &mut self,
        sql: &str,
        receiver: &mut dyn Receiver,
        source: &mut impl CopySource,
    ) -> Result<(), QueryError> {
        let sent = self.wire.send(|buffer| frontend::query(sql, buffer)).await;
        let mut failure = None;
        if let Err(error) = sent {
            return Err(self.lost(failure, error).await);
        }
        loop {
            let message = tokio::select! {
                message = self.wire.receive() => message,
                _ = self.interrupts.recv() => {
                    self.cancel().await;
                    continue;
                }
            };
            match message {
                Ok(Message::ReadyForQuery(body)) => {
                    self.transaction = match body.status() {
                        b'T' => Transaction::Open,
                        b'E' => Transaction::Failed,
                        _ => Transaction::Idle,
                    };
                    return match failure {
                        None => Ok(()),
                        Some(error) => Err(QueryError::Server(Box::new(error))),
                    };
                }
                Ok(Message::ErrorResponse(body)) => {
                    failure = Some(ServerError::read(body.fields()));
                }
                Ok(Message::CopyInResponse(_)) => match self.copy_in(source, receiver).await {
                    Ok(error) => failure = failure.or(error),
                    Err(error) => return Err(self.lost(failure, error).await),
                },
                Ok(message) => self
                    .hand_over(message, receiver)
                    .map_err(QueryError::Output)?,
                Err(error) => return Err(self.lost(failure, error).await),
            }
        }
    }

    /// Gives one message to the receiver.
    fn hand_over(&mut self, message: Message, receiver: &mut dyn Receiver) -> io::Result<()> {
        match message {
            Message::RowDescription(body) => receiver.columns(columns(&body)?),
            Message::DataRow(body) => receiver.row(row(&body)?),
            Message::CommandComplete(body) => receiver.complete(body.tag()?),
            Message::CopyData(body) => receiver.copy_data(body.data()),
            Message::NoticeResponse(body) => {
                receiver.notice(&ServerError::read(body.fields()));
                Ok(())
            }
            Message::NotificationResponse(body) => {
                receiver.notification(body.channel()?, body.message()?);
                Ok(())
            }
            Message::ParameterStatus(body) => {
                self.parameters
                    .insert(body.name()?.to_owned(), body.value()?.to_owned());
                Ok(())
            }
            // CopyOutResponse, CopyDone, EmptyQueryResponse: what comes with them says it all.
            _ => Ok(()),
        }
    }

    /// Feeds COPY FROM STDIN; returns the server's error if it gives one before the end. What goes
    /// wrong with the source is the server's to tell: it hears the reason, and its error ends the
    /// statement.
    async fn copy_in(
        &mut self,
        source: &mut impl CopySource,
        receiver: &mut dyn Receiver,
    ) -> io::Result<Option<ServerError>> {
        loop {
            let part = tokio::select! {
                part = source.next() => part,
                message = self.wire.receive() => match message? {
                    // It takes no more: what is not sent need not be read.
                    Message::ErrorResponse(body) => return Ok(Some(ServerError::read(body.fields()))),
                    message => {
                        self.hand_over(message, receiver)?;
                        continue;
                    }
                },
                _ = self.interrupts.recv() => Err(io::Error::other("canceled by the user")),
            };
            match part {
                Ok(Some(data)) => {
                    self.wire
                        .send(|buffer| {
                            CopyData::new(data)?.write(buffer);
                            Ok(())
                        })
                        .await?;
                }
                Ok(None) => {
                    let done = |buffer: &mut bytes::BytesMut| {
                        frontend::copy_done(buffer);
                        Ok(())
                    };
                    return self.wire.send(done).await.map(|()| None);
                }
                Err(error) => {
                    let reason = error.to_string();
                    let fail = |buffer: &mut bytes::BytesMut| frontend::copy_fail(&reason, buffer);
                    return self.wire.send(fail).await.map(|()| None);
                }
            }
        }
    }

    async fn cancel(&mut self) {
        if let Some(backend) = self.backend {
            self.endpoint.cancel(backend).await;
        }
    }

    /// The connection broke; perhaps the server's last word still lies in the buffers.
    async fn lost(&mut self, mut last_word: Option<ServerError>, source: io::Error) -> QueryError {
        if last_word.is_none() {
            let search = async {
                loop {
                    match self.wire.receive().await {
                        Ok(Message::ErrorResponse(body)) => {
                            return Some(ServerError::read(body.fields()));
                        }
                        Ok(_) => {}
                        Err(_) => return None,
                    }
                }
            };
            last_word = tokio::time::timeout(LAST_WORD_WITHIN, search)
                .await
                .unwrap_or_default();
        }
        QueryError::Lost {
            last_word: last_word.map(Box::new),
            source,
        }
    }
}

fn columns(body: &RowDescriptionBody) -> io::Result<Vec<Column>> {
    body.fields()
        .map(|field| {
            Ok(Column {
                name: field.name().to_owned(),
                type_oid: field.type_oid(),
            })
        })
        .collect()
}

fn row(body: &DataRowBody) -> io::Result<Row> {
    let buffer = body.buffer();
    body.ranges()
        .map(|range| {
            // A range that the codec gave lies within the buffer it belongs to.
            let bytes = range.and_then(|range| buffer.get(range));
            Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
        })
        .collect()
}
