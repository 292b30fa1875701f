//! Any bytes are an entry or an error, and an entry has one encoding: signed again it differs in
//! nothing but the signature. Whatever change it holds, the cluster key may try it: it is refused, or
//! leads to a state that goes on.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use palisade_keys::{SecretKey, Zeroizing};
use palisade_ledger::{
    Author, Change, Entry, Hash, Millis, NewNode, NodeId, State, decode, sign, split, verify,
    verify_genesis,
};

/// Bytes of an Ed25519 signature, which ends an entry.
const SIGNATURE_BYTES: usize = 64;

fn key(byte: u8) -> SecretKey {
    SecretKey::from_seed(Zeroizing::new([byte; 32])).expect("a key")
}

/// A cluster of one node and one CA.
fn state() -> State {
    let genesis = Entry {
        seq: 0,
        prev: Hash::ZERO,
        time: Millis(0),
        author: Author::Cluster,
        change: Change::Genesis {
            cluster: "fuzz".to_owned(),
            database: "main".to_owned(),
            key: key(1).public(),
        },
    };
    let bytes = sign(&genesis, &key(1)).expect("a genesis");
    let (mut state, _) = verify_genesis(&bytes, &key(1).public()).expect("a genesis");
    let node = NewNode {
        id: NodeId::FIRST,
        key: key(2).public(),
        seal: [9; 32],
        address: "node1.example.com:7433".parse().expect("an address"),
        hosts: Vec::new(),
        store: None,
    };
    let certificate = vec![0x30, 0x00];
    for change in [
        Change::NodeAdd { node },
        Change::IssuingCaAdd { certificate },
    ] {
        assert!(attempt(&mut state, change, 0));
    }
    state
}

fn attempt(state: &mut State, change: Change, time: u64) -> bool {
    let head = state.head();
    let entry = Entry {
        seq: head.seq + 1,
        prev: head.hash,
        time: Millis(time),
        author: Author::Cluster,
        change,
    };
    let Ok(bytes) = sign(&entry, &key(1)) else {
        return false;
    };
    let Ok(verified) = verify(state, &bytes) else {
        return false;
    };
    state
        .apply(&verified)
        .expect("it was verified against this state");
    assert_eq!(state.head(), verified.head());
    true
}

fuzz_target!(|bytes: &[u8]| {
    static STATE: OnceLock<State> = OnceLock::new();
    match decode(bytes) {
        Ok(entry) => {
            let again = sign(&entry, &key(7)).expect("a decoded entry can be signed");
            let without = |bytes: &[u8]| bytes[..bytes.len() - SIGNATURE_BYTES].to_vec();
            assert_eq!(without(&again), without(bytes));
            let mut after = STATE.get_or_init(state).clone();
            let time = entry.time.0;
            if attempt(&mut after, entry.change.clone(), time) {
                // Once more, and what takes all of it back.
                attempt(&mut after, entry.change, time);
                attempt(&mut after, Change::NodeRemove { id: NodeId::FIRST }, time);
                assert!(after.nodes().all(|node| node.id != NodeId::FIRST));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    // Nobody has signed with this key here, so no bytes are a genesis under it.
    assert!(verify_genesis(bytes, &key(7).public()).is_err());
    if let Ok(entries) = split(bytes) {
        assert_eq!(entries.concat(), bytes);
    }
});
