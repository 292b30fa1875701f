//! The client of the API: the same calls over the control socket and over HTTPS.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::api::{
    Adopt, CaProof, CertificateReply, CertificateRequest, Challenge, Done, Failure, HeadReply,
    Hello, Identity, JOIN_HEADER, JoinProof, Myself, SignedCommand, Status, path,
};
use crate::https::{self, Connection, OpenError};

/// Bytes of the largest answer: a page of the largest entries.
pub(crate) const MAX_REPLY_BYTES: usize = 80 * 1024 * 1024;

/// Bytes of any other answer: the status of a thousand nodes, or their metrics.
const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of what somebody says who is not known yet.
const MAX_STRANGER_BYTES: usize = 64 * 1024;

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
    /// No node was reached over HTTPS, or not the one that was meant.
    #[error(transparent)]
    Open(#[from] OpenError),
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

/// One request, before it is one of a socket or of a TLS session.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) body: Bytes,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) limit: usize,
}

impl Call<'_> {
    pub(crate) fn request(&self, host: &str) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder()
            .method(&self.method)
            .uri(self.path)
            .header("host", host)
            .header("content-type", "application/json");
        for (name, value) in self.headers {
            request = request.header(*name, *value);
        }
        request
            .body(Full::new(self.body.clone()))
            .map_err(|error| ClientError::Broken(error.to_string()))
    }
}

/// How a daemon is reached.
#[derive(Debug, Clone)]
enum Route {
    Socket(PathBuf),
    Https(Arc<Connection>),
}

/// A client of one daemon. Clones use the same connection.
#[derive(Debug, Clone)]
pub struct Client {
    route: Route,
    proof: Option<String>,
}

impl Client {
    /// A client of the daemon whose control socket is at this path; each call connects anew.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            route: Route::Socket(socket.into()),
            proof: None,
        }
    }

    /// A client of the node at the other end of a connection. When the connection breaks, the client is
    /// of no more use.
    #[must_use]
    pub fn https(connection: impl Into<Arc<Connection>>) -> Self {
        Self {
            route: Route::Https(connection.into()),
            proof: None,
        }
    }

    /// The same, with a joiner's proof shown at each call. It was made for this connection's exporter.
    #[must_use]
    pub fn with_proof(mut self, proof: &JoinProof) -> Self {
        self.proof = Some(proof.to_header());
        self
    }

    /// The connection, if it is one over HTTPS.
    #[must_use]
    pub fn connection(&self) -> Option<&Connection> {
        match &self.route {
            Route::Socket(_) => None,
            Route::Https(connection) => Some(connection),
        }
    }

    /// Where the ledger stands.
    pub async fn head(&self) -> Result<HeadReply, ClientError> {
        self.get(path::HEAD).await
    }

    /// Signed entries from a sequence number on: a CBOR sequence of one page.
    pub async fn entries(&self, from: u64) -> Result<Bytes, ClientError> {
        let path = format!("{}?from={from}", path::ENTRIES);
        self.call(Method::GET, &path, Bytes::new(), MAX_REPLY_BYTES)
            .await
    }

    /// Appends one signed entry. When this returns, the entry is durable.
    pub async fn append(&self, entry: Vec<u8>) -> Result<HeadReply, ClientError> {
        let body = entry.into();
        json(
            &self
                .call(Method::POST, path::ENTRIES, body, MAX_MESSAGE_BYTES)
                .await?,
        )
    }

    /// How the node is.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get(path::STATUS).await
    }

    /// Has the daemon read its files again.
    pub async fn reload(&self) -> Result<Done, ClientError> {
        let body = Bytes::new();
        json(
            &self
                .call(Method::POST, path::RELOAD, body, MAX_MESSAGE_BYTES)
                .await?,
        )
    }

    /// What the caller, a user, needs to sign a change of his own.
    pub async fn myself(&self) -> Result<Myself, ClientError> {
        self.get(path::SELF).await
    }

    /// A challenge for the next command.
    pub async fn challenge(&self) -> Result<Challenge, ClientError> {
        self.get(path::CHALLENGE).await
    }

    /// Has a signed command carried out.
    pub async fn command(&self, command: &SignedCommand) -> Result<Done, ClientError> {
        self.post(path::COMMANDS, command).await
    }

    /// What the alerts watch, as text in the format `OpenMetrics`.
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let body = Bytes::new();
        let text = self
            .call(Method::GET, path::METRICS, body, MAX_MESSAGE_BYTES)
            .await?;
        String::from_utf8(text.into()).map_err(|error| ClientError::Reply(error.to_string()))
    }

    /// Who the node says that it is. What it says of its key must be the key that TLS proved; else this
    /// is refused.
    pub async fn identity(&self) -> Result<Identity, ClientError> {
        let body = Bytes::new();
        let said = self
            .call(Method::GET, path::IDENTITY, body, MAX_STRANGER_BYTES)
            .await?;
        let identity: Identity = json(&said)?;
        let proved = self.connection().and_then(Connection::peer_key);
        if proved.is_some() && identity.public_key() != proved {
            return Err(ClientError::Reply(
                "the node names another key than the one that it proved".to_owned(),
            ));
        }
        Ok(identity)
    }

    /// Whether the node lives, and where it stands.
    pub async fn hello(&self) -> Result<Hello, ClientError> {
        self.get(path::HELLO).await
    }

    /// Tells a waiting node which cluster it is a member of now.
    pub async fn adopt(&self, adopt: &Adopt) -> Result<Done, ClientError> {
        self.post(path::ADOPT, adopt).await
    }

    /// Has an issuer sign a certificate for this node.
    pub async fn certificate(
        &self,
        request: &CertificateRequest,
    ) -> Result<CertificateReply, ClientError> {
        self.post(path::CERTIFICATE, request).await
    }

    /// Has the node prove that it works with a candidate for issuing CA.
    pub async fn prove_ca(&self, proof: &CaProof) -> Result<Done, ClientError> {
        self.post(path::CA_PROVE, proof).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let body = Bytes::new();
        json(
            &self
                .call(Method::GET, path, body, MAX_MESSAGE_BYTES)
                .await?,
        )
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        message: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(message).map_err(|e| ClientError::Reply(e.to_string()))?;
        json(
            &self
                .call(Method::POST, path, body.into(), MAX_MESSAGE_BYTES)
                .await?,
        )
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        limit: usize,
    ) -> Result<Bytes, ClientError> {
        let proof = self.proof.as_deref().map(|proof| (JOIN_HEADER, proof));
        let call = Call {
            method,
            path,
            body,
            headers: proof.as_slice(),
            limit,
        };
        match &self.route {
            Route::Socket(socket) => over_socket(socket, &call).await,
            Route::Https(connection) => connection.send(call).await,
        }
    }
}

async fn over_socket(socket: &std::path::Path, call: &Call<'_>) -> Result<Bytes, ClientError> {
    let stream = UnixStream::connect(socket).await;
    let stream = stream.map_err(|source| ClientError::Connect {
        path: socket.to_owned(),
        source,
    })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| ClientError::Broken(error.to_string()))?;
    let driver = tokio::spawn(connection);
    let answer = https::exchange(&mut sender, call.request("palisade")?, call.limit).await;
    driver.abort();
    answer
}

fn json<T: DeserializeOwned>(body: &Bytes) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|error| ClientError::Reply(error.to_string()))
}
