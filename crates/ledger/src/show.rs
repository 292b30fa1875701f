//! How values are shown as JSON: keys as text, verifiers never, bytes as hexadecimal digits.

#![expect(
    clippy::ref_option,
    reason = "the signatures that serde's derive calls"
)]

use std::collections::BTreeMap;
use std::fmt;

use palisade_keys::{PublicKey, ScramVerifier};
use serde::Serializer;

use crate::node::NodeId;

pub(crate) fn show_key<S: Serializer>(key: &Option<PublicKey>, s: S) -> Result<S::Ok, S::Error> {
    match key {
        Some(key) => s.collect_str(key),
        None => s.serialize_none(),
    }
}

pub(crate) fn show_one_key<S: Serializer>(key: &PublicKey, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(key)
}

/// A verifier is shown as being there or not, never itself.
pub(crate) fn hide_verifier<S: Serializer>(
    verifier: &Option<ScramVerifier>,
    s: S,
) -> Result<S::Ok, S::Error> {
    s.serialize_bool(verifier.is_some())
}

pub(crate) fn show_bytes<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&Hex(bytes))
}

/// Which nodes can open it, and how many bytes each has.
pub(crate) fn show_sealed<S: Serializer>(
    sealed: &BTreeMap<NodeId, Vec<u8>>,
    s: S,
) -> Result<S::Ok, S::Error> {
    s.collect_map(sealed.iter().map(|(id, bytes)| (id, bytes.len())))
}

/// Bytes as hexadecimal digits.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
