//! The cluster key as X.509: the root's certificate, and the list of issuing CAs that hold no more.

use palisade_keys::{PublicKey, SecretKey};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyUsagePurpose, SerialNumber};
use time::{Duration, OffsetDateTime};

use super::issuing::{Revoked, revocation_list};
use super::{IssueError, ed25519, named};

/// Years that the root is good for. Its key is the cluster itself: a new one is a new cluster.
const ROOT_YEARS: i64 = 30;

/// The subject of the root: fixed by the key, so that who knows the key knows the name.
#[must_use]
pub fn root_name(key: &PublicKey) -> String {
    let fingerprint = key.fingerprint();
    format!("Palisade cluster {}", hex(fingerprint.as_bytes(), 8))
}

/// The first `bytes` bytes in hexadecimal digits.
pub(super) fn hex(value: &[u8], bytes: usize) -> String {
    let digits = value
        .iter()
        .take(bytes)
        .flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}

/// The root's certificate: the cluster's public key as X.509, self-signed.
pub fn root_certificate(cluster: &SecretKey, from: OffsetDateTime) -> Result<Vec<u8>, IssueError> {
    let key = ed25519(cluster)?;
    let public = cluster.public();
    let mut serial = public.fingerprint().as_bytes().to_vec();
    serial.truncate(16);
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    let until = from + Duration::days(ROOT_YEARS * 365);
    let params = authority(&root_name(&public), &serial, from, until, None);
    Ok(params.self_signed(&key)?.der().to_vec())
}

/// The root's revocation list: the issuing CAs that hold no more. It can only be made where the
/// cluster key is, so it is as long-lived as the root; an issuing CA goes by losing its own list.
pub fn root_revocation_list(
    cluster: &SecretKey,
    revoked: &[Revoked],
    now: OffsetDateTime,
) -> Result<Vec<u8>, IssueError> {
    let key = ed25519(cluster)?;
    let issuer = authority(&root_name(&cluster.public()), &[1], now, now, None);
    let issuer = Issuer::from_params(&issuer, &key);
    let until = now + Duration::days(ROOT_YEARS * 365);
    revocation_list(&issuer, revoked, now, until)
}

/// The parameters of a CA.
pub(super) fn authority(
    name: &str,
    serial: &[u8],
    from: OffsetDateTime,
    until: OffsetDateTime,
    path_length: Option<u8>,
) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = from;
    params.not_after = until;
    params.serial_number = Some(SerialNumber::from_slice(serial));
    params.distinguished_name = named(name);
    params.is_ca = IsCa::Ca(match path_length {
        Some(length) => BasicConstraints::Constrained(length),
        None => BasicConstraints::Unconstrained,
    });
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = path_length.is_some();
    params
}
