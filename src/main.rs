//! Palisade turns PostgreSQL servers into one secured cluster.

mod cli;
mod node;
mod shell;
mod up;

use std::process::ExitCode;

fn main() -> ExitCode {
    palisade_daemon::system::hide_memory();
    cli::main()
}
