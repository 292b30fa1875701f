//! The log: to standard error, for people or machines.

use palisade_daemon::config::{Log, LogFormat, LogLevel};
use tracing_subscriber::EnvFilter;

/// Starts the log. `PALISADE_LOG` (in the form of `RUST_LOG`) overrides the level.
pub(crate) fn start(log: &Log) {
    let filter = EnvFilter::try_from_env("PALISADE_LOG")
        .unwrap_or_else(|_| EnvFilter::new(log.level.as_str()));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    // A second start in one process keeps the first log.
    let started = match log.format {
        LogFormat::Text => subscriber.try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
    drop(started);
}

/// A log of what needs attention alone, for a command that shows its own progress.
pub(crate) fn start_quiet() {
    start(&Log {
        level: LogLevel::Warn,
        format: LogFormat::Text,
    });
}
