//! Certificates (RFC 5280): the root that is the cluster key, the issuing CA, and the leaves.
//!
//! Every field is set here; none is left to the library's defaults (a default serial number would
//! repeat for the same key, and so would its revocation).

use std::net::IpAddr;

use palisade_keys::{PublicKey, SecretKey, Zeroizing};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ED25519, SanType, SerialNumber,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use time::{Duration, OffsetDateTime};

/// Years that the root is good for. Its key is the cluster itself: a new one is a new cluster.
const ROOT_YEARS: i64 = 30;
/// Days that an issuing CA is good for.
const ISSUING_DAYS: i64 = 1825;
/// How far a fresh certificate reaches back, for clocks that lag.
const BACKDATE: Duration = Duration::minutes(5);

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The certificate library refused.
    #[error("the certificate can't be made: {0}")]
    Library(#[from] rcgen::Error),
    /// A name that is neither a host name nor an address.
    #[error("`{0}` is neither a host name nor an IP address")]
    Name(String),
}

/// A private key with the certificates that speak for it, its own first.
pub struct Leaf {
    /// DER, the leaf first, then the issuing CA.
    pub chain: Vec<Vec<u8>>,
    /// PKCS #8 DER.
    pub key: Zeroizing<Vec<u8>>,
}

impl Leaf {
    /// The chain as PEM.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|der| certificate_pem(der)).collect()
    }

    /// The key as PEM, for a file of mode 0600.
    #[must_use]
    pub fn expose_key_pem(&self) -> Zeroizing<String> {
        pem("PRIVATE KEY", &self.key)
    }
}

/// What a certificate is for.
pub struct Request<'a> {
    /// Common name.
    pub common_name: &'a str,
    /// Host names and addresses (servers only).
    pub hosts: &'a [String],
    /// From when.
    pub now: OffsetDateTime,
    /// For how long.
    pub lifetime: Duration,
    /// The serial number: up to 20 bytes, the first below 0x80 and not 0.
    pub serial: &'a [u8],
}

/// The subject of the root: fixed by the key, so that who knows the key knows the name.
#[must_use]
pub fn root_name(key: &PublicKey) -> String {
    let fingerprint = key.fingerprint();
    let short: String = fingerprint
        .as_bytes()
        .iter()
        .take(8)
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect();
    format!("Palisade cluster {short}")
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

/// The CA that signs leaves: a P-256 key, certified by the cluster key, with path length 0.
pub struct IssuingCa {
    certificate: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl IssuingCa {
    /// Makes one, and its private key in PKCS #8 DER.
    pub fn create(
        cluster: &SecretKey,
        serial: &[u8],
        now: OffsetDateTime,
    ) -> Result<(Self, Zeroizing<Vec<u8>>), IssueError> {
        let root_key = ed25519(cluster)?;
        let root_name = root_name(&cluster.public());
        let root = authority(&root_name, &[1], now, now, None);
        let root = Issuer::from_params(&root, &root_key);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let secret = Zeroizing::new(key.serialize_der());
        let name = format!("{root_name} issuing {}", now.date());
        let until = now + Duration::days(ISSUING_DAYS);
        let params = authority(&name, serial, now - BACKDATE, until, Some(0));
        let certificate = params.signed_by(&key, &root)?.der().to_vec();
        Ok((Self::load(certificate, &secret)?, secret))
    }

    /// From its certificate and its key (PKCS #8 DER).
    pub fn load(certificate: Vec<u8>, key: &[u8]) -> Result<Self, IssueError> {
        let key = PrivatePkcs8KeyDer::from(key);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)?;
        let issuer = Issuer::from_ca_cert_der(&certificate.as_slice().into(), key)?;
        Ok(Self {
            certificate,
            issuer,
        })
    }

    /// Its certificate, in DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// A server's certificate and key.
    pub fn server(&self, request: &Request<'_>) -> Result<Leaf, IssueError> {
        let mut params = leaf(request, ExtendedKeyUsagePurpose::ServerAuth);
        for host in request.hosts {
            params.subject_alt_names.push(alternative_name(host)?);
        }
        self.sign(&params)
    }

    /// A user's certificate and key: the common name is the user's name.
    pub fn user(&self, request: &Request<'_>) -> Result<Leaf, IssueError> {
        self.sign(&leaf(request, ExtendedKeyUsagePurpose::ClientAuth))
    }

    fn sign(&self, params: &CertificateParams) -> Result<Leaf, IssueError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Leaf {
            chain: vec![certificate.der().to_vec(), self.certificate.clone()],
            key: Zeroizing::new(key.serialize_der()),
        })
    }
}

/// A self-signed certificate of a user's own key, with which any TLS client proves that key to the
/// gateway (method `key`). It is good for nothing else.
pub fn user_certificate(
    name: &str,
    key: &SecretKey,
    serial: &[u8],
    now: OffsetDateTime,
    lifetime: Duration,
) -> Result<Leaf, IssueError> {
    let request = Request {
        common_name: name,
        hosts: &[],
        now,
        lifetime,
        serial,
    };
    let pair = ed25519(key)?;
    let mut params = leaf(&request, ExtendedKeyUsagePurpose::ClientAuth);
    params.use_authority_key_identifier_extension = false;
    Ok(Leaf {
        chain: vec![params.self_signed(&pair)?.der().to_vec()],
        key: key.expose_pkcs8_der(),
    })
}

/// A certificate as PEM (RFC 7468).
#[must_use]
pub fn certificate_pem(der: &[u8]) -> String {
    pem("CERTIFICATE", der).to_string()
}

/// PEM of any label.
#[must_use]
pub fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    use base64::Engine as _;
    let encoded = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(der));
    let mut text = Zeroizing::new(String::with_capacity(
        encoded.len() + encoded.len() / 64 + 80,
    ));
    for part in ["-----BEGIN ", label, "-----\n"] {
        text.push_str(part);
    }
    let mut rest = encoded.as_str();
    while let Some((line, more)) = rest.split_at_checked(64) {
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    if !rest.is_empty() {
        text.push_str(rest);
        text.push('\n');
    }
    for part in ["-----END ", label, "-----\n"] {
        text.push_str(part);
    }
    text
}

fn ed25519(key: &SecretKey) -> Result<KeyPair, IssueError> {
    let der = key.expose_pkcs8_der();
    let der = PrivatePkcs8KeyDer::from(der.as_slice());
    Ok(KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ED25519)?)
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(
        DnType::CommonName,
        DnValue::Utf8String(common_name.to_owned()),
    );
    name
}

fn authority(
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

fn leaf(request: &Request<'_>, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = request.now - BACKDATE;
    params.not_after = request.now + request.lifetime;
    params.serial_number = Some(SerialNumber::from_slice(request.serial));
    params.distinguished_name = named(request.common_name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    params
}

fn alternative_name(host: &str) -> Result<SanType, IssueError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if host.len() > 253 || !host.split('.').all(label) {
        return Err(IssueError::Name(host.to_owned()));
    }
    let name = host
        .try_into()
        .map_err(|_| IssueError::Name(host.to_owned()))?;
    Ok(SanType::DnsName(name))
}
