//! A node's certificate: its own Ed25519 key as X.509, signed by itself.
//!
//! What it says beside the key means nothing to anyone: the ledger pins the key, and a peer compares
//! the key (RFC 7469's `SubjectPublicKeyInfo`), neither a name nor a date.

use palisade_keys::{PublicKey, SecretKey};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, SanType, SerialNumber,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use time::{Duration, OffsetDateTime};

use crate::x509::{IssueError, Leaf};

/// The host name that stands for "the node itself, whatever its address": who asks for it in TLS
/// (SNI, RFC 6066) is shown the node's own certificate. `.internal` is reserved for private use.
pub const NODE_HOST: &str = "node.palisade.internal";

/// How long the certificate says that it is good for. Nobody asks: `palisade node rotate` ends a key.
const LIFE: Duration = Duration::days(3650);

/// How far it reaches back, for clocks that lag.
const BACKDATE: Duration = Duration::minutes(5);

/// A node's key with the certificate that shows it. It cannot be printed.
pub struct NodeIdentity {
    leaf: Leaf,
    key: PublicKey,
}

impl NodeIdentity {
    /// Makes the certificate of `key`. `serial` has up to 20 bytes, the first below 0x80 and not 0.
    pub fn new(key: &SecretKey, serial: &[u8], now: OffsetDateTime) -> Result<Self, IssueError> {
        let secret = key.expose_pkcs8_der();
        let der = PrivatePkcs8KeyDer::from(secret.as_slice());
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ED25519)?;
        let mut name = DistinguishedName::new();
        let common_name = DnValue::Utf8String("palisade node".to_owned());
        name.push(DnType::CommonName, common_name);
        let mut params = CertificateParams::default();
        params.not_before = now - BACKDATE;
        params.not_after = now + LIFE;
        params.serial_number = Some(SerialNumber::from_slice(serial));
        params.distinguished_name = name;
        params.subject_alt_names = vec![SanType::DnsName(NODE_HOST.try_into()?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = false;
        Ok(Self {
            leaf: Leaf {
                chain: vec![params.self_signed(&pair)?.der().to_vec()],
                key: secret,
            },
            key: key.public(),
        })
    }

    /// The key, as the ledger pins it.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.key
    }

    /// Certificate and key, to be shown in TLS.
    #[must_use]
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// The certificate, in DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        self.leaf.chain.first().map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_keys::Zeroizing;
    use x509_parser::prelude::{FromDer as _, X509Certificate};

    #[test]
    fn the_certificate_shows_the_nodes_key() {
        let key = SecretKey::from_seed(Zeroizing::new([1; 32])).unwrap();
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let node = NodeIdentity::new(&key, &[1, 2, 3], now).unwrap();
        let (rest, certificate) = X509Certificate::from_der(node.certificate()).unwrap();
        assert!(rest.is_empty());
        let shown = PublicKey::from_spki_der(certificate.public_key().raw);
        assert_eq!(shown, Some(key.public()));
        assert_eq!(shown, Some(node.key()));
        assert_eq!(certificate.subject().to_string(), "CN=palisade node");
        assert_eq!(certificate.raw_serial(), [1, 2, 3]);
        assert!(certificate.verify_signature(None).is_ok());
        assert!(!certificate.is_ca());
    }
}
