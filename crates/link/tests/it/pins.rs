//! Whom a caller reaches, and whom it refuses.

use palisade_link::client::{Client, ClientError};
use palisade_link::https::{Connection, OpenError};
use palisade_link::peer::{self, Expect};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs as provider;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use std::sync::Arc;

use crate::support::{SOON, Server, key, leaf, node, stolen};

async fn open(server: &Server, expect: &Expect) -> Result<Connection, OpenError> {
    Connection::open(&server.address, expect, None, SOON).await
}

// "If the caller knows which NodeID it expected, a strict verifier ensures the fingerprint matches that
// specific entry — not just any trusted peer."
#[tokio::test]
async fn another_node_is_not_the_one_that_is_expected() {
    let server = Server::node(&node(1)).await;
    let connection = open(&server, &Expect::Node(key(1).public())).await.unwrap();
    assert_eq!(connection.peer_key(), Some(key(1).public()));
    let error = open(&server, &Expect::Node(key(2).public())).await;
    match error.unwrap_err() {
        OpenError::WrongKey {
            expected, shown, ..
        } => {
            assert_eq!((expected, shown), (key(2).public(), key(1).public()));
        }
        other => panic!("{other}"),
    }
}

/// Shows what it was given, whether or not the key fits.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

fn showing(shown: Arc<CertifiedKey>, alpn: &[&[u8]]) -> Arc<ServerConfig> {
    let provider = Arc::new(provider::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Always(shown)));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

// "An adversary who gets your public cert can't impersonate you."
#[tokio::test]
async fn a_nodes_certificate_without_its_key_is_worth_nothing() {
    let thief = showing(stolen(&node(1), &node(2)), &[peer::ALPN]);
    let server = Server::start(thief, key(1).public()).await;
    for expect in [Expect::Node(key(1).public()), Expect::Stranger] {
        let error = open(&server, &expect).await.unwrap_err();
        assert!(matches!(error, OpenError::Handshake { .. }), "{error}");
    }
    // The same server with the key that fits is taken: the signature made the difference.
    let honest = showing(stolen(&node(1), &node(1)), &[peer::ALPN]);
    let server = Server::start(honest, key(1).public()).await;
    assert!(open(&server, &Expect::Node(key(1).public())).await.is_ok());
}

#[tokio::test]
async fn another_door_of_the_node_is_not_taken_for_the_api() {
    let own = stolen(&node(1), &node(1));
    let expect = Expect::Node(key(1).public());
    let server = Server::start(showing(own.clone(), &[]), key(1).public()).await;
    let error = open(&server, &expect).await.unwrap_err();
    assert!(matches!(error, OpenError::OtherDoor(_)), "{error}");
    let server = Server::start(showing(own, &[b"postgresql"]), key(1).public()).await;
    let error = open(&server, &expect).await.unwrap_err();
    assert!(matches!(error, OpenError::Handshake { .. }), "{error}");
}

// "It fetches the remote's cert, prints the fingerprint, and asks for confirmation."
#[tokio::test]
async fn a_strangers_key_is_reported_as_it_was_proved() {
    let server = Server::node(&node(3)).await;
    let connection = open(&server, &Expect::Stranger).await.unwrap();
    assert_eq!(connection.peer_key(), Some(key(3).public()));
    let client = Client::https(connection);
    let identity = client.identity().await.unwrap();
    assert_eq!(identity.public_key(), Some(key(3).public()));
    assert_eq!(identity.seal_key(), Some([1; 32]));
}

#[tokio::test]
async fn a_node_that_names_another_key_than_its_own_is_refused() {
    let config = peer::server_config(&node(3), None).unwrap();
    let server = Server::start(config, key(4).public()).await;
    let client = Client::https(open(&server, &Expect::Stranger).await.unwrap());
    let error = client.identity().await.unwrap_err();
    assert!(matches!(error, ClientError::Reply(_)), "{error}");
}

#[tokio::test]
async fn the_cluster_is_proved_by_its_ca_and_the_hosts_name_alone() {
    let cluster = |byte: u8, host: &str| Expect::Cluster(key(byte).public(), host.to_owned());
    let both = leaf(&key(9), &["localhost", "127.0.0.1"]);
    let config = peer::server_config(&node(1), Some(&both)).unwrap();
    let server = Server::start(config, key(1).public()).await;
    for host in ["localhost", "127.0.0.1"] {
        let connection = open(&server, &cluster(9, host)).await.unwrap();
        assert_eq!(connection.peer_key(), None);
    }
    for wrong in [
        cluster(9, "elsewhere"),
        cluster(8, "localhost"),
        cluster(9, "10.0.0.1"),
    ] {
        let error = open(&server, &wrong).await.unwrap_err();
        assert!(matches!(error, OpenError::Untrusted { .. }), "{error}");
    }
    // A node's own certificate does not prove the cluster, even where it has no other.
    let server = Server::node(&node(1)).await;
    let host = palisade_link::node::NODE_HOST;
    for expect in [cluster(9, "localhost"), cluster(9, host), cluster(1, host)] {
        let error = open(&server, &expect).await.unwrap_err();
        assert!(matches!(error, OpenError::Untrusted { .. }), "{error}");
    }
    let error = open(&server, &cluster(9, "no host")).await.unwrap_err();
    assert!(matches!(error, OpenError::Config(_)), "{error}");
}

#[tokio::test]
async fn the_name_that_is_asked_for_chooses_the_certificate() {
    let both = leaf(&key(9), &["localhost"]);
    let config = peer::server_config(&node(1), Some(&both)).unwrap();
    let server = Server::start(config, key(1).public()).await;
    let pinned = open(&server, &Expect::Node(key(1).public())).await.unwrap();
    assert_eq!(pinned.peer_key(), Some(key(1).public()));
    let expect = Expect::Cluster(key(9).public(), "localhost".to_owned());
    let named = open(&server, &expect).await.unwrap();
    assert_eq!(named.peer_key(), None);
}

#[tokio::test]
async fn nobody_at_the_address_is_told_apart() {
    let error = Connection::open("127.0.0.1:1", &Expect::Stranger, None, SOON).await;
    let error = error.unwrap_err();
    assert!(matches!(error, OpenError::Connect { .. }), "{error}");
}
