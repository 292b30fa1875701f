//! Every bound of the ledger, each with its reason. A bound may grow, never shrink: entries that were
//! accepted once must stay readable.

/// Bytes of one signed entry. The largest change is a set of hba rules; all others stay below 9 KiB.
/// etcd refuses requests above 1.5 MiB.
pub const MAX_ENTRY_BYTES: usize = palisade_hba::limits::MAX_TEXT_BYTES + 4096;

/// Bytes of a user's name: PostgreSQL's `NAMEDATALEN` - 1, since the name is the role's.
pub const MAX_NAME_BYTES: usize = 63;

/// Bytes of a schema's or relation's name: PostgreSQL's `NAMEDATALEN` - 1.
pub const MAX_IDENTIFIER_BYTES: usize = 63;

/// Bytes of an issuing CA's certificate in DER. Ours take about 400; RSA-4096 ones about 2,000.
pub const MAX_CERTIFICATE_BYTES: usize = 8192;

/// Bytes of a certificate's serial number (RFC 5280, section 4.1.2.2).
pub const MAX_SERIAL_BYTES: usize = 20;

/// Issuing CAs at one time: a rotation needs two; the rest is room for mistakes.
pub const MAX_ISSUING_CAS: usize = 16;

/// Bytes of a text about a change (why a certificate was revoked, a cluster's name).
pub const MAX_TEXT_BYTES: usize = 256;

/// Milliseconds from 1970 to the end of the year 9999, the last that RFC 3339 can write.
pub const MAX_TIME_MILLIS: u64 = 253_402_300_799_999;

/// How far an entry's time may lie ahead of the clock of the store that takes it in from its author.
/// Nothing here reads a clock, so [`crate::verify`] can't ask for it; without it one entry of the
/// least user could move the ledger's time to the year 9999, and every honest clock after it would
/// be behind. Five minutes are more than clocks without NTP drift in a month.
pub const MAX_AHEAD_MILLIS: u64 = 5 * 60 * 1000;

/// Users that the ledger holds. Keeps the folded state of the largest cluster under 1 GiB.
pub const MAX_USERS: usize = 1_000_000;

/// Entries of one batch: what is verified against a copy of the state before it is committed whole.
pub const MAX_BATCH: usize = 10_000;
