//! `palisade user cert`: the user's key in the form that psql and other TLS clients take.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use palisade_ledger::UserName;
use palisade_link::x509::user_certificate;
use time::Duration;

use crate::cli::common::{ClusterArgs, read_credentials};
use crate::cli::error::{CliError, Outcome};
use crate::cli::exit::Exit;
use crate::cli::files::{self, Audience, shell_quote};
use crate::cli::view::Link;
use crate::cli::{clock, entropy, out};

/// Write a certificate and its key with which psql logs in as you.
///
/// The certificate is signed by your own key: it proves that key to the gateway and nothing else, and
/// is worth as much as the key is. NAME.crt and NAME.key (mode 0600) are written.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade user cert --as alice.credentials
  palisade user cert alice --as alice.credentials --out ~/.postgresql --force")]
pub(super) struct CertArgs {
    /// Your name, if it is to be checked against the credentials
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// The directory for the two files
    #[arg(long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    out: PathBuf,

    /// Days that the certificate is good for
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: u16,

    /// Replace files that are there
    #[arg(long)]
    force: bool,

    /// The gateway's name or address, for the psql line [default: the daemon is asked, else 127.0.0.1]
    #[arg(long, value_name = "HOST")]
    host: Option<String>,

    /// The gateway's port, for the psql line [default: the daemon is asked, else 5433]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,

    /// The database, for the psql line [default: the daemon is asked, else main]
    #[arg(long, value_name = "NAME")]
    database: Option<String>,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs it.
pub(super) fn run(args: &CertArgs) -> Outcome {
    let path = args.cluster.credentials()?;
    let credentials = read_credentials(path)?;
    let name = UserName::new(credentials.username.as_str()).map_err(|error| {
        CliError::file(format!("{} names no user", path.display())).because(&error)
    })?;
    if let Some(asked) = args.name.as_deref().filter(|asked| *asked != name.as_str()) {
        return Err(CliError::usage(format!(
            "these are the credentials of {name}, not of {asked}"
        )));
    }
    let stem = file_stem(&name)?;
    let (certificate, key) = (
        args.out.join(format!("{stem}.crt")),
        args.out.join(format!("{stem}.key")),
    );
    for file in [&certificate, &key] {
        if files::same_file(file, path) {
            return Err(CliError::usage(format!(
                "{} holds the credentials themselves",
                file.display()
            ))
            .hint("write the pair to another directory, with --out DIR"));
        }
    }
    let leaf = user_certificate(
        name.as_str(),
        &credentials.secret_key,
        &entropy::serial()?,
        clock::now(),
        Duration::days(i64::from(args.days)),
    )
    .map_err(|error| CliError::no("can't make the certificate").because(&error))?;
    let secret = leaf.expose_key_pem();
    let chain = leaf.chain_pem();
    files::place_all(vec![
        files::stage(&key, secret.as_bytes(), Audience::Owner, args.force)?,
        files::stage(
            &certificate,
            chain.as_bytes(),
            Audience::Everybody,
            args.force,
        )?,
    ])?;
    out::line(&psql_line(args, &name, &certificate, &key)?)?;
    Ok(Exit::Done)
}

/// The name as a file's name: it may lead nowhere else.
fn file_stem(name: &UserName) -> Result<&str, CliError> {
    let name = name.as_str();
    if name.contains('/') || name.starts_with('.') {
        return Err(CliError::no(format!(
            "the name {name} can't be the name of a file"
        )));
    }
    Ok(name)
}

fn psql_line(
    args: &CertArgs,
    name: &UserName,
    certificate: &Path,
    key: &Path,
) -> Result<String, CliError> {
    let root = args.cluster.directory()?.join("root.crt");
    let absolute = |path: &Path| {
        let absolute = std::path::absolute(path);
        absolute
            .unwrap_or_else(|_| path.to_path_buf())
            .display()
            .to_string()
    };
    let Place {
        host,
        port,
        database,
    } = place(args);
    let words = [
        ("host", host),
        ("port", port.to_string()),
        ("dbname", database),
        ("user", name.to_string()),
        ("sslmode", "verify-full".to_owned()),
        ("sslrootcert", absolute(&root)),
        ("sslcert", absolute(certificate)),
        ("sslkey", absolute(key)),
    ];
    let words = words.map(|(word, value)| format!("{word}={}", conninfo_value(&value)));
    Ok(format!("psql {}", shell_quote_always(&words.join(" "))))
}

/// Where psql finds the cluster.
struct Place {
    host: String,
    port: u16,
    database: String,
}

/// What the options say, else the daemon if one answers, else the defaults.
fn place(args: &CertArgs) -> Place {
    let asked = || {
        let link = Link::new(&args.cluster).ok()?;
        link.status().ok()
    };
    let status = match (&args.host, args.port, &args.database) {
        (Some(_), Some(_), Some(_)) => None,
        _ => asked(),
    };
    let gateway = status.as_ref().and_then(|status| status.gateway.first());
    let gateway = gateway.and_then(|text| text.parse::<SocketAddr>().ok());
    let host = gateway.map(|gateway| match gateway.ip() {
        ip if ip.is_unspecified() => "localhost".to_owned(),
        ip => ip.to_string(),
    });
    Place {
        host: args
            .host
            .clone()
            .or(host)
            .unwrap_or_else(|| "127.0.0.1".to_owned()),
        port: args
            .port
            .or(gateway.map(|gateway| gateway.port()))
            .unwrap_or(5433),
        database: args
            .database
            .clone()
            .or(status.map(|status| status.database))
            .unwrap_or_else(|| "main".to_owned()),
    }
}

/// A value as libpq reads it (PostgreSQL, "Keyword/Value Connection Strings").
fn conninfo_value(value: &str) -> String {
    if !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || c == '\'' || c == '\\') {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The whole connection string is one word to the shell.
fn shell_quote_always(text: &str) -> String {
    let quoted = shell_quote(text);
    if quoted.starts_with('\'') {
        quoted
    } else {
        format!("'{quoted}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_as_libpq_reads_them() {
        assert_eq!(conninfo_value("/a/b.crt"), "/a/b.crt");
        assert_eq!(conninfo_value(""), "''");
        assert_eq!(conninfo_value("a b'c\\d"), "'a b\\'c\\\\d'");
    }

    #[test]
    fn a_name_leads_to_no_other_directory() {
        for name in ["../../etc/x", "a/b", ".bashrc", ".."] {
            let name = UserName::new(name).unwrap();
            assert!(file_stem(&name).is_err(), "{name}");
        }
    }
}
