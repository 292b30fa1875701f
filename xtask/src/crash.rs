//! `cargo xtask crash [--runs N]`: the crash test, as often as one likes.

use std::process::Command;

/// Runs the crash test `N` times (200 by default).
pub(crate) fn run(options: &[&str]) -> Result<(), String> {
    let runs: u32 = match options {
        [] => 200,
        ["--runs", runs] => runs
            .parse()
            .map_err(|_| "--runs takes a whole number".to_owned())?,
        _ => return Err("usage: cargo xtask crash [--runs N]".to_owned()),
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(crate::root()?)
        .args(["test", "--package", "palisade", "--test", "crash"])
        .args(["--", "--nocapture", "every_acknowledged_entry"])
        .env("CRASH_RUNS", runs.to_string())
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("the crash test failed: {status}"))
    }
}
