//! One simulated node: its disk, and the replica over it.

use std::sync::Arc;

use palisade_daemon::ledger::replica::{Alarm, Replica, Taken};
use palisade_keys::PublicKey;
use palisade_ledger::{Hash, State, verify, verify_genesis};

pub(crate) struct Node {
    pub(crate) replica: Replica,
    pub(crate) disk: Vec<Vec<u8>>,
    /// The revision noted on disk; may be old.
    pub(crate) noted: u64,
    pub(crate) watch: Option<u64>,
    pub(crate) cut: bool,
    pub(crate) alarms: Vec<Alarm>,
    /// Hashes of the entries proposed last, with the number of the first.
    pub(crate) proposed: Option<(u64, Vec<Hash>)>,
}

pub(crate) fn fold(disk: &[Vec<u8>], key: &PublicKey) -> (State, Vec<Hash>) {
    let (mut state, genesis) = verify_genesis(&disk[0], key).unwrap();
    let mut hashes = vec![genesis.head().hash];
    for bytes in &disk[1..] {
        let verified = verify(&state, bytes).unwrap();
        state.apply(&verified).unwrap();
        hashes.push(verified.head().hash);
    }
    (state, hashes)
}

/// Whether `bytes` verify behind the entry before number `seq`.
pub(crate) fn judge(disk: &[Vec<u8>], key: &PublicKey, seq: u64, bytes: &[u8]) -> bool {
    let Some(before) = disk.get(..usize::try_from(seq).unwrap()) else {
        return false;
    };
    !before.is_empty() && verify(&fold(before, key).0, bytes).is_ok()
}

impl Node {
    pub(crate) fn start(disk: Vec<Vec<u8>>, noted: u64, key: &PublicKey) -> Self {
        let (state, hashes) = fold(&disk, key);
        Self {
            replica: Replica::new(Arc::new(state), hashes, noted),
            disk,
            noted,
            watch: None,
            cut: false,
            alarms: Vec::new(),
            proposed: None,
        }
    }

    /// Stores what was taken.
    pub(crate) fn keep(&mut self, taken: Taken) {
        for entry in taken.entries {
            assert_eq!(entry.head().seq, self.disk.len() as u64);
            self.disk.push(entry.bytes().to_vec());
        }
        self.alarms.extend(taken.alarms);
    }
}
