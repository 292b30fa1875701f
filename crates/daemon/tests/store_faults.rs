//! A store in etcd that fails: members that die, freeze and come back, no quorum, history that is gone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod store_support;

use std::time::Duration;

use palisade_daemon::ledger::LedgerEvent;
use palisade_keys::{SecretKey, Zeroizing};
use palisade_ledger::{Change, NewNode, NodeId};
use palisade_testkit::etcd::Etcd;
use store_support::{LONG, Node, cluster, entry, is_no_quorum, nodes, one_chain, setting, store};

/// Appends until it is taken: while a leader is elected, authors are told that there is no quorum, or
/// that the outcome is not known.
async fn insist(node: &Node, day: u16) {
    let taken = async {
        while let Err(error) = cluster().append(&node.ledger, setting(day)).await {
            assert!(error.to_string().contains("no quorum"), "{error}");
        }
    };
    tokio::time::timeout(LONG * 2, taken).await.expect("never");
}

/// "No quorum: refusing mutation, while logins go on from the last verified state."
#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_entries_are_refused_and_the_state_stands() {
    let mut etcd = Etcd::builder().members(3).tls().start().unwrap();
    let mut nodes = nodes(&etcd, 2).await;
    nodes[0].append(30).await;
    nodes[1].reaches(1).await;
    tokio::task::block_in_place(|| {
        etcd.member(1).kill();
        etcd.member(2).kill();
    });
    nodes[0].quorum(false).await;
    nodes[0]
        .hears(|event| matches!(event, LedgerEvent::QuorumLost { .. }))
        .await;
    let before = nodes[0].ledger.now();
    let bytes = entry(&before, cluster().key(), setting(31));
    let error = nodes[0].ledger.append(bytes).await.unwrap_err();
    assert!(is_no_quorum(&error), "{error}");
    assert_eq!(nodes[0].ledger.now(), before, "the last verified state");
    // A node that starts now goes on from its own copy.
    let node = nodes.remove(1).restart().await;
    let store2 = store(&etcd, "node2").await;
    assert!(!node.ledger.attach(store2, Duration::from_secs(1)).await);
    assert_eq!(node.ledger.now(), before);
    nodes.push(node);
    tokio::task::block_in_place(|| {
        etcd.member(1).start().unwrap();
        etcd.member(2).start().unwrap();
    });
    nodes[0]
        .hears(|event| *event == LedgerEvent::QuorumBack)
        .await;
    for node in &nodes {
        node.quorum(true).await;
    }
    insist(&nodes[0], 40).await;
    insist(&nodes[1], 41).await;
    one_chain(&nodes, &store(&etcd, "root").await).await;
}

/// The leader is killed, then a member frozen that a node is connected to, while both nodes append.
#[tokio::test(flavor = "multi_thread")]
async fn members_that_die_or_freeze_are_passed_over() {
    let mut etcd = Etcd::builder().members(3).tls().start().unwrap();
    let nodes = nodes(&etcd, 2).await;
    for round in 0..2 {
        tokio::task::block_in_place(|| {
            let leader = etcd.leader().unwrap();
            if round == 0 {
                etcd.member(leader).kill();
            } else {
                etcd.member(leader).freeze();
            }
            leader
        });
        for day in 1..=5 {
            insist(&nodes[0], day).await;
            insist(&nodes[1], day + 5).await;
        }
        tokio::task::block_in_place(|| {
            for number in 0..3 {
                etcd.member(number).thaw();
                etcd.member(number).start().unwrap();
            }
            etcd.await_ready().unwrap();
        });
    }
    one_chain(&nodes, &store(&etcd, "root").await).await;
}

/// A node that was away while the store's history was compacted lists, compares, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_history_is_listed_again() {
    let etcd = Etcd::builder().tls().start().unwrap();
    let mut nodes = nodes(&etcd, 2).await;
    let node = nodes.remove(1);
    node.ledger.detach().await;
    for day in 1..=20 {
        nodes[0].append(day).await;
    }
    let witness = store(&etcd, "root").await;
    let revision = witness.list().await.unwrap().listing.revision;
    etcd.etcdctl(&["compact", &revision.to_string()]).unwrap();
    nodes[0].append(21).await;
    let node = node.restart().await;
    assert!(node.ledger.attach(store(&etcd, "node2").await, LONG).await);
    node.reaches(21).await;
    node.append(22).await;
    nodes.push(node);
    one_chain(&nodes, &witness).await;
}

/// A node of several that starts while its etcd is down: it must not append to its own copy alone, even
/// when only its configuration, and not the ledger, says that the ledger is shared.
#[tokio::test(flavor = "multi_thread")]
async fn a_shared_ledger_is_not_appended_to_alone_after_a_restart() {
    let etcd = Etcd::builder().tls().start().unwrap();
    let mut nodes = nodes(&etcd, 1).await;
    for number in 1..=2_u8 {
        let change = Change::NodeAdd {
            node: NewNode {
                id: NodeId::new(u32::from(number)).unwrap(),
                key: SecretKey::from_seed(Zeroizing::new([number + 10; 32]))
                    .unwrap()
                    .public(),
                seal: [number; 32],
                address: format!("n{number}.example:7433").parse().unwrap(),
                hosts: Vec::new(),
                store: None,
            },
        };
        cluster().append(&nodes[0].ledger, change).await.unwrap();
    }
    let node = nodes.remove(0).restart().await;
    let bytes = entry(&node.ledger.now(), cluster().key(), setting(31));
    let error = node.ledger.append(bytes).await.unwrap_err();
    assert!(is_no_quorum(&error), "{error}");
    assert!(node.ledger.attach(store(&etcd, "node1").await, LONG).await);
    node.append(32).await;
    // Left on purpose, it is this node's own again.
    node.ledger.detach().await;
    node.append(33).await;
}

/// From an append on one node to the state on another: the watch carries it, nothing polls.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_published_on_the_other_node_at_once() {
    let etcd = Etcd::builder().tls().start().unwrap();
    let nodes = nodes(&etcd, 2).await;
    // `cargo xtask bench nodes` measures how long it takes; here, that it comes at all.
    for day in 1..=100 {
        let head = nodes[0].append(day).await;
        nodes[1].reaches(head.seq).await;
    }
}
