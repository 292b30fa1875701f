//! One suite for a ledger that is kept on its node alone and for one that is kept in real etcd: "the same
//! conformance suite runs against the embedded store and real etcd".
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod store_support;

use palisade_daemon::ledger::AppendError;
use palisade_keys::{SecretKey, Zeroizing};
use palisade_ledger::{Change, Refusal};
use palisade_testkit::etcd::Etcd;
use store_support::{LONG, Node, cluster, entry, genesis, setting, store};

/// What holds for a ledger wherever it is kept.
async fn conforms(etcd: Option<&Etcd>) {
    let node = Node::with(&[genesis()]);
    if let Some(etcd) = etcd {
        assert!(node.ledger.attach(store(etcd, "node1").await, LONG).await);
    }
    an_entry_is_applied_when_it_is_acknowledged(&node).await;
    refused_entries_leave_no_trace(&node).await;
    of_two_entries_behind_one_head_one_is_stale(&node).await;
    many_at_once_are_all_applied_or_told(&node).await;
    large_entries_are_taken(&node).await;
    let (before, head) = (node.ledger.now(), node.head());
    let node = node.restart().await;
    assert_eq!(node.ledger.now(), before, "a restart loses nothing");
    if let Some(etcd) = etcd {
        assert!(node.ledger.attach(store(etcd, "node1").await, LONG).await);
    }
    assert_eq!(node.head(), head);
    node.append(1).await;
    assert_eq!(node.head().seq, head.seq + 1);
}

async fn an_entry_is_applied_when_it_is_acknowledged(node: &Node) {
    let before = node.head();
    let head = node.append(30).await;
    assert_eq!(node.head(), head);
    assert_eq!(head.seq, before.seq + 1);
    let stored = node.ledger.entries(head.seq, 10).unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!(palisade_ledger::Hash::of(&stored[0]), head.hash);
}

async fn refused_entries_leave_no_trace(node: &Node) {
    let before = node.ledger.now();
    let stranger = SecretKey::from_seed(Zeroizing::new([9; 32])).unwrap();
    let forged = entry(&before, &stranger, setting(31));
    for bytes in [forged, b"garbage".to_vec(), Vec::new()] {
        let error = node.ledger.append(bytes).await.unwrap_err();
        assert!(matches!(error, AppendError::Refused(_)), "{error}");
    }
    assert_eq!(node.ledger.now(), before);
    let after = node.ledger.entries(before.head().seq + 1, 10).unwrap();
    assert!(after.is_empty());
}

async fn of_two_entries_behind_one_head_one_is_stale(node: &Node) {
    let state = node.ledger.now();
    let one = entry(&state, cluster().key(), setting(32));
    let other = entry(&state, cluster().key(), setting(33));
    let (one, other) = tokio::join!(node.ledger.append(one), node.ledger.append(other));
    let refused = match (one, other) {
        (Ok(_), Err(refused)) | (Err(refused), Ok(_)) => refused,
        both => panic!("{both:?}"),
    };
    assert!(
        matches!(
            refused,
            AppendError::Refused(Refusal::NotNext { .. } | Refusal::OtherChain { .. })
        ),
        "{refused}"
    );
}

async fn many_at_once_are_all_applied_or_told(node: &Node) {
    let before = node.head().seq;
    let mut chain = Vec::new();
    let mut state = node.ledger.now().as_ref().clone();
    for day in 1..=350 {
        let bytes = entry(&state, cluster().key(), setting(day));
        let verified = palisade_ledger::verify(&state, &bytes).unwrap();
        state.apply(&verified).unwrap();
        chain.push(bytes);
    }
    // In the order of the chain, without waiting for one another.
    let sent: Vec<_> = chain
        .into_iter()
        .map(|bytes| {
            let ledger = node.ledger.clone();
            async move { ledger.append(bytes).await }
        })
        .collect();
    let mut tasks = tokio::task::JoinSet::new();
    for one in sent {
        tasks.spawn(one);
        tokio::task::yield_now().await;
    }
    let mut applied = 0;
    while let Some(done) = tasks.join_next().await {
        applied += u64::from(done.unwrap().is_ok());
    }
    assert!(applied > 0);
    assert_eq!(node.head().seq, before + applied);
}

async fn large_entries_are_taken(node: &Node) {
    // A megabyte and a half in all: more than one transaction of etcd.
    let comment = "# ".to_owned() + &"x".repeat(4000) + "\n";
    for number in 0..24 {
        let text = comment.repeat(15) + &format!("# {number}\nhostssl all all all auto\n");
        let change = Change::HbaSet { text };
        cluster().append(&node.ledger, change).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_store_conforms() {
    conforms(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_conforms() {
    let etcd = Etcd::builder().tls().start().unwrap();
    conforms(Some(&etcd)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_of_three_members_conforms() {
    let etcd = Etcd::builder().members(3).tls().start().unwrap();
    conforms(Some(&etcd)).await;
}
