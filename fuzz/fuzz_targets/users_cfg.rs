//! Any text is a list of users or an error; a list is read back as it is written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_ledger::users_cfg::UsersCfg;

fuzz_target!(|text: &str| {
    match UsersCfg::parse(text) {
        Ok(users) => {
            let again = UsersCfg::parse(&users.text()).expect("a written list is a list");
            assert_eq!(again, users);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
