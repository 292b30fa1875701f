//! This node's certificate for etcd: as member, and as client. Renewed in its files, which etcd reads at
//! each handshake.

use std::path::{Path, PathBuf};

use palisade_agent::etcd::{self, Files};
use palisade_daemon::ca::CaService;
use palisade_daemon::files;
use palisade_daemon::layout::Layout;
use palisade_daemon::system;
use palisade_keys::Zeroizing;
use palisade_link::api::Purpose;
use palisade_link::x509::{self, KeyRequest, Leaf, Request, SigningRequest};
use palisade_rights::{STORE_HOST, STORE_ROOT};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// How long a certificate of etcd's root is good for: one reconciliation takes seconds.
const ROOT_LIFE: Duration = Duration::minutes(5);

/// The files of the certificate for etcd.
#[derive(Debug, Clone)]
pub(super) struct StoreFiles {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) ca: PathBuf,
    pub(super) revoked: PathBuf,
    directory: PathBuf,
    /// etcd's own directory.
    data: PathBuf,
}

impl StoreFiles {
    pub(super) fn new(layout: &Layout) -> Self {
        let directory = layout.etcd_keys();
        Self {
            certificate: directory.join("member.crt"),
            key: directory.join("member.key"),
            ca: layout.root_certificate(),
            revoked: layout.store_list(),
            directory,
            data: layout.etcd_data(),
        }
    }

    /// What etcd is shown.
    pub(super) fn paths(&self) -> Files {
        Files {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            ca: self.ca.clone(),
            revoked: self.revoked.clone(),
        }
    }

    /// Has a certificate made that is not there, is due, is by a CA that no longer signs, or has not
    /// all `names`.
    pub(super) async fn keep(&self, ca: &CaService, names: &[String]) -> Result<bool, String> {
        let other_ca = || {
            let leaf = self.leaf().ok();
            ca.other_ca_signs(
                leaf.as_ref()
                    .and_then(|leaf| leaf.chain.get(1).map(Vec::as_slice)),
            )
        };
        if self.is_good(names) && !other_ca() {
            return Ok(false);
        }
        // A trial of another CA is not ours to replace.
        let Some(_still) = ca.still() else {
            return Ok(false);
        };
        files::directory(&self.directory, 0o700).map_err(|error| error.to_string())?;
        let request = x509::make_request("store", &[]).map_err(|error| error.to_string())?;
        let chain = ca.own_certificate(&request, Purpose::Store).await;
        let leaf = Leaf {
            chain: chain.map_err(|error| error.to_string())?,
            key: request.key,
        };
        self.write(&leaf)?;
        tracing::info!("this node has a new certificate for etcd");
        Ok(true)
    }

    /// Puts a certificate with its key into the files.
    pub(super) fn write(&self, leaf: &Leaf) -> Result<(), String> {
        let key = leaf.expose_key_pem();
        files::write_private(&self.key, key.as_bytes()).map_err(|error| error.to_string())?;
        let chain = leaf.chain_pem();
        files::write_public(&self.certificate, chain.as_bytes())
            .map_err(|error| error.to_string())?;
        self.renew()
    }

    /// Has etcd, if it has ever run here, show what is in the files.
    pub(super) fn renew(&self) -> Result<(), String> {
        etcd::renew(&self.paths(), &self.data).map_err(|error| error.to_string())
    }

    /// The certificate with its key.
    pub(super) fn leaf(&self) -> Result<Leaf, String> {
        let chain: Result<Vec<_>, _> = read(&self.certificate)
            .map_err(|error| error.to_string())?
            .collect();
        let text = files::read_private(&self.key).map_err(|error| error.to_string())?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes());
        let key = key.map_err(|error| error.to_string())?;
        Ok(Leaf {
            chain: chain.map_err(|error| error.to_string())?,
            key: Zeroizing::new(key.secret_pkcs8_der().to_vec()),
        })
    }

    fn is_good(&self, names: &[String]) -> bool {
        let Ok(leaf) = self.leaf() else {
            return false;
        };
        let Some(der) = leaf.chain.first() else {
            return false;
        };
        let Ok((_, parsed)) = X509Certificate::from_der(der) else {
            return false;
        };
        let validity = parsed.validity();
        let (from, until) = (
            validity.not_before.to_datetime(),
            validity.not_after.to_datetime(),
        );
        system::now() < from + (until - from) * 2 / 3
            && names.iter().all(|name| says(&parsed, name))
    }
}

fn says(certificate: &X509Certificate<'_>, name: &str) -> bool {
    use x509_parser::extensions::GeneralName;
    let Ok(Some(alternative)) = certificate.subject_alternative_name() else {
        return false;
    };
    let address: Option<std::net::IpAddr> = name.parse().ok();
    alternative
        .value
        .general_names
        .iter()
        .any(|found| match found {
            GeneralName::DNSName(found) => *found == name,
            GeneralName::IPAddress(bytes) => match address {
                Some(std::net::IpAddr::V4(v4)) => v4.octets() == **bytes,
                Some(std::net::IpAddr::V6(v6)) => v6.octets() == **bytes,
                None => false,
            },
            _ => false,
        })
}

type Certificates = Box<dyn Iterator<Item = Result<Vec<u8>, rustls::pki_types::pem::Error>>>;

fn read(path: &Path) -> Result<Certificates, rustls::pki_types::pem::Error> {
    let certificates = CertificateDer::pem_file_iter(path)?;
    Ok(Box::new(
        certificates.map(|der| der.map(|der| der.to_vec())),
    ))
}

/// An identity of etcd's root, for the moment: its key is in no file. None where this node does not
/// issue.
pub(super) fn root_identity(ca: &CaService) -> Option<Result<Leaf, String>> {
    if !ca.is_issuer() {
        return None;
    }
    Some(make_root(ca, system::now()).map_err(|error| error.to_string()))
}

fn make_root(ca: &CaService, now: OffsetDateTime) -> Result<Leaf, Box<dyn std::error::Error>> {
    let KeyRequest { request, key } = x509::make_request(STORE_ROOT, &[])?;
    let request = SigningRequest::parse(&request)?;
    let serial = system::serial()?;
    let chain = ca.pki().issuing()?.sign(
        &request,
        x509::Purpose::Store,
        &Request {
            common_name: STORE_ROOT,
            hosts: &[STORE_HOST.to_owned()],
            now,
            lifetime: ROOT_LIFE,
            serial: &serial,
        },
    )?;
    Ok(Leaf { chain, key })
}

#[cfg(test)]
mod tests {
    /// The CA's crate does not know the agent's.
    #[test]
    fn the_ca_and_the_agent_mean_the_same_host() {
        assert_eq!(palisade_daemon::ca::STORE_HOST, super::STORE_HOST);
    }
}
