//! The groups of the default privileges as trees of subgroups, where there are many users.

use std::collections::BTreeSet;

use palisade_ledger::{State, Uid};

/// From this many users on (by the greatest uid) the groups of the default privileges are trees of
/// subgroups, by the uid's last digits to the base of four. To take a flag on one object from one user, all
/// the others must be given it: with the tree that takes 3 names on each of 4 levels and those of his own
/// subgroup, not everyone's.
const MANY_USERS: u32 = 64;
/// Levels of the tree: 256 subgroups at the bottom.
pub(super) const LEVELS: u32 = 4;

/// Whether the groups have subgroups.
pub(super) fn are_many(state: &State) -> bool {
    let greatest = state.users().last();
    greatest.is_some_and(|user| user.uid.get() > MANY_USERS)
}

/// The lowest subgroup that a user is in, as a number whose digits are the path to it.
pub(super) fn leaf_of(uid: Uid) -> u32 {
    lowest_digits(uid.get(), LEVELS)
}

/// The last digits to the base of four.
pub(super) fn lowest_digits(number: u32, digits: u32) -> u32 {
    number & ((1 << (2 * digits)) - 1)
}

/// The name of a subgroup: the digits of its path, the last digit of the uid first.
pub(super) fn subgroup(group: &str, path: u32, level: u32) -> String {
    let digit = |place: u32| char::from_digit((path >> (2 * place)) & 3, 4).unwrap_or('0');
    let digits: String = (0..level).map(digit).collect();
    format!("{group}_u{digits}")
}

/// The greatest subgroups of a group that have none of these lowest ones.
pub(super) fn whole_subgroups(group: &str, split: &BTreeSet<u32>) -> Vec<String> {
    let mut found = Vec::new();
    // The paths to those that have some of them, level by level.
    let mut broken = BTreeSet::from([0]);
    for level in 1..=LEVELS {
        let mut below = BTreeSet::new();
        for above in broken {
            for digit in 0..4 {
                let path = above | (digit << (2 * (level - 1)));
                if split.iter().any(|leaf| lowest_digits(*leaf, level) == path) {
                    below.insert(path);
                } else {
                    found.push(subgroup(group, path, level));
                }
            }
        }
        broken = below;
    }
    found
}
