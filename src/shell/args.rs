//! The command line of `palisade shell`.

use super::exit::Exit;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the gateway listens unless told otherwise (design section 6).
const DEFAULT_PORT: u16 = 5433;

/// Talks SQL to a cluster.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = Exit::HELP)]
pub(crate) struct ShellArgs {
    /// The cluster's public key; the server must prove that it belongs to it
    #[arg(long, value_name = "FILE", env = "PALISADE_CLUSTER_PUBLIC_KEY_FILE")]
    pub(super) cluster_public_key_file: Option<PathBuf>,

    /// Your name and secret key, as `palisade user add -s` wrote them
    #[arg(
        long,
        value_name = "FILE",
        env = "PALISADE_USER_CREDENTIALS_FILE",
        requires = "cluster_public_key_file"
    )]
    pub(super) user_credentials_file: Option<PathBuf>,

    /// The gateway to talk to
    #[arg(
        long,
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:5433",
        env = "PALISADE_CLUSTER"
    )]
    pub(super) cluster: Target,

    /// The database
    #[arg(short, long, value_name = "NAME", default_value = "main")]
    pub(super) database: String,

    /// Run this and exit: SQL statements, or a backslash command (may be repeated)
    #[arg(short, long = "command", value_name = "SQL", conflicts_with = "file")]
    pub(super) command: Vec<String>,

    /// Run the statements of a file and exit; `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,

    /// How rows are written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(super) format: Format,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns, with the number of rows
    Table,
    /// RFC 4180 with a header; NULL is empty, an empty string is ""
    Csv,
    /// For each result one array with an object for each row
    Json,
}

impl Format {
    /// As it is typed.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }
}

/// Host and port of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// A name or an address, without brackets.
    pub(super) host: String,
    /// Its port.
    pub(super) port: u16,
}

/// Not `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected HOST:PORT, such as db1.example.com:5433 or [::1]:5433")]
pub(crate) struct BadTarget;

impl FromStr for Target {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or(BadTarget)?;
            (
                host,
                if rest.is_empty() {
                    None
                } else {
                    Some(rest.strip_prefix(':').ok_or(BadTarget)?)
                },
            )
        } else if text.matches(':').count() > 1 {
            // An IPv6 address without brackets has no port.
            (text, None)
        } else {
            text.split_once(':')
                .map_or((text, None), |(host, port)| (host, Some(port)))
        };
        let port = match port.map(str::parse) {
            None => DEFAULT_PORT,
            Some(Ok(port @ 1..)) => port,
            Some(_) => return Err(BadTarget),
        };
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
            return Err(BadTarget);
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        shell: ShellArgs,
    }

    #[test]
    fn a_target_is_a_host_and_a_port() {
        for (text, host, port) in [
            ("db1", "db1", 5433),
            ("db1:1234", "db1", 1234),
            ("127.0.0.1:1", "127.0.0.1", 1),
            ("[::1]:7", "::1", 7),
            ("[::1]", "::1", 5433),
            ("::1", "::1", 5433),
        ] {
            assert_eq!(
                text.parse(),
                Ok(Target {
                    host: host.to_owned(),
                    port
                }),
                "{text}"
            );
        }
        for text in [
            "",
            ":1",
            "db1:",
            "db1:0",
            "db1:70000",
            "[::1",
            "[::1]7",
            "a b:1",
            "http://a",
        ] {
            assert_eq!(text.parse::<Target>(), Err(BadTarget), "{text}");
        }
        assert_eq!("[::1]:7".parse::<Target>().unwrap().to_string(), "[::1]:7");
    }

    #[test]
    fn takes_the_seeds_command_line() {
        let cli = Cli::try_parse_from([
            "shell",
            "--cluster-public-key-file=/etc/qdb/cluster_public.key",
            "--user-credentials-file=alice_private.key",
        ])
        .unwrap();
        assert_eq!(
            cli.shell.user_credentials_file,
            Some("alice_private.key".into())
        );
        assert_eq!(cli.shell.database, "main");
    }

    #[test]
    fn a_secret_is_never_shown_to_a_server_that_proves_nothing() {
        assert!(Cli::try_parse_from(["shell", "--user-credentials-file=a"]).is_err());
    }
}
