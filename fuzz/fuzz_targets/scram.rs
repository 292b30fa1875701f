//! No messages of a client that does not know the password log in, and none break the server.
//!
//! The first byte chooses the channel, the mechanism and whether the user exists; then come the
//! client's two messages, a line each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_keys::{ScramVerifier, Zeroizing};

#[allow(
    dead_code,
    unused_imports,
    reason = "the fuzz target uses a part of the module"
)]
#[path = "../../crates/gateway/src/scram/mod.rs"]
mod scram;
#[allow(dead_code, reason = "the fuzz target uses a part of the module")]
#[path = "../../crates/gateway/src/wire/mod.rs"]
mod wire;

use scram::{Channel, MockSecret, NONCE_BYTES, Offer, SCRAM, SCRAM_PLUS, ScramSecret};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some((body, used))) = wire::frontend::answer(bytes) {
        assert!(used <= bytes.len() && body.len() <= used);
        if let Ok((mechanism, message)) = wire::frontend::sasl_initial(body) {
            assert!(mechanism.len() + message.len() <= body.len());
        }
    }
    let Some((choice, messages)) = bytes.split_first() else {
        return;
    };
    let mut messages = messages.splitn(2, |byte| *byte == b'\n');
    let (Some(first), last) = (messages.next(), messages.next().unwrap_or_default()) else {
        return;
    };
    let channel = match choice & 1 {
        0 => Channel::Plain,
        _ => Channel::Tls { end_point: [5; 32] },
    };
    let mechanism = if choice & 2 == 0 { SCRAM } else { SCRAM_PLUS };
    let verifier =
        ScramVerifier::from_parts(4096, vec![3; 16], [1; 32], [2; 32]).expect("a verifier");
    let known = (choice & 4 == 0).then_some(&verifier);
    let mock = MockSecret::new(&Zeroizing::new([9; 32]));
    let secret = ScramSecret::new(&mock, "alice", known, choice & 8 == 0).expect("a secret");
    let offer = Offer::new(channel);
    if let Ok((challenged, challenge)) = offer.first(mechanism, first, secret, &[0; NONCE_BYTES]) {
        assert!(challenge.starts_with("r="));
        assert!(
            challenged.finish(last).is_err(),
            "nobody knows the password"
        );
    }
});
