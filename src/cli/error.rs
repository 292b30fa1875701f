//! What a command says when it does not do what was asked: `error:`, the causes, and `hint:` lines.

use std::error::Error;
use std::fmt;

use palisade_daemon::join::NoEntry;
use palisade_ledger::Refusal;
use palisade_link::client::ClientError;
use palisade_link::https::OpenError;

use super::exit::Exit;

/// Why a command failed, for the person at the terminal. Holds no secret.
#[derive(Debug)]
pub(crate) struct CliError {
    exit: Exit,
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
    silent: bool,
    /// The ledger is not shown to who asks.
    hidden: bool,
}

/// What a command comes to.
pub(crate) type Outcome = Result<Exit, CliError>;

impl CliError {
    /// Refused, or the answer is no.
    pub(crate) fn no(message: impl Into<String>) -> Self {
        Self::new(Exit::No, message)
    }

    /// The command line asks for something that can't be.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A local file can't be read or written.
    pub(crate) fn file(message: impl Into<String>) -> Self {
        Self::new(Exit::File, message)
    }

    /// Nobody answers, or not as who is expected.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, message)
    }

    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            causes: Vec::new(),
            hints: Vec::new(),
            silent: false,
            hidden: false,
        }
    }

    /// Adds what lies below, down to the last source.
    pub(crate) fn because(mut self, error: &dyn Error) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            // Many errors repeat their source in their own words.
            if self
                .causes
                .last()
                .is_none_or(|above| !above.contains(&text))
            {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Nobody is there to be told: the reader of the answer has gone.
    pub(crate) fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// Whether the ledger is not shown to who asks, over the network.
    pub(crate) fn is_hidden(&self) -> bool {
        self.hidden
    }

    /// Whether to say nothing.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent
    }

    /// The status to exit with.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", super::out::plain(&self.message))?;
        for cause in &self.causes {
            write!(f, ": {}", super::out::plain(cause))?;
        }
        for hint in &self.hints {
            write!(f, "\nhint: {}", super::out::plain(hint))?;
        }
        Ok(())
    }
}

impl Error for CliError {}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        match &error {
            ClientError::Connect { path, source } => {
                let start =
                    "start the cluster with `palisade up`, or name its directory with --dir";
                let hint = match source.kind() {
                    std::io::ErrorKind::PermissionDenied => {
                        "the control socket is for the user that runs the daemon, and root; try sudo"
                    }
                    _ => start,
                };
                Self::new(
                    Exit::Unreachable,
                    format!("no daemon answers at {}", path.display()),
                )
                .because(source)
                .hint(hint)
            }
            ClientError::Open(open) => Self::from(open),
            ClientError::Broken(_) => Self::new(Exit::Unreachable, error.to_string()).hint(
                "if a change was being made, `palisade ledger log` shows whether it was taken",
            ),
            ClientError::Refused(failure) => Self {
                hidden: failure.error == NoEntry::Ledger.to_string(),
                ..Self::no(format!("the daemon refused: {}", failure.error))
            },
            ClientError::Reply(_) => Self::new(Exit::Unreachable, error.to_string())
                .hint("is this socket another program's, or another version's?"),
        }
    }
}

impl From<&OpenError> for CliError {
    fn from(error: &OpenError) -> Self {
        match error {
            OpenError::Connect { .. } | OpenError::Slow { .. } => {
                Self::new(Exit::Unreachable, error.to_string())
                    .hint("is its daemon running, and does its api.listen let you reach it?")
            }
            OpenError::WrongKey { .. } | OpenError::Untrusted { .. } => Self::no(error.to_string())
                .hint("is this another cluster's node, or does somebody stand in between? nothing was said to it"),
            OpenError::Handshake { .. } | OpenError::OtherDoor(_) => {
                Self::new(Exit::Unreachable, error.to_string())
                    .hint("the port is that of a node's API (api.listen), 7433 if nobody chose another")
            }
            OpenError::Config(_) => Self::usage(error.to_string()),
        }
    }
}

impl From<Refusal> for CliError {
    fn from(refusal: Refusal) -> Self {
        let error = Self::no(refusal.to_string());
        match refusal {
            Refusal::Missing { .. } | Refusal::Exceeds { .. } | Refusal::SuperuserNeeded(_) => {
                error.hint("sign as a user who may, with --as CREDENTIALS")
            }
            Refusal::Guard(_) => {
                error.hint("with --as-cluster-key FILE the cluster key may do it all the same")
            }
            Refusal::NameTaken(_) => error.hint("`palisade user list` shows who is there"),
            _ => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_with_its_causes_then_the_hints() {
        let source = std::io::Error::other("disk on fire");
        let error = CliError::file("can't write /x")
            .because(&source)
            .hint("put it out");
        assert_eq!(
            error.to_string(),
            "error: can't write /x: disk on fire\nhint: put it out"
        );
    }

    #[test]
    fn what_others_wrote_does_not_reach_the_terminal_raw() {
        let error = CliError::no("user \u{1b}[2J");
        assert_eq!(error.to_string(), "error: user \\u{1b}[2J");
    }
}
