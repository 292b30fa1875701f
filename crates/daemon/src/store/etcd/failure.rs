//! Why an etcd can't be used, told apart, with the file it is about and what to do.

use std::path::PathBuf;

use palisade_ledger::{Refusal, SplitError, Stale};
use rustls::{AlertDescription, CertificateError};

use crate::files::FileError;

/// Why a connection to etcd was not made, or a request was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nobody listens there, or the machine can't be reached.
    #[error("nobody answers there ({0}); is etcd running, and is that its client URL?")]
    NotReachable(String),
    /// The host's name has no address.
    #[error("the host's name can't be resolved ({0})")]
    NoSuchHost(String),
    /// Its certificate is not of the CA that we were given.
    #[error(
        "its certificate was not issued by the CA in {}: name the CA that issued it (--store-ca-file)",
        .0.display()
    )]
    WrongCa(PathBuf),
    /// Its certificate has expired.
    #[error("its certificate has expired ({0}): issue a new one for that etcd")]
    Expired(String),
    /// Its certificate is not valid yet.
    #[error("its certificate is not valid yet ({0}): look at the clocks of both machines")]
    NotYetValid(String),
    /// Its certificate does not name the host.
    #[error(
        "its certificate does not name {host}{presented}: use a name it holds in the URL, or issue \
         one with that subjectAltName"
    )]
    NameMissing {
        /// The host of the URL.
        host: String,
        /// What it names, in words.
        presented: String,
    },
    /// It does not take our certificate.
    #[error(
        "it refuses our certificate{certificate} ({alert}): it must be issued by the CA that etcd \
         trusts (--trusted-ca-file), and not be revoked or expired"
    )]
    RefusesUs {
        /// The file, in words.
        certificate: String,
        /// TLS's alert.
        alert: String,
    },
    /// It speaks no TLS, or none that we take.
    #[error("the TLS handshake failed: {0}")]
    Tls(String),
    /// etcd's own refusal.
    #[error(
        "etcd refuses: {0}; with its authentication on, the certificate's common name must be a user \
         whose role may read and write the ledger's prefix"
    )]
    Forbidden(String),
    /// It answers, but takes nothing.
    #[error("etcd refuses: {0}")]
    Refused(String),
    /// No answer in time, or the connection was lost under way.
    #[error("no answer: {0}")]
    NoAnswer(String),
}

/// Why there is no store in etcd.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// An option is wrong.
    #[error("{0}")]
    Options(String),
    /// A file of the options.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not a PEM file, or not of what was expected.
    #[error("{} holds no {what} in PEM: {reason}", path.display())]
    Pem {
        /// `certificate`, `private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate is of another key.
    #[error(
        "the certificate in {} is not of the key in {}: name the two that were made together",
        certificate.display(), key.display()
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
    },
    /// Our own certificate has expired.
    #[error("the certificate in {} expired on {until}: issue a new one", path.display())]
    OwnExpired {
        /// Its file.
        path: PathBuf,
        /// Its end.
        until: String,
    },
    /// No endpoint can be used: what is wrong with each.
    #[error("{}", endpoints(.0))]
    Endpoints(Vec<(String, Failure)>),
    /// What the store shows does not verify.
    #[error("entry {seq} of the store does not verify: {refusal}")]
    Entry {
        /// Its number.
        seq: u64,
        /// Why.
        refusal: Refusal,
    },
    /// What the store shows is no chain.
    #[error("the store was tampered with: {0}; nothing of it is taken")]
    Tampered(String),
    /// There is no ledger in the store.
    #[error("there is no ledger of this cluster in the store (looked below {0})")]
    Empty(String),
    /// There are entries, and no head.
    #[error(
        "the ledger has not come to this store yet: it is just moving here, or a move was given up; \
         nothing is appended to it"
    )]
    NotHere,
    /// The entry is not taken.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Verified entries did not fit together; they always do.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// Bytes between entries.
    #[error(transparent)]
    Split(#[from] SplitError),
}

fn endpoints(failures: &[(String, Failure)]) -> String {
    let lines: Vec<String> = failures
        .iter()
        .map(|(endpoint, failure)| format!("{endpoint}: {failure}"))
        .collect();
    lines.join("\n")
}

impl EtcdError {
    /// What is wrong with the endpoints, if that is it.
    #[must_use]
    pub fn failures(&self) -> Vec<&Failure> {
        match self {
            Self::Endpoints(failures) => failures.iter().map(|(_, failure)| failure).collect(),
            _ => Vec::new(),
        }
    }
}

/// What is known about an endpoint, to put a failure into words.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) host: String,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) certificate_file: Option<PathBuf>,
}

impl About {
    /// What an I/O error of the connection means; none if it says nothing in particular.
    pub(super) fn tls(&self, error: &std::io::Error) -> Option<Failure> {
        let rustls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        Some(self.rustls(rustls))
    }

    fn rustls(&self, error: &rustls::Error) -> Failure {
        match error {
            rustls::Error::InvalidCertificate(certificate) => self.certificate(certificate),
            rustls::Error::AlertReceived(
                alert @ (AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::DecryptError
                | AlertDescription::CertificateRequired),
            ) => Failure::RefusesUs {
                certificate: match &self.certificate_file {
                    Some(path) => format!(" in {}", path.display()),
                    None => ", and we were given none".to_owned(),
                },
                alert: format!("{alert:?}"),
            },
            other => Failure::Tls(other.to_string()),
        }
    }

    fn certificate(&self, error: &CertificateError) -> Failure {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Failure::Expired(error.to_string())
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Failure::NotYetValid(error.to_string())
            }
            CertificateError::NotValidForName => self.unnamed(String::new()),
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names = presented.join(", ");
                self.unnamed(if names.is_empty() {
                    ", nor any other host".to_owned()
                } else {
                    format!(", but {names}")
                })
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Failure::WrongCa(self.ca_file.clone().unwrap_or_default())
            }
            other => Failure::Tls(other.to_string()),
        }
    }

    fn unnamed(&self, presented: String) -> Failure {
        Failure::NameMissing {
            host: self.host.clone(),
            presented,
        }
    }
}
