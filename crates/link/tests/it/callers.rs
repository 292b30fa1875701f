//! Who calls, as the server sees it.

use std::sync::Arc;

use bytes::Bytes;
use hyper::Method;
use palisade_link::api::encode;
use palisade_link::https::Connection;
use palisade_link::node::NODE_HOST;
use palisade_link::peer::{self, AcceptError, Expect};
use palisade_link::x509::{Leaf, user_certificate};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{SHORT, SOON, Server, key, leaf, node, now, stolen};

async fn text(connection: &Connection, path: &str) -> String {
    let answer = connection.call(Method::GET, path, Bytes::new()).await;
    String::from_utf8(answer.unwrap().into()).unwrap()
}

// "The identity of a caller is what TLS proved, never what a message says."
#[tokio::test]
async fn the_caller_is_the_key_that_signed_the_handshake() {
    let server = Server::node(&node(1)).await;
    let expect = Expect::Node(key(1).public());
    let who = async |identity: Option<&Leaf>| {
        let connection = Connection::open(&server.address, &expect, identity, SOON).await;
        text(&connection.unwrap(), "/who").await
    };
    assert_eq!(who(None).await, "");
    assert_eq!(who(Some(node(2).leaf())).await, key(2).public().to_string());
    let day = time::Duration::days(1);
    let user = user_certificate("alice", &key(4), &[9], now(), day).unwrap();
    assert_eq!(who(Some(&user)).await, key(4).public().to_string());
    // A key that the ledger can't hold is no key.
    assert_eq!(who(Some(&leaf(&key(9), &["localhost"]))).await, "");
}

#[tokio::test]
async fn the_exporter_is_the_same_at_both_ends_and_another_in_each_session() {
    let server = Server::node(&node(1)).await;
    let expect = Expect::Node(key(1).public());
    let mut all = Vec::new();
    for _ in 0..3 {
        let own = node(2);
        let connection = Connection::open(&server.address, &expect, Some(own.leaf()), SOON);
        let connection = connection.await.unwrap();
        assert_eq!(
            text(&connection, "/exporter").await,
            encode(connection.exporter())
        );
        assert_eq!(
            text(&connection, "/exporter").await,
            encode(connection.exporter())
        );
        all.push(*connection.exporter());
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 3);
}

/// Takes any server, as an attacker's client does.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = provider::default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A client that does what it likes.
fn lawless(shown: Arc<CertifiedKey>) -> ClientConfig {
    let provider = Arc::new(provider::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_client_cert_resolver(Arc::new(Shows(shown)))
}

/// Connects, says one request, and reads until the server closes; how the session came about, and how
/// many tickets for another there were.
async fn visit(server: &Server, config: &Arc<ClientConfig>) -> Option<(HandshakeKind, u32)> {
    let stream = TcpStream::connect(&server.address).await.unwrap();
    let name = ServerName::try_from(NODE_HOST).unwrap();
    let connector = TlsConnector::from(config.clone());
    let mut stream = connector.connect(name, stream).await.ok()?;
    let request = b"GET /who HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let session = stream.get_ref().1;
    Some((session.handshake_kind()?, session.tls13_tickets_received()))
}

// "An adversary who gets your fingerprint can't impersonate you."
#[tokio::test]
async fn a_callers_certificate_without_its_key_is_refused() {
    let mut server = Server::node(&node(1)).await;
    let thief = Arc::new(lawless(stolen(&node(2), &node(3))));
    assert_eq!(visit(&server, &thief).await, None);
    let seen = server.next().await;
    assert!(matches!(seen, Err(AcceptError::Handshake(_))), "{seen:?}");
    // The same client with the key that fits comes in.
    let owner = Arc::new(lawless(stolen(&node(2), &node(2))));
    assert!(visit(&server, &owner).await.is_some());
    assert_eq!(server.next().await.unwrap().key(), Some(key(2).public()));
}

// A resumed session would skip the proof of the key: who was removed would come back in.
#[tokio::test]
async fn no_session_is_resumed() {
    let mut server = Server::node(&node(1)).await;
    // A client that keeps every ticket it is given, and offers it.
    let client = Arc::new(lawless(stolen(&node(2), &node(2))));
    for _ in 0..3 {
        let visit = visit(&server, &client).await.unwrap();
        assert_eq!(visit, (HandshakeKind::Full, 0));
        assert_eq!(server.next().await.unwrap().key(), Some(key(2).public()));
    }
}

#[tokio::test]
async fn a_caller_who_says_nothing_is_hung_up_on() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let _silent = TcpStream::connect(address).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let config = peer::server_config(&node(1), None).unwrap();
    let error = peer::accept(stream, config, SHORT).await.unwrap_err();
    assert!(matches!(error, AcceptError::Slow(_)), "{error}");
}

#[test]
fn what_is_known_of_a_caller_does_not_show_its_exporter() {
    // `Caller` is printed in logs; the exporter is what a joiner's proof is bound to.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut server = Server::node(&node(1)).await;
        let expect = Expect::Node(key(1).public());
        let own = node(2);
        let connection = Connection::open(&server.address, &expect, Some(own.leaf()), SOON);
        let connection = connection.await.unwrap();
        let caller = server.next().await.unwrap();
        assert_eq!(caller.exporter(), connection.exporter());
        assert_eq!(
            format!("{caller:?}"),
            format!("Caller {{ key: Some({:?}), .. }}", key(2).public())
        );
    });
}
