//! The signed ledger: entries, their encoding, the chain, verification, and the state it folds to.
//!
//! ```text
//!   bytes --decode (strict)--> Entry --verify(&State)--> Verified --State::apply--> State
//!                                        |
//!                         chain, signature, authority, guards
//! ```
//!
//! All that decides who may do what is one append-only, hash-chained log. The bytes that were signed
//! are the bytes that are stored and hashed. [`verify`] is the only maker of [`Verified`], and
//! [`State::apply`] takes nothing else: a store that holds a `Verified` holds the proof that every
//! check was made. Nothing here does I/O or reads a clock. The format is told in `docs/ledger.md`.

mod address;
mod alert;
mod authority;
mod certificate;
mod chain;
mod change;
mod codec;
mod entry;
mod fleet;
mod guard;
mod join;
pub mod limits;
mod map;
mod name;
mod node;
mod object;
mod privileges;
mod sense;
mod show;
mod state;
mod user;
pub mod users_cfg;
mod verify;
mod weak;

pub use address::{AddressError, NodeAddress, is_loopback, parse_host};
pub use alert::{Alert, AlertTarget, NewAlert};
pub use authority::Need;
pub use certificate::{CertificateKind, Issued, Revocation};
pub use chain::{Continuity, SplitError, continuity, is_signed, split};
pub use change::{Change, ImportedUser, NewUser, Setting};
pub use codec::DecodeError;
pub use entry::{Author, Entry, Hash, Head, Millis, sign};
pub use guard::{Guard, lockout};
pub use join::{
    NewToken, Proof, Token, TokenId, TokenIdError, join_message, rotate_message, session_message,
};
pub use map::Map;
pub use name::{NameError, RESERVED_NAME, Uid, UserName};
pub use node::{NewNode, Node, NodeId, NodeIdError, StoreAddress, StoreConfig};
pub use object::{ObjectError, ObjectName};
pub use privileges::{PrivilegeError, Privileges};
pub use state::{Acls, Stale, State};
pub use user::User;
pub use verify::{Refusal, Verified, decode, verify, verify_genesis};
