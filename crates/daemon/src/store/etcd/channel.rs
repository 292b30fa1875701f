//! One endpoint's channel: TCP and TLS made here, so that a failed handshake has a reason.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use etcd_client::{Channel, Client, ConnectOptions};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::failure::{About, EtcdError, Failure};
use super::options::{Endpoint, EtcdOptions};

/// How long TCP and TLS may take together.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// How often a quiet peer is asked for a sign of life, and how long it may take: a machine that is
/// gone without a word is noticed after both.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// The failure seen last on an endpoint's connection.
pub(super) type LastFailure = Arc<Mutex<Option<Failure>>>;

/// A client for one endpoint. It connects at the first request, and again after a loss.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) url: String,
    pub(super) client: Client,
    failure: LastFailure,
    dial: Arc<Dial>,
}

impl Line {
    pub(super) async fn new(endpoint: &Endpoint, options: &EtcdOptions) -> Result<Self, EtcdError> {
        let failure = LastFailure::default();
        let dial = Arc::new(Dial {
            endpoint: endpoint.clone(),
            about: About {
                host: endpoint.address.host().to_owned(),
                ca_file: options.ca_file.clone(),
                certificate_file: options.cert_file.clone(),
            },
            options: options.clone(),
            last_good: Mutex::default(),
            failure: failure.clone(),
        });
        let dialled = dial.clone();
        let wrong = |error: String| EtcdError::Options(format!("{}: {error}", endpoint.url));
        let origin = endpoint
            .url
            .parse()
            .map_err(|error| wrong(format!("{error}")))?;
        // tonic sees `http`, since TLS is made below it; etcd sees the true scheme, without which it
        // would not look at our certificate's name.
        let plain = format!("http://{}", endpoint.address);
        let channel = tonic::transport::Endpoint::from_shared(plain)
            .map_err(|error| wrong(error.to_string()))?
            .origin(origin)
            .connect_timeout(CONNECT_WITHIN)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(tower::service_fn(move |_: tonic::transport::Uri| {
                let dial = dialled.clone();
                async move { dial.connect().await.map(TokioIo::new) }
            }));
        let with = ConnectOptions::new().with_require_leader(true);
        let client = Client::from_channel(Channel::Tonic(channel), Some(with))
            .await
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            url: endpoint.url.clone(),
            client,
            failure,
            dial,
        })
    }

    /// Connects once more, only to hear why that fails: a server that refuses us says so after the
    /// handshake, and whoever is writing then may lose its words.
    pub(super) async fn diagnose(&self) -> Option<Failure> {
        use tokio::io::AsyncReadExt as _;
        if let Ok(mut stream) = self.dial.connect().await {
            let mut byte = [0];
            let read = stream.read(&mut byte);
            drop(tokio::time::timeout(CONNECT_WITHIN, read).await);
        }
        self.take_failure()
    }

    /// What was seen on the connection since the last call.
    pub(super) fn take_failure(&self) -> Option<Failure> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take()
    }
}

struct Dial {
    endpoint: Endpoint,
    options: EtcdOptions,
    about: About,
    /// Files are read anew for each connection, so that renewed ones are used without a restart; when
    /// they can't be read, those that were good go on.
    last_good: Mutex<Option<Arc<ClientConfig>>>,
    failure: LastFailure,
}

impl Dial {
    async fn connect(&self) -> io::Result<Recorded> {
        let stream = match tokio::time::timeout(CONNECT_WITHIN, self.open()).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let text = "the connection was not made in time".to_owned();
                self.record(Failure::NotReachable(text));
                return Err(io::ErrorKind::TimedOut.into());
            }
        };
        Ok(Recorded {
            stream,
            about: self.about.clone(),
            failure: self.failure.clone(),
        })
    }

    async fn open(&self) -> io::Result<Box<dyn Stream>> {
        let address = &self.endpoint.address;
        let host = address.host().trim_matches(['[', ']']).to_owned();
        let found = tokio::net::lookup_host((host.as_str(), address.port())).await;
        let addresses: Vec<_> = match found {
            Ok(addresses) => addresses.collect(),
            Err(error) => {
                self.record(Failure::NoSuchHost(error.to_string()));
                return Err(error);
            }
        };
        let tcp = TcpStream::connect(addresses.as_slice())
            .await
            .inspect_err(|error| self.record(Failure::NotReachable(error.to_string())))?;
        tcp.set_nodelay(true)?;
        if !self.endpoint.tls {
            return Ok(Box::new(tcp));
        }
        let config = self.config()?;
        let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
        let tls = TlsConnector::from(config).connect(name, tcp).await;
        let tls = tls.inspect_err(|error| {
            let failure = self.about.tls(error);
            self.record(failure.unwrap_or_else(|| Failure::Tls(error.to_string())));
        })?;
        Ok(Box::new(tls))
    }

    fn config(&self) -> io::Result<Arc<ClientConfig>> {
        let mut last_good = self
            .last_good
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match (self.options.tls(), &*last_good) {
            (Ok(Some(config)), _) => {
                *last_good = Some(config.clone());
                Ok(config)
            }
            (Err(error), Some(config)) => {
                tracing::warn!(%error, "the store's certificates are kept as they were");
                Ok(config.clone())
            }
            (Err(error), None) => Err(io::Error::other(error.to_string())),
            (Ok(None), _) => Err(io::Error::other("no CA is given")),
        }
    }

    fn record(&self, failure: Failure) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that notes TLS's alerts: in TLS 1.3 a server refuses a client's certificate only after
/// the client's handshake is done.
struct Recorded {
    stream: Box<dyn Stream>,
    about: About,
    failure: LastFailure,
}

impl Recorded {
    fn note<T>(&self, result: &Poll<io::Result<T>>) {
        if let Poll::Ready(Err(error)) = result
            && let Some(failure) = self.about.tls(error)
        {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        }
    }
}

impl AsyncRead for Recorded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.note(&read);
        read
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
