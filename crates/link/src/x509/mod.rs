//! Certificates (RFC 5280): the root that is the cluster key, the issuing CAs, the leaves, their
//! requests and revocation lists.
//!
//! ```text
//!   root      the cluster key as X.509, and its revocation list
//!   issuing   the CA that signs leaves        request   PKCS #10: what travels in place of a key
//!   inspect   a certificate in words, and what is wrong with it
//! ```
//!
//! Every field is set here; none is left to the library's defaults (a default serial number would
//! repeat for the same key, and so would its revocation). Of a request the public key is taken and
//! nothing else: what a certificate says is decided by who signs it.

pub mod inspect;
mod issuing;
mod request;
mod root;

use std::net::IpAddr;

use palisade_keys::{SecretKey, Zeroizing};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, SanType, SerialNumber,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use time::{Duration, OffsetDateTime};

pub use issuing::{IssuingCa, Revoked, certify_issuing_ca};
pub use request::{KeyRequest, SigningRequest, make_request};
pub use root::{root_certificate, root_name, root_revocation_list};

/// How far a fresh certificate reaches back, for clocks that lag.
pub const BACKDATE: Duration = Duration::minutes(5);

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The certificate library refused.
    #[error("the certificate can't be made: {0}")]
    Library(#[from] rcgen::Error),
    /// A name that is neither a host name nor an address.
    #[error("`{0}` is neither a host name nor an IP address")]
    Name(String),
    /// A server without a name.
    #[error("a server's certificate needs a host name or an address")]
    NoHost,
    /// A user or tool with names of hosts.
    #[error("only a server's, a store's or a service's certificate names hosts")]
    Hosts,
    /// The request can't be read.
    #[error("this is no certificate request (PKCS #10): {0}")]
    Request(String),
    /// The request is not signed by the key in it.
    #[error("the certificate request is not signed by the key that it names")]
    NotProved,
    /// A key that is too weak, or of a kind that PostgreSQL or etcd can't use.
    #[error("the key of the request is refused: {0}")]
    Key(String),
    /// A certificate that is no issuing CA of this cluster.
    #[error("this is no issuing CA of this cluster: {0}")]
    NotIssuing(String),
    /// The CA's own life is over.
    #[error("the issuing CA expired on {0}")]
    Expired(time::Date),
}

/// What a leaf is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A server of hosts: names, `serverAuth`.
    Server,
    /// An etcd member: names, `serverAuth` and `clientAuth`.
    Store,
    /// A user: `clientAuth`, the common name is the user's.
    User,
    /// A service: `clientAuth`; one that serves itself has names, and `serverAuth`.
    Service,
    /// A tool: `clientAuth`.
    Tool,
}

impl Purpose {
    /// What its certificates are good for, with or without names of hosts.
    fn usages(self, hosts: &[String]) -> Result<Vec<ExtendedKeyUsagePurpose>, IssueError> {
        let (server, client) = (
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        );
        match (self, hosts.is_empty()) {
            (Self::Server | Self::Store, true) => Err(IssueError::NoHost),
            (Self::Server, false) => Ok(vec![server]),
            (Self::Store | Self::Service, false) => Ok(vec![server, client]),
            (Self::User | Self::Service | Self::Tool, true) => Ok(vec![client]),
            (Self::User | Self::Tool, false) => Err(IssueError::Hosts),
        }
    }
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

/// What a certificate says.
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
    let mut params = leaf(&request, Purpose::User)?;
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

/// A revocation list as PEM (RFC 7468).
#[must_use]
pub fn revocation_list_pem(der: &[u8]) -> String {
    pem("X509 CRL", der).to_string()
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

/// The parameters of a leaf, whole: nothing in it comes from anywhere else.
fn leaf(request: &Request<'_>, purpose: Purpose) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    params.not_before = request.now - BACKDATE;
    params.not_after = request.now + request.lifetime;
    params.serial_number = Some(SerialNumber::from_slice(request.serial));
    params.distinguished_name = named(request.common_name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = purpose.usages(request.hosts)?;
    params.use_authority_key_identifier_extension = true;
    for host in request.hosts {
        params.subject_alt_names.push(alternative_name(host)?);
    }
    Ok(params)
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

#[cfg(test)]
mod tests;
