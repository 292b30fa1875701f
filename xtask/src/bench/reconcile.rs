//! `cargo xtask bench reconcile`: what a reconciliation costs as tables and users grow.

use std::process::Command;

const USAGE: &str = "usage: cargo xtask bench reconcile [--largest N]";
/// Tables, and users, of the largest size.
const LARGEST: u32 = 1000;

/// Runs the agent's example `scale`, built with optimisations.
pub(super) fn run(words: &[&str]) -> Result<(), String> {
    let largest = match words {
        [] => LARGEST,
        // A quarter of it is the smallest size, and a few users are changed by number.
        ["--largest", number] => number
            .parse()
            .ok()
            .filter(|largest| *largest >= 40)
            .ok_or_else(|| format!("--largest takes a number, 40 or more\n{USAGE}"))?,
        _ => return Err(USAGE.to_owned()),
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut scale = Command::new(cargo);
    scale
        .args(["run", "--release", "--quiet", "-p", "palisade-agent"])
        .args(["--example", "scale", "--", &largest.to_string()])
        .current_dir(crate::root()?);
    super::done(&mut scale)
}
