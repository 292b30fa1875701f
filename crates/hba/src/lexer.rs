//! From text to lines of fields of tokens, as `tokenize_auth_file` and `next_token` in hba.c do it.
//!
//! Blanks separate fields, commas join tokens into one field, `#` begins a comment, a double quote
//! takes blanks, commas and `#` literally and is itself written twice, and a backslash at the very
//! end of a line (in a comment and within quotes, too) continues it.

use crate::{
    error::{Fault, FaultKind},
    limits,
};

/// One line after joining continued ones. Lines without fields are not passed on.
pub(crate) struct Line {
    /// The number of its first physical line.
    pub(crate) number: u32,
    /// The line as written.
    pub(crate) text: String,
    /// Its fields; each has at least one token.
    pub(crate) fields: Vec<Vec<Token>>,
    /// Just behind the last character.
    pub(crate) end: Position,
}

/// A place in the text, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Position {
    pub(crate) fn fault(self, token: impl Into<String>, kind: FaultKind) -> Fault {
        Fault {
            line: self.line,
            column: self.column,
            token: token.into(),
            kind,
        }
    }
}

/// A value, quotes removed.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) text: String,
    /// Whether it began with a quote, and so is no keyword (`a"ll"` still is one).
    pub(crate) quoted: bool,
    pub(crate) position: Position,
}

impl Token {
    pub(crate) fn is_keyword(&self, word: &str) -> bool {
        !self.quoted && self.text == word
    }

    pub(crate) fn fault(&self, kind: FaultKind) -> Fault {
        self.position.fault(self.text.clone(), kind)
    }
}

/// A character of a logical line and where it stands.
type Spot = (char, Position);

/// Cuts the text into lines; a line that can't be cut is a fault.
pub(crate) fn lines(text: &str) -> Vec<Result<Line, Fault>> {
    let mut out = Vec::new();
    let mut physical = (1_u32..).zip(split_lines(text));
    while let Some((number, first)) = physical.next() {
        let mut logical: Vec<Spot> = Vec::new();
        let mut raw = first;
        let mut line = number;
        let mut end;
        loop {
            let (content, continued) = match raw.strip_suffix('\\') {
                Some(content) => (content, true),
                None => (raw, false),
            };
            let mut column = 1;
            for c in content.chars() {
                logical.push((c, Position { line, column }));
                column += 1;
            }
            end = Position { line, column };
            if !continued {
                break;
            }
            let Some((next_line, next)) = physical.next() else {
                break;
            };
            (line, raw) = (next_line, next);
        }
        let fields = match logical.iter().find(|(c, _)| is_unseen(*c)) {
            Some((c, here)) => Err(here.fault(*c, FaultKind::ControlCharacter)),
            None => Cursor::new(&logical, end).fields(),
        };
        match fields {
            Ok(fields) if fields.is_empty() => {}
            Ok(fields) => out.push(Ok(Line {
                number,
                text: logical
                    .iter()
                    .map(|(c, _)| c)
                    .collect::<String>()
                    .trim()
                    .to_owned(),
                fields,
                end,
            })),
            Err(fault) => out.push(Err(fault)),
        }
    }
    out
}

/// Physical lines without their ends; every `\r` before the `\n` belongs to the end.
pub(crate) fn split_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').map(|line| line.trim_end_matches('\r'))
}

/// `pg_isblank`; its carriage return is refused within a line.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// What makes a line look like another one to whoever reads it before signing: control characters
/// and marks that change the direction of writing, in comments, too. (A NUL in a comment even makes
/// PostgreSQL take the next line for a part of it.)
fn is_unseen(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

struct Cursor<'a> {
    rest: std::iter::Peekable<std::iter::Copied<std::slice::Iter<'a, Spot>>>,
    end: Position,
    tokens: usize,
}

impl<'a> Cursor<'a> {
    fn new(logical: &'a [Spot], end: Position) -> Self {
        Self {
            rest: logical.iter().copied().peekable(),
            end,
            tokens: 0,
        }
    }

    fn fields(mut self) -> Result<Vec<Vec<Token>>, Fault> {
        let mut fields = Vec::new();
        while let Some(token) = self.token()? {
            let mut field = vec![token];
            while self.rest.next_if(|(c, _)| *c == ',').is_some() {
                let behind = self.position();
                match self.token()? {
                    Some(token) => field.push(token),
                    None => return Err(behind.fault("", FaultKind::StrayComma)),
                }
            }
            fields.push(field);
        }
        Ok(fields)
    }

    fn position(&mut self) -> Position {
        self.rest.peek().map_or(self.end, |(_, position)| *position)
    }

    /// The next token, or nothing at the end of the line or before a comment.
    fn token(&mut self) -> Result<Option<Token>, Fault> {
        while self.rest.next_if(|(c, _)| is_blank(*c)).is_some() {}
        let position = match self.rest.peek() {
            None => return Ok(None),
            Some(('#', _)) => {
                self.rest.by_ref().for_each(drop);
                return Ok(None);
            }
            Some((',', position)) => return Err(position.fault(",", FaultKind::StrayComma)),
            Some((_, position)) => *position,
        };
        self.tokens += 1;
        if self.tokens > limits::MAX_TOKENS_PER_LINE {
            return Err(position.fault("", FaultKind::TooManyTokens));
        }
        let mut text = String::new();
        let mut open: Option<Position> = None;
        let mut quoted = false;
        while let Some((c, here)) = self
            .rest
            .next_if(|(c, _)| open.is_some() || !(is_blank(*c) || matches!(c, ',' | '#')))
        {
            if c == '"' {
                if open.is_none() {
                    open = Some(here);
                    quoted |= text.is_empty();
                } else if self.rest.next_if(|(c, _)| *c == '"').is_some() {
                    text.push('"');
                } else {
                    open = None;
                }
            } else {
                text.push(c);
            }
            if text.len() > limits::MAX_TOKEN_BYTES {
                return Err(position.fault("", FaultKind::TokenTooLong));
            }
        }
        match open {
            Some(quote) => Err(quote.fault(text, FaultKind::UnterminatedQuote)),
            None => Ok(Some(Token {
                text,
                quoted,
                position,
            })),
        }
    }
}
