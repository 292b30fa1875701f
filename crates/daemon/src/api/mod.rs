//! The API on HTTPS: for the other nodes, the command line elsewhere, the console, and for joiners.
//!
//! ```text
//!   accept --Place--> TLS (its own task, a time limit) --key, exporter--> HTTP/1.1
//!                                                                           |
//!      each request: who is that key now? may he use this door? --> the handler
//!      each change of the ledger: is a known key unknown now?   --> the connection closes
//! ```
//!
//! Who calls is what TLS proved, never what a message says. A session is never resumed.

mod caller;
mod gate;
mod listener;
mod routes;

pub use caller::{Access, DOORS};
pub use gate::Bounds;
pub(crate) use gate::neighbourhood;
pub(crate) use listener::{CallerAddress, CallerKey};
pub use listener::{Door, TlsConfig};
pub use routes::{Answer, Services};
