//! Three nodes in network namespaces of their own, under random faults: partitions, kills, slow links, full disks,
//! clocks that jump.
//!
//! What must hold: no acknowledged entry is lost, no entry is applied on one node and refused on another,
//! and log-ins go on wherever PostgreSQL runs. Ten schedules here; `cargo xtask chaos --runs 300` for more. The
//! seed that is printed makes the same schedule again (`cargo xtask chaos --seed N`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;
mod faults;
mod fleet;
mod load;
mod net;

use std::time::Duration;

use faults::Schedule;
use fleet::Fleet;
use load::Load;
use net::Net;

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_lose_nothing() {
    let Some(net) = Net::new() else {
        println!(
            "skipped: network namespaces need root, ip (iproute2) and nft (nftables); `.ci/run` installs both"
        );
        return;
    };
    let first = number("CHAOS_SEED");
    let runs = number("CHAOS_RUNS").unwrap_or(if first.is_some() { 1 } else { 10 });
    let fleet = Fleet::start(net);
    let mut load = Load::start(&fleet).await;
    load.converged("at the beginning").await;
    for run in 0..runs {
        let seed = first.unwrap_or(1) + run;
        let schedule = Schedule::new(seed);
        println!("{schedule}");
        let mut fleet = Guard(&fleet);
        for step in &schedule.steps {
            fleet.0.apply(step.fault);
            tokio::time::sleep(Duration::from_millis(step.millis)).await;
            load.check_logins(fleet.0, &schedule).await;
        }
        fleet.heal();
        load.converged(&schedule.to_string()).await;
    }
    let report = load.finish().await;
    println!("{runs} schedules: {report}");
    assert!(
        report.acknowledged > runs,
        "too little was written to show anything: {report}"
    );
}

/// Heals when a schedule ends, however it ends.
struct Guard<'a>(&'a Fleet);

impl Guard<'_> {
    fn heal(&mut self) {
        self.0.heal();
    }
}
