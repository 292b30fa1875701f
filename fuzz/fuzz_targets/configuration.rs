//! Any text is a configuration or an error that can be drawn; a configuration is read back as it is
//! written.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

#[allow(
    dead_code,
    unused_imports,
    reason = "the fuzz target uses a part of the module"
)]
#[path = "../../crates/daemon/src/config/mod.rs"]
mod config;

use config::Config;

fuzz_target!(|text: &str| {
    let path = Path::new("palisade.cfg");
    match Config::parse(text, path, []) {
        Ok(config) => {
            let written = serde_json::to_string(&config).expect("a configuration is JSON");
            let again = Config::parse(&written, path, []).expect("a written configuration is one");
            assert_eq!(again, config);
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(!error.render(false).is_empty());
            assert!(!error.render(true).is_empty());
        }
    }
});
