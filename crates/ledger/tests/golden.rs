//! Frozen bytes. "Signed bytes are sacred: one encoding, strict decoder, golden bytes, old bytes still
//! decode." The files in `tests/golden` are never changed and never removed: a file that this code
//! does not read any more, or writes otherwise, is a broken promise to every ledger out there.
//!
//! For a new kind of change add it at the end of `common::golden` and run this test once with
//! `PALISADE_WRITE_GOLDEN=1`: files that are missing are then written.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod common;

use std::collections::BTreeSet;

use common::{KINDS, fold, golden, golden_bytes, golden_dir, golden_world, hex, kind};
use palisade_ledger::decode;

#[test]
fn the_bytes_are_those_that_were_frozen() {
    let world = golden_world();
    for ((name, _, _), bytes) in golden().iter().zip(&world.log) {
        let path = golden_dir().join(format!("{name}.hex"));
        if !path.exists() && std::env::var_os("PALISADE_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, hex(bytes)).unwrap();
        }
        assert_eq!(&golden_bytes(name), bytes, "{name} is encoded otherwise");
    }
}

#[test]
fn every_frozen_entry_decodes_to_what_it_was() {
    for (name, _, change) in golden() {
        assert_eq!(
            decode(&golden_bytes(name)).unwrap().change,
            change,
            "{name}"
        );
    }
}

#[test]
fn the_frozen_chain_verifies() {
    let log: Vec<_> = golden().iter().map(|g| golden_bytes(g.0)).collect();
    let state = fold(&log, &common::cluster_key().public()).unwrap();
    assert_eq!(state, golden_world().state);
    // The heads of the chains that were frozen: with users alone, and with nodes.
    for (length, head) in [
        (
            22,
            "9a536e54df67ebb71d43b2283770259d17d9b787bc33e45b42325f26267acd8f",
        ),
        (
            48,
            "52bcd5fa5431bbeb468e470da1d61b75f0486357cf523656f594f9b7e4bec019",
        ),
    ] {
        let state = fold(&log[..length], &common::cluster_key().public()).unwrap();
        assert_eq!(state.head().hash.to_string(), head);
    }
}

#[test]
fn every_kind_is_frozen_and_no_file_is_forgotten() {
    let frozen: BTreeSet<_> = golden().iter().map(|(_, _, change)| kind(change)).collect();
    assert_eq!(frozen, BTreeSet::from(KINDS));
    let named: BTreeSet<_> = golden().iter().map(|g| format!("{}.hex", g.0)).collect();
    let files: BTreeSet<_> = std::fs::read_dir(golden_dir())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, named);
}

/// An item of CBOR, as far as the ledger uses it, read by the rules of RFC 8949, section 4.2.1, and
/// nothing else. Gives the offset behind the item.
fn deterministic(bytes: &[u8], at: usize) -> usize {
    let (major, info) = (bytes[at] >> 5, bytes[at] & 0x1f);
    let size = match info {
        0..=23 => 0,
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => panic!("indefinite or reserved length at {at}"),
    };
    let mut next = at + 1 + size;
    let value = match size {
        0 => u64::from(info),
        _ => bytes[at + 1..next]
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)),
    };
    let least = [0, 24, 1 << 8, 0, 1 << 16, 0, 0, 0, 1 << 32][size];
    match major {
        0 | 1 | 6 => assert!(value >= least, "a long integer at {at}"),
        2..=5 => assert!(value >= least, "a long length at {at}"),
        _ => {
            assert!(matches!(info, 20..=22), "not false, true or null at {at}");
            return next;
        }
    }
    let count = usize::try_from(value).unwrap();
    match major {
        2 | 3 => {
            let content = &bytes[next..next + count];
            if major == 3 {
                assert!(std::str::from_utf8(content).is_ok());
            }
            next + count
        }
        4 => (0..count).fold(next, |next, _| deterministic(bytes, next)),
        5 => {
            let mut before: Option<&[u8]> = None;
            for _ in 0..count {
                let key = next;
                next = deterministic(bytes, key);
                let key = &bytes[key..next];
                assert!(before < Some(key), "keys out of order before {next}");
                before = Some(key);
                next = deterministic(bytes, next);
            }
            next
        }
        6 => deterministic(bytes, next),
        _ => next,
    }
}

#[test]
fn frozen_entries_are_deterministic_cbor() {
    for (name, _, _) in golden() {
        let bytes = golden_bytes(name);
        assert_eq!(deterministic(&bytes, 0), bytes.len(), "{name}");
        // d2 84 43a10127 a0 58 LENGTH PAYLOAD 58 40 SIGNATURE, the payload an item by itself.
        let payload = match bytes[7] {
            0x58 => 9,
            0x59 => 10,
            other => panic!("{name}: {other:#x}"),
        };
        assert_eq!(deterministic(&bytes, payload), bytes.len() - 66, "{name}");
    }
}
