//! A cluster whose every certificate has expired: a new issuing CA, made beside a stopped daemon with
//! the cluster key, and entered into the ledger at the next start.
//!
//! ```text
//!   rescue (offline):  new key, certified by the cluster key --> private/issuing.*
//!                      entries signed for the ledger's head  --> private/rescue.entries
//!   next start:        leaves by the new CA at once; the entries appended as soon as the ledger takes
//!                      any, then rescue.entries is removed
//! ```
//!
//! The other nodes need nothing: they ask for new leaves over the peer link, whose pinned keys don't
//! expire.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palisade_keys::SecretKey;
use palisade_ledger::{Author, Change, Entry, State, sign, verify};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{CaError, hash};
use crate::files;
use crate::layout::Layout;
use crate::ledger::Ledger;
use crate::pki::{self, Pki, PkiError, Place};
use crate::store::Store;
use crate::system;

/// What a rescue did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescued {
    /// Until when the new issuing CA is good.
    pub until: OffsetDateTime,
    /// The issuing CAs that the ledger had, and that go, since they have expired.
    pub expired: usize,
}

/// Makes a new issuing CA on a node whose daemon does not run, and what enters it into the ledger.
pub fn run(layout: &Layout, cluster: &SecretKey) -> Result<Rescued, CaError> {
    let now = system::now();
    let public = pki::read_public_key(&layout.cluster_public_key())?;
    if cluster.public() != public {
        return Err(CaError::Refused(
            "this is not the private key of the cluster in that directory".to_owned(),
        ));
    }
    // Opening the ledger fails while the daemon has it.
    let store = Store::open(&layout.private()).map_err(|error| {
        CaError::Refused(format!(
            "{error}; the daemon of this node must be stopped first"
        ))
    })?;
    let ledger =
        Ledger::open(store, &public).map_err(|error| CaError::Refused(error.to_string()))?;
    let state = ledger.now();
    // What lies there may be damaged: it is replaced.
    let pki = Pki::load(layout).or_else(|_| Pki::bare(layout))?;
    pki.drop_ca(Place::Candidate)?;
    pki.drop_ca(Place::Retiring)?;
    pki.certify(cluster, now, None)?;
    remove_own_leaf(&pki, &state)?;
    let changes = changes(&pki, &state, now)?;
    let expired = changes
        .iter()
        .filter(|change| matches!(change, Change::IssuingCaRemove { .. }))
        .count();
    let text = signed(&state, cluster, changes)?;
    files::write_private(&layout.rescue(), text.as_bytes()).map_err(PkiError::from)?;
    Ok(Rescued {
        until: pki.issuing()?.until(),
        expired,
    })
}

/// A leaf of an earlier CA would be renewed anyway; one that a human put there stays.
fn remove_own_leaf(pki: &Pki, state: &State) -> Result<(), CaError> {
    let ours = pki
        .read_server()
        .is_ok_and(|leaf| leaf.is_ours(state.cluster_key()));
    if !ours {
        return Ok(());
    }
    let layout = pki.layout();
    for path in [layout.server_key(), layout.server_certificate()] {
        std::fs::remove_file(&path).map_err(|source| {
            PkiError::from(files::FileError::Io {
                what: "remove",
                path,
                source,
            })
        })?;
    }
    Ok(())
}

/// What the ledger lacks: the new CA, its activation, and that the expired ones are gone.
pub(super) fn changes(
    pki: &Pki,
    state: &State,
    now: OffsetDateTime,
) -> Result<Vec<Change>, CaError> {
    let issuing = pki.issuing()?;
    let certificate = issuing.certificate().to_vec();
    let mut changes = Vec::new();
    let expired: Vec<_> = state
        .issuing_cas()
        .filter(|der| {
            X509Certificate::from_der(der)
                .is_ok_and(|(_, ca)| ca.validity().not_after.to_datetime() < now)
        })
        .map(hash)
        .collect();
    if !state.issuing_cas().any(|der| der == certificate) {
        changes.push(Change::IssuingCaAdd {
            certificate: certificate.clone(),
        });
    }
    if state.active_ca() != Some(&certificate) {
        changes.push(Change::IssuingCaActivate {
            certificate: hash(&certificate),
        });
    }
    changes.extend(
        expired
            .into_iter()
            .map(|certificate| Change::IssuingCaRemove { certificate }),
    );
    Ok(changes)
}

/// The changes as entries that follow the state, one line of base64 each.
fn signed(state: &State, cluster: &SecretKey, changes: Vec<Change>) -> Result<String, CaError> {
    let refused = |error: &dyn std::error::Error| CaError::Refused(error.to_string());
    let mut state = state.clone();
    let mut text = String::new();
    for change in changes {
        let entry = Entry {
            seq: state.head().seq.saturating_add(1),
            prev: state.head().hash,
            time: system::millis().max(state.time()),
            author: Author::Cluster,
            change,
        };
        let bytes = sign(&entry, cluster).map_err(|error| refused(&error))?;
        let verified = verify(&state, &bytes).map_err(|error| refused(&error))?;
        state.apply(&verified).map_err(|error| refused(&error))?;
        text.push_str(&STANDARD.encode(&bytes));
        text.push('\n');
    }
    Ok(text)
}

/// The entries that [`run`] left.
pub(super) fn read(text: &str) -> Result<Vec<Vec<u8>>, CaError> {
    text.lines()
        .map(|line| STANDARD.decode(line))
        .collect::<Result<_, _>>()
        .map_err(|_| CaError::Refused("private/rescue.entries is damaged".to_owned()))
}
