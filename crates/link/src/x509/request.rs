//! Certificate requests (PKCS #10, RFC 2986): what travels in place of a private key.

use std::net::IpAddr;

use palisade_keys::Zeroizing;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, SubjectPublicKeyInfo};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey as Key;

use super::{IssueError, alternative_name, named};

/// Bytes of the largest request that is read: an RSA-4096 one with many names takes about 4,000.
const MAX_REQUEST_BYTES: usize = 16 * 1024;
/// Bits of the smallest RSA key (NIST SP 800-57: 112 bits of strength).
const MIN_RSA_BITS: usize = 2048;
/// Bits of the largest: beyond it a verification is a burden to everybody.
const MAX_RSA_BITS: usize = 8192;

/// A fresh P-256 key, and the request for a certificate over it.
pub struct KeyRequest {
    /// PKCS #10 DER: goes to the issuer.
    pub request: Vec<u8>,
    /// PKCS #8 DER: stays.
    pub key: Zeroizing<Vec<u8>>,
}

/// Makes a key and its request. The names are a wish: the issuer decides.
pub fn make_request(common_name: &str, hosts: &[String]) -> Result<KeyRequest, IssueError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = named(common_name);
    for host in hosts {
        params.subject_alt_names.push(alternative_name(host)?);
    }
    let request = params.serialize_request(&key)?;
    Ok(KeyRequest {
        request: request.der().to_vec(),
        key: Zeroizing::new(key.serialize_der()),
    })
}

/// A request whose sender proved that he holds the key. Made by [`SigningRequest::parse`] alone.
#[must_use]
pub struct SigningRequest {
    pub(super) key: SubjectPublicKeyInfo,
    hosts: Vec<String>,
    spki: Vec<u8>,
}

impl SigningRequest {
    /// Reads a request (DER) and checks its signature and that its key is sound.
    pub fn parse(der: &[u8]) -> Result<Self, IssueError> {
        let unreadable = |reason: &str| IssueError::Request(reason.to_owned());
        if der.len() > MAX_REQUEST_BYTES {
            return Err(unreadable("it is too large"));
        }
        let (rest, request) = X509CertificationRequest::from_der(der)
            .map_err(|error| IssueError::Request(error.to_string()))?;
        if !rest.is_empty() {
            return Err(unreadable("something follows it"));
        }
        request
            .verify_signature()
            .map_err(|_| IssueError::NotProved)?;
        let info = &request.certification_request_info.subject_pki;
        check_key(info)?;
        let spki = info.raw.to_vec();
        let key = SubjectPublicKeyInfo::from_der(&spki)
            .map_err(|error| IssueError::Key(error.to_string()))?;
        let mut hosts = Vec::new();
        for extension in request.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension {
                hosts.extend(names.general_names.iter().map(name));
            }
        }
        Ok(Self { key, hosts, spki })
    }

    /// The names that the request wishes for. They are not what the certificate says.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// The key that was proved: DER of its `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }
}

/// A key of a kind and size that everybody who meets it can use and nobody can break.
pub(super) fn check_key(
    info: &x509_parser::x509::SubjectPublicKeyInfo<'_>,
) -> Result<(), IssueError> {
    let weak = |what: String| Err(IssueError::Key(what));
    match info.parsed() {
        Ok(Key::RSA(key)) => match key.key_size() {
            MIN_RSA_BITS..=MAX_RSA_BITS => Ok(()),
            size => weak(format!(
                "RSA of {size} bits; it takes {MIN_RSA_BITS} to {MAX_RSA_BITS}"
            )),
        },
        Ok(Key::EC(point)) => match point.key_size() {
            256 | 384 => Ok(()),
            size => weak(format!(
                "an elliptic curve of {size} bits; it takes P-256 or P-384"
            )),
        },
        Ok(Key::Unknown(_)) if is_ed25519(info) => Ok(()),
        Ok(_) => weak("neither ECDSA, Ed25519 nor RSA".to_owned()),
        Err(error) => weak(error.to_string()),
    }
}

/// Whether the key is an Ed25519 one (RFC 8410).
pub(super) fn is_ed25519(info: &x509_parser::x509::SubjectPublicKeyInfo<'_>) -> bool {
    info.algorithm.algorithm.to_id_string() == "1.3.101.112"
}

/// A name of a certificate as people write it.
pub(super) fn name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress(bytes) => address(bytes),
        other => other.to_string(),
    }
}

fn address(bytes: &[u8]) -> String {
    let four: Result<[u8; 4], _> = bytes.try_into();
    let sixteen: Result<[u8; 16], _> = bytes.try_into();
    match (four, sixteen) {
        (Ok(four), _) => IpAddr::from(four).to_string(),
        (_, Ok(sixteen)) => IpAddr::from(sixteen).to_string(),
        (Err(_), Err(_)) => "an address of no known kind".to_owned(),
    }
}
