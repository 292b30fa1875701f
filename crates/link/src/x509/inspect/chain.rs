//! What stands behind a certificate: the CAs between it and the root.

use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter};
use x509_parser::prelude::X509Certificate;

use super::{Context, Fault};
use crate::tls::trust_anchor;

/// What each certificate may be used for is another fault's matter.
struct AnyUse;

impl ExtendedKeyUsageValidator for AnyUse {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        Ok(())
    }
}

pub(super) fn find(
    chain: &[Vec<u8>],
    parsed: &[X509Certificate<'_>],
    context: &Context<'_>,
    faults: &mut Vec<Fault>,
) {
    links(parsed, context, faults);
    let (Some(cluster), Some(first)) = (context.cluster, chain.first()) else {
        return;
    };
    if parsed.first().is_some_and(|leaf| leaf.is_ca()) {
        return;
    }
    let anchor = trust_anchor(cluster);
    let own: Vec<_> = chain.iter().skip(1).map(Vec::as_slice).collect();
    match verify(first, &own, &anchor, context) {
        Ok(()) => by_ledger(chain, parsed, context, faults),
        Err(reason) => {
            let known: Vec<_> = context.issuing.iter().map(Vec::as_slice).collect();
            faults.push(if verify(first, &known, &anchor, context).is_ok() {
                Fault::error(
                    "chain_incomplete",
                    "the issuing CA's certificate is missing in the file: who trusts the root alone refuses it",
                    "append it: palisade ca export -o DIR, then cat FILE DIR/issuing.crt > FILE.chain",
                )
            } else {
                Fault::error(
                    "not_this_cluster",
                    format!("it does not lead to this cluster's root ({reason})"),
                    "issue one by this cluster (palisade ca issue), or name the right cluster with --dir",
                )
            });
        }
    }
}

/// Whether each certificate is signed by the next one.
fn links(parsed: &[X509Certificate<'_>], context: &Context<'_>, faults: &mut Vec<Fault>) {
    for (lower, upper) in parsed.iter().zip(parsed.iter().skip(1)) {
        if lower.verify_signature(Some(upper.public_key())).is_err() {
            faults.push(Fault::error(
                "chain_order",
                format!(
                    "`{}` is not signed by `{}`, which stands behind it in the file",
                    lower.subject(),
                    upper.subject()
                ),
                "put the leaf first, then the CA that signed it, then that CA's CA",
            ));
        }
    }
    for upper in parsed.iter().skip(1) {
        let validity = upper.validity();
        let now = context.now;
        if now > validity.not_after.to_datetime() {
            faults.push(Fault::error(
                "ca_expired",
                format!("the CA behind it, `{}`, has expired", upper.subject()),
                "an issuing CA of Palisade's: palisade ca rotate, or palisade ca rescue if all has expired",
            ));
        }
        if !upper.is_ca() {
            faults.push(Fault::error(
                "not_a_ca",
                format!("`{}` stands behind it, but is no CA", upper.subject()),
                "leave out what is no CA",
            ));
        }
    }
    // A leaf alone, signed by itself, is of no CA at all.
    if let [only] = parsed
        && !only.is_ca()
        && only.subject().as_raw() == only.issuer().as_raw()
    {
        faults.push(Fault::warning(
            "self_signed",
            "it is signed by its own key: nobody vouches for it",
            "the gateway takes it for the key in it (method key); everywhere else one by the CA is needed",
        ));
    }
}

/// A chain that leads to the root is still refused if the ledger no longer has its CA.
fn by_ledger(
    chain: &[Vec<u8>],
    parsed: &[X509Certificate<'_>],
    context: &Context<'_>,
    faults: &mut Vec<Fault>,
) {
    let issuer = chain
        .iter()
        .zip(parsed)
        .skip(1)
        .find(|(_, upper)| upper.is_ca());
    let gone = issuer.is_some_and(|(der, _)| !context.issuing.iter().any(|known| known == der));
    if gone && !context.issuing.is_empty() {
        faults.push(Fault::error(
            "ca_retired",
            "the CA that signed it is no longer one of this cluster's",
            "issue a new one: palisade ca issue",
        ));
    }
}

fn verify(
    leaf: &[u8],
    intermediates: &[&[u8]],
    anchor: &TrustAnchor<'_>,
    context: &Context<'_>,
) -> Result<(), Error> {
    let der = CertificateDer::from(leaf);
    let leaf = EndEntityCert::try_from(&der)?;
    let algorithms = provider::default_provider().signature_verification_algorithms;
    let intermediates: Vec<_> = intermediates
        .iter()
        .map(|der| CertificateDer::from(*der))
        .collect();
    // Time is another fault's matter: held against a moment at which the leaf was good.
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|_| Error::BadDer)?;
    let from = parsed.validity().not_before.timestamp();
    let until = parsed.validity().not_after.timestamp();
    let moment = context.now.unix_timestamp().clamp(from, until.max(from));
    let moment = UnixTime::since_unix_epoch(std::time::Duration::from_secs(
        u64::try_from(moment).unwrap_or(0),
    ));
    leaf.verify_for_usage(
        algorithms.all,
        std::slice::from_ref(anchor),
        &intermediates,
        moment,
        AnyUse,
        None,
        None,
    )
    .map(drop)
}
