//! The CA that signs leaves: a P-256 key, certified by the cluster key, with path length 0.

use palisade_keys::{PublicKey, SecretKey, Zeroizing};
use rcgen::{
    CertificateParams, CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair,
    PKCS_ECDSA_P256_SHA256, RevokedCertParams, SerialNumber, SigningKey,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::request::{KeyRequest, SigningRequest, make_request};
use super::root::{authority, hex, root_name};
use super::{BACKDATE, IssueError, Leaf, Purpose, Request, ed25519, leaf};

/// Days that an issuing CA is good for.
const ISSUING_DAYS: i64 = 1825;

/// A certificate that holds no more, as a revocation list says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Its serial number.
    pub serial: Vec<u8>,
    /// Since when.
    pub at: OffsetDateTime,
}

/// Certifies an issuing CA: the cluster key signs the key of the request, and nothing else of it.
/// `until` is five years from `now` if it is not given.
pub fn certify_issuing_ca(
    cluster: &SecretKey,
    request: &SigningRequest,
    serial: &[u8],
    now: OffsetDateTime,
    until: Option<OffsetDateTime>,
) -> Result<Vec<u8>, IssueError> {
    let root_key = ed25519(cluster)?;
    let root_name = root_name(&cluster.public());
    let root = authority(&root_name, &[1], now, now, None);
    let root = Issuer::from_params(&root, &root_key);
    // Two of one day have two names, so that a reader of names alone can't mix them up.
    let name = format!("{root_name} issuing {} {}", now.date(), hex(serial, 4));
    let until = until.unwrap_or(now + Duration::days(ISSUING_DAYS));
    let params = authority(&name, serial, now - BACKDATE, until, Some(0));
    Ok(params.signed_by(&request.key, &root)?.der().to_vec())
}

/// An issuing CA with its key.
pub struct IssuingCa {
    certificate: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
    until: OffsetDateTime,
}

impl IssuingCa {
    /// Makes the key of a new one, and the request that the cluster key is to certify.
    pub fn request() -> Result<KeyRequest, IssueError> {
        make_request("issuing", &[])
    }

    /// Makes one, and its private key in PKCS #8 DER.
    pub fn create(
        cluster: &SecretKey,
        serial: &[u8],
        now: OffsetDateTime,
    ) -> Result<(Self, Zeroizing<Vec<u8>>), IssueError> {
        Self::create_until(cluster, serial, now, None)
    }

    /// Makes one that is good until a certain time.
    pub fn create_until(
        cluster: &SecretKey,
        serial: &[u8],
        now: OffsetDateTime,
        until: Option<OffsetDateTime>,
    ) -> Result<(Self, Zeroizing<Vec<u8>>), IssueError> {
        let made = Self::request()?;
        let request = SigningRequest::parse(&made.request)?;
        let certificate = certify_issuing_ca(cluster, &request, serial, now, until)?;
        Ok((Self::load(certificate, &made.key)?, made.key))
    }

    /// From its certificate and its key (PKCS #8 DER).
    pub fn load(certificate: Vec<u8>, key: &[u8]) -> Result<Self, IssueError> {
        let key = PrivatePkcs8KeyDer::from(key);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)?;
        let refused = |reason: String| IssueError::NotIssuing(reason);
        let (_, parsed) =
            X509Certificate::from_der(&certificate).map_err(|error| refused(error.to_string()))?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(refused(
                "its key is not the one that lies beside it".to_owned(),
            ));
        }
        let until = parsed.validity().not_after.to_datetime();
        let issuer = Issuer::from_ca_cert_der(&certificate.as_slice().into(), key)?;
        Ok(Self {
            certificate,
            issuer,
            until,
        })
    }

    /// Checks that a certificate is an issuing CA that this cluster's key certified for `spki`.
    pub fn check(
        certificate: &[u8],
        cluster: &PublicKey,
        spki: Option<&[u8]>,
    ) -> Result<(), IssueError> {
        let refused = |reason: &str| IssueError::NotIssuing(reason.to_owned());
        let (rest, parsed) = X509Certificate::from_der(certificate)
            .map_err(|error| IssueError::NotIssuing(error.to_string()))?;
        if !rest.is_empty() {
            return Err(refused("something follows the certificate"));
        }
        let constraints = parsed
            .basic_constraints()
            .ok()
            .flatten()
            .map(|found| (found.value.ca, found.value.path_len_constraint));
        if constraints != Some((true, Some(0))) {
            return Err(refused("it is no CA of path length 0"));
        }
        let root = cluster.spki_der();
        let signed = x509_parser::x509::SubjectPublicKeyInfo::from_der(&root)
            .is_ok_and(|(_, root)| parsed.verify_signature(Some(&root)).is_ok());
        if !signed {
            return Err(refused("the cluster key did not sign it"));
        }
        match spki {
            Some(spki) if parsed.public_key().raw != spki => {
                Err(refused("it certifies another key"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Its certificate, in DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Until when it holds.
    #[must_use]
    pub fn until(&self) -> OffsetDateTime {
        self.until
    }

    /// A server's certificate and key.
    pub fn server(&self, request: &Request<'_>) -> Result<Leaf, IssueError> {
        self.leaf(Purpose::Server, request)
    }

    /// A user's certificate and key: the common name is the user's name.
    pub fn user(&self, request: &Request<'_>) -> Result<Leaf, IssueError> {
        self.leaf(Purpose::User, request)
    }

    /// A leaf with a key that is made here.
    pub fn leaf(&self, purpose: Purpose, request: &Request<'_>) -> Result<Leaf, IssueError> {
        let made = make_request(request.common_name, &[])?;
        let asked = SigningRequest::parse(&made.request)?;
        Ok(Leaf {
            chain: self.sign(&asked, purpose, request)?,
            key: made.key,
        })
    }

    /// The chain of a leaf over the key of a request: what it says is `terms`, never what the
    /// request wishes. It does not outlive this CA.
    pub fn sign(
        &self,
        request: &SigningRequest,
        purpose: Purpose,
        terms: &Request<'_>,
    ) -> Result<Vec<Vec<u8>>, IssueError> {
        if terms.now >= self.until {
            return Err(IssueError::Expired(self.until.date()));
        }
        let mut params: CertificateParams = leaf(terms, purpose)?;
        params.not_after = params.not_after.min(self.until);
        let certificate = params.signed_by(&request.key, &self.issuer)?;
        Ok(vec![certificate.der().to_vec(), self.certificate.clone()])
    }

    /// This CA's revocation list (DER), good from `now` until `until`.
    pub fn revocation_list(
        &self,
        revoked: &[Revoked],
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Vec<u8>, IssueError> {
        revocation_list(&self.issuer, revoked, now, until)
    }
}

/// A revocation list (RFC 5280, section 5). Its number is the time it was made, which only grows.
pub(super) fn revocation_list(
    issuer: &Issuer<'_, impl SigningKey>,
    revoked: &[Revoked],
    now: OffsetDateTime,
    until: OffsetDateTime,
) -> Result<Vec<u8>, IssueError> {
    let number = u64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or(1);
    let params = CertificateRevocationListParams {
        this_update: now - BACKDATE,
        next_update: until,
        crl_number: SerialNumber::from_slice(&number.to_be_bytes()),
        issuing_distribution_point: None,
        revoked_certs: revoked
            .iter()
            .map(|revoked| RevokedCertParams {
                serial_number: SerialNumber::from_slice(&revoked.serial),
                revocation_time: revoked.at,
                reason_code: None,
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(params.signed_by(issuer)?.der().to_vec())
}
