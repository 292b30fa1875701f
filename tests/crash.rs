//! "Killed with SIGKILL at any moment during appends, the daemon restarts with every acknowledged
//! entry and no half entry." Twenty times here, as many as asked by `cargo xtask crash --runs N`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::Cluster;
use palisade_keys::{PublicKey, SecretKey};
use palisade_ledger::{
    Author, Change, Entry, Hash, Head, Millis, NewUser, Privileges, State, Uid, UserName, decode,
    sign, split, verify, verify_genesis,
};
use palisade_link::client::Client;

// Longest time from the first append to the kill, in milliseconds: several commits, so that kills
// fall before, in and behind them.
const LONGEST: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_entry_survives_sigkill() {
    let runs: u64 = match std::env::var("CRASH_RUNS") {
        Ok(runs) => runs.parse().unwrap(),
        Err(_) => 20,
    };
    let mut cluster = Cluster::up();
    let key = cluster.dir().join("private/cluster_private.key");
    let key = Arc::new(SecretKey::from_text(&std::fs::read_to_string(key).unwrap()).unwrap());
    let mut acknowledged = 0;
    let mut in_flight = 0;
    for run in 0..runs {
        let client = Client::new(cluster.dir().join("control.sock"));
        let before = ledger(&client, &key.public()).await;
        assert!(before.head().seq >= acknowledged, "run {run}");
        let seen = Arc::new(AtomicU64::new(before.head().seq));
        let stop = Arc::new(AtomicBool::new(false));
        let appends = tokio::spawn(append(
            client,
            key.clone(),
            before,
            seen.clone(),
            stop.clone(),
        ));
        // Spread over the whole span, the same in each run of the test.
        let moment = run.wrapping_mul(2_654_435_761) % LONGEST;
        tokio::time::sleep(Duration::from_millis(moment)).await;
        cluster.kill();
        stop.store(true, Ordering::SeqCst);
        appends.await.unwrap();
        acknowledged = seen.load(Ordering::SeqCst);

        cluster.start();
        let client = Client::new(cluster.dir().join("control.sock"));
        let after = ledger(&client, &key.public()).await;
        assert!(
            after.head().seq >= acknowledged,
            "run {run}: entry {acknowledged} was acknowledged, the ledger ends with {}",
            after.head().seq
        );
        // At most what was on its way may be there beyond.
        assert!(after.head().seq <= acknowledged + 1, "run {run}");
        in_flight += after.head().seq - acknowledged;
        acknowledged = after.head().seq;
    }
    println!(
        "{runs} kills, {acknowledged} entries, {in_flight} of them committed but not acknowledged"
    );
}

// Appends users one after the other, and notes each head that was acknowledged.
async fn append(
    client: Client,
    key: Arc<SecretKey>,
    mut state: State,
    seen: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) {
    while !stop.load(Ordering::SeqCst) {
        let uid = state.next_uid().unwrap();
        let entry = Entry {
            seq: state.head().seq + 1,
            prev: state.head().hash,
            time: Millis(state.time().0),
            author: Author::Cluster,
            change: user(uid),
        };
        let bytes = sign(&entry, &key).unwrap();
        let verified = verify(&state, &bytes).unwrap();
        state.apply(&verified).unwrap();
        match client.append(bytes).await {
            Ok(head) => {
                assert_eq!(head.hash, state.head().hash.to_string());
                seen.store(head.seq, Ordering::SeqCst);
            }
            Err(_) => return,
        }
    }
}

fn user(uid: Uid) -> Change {
    Change::UserAdd {
        user: NewUser {
            uid,
            name: UserName::new(format!("user{uid}")).unwrap(),
            disabled: true,
            superuser: false,
            default_privileges: Privileges::SELECT,
            public_key: None,
            password: None,
        },
    }
}

// The daemon's ledger, verified here entry by entry.
async fn ledger(client: &Client, key: &PublicKey) -> State {
    let mut state: Option<State> = None;
    loop {
        let from = state.as_ref().map_or(0, |state| state.head().seq + 1);
        let page = client.entries(from).await.unwrap();
        if page.is_empty() {
            return state.unwrap();
        }
        for bytes in split(&page).unwrap() {
            match &mut state {
                None => state = Some(verify_genesis(bytes, key).unwrap().0),
                Some(state) => {
                    let verified = verify(state, bytes).unwrap();
                    state.apply(&verified).unwrap();
                }
            }
        }
    }
}

// What the test itself relies on: a flipped byte anywhere is seen.
#[test]
fn the_check_can_fail() {
    let key = SecretKey::from_seed(palisade_keys::Zeroizing::new([1; 32])).unwrap();
    let entry = Entry {
        seq: 0,
        prev: Hash::ZERO,
        time: Millis(1),
        author: Author::Cluster,
        change: Change::Genesis {
            cluster: "test".to_owned(),
            database: "main".to_owned(),
            key: key.public(),
        },
    };
    let bytes = sign(&entry, &key).unwrap();
    let (state, _) = verify_genesis(&bytes, &key.public()).unwrap();
    assert_eq!(
        state.head(),
        Head {
            seq: 0,
            hash: Hash::of(&bytes)
        }
    );
    assert_eq!(decode(&bytes).unwrap(), entry);
    let mut cut = bytes.clone();
    cut.pop();
    assert!(verify_genesis(&cut, &key.public()).is_err());
}
