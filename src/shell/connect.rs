//! From a command line to a session that is logged in, or to one clear line that says why not.
//!
//! With a cluster key nothing but TLS 1.3 to a server that proves it is accepted. Without one the shell
//! has nothing to lose: it shows no credentials, and a secured cluster has no answer for it.

use super::args::Target;
use super::error::{ServerError, plain, printable};
use super::wire::{Stream, Wire};
use postgres_protocol::message::{backend::Message, frontend};
use rustls::pki_types::ServerName;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// From the first packet to the first prompt; a cluster that needs longer is as good as away.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);

/// How long a cancel request may take; the query goes on meanwhile.
const CANCEL_WITHIN: Duration = Duration::from_secs(5);

/// Where to go, as whom, and what the server must prove.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) target: Target,
    pub(super) user: String,
    pub(super) database: String,
    /// `None`: no cluster key was given.
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    /// Whether `tls` carries a user's key.
    pub(super) has_credentials: bool,
}

/// Why there is no session. The first two lines are QuasarDB's, word for word.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The server did not prove the cluster key, or did not take the user's.
    #[error("Can't connect to cluster: Login failed for the user.")]
    LoginFailed,
    /// A secured cluster was asked without credentials.
    #[error("Can't connect to cluster: Invalid reply from the remote host.")]
    InvalidReply,
    /// All else.
    #[error("Can't connect to cluster: {cause}\nhint: {hint}")]
    Other {
        /// What happened.
        cause: String,
        /// What to do about it.
        hint: String,
    },
}

impl ConnectError {
    /// What to do about the two that have the manual's words alone.
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::LoginFailed => Some(
                "is the credentials file the user's newest, and the public key file this cluster's? If they \
                 are, the server did not prove the cluster key: do not go on",
            ),
            Self::InvalidReply => Some(
                "the cluster is secured: give --cluster-public-key-file and --user-credentials-file",
            ),
            Self::Other { .. } => None,
        }
    }

    fn other(cause: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Other {
            cause: cause.into(),
            hint: hint.into(),
        }
    }
}

/// What the server told about itself and the session while logging in.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    pub(super) parameters: BTreeMap<String, String>,
    /// Process id and secret for cancel requests.
    pub(super) backend: Option<(i32, i32)>,
    pub(super) notices: Vec<ServerError>,
}

impl Endpoint {
    /// Connects and logs in.
    pub(super) async fn connect(&self) -> Result<(Wire, Greeting), ConnectError> {
        tokio::time::timeout(CONNECT_WITHIN, self.connect_unbounded())
            .await
            .unwrap_or_else(|_| {
                Err(ConnectError::other(
                    format!("no answer within {} s", CONNECT_WITHIN.as_secs()),
                    format!(
                        "is {} a gateway, and does a firewall let you reach it?",
                        self.target
                    ),
                ))
            })
    }

    async fn connect_unbounded(&self) -> Result<(Wire, Greeting), ConnectError> {
        let mut wire = Wire::new(self.open().await?);
        self.log_in(&mut wire).await.map(|greeting| {
            wire.logged_in();
            (wire, greeting)
        })
    }

    /// Asks the server to cancel what `backend` runs; says nothing about success, as the protocol does.
    pub(super) async fn cancel(&self, backend: (i32, i32)) {
        let attempt = async {
            let mut wire = Wire::new(self.open().await.ok()?);
            let (process, secret) = backend;
            wire.send(|buffer| {
                frontend::cancel_request(process, secret, buffer);
                Ok(())
            })
            .await
            .ok()?;
            wire.drain().await;
            Some(())
        };
        // The query's own end is the answer.
        tokio::time::timeout(CANCEL_WITHIN, attempt).await.ok();
    }

    /// A stream on which the startup message comes next.
    async fn open(&self) -> Result<Box<dyn Stream>, ConnectError> {
        let Target { host, port } = &self.target;
        let tcp = TcpStream::connect((host.as_str(), *port))
            .await
            .map_err(|error| {
                ConnectError::other(
                    plain(&error),
                    format!(
                        "is a gateway listening on {}? (--cluster HOST:PORT)",
                        self.target
                    ),
                )
            })?;
        // Without it each statement waits for the acknowledgement of the one before.
        tcp.set_nodelay(true).ok();
        match &self.tls {
            None => Ok(Box::new(tcp)),
            Some(tls) => self.secure(tcp, Arc::clone(tls)).await,
        }
    }

    /// Asks for TLS and shakes hands.
    async fn secure(
        &self,
        mut tcp: TcpStream,
        tls: Arc<rustls::ClientConfig>,
    ) -> Result<Box<dyn Stream>, ConnectError> {
        let name = ServerName::try_from(self.target.host.clone()).map_err(|_| {
            ConnectError::other("the host's name is no DNS name or address", "see --cluster")
        })?;
        let mut request = bytes::BytesMut::new();
        frontend::ssl_request(&mut request);
        let answer = async {
            tcp.write_all(&request).await?;
            tcp.read_u8().await
        };
        match answer.await {
            Ok(b'S') => {}
            Ok(b'N') => {
                return Err(ConnectError::other(
                    "the remote host offers no TLS",
                    format!("{} is not the gateway of a secured cluster", self.target),
                ));
            }
            Ok(_) => return Err(ConnectError::InvalidReply),
            Err(error) => return Err(self.broken(&error)),
        }
        match tokio_rustls::TlsConnector::from(tls)
            .connect(name, tcp)
            .await
        {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// Startup message to `ReadyForQuery`.
    async fn log_in(&self, wire: &mut Wire) -> Result<Greeting, ConnectError> {
        let parameters = [
            ("user", self.user.as_str()),
            ("database", self.database.as_str()),
            ("application_name", "palisade shell"),
            ("client_encoding", "UTF8"),
        ];
        wire.send(|buffer| frontend::startup_message(parameters, buffer))
            .await
            .map_err(|error| self.broken(&error))?;
        let mut greeting = Greeting::default();
        loop {
            match wire.receive().await.map_err(|error| self.broken(&error))? {
                Message::AuthenticationOk => {}
                Message::ParameterStatus(body) => {
                    if let (Ok(name), Ok(value)) = (body.name(), body.value()) {
                        greeting
                            .parameters
                            .insert(name.to_owned(), value.to_owned());
                    }
                }
                Message::BackendKeyData(body) => {
                    greeting.backend = Some((body.process_id(), body.secret_key()));
                }
                Message::NoticeResponse(body) => {
                    greeting.notices.push(ServerError::read(body.fields()));
                }
                Message::ReadyForQuery(_) => return Ok(greeting),
                Message::ErrorResponse(body) => {
                    return Err(self.refused(&ServerError::read(body.fields())));
                }
                // A demand for a password, too: our key was not enough, or there was none.
                _ => return Err(self.not_let_in()),
            }
        }
    }

    /// The error that the server gave instead of a session.
    fn refused(&self, error: &ServerError) -> ConnectError {
        // Class 28: invalid authorization specification.
        if error.code.starts_with("28") {
            return self.not_let_in();
        }
        if !self.has_credentials {
            return ConnectError::InvalidReply;
        }
        let hint = match error.code.as_str() {
            "3D000" => "the cluster has another database: --database NAME",
            "53300" => "the server is full: try again later",
            "57P03" => "the server is starting or stopping: try again in a moment",
            _ => "the server's log says more",
        };
        let hint = error.hint.as_deref().map_or(hint.to_owned(), printable);
        ConnectError::other(printable(&error.message), hint)
    }

    fn not_let_in(&self) -> ConnectError {
        if self.has_credentials {
            ConnectError::LoginFailed
        } else {
            ConnectError::InvalidReply
        }
    }

    /// A connection that broke during the handshake or the login.
    fn broken(&self, error: &io::Error) -> ConnectError {
        use rustls::{CertificateError, Error as Tls};
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Tls>());
        match tls {
            Some(Tls::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            )) => ConnectError::other(
                "the server's certificate is not valid at this time",
                "compare this machine's clock with the server's",
            ),
            Some(Tls::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => ConnectError::other(
                format!("the server's certificate is not for {}", self.target.host),
                "use the name under which the gateway is known (--cluster HOST:PORT)",
            ),
            // It does not prove the cluster key.
            Some(Tls::InvalidCertificate(_)) => ConnectError::LoginFailed,
            // It refused our certificate, or the want of one.
            Some(Tls::AlertReceived(_)) => self.not_let_in(),
            Some(other) => ConnectError::other(
                other.to_string(),
                format!("is {} the gateway of a secured cluster?", self.target),
            ),
            None if !self.has_credentials => ConnectError::InvalidReply,
            None => ConnectError::other(
                plain(error),
                format!("is {} the gateway of a secured cluster?", self.target),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn endpoint(port: u16, has_credentials: bool) -> Endpoint {
        Endpoint {
            target: Target {
                host: "127.0.0.1".to_owned(),
                port,
            },
            user: "alice".to_owned(),
            database: "main".to_owned(),
            tls: None,
            has_credentials,
        }
    }

    /// A remote host that reads a little, answers with these bytes and closes.
    async fn remote(answer: &'static [u8]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 512];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            stream.write_all(answer).await.unwrap();
        });
        port
    }

    async fn message(answer: &'static [u8], has_credentials: bool) -> String {
        let port = remote(answer).await;
        let Err(error) = endpoint(port, has_credentials).connect().await else {
            panic!("connected");
        };
        error.to_string()
    }

    const REFUSED: &[u8] = b"E\0\0\0\x1cSFATAL\0C28000\0Mno rule\0\0";
    const WANTS_SCRAM: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
    const NO_DATABASE: &[u8] = b"E\0\0\0\x20SFATAL\0C3D000\0Mno database\0\0";

    #[tokio::test]
    async fn no_credentials_against_a_secured_cluster() {
        for answer in [
            REFUSED,
            WANTS_SCRAM,
            b"",
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
        ] {
            assert_eq!(
                message(answer, false).await,
                "Can't connect to cluster: Invalid reply from the remote host."
            );
        }
    }

    #[tokio::test]
    async fn a_wrong_user_key() {
        for answer in [REFUSED, WANTS_SCRAM] {
            assert_eq!(
                message(answer, true).await,
                "Can't connect to cluster: Login failed for the user."
            );
        }
    }

    #[tokio::test]
    async fn a_cause_and_a_hint_for_all_else() {
        assert_eq!(
            message(NO_DATABASE, true).await,
            "Can't connect to cluster: no database\n\
             hint: the cluster has another database: --database NAME"
        );
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap().port()
        };
        let Err(error) = endpoint(port, true).connect().await else {
            panic!("connected")
        };
        assert_eq!(
            error.to_string(),
            format!(
                "Can't connect to cluster: connection refused\n\
                 hint: is a gateway listening on 127.0.0.1:{port}? (--cluster HOST:PORT)"
            )
        );
    }

    #[tokio::test]
    async fn a_remote_host_can_not_fill_the_memory_before_login() {
        assert_eq!(
            message(b"E\x7f\xff\xff\xff....", true).await.lines().next(),
            Some("Can't connect to cluster: oversized message")
        );
    }
}
