//! The one way out to the terminal: results to standard output, trouble to standard error.

use std::io::Write;

/// Where a task's words go.
pub(crate) struct Report {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
}

impl Report {
    /// Standard output and standard error.
    pub(crate) fn to_terminal() -> Self {
        Self {
            out: Box::new(std::io::stdout()),
            err: Box::new(std::io::stderr()),
        }
    }

    /// A result.
    pub(crate) fn line(&mut self, text: &str) {
        // A closed pipe (`| head`) is the reader's choice, and the exit status tells the rest.
        writeln!(self.out, "{text}").ok();
    }

    /// What is wrong.
    pub(crate) fn trouble(&mut self, text: &str) {
        writeln!(self.err, "{text}").ok();
    }
}
