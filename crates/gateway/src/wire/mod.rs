//! The PostgreSQL protocol, as far as a door needs it: strict, and without I/O.
//!
//! Written by hand, because what a stranger sends first must be read more strictly than general
//! libraries do: nothing past a packet's length, no second name for one thing, no bytes that are
//! not text. Messages are those of PostgreSQL 17, chapter "Message Formats".

pub(crate) mod backend;
pub mod frontend;
pub(crate) mod scan;
pub mod startup;

/// The first bytes of a slice as a fixed array, and what follows them.
pub(crate) fn take<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    Some((*head, rest))
}

/// A string that ends with a zero byte, and what follows it.
pub(crate) fn take_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let (text, rest) = bytes.split_at_checked(end)?;
    Some((text, rest.get(1..)?))
}
