//! States drawn in chain notation.
#![allow(
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "shared by tests"
)]

use palisade_ledger::{State, verify, verify_genesis};
use palisade_testkit::chain::Chains;

/// The state at the end of the chain `main: G - ...`. Steps that the ledger refuses are left out.
pub fn state(steps: &str) -> State {
    let mut drawing = "main: G".to_owned();
    let key = Chains::cluster_key("main").unwrap();
    let chains = Chains::draw(&drawing).unwrap();
    let (mut state, _) = verify_genesis(chains.entries("main")[0], &key).unwrap();
    for step in steps.split(" - ") {
        let longer = format!("{drawing} - {step}");
        let chains = Chains::draw(&longer).unwrap();
        if let Ok(verified) = verify(&state, chains.entries("main").last().unwrap()) {
            state.apply(&verified).unwrap();
            drawing = longer;
        }
    }
    state
}
