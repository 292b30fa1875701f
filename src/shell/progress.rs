//! A progress bar for long loads: on standard error, and only when that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

/// How often a bar of unknown length moves while nothing else happens.
const TICK: Duration = Duration::from_millis(200);

/// Bytes that have gone through so far.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Of `total` bytes, or of nobody knows how many.
    pub(super) fn of(total: Option<u64>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let template = if total.is_some() {
            "{bar:40} {percent:>3}%  {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left"
        } else {
            "{spinner} {binary_bytes}, {binary_bytes_per_sec}"
        };
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// So many more.
    pub(super) fn add(&self, bytes: usize) {
        self.0.inc(bytes as u64);
    }
}

impl Drop for Progress {
    /// Leaves the terminal as it was, however the load ended.
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
