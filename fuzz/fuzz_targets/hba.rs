//! Any text is rules or an error; rules are read back as they are written, and decide.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_hba::{Request, Rules};

fuzz_target!(|text: &str| {
    match Rules::parse(text) {
        Ok(rules) => {
            assert_eq!(rules.text(), text);
            for rule in &rules {
                let again = Rules::parse(&rule.to_string()).expect("a written rule is a rule");
                assert!(again.iter().all(|read| read.same_meaning(rule)));
                assert_eq!(again.len(), 1);
            }
            let member = |role: &str| role == "a";
            for (address, tls) in [("10.0.0.1", true), ("::1", false)] {
                let address = address.parse().expect("an address");
                let request = Request::tcp(address, tls, "b", "a").with_memberships(&member);
                let found = rules.first_match(&request).rule();
                assert!(found.is_none_or(|rule| rule.matches(&request)));
            }
        }
        Err(error) => {
            assert!(error.line() >= 1 && error.column() >= 1);
            assert!(!error.to_string().is_empty());
        }
    }
});
