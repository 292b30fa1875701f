//! A joiner's proof, and somebody in the middle who would like to use it.

use hyper::Method;
use palisade_keys::PublicKey;
use palisade_link::api::{JOIN_HEADER, JoinKind, JoinProof};
use palisade_link::https::Connection;
use palisade_link::peer::Expect;

use crate::support::{CLUSTER, SECRET, SOON, Server, key, node};

/// The proof that node `joiner` makes inside `session`.
fn proof(session: &Connection, joiner: PublicKey) -> JoinProof {
    let cluster = key(CLUSTER).public();
    let message = palisade_ledger::session_message(&cluster, session.exporter(), &joiner);
    JoinProof::new(&JoinKind::Secret, &message, &key(SECRET))
}

async fn show(session: &Connection, proof: &JoinProof) -> String {
    let header = proof.to_header();
    let headers = [(JOIN_HEADER, header.as_str())];
    let answer = session.call_with(Method::GET, "/proof", &headers).await;
    String::from_utf8(answer.unwrap().into()).unwrap()
}

// "The secret is proved inside the TLS session and bound to it, never replayable."
#[tokio::test]
async fn a_proof_is_worth_nothing_in_another_session() {
    let server = Server::node(&node(1)).await;
    let expect = Expect::Node(key(1).public());
    let joiner = node(2);
    let open = async || {
        Connection::open(&server.address, &expect, Some(joiner.leaf()), SOON)
            .await
            .unwrap()
    };
    let first = open().await;
    let own = proof(&first, joiner.key());
    assert_eq!(show(&first, &own).await, "proved");
    // The same node, the same server, a moment later.
    assert_eq!(show(&open().await, &own).await, "not proved");
}

// Man in the middle: the joiner trusts on first use, and talks to a relay that talks to the member.
#[tokio::test]
async fn a_relay_cant_use_what_the_joiner_proved_to_it() {
    let member = Server::node(&node(1)).await;
    let mut relay = Server::node(&node(3)).await;
    let joiner = node(2);
    let to_relay = Connection::open(&relay.address, &Expect::Stranger, Some(joiner.leaf()), SOON);
    let to_relay = to_relay.await.unwrap();
    let caught = proof(&to_relay, joiner.key());
    // The relay knows both ends of its own session, so to itself the proof is good ...
    assert_eq!(show(&to_relay, &caught).await, "proved");
    let seen = relay.next().await.unwrap();
    assert_eq!(seen.exporter(), to_relay.exporter());
    // ... but towards the member there is another exporter, and the key is the relay's own.
    let expect = Expect::Node(key(1).public());
    for own in [Some(node(3)), None] {
        let identity = own.as_ref().map(palisade_link::node::NodeIdentity::leaf);
        let onward = Connection::open(&member.address, &expect, identity, SOON);
        let onward = onward.await.unwrap();
        assert_ne!(onward.exporter(), to_relay.exporter());
        assert_ne!(show(&onward, &caught).await, "proved");
    }
    // A joiner that knows whom to expect does not even talk to the relay.
    let pinned = Connection::open(&relay.address, &expect, Some(joiner.leaf()), SOON).await;
    assert!(pinned.is_err());
}

#[tokio::test]
async fn a_proof_for_one_node_key_does_not_serve_another() {
    let server = Server::node(&node(1)).await;
    let expect = Expect::Node(key(1).public());
    let thief = node(4);
    let session = Connection::open(&server.address, &expect, Some(thief.leaf()), SOON);
    let session = session.await.unwrap();
    // The right secret and the right session, but said for another node.
    assert_eq!(
        show(&session, &proof(&session, key(2).public())).await,
        "not proved"
    );
    assert_eq!(
        show(&session, &proof(&session, thief.key())).await,
        "proved"
    );
}
