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
/// least manager could move the ledger's time to the year 9999, and every honest clock after it would
/// be behind. Five minutes are more than clocks without NTP drift in a month.
pub const MAX_AHEAD_MILLIS: u64 = 5 * 60 * 1000;

/// Users that the ledger holds. Keeps the folded state of the largest cluster under 1 GiB.
pub const MAX_USERS: usize = 1_000_000;

/// Entries of one batch: what is verified against a copy of the state before it is committed whole.
pub const MAX_BATCH: usize = 10_000;

/// Nodes at one time. A cluster has hundreds; PostgreSQL's foreign servers and a full mesh of pinned
/// links are long unwieldy at this number.
pub const MAX_NODES: usize = 10_000;

/// Bytes of a DNS name (RFC 1035, section 2.3.4).
pub const MAX_HOST_BYTES: usize = 253;

/// Further names of one node: they all stand in its certificates.
pub const MAX_HOSTS: usize = 16;

/// Enrollment tokens that have not expired: one for each node that there may be. Expired ones make
/// room when it is needed.
pub const MAX_TOKENS: usize = 10_000;

/// How long an enrollment token may be good for: a year. "Expiring" would mean nothing otherwise.
pub const MAX_TOKEN_MILLIS: u64 = 366 * 24 * 60 * 60 * 1000;

/// URLs of an existing etcd. It recommends up to seven members; the rest is room for a move.
pub const MAX_ENDPOINTS: usize = 16;

/// Certificates in the inventory that are good for something (the expired, the revoked and those of removed
/// CAs make room when it is needed): those of 10,000 nodes, and of users whose certificates live for
/// hours.
pub const MAX_ISSUED: usize = 100_000;

/// Certificates of one node that are good at one time: a node needs four, twice as many while they are
/// renewed, and again while the issuing CA is rotated. A stolen node can't fill the inventory by asking.
pub const MAX_HELD: usize = 32;

/// How long a leaf certificate may be good for: 398 days, what browsers take at most.
pub const MAX_LEAF_MILLIS: u64 = 398 * 24 * 60 * 60 * 1000;

/// Bytes of a certificate's subject as the inventory shows it.
pub const MAX_SUBJECT_BYTES: usize = 256;

/// How long tokens and issued certificates are kept after they expired, by the ledger's time, even
/// when there are too many: that time may run ahead of the clocks by [`MAX_AHEAD_MILLIS`] or, where
/// somebody writes to a shared store behind the daemons' backs, by more.
pub const KEEP_EXPIRED_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// Alerts. Each is sent at each event.
pub const MAX_ALERTS: usize = 64;

/// Bytes of an alert's or a command's name.
pub const MAX_ALERT_NAME_BYTES: usize = 63;

/// Bytes of a webhook's URL: what all servers take.
pub const MAX_URL_BYTES: usize = 2048;

/// Bytes of a mail address (RFC 5321, section 4.5.3.1.3, without the angle brackets).
pub const MAX_MAIL_ADDRESS_BYTES: usize = 254;

/// Recipients of one alert by mail.
pub const MAX_RECIPIENTS: usize = 16;

/// Bytes of an alert's secret as sealed for one node. The entry's own bound limits the whole.
pub const MAX_SEALED_BYTES: usize = 4096;
