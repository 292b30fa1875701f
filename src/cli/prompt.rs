//! Questions to the person at the terminal: passwords and confirmations.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

use palisade_keys::Zeroizing;

use super::error::CliError;
use super::files;

/// Bytes of a password's file: PostgreSQL's clients send at most 1 KiB of password.
const MAX_PASSWORD_BYTES: u64 = 1024;
/// Bytes of an answer to a question.
const MAX_ANSWER_BYTES: u64 = 1024;

/// A new password: the first line of a file or of standard input (`-`), else asked for twice.
pub(crate) fn new_password(file: Option<&Path>) -> Result<Zeroizing<String>, CliError> {
    let password = match file {
        Some(path) => first_line(&files::read_secret(path, MAX_PASSWORD_BYTES)?),
        None => ask_twice()?,
    };
    if password.is_empty() {
        return Err(CliError::usage("the password is empty"));
    }
    if password.contains('\0') {
        return Err(CliError::usage("a password has no NUL character"));
    }
    Ok(password)
}

fn first_line(text: &Zeroizing<String>) -> Zeroizing<String> {
    let line = text.split('\n').next().unwrap_or_default();
    Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

fn ask_twice() -> Result<Zeroizing<String>, CliError> {
    let ask = |question: &str| {
        rpassword::prompt_password(question)
            .map(Zeroizing::new)
            .map_err(|error| {
                CliError::usage("there is no terminal to ask for the password")
                    .because(&error)
                    .hint("give it with --password-file FILE, or --password-file - for standard input")
            })
    };
    let password = ask("New password: ")?;
    if *ask("Again: ")? == *password {
        Ok(password)
    } else {
        Err(CliError::usage("the two passwords differ"))
    }
}

/// Asks a question on standard error and reads one line, if there is a terminal.
fn ask(question: &str) -> Result<String, CliError> {
    if !io::stdin().is_terminal() {
        return Err(
            CliError::usage("this must be confirmed, and there is no terminal")
                .hint("say --yes to confirm it (twice where it is asked twice)"),
        );
    }
    let fail = |error: io::Error| CliError::usage("can't ask").because(&error);
    let mut err = io::stderr().lock();
    write!(err, "{} ", super::out::plain(question))
        .and_then(|()| err.flush())
        .map_err(fail)?;
    let mut line = String::new();
    io::Read::take(io::stdin().lock(), MAX_ANSWER_BYTES)
        .read_line(&mut line)
        .map_err(fail)?;
    Ok(line.trim().to_owned())
}

/// Asks for yes or no, unless it was said on the command line.
pub(crate) fn confirm(question: &str, said: bool) -> Result<(), CliError> {
    if said {
        return Ok(());
    }
    match ask(&format!("{question} [y/N]"))?.as_str() {
        "y" | "Y" | "yes" | "Yes" => Ok(()),
        _ => Err(CliError::no("nothing was done")),
    }
}

/// Asks twice, in two ways: the cluster's name, then yes or no. `--yes --yes` answers both.
pub(crate) fn confirm_twice(what: &str, cluster: &str, said: u8) -> Result<(), CliError> {
    if said >= 2 {
        return Ok(());
    }
    let typed =
        ask(&format!("{what}\nType the cluster's name, {cluster}, to go on:").replace('\n', " "))?;
    if typed != cluster {
        return Err(CliError::no(
            "this is not the cluster's name; nothing was done",
        ));
    }
    confirm("Really?", false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(contents: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(contents).unwrap();
        file
    }

    #[test]
    fn a_password_is_the_first_line() {
        for text in ["pencil", "pencil\n", "pencil\r\n", "pencil\nmore\n"] {
            let file = file(text.as_bytes());
            assert_eq!(
                *new_password(Some(file.path())).unwrap(),
                "pencil",
                "{text:?}"
            );
        }
    }

    #[test]
    fn no_password_is_no_password() {
        for text in ["", "\n", "\npencil", "a\0b"] {
            let file = file(text.as_bytes());
            assert!(new_password(Some(file.path())).is_err(), "{text:?}");
        }
    }
}
