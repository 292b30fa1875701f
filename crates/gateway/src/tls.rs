//! TLS towards clients: version 1.3 alone, no resumption, and every client certificate that its
//! owner can sign for.
//!
//! A client's certificate is not judged in the handshake. TLS only proves that the client holds the
//! key in it; what that key is good for depends on the user and the rule, which are known later.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use palisade_link::tls::AnyKey;
use palisade_link::x509::Leaf;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The ALPN protocol that PostgreSQL registered with IANA.
pub(crate) const ALPN: &[u8] = b"postgresql";

/// Signature algorithms of a certificate for which `tls-server-end-point` is SHA-256 (RFC 5929,
/// section 4.1): ecdsa-with-SHA256 and sha256WithRSAEncryption.
const SHA256_SIGNATURES: [&str; 2] = ["1.2.840.10045.4.3.2", "1.2.840.113549.1.1.11"];

/// Why a server certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is no certificate, or it can't be read.
    #[error("the server's certificate can't be read")]
    Certificate,
    /// A certificate that clients can't bind a password exchange to: libpq knows no hash for one
    /// signed with Ed25519.
    #[error("the server's certificate must be signed with SHA-256 (ECDSA or RSA), not {0}")]
    Signature(String),
    /// The TLS library refused it.
    #[error("the server's certificate or key is refused: {0}")]
    Tls(#[from] rustls::Error),
}

/// The certificate and key that the gateway shows, and the hash of it that SCRAM is bound to.
#[derive(Debug)]
pub struct TlsIdentity {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) end_point: [u8; 32],
}

impl TlsIdentity {
    /// From what the cluster's issuing CA made.
    pub fn from_leaf(leaf: &Leaf) -> Result<Self, IdentityError> {
        let chain = leaf.chain.iter().cloned().map(CertificateDer::from);
        let key = PrivatePkcs8KeyDer::from(leaf.key.to_vec());
        Self::new(chain.collect(), PrivateKeyDer::Pkcs8(key))
    }

    /// From a chain, the server's own certificate first, and its private key.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, IdentityError> {
        let leaf = chain.first().ok_or(IdentityError::Certificate)?;
        let (_, parsed) =
            X509Certificate::from_der(leaf).map_err(|_| IdentityError::Certificate)?;
        let algorithm = parsed.signature_algorithm.algorithm.to_id_string();
        if !SHA256_SIGNATURES.contains(&algorithm.as_str()) {
            return Err(IdentityError::Signature(algorithm));
        }
        let mut end_point = [0; 32];
        end_point.copy_from_slice(digest(&SHA256, leaf).as_ref());
        let provider = Arc::new(provider::default_provider());
        // `certificate::Presented` judges what is shown, for a user and a rule.
        let verifier = AnyKey::new(&provider);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        // A resumed session skips the client's proof of its key, and saves nothing.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self {
            config: Arc::new(config),
            end_point,
        })
    }
}
