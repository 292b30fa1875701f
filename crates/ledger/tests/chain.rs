//! Chains: forks, replays, reorderings, omissions, entries of another cluster, batches, rollbacks; and
//! random histories beside a model of the rules. Drawn in the notation of `palisade_testkit::chain`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod common;

use common::{cluster_key, fold, golden_world};
use palisade_ledger::{
    Author, Continuity, Hash, Refusal, State, continuity, split, verify, verify_genesis,
};
use palisade_testkit::chain::Chains;

const DRAWING: &str = "
    main: G - +root* - +bob:user_manage,select - root/+eve:select - bob/!eve - root/days=30
    fork @main.2: root/+eve:select,insert - root/!eve - root/days=31 - root/days=32
    mallory @main.3: eve/eve=* - bob(root)/-root
    stolen @main.4: bob(eve)/~eve
    other: G:other - +root* - +bob:user_manage,select - root/+eve:select
    twin: G - +bob* - bob/+root:select
    turned @main.3: bob^ - bob/!eve
    locked @main.3: root/!root
";

fn drawn() -> Chains {
    Chains::draw(DRAWING).unwrap()
}

fn folded(log: &[&[u8]]) -> Result<State, Refusal> {
    fold(log, &cluster_key().public())
}

/// The state after each entry of a chain.
fn states(log: &[&[u8]]) -> Vec<State> {
    (1..=log.len())
        .map(|n| folded(&log[..n]).unwrap())
        .collect()
}

#[test]
fn a_chain_and_its_fork_each_hold_and_do_not_mix() {
    let chains = drawn();
    let (main, fork) = (chains.entries("main"), chains.entries("fork"));
    let (main_states, fork_states) = (states(&main), states(&fork));
    assert_ne!(main_states[3], fork_states[3]);
    for (number, state) in main_states.iter().enumerate().skip(3) {
        for entry in &fork[3..] {
            let refusal = verify(state, entry).unwrap_err();
            assert!(
                matches!(
                    refusal,
                    Refusal::NotNext { .. } | Refusal::OtherChain { .. }
                ),
                "{refusal}"
            );
        }
        // The one with the right number names another entry before it.
        if let Some(entry) = fork.get(number + 1) {
            let seq = state.head().seq + 1;
            assert_eq!(
                verify(state, entry).unwrap_err(),
                Refusal::OtherChain { seq }
            );
        }
    }
}

#[test]
fn replays_reorderings_and_omissions_are_refused() {
    let chains = drawn();
    let main = chains.entries("main");
    for (number, state) in states(&main).iter().enumerate() {
        for (other, entry) in main.iter().enumerate() {
            assert_eq!(
                verify(state, entry).is_ok(),
                other == number + 1,
                "{other} after {number}"
            );
        }
    }
    for a in 0..main.len() {
        let without = [&main[..a], &main[a + 1..]].concat();
        assert_eq!(folded(&without).is_ok(), a == main.len() - 1, "without {a}");
        let doubled = [&main[..=a], &main[a..]].concat();
        assert!(folded(&doubled).is_err(), "{a} twice");
        for b in a + 1..main.len() {
            let mut swapped = main.clone();
            swapped.swap(a, b);
            assert!(folded(&swapped).is_err(), "{a} and {b} swapped");
        }
    }
    assert!(folded(&[]).is_err());
}

#[test]
fn what_was_not_the_signers_to_say_is_refused() {
    let chains = drawn();
    let uid = |name| chains.uid(name).unwrap();
    let last = |chain: &str| folded(&chains.entries(chain)).unwrap_err();
    assert!(matches!(last("mallory"), Refusal::Missing { .. }));
    assert_eq!(last("stolen"), Refusal::Signature(Author::User(uid("bob"))));
    assert!(matches!(last("locked"), Refusal::Guard(_)));
    // "bob^" is by the cluster key here; from then on his new key signs, which is what is drawn.
    assert!(folded(&chains.entries("turned")).is_ok());
    let with_old_key = drawn_behind_a_new_key();
    assert_eq!(with_old_key, Refusal::Signature(Author::User(uid("bob"))));
}

/// An entry that bob signs with the key that he has replaced.
fn drawn_behind_a_new_key() -> Refusal {
    let chains = drawn();
    let turned = chains.entries("turned");
    let state = folded(&turned[..5]).unwrap();
    let entry = palisade_ledger::decode(turned[5]).unwrap();
    let bytes = palisade_ledger::sign(&entry, &common::key("bob")).unwrap();
    verify(&state, &bytes).unwrap_err()
}

#[test]
fn entries_of_another_cluster_are_refused() {
    let chains = drawn();
    let (main, other) = (chains.entries("main"), chains.entries("other"));
    let expected = cluster_key().public();
    let signature = Refusal::Signature(Author::Cluster);
    assert_eq!(verify_genesis(other[0], &expected).unwrap_err(), signature);
    for (number, state) in states(&main).iter().enumerate() {
        for entry in &other {
            assert!(verify(state, entry).is_err(), "after {number}");
        }
    }
    // Even under the same cluster key: each entry names the one before, down to the genesis.
    let twin = chains.entries("twin");
    assert_eq!(twin[0], main[0]);
    assert!(folded(&[main[0], main[1], twin[2]]).is_err());
    let other_key = Chains::cluster_key("other").unwrap();
    let mixed: Vec<_> = [&other[..1], &main[1..]].concat();
    assert!(fold(&mixed, &other_key).is_err());
    assert!(fold(&other, &other_key).is_ok());
}

/// "A batch is verified against a copy of the state and committed whole or not at all."
#[test]
fn a_batch_is_taken_whole_or_not_at_all() {
    let chains = drawn();
    let main = chains.entries("main");
    let before = folded(&main[..2]).unwrap();
    let take = |state: &State, batch: &[&[u8]]| -> Result<State, Refusal> {
        let mut copy = state.clone();
        for entry in batch {
            let verified = verify(&copy, entry)?;
            copy.apply(&verified).unwrap();
        }
        Ok(copy)
    };
    let untouched = before.clone();
    let mallory = chains.entries("mallory");
    assert!(take(&before, &mallory[2..]).is_err());
    assert_eq!(before, untouched);
    assert_eq!(take(&before, &main[2..]), folded(&main));
}

#[test]
fn what_was_verified_is_applied_to_that_state_alone() {
    let chains = drawn();
    let (main, fork) = (chains.entries("main"), chains.entries("fork"));
    let (main_states, fork_states) = (states(&main), states(&fork));
    let verified = verify(&main_states[3], main[4]).unwrap();
    assert_eq!(verified.bytes(), main[4]);
    assert_eq!(verified.head(), main_states[4].head());
    for (index, state) in main_states.iter().chain(&fork_states).enumerate() {
        let mut copy = state.clone();
        let applied = copy.apply(&verified).is_ok();
        assert_eq!(applied, index == 3, "state {index}");
        assert_eq!(copy == main_states[4], applied || index == 4);
        assert!(applied || copy == *state);
    }
}

/// "A store that shows a shorter or a different chain is a fork or a rollback."
#[test]
fn rollbacks_and_forks_are_told() {
    let chains = drawn();
    let shows = |seen: &[&[u8]], shown: &[&[u8]]| {
        let seen = folded(seen).unwrap().head();
        let head = folded(shown).ok().map(|state| state.head());
        let at = |seq: u64| {
            let entry = shown.get(usize::try_from(seq).unwrap());
            entry.map(|bytes| Hash::of(bytes))
        };
        continuity(seen, head, at)
    };
    let (main, fork) = (chains.entries("main"), chains.entries("fork"));
    for seen in 1..=main.len() {
        for shown in 1..=main.len() {
            let told = shows(&main[..seen], &main[..shown]);
            if shown >= seen {
                assert_eq!(told, Continuity::Continues);
            } else {
                assert!(matches!(
                    told,
                    Continuity::RolledBack { shown: Some(_), .. }
                ));
            }
        }
        // The fork is longer: length is no argument.
        let told = shows(&main[..seen], &fork);
        assert_eq!(told == Continuity::Continues, seen <= 3, "{told:?}");
        assert!(seen <= 3 || matches!(told, Continuity::Forked { .. }));
        assert!(matches!(
            shows(&main[..seen], &[]),
            Continuity::RolledBack { shown: None, .. }
        ));
    }
}

#[test]
fn an_export_is_its_entries_and_nothing_between() {
    let world = golden_world();
    let export = world.log.concat();
    assert_eq!(split(&export).unwrap(), world.log);
    for end in 0..export.len() {
        let whole: Vec<usize> = split(&export[..end])
            .map(|entries| entries.iter().map(|entry| entry.len()).collect())
            .unwrap_or_default();
        // A cut is an error, or falls between two entries.
        assert!(whole.is_empty() || whole.iter().sum::<usize>() == end);
    }
    let error = split(&export[..export.len() - 1]).unwrap_err();
    assert_eq!(error.entry, world.log.len() - 1);
    assert_eq!(
        error.at,
        export.len() - world.log[world.log.len() - 1].len()
    );
    assert!(split(&[0x5a, 0x00, 0x10, 0x00, 0x00]).is_err());
    let large = [&[0x5a, 0x00, 0x10, 0x00, 0x00][..], &vec![0; 0x0010_0000]].concat();
    assert!(split(&large).unwrap_err().to_string().contains("larger"));
}
