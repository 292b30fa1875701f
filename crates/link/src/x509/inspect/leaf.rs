//! What is wrong with the first certificate of a file itself.

use std::net::IpAddr;

use rustls::pki_types::{CertificateDer, ServerName};
use time::{Duration, OffsetDateTime};
use webpki::EndEntityCert;
use x509_parser::prelude::X509Certificate;

use super::describe::{hosts, serial, signature};
use super::{Context, Fault};
use crate::x509::request::check_key;

/// Days of the longest life that public CAs may give since 2020 (CA/Browser Forum, ballot SC-031).
const LONG_DAYS: i64 = 397;
/// Days beyond which some TLS libraries refuse any server's certificate (Apple, since 2019).
const TOO_LONG_DAYS: i64 = 825;
/// An end that is near.
const SOON: Duration = Duration::days(14);
/// What to do when another certificate is needed.
const ISSUE: &str = "issue a new one: palisade ca issue --host NAME -o PREFIX";

pub(super) fn time(
    certificate: &X509Certificate<'_>,
    now: OffsetDateTime,
    faults: &mut Vec<Fault>,
) {
    let validity = certificate.validity();
    let (from, until) = (
        validity.not_before.to_datetime(),
        validity.not_after.to_datetime(),
    );
    if now > until {
        faults.push(Fault::error(
            "expired",
            format!("it expired {} ago, on {}", span(now - until), until.date()),
            "issue a new one (palisade ca issue); a node renews its own: palisade status says why it did not",
        ));
    } else if now < from {
        faults.push(Fault::error(
            "not_yet",
            format!(
                "it begins to hold only in {}, on {}",
                span(from - now),
                from.date()
            ),
            "set this machine's clock, or that of the one who signed it (chronyc tracking)",
        ));
    } else if until - now < SOON && until - from > SOON * 2 {
        faults.push(Fault::warning(
            "near_end",
            format!("it expires in {}, on {}", span(until - now), until.date()),
            "issue a new one in time; certificates that a node made are renewed by themselves",
        ));
    }
    if certificate.is_ca() {
        return;
    }
    let days = (until - from).whole_days();
    if days > TOO_LONG_DAYS {
        faults.push(Fault::warning(
            "too_long",
            format!("it is good for {days} days; some TLS libraries refuse more than {TOO_LONG_DAYS}"),
            "a stolen key is good for as long: issue it for 90 days and renew it (palisade ca issue --days 90)",
        ));
    } else if days > LONG_DAYS {
        faults.push(Fault::warning(
            "long",
            format!("it is good for {days} days; no public CA gives more than {LONG_DAYS}"),
            "issue it for 90 days and renew it (palisade ca issue --days 90)",
        ));
    }
}

/// A span of time in its largest unit.
fn span(span: Duration) -> String {
    let (count, unit) = match (span.whole_days(), span.whole_hours(), span.whole_minutes()) {
        (days @ 1.., _, _) => (days, "day"),
        (_, hours @ 1.., _) => (hours, "hour"),
        (_, _, minutes) => (minutes, "minute"),
    };
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{s}")
}

pub(super) fn role(
    certificate: &X509Certificate<'_>,
    context: &Context<'_>,
    faults: &mut Vec<Fault>,
) {
    if certificate.is_ca() {
        faults.push(Fault::error(
            "ca_as_leaf",
            "it is a CA's certificate: TLS libraries refuse it as a server's or client's own",
            "put the leaf first in the file, its CA behind it; a CA's key signs, it does not serve",
        ));
    }
    let Ok(Some(usage)) = certificate.extended_key_usage() else {
        return;
    };
    let usage = usage.value;
    if usage.any {
        return;
    }
    if context.host.is_some() && !usage.server_auth {
        faults.push(Fault::error(
            "wrong_usage",
            "it is not for servers: its extended key usage lacks serverAuth",
            ISSUE,
        ));
    } else if !usage.server_auth && !usage.client_auth {
        faults.push(Fault::error(
            "wrong_usage",
            "it is neither for servers nor for clients: its extended key usage has neither serverAuth nor clientAuth",
            "issue one that is: palisade ca issue --host NAME, or --service NAME",
        ));
    }
}

pub(super) fn names(
    certificate: &X509Certificate<'_>,
    context: &Context<'_>,
    faults: &mut Vec<Fault>,
) {
    let hosts = hosts(certificate);
    let serves = certificate
        .extended_key_usage()
        .is_ok_and(|usage| usage.is_none_or(|usage| usage.value.server_auth || usage.value.any));
    if hosts.is_empty() {
        if (serves || context.host.is_some()) && !certificate.is_ca() {
            faults.push(Fault::error(
                "no_san",
                "it has no subjectAltName: TLS libraries of today refuse it as a server's, whatever its common name is",
                ISSUE,
            ));
        }
        return;
    }
    for host in &hosts {
        if host.contains('*') {
            faults.push(Fault::warning(
                "wildcard",
                format!("`{host}` speaks for every name there: one stolen key, and all of them can be played"),
                "issue one certificate for each host, with its own names",
            ));
        }
    }
    misplaced_addresses(certificate, faults);
    if let Some(host) = context.host
        && !covers(certificate, host)
    {
        faults.push(Fault::error(
            "host_not_named",
            format!("it does not name {host}; it names {}", hosts.join(", ")),
            format!("issue one that does: palisade ca issue --host {host} -o PREFIX"),
        ));
    }
}

/// An address written as a DNS name is never found.
fn misplaced_addresses(certificate: &X509Certificate<'_>, faults: &mut Vec<Fault>) {
    use x509_parser::extensions::GeneralName;
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return;
    };
    for name in &names.value.general_names {
        if let GeneralName::DNSName(name) = name
            && name.parse::<IpAddr>().is_ok()
        {
            faults.push(Fault::error(
                "address_as_name",
                format!("{name} stands there as a DNS name, not as an IP address: nobody finds it"),
                format!("in openssl's file write IP.1 = {name}, not DNS.1; or palisade ca issue --host {name}"),
            ));
        }
    }
}

/// Whether a TLS library finds `host` in it.
fn covers(certificate: &X509Certificate<'_>, host: &str) -> bool {
    let der = CertificateDer::from(certificate.as_raw());
    match (EndEntityCert::try_from(&der), ServerName::try_from(host)) {
        (Ok(leaf), Ok(name)) => leaf.verify_is_valid_for_subject_name(&name).is_ok(),
        // What webpki can't read it can't accept either; the reason is among the other faults.
        (Err(_), _) | (_, Err(_)) => hosts(certificate).iter().any(|named| named == host),
    }
}

pub(super) fn strength(certificate: &X509Certificate<'_>, faults: &mut Vec<Fault>) {
    if let Err(error) = check_key(certificate.public_key()) {
        faults.push(Fault::error(
            "weak_key",
            error.to_string().replace(
                "the key of the request is refused",
                "its key is weak or strange",
            ),
            "make a new key: palisade ca issue makes ECDSA P-256 ones",
        ));
    }
    let signature = signature(certificate);
    if ["MD2", "MD5", "SHA-1"]
        .iter()
        .any(|weak| signature.starts_with(weak))
    {
        faults.push(Fault::error(
            "weak_signature",
            format!("it is signed by {signature}, which can be forged"),
            "have it signed anew, with SHA-256",
        ));
    }
    if signature == "Ed25519" && !certificate.is_ca() {
        faults.push(Fault::warning(
            "ed25519_signature",
            "it is signed by Ed25519: psql can't bind a password to it (`could not find digest for NID UNDEF`)",
            "have it signed by an ECDSA or RSA key, as palisade ca issue does, if PostgreSQL is to show it",
        ));
    }
}

pub(super) fn key(
    certificate: &X509Certificate<'_>,
    context: &Context<'_>,
    faults: &mut Vec<Fault>,
) {
    if context
        .key
        .is_some_and(|spki| spki != certificate.public_key().raw)
    {
        faults.push(Fault::error(
            "key_mismatch",
            "the private key is not the one that belongs to it",
            "find the key that was made with it, or issue both anew: palisade ca issue writes them together",
        ));
    }
}

pub(super) fn revoked(
    certificate: &X509Certificate<'_>,
    context: &Context<'_>,
    faults: &mut Vec<Fault>,
) {
    if let Some(reason) = (context.revoked)(certificate.raw_serial()) {
        faults.push(Fault::error(
            "revoked",
            format!("it was revoked ({}): {reason}", serial(certificate)),
            "issue a new one, with a new key: palisade ca issue",
        ));
    }
}
