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
use palisade_ledger::{
    Author, Change, Entry, Hash, Head, Millis, NewNode, NewUser, NodeId, Privileges, Uid, UserName,
    sign, verify,
};
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

/// Two validly signed chains: whoever comes with the other one touches nothing and appends nothing,
/// until a human has put one right.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_validly_signed_chain_is_named_and_left_alone() {
    let scene = Scene::new("root").await;
    // The cluster key has signed two entries behind entry 4, as a human with two offline copies may.
    let mut chain = scene.nodes[0].ledger.entries(0, 5).unwrap();
    let other = entry(
        &Node::with(&chain).ledger.now(),
        cluster().key(),
        setting(66),
    );
    chain.push(other);
    let mut aside = Node::with(&chain);
    let late = store(&scene.etcd, "aside").await;
    let within = std::time::Duration::from_secs(1);
    assert!(!aside.ledger.attach(late, within).await);
    aside
        .hears(|event| matches!(event, LedgerEvent::Forked { seq: 5, .. }))
        .await;
    let next = entry(&aside.ledger.now(), cluster().key(), setting(30));
    let error = aside.ledger.append(next).await.unwrap_err();
    assert!(matches!(error, AppendError::Forked(5)), "{error}");
    assert_eq!(scene.nodes[0].append(101).await.seq, 6);
    let head = one_chain(&scene.nodes, &scene.thief).await;
    // It is started anew as a copy of the others.
    drop(aside);
    let right = Node::with(&scene.nodes[0].ledger.entries(0, 100).unwrap());
    let again = store(&scene.etcd, "aside").await;
    assert!(right.ledger.attach(again, LONG).await);
    assert_eq!(right.append(102).await.seq, head.seq + 1);
    one_chain(&scene.nodes, &scene.thief).await;
}

fn node_key(number: u32) -> SecretKey {
    let seed = 10 + u8::try_from(number).unwrap();
    SecretKey::from_seed(Zeroizing::new([seed; 32])).unwrap()
}

impl Scene {
    /// Nodes 1 and 2 are members, and two entries more stand behind that.
    async fn of_members() -> Self {
        let scene = Self::new("node2").await;
        for number in [1, 2] {
            let node = NewNode {
                id: NodeId::new(number).unwrap(),
                key: node_key(number).public(),
                seal: [u8::try_from(number).unwrap(); 32],
                address: format!("n{number}.example:7433").parse().unwrap(),
                hosts: Vec::new(),
                store: None,
            };
            let ledger = &scene.nodes[0].ledger;
            let added = cluster().append(ledger, Change::NodeAdd { node }).await;
            added.unwrap();
        }
        scene.nodes[0].append(50).await;
        scene.nodes[0].append(51).await;
        for node in &scene.nodes {
            node.reaches(9).await;
        }
        scene
    }

    /// An entry of node 2 behind entry 7 that would have been taken there, and the head that names it.
    fn other_entry(&self) -> (Vec<u8>, Vec<u8>) {
        let aside = Node::with(&self.nodes[0].ledger.entries(0, 8).unwrap());
        let state = aside.ledger.now();
        let id = NodeId::new(2).unwrap();
        let change = Change::NodeSet {
            id,
            address: Some("n2.example:7444".parse().unwrap()),
            hosts: None,
            store: None,
        };
        let entry = Entry {
            seq: 8,
            prev: state.head().hash,
            time: Millis(state.time().0 + 1),
            author: Author::Node(id),
            change,
        };
        let bytes = sign(&entry, &node_key(2)).unwrap();
        drop(verify(&state, &bytes).unwrap());
        let hash = Hash::of(&bytes);
        (bytes, head_value(Head { seq: 8, hash }))
    }

    /// The chain is put back, and the next append is the removal of whoever did it.
    async fn removes_node_2(&self) {
        assert_eq!(one_chain(&self.nodes, &self.thief).await.seq, 9);
        let id = NodeId::new(2).unwrap();
        let remove = Change::NodeRemove { id };
        let ledger = &self.nodes[0].ledger;
        cluster().append(ledger, remove).await.unwrap();
        self.nodes[1].append(101).await;
        assert_eq!(one_chain(&self.nodes, &self.thief).await.seq, 11);
    }
}

const BY_NODE_2: &str = "entry 8 was rewritten with one signed by node 2";

/// A compromised node's own valid entry in the place of a committed one makes no second chain.
#[tokio::test(flavor = "multi_thread")]
async fn a_members_valid_entry_over_a_committed_one_is_put_back_and_it_is_removed() {
    let mut scene = Scene::of_members().await;
    let (other, head) = scene.other_entry();
    scene
        .write(vec![(Key::Entry(8), Some(other)), (Key::Head, Some(head))])
        .await;
    for node in &mut scene.nodes {
        node.hears(says(BY_NODE_2)).await;
        node.hears(|event| *event == LedgerEvent::Healed).await;
    }
    scene.removes_node_2().await;
}

/// Nor does it where the key was deleted first, while all nodes were down, so that it looks new.
#[tokio::test(flavor = "multi_thread")]
async fn a_members_valid_entry_in_the_place_of_a_deleted_one_is_put_back_by_nodes_that_start() {
    let mut scene = Scene::of_members().await;
    let (other, head) = scene.other_entry();
    let nodes = std::mem::take(&mut scene.nodes);
    for node in &nodes {
        node.ledger.detach().await;
    }
    scene
        .write(vec![(Key::Entry(8), None), (Key::Entry(9), None)])
        .await;
    scene
        .write(vec![(Key::Entry(8), Some(other)), (Key::Head, Some(head))])
        .await;
    for (number, node) in nodes.into_iter().enumerate() {
        let mut node = node.restart().await;
        let store = store(&scene.etcd, &format!("node{number}")).await;
        assert!(node.ledger.attach(store, LONG).await);
        if number == 0 {
            node.hears(says(BY_NODE_2)).await;
        }
        scene.nodes.push(node);
    }
    scene.removes_node_2().await;
}
