//! How a command ends: one exit status per class of outcome, for scripts.

use std::process::ExitCode;

/// The exit statuses of every command but `shell`; the help and the manual quote this table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; yes; healthy.
    Done,
    /// No, refused, unhealthy, or not verified.
    No,
    /// Wrong usage.
    Usage,
    /// No daemon answers.
    Unreachable,
    /// A local file can't be read or written.
    File,
}

impl Exit {
    /// The table for `--help`.
    pub(crate) const HELP: &'static str = "\
Exit status:
  0  done; for a question, yes; for status, healthy
  1  no: refused, unhealthy, or not verified
  2  wrong usage
  3  no daemon answers
  4  a local file can't be read or written";

    fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::File => 4,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_status() {
        for exit in [
            Exit::Done,
            Exit::No,
            Exit::Usage,
            Exit::Unreachable,
            Exit::File,
        ] {
            let row = format!("  {}  ", exit.code());
            assert!(Exit::HELP.contains(&row), "{row}");
        }
    }
}
