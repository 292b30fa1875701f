//! Files: certificates in PEM or DER, and private keys.

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why a file is none of a certificate or key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Nothing in it.
    #[error("there is no certificate in it (no `-----BEGIN CERTIFICATE-----`, and no DER)")]
    Empty,
    /// Not X.509.
    #[error("this is no X.509 certificate: {reason}")]
    Certificate {
        /// Why.
        reason: String,
    },
    /// A private key where a certificate was expected.
    #[error("this is a private key, not a certificate")]
    PrivateKey,
    /// A request where a certificate was expected.
    #[error("this is a certificate request (CSR): no CA has signed it yet")]
    Request,
    /// No key that can be used.
    #[error("this is no private key (PEM, unencrypted): {reason}")]
    Key {
        /// Why.
        reason: String,
    },
}

/// The certificates of a file, PEM (any number) or DER (one).
pub fn certificates(bytes: &[u8]) -> Result<Vec<Vec<u8>>, ReadError> {
    if bytes.first() == Some(&0x30) {
        return Ok(vec![bytes.to_vec()]);
    }
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes)
        .map(|der| der.map(|der| der.to_vec()))
        .collect();
    let chain = chain.map_err(|error| ReadError::Certificate {
        reason: error.to_string(),
    })?;
    if !chain.is_empty() {
        return Ok(chain);
    }
    let text = String::from_utf8_lossy(bytes);
    if text.contains("PRIVATE KEY-----") {
        return Err(ReadError::PrivateKey);
    }
    if text.contains("CERTIFICATE REQUEST-----") {
        return Err(ReadError::Request);
    }
    Err(ReadError::Empty)
}

/// The public half of a private key (PEM: PKCS #8, PKCS #1 or SEC 1): DER of its
/// `SubjectPublicKeyInfo`.
pub fn key_spki(pem: &[u8]) -> Result<Vec<u8>, ReadError> {
    let failed = |reason: String| ReadError::Key { reason };
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| failed(error.to_string()))?;
    let key = any_supported_type(&key).map_err(|error| failed(error.to_string()))?;
    let public = key
        .public_key()
        .ok_or_else(|| failed("its public half can't be told".to_owned()))?;
    Ok(public.to_vec())
}
