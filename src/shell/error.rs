//! What the server says when something is wrong, in the shape that people know from psql.

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorFields;
use std::fmt::Write;
use std::io;

/// An error or a notice of the server (PostgreSQL, "Error and Notice Message Fields").
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ServerError {
    pub(super) severity: String,
    pub(super) code: String,
    pub(super) message: String,
    detail: Option<String>,
    /// What the server advises.
    pub(super) hint: Option<String>,
    context: Option<String>,
    /// In characters, from 1, in the statement as it was sent.
    position: Option<usize>,
}

/// SQLSTATE `insufficient_privilege`.
const NO_RIGHT: &str = "42501";

/// How much of a long line is shown on each side of the error.
const AROUND: usize = 60;

impl ServerError {
    /// Reads the fields of an `ErrorResponse` or a `NoticeResponse`.
    pub(super) fn read(mut fields: ErrorFields<'_>) -> Self {
        let mut error = Self::default();
        while let Ok(Some(field)) = fields.next() {
            let text = String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'S' => error.severity = text,
                b'C' => error.code = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                b'W' => error.context = Some(text),
                b'P' => error.position = text.parse().ok(),
                // Source file, line, schema, table and the like: psql shows them on request only.
                _ => {}
            }
        }
        error
    }

    /// One for want of a right.
    pub(super) fn is_want_of_right(&self) -> bool {
        self.code == NO_RIGHT
    }

    /// The lines to show, the place in `sql` marked; safe to print on a terminal.
    pub(super) fn render(&self, sql: Option<&str>) -> String {
        // A word, by whoever answers: a line of its own it has not.
        let severity = printable(&self.severity.replace(['\n', '\t'], " "));
        let mut shown = format!("{severity}:  {}\n", printable(&self.message));
        if let (Some(position), Some(sql)) = (self.position, sql) {
            shown.push_str(&marker(sql, position));
        }
        for (name, text) in [
            ("DETAIL", &self.detail),
            ("HINT", &self.hint),
            ("CONTEXT", &self.context),
        ] {
            if let Some(text) = text {
                // Writing to a string can't fail.
                writeln!(shown, "{name}:  {}", printable(text)).ok();
            }
        }
        shown
    }
}

/// `LINE 2: select x` and, below it, a caret under the place; empty when there is no such place.
fn marker(sql: &str, position: usize) -> String {
    let Some(index) = position.checked_sub(1) else {
        return String::new();
    };
    let mut before = 0;
    for (number, line) in sql.split('\n').enumerate() {
        let length = line.chars().count();
        if index <= before + length {
            let column = index - before;
            let start = column.saturating_sub(AROUND);
            let mut shown: String = line
                .chars()
                .skip(start)
                .take(2 * AROUND)
                .map(|c| {
                    if is_unprintable(c) || c == '\t' {
                        ' '
                    } else {
                        c
                    }
                })
                .collect();
            if start > 0 {
                shown.insert_str(0, "...");
            }
            if start + 2 * AROUND < length {
                shown.push_str("...");
            }
            let label = format!("LINE {}: ", number + 1);
            let indent = label.len() + column - start + if start > 0 { 3 } else { 0 };
            return format!("{label}{shown}\n{}^\n", " ".repeat(indent));
        }
        before += length + 1;
    }
    String::new()
}

/// Text from the server as it may go to a terminal: control characters as `\x1B`, but for line ends
/// and tabs, and so those that turn the text around them. What a table holds must not move the cursor,
/// change the window's title or look like something else.
pub(super) fn printable(text: &str) -> String {
    if !text.chars().any(is_unprintable) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unprintable(c) {
            // Writing to a string can't fail.
            write!(shown, "\\x{:02X}", u32::from(c)).ok();
        } else {
            shown.push(c);
        }
    }
    shown
}

fn is_unprintable(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (c.is_control() && c != '\n' && c != '\t')
}

/// An error of the operating system in few words: `connection refused`, not `... (os error 111)`.
pub(super) fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "the remote host reset the connection".to_owned(),
        io::ErrorKind::UnexpectedEof => "the remote host closed the connection".to_owned(),
        _ => {
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or(&text);
            text.strip_prefix("failed to lookup address information: ")
                .unwrap_or(text)
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(position: usize) -> ServerError {
        ServerError {
            severity: "ERROR".to_owned(),
            code: "42703".to_owned(),
            message: "column \"x\" does not exist".to_owned(),
            hint: Some("Look again.".to_owned()),
            position: Some(position),
            ..ServerError::default()
        }
    }

    #[test]
    fn the_place_is_marked_as_psql_does() {
        assert_eq!(
            error(8).render(Some("select x")),
            "ERROR:  column \"x\" does not exist\n\
             LINE 1: select x\n               ^\n\
             HINT:  Look again.\n"
        );
        assert_eq!(
            marker("select 1,\n  ä, x", 16),
            "LINE 2:   ä, x\n             ^\n"
        );
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let sql = format!("select {} x {}", "a".repeat(200), "b".repeat(200));
        let shown = marker(&sql, 209);
        let (line, caret) = shown.split_once('\n').unwrap();
        assert!(line.starts_with("LINE 1: ...aaa") && line.ends_with("bbb..."));
        assert_eq!(line.chars().nth(caret.trim_end().len() - 1), Some('x'));
    }

    #[test]
    fn a_position_outside_the_statement_marks_nothing() {
        assert_eq!(marker("select 1", 100), "");
        assert_eq!(marker("select 1", 0), "");
        assert_eq!(
            marker("select 1", 9),
            "LINE 1: select 1\n                ^\n"
        );
    }

    // Whoever answers may say so before he proved anything.
    #[test]
    fn nothing_in_an_answer_commands_the_terminal() {
        let bad = "x\u{1b}]0;t\u{7}\u{202e}\u{9b}y";
        let error = ServerError {
            severity: format!("{bad}\nERROR"),
            code: bad.to_owned(),
            message: bad.to_owned(),
            detail: Some(bad.to_owned()),
            hint: Some(bad.to_owned()),
            context: Some(bad.to_owned()),
            position: Some(1),
        };
        let shown = error.render(Some(bad));
        assert!(!shown.chars().any(is_unprintable), "{shown:?}");
        assert!(!shown.contains("\nERROR"), "{shown:?}");
    }

    #[test]
    fn control_characters_are_shown_not_sent() {
        assert_eq!(
            printable("a\u{1b}]0;b\u{7}\n\tc\u{9b}"),
            "a\\x1B]0;b\\x07\n\tc\\x9B"
        );
        assert_eq!(
            printable("a\u{202e}b\u{2066}c\u{200f}"),
            "a\\x202Eb\\x2066c\\x200F"
        );
    }
}
