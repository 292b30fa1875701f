//! A lean PostgreSQL client: TLS, SCRAM with keys that it keeps, and no more.
//!
//! It does not check whose certificate the server shows: all three ways show one of the same
//! cluster, and a client's check would be measured as the server's time. The handshake's signature
//! is checked.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs as provider, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use super::scram::Password;

/// 1234.5679: `SSLRequest` (PostgreSQL, chapter "Message Formats").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// Version 3.0 of the protocol.
const VERSION: u32 = 3 << 16;
/// No answer is longer; a server that says nothing fails the benchmark.
const PATIENCE: Duration = Duration::from_mins(1);

/// Who logs in where.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) port: u16,
    pub(super) user: &'static str,
    pub(super) database: &'static str,
    pub(super) tls: Arc<ClientConfig>,
}

/// A logged-in client.
pub(super) struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    body: Vec<u8>,
}

/// TLS 1.3 without resumption. What the ways would choose differently is not left to them: key exchange
/// over P-256, the one group that PostgreSQL takes by default (`ssl_ecdh_curve`): with another, straight alone
/// would pay for a second hello; and `TLS_AES_128_GCM_SHA256`, which the gateway prefers, while OpenSSL prefers
/// AES-256 with SHA-384. pgbench offers the same one ([`super::cluster::OPENSSL`]).
pub(super) fn tls() -> Result<Arc<ClientConfig>, String> {
    let base = provider::default_provider();
    let verifier = AnyServer(base.signature_verification_algorithms);
    let crypto = CryptoProvider {
        kx_groups: vec![provider::kx_group::SECP256R1],
        cipher_suites: vec![provider::cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..base
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(crypto))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(Arc::new(config))
}

impl Client {
    /// Connects, and returns when the server is ready for a query.
    pub(super) fn login(target: &Target, password: &mut Password) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, target.port));
        let mut tcp = TcpStream::connect(address)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.write_all(&SSL_REQUEST)?;
        let mut yes = [0];
        tcp.read_exact(&mut yes)?;
        if yes != *b"S" {
            return Err(io::Error::other("no TLS"));
        }
        let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
        let tls = ClientConnection::new(Arc::clone(&target.tls), name).map_err(io::Error::other)?;
        let mut client = Self {
            stream: StreamOwned::new(tls, tcp),
            body: Vec::new(),
        };
        client.start(target)?;
        client.prove(password)?;
        client.ready()?;
        Ok(client)
    }

    /// Which cipher was agreed on.
    pub(super) fn cipher(&self) -> String {
        let tls = &self.stream.conn;
        let suite = tls.negotiated_cipher_suite().map(|suite| suite.suite());
        let group = tls
            .negotiated_key_exchange_group()
            .map(rustls::crypto::SupportedKxGroup::name);
        format!("{suite:?} {group:?}")
            .replace("Some(", "")
            .replace(')', "")
    }

    /// Runs a statement and throws its result away.
    pub(super) fn query(&mut self, sql: &str) -> io::Result<()> {
        let mut text = sql.as_bytes().to_vec();
        text.push(0);
        self.send(b'Q', &text)?;
        self.ready()
    }

    /// Prepares a statement with one parameter, under the name `s`.
    pub(super) fn prepare(&mut self, sql: &str) -> io::Result<()> {
        let body = [b"s\0", sql.as_bytes(), b"\0\0\0"].concat();
        self.add(b'P', &body)?;
        self.add(b'S', &[])?;
        self.stream.flush()?;
        self.ready()
    }

    /// Runs the prepared statement, in one packet as libpq does.
    pub(super) fn execute(&mut self, parameter: &str) -> io::Result<()> {
        let count = u32::try_from(parameter.len()).map_err(io::Error::other)?;
        let head: &[u8] = b"\0s\0\0\0\0\x01";
        let body = [head, &count.to_be_bytes(), parameter.as_bytes(), b"\0\0"].concat();
        let mut packet = Vec::with_capacity(64);
        for (kind, body) in [
            (b'B', body.as_slice()),
            (b'D', b"P\0"),
            (b'E', b"\0\0\0\0\0"),
            (b'S', b""),
        ] {
            packet.push(kind);
            packet.extend_from_slice(&length(body.len())?);
            packet.extend_from_slice(body);
        }
        self.stream.write_all(&packet)?;
        self.stream.flush()?;
        self.ready()
    }

    /// Waits until the server ends the session.
    pub(super) fn wait_for_end(&mut self) {
        while self.message().is_ok() {}
    }

    /// Says goodbye and closes.
    pub(super) fn leave(mut self) -> io::Result<()> {
        self.stream.conn.writer().write_all(b"X\0\0\0\x04")?;
        self.stream.conn.send_close_notify();
        self.stream.conn.write_tls(&mut self.stream.sock)?;
        Ok(())
    }

    fn start(&mut self, target: &Target) -> io::Result<()> {
        let mut packet = VERSION.to_be_bytes().to_vec();
        for word in ["user", target.user, "database", target.database, ""] {
            packet.extend_from_slice(word.as_bytes());
            packet.push(0);
        }
        let mut message = length(packet.len())?.to_vec();
        message.append(&mut packet);
        self.stream.write_all(&message)?;
        self.stream.flush()
    }

    fn prove(&mut self, password: &mut Password) -> io::Result<()> {
        self.authentication(10)?;
        // The server's nonce makes the exchange fresh; ours need not be secret here.
        let port = self.stream.sock.local_addr()?.port();
        let nonce = STANDARD.encode(format!("palisade-bench-{port:05}"));
        let first = format!("n,,n=,r={nonce}");
        let mut initial = b"SCRAM-SHA-256\0".to_vec();
        let first_bytes = u32::try_from(first.len()).map_err(io::Error::other)?;
        initial.extend_from_slice(&first_bytes.to_be_bytes());
        initial.extend_from_slice(first.as_bytes());
        self.send(b'p', &initial)?;
        let challenge = self.authentication(11)?;
        let (last, expected) = password
            .answer(&nonce, &challenge)
            .ok_or_else(|| io::Error::other(format!("not a challenge: {challenge}")))?;
        self.send(b'p', last.as_bytes())?;
        if self.authentication(12)? != expected {
            return Err(io::Error::other("the server does not know the password"));
        }
        self.authentication(0).map(drop)
    }

    /// An authentication request of this kind; its text.
    fn authentication(&mut self, kind: u32) -> io::Result<String> {
        let found = self.message()?;
        match (found, self.body.split_first_chunk::<4>()) {
            (b'R', Some((code, text))) if u32::from_be_bytes(*code) == kind => {
                Ok(String::from_utf8_lossy(text).into_owned())
            }
            _ => Err(self.unexpected(found)),
        }
    }

    fn ready(&mut self) -> io::Result<()> {
        loop {
            match self.message()? {
                b'Z' => return Ok(()),
                b'E' => return Err(self.unexpected(b'E')),
                _ => {}
            }
        }
    }

    fn unexpected(&self, kind: u8) -> io::Error {
        let text = String::from_utf8_lossy(&self.body);
        io::Error::other(format!("message {:?}: {text}", char::from(kind)))
    }

    fn message(&mut self) -> io::Result<u8> {
        let mut header = [0; 5];
        self.stream.read_exact(&mut header)?;
        let [kind, length @ ..] = header;
        let body = usize::try_from(u32::from_be_bytes(length)).unwrap_or_default();
        self.body.resize(body.saturating_sub(4), 0);
        self.stream.read_exact(&mut self.body)?;
        Ok(kind)
    }

    fn send(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        self.add(kind, body)?;
        self.stream.flush()
    }

    fn add(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        let mut message = vec![kind];
        message.extend_from_slice(&length(body.len())?);
        message.extend_from_slice(body);
        self.stream.write_all(&message)
    }
}

/// The length of what follows, itself included.
fn length(body: usize) -> io::Result<[u8; 4]> {
    let length = u32::try_from(body + 4).map_err(io::Error::other)?;
    Ok(length.to_be_bytes())
}

/// Takes any certificate whose key signed the handshake.
#[derive(Debug)]
struct AnyServer(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 alone".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
