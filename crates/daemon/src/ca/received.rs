//! What another node's issuer sent, judged before it is shown or stored: the issuer may lie.

use std::future::Future;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palisade_ledger::{NodeId, State};
use palisade_link::api::CertificateReply;
use palisade_link::tls::trust_anchor;
use palisade_link::x509::{self, IssuingCa};
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate, X509CertificationRequest};

use super::policy::Terms;
use super::{CaError, Others};
use crate::{pki, system};

/// The first good thing that one of the other nodes sends, issuers first.
pub(super) async fn first_good<S, T, F>(
    others: &dyn Others,
    ask: impl Fn(NodeId) -> F,
    good: impl Fn(S) -> Result<T, CaError>,
) -> Result<T, CaError>
where
    F: Future<Output = Result<S, String>>,
{
    let mut failed = CaError::NoIssuer;
    for node in others.nodes() {
        let sent = ask(node).await.map_err(CaError::Remote);
        match sent.and_then(&good) {
            Ok(good) => return Ok(good),
            Err(error) => failed = CaError::Remote(format!("node {node}: {error}")),
        }
    }
    Err(failed)
}

/// Reads the chain for `request` (DER): a leaf with its key, exactly these terms, by a CA of the ledger.
pub(super) fn chain(
    reply: &CertificateReply,
    request: &[u8],
    terms: &Terms,
    state: &State,
) -> Result<Vec<Vec<u8>>, CaError> {
    let refused = |reason: &str| CaError::Remote(format!("the certificate that it sent {reason}"));
    let chain: Result<Vec<_>, _> = reply
        .chain
        .iter()
        .map(|text| STANDARD.decode(text))
        .collect();
    let chain = chain.map_err(|_| refused("is no base64"))?;
    let [leaf, issuer] = chain.as_slice() else {
        return Err(refused("comes without its issuer, or with more than that"));
    };
    if !is_listed(issuer, state) {
        return Err(refused("is by a CA that the ledger does not have"));
    }
    if !leads_to_root(leaf, issuer, terms.purpose, state) {
        return Err(refused(
            "does not lead to the cluster key, or not for this purpose and time",
        ));
    }
    let unreadable = |_| refused("can't be read");
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(unreadable)?;
    let (_, asked) = X509CertificationRequest::from_der(request).map_err(unreadable)?;
    if parsed.public_key().raw != asked.certification_request_info.subject_pki.raw {
        return Err(refused("has another key than the request"));
    }
    if pki::serial(leaf).is_none_or(|serial| state.is_revoked(&serial)) {
        return Err(refused("was revoked"));
    }
    if !says(&parsed, terms) {
        return Err(refused(
            "has not exactly the names and usages that this node is to have",
        ));
    }
    Ok(chain)
}

/// Whether the ledger has this CA; or, after `palisade ca rescue`, will have it: its store may need these
/// very certificates to come up, so while the CA that signs has expired, the cluster key's word is enough.
fn is_listed(ca: &[u8], state: &State) -> bool {
    let has_expired = |ca: &[u8]| {
        X509Certificate::from_der(ca).is_ok_and(|(_, ca)| {
            let until = ca.validity().not_after.to_datetime();
            system::now() > until
        })
    };
    state.issuing_cas().any(|listed| listed == ca)
        || state.active_ca().is_some_and(has_expired)
            && IssuingCa::check(ca, state.cluster_key(), None).is_ok()
}

fn leads_to_root(leaf: &[u8], issuer: &[u8], purpose: x509::Purpose, state: &State) -> bool {
    let der = CertificateDer::from(leaf);
    let algorithms = rustls::crypto::aws_lc_rs::default_provider();
    let holds = |usage: KeyUsage| {
        EndEntityCert::try_from(&der).is_ok_and(|leaf| {
            leaf.verify_for_usage(
                algorithms.signature_verification_algorithms.all,
                &[trust_anchor(state.cluster_key())],
                &[CertificateDer::from(issuer)],
                UnixTime::now(),
                usage,
                None,
                None,
            )
            .is_ok()
        })
    };
    // etcd's members are each other's clients.
    holds(KeyUsage::server_auth())
        && (purpose != x509::Purpose::Store || holds(KeyUsage::client_auth()))
}

/// Whether the leaf says what the terms say, and nothing else.
fn says(leaf: &X509Certificate<'_>, terms: &Terms) -> bool {
    let mut common = leaf.subject().iter_common_name();
    let subject = common.next().and_then(|name| name.as_str().ok());
    if subject != Some(&terms.common_name) || common.next().is_some() {
        return false;
    }
    let usage = leaf.extended_key_usage().ok().flatten();
    if usage.is_none_or(|usage| {
        usage.value.any || usage.value.client_auth != (terms.purpose == x509::Purpose::Store)
    }) {
        return false;
    }
    let Ok(Some(found)) = leaf.subject_alternative_name() else {
        return false;
    };
    let names: Option<Vec<_>> = found.value.general_names.iter().map(text).collect();
    names.is_some_and(|names| {
        names.len() == terms.hosts.len() && terms.hosts.iter().all(|host| names.contains(host))
    })
}

fn text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from);
            v4.or(v6).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}
