//! The node's certificates: the root as X.509, the issuing CAs whose keys lie here, the server's
//! leaf, and the revocation lists.
//!
//! ```text
//!   cluster_public.key, root.crt             for clients
//!   root.crl, crl.pem, issuing.crl           what holds no more: for PostgreSQL, and for etcd
//!   server.crt, private/server.key           what the doors show; a file put there by hand is used
//!   private/serving.crt, .key                the one that was accepted last: what PostgreSQL gets
//!   private/issuing.crt, .key                the issuing CA, on the nodes that issue
//!   private/candidate.*, private/retiring.*  the next and the last one, while `ca rotate` runs
//! ```

mod held;
mod lists;
mod server;

use std::fmt;
use std::path::{Path, PathBuf};

use palisade_keys::{PublicKey, SecretKey, Zeroizing};
use palisade_link::x509::IssueError;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::files::{self, FileError};
use crate::layout::Layout;
use crate::system::{self, NoEntropy};

pub use held::{Pki, Place};
pub use lists::{ListError, check_lists};
pub use server::{ServerLeaf, Unfit};

/// Why certificates could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A certificate could not be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// A certificate that must not be shown.
    #[error("{} is refused: {why}", path.display())]
    Unfit {
        /// Its file.
        path: PathBuf,
        /// Why.
        why: Unfit,
    },
    /// A revocation list that must not be used.
    #[error(transparent)]
    List(#[from] ListError),
    /// This node issues nothing.
    #[error("this node holds no issuing CA's key")]
    NoIssuer,
    /// A file does not hold what it should.
    #[error("{} holds no {what}: {reason}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
        /// Why it is none.
        reason: String,
    },
}

fn content(path: &Path, what: &'static str, reason: &dyn fmt::Display) -> PkiError {
    PkiError::Content {
        path: path.to_owned(),
        what,
        reason: reason.to_string(),
    }
}

fn read_certificates(path: &Path) -> Result<Vec<Vec<u8>>, PkiError> {
    let text = files::read_text(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes())
        .map(|der| der.map(|der| der.to_vec()))
        .collect();
    let chain = chain.map_err(|error| content(path, "certificate", &error))?;
    if chain.is_empty() {
        return Err(content(path, "certificate", &"no CERTIFICATE block"));
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, PkiError> {
    let text = files::read_private(path)?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())
        .map_err(|error| content(path, "private key (PKCS #8 PEM)", &error))?;
    Ok(Zeroizing::new(key.secret_pkcs8_der().to_vec()))
}

fn validity(der: &[u8], path: &Path) -> Result<(OffsetDateTime, OffsetDateTime), PkiError> {
    let (_, parsed) =
        X509Certificate::from_der(der).map_err(|error| content(path, "certificate", &error))?;
    let validity = parsed.validity();
    Ok((
        validity.not_before.to_datetime(),
        validity.not_after.to_datetime(),
    ))
}

/// The serial number of a certificate, without leading zeros, as the ledger has it.
#[must_use]
pub fn serial(der: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let raw = parsed.raw_serial();
    let zeros = raw.iter().take_while(|byte| **byte == 0).count();
    raw.get(zeros..).map(<[u8]>::to_vec)
}

/// Whether this (PEM) is the root's certificate: the cluster key, signed by itself.
#[must_use]
pub fn is_root(pem: &[u8], cluster: &PublicKey) -> bool {
    CertificateDer::from_pem_slice(pem).is_ok_and(|der| {
        X509Certificate::from_der(&der).is_ok_and(|(rest, root)| {
            rest.is_empty()
                && root.is_ca()
                && root.subject() == root.issuer()
                && root.public_key().raw == cluster.spki_der()
                && root.verify_signature(None).is_ok()
        })
    })
}

/// Reads the cluster's public key.
pub fn read_public_key(path: &Path) -> Result<PublicKey, PkiError> {
    let text = files::read_text(path)?;
    text.trim()
        .parse()
        .map_err(|error| content(path, "cluster public key", &error))
}

/// Reads the cluster's private key: a file that nobody else may read.
pub fn read_secret_key(path: &Path) -> Result<SecretKey, PkiError> {
    let text = files::read_private(path)?;
    SecretKey::from_text(text.trim()).map_err(|error| content(path, "cluster private key", &error))
}

/// The secret from which the gateway makes the salts of users that do not exist: made once, so that
/// they stay the same over restarts.
pub fn mock_secret(layout: &Layout) -> Result<Zeroizing<[u8; 32]>, PkiError> {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::STANDARD;
    let path = layout.mock_secret();
    if !path.exists() {
        let secret = system::random::<32>()?;
        let text = Zeroizing::new(engine.encode(secret.as_slice()));
        files::write_private(&path, text.as_bytes())?;
    }
    let text = files::read_private(&path)?;
    let mut secret = Zeroizing::new([0; 32]);
    match engine.decode_slice(text.trim(), secret.as_mut_slice()) {
        Ok(32) => Ok(secret),
        Ok(_) | Err(_) => Err(content(&path, "secret", &"not the base64 form of 32 bytes")),
    }
}
