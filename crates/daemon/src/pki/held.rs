//! The issuing CAs whose keys lie on this node.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use palisade_keys::{PublicKey, SecretKey};
use palisade_link::x509::{self, BACKDATE, IssuingCa, KeyRequest};
use time::OffsetDateTime;

use super::{PkiError, read_certificates, read_key};
use crate::files::{self, FileError};
use crate::layout::Layout;
use crate::system;

/// Which of the CAs here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The one that signs.
    Issuing,
    /// The next one, while it is tried.
    Candidate,
    /// The last one: it signs its revocation list and nothing else.
    Retiring,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::Issuing => "issuing",
            Self::Candidate => "candidate",
            Self::Retiring => "retiring",
        }
    }
}

/// The node's certificates.
pub struct Pki {
    pub(super) layout: Layout,
    held: Mutex<[Option<Arc<IssuingCa>>; 3]>,
}

impl Pki {
    /// Makes the root's certificate and an issuing CA. Needs the cluster key.
    pub fn create(layout: &Layout, cluster: &SecretKey) -> Result<Self, PkiError> {
        let pki = Self::empty(layout);
        pki.certify(cluster, system::now(), None)?;
        let public = format!("{}\n", cluster.public());
        files::write_public(&layout.cluster_public_key(), public.as_bytes())?;
        Ok(pki)
    }

    /// Reads what lies there; a node that issues nothing has no issuing CA.
    pub fn load(layout: &Layout) -> Result<Self, PkiError> {
        let pki = Self::empty(layout);
        for place in [Place::Issuing, Place::Candidate, Place::Retiring] {
            let (certificate, key) = pki.paths(place);
            // A candidate's certificate comes later than its key.
            if certificate.exists() && key.exists() {
                let der = read_certificates(&certificate)?.into_iter().next();
                let ca = IssuingCa::load(der.unwrap_or_default(), &read_key(&key)?)?;
                pki.set(place, Some(Arc::new(ca)));
            }
        }
        Ok(pki)
    }

    /// Without any key, whatever lies there.
    pub fn bare(layout: &Layout) -> Result<Self, PkiError> {
        Ok(Self::empty(layout))
    }

    fn empty(layout: &Layout) -> Self {
        Self {
            layout: layout.clone(),
            held: Mutex::default(),
        }
    }

    /// Makes a new issuing CA in place of any that is here, certified by the cluster key, good until
    /// the given time, and what of the root is missing.
    pub fn certify(
        &self,
        cluster: &SecretKey,
        now: OffsetDateTime,
        until: Option<OffsetDateTime>,
    ) -> Result<(), PkiError> {
        self.root(cluster, now)?;
        let (issuing, key) = IssuingCa::create_until(cluster, &system::serial()?, now, until)?;
        let (certificate_file, key_file) = self.paths(Place::Issuing);
        let key = x509::pem("PRIVATE KEY", &key);
        files::write_private(&key_file, key.as_bytes())?;
        let pem = x509::certificate_pem(issuing.certificate());
        files::write_public(&certificate_file, pem.as_bytes())?;
        self.set(Place::Issuing, Some(Arc::new(issuing)));
        Ok(())
    }

    /// Writes the root's certificate and its revocation list where they are missing.
    pub fn root(&self, cluster: &SecretKey, now: OffsetDateTime) -> Result<(), PkiError> {
        let (certificate, list) = (self.layout.root_certificate(), self.layout.root_list());
        if !certificate.exists() {
            let root = x509::root_certificate(cluster, now - BACKDATE)?;
            files::write_public(&certificate, x509::certificate_pem(&root).as_bytes())?;
        }
        if !list.exists() {
            let root = x509::root_revocation_list(cluster, &[], now)?;
            files::write_public(&list, x509::revocation_list_pem(&root).as_bytes())?;
        }
        Ok(())
    }

    /// The files' layout.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// One of the CAs here.
    #[must_use]
    pub fn ca(&self, place: Place) -> Option<Arc<IssuingCa>> {
        let held = self.lock();
        let [issuing, candidate, retiring] = &*held;
        match place {
            Place::Issuing => issuing.clone(),
            Place::Candidate => candidate.clone(),
            Place::Retiring => retiring.clone(),
        }
    }

    /// The CA that signs.
    pub fn issuing(&self) -> Result<Arc<IssuingCa>, PkiError> {
        self.ca(Place::Issuing).ok_or(PkiError::NoIssuer)
    }

    /// All CAs here.
    pub fn all(&self) -> impl Iterator<Item = Arc<IssuingCa>> {
        self.lock().clone().into_iter().flatten()
    }

    fn lock(&self) -> MutexGuard<'_, [Option<Arc<IssuingCa>>; 3]> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, place: Place, ca: Option<Arc<IssuingCa>>) {
        let mut held = self.lock();
        let [issuing, candidate, retiring] = &mut *held;
        match place {
            Place::Issuing => *issuing = ca,
            Place::Candidate => *candidate = ca,
            Place::Retiring => *retiring = ca,
        }
    }

    fn paths(&self, place: Place) -> (PathBuf, PathBuf) {
        let file = |kind: &str| {
            let name = format!("{}.{kind}", place.name());
            self.layout.private().join(name)
        };
        (file("crt"), file("key"))
    }

    /// Makes the key of a candidate, in place of an earlier one, and gives the request for it.
    pub fn make_candidate(&self) -> Result<Vec<u8>, PkiError> {
        self.drop_ca(Place::Candidate)?;
        let KeyRequest { request, key } = IssuingCa::request()?;
        let key = x509::pem("PRIVATE KEY", &key);
        files::write_private(&self.paths(Place::Candidate).1, key.as_bytes())?;
        Ok(request)
    }

    /// Takes in the candidate's certificate: the cluster key's signature over the candidate's key.
    pub fn install_candidate(
        &self,
        certificate: Vec<u8>,
        cluster: &PublicKey,
    ) -> Result<(), PkiError> {
        IssuingCa::check(&certificate, cluster, None)?;
        let (certificate_file, key_file) = self.paths(Place::Candidate);
        let ca = IssuingCa::load(certificate, &read_key(&key_file)?)?;
        let pem = x509::certificate_pem(ca.certificate());
        files::write_public(&certificate_file, pem.as_bytes())?;
        self.set(Place::Candidate, Some(Arc::new(ca)));
        Ok(())
    }

    /// The candidate becomes the one that signs, and that one the retiring one. Cut short at any
    /// point, a second run ends it.
    pub fn cut_over(&self) -> Result<(), PkiError> {
        let candidate = self.ca(Place::Candidate).ok_or(PkiError::NoIssuer)?;
        let old = self.ca(Place::Issuing);
        let renamed = |from: Place, to: Place| {
            let (from, to) = (self.paths(from), self.paths(to));
            for (from, to) in [(from.1, to.1), (from.0, to.0)] {
                if from.exists() {
                    std::fs::rename(&from, &to).map_err(|source| FileError::Io {
                        what: "rename",
                        path: from.clone(),
                        source,
                    })?;
                }
            }
            files::sync_directory(&self.layout.private())
        };
        renamed(Place::Issuing, Place::Retiring)?;
        renamed(Place::Candidate, Place::Issuing)?;
        self.set(Place::Issuing, Some(candidate));
        self.set(Place::Candidate, None);
        if old.is_some() {
            self.set(Place::Retiring, old);
        }
        Ok(())
    }

    /// Forgets a CA and removes its key.
    pub fn drop_ca(&self, place: Place) -> Result<(), PkiError> {
        self.set(place, None);
        let (certificate, key) = self.paths(place);
        for path in [key, certificate] {
            match std::fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(FileError::Io {
                        what: "remove",
                        path,
                        source,
                    }
                    .into());
                }
            }
        }
        Ok(())
    }
}
