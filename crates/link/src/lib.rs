//! How Palisade's parts reach each other: certificates, TLS that proves the cluster key, and the
//! control socket's messages and client.
//!
//! ```text
//!   cluster key (Ed25519) = root CA  --signs-->  issuing CA (P-256)  --signs-->  leaves (P-256)
//!        |
//!        +-- the one thing a client must know: `tls::client_config(&cluster_key, ...)`
//! ```
//!
//! An Ed25519 signature on a server's certificate would break PostgreSQL's channel binding, so the
//! root signs the issuing CA and nothing else.

pub mod api;
pub mod client;
pub mod https;
pub mod node;
pub mod peer;
pub mod seal;
pub mod tls;
pub mod x509;
