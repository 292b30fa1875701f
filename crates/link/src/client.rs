//! The client of the control socket.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::api::{Challenge, Done, Failure, HeadReply, SignedCommand, Status};

/// Bytes of the largest answer: a page of the largest entries.
const MAX_REPLY_BYTES: usize = 80 * 1024 * 1024;

/// Why the daemon did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no daemon answers at {}: {source}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("the connection to the daemon broke: {0}")]
    Broken(String),
    /// The daemon refused.
    #[error("{}", .0.error)]
    Refused(Failure),
    /// The daemon's answer can't be read.
    #[error("the daemon's answer can't be read: {0}")]
    Reply(String),
}

/// A connection to a daemon, by its control socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the daemon at this socket.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    /// The socket's path.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where the ledger stands.
    pub async fn head(&self) -> Result<HeadReply, ClientError> {
        json(&self.call(Method::GET, "/v1/head", Bytes::new()).await?)
    }

    /// Signed entries from a sequence number on: a CBOR sequence of one page.
    pub async fn entries(&self, from: u64) -> Result<Bytes, ClientError> {
        let path = format!("/v1/entries?from={from}");
        self.call(Method::GET, &path, Bytes::new()).await
    }

    /// Appends one signed entry. When this returns, the entry is durable.
    pub async fn append(&self, entry: Vec<u8>) -> Result<HeadReply, ClientError> {
        json(&self.call(Method::POST, "/v1/entries", entry.into()).await?)
    }

    /// How the node is.
    pub async fn status(&self) -> Result<Status, ClientError> {
        json(&self.call(Method::GET, "/v1/status", Bytes::new()).await?)
    }

    /// Has the daemon read its files again.
    pub async fn reload(&self) -> Result<Done, ClientError> {
        json(&self.call(Method::POST, "/v1/reload", Bytes::new()).await?)
    }

    /// A challenge for the next command.
    pub async fn challenge(&self) -> Result<Challenge, ClientError> {
        json(
            &self
                .call(Method::GET, "/v1/challenge", Bytes::new())
                .await?,
        )
    }

    /// Has a signed command carried out.
    pub async fn command(&self, command: &SignedCommand) -> Result<Done, ClientError> {
        let body = serde_json::to_vec(command).map_err(|e| ClientError::Reply(e.to_string()))?;
        json(&self.call(Method::POST, "/v1/commands", body.into()).await?)
    }

    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, ClientError> {
        let stream =
            UnixStream::connect(&self.socket)
                .await
                .map_err(|source| ClientError::Connect {
                    path: self.socket.clone(),
                    source,
                })?;
        let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let driver = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "palisade")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| ClientError::Broken(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_REPLY_BYTES)
            .collect()
            .await
            .map_err(|error| ClientError::Broken(error.to_string()))?
            .to_bytes();
        driver.abort();
        if status == StatusCode::OK {
            return Ok(body);
        }
        match serde_json::from_slice::<Failure>(&body) {
            Ok(failure) => Err(ClientError::Refused(failure)),
            Err(_) => Err(ClientError::Reply(status.to_string())),
        }
    }
}

fn json<T: DeserializeOwned>(body: &Bytes) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|error| ClientError::Reply(error.to_string()))
}
