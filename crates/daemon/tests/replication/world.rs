//! The world: nodes, the store, the network between them, and chance.

use std::collections::BTreeSet;

use palisade_daemon::ledger::replica::{Alarm, Next, Sent, Settled};
use palisade_daemon::store::shared::{Key, Listing, Outcome, Transaction, head_value};
use palisade_keys::{PublicKey, SecretKey, Zeroizing};
use palisade_ledger::{Author, Change, Entry, Hash, Head, Millis, Setting, sign, verify};

use super::model::Model;
use super::node::{Node, judge};

const NODES: usize = 5;

#[derive(Clone, Copy)]
pub(crate) struct Faults {
    pub(crate) compaction: bool,
    pub(crate) tampering: bool,
    /// Whoever tampers is an author, too.
    pub(crate) authorised: bool,
}

/// A request on its way, or one whose answer was given up.
struct Request {
    node: usize,
    /// A node that was started again takes no answers to the one before.
    life: u64,
    sent: Sent,
    transaction: Transaction,
    answered: bool,
}

pub(crate) struct World {
    seed: u64,
    random: u64,
    faults: Faults,
    key: SecretKey,
    store: Model,
    nodes: Vec<Node>,
    lives: Vec<u64>,
    requests: Vec<Request>,
    now: u64,
    /// The chain: each place as whoever stored it first.
    canon: Vec<Hash>,
    acknowledged: BTreeSet<(u64, Hash)>,
    snapshots: Vec<Listing>,
    counter: u16,
    forked: bool,
    alarms: usize,
}

impl World {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        let key = SecretKey::from_seed(Zeroizing::new([7; 32])).unwrap();
        let genesis = Entry {
            seq: 0,
            prev: Hash::ZERO,
            time: Millis(1_700_000_000_000),
            author: Author::Cluster,
            change: Change::Genesis {
                cluster: "test".to_owned(),
                database: "main".to_owned(),
                key: key.public(),
            },
        };
        let genesis = sign(&genesis, &key).unwrap();
        let disk = vec![genesis.clone()];
        Self {
            seed,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678,
            faults,
            store: Model::default(),
            nodes: (0..NODES)
                .map(|_| Node::start(disk.clone(), 0, &key.public()))
                .collect(),
            lives: vec![0; NODES],
            requests: Vec::new(),
            now: 0,
            canon: vec![Hash::of(&genesis)],
            acknowledged: BTreeSet::new(),
            snapshots: Vec::new(),
            counter: 0,
            forked: false,
            alarms: 0,
            key,
        }
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// Alarms but for [`Alarm::Healed`].
    pub(crate) fn alarms(&self) -> usize {
        self.alarms
    }

    /// splitmix64.
    fn chance(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn any_node(&mut self) -> usize {
        usize::try_from(self.chance(NODES as u64)).unwrap()
    }

    pub(crate) fn step(&mut self) {
        self.now += self.chance(60);
        let node = self.any_node();
        match self.chance(100) {
            0..30 => self.watch(node),
            30..50 => self.network(),
            50..60 => self.author(node),
            60 => self.nodes[node].cut ^= true,
            61 | 62 => self.restart(node),
            63 => {
                // The watch breaks; it goes on behind what was heard.
                self.nodes[node].watch = None;
            }
            64 => self.note(node),
            67 => self.reach_by_other_endpoints(node),
            65 if self.faults.compaction => {
                let upto = self.chance(self.store.revision + 1);
                self.store.compact(upto);
            }
            // Now and then, so that the nodes come to append in between.
            66 if self.faults.authorised && self.chance(2) == 0 => self.sign_over(),
            66 if self.faults.tampering => self.tamper(),
            _ => self.tick(node),
        }
    }

    fn key(&self) -> PublicKey {
        self.key.public()
    }

    fn keep(&mut self, node: usize, taken: palisade_daemon::ledger::replica::Taken) {
        let before = self.nodes[node].disk.len();
        // A crash between the store's answer and the local disk.
        if !taken.entries.is_empty() && self.chance(40) == 0 {
            self.restart(node);
            return;
        }
        let raised = taken.alarms.iter().filter(|alarm| **alarm != Alarm::Healed);
        self.alarms += raised.count();
        self.nodes[node].keep(taken);
        for seq in before..self.nodes[node].disk.len() {
            let hash = Hash::of(&self.nodes[node].disk[seq]);
            match self.canon.get(seq) {
                None => self.canon.push(hash),
                Some(known) if *known == hash => {}
                Some(_) if self.faults.compaction && self.faults.tampering => self.forked = true,
                Some(_) => panic!("seed {}: node {node} has another entry {seq}", self.seed),
            }
        }
        self.settle(node);
    }

    fn settle(&mut self, node: usize) {
        let settled = self.nodes[node].replica.settled();
        if settled == Some(Settled::Committed)
            && let Some((first, hashes)) = self.nodes[node].proposed.take()
        {
            for (seq, hash) in (first..).zip(hashes) {
                let stored = &self.nodes[node].disk[usize::try_from(seq).unwrap()];
                assert_eq!(Hash::of(stored), hash, "seed {}", self.seed);
                self.acknowledged.insert((seq, hash));
            }
        }
    }

    fn outstanding(&self, node: usize) -> bool {
        let life = self.lives[node];
        let mut mine = self.requests.iter().filter(|one| one.node == node);
        mine.any(|one| one.life == life && !one.answered)
    }

    fn send(&mut self, node: usize, sent: Sent, transaction: Transaction) {
        self.requests.push(Request {
            node,
            life: self.lives[node],
            sent,
            transaction,
            answered: false,
        });
    }

    fn tick(&mut self, node: usize) {
        if self.outstanding(node) {
            return;
        }
        let disk = self.nodes[node].disk.clone();
        let body = |seq: u64| disk.get(usize::try_from(seq).ok()?).cloned();
        match self.nodes[node].replica.next(self.now, &body) {
            Next::List if !self.nodes[node].cut => {
                let listing = self.store.listing();
                let one = &mut self.nodes[node];
                one.replica.listing(listing);
                one.watch = None;
            }
            Next::Touch(transaction) => self.send(node, Sent::Touch, transaction),
            Next::Heal(transaction) => self.send(node, Sent::Heal, transaction),
            Next::Fence(transaction) => self.send(node, Sent::Fence, transaction),
            Next::List | Next::Hold(_) | Next::Wait(_) | Next::Ready | Next::Forked => {}
            Next::Closed => panic!("nothing moves the ledger here"),
        }
        self.settle(node);
    }

    /// Nobody waits for what was sent any more; it may be made yet.
    fn reach_by_other_endpoints(&mut self, node: usize) {
        let mine = self.requests.iter_mut().filter(|one| one.node == node);
        for request in mine {
            request.answered = true;
        }
        let one = &mut self.nodes[node];
        one.replica.unanswered();
        one.replica.forget();
        one.watch = None;
    }

    fn watch(&mut self, node: usize) {
        if self.nodes[node].cut || !self.nodes[node].replica.is_listed() {
            return;
        }
        let replica = &self.nodes[node].replica;
        let from = match self.nodes[node].watch {
            Some(at) => at,
            None => replica.watch_behind().max(replica.heard()),
        };
        match self.store.after(from) {
            // The history is gone: all is listed again, and watched from there.
            Err(()) => {
                let listing = self.store.listing();
                let at = listing.revision;
                let one = &mut self.nodes[node];
                one.replica.forget();
                one.replica.listing(listing);
                one.watch = Some(at);
            }
            Ok(None) => self.nodes[node].watch = Some(from),
            Ok(Some(changes)) => {
                // Duplicates: the watch goes back a little now and then.
                let again = self.chance(20) == 0;
                let at = if again { from } else { changes.revision };
                self.nodes[node].watch = Some(at);
                let (disk, key) = (self.nodes[node].disk.clone(), self.key());
                let judge = move |seq: u64, bytes: &[u8]| judge(&disk, &key, seq, bytes);
                let taken = self.nodes[node].replica.changes(changes, self.now, &judge);
                self.keep(node, taken);
            }
        }
    }

    fn network(&mut self) {
        if self.requests.is_empty() {
            return;
        }
        let index = usize::try_from(self.chance(self.requests.len() as u64)).unwrap();
        let fate = self.chance(10);
        let cut = self.nodes[self.requests[index].node].cut;
        if self.requests[index].answered {
            // Given up by its sender: it is made late, or never.
            let late = self.requests.swap_remove(index);
            if fate < 5 {
                self.store.transact(&late.transaction);
            }
            return;
        }
        if cut || fate == 0 {
            self.requests[index].answered = true;
            self.answer(index, Outcome::Unknown);
            return;
        }
        let request = self.requests.swap_remove(index);
        let outcome = self.store.transact(&request.transaction);
        let told = if fate == 1 { Outcome::Unknown } else { outcome };
        self.deliver(request.node, request.life, request.sent, told);
    }

    fn answer(&mut self, index: usize, outcome: Outcome) {
        let one = &self.requests[index];
        let (node, life, sent) = (one.node, one.life, one.sent);
        self.deliver(node, life, sent, outcome);
    }

    fn deliver(&mut self, node: usize, life: u64, sent: Sent, outcome: Outcome) {
        if self.lives[node] == life {
            let now = self.now;
            let taken = self.nodes[node].replica.outcome(sent, outcome, now);
            self.keep(node, taken);
        }
    }

    fn author(&mut self, node: usize) {
        if self.outstanding(node) {
            return;
        }
        let disk = self.nodes[node].disk.clone();
        let body = |seq: u64| disk.get(usize::try_from(seq).ok()?).cloned();
        if self.nodes[node].replica.next(self.now, &body) != Next::Ready {
            return;
        }
        let mut state = self.nodes[node].replica.state().as_ref().clone();
        let mut batch = Vec::new();
        for _ in 0..=self.chance(3) {
            let bytes = self.entry(state.head());
            let verified = verify(&state, &bytes).unwrap();
            state.apply(&verified).unwrap();
            batch.push(verified);
        }
        let first = batch[0].head().seq;
        let hashes = batch.iter().map(|one| one.head().hash).collect();
        let one = &mut self.nodes[node];
        one.proposed = Some((first, hashes));
        let (id, transaction) = one.replica.propose(batch).unwrap();
        self.send(node, Sent::Append(id), transaction);
    }

    fn entry(&mut self, head: Head) -> Vec<u8> {
        self.counter = self.counter % 390 + 1;
        let entry = Entry {
            seq: head.seq + 1,
            prev: head.hash,
            time: Millis(1_700_000_000_000 + self.chance(1000)),
            author: Author::Cluster,
            change: Change::SettingSet {
                setting: Setting::ServerCertificateDays(self.counter),
            },
        };
        sign(&entry, &self.key).unwrap()
    }

    fn note(&mut self, node: usize) {
        let one = &mut self.nodes[node];
        one.noted = one.replica.revision();
    }

    fn restart(&mut self, node: usize) {
        let (disk, noted, cut) = {
            let one = &self.nodes[node];
            (one.disk.clone(), one.noted, one.cut)
        };
        self.lives[node] += 1;
        self.nodes[node] = Node::start(disk, noted, &self.key());
        self.nodes[node].cut = cut;
    }

    fn some_key(&mut self) -> Key {
        let entries = self.canon.len() as u64 + 2;
        match self.chance(8) {
            0 | 1 => Key::Head,
            2 => Key::Other(vec![b'x', u8::try_from(self.chance(3)).unwrap()]),
            _ => Key::Entry(self.chance(entries)),
        }
    }

    /// What somebody does who owns the store, but no key.
    fn tamper(&mut self) {
        let key = self.some_key();
        let last = self.canon.len() as u64 - 1;
        match self.chance(8) {
            0 => self.store.write(vec![(key, Some(b"garbage".to_vec()))]),
            1 => self.store.write(vec![(key, None)]),
            2 => {
                let seq = self.chance(last + 1);
                let hash = self.canon[usize::try_from(seq).unwrap()];
                let value = head_value(Head { seq, hash });
                self.store.write(vec![(Key::Head, Some(value))]);
            }
            3 => {
                // One entry in the place of another.
                let from = Key::Entry(self.chance(last + 1));
                if let Some((value, _, _)) = self.store.cells.get(&from).cloned() {
                    self.store.write(vec![(key, Some(value))]);
                }
            }
            4 => self.snapshots.push(self.store.listing()),
            5 => self.replay(),
            6 => {
                // A deleted tail, cleanly.
                let end = self.chance(last + 1);
                let hash = self.canon[usize::try_from(end).unwrap()];
                let mut writes: Vec<_> = (end + 1..=last)
                    .map(|seq| (Key::Entry(seq), None))
                    .collect();
                writes.push((Key::Head, Some(head_value(Head { seq: end, hash }))));
                self.store.write(writes);
            }
            _ => {
                // An entry that nobody signed, with a head that names it.
                let head = Head {
                    seq: last + 1,
                    hash: Hash::of(b"garbage"),
                };
                let entry = (Key::Entry(last + 1), Some(b"garbage".to_vec()));
                self.store
                    .write(vec![entry, (Key::Head, Some(head_value(head)))]);
            }
        }
    }

    /// What somebody does who owns the store, and may sign entries.
    fn sign_over(&mut self) {
        let at = 1 + self.chance(self.canon.len() as u64);
        let before = Head {
            seq: at - 1,
            hash: self.canon[usize::try_from(at - 1).unwrap()],
        };
        let mut chain = Vec::new();
        let mut head = before;
        for _ in 0..=self.chance(3) {
            let bytes = self.entry(head);
            head = Head {
                seq: head.seq + 1,
                hash: Hash::of(&bytes),
            };
            chain.push((Key::Entry(head.seq), Some(bytes)));
        }
        let named = (Key::Head, Some(head_value(head)));
        match self.chance(4) {
            // Over whatever stands there.
            0 => {
                chain.push(named);
                self.store.write(chain);
            }
            // As if it had never stood there.
            1 => {
                let gone = chain.iter().map(|(key, _)| (key.clone(), None));
                self.store.write(gone.collect());
                chain.push(named);
                self.store.write(chain);
            }
            // The last one first, and by halves.
            2 => {
                for write in chain.into_iter().rev() {
                    self.store.write(vec![write]);
                }
                self.store.write(vec![named]);
            }
            // Two of the same number behind a gap.
            _ => {
                let (first, _) = (chain.swap_remove(0), chain);
                let hash = Hash::of(first.1.as_deref().unwrap());
                for _ in 0..2 {
                    let next = self.entry(Head { seq: at, hash });
                    self.store.write(vec![(Key::Entry(at + 1), Some(next))]);
                }
                self.store.write(vec![first]);
            }
        }
    }

    /// An old snapshot, written over everything.
    fn replay(&mut self) {
        let Some(old) = self.snapshots.pop() else {
            return;
        };
        let mut writes: Vec<_> = self.store.cells.keys().map(|k| (k.clone(), None)).collect();
        for cell in old.cells {
            writes.retain(|(key, _)| *key != cell.key);
            writes.push((cell.key, Some(cell.value)));
        }
        self.store.write(writes);
    }

    /// No more faults: all nodes must come to one chain, which holds all that was acknowledged.
    pub(crate) fn end_of_faults(&mut self) {
        for node in 0..NODES {
            self.nodes[node].cut = false;
        }
        let (tampered, seed) = (self.faults.tampering && self.faults.compaction, self.seed);
        for _ in 0..3000 {
            self.now += 50;
            let late: Vec<_> = self.requests.drain(..).collect();
            for request in late {
                let outcome = self.store.transact(&request.transaction);
                if !request.answered {
                    self.deliver(request.node, request.life, request.sent, outcome);
                }
            }
            for node in 0..NODES {
                for _ in 0..20 {
                    self.watch(node);
                }
                self.tick(node);
            }
            if self.requests.is_empty() && self.converged() {
                break;
            }
        }
        if self.forked {
            assert!(tampered, "seed {seed}");
            return;
        }
        assert!(self.converged(), "seed {seed}: the nodes did not converge");
        for (seq, hash) in &self.acknowledged {
            let index = usize::try_from(*seq).unwrap();
            assert_eq!(self.canon[index], *hash, "seed {seed}: an entry was lost");
        }
        // Whatever was tampered with is healed in the store, too.
        for (seq, hash) in (0..).zip(&self.canon) {
            let (value, _, _) = &self.store.cells[&Key::Entry(seq)];
            assert_eq!(Hash::of(value), *hash, "seed {seed}: not healed");
        }
        assert!(
            !self.nodes.iter().any(|node| {
                let mut alarms = node.alarms.iter();
                alarms.any(|alarm| matches!(alarm, Alarm::Forked { .. }))
            }),
            "seed {seed}: a fork where there is none"
        );
    }

    fn converged(&mut self) -> bool {
        let now = self.now;
        (0..NODES).all(|node| {
            let one = &mut self.nodes[node];
            one.disk.len() == self.canon.len() && one.replica.next(now, &|_| None) == Next::Ready
        })
    }
}
