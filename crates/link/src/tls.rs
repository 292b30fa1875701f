//! TLS towards the cluster: version 1.3 alone, and a server that proves the cluster key; and what both
//! ends of it share, the proof that who shows a certificate holds its key.

use std::sync::Arc;

use palisade_keys::PublicKey;
use rustls::client::WantsClientCert;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs as provider};
use rustls::pki_types::{
    CertificateDer, Der, PrivateKeyDer, PrivatePkcs8KeyDer, TrustAnchor, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, DistinguishedName, RootCertStore,
    SignatureScheme,
};

use crate::x509::{Leaf, root_name};

/// Why no TLS configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The TLS library refused the certificate or key that was to be shown.
    #[error("the certificate or key is refused: {0}")]
    Tls(#[from] rustls::Error),
    /// The trust anchor was refused.
    #[error("the cluster's key can't be used as a trust anchor: {0}")]
    Anchor(#[from] rustls::client::VerifierBuilderError),
    /// What was to be reached has no name that a certificate could have.
    #[error("`{0}` is neither a host name nor an IP address")]
    Host(String),
}

/// What a client needs to reach the cluster: it accepts a server whose certificate leads to
/// `cluster_key` and names the host that was asked for, and shows `identity` if there is one.
pub fn client_config(
    cluster_key: &PublicKey,
    identity: Option<&Leaf>,
) -> Result<ClientConfig, ConfigError> {
    let mut roots = RootCertStore::empty();
    roots.roots.push(trust_anchor(cluster_key));
    let provider = Arc::new(provider::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_webpki_verifier(verifier);
    let mut config = with_identity(builder, identity)?;
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The last step of a client's configuration: whom it shows itself as.
pub(crate) fn with_identity(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    identity: Option<&Leaf>,
) -> Result<ClientConfig, rustls::Error> {
    let Some(leaf) = identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = leaf.chain.iter().cloned().map(CertificateDer::from);
    let key = PrivatePkcs8KeyDer::from(leaf.key.to_vec());
    builder.with_client_auth_cert(chain.collect(), PrivateKeyDer::Pkcs8(key))
}

/// The root of trust that a cluster's public key is: no certificate is needed for it.
#[must_use]
pub fn trust_anchor(cluster_key: &PublicKey) -> TrustAnchor<'static> {
    let name = root_name(cluster_key);
    // Name (RFC 5280, section 4.1.2.4): one RDN, one attribute, commonName as UTF8String.
    let value = tagged(0x0c, name.as_bytes());
    let attribute = tagged(
        0x30,
        &[&[0x06, 0x03, 0x55, 0x04, 0x03], value.as_slice()].concat(),
    );
    let subject = tagged(0x31, &attribute);
    let spki = cluster_key.spki_der();
    // What a trust anchor holds is the contents of the SEQUENCE, without its two bytes of head.
    let spki = spki.get(2..).unwrap_or_default().to_vec();
    TrustAnchor {
        subject: Der::from(subject),
        subject_public_key_info: Der::from(spki),
        name_constraints: None,
    }
}

/// The proof that whoever shows a certificate holds its key: its signature over this very handshake, of
/// TLS 1.3. Whose key it is, is another question.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Possession(WebPkiSupportedAlgorithms);

impl Possession {
    pub(crate) fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }

    /// A signature of TLS 1.2, which is never spoken here.
    pub(crate) fn tls12() -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    pub(crate) fn tls13(
        self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    pub(crate) fn schemes(self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// For a server that takes any client certificate whose key signed the handshake, and a client without
/// one. Such a certificate says nothing yet: its names, dates and issuer were not looked at.
#[derive(Debug)]
pub struct AnyKey(Possession);

impl AnyKey {
    /// By what a provider can check.
    #[must_use]
    pub fn new(provider: &CryptoProvider) -> Self {
        Self(Possession::new(provider))
    }
}

impl ClientCertVerifier for AnyKey {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Possession::tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.schemes()
    }
}

/// A DER value of up to 127 bytes.
fn tagged(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u8::try_from(contents.len()).unwrap_or(u8::MAX);
    debug_assert!(length < 0x80);
    [&[tag, length], contents].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::{IssuingCa, Request, root_certificate, user_certificate};
    use palisade_keys::{SecretKey, Zeroizing};
    use rustls::pki_types::ServerName;
    use rustls::{ClientConnection, ServerConfig, ServerConnection};
    use time::{Duration, OffsetDateTime};

    fn cluster(byte: u8) -> SecretKey {
        SecretKey::from_seed(Zeroizing::new([byte; 32])).unwrap()
    }

    fn now() -> OffsetDateTime {
        #[expect(
            clippy::disallowed_methods,
            reason = "certificates are checked against the real clock"
        )]
        std::time::SystemTime::now().into()
    }

    fn server(cluster: &SecretKey, hosts: &[&str]) -> ServerConfig {
        let (ca, _) = IssuingCa::create(cluster, &[5], now()).unwrap();
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let leaf = ca
            .server(&Request {
                common_name: "node",
                hosts: &hosts,
                now: now(),
                lifetime: Duration::days(90),
                serial: &[7],
            })
            .unwrap();
        let chain = leaf
            .chain
            .iter()
            .cloned()
            .map(CertificateDer::from)
            .collect();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf.key.to_vec()));
        ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap()
    }

    fn handshake(
        client: ClientConfig,
        server: ServerConfig,
        host: &str,
    ) -> Result<(), rustls::Error> {
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        for _ in 0..4 {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;
            let mut wire = Vec::new();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        assert!(!client.is_handshaking());
        Ok(())
    }

    #[test]
    fn the_public_key_alone_is_the_root_of_trust() {
        let key = cluster(1);
        let config = || client_config(&key.public(), None).unwrap();
        handshake(
            config(),
            server(&key, &["localhost", "127.0.0.1"]),
            "localhost",
        )
        .unwrap();
        handshake(
            config(),
            server(&key, &["localhost", "127.0.0.1"]),
            "127.0.0.1",
        )
        .unwrap();
        assert!(handshake(config(), server(&key, &["localhost"]), "other").is_err());
        assert!(handshake(config(), server(&cluster(2), &["localhost"]), "localhost").is_err());
    }

    #[test]
    fn the_anchor_is_that_of_the_roots_certificate() {
        let key = cluster(3);
        let der = root_certificate(&key, now()).unwrap();
        let der = CertificateDer::from(der);
        let anchor = webpki::anchor_from_trusted_cert(&der).unwrap();
        assert_eq!(anchor, trust_anchor(&key.public()));
    }

    #[test]
    fn a_users_own_certificate_is_a_client_identity() {
        let leaf = user_certificate("alice", &cluster(4), &[9], now(), Duration::days(1)).unwrap();
        assert!(client_config(&cluster(1).public(), Some(&leaf)).is_ok());
    }
}
