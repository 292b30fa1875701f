//! Any bytes are an entry or an error, and an entry has one encoding: signed again it differs in
//! nothing but the signature.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_keys::{SecretKey, Zeroizing};
use palisade_ledger::{decode, sign, split, verify_genesis};

/// Bytes of an Ed25519 signature, which ends an entry.
const SIGNATURE_BYTES: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let key = SecretKey::from_seed(Zeroizing::new([7; 32])).expect("a key");
    match decode(bytes) {
        Ok(entry) => {
            let again = sign(&entry, &key).expect("a decoded entry can be signed");
            let without = |bytes: &[u8]| bytes[..bytes.len() - SIGNATURE_BYTES].to_vec();
            assert_eq!(without(&again), without(bytes));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    // Nobody has signed with this key here, so no bytes are a genesis under it.
    assert!(verify_genesis(bytes, &key.public()).is_err());
    if let Ok(entries) = split(bytes) {
        assert_eq!(entries.concat(), bytes);
    }
});
