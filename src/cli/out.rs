//! What a command answers: tables for people, JSON for programs, both to standard output.
//!
//! Texts that others wrote (names, reasons, what a daemon says) are shown with their control
//! characters escaped: nothing in the ledger can move a reader's cursor.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{Cell, ContentArrangement, Table, presets};
use serde::Serialize;

use super::error::CliError;

/// Writes to standard output and flushes, so that a full disk is noticed.
pub(crate) fn write(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|error| {
            let failure = CliError::file("can't write to standard output").because(&error);
            match error.kind() {
                io::ErrorKind::BrokenPipe => failure.silent(),
                _ => failure,
            }
        })
}

/// Writes one line to standard output.
pub(crate) fn line(text: &str) -> Result<(), CliError> {
    write(format!("{}\n", plain(text)).as_bytes())
}

/// Writes a value as indented JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<(), CliError> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| CliError::no("can't write this as JSON").because(&error))?;
    text.push('\n');
    write(text.as_bytes())
}

/// Writes a value as one line of JSON.
pub(crate) fn json_line<T: Serialize>(value: &T) -> Result<(), CliError> {
    let mut text = serde_json::to_string(value)
        .map_err(|error| CliError::no("can't write this as JSON").because(&error))?;
    text.push('\n');
    write(text.as_bytes())
}

/// Says something to the person, beside the answer. A closed standard error is no reason to fail.
pub(crate) fn note(text: &str) {
    let written = writeln!(io::stderr().lock(), "{}", plain(text));
    drop(written);
}

/// Shows a drawing of several lines on standard error, if there is anything to show.
pub(crate) fn drawing(text: &str) {
    if !text.is_empty() {
        let written = writeln!(io::stderr().lock(), "{text}");
        drop(written);
    }
}

/// Whether standard error shows colours (<https://no-color.org>).
pub(crate) fn colours() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !refused
}

/// Writes a table, as wide as the terminal or, into a pipe, as its contents.
pub(crate) fn table(
    head: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Result<(), CliError> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    if io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table.set_header(head.iter().copied());
    for row in rows {
        table.add_row(row.iter().map(|text| Cell::new(plain(text))));
    }
    write(format!("{table}\n").as_bytes())
}

/// A text with its control characters escaped, line ends included.
pub(crate) fn plain(text: &str) -> String {
    escape(text, |_| false)
}

/// A text of several lines, with its other control characters escaped.
pub(crate) fn plain_lines(text: &str) -> String {
    escape(text, |c| matches!(c, '\n' | '\t'))
}

fn escape(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if hidden(c) && !keep(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Control characters, and those that turn the direction of the text around them.
fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `yes` or `no`.
pub(crate) fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_cursor_or_turns_the_text_is_escaped() {
        assert_eq!(
            plain("a\u{1b}[31mb\n\u{202e}c"),
            "a\\u{1b}[31mb\\u{a}\\u{202e}c"
        );
        assert_eq!(plain_lines("a\n\tb\r"), "a\n\tb\\u{d}");
        assert_eq!(plain("jürgen 木"), "jürgen 木");
    }
}
