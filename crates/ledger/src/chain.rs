//! Chains: taking an exported file apart, and telling a continued chain from a rewound or forked one.

use minicbor::Decoder;

use palisade_keys::PublicKey;

use crate::codec;
use crate::entry::{Hash, Head};
use crate::limits::MAX_ENTRY_BYTES;

/// Where an exported ledger stopped being one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at} (entry {entry}): {message}")]
pub struct SplitError {
    /// Offset in the file.
    pub at: usize,
    /// Number of the entry that begins there.
    pub entry: usize,
    /// What was found.
    pub message: String,
}

/// Takes an exported ledger apart into its entries: a CBOR sequence (RFC 8742), nothing between.
pub fn split(bytes: &[u8]) -> Result<Vec<&[u8]>, SplitError> {
    let mut decoder = Decoder::new(bytes);
    let mut entries = Vec::new();
    while decoder.position() < bytes.len() {
        let start = decoder.position();
        let fail = |message: String| SplitError {
            at: start,
            entry: entries.len(),
            message,
        };
        decoder.skip().map_err(|error| fail(error.to_string()))?;
        match bytes.get(start..decoder.position()) {
            Some(entry) if entry.len() <= MAX_ENTRY_BYTES => entries.push(entry),
            Some(_) | None => return Err(fail("larger than any entry".to_owned())),
        }
    }
    Ok(entries)
}

/// Whether `bytes` are an entry with a signature of `key`. Nothing else is verified: for what must be cheap
/// before [`crate::verify`] is not.
#[must_use]
pub fn is_signed(bytes: &[u8], key: &PublicKey) -> bool {
    codec::open(bytes).is_ok_and(|envelope| {
        let signed = key.verify(&envelope.to_be_signed(), &envelope.signature);
        signed.is_ok()
    })
}

/// How a chain that is shown now relates to the head seen last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuity {
    /// It holds the head seen last, and may go on behind it.
    Continues,
    /// It ends before the head seen last: somebody turned the store back.
    RolledBack {
        /// The head seen last.
        seen: Head,
        /// The last entry shown.
        shown: Option<Head>,
    },
    /// It has another entry in the place of the head seen last: somebody forked the ledger.
    Forked {
        /// The head seen last.
        seen: Head,
        /// The hash shown in its place.
        shown: Hash,
    },
}

/// Compares the head seen last with a chain: its `head` now, and the hash `at` a sequence number.
#[must_use]
pub fn continuity(
    seen: Head,
    head: Option<Head>,
    at: impl FnOnce(u64) -> Option<Hash>,
) -> Continuity {
    match at(seen.seq) {
        None => Continuity::RolledBack { seen, shown: head },
        Some(hash) if hash == seen.hash => Continuity::Continues,
        Some(shown) => Continuity::Forked { seen, shown },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(seq: u64, byte: u8) -> Head {
        Head {
            seq,
            hash: Hash([byte; 32]),
        }
    }

    #[test]
    fn a_chain_is_told_from_a_rewound_and_a_forked_one() {
        let seen = head(3, 3);
        let shown = Some(head(5, 5));
        assert_eq!(
            continuity(seen, shown, |_| Some(Hash([3; 32]))),
            Continuity::Continues
        );
        assert_eq!(
            continuity(seen, shown, |_| Some(Hash([4; 32]))),
            Continuity::Forked {
                seen,
                shown: Hash([4; 32])
            }
        );
        assert_eq!(
            continuity(seen, Some(head(2, 2)), |_| None),
            Continuity::RolledBack {
                seen,
                shown: Some(head(2, 2))
            }
        );
    }

    #[test]
    fn a_cut_export_is_placed() {
        assert_eq!(split(&[]), Ok(vec![]));
        assert_eq!(
            split(&[0x01, 0x41, 0x00]),
            Ok(vec![&[1][..], &[0x41, 0x00][..]])
        );
        let error = split(&[0x01, 0x42, 0x00]).unwrap_err();
        assert_eq!((error.at, error.entry), (1, 1));
    }
}
