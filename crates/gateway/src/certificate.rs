//! What a client presented in TLS, judged: the key in it, and the chain behind it.

use palisade_keys::PublicKey;
use palisade_ledger::{Hash, State};
use palisade_link::tls::trust_anchor;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::policy::Checked;

/// The certificate of the client's end of a TLS connection. That the client holds its key was
/// proved in the handshake.
#[derive(Debug)]
pub(crate) struct Presented(CertificateDer<'static>);

impl Presented {
    /// The first certificate that a client showed in a handshake that is complete.
    pub(crate) fn of(peer: Option<&[CertificateDer<'_>]>) -> Option<Self> {
        let leaf = peer?.first()?;
        Some(Self(leaf.clone().into_owned()))
    }

    /// The Ed25519 key in it, whoever issued it.
    pub(crate) fn key(&self) -> Option<PublicKey> {
        let parsed = ParsedCertificate::try_from(&self.0).ok()?;
        PublicKey::from_spki_der(&parsed.subject_public_key_info())
    }

    /// Checks the chain: the cluster's key, one of the ledger's issuing CAs, this certificate; that
    /// it is for clients, within its time, and a user's by the ledger's inventory. Other CAs that the
    /// client may have sent are not looked at.
    pub(crate) fn check(&self, state: &State, now: UnixTime) -> Option<Checked> {
        let end_entity = EndEntityCert::try_from(&self.0).ok()?;
        let (_, parsed) = X509Certificate::from_der(&self.0).ok()?;
        let issuer = state.issuing_cas().find(|issuer| {
            X509Certificate::from_der(issuer).is_ok_and(|(_, ca)| {
                ca.subject().as_raw() == parsed.issuer().as_raw()
                    && is_chain(&end_entity, issuer, state, now)
            })
        })?;
        let checked = Checked {
            common_name: common_name(&parsed)?,
            serial: parsed.raw_serial().to_vec(),
            issuer: Hash::of(issuer),
        };
        checked.holds(state, now).then_some(checked)
    }
}

fn is_chain(end_entity: &EndEntityCert<'_>, issuer: &[u8], state: &State, now: UnixTime) -> bool {
    let algorithms = provider::default_provider().signature_verification_algorithms;
    end_entity
        .verify_for_usage(
            algorithms.all,
            &[trust_anchor(state.cluster_key())],
            &[CertificateDer::from(issuer)],
            now,
            KeyUsage::client_auth(),
            None,
            None,
        )
        .is_ok()
}

/// The one common name; a subject with two could be read as either.
fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let mut names = certificate.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?;
    names.next().is_none().then(|| name.to_owned())
}
