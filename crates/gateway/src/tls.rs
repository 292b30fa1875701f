//! TLS towards clients: version 1.3 alone, no resumption, and every client certificate that its
//! owner can sign for.
//!
//! A client's certificate is not judged in the handshake. TLS only proves that the client holds the
//! key in it; what that key is good for depends on the user and the rule, which are known later.

use std::sync::Arc;

use ::aws_lc_rs::digest::{SHA256, digest};
use palisade_link::tls::AnyKey;
use palisade_link::x509::Leaf;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
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
        let provider = Arc::new(provider());
        // `certificate::Presented` judges what is shown, for a user and a rule.
        let verifier = AnyKey::new(&provider);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(chain, key)?;
        config.ignore_client_order = true;
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

/// Of the cipher suites of TLS 1.3 the mandatory one first (RFC 8446, section 9.1), whatever the client
/// prefers. It is as strong as the curves and certificates here are, and its hash is the cheapest: what a
/// handshake hashes is a tenth of a log-in's time less than with SHA-384, which processors have no
/// instructions for. A client that offers only another one gets that.
fn provider() -> CryptoProvider {
    let first = cipher_suite::TLS13_AES_128_GCM_SHA256;
    let mut provider = aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != first.suite());
    provider
}

#[cfg(test)]
mod tests {
    use palisade_keys::{SecretKey, Zeroizing};
    use palisade_link::x509::{IssuingCa, Request};
    use rustls::CipherSuite::{
        TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
    };
    use rustls::pki_types::ServerName;
    use rustls::{CipherSuite, ClientConfig, ClientConnection, RootCertStore, ServerConnection};
    use time::{Duration, OffsetDateTime};

    use super::*;

    /// What a client that offers these, in this order, comes to.
    fn agreed(offered: &[CipherSuite]) -> CipherSuite {
        let cluster = SecretKey::from_seed(Zeroizing::new([1; 32])).unwrap();
        #[expect(
            clippy::disallowed_methods,
            reason = "certificates are checked against the real clock"
        )]
        let now: OffsetDateTime = std::time::SystemTime::now().into();
        let (ca, _) = IssuingCa::create(&cluster, &[5], now).unwrap();
        let leaf = ca.server(&Request {
            common_name: "node",
            hosts: &["localhost".to_owned()],
            now,
            lifetime: Duration::days(1),
            serial: &[7],
        });
        let identity = TlsIdentity::from_leaf(&leaf.unwrap()).unwrap();
        let mut crypto = aws_lc_rs::default_provider();
        let place = |suite: CipherSuite| offered.iter().position(|one| *one == suite);
        crypto
            .cipher_suites
            .retain(|suite| offered.contains(&suite.suite()));
        crypto
            .cipher_suites
            .sort_by_key(|suite| place(suite.suite()));
        let mut roots = RootCertStore::empty();
        roots
            .roots
            .push(palisade_link::tls::trust_anchor(&cluster.public()));
        let config = ClientConfig::builder_with_provider(Arc::new(crypto))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut server = ServerConnection::new(identity.config).unwrap();
        for _ in 0..3 {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            let mut wire = Vec::new();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets().unwrap();
        }
        assert!(!client.is_handshaking());
        client.negotiated_cipher_suite().unwrap().suite()
    }

    #[test]
    fn the_mandatory_cipher_suite_is_preferred_and_not_demanded() {
        let (aes_128, aes_256, chacha) = (
            TLS13_AES_128_GCM_SHA256,
            TLS13_AES_256_GCM_SHA384,
            TLS13_CHACHA20_POLY1305_SHA256,
        );
        // OpenSSL's order, and so libpq's.
        assert_eq!(agreed(&[aes_256, chacha, aes_128]), aes_128);
        assert_eq!(agreed(&[aes_256, chacha]), aes_256);
        assert_eq!(agreed(&[aes_256]), aes_256);
        assert_eq!(agreed(&[chacha]), chacha);
    }
}
