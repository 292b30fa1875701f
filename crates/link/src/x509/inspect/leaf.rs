//! What is wrong with the first certificate of a file itself.

use std::net::IpAddr;

use rustls::pki_types::{CertificateDer, ServerName};
use time::Duration;
use webpki::EndEntityCert;
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName};
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
/// What to do when one is good for too long.
const SHORTEN: &str = "a stolen key is good for as long: issue it for 90 days and renew it (palisade ca issue --days 90)";

/// All that is wrong with it.
pub(super) fn find(certificate: &X509Certificate<'_>, context: &Context<'_>) -> Vec<Fault> {
    let look = Look {
        certificate,
        context,
        hosts: hosts(certificate),
    };
    let mut faults: Vec<Fault> = [
        look.time(),
        look.life(),
        look.ca_as_leaf(),
        look.usage(),
        look.no_name(),
    ]
    .into_iter()
    .flatten()
    .collect();
    faults.extend(look.wildcards());
    faults.extend(look.misplaced_addresses());
    let rest = [
        look.host(),
        look.weak_key(),
        look.weak_signature(),
        look.ed25519(),
        look.key(),
        look.revoked(),
    ];
    faults.extend(rest.into_iter().flatten());
    faults
}

/// The certificate, and against what it is held.
struct Look<'a> {
    certificate: &'a X509Certificate<'a>,
    context: &'a Context<'a>,
    hosts: Vec<String>,
}

impl Look<'_> {
    fn time(&self) -> Option<Fault> {
        let validity = self.certificate.validity();
        let (from, until) = (
            validity.not_before.to_datetime(),
            validity.not_after.to_datetime(),
        );
        let now = self.context.now;
        if now > until {
            return Some(Fault::error(
                "expired",
                format!("it expired {} ago, on {}", span(now - until), until.date()),
                "issue a new one (palisade ca issue); a node renews its own: palisade status says why it did not",
            ));
        }
        if now < from {
            return Some(Fault::error(
                "not_yet",
                format!(
                    "it begins to hold only in {}, on {}",
                    span(from - now),
                    from.date()
                ),
                "set this machine's clock, or that of the one who signed it (chronyc tracking)",
            ));
        }
        let ends = until - now < SOON && until - from > SOON * 2;
        ends.then(|| {
            Fault::warning(
                "near_end",
                format!("it expires in {}, on {}", span(until - now), until.date()),
                "issue a new one in time; certificates that a node made are renewed by themselves",
            )
        })
    }

    fn life(&self) -> Option<Fault> {
        let validity = self.certificate.validity();
        let life = validity.not_after.to_datetime() - validity.not_before.to_datetime();
        let days = life.whole_days();
        if self.certificate.is_ca() || days <= LONG_DAYS {
            return None;
        }
        let (kind, judgement) = if days > TOO_LONG_DAYS {
            let most = format!("some TLS libraries refuse more than {TOO_LONG_DAYS}");
            ("too_long", most)
        } else {
            ("long", format!("no public CA gives more than {LONG_DAYS}"))
        };
        let what = format!("it is good for {days} days; {judgement}");
        Some(Fault::warning(kind, what, SHORTEN))
    }

    fn ca_as_leaf(&self) -> Option<Fault> {
        self.certificate.is_ca().then(|| {
            Fault::error(
                "ca_as_leaf",
                "it is a CA's certificate: TLS libraries refuse it as a server's or client's own",
                "put the leaf first in the file, its CA behind it; a CA's key signs, it does not serve",
            )
        })
    }

    /// What it may be used for; none if it may for anything.
    fn uses(&self) -> Option<&ExtendedKeyUsage<'_>> {
        let usage = self.certificate.extended_key_usage().ok().flatten()?;
        (!usage.value.any).then_some(usage.value)
    }

    fn usage(&self) -> Option<Fault> {
        let usage = self.uses()?;
        let (what, remedy) = match (usage.server_auth, usage.client_auth) {
            (true, _) => return None,
            _ if self.context.host.is_some() => (
                "it is not for servers: its extended key usage lacks serverAuth",
                ISSUE,
            ),
            (false, true) => return None,
            (false, false) => (
                "it is neither for servers nor for clients: its extended key usage has neither serverAuth nor clientAuth",
                "issue one that is: palisade ca issue --host NAME, or --service NAME",
            ),
        };
        Some(Fault::error("wrong_usage", what, remedy))
    }

    fn no_name(&self) -> Option<Fault> {
        let serves = self.uses().is_none_or(|usage| usage.server_auth);
        let needs = (serves || self.context.host.is_some()) && !self.certificate.is_ca();
        (self.hosts.is_empty() && needs).then(|| {
            Fault::error(
                "no_san",
                "it has no subjectAltName: TLS libraries of today refuse it as a server's, whatever its common name is",
                ISSUE,
            )
        })
    }

    fn wildcards(&self) -> impl Iterator<Item = Fault> {
        let wild = self.hosts.iter().filter(|host| host.contains('*'));
        wild.map(|host| {
            Fault::warning(
                "wildcard",
                format!("`{host}` speaks for every name there: one stolen key, and all of them can be played"),
                "issue one certificate for each host, with its own names",
            )
        })
    }

    /// An address written as a DNS name is never found.
    fn misplaced_addresses(&self) -> Vec<Fault> {
        let Ok(Some(names)) = self.certificate.subject_alternative_name() else {
            return Vec::new();
        };
        let misplaced = names
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::DNSName(name) if name.parse::<IpAddr>().is_ok() => Some(name),
                _ => None,
            });
        misplaced
            .map(|name| {
                Fault::error(
                    "address_as_name",
                    format!("{name} stands there as a DNS name, not as an IP address: nobody finds it"),
                    format!("in openssl's file write IP.1 = {name}, not DNS.1; or palisade ca issue --host {name}"),
                )
            })
            .collect()
    }

    fn host(&self) -> Option<Fault> {
        let host = self.context.host?;
        let names = self.hosts.join(", ");
        (!self.hosts.is_empty() && !covers(self.certificate, host)).then(|| {
            Fault::error(
                "host_not_named",
                format!("it does not name {host}; it names {names}"),
                format!("issue one that does: palisade ca issue --host {host} -o PREFIX"),
            )
        })
    }

    fn weak_key(&self) -> Option<Fault> {
        let error = check_key(self.certificate.public_key()).err()?;
        let what = error.to_string().replace(
            "the key of the request is refused",
            "its key is weak or strange",
        );
        let remedy = "make a new key: palisade ca issue makes ECDSA P-256 ones";
        Some(Fault::error("weak_key", what, remedy))
    }

    fn weak_signature(&self) -> Option<Fault> {
        let signature = signature(self.certificate);
        let weak = ["MD2", "MD5", "SHA-1"];
        weak.iter()
            .any(|weak| signature.starts_with(weak))
            .then(|| {
                Fault::error(
                    "weak_signature",
                    format!("it is signed by {signature}, which can be forged"),
                    "have it signed anew, with SHA-256",
                )
            })
    }

    fn ed25519(&self) -> Option<Fault> {
        (signature(self.certificate) == "Ed25519" && !self.certificate.is_ca()).then(|| {
            Fault::warning(
                "ed25519_signature",
                "it is signed by Ed25519: psql can't bind a password to it (`could not find digest for NID UNDEF`)",
                "have it signed by an ECDSA or RSA key, as palisade ca issue does, if PostgreSQL is to show it",
            )
        })
    }

    fn key(&self) -> Option<Fault> {
        let spki = self.context.key?;
        (spki != self.certificate.public_key().raw).then(|| {
            Fault::error(
                "key_mismatch",
                "the private key is not the one that belongs to it",
                "find the key that was made with it, or issue both anew: palisade ca issue writes them together",
            )
        })
    }

    fn revoked(&self) -> Option<Fault> {
        let reason = (self.context.revoked)(self.certificate.raw_serial())?;
        Some(Fault::error(
            "revoked",
            format!("it was revoked ({}): {reason}", serial(self.certificate)),
            "issue a new one, with a new key: palisade ca issue",
        ))
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

/// Whether a TLS library finds `host` in it.
fn covers(certificate: &X509Certificate<'_>, host: &str) -> bool {
    let der = CertificateDer::from(certificate.as_raw());
    match (EndEntityCert::try_from(&der), ServerName::try_from(host)) {
        (Ok(leaf), Ok(name)) => leaf.verify_is_valid_for_subject_name(&name).is_ok(),
        // What webpki can't read it can't accept either; the reason is among the other faults.
        (Err(_), _) | (_, Err(_)) => hosts(certificate).iter().any(|named| named == host),
    }
}
