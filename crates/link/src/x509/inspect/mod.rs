//! A certificate in words, and what is wrong with it, each fault with a remedy.
//!
//! ```text
//!   file --read--> chain (and key) --inspect(context)--> Report { certificates, faults }
//! ```
//!
//! Nothing here is a judgement that a door relies on: those are made by the TLS libraries and by the
//! gateway. This tells a person beforehand what they will say.

mod chain;
mod describe;
mod leaf;
mod read;

use palisade_keys::PublicKey;
use serde::Serialize;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

pub use describe::Described;
pub use read::{ReadError, certificates, key_spki};

/// Against what a certificate is held.
pub struct Context<'a> {
    /// The time that counts.
    pub now: OffsetDateTime,
    /// The host that clients will ask for.
    pub host: Option<&'a str>,
    /// The key that belongs to it: DER of its `SubjectPublicKeyInfo`, by [`key_spki`].
    pub key: Option<&'a [u8]>,
    /// The cluster that it should be of.
    pub cluster: Option<&'a PublicKey>,
    /// The cluster's issuing CAs, by its ledger.
    pub issuing: &'a [Vec<u8>],
    /// Why the certificate of a serial number was revoked, if it was.
    pub revoked: &'a dyn Fn(&[u8]) -> Option<String>,
}

/// How bad a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Somebody will refuse it.
    Error,
    /// It works, and should not be so.
    Warning,
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// For programs: `expired`, `no_san`.
    pub kind: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl Fault {
    fn error(kind: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            kind,
            severity: Severity::Error,
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    fn warning(kind: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(kind, what, remedy)
        }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The certificates of the file, in its order.
    pub certificates: Vec<Described>,
    /// What is wrong with the first, and with what stands behind it.
    pub faults: Vec<Fault>,
}

impl Report {
    /// Whether nobody will refuse it.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.faults
            .iter()
            .all(|fault| fault.severity == Severity::Warning)
    }
}

/// Describes a chain (DER, the leaf first) and finds its faults.
pub fn inspect(chain: &[Vec<u8>], context: &Context<'_>) -> Result<Report, ReadError> {
    let mut parsed = Vec::new();
    for der in chain {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|error| ReadError::Certificate {
                reason: error.to_string(),
            })?;
        if !rest.is_empty() {
            return Err(ReadError::Certificate {
                reason: "something follows it".to_owned(),
            });
        }
        parsed.push(certificate);
    }
    let first = parsed.first().ok_or(ReadError::Empty)?;
    let mut faults = leaf::find(first, context);
    chain::find(chain, &parsed, context, &mut faults);
    faults.sort_by_key(|fault| fault.severity == Severity::Warning);
    Ok(Report {
        certificates: parsed.iter().map(Described::of).collect(),
        faults,
    })
}

#[cfg(test)]
mod tests;
