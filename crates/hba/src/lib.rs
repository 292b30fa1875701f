//! The language of `pg_hba.conf`: a strict parser and the first-match rule.
//!
//! ```text
//!  text --lexer--> fields per line --parse--> Rules --first_match(Request)--> Decision
//! ```
//!
//! The language is that of PostgreSQL 15, chapter 21.1 and `src/backend/libpq/hba.c`; where the
//! two differ, the source is followed. Three things are Palisade's own:
//!
//! - the methods are those of the gateway ([`Method`]); a weaker one (`md5`, `password`, `ident`, ...) is refused;
//! - one text is the whole file: `@file`, `include` and host names are refused, for the text stands
//!   in a signed ledger and is read without I/O;
//! - what PostgreSQL takes silently for something else than it looks like is refused: a stray
//!   comma, a quote that is never closed, control characters, an empty name, an abbreviated
//!   address, an option given twice ([`FaultKind`] has them all).
//!
//! So every text that is accepted here means the same to PostgreSQL, and never the other way
//! round unseen. `tests/hba_against_postgres.rs` in the root package compares the two.
//!
//! This crate does no I/O and reads no clock: the client's address, the interfaces of this machine
//! and the memberships of a role are arguments.
//!
//! ```
//! use palisade_hba::{Decision, Method, Request, Rules};
//!
//! let rules = Rules::parse("hostssl all all 10.0.0.0/8 auto\n")?;
//! let inside = Request::tcp("10.1.2.3".parse()?, true, "main", "alice");
//! assert_eq!(rules.first_match(&inside).rule().map(|rule| rule.method), Some(Method::Auto));
//! let outside = Request::tcp("192.0.2.1".parse()?, true, "main", "alice");
//! assert_eq!(rules.first_match(&outside), Decision::NoRule);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod lexer;
pub mod limits;
mod matching;
mod model;
mod parse;
mod rules;
mod way_in;

pub use error::{Fault, FaultKind, FieldName, ParseError};
pub use matching::{Decision, Interface, Origin, Request};
pub use model::{
    Address, ClientCertificate, Connection, ConnectionType, DatabaseName, Encryption, Method,
    RoleName, Rule,
};
pub use rules::Rules;
