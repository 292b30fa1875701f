//! How fast a chain is verified and folded, beside the bare Ed25519 verification that it can't do
//! without, in the same run:
//!
//! ```text
//! cargo run --release -p palisade-ledger --example verify_rate [ENTRIES] [ROUNDS]
//! ```
//!
//! Prints entries per second and bare signatures per second, each the best of the rounds, which take
//! turns, and the ratio of the two: of the best, and round by round. A ratio of 1 would mean that all
//! but the signature is free.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement run by hand"
)]

use std::time::{Duration, Instant};

use palisade_keys::{PublicKey, SecretKey, Signature};
use palisade_ledger::{
    Author, Change, Entry, Hash, Head, Millis, NewUser, ObjectName, Privileges, Uid, UserName,
    sign, verify, verify_genesis,
};
use palisade_testkit::chain;

const USERS: u32 = 1000;

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse().unwrap());
    let entries: u32 = numbers.next().unwrap_or(20_000);
    let rounds: u32 = numbers.next().unwrap_or(5);

    let cluster = chain::key("cluster main", 0).unwrap();
    let log = draw(entries, &cluster);
    let bare = signatures(entries, &cluster);
    let key = cluster.public();
    let (mut best_chain, mut best_bare) = (Duration::MAX, Duration::MAX);
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let alone = timed(|| {
            for (message, signature) in &bare {
                key.verify(message, signature).unwrap();
            }
        });
        let whole = timed(|| fold(&log, &key));
        ratios.push(alone.as_secs_f64() / whole.as_secs_f64());
        best_bare = best_bare.min(alone);
        best_chain = best_chain.min(whole);
    }
    ratios.sort_by(f64::total_cmp);
    let rate = |time: Duration| f64::from(entries) / time.as_secs_f64();
    let bytes: usize = log.iter().map(Vec::len).sum();
    println!(
        "entries        {entries} of {} bytes on average",
        bytes / log.len()
    );
    println!("verify + fold  {:>9.0} entries/s", rate(best_chain));
    println!("bare Ed25519   {:>9.0} signatures/s", rate(best_bare));
    println!("ratio          {:>9.3}", rate(best_chain) / rate(best_bare));
    let of = |part: usize| ratios.get((ratios.len() - 1) * part / 2).unwrap();
    println!(
        "each round     {:>9.3} (median; {:.3}..{:.3})",
        of(1),
        of(0),
        of(2)
    );
}

#[expect(clippy::disallowed_methods, reason = "measures time")]
fn timed(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

fn fold(log: &[Vec<u8>], key: &PublicKey) {
    let (genesis, rest) = log.split_first().unwrap();
    let (mut state, _) = verify_genesis(genesis, key).unwrap();
    for bytes in rest {
        let verified = verify(&state, bytes).unwrap();
        state.apply(&verified).unwrap();
    }
}

/// A genesis, a superuser, users, and then rights set and users changed in turn by the superuser.
fn draw(entries: u32, cluster: &SecretKey) -> Vec<Vec<u8>> {
    let root = chain::key("root", 0).unwrap();
    let mut log: Vec<Vec<u8>> = Vec::new();
    let mut head = Head {
        seq: 0,
        hash: Hash::ZERO,
    };
    for number in 0..=entries {
        let seq = u64::from(number);
        let (author, signer) = match number {
            0 | 1 => (Author::Cluster, cluster),
            _ => (Author::User(Uid::new(1).unwrap()), &root),
        };
        let entry = Entry {
            seq,
            prev: head.hash,
            time: Millis(chain::BEGIN.0 + seq),
            author,
            change: change(number, cluster, &root),
        };
        let bytes = sign(&entry, signer).unwrap();
        let hash = Hash::of(&bytes);
        head = Head { seq, hash };
        log.push(bytes);
    }
    log
}

fn change(number: u32, cluster: &SecretKey, root: &SecretKey) -> Change {
    let uid = |number: u32| Uid::new(number).unwrap();
    match number {
        0 => Change::Genesis {
            cluster: "main".to_owned(),
            database: "main".to_owned(),
            key: cluster.public(),
        },
        1..=USERS => Change::UserAdd {
            user: NewUser {
                uid: uid(number),
                name: UserName::new(format!("user{number}")).unwrap(),
                disabled: false,
                superuser: number == 1,
                default_privileges: Privileges::SELECT,
                public_key: Some(root.public()),
                password: None,
            },
        },
        _ if number.is_multiple_of(2) => Change::AclSet {
            object: ObjectName::relation("public", format!("table{}", number % 997)).unwrap(),
            uid: uid(2 + number % (USERS - 1)),
            privileges: Privileges::SELECT | Privileges::INSERT,
        },
        _ => Change::UserSet {
            uid: uid(2 + number % (USERS - 1)),
            superuser: None,
            default_privileges: Some(Privileges::SELECT),
        },
    }
}

/// As many signatures over messages of an entry's size.
fn signatures(count: u32, key: &SecretKey) -> Vec<([u8; 140], Signature)> {
    (0..count)
        .map(|number| {
            let mut message = [0; 140];
            for (byte, of) in message.iter_mut().zip(number.to_be_bytes()) {
                *byte = of;
            }
            (message, key.sign(&message))
        })
        .collect()
}
