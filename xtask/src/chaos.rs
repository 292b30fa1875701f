//! `cargo xtask chaos [--runs N] [--seed N]`: the cluster test under random faults, as often as one likes.

use std::process::Command;

const USAGE: &str = "usage: cargo xtask chaos [--runs N] [--seed N]";

/// Runs `N` schedules (300 by default), from the seed on (1 by default).
pub(crate) fn run(options: &[&str]) -> Result<(), String> {
    let (mut runs, mut seed) = (300_u64, 1_u64);
    let mut rest = options;
    while let [name, value, more @ ..] = rest {
        let value = value
            .parse()
            .map_err(|_| format!("{name} takes a whole number"))?;
        match *name {
            "--runs" => runs = value,
            "--seed" => seed = value,
            _ => return Err(USAGE.to_owned()),
        }
        rest = more;
    }
    if !rest.is_empty() {
        return Err(USAGE.to_owned());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(crate::root()?)
        .args(["test", "--package", "palisade", "--test", "chaos"])
        .args(["--", "--nocapture", "faults_lose_nothing"])
        .env("CHAOS_RUNS", runs.to_string())
        .env("CHAOS_SEED", seed.to_string())
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("the chaos test failed: {status}"))
    }
}
