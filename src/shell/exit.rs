//! How the shell ends: one exit code per class of error, for scripts.

use std::process::ExitCode;

/// The exit codes of `palisade shell`; its help and manual quote this table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// All that was asked was done.
    Done,
    /// Wrong usage, or a local file that can't be read or written.
    Usage,
    /// The cluster can't be reached, refused the login, or the connection was lost.
    Connection,
    /// The server refused a statement of `-c`, `-f` or standard input.
    Sql,
    /// It refused one for want of a right (SQLSTATE 42501).
    Right,
    /// Ctrl-C outside a query (128 + SIGINT, as shells count).
    Interrupted,
}

impl Exit {
    /// Examples and the table for `--help`.
    pub(super) const HELP: &'static str = "\
Examples:
  palisade shell --cluster-public-key-file=cluster_public.key --user-credentials-file=alice.key
  palisade shell ... --cluster db1.example.com:5433 -c 'select now()' --format csv
  palisade shell ... -c '\\copy orders from orders.csv csv header'
  palisade shell ... -f schema.sql

Exit status:
    0  all was done
    1  wrong usage, or a local file can't be read or written
    2  the cluster can't be reached, refused the login, or the connection was lost
    3  the server refused a statement (with -c, -f or piped input, which stop there)
    4  it refused one for want of a right (SQLSTATE 42501)
  130  interrupted";

    fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Usage => 1,
            Self::Connection => 2,
            Self::Sql => 3,
            Self::Right => 4,
            Self::Interrupted => 130,
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
    fn the_help_names_every_code() {
        let exits = [
            Exit::Done,
            Exit::Usage,
            Exit::Connection,
            Exit::Sql,
            Exit::Right,
            Exit::Interrupted,
        ];
        for exit in exits {
            let code = format!("  {}  ", exit.code());
            assert!(Exit::HELP.contains(&code), "{code}");
        }
    }
}
