//! The command line of `palisade shell`.

use super::exit::Exit;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the gateway listens unless told otherwise (design section 6).
const DEFAULT_PORT: u16 = 5433;

/// Talks SQL to a cluster.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = Exit::HELP)]
pub(crate) struct ShellArgs {
    /// The cluster's public key; the server must prove that it belongs to it [default: that in `PALISADE_DIR`]
    #[arg(long, value_name = "FILE", env = "PALISADE_CLUSTER_PUBLIC_KEY_FILE")]
    pub(super) cluster_public_key_file: Option<PathBuf>,

    /// Your name and secret key, as `palisade user add -s` wrote them [default: `PALISADE_CREDENTIALS`]
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

impl ShellArgs {
    /// Fills in what the other commands take from the environment: the cluster's public key in the
    /// directory `PALISADE_DIR`, and, towards a server that must prove it, the credentials
    /// `PALISADE_CREDENTIALS`.
    pub(super) fn or_from(mut self, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        if self.cluster_public_key_file.is_none() {
            let key = variable("PALISADE_DIR")
                .map(|dir| PathBuf::from(dir).join("cluster_public.key"))
                .filter(|key| key.exists());
            self.cluster_public_key_file = key;
        }
        if self.cluster_public_key_file.is_some() && self.user_credentials_file.is_none() {
            self.user_credentials_file = variable("PALISADE_CREDENTIALS").map(PathBuf::from);
        }
        self
    }
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
    fn the_environment_of_the_other_commands_counts_here_too() {
        let dir = tempfile::tempdir().unwrap();
        let variable = |name: &str| match name {
            "PALISADE_DIR" => Some(dir.path().as_os_str().to_owned()),
            "PALISADE_CREDENTIALS" => Some("alice".into()),
            _ => None,
        };
        let args = |words: &[&str]| Cli::try_parse_from(words).ok().unwrap().shell;
        // Without the cluster's key the credentials are shown to nobody.
        let none = args(&["shell"]).or_from(variable);
        assert_eq!(none.user_credentials_file, None);
        std::fs::write(dir.path().join("cluster_public.key"), "P").unwrap();
        let found = args(&["shell"]).or_from(variable);
        let key = dir.path().join("cluster_public.key");
        assert_eq!(found.cluster_public_key_file, Some(key));
        assert_eq!(found.user_credentials_file, Some("alice".into()));
        let said = args(&["shell", "--cluster-public-key-file=k"]).or_from(variable);
        assert_eq!(said.cluster_public_key_file, Some("k".into()));
    }

    #[test]
    fn a_secret_is_never_shown_to_a_server_that_proves_nothing() {
        assert!(Cli::try_parse_from(["shell", "--user-credentials-file=a"]).is_err());
    }
}
