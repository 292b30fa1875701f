//! Any first packet is an opening or an error, and an opening keeps its bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "the fuzz target uses a part of the module")]
#[path = "../../crates/gateway/src/wire/mod.rs"]
mod wire;

use wire::startup::{
    MAX_NAME_BYTES, MAX_STARTUP_BYTES, NEWEST_MINOR, Opening, packet_length, parse,
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some(length)) = packet_length(bytes) {
        assert!((8..=MAX_STARTUP_BYTES).contains(&length));
    }
    // Nothing past the packet's length, and nothing short of it.
    let Ok(opening) = parse(bytes) else { return };
    assert!(packet_length(bytes).is_ok_and(|length| length == Some(bytes.len())));
    match opening {
        Opening::Startup(startup) => {
            assert!((1..=MAX_NAME_BYTES).contains(&startup.user.len()));
            assert!((1..=MAX_NAME_BYTES).contains(&startup.database.len()));
            assert!(startup.agreed_minor() <= NEWEST_MINOR);
            let names = [&startup.user, &startup.database];
            let parameters = startup
                .parameters
                .iter()
                .flat_map(|(name, value)| [name, value]);
            assert!(
                names
                    .into_iter()
                    .chain(parameters)
                    .all(|text| !text.contains('\0'))
            );
            let _: (bool, bool) = (startup.needs_negotiation(), startup.wants_replication());
        }
        Opening::Cancel(cancel) => assert!(cancel.key.len() >= 4),
        Opening::Ssl | Opening::GssEncryption => assert_eq!(bytes.len(), 8),
    }
});
