//! `cargo xtask fuzz`: every fuzz target for a few seconds.

use std::process::Command;

/// Long enough to run over the stored corpus, short enough for every push.
const DEFAULT_SECONDS: u32 = 10;

/// Hands over to `fuzz/run.sh`, which knows the targets.
pub(crate) fn run(options: &[&str]) -> Result<(), String> {
    let seconds = seconds(options)?;
    let script = crate::root()?.join("fuzz/run.sh");
    let status = Command::new("bash")
        .arg(&script)
        .arg(seconds.to_string())
        .status()
        .map_err(|error| format!("can't run bash: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{}: {status}", script.display()))
    }
}

fn seconds(options: &[&str]) -> Result<u32, String> {
    let number = match options {
        [] => return Ok(DEFAULT_SECONDS),
        ["--seconds", number] => number,
        [one] if one.starts_with("--seconds=") => one.trim_start_matches("--seconds="),
        _ => return Err("usage: cargo xtask fuzz [--seconds N]".to_owned()),
    };
    match number.parse() {
        Ok(seconds @ 1..) => Ok(seconds),
        _ => Err(format!("--seconds takes a number above 0, not `{number}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_seconds_in_both_spellings() {
        assert_eq!(seconds(&[]), Ok(10));
        assert_eq!(seconds(&["--seconds", "3"]), Ok(3));
        assert_eq!(seconds(&["--seconds=4"]), Ok(4));
        assert!(seconds(&["--seconds", "0"]).is_err());
        assert!(seconds(&["--second", "3"]).is_err());
    }
}
