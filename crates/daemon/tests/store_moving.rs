//! "Moving from embedded to etcd is one command with no downtime for logged-in sessions; so is moving
//! between two etcd clusters": the ledger's part of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod store_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use palisade_daemon::ledger::{AppendError, LedgerEvent, MoveError};
use palisade_daemon::store::etcd::{EtcdError, EtcdStore};
use palisade_ledger::{Change, Refusal, StoreConfig};
use palisade_testkit::etcd::{Etcd, Leaf};
use store_support::{
    LONG, Node, cluster, entry, follow, genesis, key, nodes, one_chain, options, setting, store,
};

fn move_entry(node: &Node, store: &StoreConfig) -> Vec<u8> {
    let change = Change::StoreSet {
        store: store.clone(),
    };
    entry(&node.ledger.now(), cluster().key(), change)
}

fn at(etcd: &Etcd) -> StoreConfig {
    StoreConfig::Endpoints(etcd.endpoints())
}

/// Moves as a daemon and a command line do: a stale entry is signed again.
async fn move_to(node: &Node, config: &StoreConfig, target: &EtcdStore) {
    node.ledger.seed(target).await.unwrap();
    takes_nothing_yet(node, target).await;
    for _ in 0..100 {
        match node.ledger.append(move_entry(node, config)).await {
            Ok(_) => {
                assert!(node.ledger.attach(target.clone(), LONG).await);
                return;
            }
            Err(AppendError::Refused(Refusal::NotNext { .. } | Refusal::OtherChain { .. })) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("always stale");
}

/// Who appends straight to a store to which the ledger is just moving would fork it.
async fn takes_nothing_yet(node: &Node, target: &EtcdStore) {
    let error = target.ledger(&key()).await.unwrap_err();
    assert!(matches!(error, EtcdError::NotHere), "{error}");
    let bytes = entry(&node.ledger.now(), cluster().key(), setting(299));
    let error = target.append_signed(&key(), &bytes).await.unwrap_err();
    assert!(matches!(error, EtcdError::NotHere), "{error}");
}

/// Somebody who appends all the time; gives what was acknowledged.
fn busy(node: &Node, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<Vec<Vec<u8>>> {
    let ledger = node.ledger.clone();
    tokio::spawn(async move {
        let (mut acknowledged, mut day) = (Vec::new(), 0);
        while !stop.load(Ordering::Relaxed) {
            day = day % 300 + 1;
            let bytes = entry(&ledger.now(), cluster().key(), setting(day));
            if ledger.append(bytes.clone()).await.is_ok() {
                acknowledged.push(bytes);
            }
            // A pause in which the move can come.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        acknowledged
    })
}

/// A move is no attack: nobody was told of one.
fn no_alarm(node: &mut Node) {
    while let Ok(event) = node.events.try_recv() {
        let alarm = matches!(
            event,
            LedgerEvent::Tampered { .. } | LedgerEvent::RolledBack { .. }
        );
        assert!(!alarm, "{event}");
    }
}

fn holds(node: &Node, acknowledged: &[Vec<u8>]) {
    let chain = node.ledger.entries(0, 100_000).unwrap();
    let missing = acknowledged.iter().filter(|one| !chain.contains(one));
    assert_eq!(missing.count(), 0, "an acknowledged entry was lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_embedded_store_to_etcd_while_entries_come() {
    let etcd = Etcd::builder().tls().start().unwrap();
    let mut node = Node::with(&[genesis()]);
    for day in 1..=250 {
        node.append(day).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let busy = busy(&node, stop.clone());
    let target = store(&etcd, "node1").await;
    move_to(&node, &at(&etcd), &target).await;
    let moved = node.head();
    node.append(1).await;
    stop.store(true, Ordering::Relaxed);
    let acknowledged = busy.await.unwrap();
    assert!(!acknowledged.is_empty());
    holds(&node, &acknowledged);
    assert!(node.head().seq > moved.seq);
    no_alarm(&mut node);
    one_chain(&[node], &target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_two_etcds_while_entries_come_from_two_nodes() {
    let (first, second) = (
        Etcd::builder().tls().start().unwrap(),
        Etcd::builder().tls().start().unwrap(),
    );
    let mut nodes = nodes(&first, 2).await;
    // The chain says where it is kept, as it does in life; both nodes follow what it says.
    let old = store(&first, "node1").await;
    // It lies there already: nothing of it is touched.
    nodes[0].ledger.seed(&old).await.unwrap();
    one_chain(&nodes, &old).await;
    let entry = move_entry(&nodes[0], &at(&first));
    nodes[0].ledger.append(entry).await.unwrap();
    assert!(nodes[0].ledger.attach(old.clone(), LONG).await);
    let mut followers = Vec::new();
    for node in &nodes {
        let known = vec![
            (at(&first), store(&first, "node").await),
            (at(&second), store(&second, "node").await),
        ];
        followers.push(tokio::spawn(follow(node.ledger.clone(), known)));
    }
    for node in &nodes {
        node.quorum(true).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = nodes.iter().map(|node| busy(node, stop.clone())).collect();
    tokio::time::timeout(LONG, async {
        while nodes[1].head().seq < 30 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    let target = store(&second, "node1").await;
    move_to(&nodes[0], &at(&second), &target).await;
    let moved = nodes[0].head().seq;
    // Both go on over there.
    for node in &nodes {
        node.reaches(moved + 20).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for busy in busy {
        acknowledged.extend(busy.await.unwrap());
    }
    one_chain(&nodes, &target).await;
    for node in &mut nodes {
        holds(node, &acknowledged);
    }
    for follower in followers {
        follower.abort();
    }
    // The old store ends with the entry that left it.
    let left = old.ledger(&key()).await.unwrap();
    assert_eq!(left.state.store(), &at(&second));
    assert_eq!(left.state.store_entry(), left.state.head().seq);
}

/// The ledger comes back to an etcd that it left: as long as it is on its way, nobody appends there behind
/// the entry by which it left.
#[tokio::test(flavor = "multi_thread")]
async fn back_to_an_etcd_that_it_left() {
    let (first, second) = (
        Etcd::builder().tls().start().unwrap(),
        Etcd::builder().tls().start().unwrap(),
    );
    let mut node = Node::with(&[genesis()]);
    node.append(1).await;
    let (one, other) = (store(&first, "node1").await, store(&second, "node1").await);
    move_to(&node, &at(&first), &one).await;
    move_to(&node, &at(&second), &other).await;
    let left = one.ledger(&key()).await.unwrap();
    assert_eq!(left.state.store(), &at(&second));
    node.append(2).await;
    move_to(&node, &at(&first), &one).await;
    node.append(3).await;
    no_alarm(&mut node);
    one_chain(&[node], &one).await;
}

/// A move that was given up half-way, and a later one.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_was_given_up_is_in_nobodys_way() {
    let etcd = Etcd::builder().tls().start().unwrap();
    let mut node = Node::with(&[genesis()]);
    node.append(1).await;
    let target = store(&etcd, "node1").await;
    node.ledger.seed(&target).await.unwrap();
    for day in 2..=150 {
        node.append(day).await;
    }
    takes_nothing_yet(&node, &target).await;
    move_to(&node, &at(&etcd), &target).await;
    node.append(1).await;
    no_alarm(&mut node);
    one_chain(&[node], &target).await;
}

/// A member joins, gets its vote or leaves, and a node reaches the same etcd by other endpoints. Who
/// appends in that moment is told what became of the entry.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_on_its_way_survives_other_endpoints() {
    let etcd = Etcd::builder().members(3).tls().start().unwrap();
    let nodes = nodes(&etcd, 1).await;
    let node = &nodes[0];
    let stop = Arc::new(AtomicBool::new(false));
    let appending = {
        let (ledger, stop) = (node.ledger.clone(), stop.clone());
        tokio::spawn(async move {
            let mut appended = 0_u16;
            while !stop.load(Ordering::Relaxed) {
                appended += 1;
                let bytes = entry(&ledger.now(), cluster().key(), setting(appended % 300 + 1));
                ledger
                    .append(bytes)
                    .await
                    .map_err(|error| (appended, error))?;
            }
            Ok::<_, (u16, AppendError)>(appended)
        })
    };
    for members in (1..=3).cycle().take(60) {
        let some = etcd.endpoints().split_off(3 - members);
        let own = etcd.authority().unwrap().issue(&Leaf::client("node1"));
        let mut options = options(&etcd, Some(&own.unwrap()));
        options.endpoints = some;
        let other = EtcdStore::new(&options, &key()).await.unwrap();
        assert!(node.ledger.attach(other, LONG).await);
    }
    stop.store(true, Ordering::Relaxed);
    let appended = appending.await.unwrap().unwrap();
    assert_eq!(node.head().seq, u64::from(appended));
    one_chain(&nodes, &store(&etcd, "root").await).await;
}

/// A crash behind the entry that moves the ledger: the target lacks it. The next start takes it up.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_the_middle_of_a_move_is_taken_up_again() {
    let (first, second) = (
        Etcd::builder().tls().start().unwrap(),
        Etcd::builder().tls().start().unwrap(),
    );
    let mut nodes = nodes(&first, 2).await;
    for day in 1..=10 {
        nodes[0].append(day).await;
    }
    // The entry is appended to the old store, and the mover dies before it pushes anything.
    let entry = move_entry(&nodes[0], &at(&second));
    let head = nodes[0].ledger.append(entry).await.unwrap();
    nodes[1].reaches(head.seq).await;
    // Nobody appends to the old store any more.
    let refused = cluster().append(&nodes[1].ledger, setting(77)).await;
    assert!(refused.unwrap_err().to_string().contains("no quorum"));
    let mut again = Vec::new();
    for node in nodes.drain(..) {
        again.push(node.restart().await);
    }
    let mut nodes = again;
    for node in &mut nodes {
        let target = store(&second, "node").await;
        assert!(node.ledger.attach(target, LONG).await);
        no_alarm(node);
    }
    nodes[0].append(20).await;
    nodes[1].append(21).await;
    one_chain(&nodes, &store(&second, "root").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_holds_another_ledger_is_refused() {
    let etcd = Etcd::builder().tls().start().unwrap();
    let nodes = nodes(&etcd, 1).await;
    nodes[0].append(1).await;
    let other = Node::with(&nodes[0].ledger.entries(0, 1).unwrap());
    other.append(2).await;
    let target = store(&etcd, "other").await;
    let error = other.ledger.seed(&target).await.unwrap_err();
    assert!(matches!(error, MoveError::Differs(_)), "{error}");
    other.append(3).await;
}

/// "Reading a chain and appending from outside of a daemon": a command line with `--store-endpoints`.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_line_reads_and_appends_without_a_daemon() {
    let etcd = Etcd::builder().members(3).tls().start().unwrap();
    let nodes = nodes(&etcd, 1).await;
    let tool = store(&etcd, "tool").await;
    let ledger = tool.ledger(&key()).await.unwrap();
    let bytes = entry(&ledger.state, cluster().key(), setting(30));
    let head = tool.append_signed(&key(), &bytes).await.unwrap();
    nodes[0].reaches(head.seq).await;
    assert_eq!(nodes[0].head(), head);
    // The same entry again: it is there. Another one behind the same head: sign again.
    assert_eq!(tool.append_signed(&key(), &bytes).await.unwrap(), head);
    let stale = entry(&ledger.state, cluster().key(), setting(31));
    let error = tool.append_signed(&key(), &stale).await.unwrap_err();
    assert!(error.to_string().contains("sign again"), "{error}");
    assert_eq!(tool.entries(1, 10).await.unwrap(), [bytes]);
}
