//! HTTPS to one node: a TLS session whose other end was checked, and calls over it, one after another.
//!
//! ```text
//!   open(address, Expect, identity) --TCP, TLS 1.3, ALPN--> Connection { peer_key, exporter }
//!                                                             call, call, ... --first failure--> closed
//! ```
//!
//! Everything has an end: connecting, the handshake, each answer, and its size. A connection that
//! failed once is closed; who wants another opens another.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use palisade_keys::PublicKey;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::api::Failure;
use crate::client::{Call, ClientError, MAX_REPLY_BYTES};
use crate::peer::{self, Expect, Terms};
use crate::tls::ConfigError;
use crate::x509::Leaf;

/// Bytes of the heads of one answer. Ours take some 200.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Why a node was not reached, or is not the one that was expected.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nobody listens there.
    #[error("nobody answers at {address}: {source}")]
    Connect {
        /// `HOST:PORT`.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It took too long.
    #[error("no answer from {address} within {} seconds", within.as_secs_f32())]
    Slow {
        /// `HOST:PORT`.
        address: String,
        /// The time that there was.
        within: Duration,
    },
    /// Another node, or somebody in between.
    #[error("{address} is not the node that is expected there: its key is {shown}, not {expected}")]
    WrongKey {
        /// `HOST:PORT`.
        address: String,
        /// The key that the ledger has.
        expected: PublicKey,
        /// The key that was shown.
        shown: PublicKey,
    },
    /// No certificate that leads to the cluster's key and names the host.
    #[error("{address} does not prove that it belongs to the cluster: {reason}")]
    Untrusted {
        /// `HOST:PORT`.
        address: String,
        /// What is wrong with its certificate.
        reason: String,
    },
    /// The handshake failed for another reason.
    #[error("the TLS handshake with {address} failed: {reason}")]
    Handshake {
        /// `HOST:PORT`.
        address: String,
        /// Why.
        reason: String,
    },
    /// Somebody does TLS there who is no API of Palisade.
    #[error("what listens at {0} is not Palisade's API")]
    OtherDoor(String),
    /// This side's own certificate, or the host's name.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// An open connection whose other end proved who it is.
pub struct Connection {
    address: String,
    peer_key: Option<PublicKey>,
    exporter: [u8; 32],
    within: Duration,
    sender: Mutex<SendRequest<Full<Bytes>>>,
    driver: Driver,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("address", &self.address)
            .field("peer_key", &self.peer_key)
            .finish_non_exhaustive()
    }
}

/// The task that moves the connection's bytes; it ends with the connection.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Connects to `address` (`HOST:PORT`), checks that it is who is expected, and shows `identity` if
    /// there is one. Name, connection and handshake together may take `within`, and so may, later, each
    /// answer ([`Connection::answer_within`]).
    pub async fn open(
        address: &str,
        expect: &Expect,
        identity: Option<&Leaf>,
        within: Duration,
    ) -> Result<Self, OpenError> {
        let terms = expect.terms(identity)?;
        let opening = Self::shake_hands(address, expect, terms, within);
        match tokio::time::timeout(within, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(OpenError::Slow {
                address: address.to_owned(),
                within,
            }),
        }
    }

    async fn shake_hands(
        address: &str,
        expect: &Expect,
        terms: Terms,
        within: Duration,
    ) -> Result<Self, OpenError> {
        let unreachable = |source| OpenError::Connect {
            address: address.to_owned(),
            source,
        };
        let stream = TcpStream::connect(address).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let Terms {
            config,
            name,
            shown,
        } = terms;
        let connector = TlsConnector::from(config);
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(|error| refused(address, expect, shown.get().copied(), &error))?;
        let session = stream.get_ref().1;
        if session.alpn_protocol() != Some(peer::ALPN) {
            return Err(OpenError::OtherDoor(address.to_owned()));
        }
        let failed = |error: &dyn fmt::Display| OpenError::Handshake {
            address: address.to_owned(),
            reason: error.to_string(),
        };
        let exporter = peer::client_exporter(session).map_err(|error| failed(&error))?;
        let peer_key = peer::peer_key(session);
        let (sender, connection) = http1::Builder::new()
            .max_header_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        // An error of the connection is told to the call that waits.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self {
            address: address.to_owned(),
            peer_key,
            exporter,
            within,
            sender: Mutex::new(sender),
            driver: Driver(driver),
        })
    }

    /// How long each answer may take from now on, from the request's first byte to the answer's last.
    #[must_use]
    pub fn answer_within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The Ed25519 key that the other end proved. None in [`Expect::Cluster`], where a certificate was
    /// proved instead.
    #[must_use]
    pub fn peer_key(&self) -> Option<PublicKey> {
        self.peer_key
    }

    /// What both ends of this session, and nobody else, know (RFC 9266): what a joiner signs.
    #[must_use]
    pub fn exporter(&self) -> &[u8; 32] {
        &self.exporter
    }

    /// Whether another call can be tried.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.driver.0.is_finished()
    }

    /// One request, and its answer's body if it was done.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes, ClientError> {
        self.send(Call {
            method,
            path,
            body,
            headers: &[],
            limit: MAX_REPLY_BYTES,
        })
        .await
    }

    /// One request with headers and without a body, and its answer's body if it was done.
    pub async fn call_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Bytes, ClientError> {
        self.send(Call {
            method,
            path,
            body: Bytes::new(),
            headers,
            limit: MAX_REPLY_BYTES,
        })
        .await
    }

    pub(crate) async fn send(&self, call: Call<'_>) -> Result<Bytes, ClientError> {
        let request = call.request(&self.address)?;
        let mut sender = self.sender.lock().await;
        let answer = exchange(&mut sender, request, call.limit);
        let answer = match tokio::time::timeout(self.within, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::Broken(format!(
                "no answer within {} seconds",
                self.within.as_secs_f32()
            ))),
        };
        if matches!(answer, Err(ClientError::Broken(_))) {
            // What is left of the answer must not be taken for that of the next request.
            self.driver.0.abort();
        }
        answer
    }
}

/// Sends a request and reads its answer, up to `limit` bytes.
pub(crate) async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    limit: usize,
) -> Result<Bytes, ClientError> {
    let broken = |error: &dyn fmt::Display| ClientError::Broken(error.to_string());
    sender.ready().await.map_err(|error| broken(&error))?;
    let response = sender.send_request(request).await;
    let response = response.map_err(|error| broken(&error))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), limit)
        .collect()
        .await
        .map_err(|error| broken(&error))?
        .to_bytes();
    if status == StatusCode::OK {
        return Ok(body);
    }
    match serde_json::from_slice::<Failure>(&body) {
        Ok(failure) => Err(ClientError::Refused(failure)),
        Err(_) => Err(ClientError::Reply(status.to_string())),
    }
}

/// Says in words why the other end was not taken.
fn refused(
    address: &str,
    expect: &Expect,
    shown: Option<PublicKey>,
    error: &std::io::Error,
) -> OpenError {
    let address = address.to_owned();
    let reason = match error.get_ref() {
        Some(inner) => inner.to_string(),
        None => error.to_string(),
    };
    match (expect, shown) {
        (Expect::Node(expected), Some(shown)) if *expected != shown => OpenError::WrongKey {
            address,
            expected: *expected,
            shown,
        },
        (Expect::Cluster(..), _) if is_about_the_certificate(error) => {
            OpenError::Untrusted { address, reason }
        }
        _ => OpenError::Handshake { address, reason },
    }
}

fn is_about_the_certificate(error: &std::io::Error) -> bool {
    let error = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::InvalidCertificate(_)))
}
