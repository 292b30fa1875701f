//! The options of a store in etcd, and the files they name, looked at before anybody is asked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use palisade_ledger::{NodeAddress, is_loopback};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::failure::EtcdError;
use crate::{files, system};

/// Where an etcd is, and who we are to it: `--store-endpoints`, `--store-ca-file`,
/// `--store-cert-file`, `--store-key`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EtcdOptions {
    /// `https://HOST:PORT` of its members; `http://` on loopback alone.
    pub endpoints: Vec<String>,
    /// The CA of its certificates, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, in PEM; intermediate ones may follow.
    pub cert_file: Option<PathBuf>,
    /// Its key, in PEM (PKCS#1, PKCS#8 or SEC 1), readable by its owner alone.
    pub key_file: Option<PathBuf>,
}

/// An endpoint, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) url: String,
    pub(super) address: NodeAddress,
    pub(super) tls: bool,
}

impl EtcdOptions {
    /// The endpoints, each checked for its form.
    pub(super) fn read_endpoints(&self) -> Result<Vec<Endpoint>, EtcdError> {
        let endpoints: Vec<Endpoint> = self
            .endpoints
            .iter()
            .map(|url| self.endpoint(url.trim_end_matches('/')))
            .collect::<Result<_, _>>()?;
        if endpoints.is_empty() {
            let text = "no endpoint of etcd is given (--store-endpoints https://HOST:PORT,...)";
            return Err(EtcdError::Options(text.to_owned()));
        }
        Ok(endpoints)
    }

    fn endpoint(&self, url: &str) -> Result<Endpoint, EtcdError> {
        let wrong = |text: &str| EtcdError::Options(format!("the endpoint {url} {text}"));
        let (tls, address) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(address), _) => (true, address),
            (None, Some(address)) => (false, address),
            (None, None) => return Err(wrong("must read https://HOST:PORT")),
        };
        let address: NodeAddress = address
            .parse()
            .map_err(|error| wrong(&format!("must read https://HOST:PORT: {error}")))?;
        if !tls && !is_loopback(address.host()) {
            return Err(wrong(
                "is not encrypted: let that etcd listen on https:// with a certificate and \
                 --client-cert-auth",
            ));
        }
        if tls && self.ca_file.is_none() {
            return Err(wrong("needs the CA of its certificate (--store-ca-file)"));
        }
        Ok(Endpoint {
            url: url.to_owned(),
            address,
            tls,
        })
    }

    /// Reads the files: what connections are made with.
    pub(super) fn tls(&self) -> Result<Option<Arc<ClientConfig>>, EtcdError> {
        let Some(ca_file) = &self.ca_file else {
            return Ok(None);
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca_file)? {
            roots
                .add(certificate)
                .map_err(|error| not_pem("certificate", ca_file, error))?;
        }
        let provider = Arc::new(default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map_err(|error| not_pem("certificate", ca_file, error))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| EtcdError::Options(error.to_string()))?
            .with_webpki_verifier(verifier);
        let mut config = match (&self.cert_file, &self.key_file) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                // Not `with_client_auth_cert`: it refuses certificates of version 1, which is what
                // `openssl x509 -req` makes without extensions (seed 002, step 6).
                builder.with_client_cert_resolver(Arc::new(Own(identity(certificate, key)?)))
            }
            (Some(_), None) => return Err(missing("--store-key", "--store-cert-file")),
            (None, Some(_)) => return Err(missing("--store-cert-file", "--store-key")),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Some(Arc::new(config)))
    }
}

fn missing(what: &str, with: &str) -> EtcdError {
    EtcdError::Options(format!("{with} is given without {what}"))
}

fn not_pem(what: &'static str, path: &Path, reason: impl std::fmt::Display) -> EtcdError {
    EtcdError::Pem {
        what,
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, EtcdError> {
    let text = files::read_text(path)?;
    let list: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| not_pem("certificate", path, error))?;
    if list.is_empty() {
        return Err(not_pem("certificate", path, "there is none"));
    }
    Ok(list)
}

/// Reads certificate and key, and checks that they belong together and that the certificate holds.
fn identity(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, EtcdError> {
    let chain = certificates(certificate)?;
    let text = files::read_private(key)?;
    let der = PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|error| not_pem("private key", key, error))?;
    let signer = default_provider()
        .key_provider
        .load_private_key(der)
        .map_err(|error| not_pem("private key", key, error))?;
    let leaf = chain.first().map(CertificateDer::as_ref);
    let leaf = leaf.unwrap_or_default();
    let (_, parsed) = X509Certificate::from_der(leaf)
        .map_err(|error| not_pem("certificate", certificate, error))?;
    let spki = signer.public_key();
    if spki.is_some_and(|spki| spki.as_ref() != parsed.public_key().raw) {
        return Err(EtcdError::Mismatch {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        });
    }
    let until = parsed.validity().not_after;
    if until.to_datetime() < system::now() {
        return Err(EtcdError::OwnExpired {
            path: certificate.to_owned(),
            until: until.to_string(),
        });
    }
    Ok(Arc::new(CertifiedKey::new(chain, signer)))
}

/// Shows one certificate to whoever asks.
#[derive(Debug)]
struct Own(Arc<CertifiedKey>);

impl ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0
            .key
            .choose_scheme(schemes)
            .is_some()
            .then(|| self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
