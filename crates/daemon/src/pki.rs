//! The node's certificates: the root as X.509, the issuing CA, and the server's leaf, kept fresh.
//!
//! ```text
//!   cluster_public.key, root.crt          for clients
//!   private/issuing.crt, .key             the issuing CA of this node
//!   server.crt, private/server.key        what the gateway shows; a file put there by hand is used
//! ```

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use palisade_keys::{PublicKey, SecretKey, Zeroizing};
use palisade_link::x509::{self, IssueError, IssuingCa, Leaf, Request};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::files::{self, FileError};
use crate::layout::Layout;
use crate::system::{self, NoEntropy};

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

/// The server's leaf as it lies in its files.
pub struct ServerLeaf {
    /// Chain and key.
    pub leaf: Leaf,
    /// From when it holds.
    pub from: OffsetDateTime,
    /// Until when it holds.
    pub until: OffsetDateTime,
    /// When its files were written, to notice that somebody put others there.
    stamp: [Option<SystemTime>; 2],
}

impl ServerLeaf {
    /// Whether two thirds of its life are over.
    #[must_use]
    pub fn is_due(&self, now: OffsetDateTime) -> bool {
        now >= self.from + (self.until - self.from) * 2 / 3
    }
}

/// The node's certificates.
pub struct Pki {
    layout: Layout,
    issuing: IssuingCa,
}

impl Pki {
    /// Makes the root's certificate and an issuing CA. Needs the cluster key.
    pub fn create(layout: &Layout, cluster: &SecretKey) -> Result<Self, PkiError> {
        let now = system::now();
        let root = x509::root_certificate(cluster, now - Duration::minutes(5))?;
        let (issuing, key) = IssuingCa::create(cluster, &system::serial()?, now)?;
        let key = x509::pem("PRIVATE KEY", &key);
        files::write_private(&layout.issuing_key(), key.as_bytes())?;
        let certificate = x509::certificate_pem(issuing.certificate());
        files::write_public(&layout.issuing_certificate(), certificate.as_bytes())?;
        files::write_public(
            &layout.root_certificate(),
            x509::certificate_pem(&root).as_bytes(),
        )?;
        let public = format!("{}\n", cluster.public());
        files::write_public(&layout.cluster_public_key(), public.as_bytes())?;
        Ok(Self {
            layout: layout.clone(),
            issuing,
        })
    }

    /// Reads the issuing CA.
    pub fn load(layout: &Layout) -> Result<Self, PkiError> {
        let certificates = read_certificates(&layout.issuing_certificate())?;
        let certificate = certificates.into_iter().next().unwrap_or_default();
        let key = read_key(&layout.issuing_key())?;
        Ok(Self {
            layout: layout.clone(),
            issuing: IssuingCa::load(certificate, &key)?,
        })
    }

    /// The issuing CA.
    #[must_use]
    pub fn issuing(&self) -> &IssuingCa {
        &self.issuing
    }

    /// The server's leaf: as it lies there, or a new one if there is none or it is due.
    pub fn server(&self, hosts: &[String], days: u16) -> Result<ServerLeaf, PkiError> {
        let certificate = self.layout.server_certificate();
        if certificate.exists() && self.layout.server_key().exists() {
            let leaf = self.read_server()?;
            let ours =
                leaf.leaf.chain.get(1).map(Vec::as_slice) == Some(self.issuing.certificate());
            if !ours || !leaf.is_due(system::now()) {
                return Ok(leaf);
            }
        }
        self.renew(hosts, days)
    }

    /// A new leaf for the server.
    pub fn renew(&self, hosts: &[String], days: u16) -> Result<ServerLeaf, PkiError> {
        let serial = system::serial()?;
        let leaf = self.issuing.server(&Request {
            common_name: hosts.first().map_or("palisade", String::as_str),
            hosts,
            now: system::now(),
            lifetime: Duration::days(i64::from(days)),
            serial: &serial,
        })?;
        let key = leaf.expose_key_pem();
        files::write_private(&self.layout.server_key(), key.as_bytes())?;
        let chain = leaf.chain_pem();
        files::write_public(&self.layout.server_certificate(), chain.as_bytes())?;
        self.read_server()
    }

    /// Reads the server's leaf from its files.
    pub fn read_server(&self) -> Result<ServerLeaf, PkiError> {
        let path = self.layout.server_certificate();
        let stamp = self.stamp();
        let chain = read_certificates(&path)?;
        let key = read_key(&self.layout.server_key())?;
        let first = chain.first().map(Vec::as_slice).unwrap_or_default();
        let (from, until) = validity(first, &path)?;
        Ok(ServerLeaf {
            leaf: Leaf { chain, key },
            from,
            until,
            stamp,
        })
    }

    /// Whether the files of the server's leaf are others than those `leaf` was read from.
    #[must_use]
    pub fn is_replaced(&self, leaf: &ServerLeaf) -> bool {
        self.stamp() != leaf.stamp
    }

    fn stamp(&self) -> [Option<SystemTime>; 2] {
        let paths = [self.layout.server_certificate(), self.layout.server_key()];
        paths.map(|path| {
            std::fs::metadata(path)
                .and_then(|meta| meta.modified())
                .ok()
        })
    }
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
