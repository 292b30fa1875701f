//! The server's leaf: read, checked, and written.

use std::path::Path;
use std::time::SystemTime;

use palisade_keys::PublicKey;
use palisade_link::tls::trust_anchor;
use palisade_link::x509::inspect::key_spki;
use palisade_link::x509::{IssuingCa, Leaf, Purpose, Request};
use rustls::pki_types::{CertificateDer, ServerName};
use time::{Duration, OffsetDateTime};
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Pki, PkiError, content, read_certificates, read_key, validity};
use crate::files;
use crate::system;

/// The server's leaf as it lies in its files.
pub struct ServerLeaf {
    /// Chain and key.
    pub leaf: Leaf,
    /// From when it holds.
    pub from: OffsetDateTime,
    /// Until when it holds.
    pub until: OffsetDateTime,
    /// When its files were written, to notice that somebody put others there.
    stamp: Stamp,
}

type Stamp = [Option<SystemTime>; 2];

/// Why a certificate is not shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Too late.
    #[error(
        "it expired on {0}; issue a new one (palisade ca issue), or remove it and its key: the node then makes its own"
    )]
    Expired(time::Date),
    /// Too early.
    #[error("it holds only from {0} on; check this machine's clock")]
    NotYet(OffsetDateTime),
    /// Another key.
    #[error("private/server.key is not its key; put both files there together")]
    OtherKey,
    /// Nothing that clients ask for.
    #[error(
        "it names none of the node's names ({0}); issue one that does: palisade ca issue --host NAME, or add its name to api.names"
    )]
    NoHost(String),
    /// A CA's.
    #[error("it is a CA's certificate, not a server's")]
    Ca,
}

impl ServerLeaf {
    /// Whether two thirds of its life are over.
    #[must_use]
    pub fn is_due(&self, now: OffsetDateTime) -> bool {
        now >= self.from + (self.until - self.from) * 2 / 3
    }

    /// The CA that signed it, if the file says which.
    #[must_use]
    pub fn issuer(&self) -> Option<&[u8]> {
        self.leaf.chain.get(1).map(Vec::as_slice)
    }

    /// Whether a CA of this cluster made it, so that the node may make another in its place.
    #[must_use]
    pub fn is_ours(&self, cluster: &PublicKey) -> bool {
        self.issuer()
            .is_some_and(|issuer| IssuingCa::check(issuer, cluster, None).is_ok())
            && self.leads_to(cluster)
    }

    /// Whether its chain leads to the cluster key, whenever it held.
    fn leads_to(&self, cluster: &PublicKey) -> bool {
        let [first, rest @ ..] = self.leaf.chain.as_slice() else {
            return false;
        };
        let der = CertificateDer::from(first.as_slice());
        let rest: Vec<_> = rest
            .iter()
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        let algorithms = rustls::crypto::aws_lc_rs::default_provider();
        // A moment at which all of it had begun to hold.
        let begun = self.leaf.chain.iter().filter_map(|der| {
            let (_, parsed) = X509Certificate::from_der(der).ok()?;
            Some(parsed.validity().not_before.timestamp())
        });
        let moment = u64::try_from(begun.max().unwrap_or(0)).unwrap_or(0);
        let moment =
            rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(moment));
        EndEntityCert::try_from(&der).is_ok_and(|leaf| {
            leaf.verify_for_usage(
                algorithms.signature_verification_algorithms.all,
                &[trust_anchor(cluster)],
                &rest,
                moment,
                webpki::KeyUsage::server_auth(),
                None,
                None,
            )
            .is_ok()
        })
    }

    /// Whether it may be shown: within its time, with its key, for one of the node's names at least.
    pub fn check(&self, hosts: &[String], now: OffsetDateTime) -> Result<(), Unfit> {
        if now > self.until {
            return Err(Unfit::Expired(self.until.date()));
        }
        if now < self.from {
            return Err(Unfit::NotYet(self.from));
        }
        let first = self
            .leaf
            .chain
            .first()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let spki = key_spki(self.leaf.expose_key_pem().as_bytes()).ok();
        let parsed = X509Certificate::from_der(first).map(|(_, parsed)| parsed);
        let parsed = parsed.map_err(|_| Unfit::OtherKey)?;
        if spki.as_deref() != Some(parsed.public_key().raw) {
            return Err(Unfit::OtherKey);
        }
        if parsed.is_ca() {
            return Err(Unfit::Ca);
        }
        if hosts.iter().any(|host| self.names(host)) {
            Ok(())
        } else {
            Err(Unfit::NoHost(hosts.join(", ")))
        }
    }

    /// Whether clients that ask for `host` find it.
    #[must_use]
    pub fn names(&self, host: &str) -> bool {
        let first = self
            .leaf
            .chain
            .first()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let der = CertificateDer::from(first);
        match (EndEntityCert::try_from(&der), ServerName::try_from(host)) {
            (Ok(leaf), Ok(name)) => leaf.verify_is_valid_for_subject_name(&name).is_ok(),
            (Err(_), _) | (_, Err(_)) => false,
        }
    }
}

impl Pki {
    /// The server's leaf: as it lies there, or a new one if there is none or it is due. For a node
    /// that issues.
    pub fn server(&self, hosts: &[String], days: u16) -> Result<ServerLeaf, PkiError> {
        if self.has_server() {
            let leaf = self.read_server()?;
            let ours = leaf.issuer() == Some(self.issuing()?.certificate());
            if !ours || !leaf.is_due(system::now()) {
                return Ok(leaf);
            }
        }
        self.renew(hosts, days)
    }

    /// A new leaf for the server, by this node's own CA.
    pub fn renew(&self, hosts: &[String], days: u16) -> Result<ServerLeaf, PkiError> {
        let serial = system::serial()?;
        let leaf = self.issuing()?.leaf(
            Purpose::Server,
            &Request {
                common_name: hosts.first().map_or("palisade", String::as_str),
                hosts,
                now: system::now(),
                lifetime: Duration::days(i64::from(days)),
                serial: &serial,
            },
        )?;
        self.write_server(&leaf)
    }

    /// Whether both files of the server's leaf are there.
    #[must_use]
    pub fn has_server(&self) -> bool {
        self.layout.server_certificate().exists() && self.layout.server_key().exists()
    }

    /// Puts the server's leaf into its files.
    pub fn write_server(&self, leaf: &Leaf) -> Result<ServerLeaf, PkiError> {
        let key = leaf.expose_key_pem();
        files::write_private(&self.layout.server_key(), key.as_bytes())?;
        let chain = leaf.chain_pem();
        files::write_public(&self.layout.server_certificate(), chain.as_bytes())?;
        self.read_server()
    }

    /// Reads the server's leaf from its files.
    pub fn read_server(&self) -> Result<ServerLeaf, PkiError> {
        let (certificate, key) = (self.layout.server_certificate(), self.layout.server_key());
        read(&certificate, &key, self.stamp())
    }

    /// The leaf that was accepted last, if there is one.
    pub fn read_serving(&self) -> Result<ServerLeaf, PkiError> {
        let (certificate, key) = (self.layout.serving_certificate(), self.layout.serving_key());
        read(&certificate, &key, self.stamp())
    }

    /// Notes that a leaf was accepted, for PostgreSQL and for the next start.
    pub fn write_serving(&self, leaf: &Leaf) -> Result<(), PkiError> {
        let key = leaf.expose_key_pem();
        files::write_private(&self.layout.serving_key(), key.as_bytes())?;
        let chain = leaf.chain_pem();
        files::write_private(&self.layout.serving_certificate(), chain.as_bytes())?;
        Ok(())
    }

    /// Whether the files of the server's leaf are others than those `leaf` was read from.
    #[must_use]
    pub fn is_replaced(&self, leaf: &ServerLeaf) -> bool {
        self.stamp() != leaf.stamp
    }

    fn stamp(&self) -> Stamp {
        let paths = [self.layout.server_certificate(), self.layout.server_key()];
        paths.map(|path| {
            std::fs::metadata(path)
                .and_then(|meta| meta.modified())
                .ok()
        })
    }
}

fn read(certificate: &Path, key: &Path, stamp: Stamp) -> Result<ServerLeaf, PkiError> {
    let chain = read_certificates(certificate)?;
    let key = read_key(key)?;
    let first = chain
        .first()
        .map(Vec::as_slice)
        .ok_or_else(|| content(certificate, "certificate", &"it is empty"))?;
    let (from, until) = validity(first, certificate)?;
    Ok(ServerLeaf {
        leaf: Leaf { chain, key },
        from,
        until,
        stamp,
    })
}
