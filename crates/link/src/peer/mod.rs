//! The HTTPS listener's side of TLS: which certificate is shown, and who is calling.
//!
//! ```text
//!   caller --TLS 1.3--> SNI "node.palisade.internal"?  --yes--> the node's own certificate (pinned)
//!                                                      --no---> the cluster CA's leaf (host names)
//!          --certificate, CertificateVerify--> Caller { key, exporter }
//! ```
//!
//! Any client certificate is taken whose key signed this very handshake. What that key may do is asked
//! of the ledger at each request, so that a node or user that was removed is nobody at once. Sessions
//! are never resumed: a resumed one would skip the proof.

mod expect;

pub use expect::Expect;
pub(crate) use expect::Terms;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use palisade_keys::PublicKey;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CommonState, ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::node::{NODE_HOST, NodeIdentity};
use crate::tls::{AnyKey, ConfigError};
use crate::x509::Leaf;

/// The protocol that both ends name in TLS (ALPN, RFC 7301). A handshake that some other door of the
/// node answered is not taken for this one's.
pub const ALPN: &[u8] = b"http/1.1";

/// The label of RFC 9266: keying material that both ends of one session, and nobody else, can compute.
const EXPORTER: &[u8] = b"EXPORTER-Channel-Binding";

/// What the listener shows and asks. Make a new one when the leaf is renewed or the node has a new key;
/// connections that are open keep theirs.
pub fn server_config(
    own: &NodeIdentity,
    leaf: Option<&Leaf>,
) -> Result<Arc<ServerConfig>, ConfigError> {
    let provider = Arc::new(provider::default_provider());
    let certified = |leaf: &Leaf| {
        let chain = leaf.chain.iter().cloned().map(CertificateDer::from);
        let key = PrivatePkcs8KeyDer::from(leaf.key.to_vec());
        CertifiedKey::from_der(chain.collect(), PrivateKeyDer::Pkcs8(key), &provider).map(Arc::new)
    };
    let shown = BySni {
        node: certified(own.leaf())?,
        leaf: leaf.map(certified).transpose()?,
    };
    // The certificate says nothing yet: the ledger is asked about its key at each request.
    let verifier = AnyKey::new(&provider);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// Who calls, as TLS proved it: the only source of a caller's identity. There is no other way to make
/// one than a handshake that was finished.
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct Caller {
    key: Option<PublicKey>,
    exporter: [u8; 32],
}

impl Caller {
    /// The Ed25519 key of the certificate that the caller showed and signed the handshake with. None
    /// if there was no certificate, or one of a key of another kind, which the ledger does not know.
    #[must_use]
    pub fn key(&self) -> Option<PublicKey> {
        self.key
    }

    /// What both ends of this session, and nobody else, know (RFC 9266). A signature over it is worth
    /// nothing in any other session.
    #[must_use]
    pub fn exporter(&self) -> &[u8; 32] {
        &self.exporter
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Who is at the other end of a handshake that is finished.
pub fn caller(connection: &ServerConnection) -> Result<Caller, rustls::Error> {
    let mut exporter = [0; 32];
    connection.export_keying_material(&mut exporter, EXPORTER, None)?;
    Ok(Caller {
        key: peer_key(connection),
        exporter,
    })
}

/// Why a caller did not get as far as a request.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The handshake failed.
    #[error("the TLS handshake failed: {0}")]
    Handshake(#[source] std::io::Error),
    /// The exporter can't be had of this session.
    #[error("the TLS session can't be bound to: {0}")]
    Unbound(#[source] rustls::Error),
    /// It took too long.
    #[error("the TLS handshake took longer than {} seconds", .0.as_secs())]
    Slow(Duration),
}

/// Shakes hands over `stream` within a time, and tells who is there.
pub async fn accept<S>(
    stream: S,
    config: Arc<ServerConfig>,
    within: Duration,
) -> Result<(TlsStream<S>, Caller), AcceptError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = TlsAcceptor::from(config).accept(stream);
    let stream = tokio::time::timeout(within, handshake)
        .await
        .map_err(|_| AcceptError::Slow(within))?
        .map_err(AcceptError::Handshake)?;
    let caller = caller(stream.get_ref().1).map_err(AcceptError::Unbound)?;
    Ok((stream, caller))
}

/// The Ed25519 key of the certificate that the other end showed, if it is one.
pub(crate) fn peer_key(connection: &CommonState) -> Option<PublicKey> {
    certificate_key(connection.peer_certificates()?.first()?)
}

/// The Ed25519 key in a certificate.
pub(crate) fn certificate_key(certificate: &CertificateDer<'_>) -> Option<PublicKey> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    PublicKey::from_spki_der(&parsed.subject_public_key_info())
}

/// The keying material of a client's session.
pub(crate) fn client_exporter(
    connection: &rustls::ClientConnection,
) -> Result<[u8; 32], rustls::Error> {
    let mut exporter = [0; 32];
    connection.export_keying_material(&mut exporter, EXPORTER, None)?;
    Ok(exporter)
}

/// Shows the node's own certificate to who asks for it, and the cluster CA's to all others.
struct BySni {
    node: Arc<CertifiedKey>,
    leaf: Option<Arc<CertifiedKey>>,
}

impl fmt::Debug for BySni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BySni")
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name();
        let for_node = asked.is_some_and(|name| name.eq_ignore_ascii_case(NODE_HOST));
        let shown = match &self.leaf {
            Some(leaf) if !for_node => leaf,
            _ => &self.node,
        };
        Some(shown.clone())
    }
}
