//! Every bound of this crate, each with its reason.

/// Longest text of all rules, in bytes. 64 KiB hold 800 rules of 80 bytes; the text travels in one
/// signed ledger entry, is shown to people as a whole and is walked at each login.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;

/// Most physical lines, comments included: what a text of [`MAX_TEXT_BYTES`] holds at 16 bytes a line,
/// the length of the shortest useful rule.
pub const MAX_LINES: usize = 4096;

/// Most tokens on one (continued) line. A list of databases or users that is longer is a role.
pub const MAX_TOKENS_PER_LINE: usize = 256;

/// Longest token in bytes, quotes not counted: `MAX_TOKEN` (256) of PostgreSQL 15's `hba.c`, less its
/// final NUL and the one byte that it wants to be left when a quote or a comma follows. So every
/// rule that is accepted here can be written into `pg_hba.conf`.
pub const MAX_TOKEN_BYTES: usize = 254;

/// Most faults that are collected before the parser gives up: more than anybody reads at once.
pub const MAX_FAULTS: usize = 100;
