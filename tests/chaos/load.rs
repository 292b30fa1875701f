//! Changes that go on under the faults, and what must hold of them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use palisade_keys::SecretKey;
use palisade_ledger::{
    Author, Change, Entry, Head, Millis, Privileges, State, Uid, sign, split, verify,
    verify_genesis,
};
use palisade_link::client::Client;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::faults::Schedule;
use crate::fleet::Fleet;

const USER: &str = "bob";
const PASSWORD: &str = "correct horse battery";
/// Between two changes at one node.
const PAUSE: Duration = Duration::from_millis(40);
/// One question to a daemon.
const ANSWER: Duration = Duration::from_secs(8);
/// For three nodes to be of one mind again once the faults are over.
const PATIENCE: Duration = Duration::from_secs(90);
/// For a log-in on a machine that is busy with faults.
const LOGIN: Duration = Duration::from_secs(20);

/// What is known of all nodes together.
#[derive(Default)]
struct Known {
    /// The hash of each entry, by its number, as the first node showed it.
    entries: Mutex<BTreeMap<u64, palisade_ledger::Hash>>,
    /// Entries that some node said were in the ledger for good.
    acknowledged: Mutex<BTreeMap<u64, palisade_ledger::Hash>>,
    refused: AtomicU64,
    logins: AtomicU64,
}

impl Known {
    /// A node applied this entry: no other may have another in its place.
    fn applied(&self, node: usize, head: Head) {
        let mut entries = self.entries.lock().unwrap();
        let known = *entries.entry(head.seq).or_insert(head.hash);
        assert_eq!(
            known, head.hash,
            "node {node} has another entry {} than others",
            head.seq
        );
    }
}

pub struct Report {
    pub acknowledged: u64,
    refused: u64,
    logins: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} entries acknowledged and none lost, {} changes refused or without an answer, {} log-ins",
            self.acknowledged, self.refused, self.logins
        )
    }
}

/// A node's chain, as it is read and verified here.
struct Chain {
    node: usize,
    client: Client,
    key: Arc<SecretKey>,
    state: Option<State>,
    known: Arc<Known>,
}

impl Chain {
    /// Reads what the node has beyond what was read.
    async fn follow(&mut self) -> bool {
        loop {
            let from = self.state.as_ref().map_or(0, |state| state.head().seq + 1);
            let Ok(Ok(page)) = timeout(ANSWER, self.client.entries(from)).await else {
                return false;
            };
            let entries = split(&page).unwrap();
            if entries.is_empty() {
                return true;
            }
            for bytes in entries {
                let head = match &mut self.state {
                    None => {
                        let (state, _) = verify_genesis(bytes, &self.key.public()).unwrap();
                        self.state.insert(state).head()
                    }
                    Some(state) => {
                        let verified = verify(state, bytes).unwrap_or_else(|error| {
                            panic!("node {} shows what does not verify: {error}", self.node)
                        });
                        state.apply(&verified).unwrap();
                        state.head()
                    }
                };
                self.known.applied(self.node, head);
            }
        }
    }

    fn head(&self) -> Option<Head> {
        self.state.as_ref().map(State::head)
    }

    /// One change at this node.
    async fn change(&mut self, number: u64) {
        if !self.follow().await {
            return;
        }
        let state = self.state.as_mut().unwrap();
        let entry = Entry {
            seq: state.head().seq + 1,
            prev: state.head().hash,
            time: Millis(state.time().0),
            author: Author::Cluster,
            change: change(state, number),
        };
        let bytes = sign(&entry, &self.key).unwrap();
        let head = verify(state, &bytes).unwrap().head();
        match timeout(ANSWER, self.client.append(bytes)).await {
            Ok(Ok(reply)) => {
                assert_eq!((reply.seq, reply.hash), (head.seq, head.hash.to_string()));
                self.known
                    .acknowledged
                    .lock()
                    .unwrap()
                    .insert(head.seq, head.hash);
            }
            Ok(Err(_)) | Err(_) => {
                self.known.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// A right on a table that does not exist: it costs PostgreSQL nothing, so that the store is what is tried.
fn change(state: &State, number: u64) -> Change {
    let uid: Uid = state.user_by_name(USER).unwrap().uid;
    Change::AclSet {
        object: format!("public.t{}", number % 40).parse().unwrap(),
        uid,
        privileges: if number.is_multiple_of(2) {
            Privileges::SELECT
        } else {
            Privileges::SELECT | Privileges::INSERT
        },
    }
}

pub struct Load {
    known: Arc<Known>,
    key: Arc<SecretKey>,
    sockets: Vec<PathBuf>,
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<()>>,
    tail: String,
}

impl Load {
    /// Begins to write at every node.
    pub async fn start(fleet: &Fleet) -> Self {
        fleet.add_user(USER, PASSWORD);
        let text = std::fs::read_to_string(fleet.cluster_key()).unwrap();
        let key = Arc::new(SecretKey::from_text(text.trim()).unwrap());
        let sockets: Vec<PathBuf> = (1..=3)
            .map(|node| fleet.dir(node).join("control.sock"))
            .collect();
        let mut load = Self {
            known: Arc::default(),
            key,
            sockets,
            stop: Arc::default(),
            writers: Vec::new(),
            tail: String::new(),
        };
        load.converged("before the first change").await;
        for node in 1..=3 {
            let mut chain = load.chain(node);
            let stop = load.stop.clone();
            load.writers.push(tokio::spawn(async move {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    chain.change(number).await;
                    number += 1;
                    sleep(PAUSE).await;
                }
            }));
        }
        load
    }

    fn chain(&self, node: usize) -> Chain {
        Chain {
            node,
            client: Client::new(&self.sockets[node - 1]),
            key: self.key.clone(),
            state: None,
            known: self.known.clone(),
        }
    }

    /// Waits until all nodes have what was acknowledged so far, and take changes again.
    pub async fn converged(&mut self, when: &str) {
        self.alive();
        let goal = self.known.acknowledged.lock().unwrap().clone();
        let last = goal.keys().next_back().copied().unwrap_or(0);
        let until = Instant::now() + PATIENCE;
        for node in 1..=3 {
            let mut chain = self.chain(node);
            while !(chain.follow().await && chain.head().is_some_and(|head| head.seq >= last)) {
                assert!(
                    Instant::now() < until,
                    "{when}: node {node} ends with {:?}, but entry {last} was acknowledged\n{}",
                    chain.head(),
                    self.tail
                );
                sleep(Duration::from_millis(200)).await;
            }
            let entries = self.known.entries.lock().unwrap();
            for (seq, hash) in &goal {
                assert_eq!(entries.get(seq), Some(hash), "{when}: entry {seq} is lost");
            }
        }
        if self.writers.is_empty() {
            return;
        }
        // Changes are taken again: more than one per node, so from more than one of them.
        while self.acknowledged() < goal.len() + 6 {
            self.alive();
            assert!(
                Instant::now() < until,
                "{when}: no change is taken any more\n{}",
                self.tail
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn acknowledged(&self) -> usize {
        self.known.acknowledged.lock().unwrap().len()
    }

    /// A writer that ended has seen what must not be.
    fn alive(&mut self) {
        assert!(
            !self.writers.iter().any(JoinHandle::is_finished),
            "a writer saw what must not be; its panic stands above\n{}",
            self.tail
        );
    }

    /// Log-ins go on at every node that was not hit itself, cut off or not.
    pub async fn check_logins(&mut self, fleet: &Fleet, schedule: &Schedule) {
        self.tail = fleet.tail();
        for node in (1..=3).filter(|node| !schedule.hits(*node)) {
            let until = Instant::now() + LOGIN;
            loop {
                match fleet.logs_in(node, USER, PASSWORD) {
                    Ok(()) => break,
                    Err(error) => assert!(
                        Instant::now() < until,
                        "{schedule} node {node} lets nobody in: {error}\n{}",
                        fleet.tail()
                    ),
                }
                sleep(Duration::from_millis(100)).await;
            }
            self.known.logins.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ends the load.
    pub async fn finish(mut self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        for writer in std::mem::take(&mut self.writers) {
            writer.await.unwrap();
        }
        self.converged("at the end").await;
        Report {
            acknowledged: u64::try_from(self.acknowledged()).unwrap(),
            refused: self.known.refused.load(Ordering::Relaxed),
            logins: self.known.logins.load(Ordering::Relaxed),
        }
    }
}
