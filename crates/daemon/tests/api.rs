//! Who may use which door of the API, by the key that TLS proved; and when a door closes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod door;

use bytes::Bytes;
use door::{
    CLUSTER, DISABLED, MANAGER, MEMBER, OPERATOR, PENDING, READER, STRANGER, World, key, silent,
};
use hyper::Method;
use palisade_daemon::api::DOORS;
use palisade_ledger::{Change, NodeId, Uid};
use palisade_link::api::{Challenge, Command, SignedCommand};
use palisade_link::client::{Client, ClientError};
use palisade_link::https::Connection;

/// Whether the door lets in; what is behind it may still say no.
async fn lets_in(connection: &Connection, method: &str, path: &str) -> bool {
    let method: Method = method.parse().unwrap();
    let query = if path == "/v1/entries" && method == Method::GET {
        "?from=0"
    } else {
        ""
    };
    let answer = connection
        .call(method, &format!("{path}{query}"), Bytes::from_static(b"{}"))
        .await;
    match answer {
        Err(ClientError::Refused(failure)) => {
            !failure.error.contains("does not know you")
                && !failure.error.contains("system or user_manage")
                && !failure.error.contains("waits for approval")
        }
        Ok(_) | Err(_) => true,
    }
}

// "The identity of a caller is what TLS proved, never what a message says": every door, with no key, an
// unknown one, one that waits, one that was disabled, and those that are known. What is written here is
// the whole table: a new door fails this test until somebody has decided who may use it.
#[tokio::test(flavor = "multi_thread")]
async fn each_door_is_open_to_those_who_are_named_for_it() {
    let world = World::new().await;
    let callers = [
        ("nobody", None),
        ("stranger", Some(STRANGER)),
        ("pending", Some(PENDING)),
        ("disabled", Some(DISABLED)),
        ("reader", Some(READER)),
        ("manager", Some(MANAGER)),
        ("operator", Some(OPERATOR)),
        ("cluster", Some(CLUSTER)),
        ("member", Some(MEMBER)),
    ];
    let all = "nobody stranger pending disabled reader manager operator cluster member";
    let known = "reader manager operator cluster member";
    let table = [
        ("GET /v1/identity", all),
        ("GET /v1/hello", "member"),
        ("GET /v1/head", known),
        // The password verifiers are in there.
        ("GET /v1/entries", "manager operator cluster member"),
        ("POST /v1/entries", known),
        ("GET /v1/status", known),
        ("GET /v1/self", "reader manager operator"),
        ("GET /v1/challenge", known),
        ("POST /v1/commands", known),
        ("POST /v1/certificate", "member"),
        ("POST /v1/ca/prove", "member"),
        ("GET /v1/ca/root", "member"),
        ("GET /v1/ca/lists", "member"),
        ("GET /metrics", "operator cluster member"),
    ];
    assert_eq!(table.len(), DOORS.len());
    for (door, open_to) in table {
        let (method, path) = door.split_once(' ').unwrap();
        assert!(DOORS.iter().any(|(m, p, _)| *m == method && *p == path));
        for (name, byte) in callers {
            let connection = world.open(byte).await.unwrap();
            let expected = open_to.split(' ').any(|open| open == name);
            let found = lets_in(&connection, method, path).await;
            assert_eq!(found, expected, "{door} {name}");
        }
    }
    // What is not in the table is not there, for anybody.
    let connection = world.open(Some(MEMBER)).await.unwrap();
    for (method, path) in [
        ("POST", "/v1/reload"),
        ("DELETE", "/v1/entries"),
        ("GET", "/"),
    ] {
        let answer = connection
            .call(method.parse().unwrap(), path, Bytes::new())
            .await;
        let error = answer.unwrap_err().to_string();
        assert!(error.contains("no such door"), "{method} {path}: {error}");
    }
}

async fn closes(connection: &Connection) {
    let deadline = tokio::time::Instant::now() + door::WITHIN;
    while connection.is_open() {
        assert!(tokio::time::Instant::now() < deadline, "it stays open");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

// "trust is read from the ledger at each call, so a removed node's open connections close everywhere"
#[tokio::test(flavor = "multi_thread")]
async fn an_open_connection_closes_when_its_node_or_user_is_out() {
    let world = World::new().await;
    let member = Client::https(world.open(Some(MEMBER)).await.unwrap());
    let operator = Client::https(world.open(Some(OPERATOR)).await.unwrap());
    let bystander = Client::https(world.open(Some(READER)).await.unwrap());
    for client in [&member, &operator, &bystander] {
        client.head().await.unwrap();
    }
    let id = NodeId::new(2).unwrap();
    world.change(Change::NodeRemove { id }).await;
    closes(member.connection().unwrap()).await;
    let uid = Uid::new(2).unwrap();
    world
        .change(Change::UserDisabled {
            uid,
            disabled: true,
        })
        .await;
    closes(operator.connection().unwrap()).await;
    bystander.head().await.unwrap();
    // And not again.
    for byte in [MEMBER, OPERATOR] {
        let again = Client::https(world.open(Some(byte)).await.unwrap());
        let refused = again.head().await.unwrap_err().to_string();
        assert!(refused.contains("does not know you"), "{refused}");
    }
}

// A new key of the same node is the node; the old one is nobody, from the entry on.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_the_old_key_is_nobodys() {
    let world = World::new().await;
    let member = Client::https(world.open(Some(MEMBER)).await.unwrap());
    member.hello().await.unwrap();
    let id = NodeId::new(2).unwrap();
    let state = world.ledger.now();
    let message =
        palisade_ledger::rotate_message(state.cluster_key(), id, &key(STRANGER).public(), &[9; 32]);
    let entry = palisade_ledger::Entry {
        seq: state.head().seq + 1,
        prev: state.head().hash,
        time: palisade_daemon::system::millis().max(state.time()),
        author: palisade_ledger::Author::Node(id),
        change: Change::NodeRotate {
            id,
            key: key(STRANGER).public(),
            seal: [9; 32],
            signature: *key(STRANGER).sign(&message).as_bytes(),
        },
    };
    let entry = palisade_ledger::sign(&entry, &key(MEMBER)).unwrap();
    world.ledger.append(entry).await.unwrap();
    closes(member.connection().unwrap()).await;
    let renewed = Client::https(world.open(Some(STRANGER)).await.unwrap());
    renewed.hello().await.unwrap();
}

// "Before login every door is bounded: handshakes in flight in all and per address, bytes, time."
#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_keeps_nobody_out() {
    let world = World::new().await;
    let port = world.address.rsplit_once(':').unwrap().1.parse().unwrap();
    let _flood = silent(port, "127.0.0.77", 200).await;
    let member = Client::https(world.open(Some(MEMBER)).await.unwrap());
    member.hello().await.unwrap();
}

// One key's connections are bounded, and leave others theirs.
#[tokio::test(flavor = "multi_thread")]
async fn one_key_holds_so_many_connections_and_no_more() {
    let world = World::new().await;
    let mut open = Vec::new();
    for _ in 0..64 {
        let client = Client::https(world.open(Some(READER)).await.unwrap());
        client.head().await.unwrap();
        open.push(client);
    }
    // The next one is closed when its key is known.
    let surplus = world.open(Some(READER)).await.unwrap();
    closes(&surplus).await;
    for client in &open {
        assert!(client.connection().unwrap().is_open());
    }
    let operator = Client::https(world.open(Some(OPERATOR)).await.unwrap());
    operator.head().await.unwrap();
    // A place that is given back is another's.
    drop(open.pop());
    let deadline = tokio::time::Instant::now() + door::WITHIN;
    loop {
        let again = Client::https(world.open(Some(READER)).await.unwrap());
        if again.head().await.is_ok() {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "no place came free");
    }
}

// A user without any right asks for thousands of challenges; the operator's is still good.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_puts_out_another_callers_challenge() {
    let world = World::new().await;
    let operator = Client::https(world.open(Some(OPERATOR)).await.unwrap());
    let reader = Client::https(world.open(Some(READER)).await.unwrap());
    let told = |challenge, node| {
        let challenge = Challenge { challenge, node };
        let cluster = key(CLUSTER).public();
        SignedCommand::sign(
            &Command::RotateNode,
            2,
            &cluster,
            &challenge,
            &key(OPERATOR),
        )
        .unwrap()
    };
    let first = operator.challenge().await.unwrap();
    for _ in 0..200 {
        reader.challenge().await.unwrap();
    }
    // It gets as far as the node's dispatcher, which is not there.
    let order = told(first.challenge, first.node);
    let passed = operator.command(&order).await.unwrap_err().to_string();
    assert!(!passed.contains("challenge is unknown"), "{passed}");
    let again = operator.command(&order).await.unwrap_err().to_string();
    assert!(again.contains("challenge is unknown"), "{again}");
    // His own are limited.
    let first = operator.challenge().await.unwrap();
    for _ in 0..16 {
        operator.challenge().await.unwrap();
    }
    let order = told(first.challenge, first.node);
    let late = operator.command(&order).await.unwrap_err().to_string();
    assert!(late.contains("challenge is unknown"), "{late}");
}
