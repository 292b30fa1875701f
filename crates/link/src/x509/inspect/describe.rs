//! What a certificate says, in words.

use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use x509_parser::prelude::X509Certificate;
use x509_parser::public_key::PublicKey as Key;

use crate::x509::request::{is_ed25519, name};

/// A certificate in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Described {
    /// Whose it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// In hexadecimal digits.
    pub serial: String,
    /// From when (RFC 3339).
    pub from: String,
    /// Until when (RFC 3339).
    pub until: String,
    /// The names and addresses that it speaks for.
    pub hosts: Vec<String>,
    /// What it may be used for.
    pub uses: Vec<&'static str>,
    /// Whether it is a CA.
    pub ca: bool,
    /// The kind of its key.
    pub key: String,
    /// How it was signed.
    pub signature: String,
}

impl Described {
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Self {
        let time = |time: x509_parser::time::ASN1Time| {
            time.to_datetime().format(&Rfc3339).unwrap_or_default()
        };
        Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            serial: serial(certificate),
            from: time(certificate.validity().not_before),
            until: time(certificate.validity().not_after),
            hosts: hosts(certificate),
            uses: uses(certificate),
            ca: certificate.is_ca(),
            key: key(certificate),
            signature: signature(certificate),
        }
    }
}

/// The serial number in hexadecimal digits, as `palisade ca revoke` takes it.
pub(super) fn serial(certificate: &X509Certificate<'_>) -> String {
    let raw = certificate.raw_serial();
    crate::x509::root::hex(raw, raw.len())
}

/// The subject's alternative names.
pub(super) fn hosts(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    names.value.general_names.iter().map(name).collect()
}

fn uses(certificate: &X509Certificate<'_>) -> Vec<&'static str> {
    let Ok(Some(usage)) = certificate.extended_key_usage() else {
        return vec!["anything (no extended key usage)"];
    };
    let usage = usage.value;
    [
        (usage.any, "anything"),
        (usage.server_auth, "server"),
        (usage.client_auth, "client"),
        (usage.code_signing, "code signing"),
        (usage.email_protection, "mail"),
        (usage.time_stamping, "time stamps"),
        (usage.ocsp_signing, "OCSP"),
    ]
    .into_iter()
    .filter_map(|(set, name)| set.then_some(name))
    .collect()
}

fn key(certificate: &X509Certificate<'_>) -> String {
    let info = certificate.public_key();
    match info.parsed() {
        Ok(Key::RSA(key)) => format!("RSA, {} bits", key.key_size()),
        Ok(Key::EC(point)) => format!("ECDSA P-{}", point.key_size()),
        Ok(_) if is_ed25519(info) => "Ed25519".to_owned(),
        Ok(_) | Err(_) => format!("of kind {}", info.algorithm.algorithm.to_id_string()),
    }
}

/// Object identifiers of signature algorithms, and how people call them.
const SIGNATURES: [(&str, &str); 11] = [
    ("1.2.840.113549.1.1.2", "MD2 with RSA"),
    ("1.2.840.113549.1.1.4", "MD5 with RSA"),
    ("1.2.840.113549.1.1.5", "SHA-1 with RSA"),
    ("1.2.840.113549.1.1.11", "SHA-256 with RSA"),
    ("1.2.840.113549.1.1.12", "SHA-384 with RSA"),
    ("1.2.840.113549.1.1.13", "SHA-512 with RSA"),
    ("1.2.840.10045.4.1", "SHA-1 with ECDSA"),
    ("1.2.840.10045.4.3.2", "SHA-256 with ECDSA"),
    ("1.2.840.10045.4.3.3", "SHA-384 with ECDSA"),
    ("1.2.840.113549.1.1.10", "RSA-PSS"),
    ("1.3.101.112", "Ed25519"),
];

/// How a certificate was signed.
pub(super) fn signature(certificate: &X509Certificate<'_>) -> String {
    let id = certificate.signature_algorithm.algorithm.to_id_string();
    let known = SIGNATURES.iter().find(|(known, _)| *known == id);
    known.map_or(id.clone(), |(_, name)| (*name).to_owned())
}
