//! Progress of commands that take several steps: a spinner on a terminal, lines elsewhere. Always on standard error.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// The steps, one at a time.
pub(crate) struct Steps {
    terminal: bool,
    current: Mutex<Option<(ProgressBar, String)>>,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            current: Mutex::new(None),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(ProgressBar, String)>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the step before, and begins one.
    pub(crate) fn begin(&self, step: &str) {
        self.done();
        if !self.terminal {
            // A closed standard error is no reason to stop.
            drop(writeln!(std::io::stderr(), "{step} ..."));
            return;
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg} ...") {
            bar.set_style(style);
        }
        bar.set_message(step.to_owned());
        bar.enable_steady_tick(Duration::from_millis(80));
        *self.lock() = Some((bar, step.to_owned()));
    }

    /// Says something beside the steps.
    pub(crate) fn note(&self, text: &str) {
        self.done();
        drop(writeln!(std::io::stderr(), "{text}"));
    }

    /// The step that is under way did not succeed.
    pub(crate) fn fail(&self) {
        let current = self.lock().take();
        if let Some((bar, step)) = current {
            bar.finish_and_clear();
            drop(writeln!(std::io::stderr(), "  \u{2717} {step}"));
        }
    }

    /// Ends the step that is under way.
    pub(crate) fn done(&self) {
        let current = self.lock().take();
        if let Some((bar, step)) = current {
            bar.finish_and_clear();
            drop(writeln!(std::io::stderr(), "  \u{2713} {step}"));
        }
    }
}
