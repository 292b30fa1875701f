//! What a store that several nodes share shows, and what it takes: keys with the revision of their
//! last change, changes in the order of revisions, and transactions that compare revisions.
//!
//! The words are etcd's (its API reference, "KV" and "Watch"). Nothing here does I/O, and nothing
//! that is shown here is believed: see [`crate::ledger::replica`].

use palisade_ledger::{Hash, Head};

/// A key of the ledger below its prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// `ledger/<20 digits>`: a signed entry.
    Entry(u64),
    /// `head`: number and hash of the last entry.
    Head,
    /// `touch`: written only so that a watcher hears of a revision.
    Touch,
    /// Anything else below the prefix: nobody of us wrote it.
    Other(Vec<u8>),
}

impl Key {
    /// The key as bytes, below the prefix.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Entry(seq) => format!("ledger/{seq:020}").into_bytes(),
            Self::Head => b"head".to_vec(),
            Self::Touch => b"touch".to_vec(),
            Self::Other(bytes) => bytes.clone(),
        }
    }

    /// Reads a key; what has no meaning is [`Key::Other`].
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        match bytes {
            b"head" => Self::Head,
            b"touch" => Self::Touch,
            other => entry_number(other).map_or_else(|| Self::Other(other.to_vec()), Self::Entry),
        }
    }
}

fn entry_number(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.strip_prefix(b"ledger/")?;
    if digits.len() != 20 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Entry(seq) => write!(f, "entry {seq}"),
            Self::Head => f.write_str("the head"),
            Self::Touch => f.write_str("the key touch"),
            Self::Other(bytes) => write!(f, "the key {:.80}", bytes.escape_ascii().to_string()),
        }
    }
}

/// What the key `head` holds: `NUMBER HASH`.
#[must_use]
pub fn head_value(head: Head) -> Vec<u8> {
    format!("{} {}", head.seq, head.hash).into_bytes()
}

/// Reads what the key `head` holds.
#[must_use]
pub fn parse_head(value: &[u8]) -> Option<Head> {
    let (seq, hash) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    let mut bytes = [0; 32];
    if hash.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hash.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    let head = Head {
        seq: seq.parse().ok()?,
        hash: Hash(bytes),
    };
    // Only the one spelling counts.
    (head_value(head) == value).then_some(head)
}

/// One key as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Which.
    pub key: Key,
    /// What it holds.
    pub value: Vec<u8>,
    /// The revision in which it was written last.
    pub revision: u64,
    /// How often it was written since it was created; 1: once.
    pub version: u64,
}

/// What a change wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// What the key holds now.
    pub value: Vec<u8>,
    /// How often it was written since it was created; 1: this created it.
    pub version: u64,
}

/// All keys below the prefix, as they stood at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// That revision.
    pub revision: u64,
    /// The keys.
    pub cells: Vec<Cell>,
}

/// What one revision changed: what was written, or none where a key was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The revision.
    pub revision: u64,
    /// The keys.
    pub keys: Vec<(Key, Option<Put>)>,
}

/// All or nothing: writes that are made only if each guard's key was last written in the revision
/// that the guard names (0: there is no such key).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// Keys and revisions.
    pub guards: Vec<(Key, u64)>,
    /// Keys and their new values; none deletes.
    pub writes: Vec<(Key, Option<Vec<u8>>)>,
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was made, in this revision.
    Committed(u64),
    /// A guard did not hold: it was not made, and never will be.
    Conflict,
    /// The answer did not come. It may have been made, may not have been, and may be made yet.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_spelling() {
        for key in [Key::Entry(0), Key::Entry(u64::MAX), Key::Head, Key::Touch] {
            assert_eq!(Key::parse(&key.to_bytes()), key);
        }
        for strange in ["ledger/7", "ledger/+0000000000000000007", "heads", ""] {
            let bytes = strange.as_bytes();
            assert_eq!(Key::parse(bytes), Key::Other(bytes.to_vec()));
        }
        let head = Head {
            seq: 7,
            hash: Hash([9; 32]),
        };
        assert_eq!(parse_head(&head_value(head)), Some(head));
        assert_eq!(parse_head(format!("07 {}", head.hash).as_bytes()), None);
        assert_eq!(parse_head(b"7"), None);
    }
}
