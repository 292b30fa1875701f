//! Backslash commands: what people know from psql. One table feeds the parser, `\?` and completion.

use super::args::Format;
use super::copy::{Copy, CopyError};
use super::describe::{Describe, Kind};

/// A backslash command, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meta {
    Quit,
    Help,
    SqlHelp(String),
    Describe(Describe),
    Expanded(Option<bool>),
    Timing(Option<bool>),
    Format(Option<Format>),
    Include(String),
    Output(Option<String>),
    Echo(String),
    Copy(Copy),
    Connect(Option<String>),
    ConnectionInfo,
    /// Run the buffer, expanded or as set.
    Go {
        expanded: bool,
    },
    Print,
    Reset,
    Edit,
}

/// Why a backslash command is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum MetaError {
    #[error("invalid command {0}\nTry \\? for help.")]
    Unknown(String),
    #[error("{command}: missing argument: {usage}")]
    Missing {
        command: &'static str,
        usage: &'static str,
    },
    #[error("{command}: unrecognized value \"{value}\": {usage}")]
    Value {
        command: &'static str,
        value: String,
        usage: &'static str,
    },
    #[error("{0}: unterminated quoted string")]
    Quote(String),
    #[error("{command}: extra argument \"{extra}\"")]
    Extra { command: String, extra: String },
    #[error("\\copy: {0}")]
    Copy(#[from] CopyError),
}

/// Command, arguments, what it does: the text of `\?`.
pub(super) const COMMANDS: &[(&str, &str, &str)] = &[
    ("\\?", "", "show this help"),
    (
        "\\h",
        "[COMMAND]",
        "where PostgreSQL's manual explains a SQL command",
    ),
    ("\\q", "", "quit"),
    ("\\g", "", "run the statement typed so far, without `;`"),
    ("\\gx", "", "the same, one line for each column"),
    ("\\p", "", "show the statement typed so far"),
    ("\\r", "", "forget the statement typed so far"),
    (
        "\\e",
        "",
        "edit the statement typed so far in $VISUAL or $EDITOR",
    ),
    (
        "\\d",
        "[PATTERN]",
        "list tables, views and sequences; or describe the ones that match",
    ),
    ("\\dt", "[PATTERN]", "list tables"),
    ("\\dv", "[PATTERN]", "list views"),
    ("\\dm", "[PATTERN]", "list materialized views"),
    ("\\di", "[PATTERN]", "list indexes"),
    ("\\ds", "[PATTERN]", "list sequences"),
    ("\\df", "[PATTERN]", "list functions"),
    ("\\dn", "[PATTERN]", "list schemas"),
    ("\\du", "[PATTERN]", "list roles"),
    ("\\dp", "[PATTERN]", "list PostgreSQL's access privileges"),
    ("\\l", "[PATTERN]", "list databases"),
    ("\\x", "[on|off]", "show one line for each column"),
    ("\\timing", "[on|off]", "show how long each statement took"),
    (
        "\\format",
        "[table|csv|json]",
        "choose how rows are written",
    ),
    ("\\i", "FILE", "run the statements of a file"),
    (
        "\\o",
        "[FILE]",
        "write results to a file, or to standard output again",
    ),
    ("\\echo", "[TEXT]", "write a text to the output"),
    (
        "\\copy",
        "TABLE|(QUERY) from|to 'FILE' [OPTIONS]",
        "load or save rows, in a file of this machine",
    ),
    ("\\c", "[DATABASE]", "connect again, or to another database"),
    ("\\conninfo", "", "where and as whom you are connected"),
];

impl Meta {
    /// Understands one command, from its backslash to the end of the line.
    pub(super) fn parse(text: &str) -> Result<Self, MetaError> {
        let text = text.trim_end();
        let name_end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (name, rest) = text.split_at(name_end);
        if name == "\\copy" {
            return Ok(Self::Copy(Copy::parse(rest)?));
        }
        if name == "\\echo" {
            return Ok(Self::Echo(words(name, rest)?.join(" ")));
        }
        if matches!(name, "\\h" | "\\help") {
            return Ok(Self::SqlHelp(rest.trim().trim_end_matches(';').to_owned()));
        }
        let mut words = words(name, rest)?.into_iter();
        let first = words.next();
        if let Some(extra) = words.next() {
            return Err(MetaError::Extra {
                command: name.to_owned(),
                extra,
            });
        }
        Ok(match name {
            "\\q" | "\\quit" => Self::Quit,
            "\\?" => Self::Help,
            "\\x" => Self::Expanded(switch("\\x", first)?),
            "\\timing" => Self::Timing(switch("\\timing", first)?),
            "\\format" => Self::Format(first.map(format).transpose()?),
            "\\i" | "\\include" => Self::Include(first.ok_or(MetaError::Missing {
                command: "\\i",
                usage: "\\i FILE",
            })?),
            "\\o" | "\\out" => Self::Output(first),
            "\\c" | "\\connect" => Self::Connect(first),
            "\\conninfo" => Self::ConnectionInfo,
            "\\g" => Self::Go { expanded: false },
            "\\gx" => Self::Go { expanded: true },
            "\\p" | "\\print" => Self::Print,
            "\\r" | "\\reset" => Self::Reset,
            "\\e" | "\\edit" => Self::Edit,
            _ => match describe(name, first) {
                Some(describe) => Self::Describe(describe),
                None => return Err(MetaError::Unknown(name.to_owned())),
            },
        })
    }
}

/// `\d`, `\dt+`, `\dS` and their like: a letter or none, then `S` (system objects, too) and `+` (more).
fn describe(name: &str, pattern: Option<String>) -> Option<Describe> {
    let letters = name.strip_prefix('\\')?;
    let base = letters.trim_end_matches(['S', '+']);
    let flags = letters.strip_prefix(base)?;
    let kind = match base {
        "d" => Kind::Relations,
        "dt" => Kind::Tables,
        "dv" => Kind::Views,
        "dm" => Kind::MaterializedViews,
        "di" => Kind::Indexes,
        "ds" => Kind::Sequences,
        "df" => Kind::Functions,
        "dn" => Kind::Schemas,
        "du" | "dg" => Kind::Roles,
        "dp" | "z" => Kind::Privileges,
        "l" | "list" => Kind::Databases,
        _ => return None,
    };
    Some(Describe {
        kind,
        pattern,
        system: flags.contains('S'),
        more: flags.contains('+'),
    })
}

fn switch(command: &'static str, value: Option<String>) -> Result<Option<bool>, MetaError> {
    match value.as_deref() {
        None => Ok(None),
        Some("on" | "true" | "1") => Ok(Some(true)),
        Some("off" | "false" | "0") => Ok(Some(false)),
        Some(_) => Err(MetaError::Value {
            command,
            value: value.unwrap_or_default(),
            usage: "on or off",
        }),
    }
}

fn format(value: String) -> Result<Format, MetaError> {
    <Format as clap::ValueEnum>::from_str(&value, false).map_err(|_| MetaError::Value {
        command: "\\format",
        value,
        usage: "table, csv or json",
    })
}

/// Words parted by blanks; `'...'` keeps blanks (doubled quotes inside), `"..."` stays quoted, as a
/// pattern needs it.
fn words(command: &str, text: &str) -> Result<Vec<String>, MetaError> {
    let mut words = Vec::new();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        if rest.peek().is_none() {
            return Ok(words);
        }
        let mut word = String::new();
        while let Some(c) = rest.next_if(|c| !c.is_whitespace()) {
            if c != '\'' && c != '"' {
                word.push(c);
                continue;
            }
            if c == '"' {
                word.push(c);
            }
            loop {
                match rest.next() {
                    None => return Err(MetaError::Quote(command.to_owned())),
                    Some(end) if end == c => {
                        if c == '"' {
                            word.push(c);
                            break;
                        }
                        if rest.next_if_eq(&'\'').is_none() {
                            break;
                        }
                        word.push('\'');
                    }
                    Some(inner) => word.push(inner),
                }
            }
        }
        // psql forgives a `;` after a backslash command, too.
        if rest.peek().is_none() && word.len() > 1 && word.ends_with(';') {
            word.pop();
        }
        words.push(word);
    }
}

/// The text of `\?`.
pub(super) fn help() -> String {
    let width = COMMANDS
        .iter()
        .map(|(name, arguments, _)| name.len() + 1 + arguments.len())
        .filter(|width| *width < 30)
        .max()
        .unwrap_or_default();
    let mut lines = Vec::new();
    for (name, arguments, what) in COMMANDS {
        let command = format!("{name} {arguments}");
        if command.len() > width {
            lines.push(format!("  {command}\n  {:width$}  {what}", ""));
        } else {
            lines.push(format!("  {command:width$}  {what}"));
        }
    }
    lines.push(
        "\nPatterns: * is any text, ? any character, SCHEMA.NAME both parts; \"...\" is taken as it is.\n\
         The commands that list take + for more and S for system objects, too.\n\
         Ctrl-C cancels the running statement, Ctrl-D quits."
        .to_owned(),
    );
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_the_table_is_understood() {
        for (name, arguments, _) in COMMANDS {
            let argument = match *arguments {
                "FILE" => "file",
                "TABLE|(QUERY) from|to 'FILE' [OPTIONS]" => "t from 'file'",
                _ => "",
            };
            let text = format!("{name} {argument}");
            assert!(Meta::parse(&text).is_ok(), "{text}");
        }
        assert!(COMMANDS.iter().all(|(name, _, _)| help().contains(name)));
    }

    #[test]
    fn describing_takes_letters_flags_and_a_pattern() {
        let describe = |kind, pattern: Option<&str>, system, more| {
            Ok(Meta::Describe(Describe {
                kind,
                pattern: pattern.map(str::to_owned),
                system,
                more,
            }))
        };
        assert_eq!(
            Meta::parse("\\d"),
            describe(Kind::Relations, None, false, false)
        );
        assert_eq!(
            Meta::parse("\\d+ t"),
            describe(Kind::Relations, Some("t"), false, true)
        );
        assert_eq!(
            Meta::parse("\\dtS+ a.*;"),
            describe(Kind::Tables, Some("a.*"), true, true)
        );
        assert_eq!(
            Meta::parse("\\d \"My Table\""),
            describe(Kind::Relations, Some("\"My Table\""), false, false)
        );
        assert_eq!(
            Meta::parse("\\l+"),
            describe(Kind::Databases, None, false, true)
        );
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (text, message) in [
            ("\\nope", "invalid command \\nope\nTry \\? for help."),
            ("\\dx", "invalid command \\dx\nTry \\? for help."),
            ("\\i", "\\i: missing argument: \\i FILE"),
            ("\\x maybe", "\\x: unrecognized value \"maybe\": on or off"),
            ("\\i 'a", "\\i: unterminated quoted string"),
            ("\\i a b", "\\i: extra argument \"b\""),
        ] {
            assert_eq!(Meta::parse(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_quoted_file_name_keeps_its_blanks() {
        assert_eq!(
            Meta::parse("\\i 'it''s a file'"),
            Ok(Meta::Include("it's a file".to_owned()))
        );
        assert_eq!(
            Meta::parse("\\echo a  'b  c'"),
            Ok(Meta::Echo("a b  c".to_owned()))
        );
    }
}
