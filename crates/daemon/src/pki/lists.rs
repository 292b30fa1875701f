//! The revocation lists as files: of the root and of each issuing CA, for PostgreSQL; one with every
//! revoked serial number, for etcd.
//!
//! PostgreSQL (OpenSSL) refuses a client's certificate when the list of any CA above it is missing or
//! has expired. So a CA that was removed from the ledger needs no word by the root: its list is left
//! out, and all its certificates are refused.

use std::collections::BTreeSet;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm,
};
use palisade_ledger::{Hash, State};
use palisade_link::x509::{Revoked, revocation_list_pem};
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

use super::{Pki, PkiError};
use crate::files;

/// How long an issuing CA's list is good for: as long as its node may be down.
const LIST_LIFE: Duration = Duration::days(14);
/// When it is made anew, though nothing was revoked.
const LIST_RENEW: Duration = Duration::days(2);
/// Bytes of the largest set of lists that another node is believed to send.
const MAX_LISTS: usize = 64 * 1024 * 1024;

/// Why revocation lists are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Not PEM, not a list.
    #[error("these are no revocation lists: {0}")]
    Content(String),
    /// Nobody who may sign it did.
    #[error(
        "a revocation list is signed neither by the cluster key nor by an issuing CA of the ledger"
    )]
    Signature,
    /// The root's own is missing.
    #[error("the root's revocation list is not among them")]
    NoRoot,
    /// An old one, which another node has kept.
    #[error(
        "the list of the issuing CA that signs is missing, or does not name all that is revoked"
    )]
    Behind,
}

impl Pki {
    /// Makes the lists of the CAs here and writes the files, if what is written is no longer what the
    /// ledger says or grows old. Says whether it wrote.
    pub fn write_lists(&self, state: &State, now: OffsetDateTime) -> Result<bool, PkiError> {
        let revoked = revoked(state);
        let root = files::read_text(&self.layout.root_list())?;
        let own: Vec<_> = self
            .all()
            .filter(|ca| state.issuing_cas().any(|der| der == ca.certificate()))
            .collect();
        let must: Vec<_> = own.iter().map(|ca| ca.certificate()).collect();
        if own.is_empty() || self.are_current(&must, state, &revoked, now) {
            return Ok(false);
        }
        let mut bundle = root;
        let mut first = None;
        for ca in &own {
            let pem = revocation_list_pem(&ca.revocation_list(&revoked, now, now + LIST_LIFE)?);
            bundle.push_str(&pem);
            first.get_or_insert(pem);
        }
        files::write_public(
            &self.layout.store_list(),
            first.unwrap_or_default().as_bytes(),
        )?;
        files::write_public(&self.layout.lists(), bundle.as_bytes())?;
        Ok(true)
    }

    /// Whether the lists that lie here are what the ledger says, for a node that fetches them.
    #[must_use]
    pub fn has_lists(&self, state: &State, now: OffsetDateTime) -> bool {
        let must: Vec<_> = state.active_ca().into_iter().collect();
        self.are_current(&must, state, &revoked(state), now)
    }

    /// The same for every CA of the ledger.
    #[must_use]
    pub fn has_all_lists(&self, state: &State, now: OffsetDateTime) -> bool {
        let must: Vec<_> = state.issuing_cas().collect();
        self.are_current(&must, state, &revoked(state), now)
    }

    /// Whether there is a young list that names what is revoked for each CA of `must`, and none of a CA
    /// that is gone.
    fn are_current(
        &self,
        must: &[&[u8]],
        state: &State,
        revoked: &[Revoked],
        now: OffsetDateTime,
    ) -> bool {
        let Ok(text) = files::read_text(&self.layout.lists()) else {
            return false;
        };
        let Ok(lists) = read(text.as_bytes()) else {
            return false;
        };
        let fresh = |der: &[u8], ca: &[u8]| is_fresh(der, ca, revoked, now).unwrap_or_default();
        let each = must.iter().all(|ca| lists.iter().any(|der| fresh(der, ca)));
        let none_gone = lists
            .iter()
            .skip(1)
            .all(|der| state.issuing_cas().any(|ca| fresh(der, ca)));
        each && none_gone && self.layout.store_list().exists()
    }

    /// Takes in the lists that another node sent, after a check. It may be behind, ahead, or lie: of each
    /// CA that the ledger has here, the list with the higher number is kept, if it holds and names all that
    /// this node knows to be revoked; without one of the CA that signs nothing is taken. Says whether they
    /// were news.
    pub fn take_lists(
        &self,
        state: &State,
        pem: &[u8],
        now: OffsetDateTime,
    ) -> Result<bool, PkiError> {
        let sent = with_root(state, pem)?;
        let old = files::read_text(&self.layout.lists()).unwrap_or_default();
        let kept = with_root(state, old.as_bytes()).unwrap_or_default();
        // Of two with one number it is the last that is taken.
        let all: Vec<_> = sent.iter().chain(&kept).collect();
        let is_roots = |list: &&&Vec<u8>| is_signed(list, state.cluster_key().as_bytes(), &ED25519);
        let root = all.iter().filter(is_roots).max_by_key(|list| number(list));
        let root = root.ok_or(ListError::NoRoot)?;
        let revoked = revoked(state);
        let active = state.active_ca();
        let mut chosen = Vec::new();
        // The one that signs first: its list is etcd's, too.
        let rest = state.issuing_cas().filter(|ca| Some(*ca) != active);
        for ca in active.into_iter().chain(rest) {
            let fit = all
                .iter()
                .filter(|list| is_by(list, ca) && names_all(list, &revoked, now));
            match fit.max_by_key(|list| number(list)) {
                Some(list) => chosen.push(list),
                None if Some(ca) == active => return Err(ListError::Behind.into()),
                None => {}
            }
        }
        let store = chosen.first().ok_or(ListError::Signature)?;
        let mut text = revocation_list_pem(root);
        for list in &chosen {
            text.push_str(&revocation_list_pem(list));
        }
        if old == text && self.layout.store_list().exists() {
            return Ok(false);
        }
        files::write_public(
            &self.layout.root_list(),
            revocation_list_pem(root).as_bytes(),
        )?;
        files::write_public(
            &self.layout.store_list(),
            revocation_list_pem(store).as_bytes(),
        )?;
        files::write_public(&self.layout.lists(), text.as_bytes())?;
        Ok(true)
    }

    /// The lists as they are written, in PEM: the root's first.
    pub fn lists(&self) -> Result<String, PkiError> {
        Ok(files::read_text(&self.layout.lists())?)
    }
}

/// What the ledger says is revoked.
fn revoked(state: &State) -> Vec<Revoked> {
    let named = state.revocations().map(|(serial, revocation)| Revoked {
        serial: serial.to_vec(),
        at: moment(revocation.at.0),
    });
    // etcd knows serial numbers alone: what a CA signed that is gone is named one by one.
    let cas: Vec<_> = state.issuing_cas().map(Hash::of).collect();
    let orphans = state
        .issued()
        .filter(|issued| !cas.contains(&issued.issuer) && !state.is_revoked(&issued.serial))
        .map(|issued| Revoked {
            serial: issued.serial.clone(),
            at: OffsetDateTime::UNIX_EPOCH,
        });
    named.chain(orphans).collect()
}

fn moment(millis: u64) -> OffsetDateTime {
    let nanos = i128::from(millis) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Whether a list is this CA's, names what is revoked now, and is young.
fn is_fresh(der: &[u8], ca: &[u8], revoked: &[Revoked], now: OffsetDateTime) -> Option<bool> {
    let (_, list) = CertificateRevocationList::from_der(der).ok()?;
    let (_, ca) = X509Certificate::from_der(ca).ok()?;
    if list.issuer().as_raw() != ca.subject().as_raw() {
        return Some(false);
    }
    let named: Vec<_> = list
        .iter_revoked_certificates()
        .map(x509_parser::prelude::RevokedCertificate::raw_serial)
        .collect();
    let age = now - list.last_update().to_datetime();
    let same = named.len() == revoked.len()
        && named
            .iter()
            .zip(revoked)
            .all(|(named, revoked)| trim(named) == revoked.serial);
    Some(same && age < LIST_RENEW && age > -LIST_RENEW)
}

fn trim(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    serial.get(zeros..).unwrap_or_default()
}

fn read(pem: &[u8]) -> Result<Vec<Vec<u8>>, ListError> {
    if pem.len() > MAX_LISTS {
        return Err(ListError::Content("they are too large".to_owned()));
    }
    CertificateRevocationListDer::pem_slice_iter(pem)
        .map(|der| der.map(|der| der.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|error| ListError::Content(error.to_string()))
}

/// Reads lists (PEM) and checks that the cluster key signed the first, and an issuing CA of the
/// ledger each other one.
pub fn check_lists(state: &State, pem: &[u8]) -> Result<Vec<Vec<u8>>, ListError> {
    let lists = with_root(state, pem)?;
    if lists.iter().skip(1).all(|list| is_by_a_ca(list, state)) {
        Ok(lists)
    } else {
        Err(ListError::Signature)
    }
}

fn with_root(state: &State, pem: &[u8]) -> Result<Vec<Vec<u8>>, ListError> {
    let lists = read(pem)?;
    match lists.first() {
        Some(root) if is_signed(root, state.cluster_key().as_bytes(), &ED25519) => Ok(lists),
        Some(_) | None => Err(ListError::NoRoot),
    }
}

fn is_by_a_ca(list: &[u8], state: &State) -> bool {
    state.issuing_cas().any(|ca| is_by(list, ca))
}

fn is_by(list: &[u8], ca: &[u8]) -> bool {
    X509Certificate::from_der(ca).is_ok_and(|(_, ca)| {
        let key = &ca.public_key().subject_public_key.data;
        is_signed(list, key, &ECDSA_P256_SHA256_ASN1)
    })
}

/// Whether a list has not expired and names at least all that is revoked.
fn names_all(list: &[u8], revoked: &[Revoked], now: OffsetDateTime) -> bool {
    CertificateRevocationList::from_der(list).is_ok_and(|(_, list)| {
        let until = list.next_update().map(|time| time.to_datetime());
        let named: BTreeSet<_> = list
            .iter_revoked_certificates()
            .map(|entry| trim(entry.raw_serial()))
            .collect();
        until.is_some_and(|until| now < until)
            && revoked
                .iter()
                .all(|revoked| named.contains(revoked.serial.as_slice()))
    })
}

/// The number of a list, which its CA only raises. One without comes before all others.
fn number(list: &[u8]) -> Option<Vec<u8>> {
    let (_, list) = CertificateRevocationList::from_der(list).ok()?;
    let number = list.crl_number()?.to_bytes_be();
    // Of one length, so that they compare as numbers.
    let zeros = 20_usize.saturating_sub(number.len());
    Some([vec![0; zeros], number].concat())
}

fn is_signed(der: &[u8], key: &[u8], algorithm: &'static dyn VerificationAlgorithm) -> bool {
    let Ok((rest, list)) = CertificateRevocationList::from_der(der) else {
        return false;
    };
    let signature = &list.signature_value.data;
    rest.is_empty()
        && UnparsedPublicKey::new(algorithm, key)
            .verify(list.tbs_cert_list.as_ref(), signature)
            .is_ok()
}
