//! Development tasks: `cargo xtask TASK`.
//!
//! What runs in CI stands here or in `.ci/run`, so that a developer's machine does the same.

mod bench;
mod chaos;
mod crash;
mod fuzz;
mod generate;
mod layers;
mod report;
mod sources;

use report::Report;
use std::process::ExitCode;

/// What `cargo xtask` can do, and nothing else.
const USAGE: &str = "usage: cargo xtask TASK
  bench gateway [--rounds N] [--seconds N] [--clients N] [--json]
                      measure the gateway beside PgBouncer and straight PostgreSQL
  bench nodes [--runs N] [--json]
                      measure three nodes: until they stand, and until a disabled user is out
  bench reconcile [--largest N]
                      measure reconciliations of up to N tables and as many users
  chaos [--runs N] [--seed N]
                      three nodes under N schedules of random faults (default 300; needs root)
  crash [--runs N]    kill the daemon amid appends N times (default 200)
  layers              check that every dependency edge is in the design's picture
  fuzz [--seconds N]  run each fuzz target for N seconds (default 10)
  generate [--check]  write (or only compare) the files made from the program: man pages,
                      completions, reference, and what Markdown files quote of it
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut report = Report::to_terminal();
    let done = match words.as_slice() {
        ["bench", options @ ..] => bench::run(options, &mut report),
        ["chaos", options @ ..] => chaos::run(options),
        ["crash", options @ ..] => crash::run(options),
        ["layers"] => layers::run(&mut report),
        ["fuzz", options @ ..] => fuzz::run(options),
        ["generate", options @ ..] => generate::run(options, &mut report),
        ["help" | "-h" | "--help"] => {
            report.line(USAGE.trim_end());
            return ExitCode::SUCCESS;
        }
        _ => {
            report.trouble(USAGE.trim_end());
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            report.trouble(&trouble);
            ExitCode::FAILURE
        }
    }
}

/// The repository's root: the directory above this package's.
fn root() -> Result<std::path::PathBuf, String> {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(std::path::Path::to_owned)
        .ok_or_else(|| "xtask has no parent directory".to_owned())
}
