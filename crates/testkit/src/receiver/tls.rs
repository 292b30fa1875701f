//! A server's side of TLS, with an authority of its own.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::Stream;
use crate::Error;
use crate::etcd::{Authority, KeyKind, Leaf};

/// A certificate for `localhost` and 127.0.0.1.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    authority: PathBuf,
    root: Vec<u8>,
}

impl Tls {
    /// Makes an authority with its files in `directory`, and a certificate.
    pub fn make(directory: &Path) -> Result<Self, Error> {
        let authority = Authority::make(directory, "receiver", KeyKind::Ec)?;
        let pair = authority.issue(&Leaf::server("server"))?;
        let bad = |error: &dyn std::fmt::Display| Error::Tls(error.to_string());
        let certificate =
            CertificateDer::from_pem_file(&pair.certificate).map_err(|error| bad(&error))?;
        let root = CertificateDer::from_pem_file(authority.certificate())
            .map_err(|error| bad(&error))?
            .to_vec();
        let key = PrivateKeyDer::from_pem_file(&pair.key).map_err(|error| bad(&error))?;
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder
                    .with_no_client_auth()
                    .with_single_cert(vec![certificate], key)
            })
            .map_err(|error| bad(&error))?;
        Ok(Self {
            config: Arc::new(config),
            authority: authority.certificate(),
            root,
        })
    }

    /// The authority's certificate, in PEM.
    #[must_use]
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// The same, in DER.
    #[must_use]
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// Whoever connected, over TLS; the handshake is made with the first byte.
    pub(super) fn over(&self, stream: TcpStream) -> std::io::Result<Box<dyn Stream>> {
        let connection =
            ServerConnection::new(self.config.clone()).map_err(std::io::Error::other)?;
        Ok(Box::new(StreamOwned::new(connection, stream)))
    }
}
