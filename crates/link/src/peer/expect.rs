//! The caller's side of TLS: whom it expects, and the check that makes it so.

use std::sync::{Arc, OnceLock};

use palisade_keys::PublicKey;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};

use super::{ALPN, certificate_key};
use crate::node::NODE_HOST;
use crate::tls::{self, ConfigError, Possession};
use crate::x509::Leaf;

/// Whom a caller expects at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// The node with this key and no other, be it a member or not.
    Node(PublicKey),
    /// A server of the cluster with this key, whose certificate names this host.
    Cluster(PublicKey, String),
    /// A node that nobody knows yet: whatever key it proves is reported, for a human to compare.
    Stranger,
}

/// What TLS is told so that the expectation holds.
pub(crate) struct Terms {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
    /// The key that was shown, known even when it was refused.
    pub(crate) shown: Arc<OnceLock<PublicKey>>,
}

impl Expect {
    pub(crate) fn terms(&self, identity: Option<&Leaf>) -> Result<Terms, ConfigError> {
        let shown = Arc::new(OnceLock::new());
        let (mut config, host) = match self {
            Self::Node(key) => (pinned(Some(*key), &shown, identity)?, NODE_HOST),
            Self::Stranger => (pinned(None, &shown, identity)?, NODE_HOST),
            Self::Cluster(key, host) => (tls::client_config(key, identity)?, host.as_str()),
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|_| ConfigError::Host(host.to_owned()))?;
        Ok(Terms {
            config: Arc::new(config),
            name,
            shown,
        })
    }
}

fn pinned(
    expected: Option<PublicKey>,
    shown: &Arc<OnceLock<PublicKey>>,
    identity: Option<&Leaf>,
) -> Result<ClientConfig, ConfigError> {
    let provider = Arc::new(provider::default_provider());
    let pin = Pin {
        expected,
        shown: shown.clone(),
        possession: Possession::new(&provider),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pin));
    let mut config = tls::with_identity(builder, identity)?;
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Takes a certificate for the key in it: the expected one, or, of a stranger, any. Its names, dates
/// and issuer are not looked at.
#[derive(Debug)]
struct Pin {
    expected: Option<PublicKey>,
    shown: Arc<OnceLock<PublicKey>>,
    possession: Possession,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let key = certificate_key(end_entity).ok_or(CertificateError::BadEncoding)?;
        let shown = *self.shown.get_or_init(|| key);
        if shown != key || self.expected.is_some_and(|expected| expected != key) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        // That its owner is there shows in the signature below, which rustls asks for next.
        Ok(ServerCertVerified::assertion())
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
        self.possession.tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        // A node's key is Ed25519: nothing else is asked for.
        vec![SignatureScheme::ED25519]
    }
}
