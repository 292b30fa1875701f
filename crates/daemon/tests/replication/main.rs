//! The replication protocol without I/O: five nodes, and a store that loses answers, breaks watches,
//! is compacted, cut off and tampered with.
//!
//! `REPLICATION_SEED=N` runs one schedule alone; a failure names its seed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "tests"
)]

mod model;
mod node;
mod world;

use world::{Faults, World};

/// Schedules, and steps of each: 100,000 steps in all at least.
const SCHEDULES: u64 = 150;
const STEPS: u64 = 1000;

fn run(faults: Faults) {
    let seeds = match std::env::var("REPLICATION_SEED") {
        Ok(seed) => {
            let seed = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..SCHEDULES,
    };
    let (mut acknowledged, mut alarms) = (0, 0);
    for seed in seeds {
        let mut world = World::new(seed, faults);
        for _ in 0..STEPS {
            world.step();
        }
        world.end_of_faults();
        acknowledged += world.acknowledged();
        alarms += world.alarms();
    }
    assert!(acknowledged > 0);
    assert_eq!(alarms > 0, faults.tampering, "an alarm means tampering");
    println!("{acknowledged} entries were acknowledged, {alarms} alarms raised");
}

/// "No acknowledged entry lost, no entry applied on one node and refused on another", all chains
/// prefixes of one: lost answers, late transactions, broken watches, compaction, partitions, crashes.
#[test]
fn faults_lose_nothing_and_fork_nothing() {
    run(Faults {
        compaction: true,
        tampering: false,
        authorised: false,
    });
}

/// The same while somebody writes whatever he likes into the store.
#[test]
fn tampering_loses_nothing_and_forks_nothing_while_the_store_keeps_its_history() {
    run(Faults {
        compaction: false,
        tampering: true,
        authorised: false,
    });
}

/// The same while he may sign entries, too: one that he writes over another stops nobody.
#[test]
fn an_authorised_authors_tampering_forks_nothing_while_the_store_keeps_its_history() {
    run(Faults {
        compaction: false,
        tampering: true,
        authorised: true,
    });
}

/// The same while he destroys the store's history, too: then two nodes may see different valid chains;
/// nothing unsigned is applied, and whoever differs is told, or alone in what he knows.
#[test]
fn tampering_with_the_history_too_forges_nothing() {
    run(Faults {
        compaction: true,
        tampering: true,
        authorised: false,
    });
}
