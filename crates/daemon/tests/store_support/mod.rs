//! Nodes of one cluster, without the rest of a daemon: a local store and a ledger each, over one etcd.
#![allow(dead_code, reason = "each test file takes what it needs")]

use std::time::Duration;

use palisade_daemon::author::ClusterAuthor;
use palisade_daemon::ledger::{AppendError, Ledger, LedgerEvent};
use palisade_daemon::store::Store;
use palisade_daemon::store::etcd::{EtcdOptions, EtcdStore};
use palisade_daemon::store::shared::{Key, parse_head};
use palisade_keys::{PublicKey, SecretKey, Zeroizing};
use palisade_ledger::{Author, Change, Entry, Head, Millis, Setting, State, StoreConfig, sign};
use palisade_testkit::etcd::{Etcd, Leaf, Pair};
use tokio::sync::broadcast;

/// What no step of a test takes.
pub(crate) const LONG: Duration = Duration::from_mins(1);

pub(crate) fn cluster() -> ClusterAuthor {
    ClusterAuthor::new(SecretKey::from_seed(Zeroizing::new([1; 32])).unwrap())
}

pub(crate) fn key() -> PublicKey {
    cluster().key().public()
}

pub(crate) fn options(etcd: &Etcd, own: Option<&Pair>) -> EtcdOptions {
    EtcdOptions {
        endpoints: etcd.endpoints(),
        ca_file: etcd.ca_file(),
        cert_file: own.map(|own| own.certificate.clone()),
        key_file: own.map(|own| own.key.clone()),
    }
}

/// The store as the node `name` sees it.
pub(crate) async fn store(etcd: &Etcd, name: &str) -> EtcdStore {
    let own = etcd
        .authority()
        .map(|authority| authority.issue(&Leaf::client(name)).unwrap());
    EtcdStore::new(&options(etcd, own.as_ref()), &key())
        .await
        .unwrap()
}

pub(crate) fn setting(days: u16) -> Change {
    Change::SettingSet {
        setting: Setting::ServerCertificateDays(days),
    }
}

/// A signed entry behind `head`.
pub(crate) fn entry(state: &State, signer: &SecretKey, change: Change) -> Vec<u8> {
    let entry = Entry {
        seq: state.head().seq + 1,
        prev: state.head().hash,
        time: Millis(state.time().0 + 1),
        author: Author::Cluster,
        change,
    };
    sign(&entry, signer).unwrap()
}

pub(crate) struct Node {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) ledger: Ledger,
    pub(crate) events: broadcast::Receiver<LedgerEvent>,
}

impl Node {
    /// A node that holds `chain` and nothing is attached to.
    pub(crate) fn with(chain: &[Vec<u8>]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let local = Store::open(dir.path()).unwrap();
        palisade_daemon::import::import(&local, &key(), &chain.concat()).unwrap();
        let ledger = Ledger::open(local, &key()).unwrap();
        let events = ledger.events();
        Self {
            dir,
            ledger,
            events,
        }
    }

    pub(crate) fn head(&self) -> Head {
        self.ledger.now().head()
    }

    pub(crate) async fn append(&self, days: u16) -> Head {
        cluster().append(&self.ledger, setting(days)).await.unwrap()
    }

    /// Waits until entry `seq` is applied here.
    pub(crate) async fn reaches(&self, seq: u64) {
        let mut states = self.ledger.state();
        let reached = states.wait_for(|state| state.head().seq >= seq);
        let reached = tokio::time::timeout(LONG, reached).await;
        let reached = reached.unwrap_or_else(|_| panic!("entry {seq} did not come"));
        drop(reached.unwrap());
    }

    /// Waits for an event.
    pub(crate) async fn hears(&mut self, what: impl Fn(&LedgerEvent) -> bool) -> LedgerEvent {
        let mut missed = Vec::new();
        let heard = async {
            loop {
                let event = self.events.recv().await.unwrap();
                if what(&event) {
                    return event;
                }
                missed.push(event.to_string());
            }
        };
        let heard = tokio::time::timeout(LONG, heard).await;
        heard.unwrap_or_else(|_| panic!("the event did not come, but {missed:?}"))
    }

    /// Waits until the store takes entries, or does not.
    pub(crate) async fn quorum(&self, is: bool) {
        let mut status = self.ledger.store();
        let reached = status.wait_for(|status| status.quorum == is);
        let reached = tokio::time::timeout(LONG, reached).await;
        drop(reached.expect("the quorum does not change").unwrap());
    }

    /// Ends the node and starts it again on its disk.
    pub(crate) async fn restart(self) -> Self {
        let Self { dir, ledger, .. } = self;
        drop(ledger);
        let mut opened = None;
        for _ in 0..2000 {
            match Store::open(dir.path()) {
                Ok(store) => {
                    opened = Some(store);
                    break;
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        let ledger = Ledger::open(opened.unwrap(), &key()).unwrap();
        let events = ledger.events();
        Self {
            dir,
            ledger,
            events,
        }
    }
}

pub(crate) fn genesis() -> Vec<u8> {
    cluster().genesis("test", "main").unwrap()
}

/// Nodes of one chain over an etcd, all caught up.
pub(crate) async fn nodes(etcd: &Etcd, count: usize) -> Vec<Node> {
    let genesis = genesis();
    let mut nodes = Vec::new();
    for number in 1..=count {
        let node = Node::with(std::slice::from_ref(&genesis));
        let store = store(etcd, &format!("node{number}")).await;
        assert!(node.ledger.attach(store, LONG).await);
        nodes.push(node);
    }
    nodes
}

/// Waits until all nodes have one head, and etcd shows that very chain.
pub(crate) async fn one_chain(nodes: &[Node], etcd: &EtcdStore) -> Head {
    let converged = async {
        loop {
            let heads: Vec<Head> = nodes.iter().map(Node::head).collect();
            let listing = etcd.list().await.unwrap().listing;
            let own = nodes[0].ledger.entries(0, 100_000).unwrap();
            let shown: Vec<Vec<u8>> = listing
                .cells
                .iter()
                .filter(|cell| matches!(cell.key, Key::Entry(_)))
                .map(|cell| cell.value.clone())
                .collect();
            let head = listing.cells.iter().find(|cell| cell.key == Key::Head);
            let head = head.and_then(|cell| parse_head(&cell.value));
            let strange = listing
                .cells
                .iter()
                .any(|cell| matches!(cell.key, Key::Other(_)));
            if heads.iter().all(|one| *one == heads[0])
                && head == Some(heads[0])
                && shown == own
                && !strange
            {
                return heads[0];
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let converged = tokio::time::timeout(LONG, converged).await;
    converged.expect("the nodes and etcd do not come to one chain")
}

pub(crate) fn is_no_quorum(error: &AppendError) -> bool {
    error.to_string() == "no quorum: refusing mutation"
}

/// Keeps the store attached that the ledger names, of those at hand, as a node does. Runs until it is
/// dropped.
pub(crate) async fn follow(ledger: Ledger, known: Vec<(StoreConfig, EtcdStore)>) {
    let mut states = ledger.state();
    loop {
        let (entry, config) = {
            let state = states.borrow_and_update();
            (state.store_entry(), state.store().clone())
        };
        match known.iter().find(|(named, _)| *named == config) {
            Some((_, store)) => drop(ledger.attach(store.clone(), LONG).await),
            None => ledger.detach().await,
        }
        let moved = states.wait_for(|state| state.store_entry() != entry);
        if moved.await.is_err() {
            return;
        }
    }
}
