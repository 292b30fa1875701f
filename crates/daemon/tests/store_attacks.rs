//! "Whoever can write to etcd changes nothing: an entry written with a stolen node or root etcd identity, a
//! deleted tail, a rewritten entry, a swapped head, a replay of an old snapshot: no node applies it, an
//! alert names it, and the cluster goes on (one test each, against real etcd)."
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod store_support;

use palisade_daemon::ledger::{AppendError, LedgerEvent};
use palisade_daemon::store::etcd::EtcdStore;
use palisade_daemon::store::shared::{Key, Outcome, Transaction, head_value};
use palisade_keys::{SecretKey, Zeroizing};
use palisade_ledger::{Change, Hash, Head, NewUser, Privileges, Uid, UserName};
use palisade_testkit::etcd::Etcd;
use store_support::{LONG, Node, cluster, entry, nodes, one_chain, setting, store};

type Writes = Vec<(Key, Option<Vec<u8>>)>;

/// Three nodes with a chain of six entries over an etcd, and somebody who may write anything there.
struct Scene {
    nodes: Vec<Node>,
    thief: EtcdStore,
    etcd: Etcd,
}

impl Scene {
    async fn new(identity: &str) -> Self {
        let etcd = Etcd::builder().tls().start().unwrap();
        let nodes = nodes(&etcd, 3).await;
        for day in 1..=5 {
            nodes[usize::from(day) % 3].append(day).await;
        }
        for node in &nodes {
            node.reaches(5).await;
        }
        let thief = store(&etcd, identity).await;
        Self { nodes, thief, etcd }
    }

    fn own(&self, seq: u64) -> Vec<u8> {
        self.nodes[0].ledger.entries(seq, 1).unwrap().remove(0)
    }

    fn head_at(&self, seq: u64) -> Vec<u8> {
        let hash = Hash::of(&self.own(seq));
        head_value(Head { seq, hash })
    }

    async fn write(&self, writes: Writes) {
        let transaction = Transaction {
            guards: Vec::new(),
            writes,
        };
        let written = self.thief.transact(transaction).await.unwrap();
        assert!(matches!(written, Outcome::Committed(_)));
    }

    /// No node applies it, each names it, the chain is healed, and the next appends succeed on two nodes.
    async fn withstands(mut self, named: impl Fn(&LedgerEvent) -> bool) {
        let before = self.nodes[0].ledger.now();
        for node in &mut self.nodes {
            node.hears(&named).await;
        }
        for node in &mut self.nodes {
            node.hears(|event| *event == LedgerEvent::Healed).await;
            assert_eq!(node.ledger.now(), before, "nothing of it was applied");
        }
        one_chain(&self.nodes, &self.thief).await;
        self.nodes[0].append(101).await;
        let head = self.nodes[1].append(102).await;
        assert_eq!(head.seq, before.head().seq + 2);
        assert_eq!(one_chain(&self.nodes, &self.thief).await, head);
    }
}

fn says(words: &str) -> impl Fn(&LedgerEvent) -> bool + '_ {
    move |event| matches!(event, LedgerEvent::Tampered { what } if what.contains(words))
}

fn stranger() -> SecretKey {
    SecretKey::from_seed(Zeroizing::new([66; 32])).unwrap()
}

/// A whole entry with its head, in the very form of an append; only the signature is not the author's.
async fn a_forged_entry_from(identity: &str) {
    let scene = Scene::new(identity).await;
    let state = scene.nodes[0].ledger.now();
    let admin = Change::UserAdd {
        user: NewUser {
            uid: Uid::new(66).unwrap(),
            name: UserName::new("mallory").unwrap(),
            disabled: false,
            superuser: true,
            default_privileges: Privileges::NONE,
            public_key: Some(stranger().public()),
            password: None,
        },
    };
    let forged = entry(&state, &stranger(), admin);
    let hash = Hash::of(&forged);
    scene
        .write(vec![
            (Key::Entry(6), Some(forged)),
            (Key::Head, Some(head_value(Head { seq: 6, hash }))),
        ])
        .await;
    scene
        .withstands(says(
            "entry 6 does not verify: its signature is not that of",
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_written_with_a_stolen_nodes_etcd_identity_is_not_applied() {
    a_forged_entry_from("node2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_written_with_the_root_etcd_identity_is_not_applied() {
    a_forged_entry_from("root").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_tail_is_put_back() {
    let scene = Scene::new("root").await;
    let writes = vec![
        (Key::Entry(4), None),
        (Key::Entry(5), None),
        (Key::Head, Some(scene.head_at(3))),
    ];
    scene.write(writes).await;
    scene
        .withstands(|event| {
            matches!(event, LedgerEvent::RolledBack { seen, shown: Some(shown) }
                if seen.seq == 5 && shown.seq == 3)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewritten_entry_is_put_back() {
    let scene = Scene::new("root").await;
    let other = scene.own(4);
    scene.write(vec![(Key::Entry(3), Some(other))]).await;
    scene.withstands(says("entry 3 was rewritten")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_head_is_put_back() {
    let scene = Scene::new("root").await;
    let other = scene.head_at(2);
    scene.write(vec![(Key::Head, Some(other))]).await;
    scene.withstands(says("the head names entry 2")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_head_is_put_back() {
    let scene = Scene::new("root").await;
    scene.write(vec![(Key::Head, None)]).await;
    scene.withstands(says("the head was removed")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_below_the_prefix_is_removed() {
    let scene = Scene::new("root").await;
    let garbage = || Some(b"garbage".to_vec());
    scene
        .write(vec![
            (Key::Entry(9), garbage()),
            (Key::Other(b"ledger/7".to_vec()), garbage()),
            (Key::Head, garbage()),
        ])
        .await;
    scene.withstands(says("the head is no head")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_removed_is_put_back() {
    let scene = Scene::new("root").await;
    let mut writes: Writes = (0..=5).map(|seq| (Key::Entry(seq), None)).collect();
    writes.push((Key::Head, None));
    scene.write(writes).await;
    scene
        .withstands(|event| matches!(event, LedgerEvent::RolledBack { shown: None, .. }))
        .await;
}

/// An old snapshot, written over all keys while the nodes watch.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_an_old_snapshot_is_undone() {
    let scene = Scene::new("root").await;
    let old = scene.thief.list().await.unwrap().listing.cells;
    scene.nodes[0].append(50).await;
    scene.nodes[1].append(51).await;
    for node in &scene.nodes {
        node.reaches(7).await;
    }
    let mut writes: Writes = vec![(Key::Entry(6), None), (Key::Entry(7), None)];
    let old = old.into_iter().filter(|cell| cell.key != Key::Touch);
    writes.extend(old.map(|cell| (cell.key, Some(cell.value))));
    scene.write(writes).await;
    scene
        .withstands(|event| {
            matches!(event, LedgerEvent::RolledBack { seen, shown: Some(shown) }
                if seen.seq == 7 && shown.seq == 5)
        })
        .await;
}

fn user(disabled: bool) -> Change {
    let uid = Uid::new(7).unwrap();
    if disabled {
        return Change::UserDisabled { uid, disabled };
    }
    Change::UserAdd {
        user: NewUser {
            uid,
            name: UserName::new("bob").unwrap(),
            disabled,
            superuser: false,
            default_privileges: Privileges::SELECT,
            public_key: None,
            password: None,
        },
    }
}

/// "A longer valid chain held by any node heals a restored store. So a restored backup never
/// un-revokes."
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_of_etcd_is_healed_and_never_un_revokes() {
    let mut etcd = Etcd::builder().members(3).tls().start().unwrap();
    let mut nodes = nodes(&etcd, 2).await;
    let author = cluster();
    author.append(&nodes[0].ledger, user(false)).await.unwrap();
    let backup = etcd.directory().join("backup");
    etcd.snapshot(&backup).unwrap();
    author.append(&nodes[0].ledger, user(true)).await.unwrap();
    let disabled = nodes[0].append(40).await;
    for node in &nodes {
        node.reaches(disabled.seq).await;
    }
    tokio::task::block_in_place(|| etcd.restore(&backup).unwrap());
    let bob = Uid::new(7).unwrap();
    nodes[0]
        .hears(|event| matches!(event, LedgerEvent::RolledBack { .. }))
        .await;
    let witness = store(&etcd, "root").await;
    one_chain(&nodes, &witness).await;
    // A node that comes new reads the healed store: bob stays out.
    let late = Node::with(&nodes[0].ledger.entries(0, 1).unwrap());
    assert!(late.ledger.attach(store(&etcd, "node3").await, LONG).await);
    late.reaches(disabled.seq).await;
    nodes.push(late);
    nodes[0].append(101).await;
    nodes[1].append(102).await;
    one_chain(&nodes, &witness).await;
    for node in &nodes {
        assert!(node.ledger.now().user(bob).unwrap().disabled);
    }
}

/// The longer chain lies on a node that was down when the backup was put back: it heals when it starts.
#[tokio::test(flavor = "multi_thread")]
async fn a_tail_taken_away_while_its_nodes_were_down_is_put_back_when_they_start() {
    let scene = Scene::new("root").await;
    let Scene {
        mut nodes,
        thief,
        etcd,
    } = scene;
    let mut down = Vec::new();
    while let Some(node) = nodes.pop() {
        node.ledger.detach().await;
        down.push(node);
    }
    let own = down[0].ledger.entries(3, 1).unwrap().remove(0);
    let head = Head {
        seq: 3,
        hash: Hash::of(&own),
    };
    let writes = vec![
        (Key::Entry(4), None),
        (Key::Entry(5), None),
        (Key::Head, Some(head_value(head))),
    ];
    let transaction = Transaction {
        guards: Vec::new(),
        writes,
    };
    thief.transact(transaction).await.unwrap();
    for (number, node) in down.into_iter().enumerate() {
        let mut node = node.restart().await;
        let store = store(&etcd, &format!("node{number}")).await;
        assert!(node.ledger.attach(store, LONG).await);
        if number == 0 {
            node.hears(|event| matches!(event, LedgerEvent::RolledBack { .. }))
                .await;
        }
        nodes.push(node);
    }
    assert_eq!(one_chain(&nodes, &thief).await.seq, 5);
    nodes[0].append(101).await;
    nodes[1].append(102).await;
    one_chain(&nodes, &thief).await;
}

/// A node that began another ledger of the same cluster key: it touches nothing, and nobody else minds.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_genesis_touches_nothing() {
    let scene = Scene::new("root").await;
    let stray = cluster().genesis("other", "main").unwrap();
    let mut stray = Node::with(&[stray]);
    let store = store_support::store(&scene.etcd, "stray").await;
    let attached = stray
        .ledger
        .attach(store, std::time::Duration::from_secs(2));
    assert!(!attached.await);
    stray
        .hears(|event| matches!(event, LedgerEvent::Forked { seq: 0, .. }))
        .await;
    assert_eq!(scene.nodes[0].append(101).await.seq, 6);
    one_chain(&scene.nodes, &scene.thief).await;
    assert_eq!(stray.head().seq, 0);
}

/// Two validly signed chains: nothing is touched, mutations are refused, until a human has put one right.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_validly_signed_chain_is_named_and_left_alone() {
    let mut scene = Scene::new("root").await;
    // The cluster key has signed two entries behind entry 4, as a human with two offline copies may.
    let chain = scene.nodes[0].ledger.entries(0, 5).unwrap();
    let aside = Node::with(&chain);
    let other = entry(&aside.ledger.now(), cluster().key(), setting(66));
    let hash = Hash::of(&other);
    let right = vec![
        (Key::Entry(5), Some(scene.own(5))),
        (Key::Head, Some(scene.head_at(5))),
    ];
    scene
        .write(vec![
            (Key::Entry(5), Some(other)),
            (Key::Head, Some(head_value(Head { seq: 5, hash }))),
        ])
        .await;
    for node in &mut scene.nodes {
        let forked = |event: &LedgerEvent| matches!(event, LedgerEvent::Forked { seq: 5, .. });
        node.hears(forked).await;
        let state = node.ledger.now();
        let next = entry(&state, cluster().key(), setting(30));
        let error = node.ledger.append(next).await.unwrap_err();
        assert!(matches!(error, AppendError::Forked(5)), "{error}");
    }
    let cells = scene.thief.list().await.unwrap().listing.cells;
    let shown = cells.iter().find(|cell| cell.key == Key::Entry(5)).unwrap();
    assert_eq!(Hash::of(&shown.value), hash, "it was left alone");
    scene.write(right).await;
    for node in &mut scene.nodes {
        node.hears(|event| *event == LedgerEvent::Healed).await;
    }
    scene.nodes[2].append(77).await;
    one_chain(&scene.nodes, &scene.thief).await;
}
