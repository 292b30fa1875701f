//! How Palisade's parts reach each other: certificates, TLS whose other end is proved, the API's
//! messages and its client.
//!
//! ```text
//!   cluster key (Ed25519) = root CA  --signs-->  issuing CA (P-256)  --signs-->  leaves (P-256)
//!        |                                                                          |
//!        +-- the one thing a client must know: Expect::Cluster(cluster_key, host) <-+ hosts
//!
//!   node key (Ed25519) --signs itself--> NodeIdentity        the ledger pins the key, nothing else
//!        |
//!        +-- Expect::Node(key): this key and no other.  Expect::Stranger: whatever key is proved
//!
//!        caller                                              listener
//!   Connection::open(address, Expect, identity)         peer::server_config(node, leaf)
//!        |        ---- TLS 1.3, ALPN http/1.1, no resumption ---->      |
//!        |   SNI node.palisade.internal: the node's certificate;       |
//!        |   any other name, or none: the cluster CA's leaf            |
//!        v                                                             v
//!   Connection { peer_key, exporter }                    Caller { key, exporter }
//!        |                     one exporter, these two ends alone      |
//!        v                                                             v
//!   Client: head, entries, append, ...        the ledger is asked what that key may, at each request
//! ```
//!
//! Both ends of the peer link prove a key in the handshake; neither believes anything that a
//! certificate says beside it, so nothing expires and no authority can vouch for a wrong node. Who
//! calls is [`peer::Caller`], which only a finished handshake makes. A proof that is to hold for one
//! session alone (a joiner's, [`api::JoinProof`]) signs the session's exporter: somebody in the middle
//! has two sessions, and two exporters.
//!
//! To add a call: its messages and its line of the table in [`api`], its path in [`api::path`], a method
//! of [`client::Client`], and the route in the daemon.
//!
//! An Ed25519 signature on a server's certificate would break PostgreSQL's channel binding, so the
//! root signs the issuing CA and nothing else, and the node's own certificate is for nodes alone.

pub mod api;
pub mod client;
pub mod https;
pub mod node;
pub mod peer;
pub mod seal;
pub mod tls;
pub mod x509;
