//! Parts typed text into statements and backslash commands, line by line.
//!
//! Follows the rules of PostgreSQL's own lexer (SQL Syntax, "Lexical Structure") and of psql: a
//! statement ends at a `;` outside quotes, dollar quotes, comments and parentheses, and outside the
//! body of a SQL-standard function (`BEGIN ATOMIC ... END`). Pure: it reads nothing and sends nothing.

use std::iter::Peekable;
use std::str::Chars;

/// What a line has completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// A statement without its `;`, and the line (from 1) on which it begins.
    Statement { text: String, line: usize },
    /// A backslash command, from its backslash to the end of the line. What stood before it stays
    /// in the buffer: `\g` runs it.
    Meta { text: String, line: usize },
}

/// What the next line continues; the prompt shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Nothing: a new statement begins.
    Nothing,
    /// A statement that lacks its `;`.
    Statement,
    /// A parenthesis that is open.
    Parenthesis,
    /// A `'...` that is open.
    Quote,
    /// A `"...` that is open.
    Identifier,
    /// A `$tag$...` that is open.
    DollarQuote,
    /// A `/*...` that is open.
    Comment,
}

/// Where in the lexical structure we are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mode {
    Plain,
    Quote {
        backslash_escapes: bool,
    },
    Identifier,
    /// `from` is where its text begins in the buffer.
    Dollar {
        tag: String,
        from: usize,
    },
    Comment {
        depth: usize,
    },
}

/// Collects lines until they make a statement.
#[derive(Debug, Clone)]
pub(super) struct Splitter {
    mode: Mode,
    parentheses: usize,
    /// Depth of BEGIN and CASE in the body of a SQL-standard function.
    body: usize,
    /// The first words of the statement, upper case: is it a CREATE FUNCTION?
    opening: Vec<String>,
    word: String,
    /// Something besides blanks and comments is in the buffer.
    has_content: bool,
    buffer: String,
    lines: usize,
    first_line: usize,
}

/// As many words as `CREATE OR REPLACE FUNCTION` has.
const OPENING_WORDS: usize = 4;

impl Splitter {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self {
            mode: Mode::Plain,
            parentheses: 0,
            body: 0,
            opening: Vec::new(),
            word: String::new(),
            has_content: false,
            buffer: String::new(),
            lines: 0,
            first_line: 0,
        }
    }

    /// Takes one line (without its end) and returns what it completed.
    pub(super) fn feed(&mut self, line: &str) -> Vec<Piece> {
        self.lines += 1;
        let mut pieces = Vec::new();
        let mut rest = line.chars().peekable();
        while let Some(c) = rest.next() {
            match self.mode.clone() {
                Mode::Plain => {
                    if self.plain(c, &mut rest, &mut pieces) {
                        return pieces;
                    }
                }
                Mode::Quote { backslash_escapes } => {
                    self.buffer.push(c);
                    if c == '\\' && backslash_escapes {
                        self.buffer.extend(rest.next());
                    } else if c == '\'' {
                        // A doubled quote opens the same string again at once.
                        if rest.next_if_eq(&'\'').is_some() {
                            self.buffer.push('\'');
                        } else {
                            self.mode = Mode::Plain;
                        }
                    }
                }
                Mode::Identifier => {
                    self.buffer.push(c);
                    if c == '"' {
                        self.mode = Mode::Plain;
                    }
                }
                Mode::Dollar { tag, from } => {
                    self.buffer.push(c);
                    let closed = self.buffer.len() >= from + tag.len();
                    if c == '$' && closed && self.buffer.ends_with(&tag) {
                        self.mode = Mode::Plain;
                    }
                }
                Mode::Comment { depth } => self.comment(c, depth, &mut rest),
            }
        }
        self.end_word();
        if !self.buffer.is_empty() {
            self.buffer.push('\n');
        }
        pieces
    }

    /// What the next line continues.
    pub(super) fn waiting(&self) -> Waiting {
        match self.mode {
            Mode::Quote { .. } => Waiting::Quote,
            Mode::Identifier => Waiting::Identifier,
            Mode::Dollar { .. } => Waiting::DollarQuote,
            Mode::Comment { .. } => Waiting::Comment,
            Mode::Plain if self.parentheses > 0 => Waiting::Parenthesis,
            Mode::Plain if self.has_content => Waiting::Statement,
            Mode::Plain => Waiting::Nothing,
        }
    }

    /// Takes the buffer as it is, as a statement, for `\g` and at the end of the input.
    pub(super) fn take(&mut self) -> Option<(String, usize)> {
        let text = self
            .has_content
            .then(|| (self.buffer.trim().to_owned(), self.first_line));
        self.reset();
        text
    }

    /// What has been typed and not yet run.
    pub(super) fn buffer(&self) -> &str {
        self.buffer.trim()
    }

    /// Forgets the buffer; the line count goes on.
    pub(super) fn reset(&mut self) {
        *self = Self {
            lines: self.lines,
            ..Self::new()
        };
    }

    /// One character outside quotes and comments; true when the rest of the line is used up.
    fn plain(&mut self, c: char, rest: &mut Peekable<Chars<'_>>, pieces: &mut Vec<Piece>) -> bool {
        if is_word(c) {
            // A digit can't begin a word, but `a1` is one; `$` may stand within.
            self.content();
            self.word.push(c);
            self.buffer.push(c);
            return false;
        }
        if c == '$' {
            self.dollar(rest);
            return false;
        }
        let word = self.end_word();
        match c {
            '\'' => {
                self.content();
                self.mode = Mode::Quote {
                    backslash_escapes: word.eq_ignore_ascii_case("e"),
                };
            }
            '"' => {
                self.content();
                self.mode = Mode::Identifier;
            }
            '-' if rest.peek() == Some(&'-') => {
                // To the end of the line; kept, so that error positions stay right.
                self.keep(c);
                for c in rest.by_ref() {
                    self.keep(c);
                }
                return false;
            }
            '/' if rest.next_if_eq(&'*').is_some() => {
                self.keep('/');
                self.keep('*');
                self.mode = Mode::Comment { depth: 1 };
                return false;
            }
            '\\' => {
                let text = std::iter::once('\\').chain(rest).collect();
                pieces.push(Piece::Meta {
                    text,
                    line: self.lines,
                });
                if !self.buffer.is_empty() {
                    self.buffer.push('\n');
                }
                return true;
            }
            ';' if self.parentheses == 0 && self.body == 0 => {
                if let Some((text, line)) = self.take() {
                    pieces.push(Piece::Statement { text, line });
                }
                return false;
            }
            '(' => {
                self.content();
                self.parentheses += 1;
            }
            ')' => {
                self.content();
                self.parentheses = self.parentheses.saturating_sub(1);
            }
            c if c.is_whitespace() => {}
            _ => self.content(),
        }
        self.keep(c);
        false
    }

    /// A `$`: within a word, before a parameter's number, or the beginning of a dollar quote.
    fn dollar(&mut self, rest: &mut Peekable<Chars<'_>>) {
        self.content();
        self.buffer.push('$');
        if !self.word.is_empty() {
            self.word.push('$');
            return;
        }
        let mut tag = String::from("$");
        let mut ahead = rest.clone();
        for c in ahead.by_ref() {
            let begins = tag.len() == 1;
            if c == '$' {
                tag.push('$');
                self.buffer.extend(tag.chars().skip(1));
                *rest = ahead;
                self.mode = Mode::Dollar {
                    tag,
                    from: self.buffer.len(),
                };
                return;
            }
            if !is_word(c) || (begins && c.is_ascii_digit()) {
                return;
            }
            tag.push(c);
        }
    }

    /// One character within a comment; comments nest, as in the SQL standard.
    fn comment(&mut self, c: char, depth: usize, rest: &mut Peekable<Chars<'_>>) {
        self.keep(c);
        if c == '*' && rest.next_if_eq(&'/').is_some() {
            self.keep('/');
            self.mode = if depth == 1 {
                Mode::Plain
            } else {
                Mode::Comment { depth: depth - 1 }
            };
        } else if c == '/' && rest.next_if_eq(&'*').is_some() {
            self.keep('*');
            self.mode = Mode::Comment { depth: depth + 1 };
        }
    }

    /// Keeps a character that is no content by itself: not before the statement begins.
    fn keep(&mut self, c: char) {
        if self.has_content {
            self.buffer.push(c);
        }
    }

    /// The statement begins here at the latest.
    fn content(&mut self) {
        if !self.has_content {
            self.has_content = true;
            self.first_line = self.lines;
        }
    }

    /// Closes the word before; tells it to whoever counts BEGIN and END.
    fn end_word(&mut self) -> String {
        let word = std::mem::take(&mut self.word);
        if word.is_empty() {
            return word;
        }
        let upper = word.to_ascii_uppercase();
        if self.opening.len() < OPENING_WORDS {
            self.opening.push(upper.clone());
        }
        if self.parentheses == 0 && self.creates_routine() {
            match upper.as_str() {
                "BEGIN" => self.body += 1,
                "CASE" if self.body > 0 => self.body += 1,
                "END" => self.body = self.body.saturating_sub(1),
                _ => {}
            }
        }
        word
    }

    fn creates_routine(&self) -> bool {
        let mut words = self.opening.iter().map(String::as_str);
        words.next() == Some("CREATE")
            && words
                .find(|word| !matches!(*word, "OR" | "REPLACE"))
                .is_some_and(|word| matches!(word, "FUNCTION" | "PROCEDURE"))
    }
}

/// Part of an unquoted identifier or number: PostgreSQL takes every byte above 127 for a letter.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Statements as they are, backslash commands as they are, what is left in `<...>`.
    fn split(text: &str) -> Vec<String> {
        let mut splitter = Splitter::new();
        let mut found: Vec<String> = text
            .split('\n')
            .flat_map(|line| splitter.feed(line))
            .map(|piece| match piece {
                Piece::Statement { text, .. } | Piece::Meta { text, .. } => text,
            })
            .collect();
        found.extend(splitter.take().map(|(text, _)| format!("<{text}>")));
        found
    }

    #[test]
    fn a_statement_ends_at_its_semicolon() {
        assert_eq!(split("select 1;"), ["select 1"]);
        assert_eq!(
            split("select 1; select 2 ; select 3"),
            ["select 1", "select 2", "<select 3>"]
        );
        assert_eq!(split("select\n 1\n;"), ["select\n 1"]);
        assert_eq!(split(";;  ;\n"), [""; 0]);
    }

    #[test]
    fn not_within_quotes() {
        assert_eq!(split("select ';', \"a;b\";"), ["select ';', \"a;b\""]);
        assert_eq!(split("select 'it''s;';"), ["select 'it''s;'"]);
        assert_eq!(split("select 'two\nlines;';"), ["select 'two\nlines;'"]);
        assert_eq!(split(r"select '\'; select 2;"), [r"select '\'", "select 2"]);
        assert_eq!(
            split(r"select e'\';', E'\\'; select 2;"),
            [r"select e'\';', E'\\'", "select 2"]
        );
        assert_eq!(split(r"select re'\';"), [r"select re'\'"]);
    }

    #[test]
    fn not_within_dollar_quotes() {
        assert_eq!(split("do $$ a; b $$; c;"), ["do $$ a; b $$", "c"]);
        assert_eq!(
            split("do $x$ a; $$ $y$ b\n; $x$; c;"),
            ["do $x$ a; $$ $y$ b\n; $x$", "c"]
        );
        assert_eq!(
            split("select $1; select a$b$c; d;"),
            ["select $1", "select a$b$c", "d"]
        );
        assert_eq!(split("select $a-$; b;"), ["select $a-$", "b"]);
        assert_eq!(split("do $ä$;$ä$;"), ["do $ä$;$ä$"]);
        assert_eq!(split("do $$$;$$; b;"), ["do $$$;$$", "b"]);
    }

    #[test]
    fn not_within_comments() {
        assert_eq!(split("select 1 -- a; b\n;"), ["select 1 -- a; b"]);
        assert_eq!(
            split("select /* ; /* ; */ ; */ 1;"),
            ["select /* ; /* ; */ ; */ 1"]
        );
        assert_eq!(split("-- only a remark\n/* and\nanother */;"), [""; 0]);
        assert_eq!(split("-- first\nselect 1;"), ["select 1"]);
        assert_eq!(
            split("select 4 / 2; select 1 - 1;"),
            ["select 4 / 2", "select 1 - 1"]
        );
    }

    #[test]
    fn not_within_parentheses() {
        assert_eq!(
            split("create rule r as on insert to t do also (select 1; select 2); select 3;"),
            [
                "create rule r as on insert to t do also (select 1; select 2)",
                "select 3"
            ]
        );
    }

    #[test]
    fn not_within_the_body_of_a_sql_standard_function() {
        let body = "create or replace function f() returns int language sql begin atomic \
                    select 1; select case when true then 1 else 2 end; end";
        assert_eq!(split(&format!("{body}; select 2;")), [body, "select 2"]);
        assert_eq!(
            split("begin; select 1; end; commit;"),
            ["begin", "select 1", "end", "commit"]
        );
        assert_eq!(
            split("create table begin_t (a int); begin; end;"),
            ["create table begin_t (a int)", "begin", "end"]
        );
    }

    #[test]
    fn a_backslash_command_takes_the_rest_of_the_line_and_leaves_the_buffer() {
        assert_eq!(split("\\d a;b\nselect 1;"), ["\\d a;b", "select 1"]);
        assert_eq!(split("select 1 \\gx"), ["\\gx", "<select 1>"]);
        assert_eq!(split("select 1; \\q"), ["select 1", "\\q"]);
        assert_eq!(split("select '\\d';"), ["select '\\d'"]);
    }

    #[test]
    fn the_prompt_can_tell_what_is_open() {
        let waiting = |text: &str| {
            let mut splitter = Splitter::new();
            splitter.feed(text);
            splitter.waiting()
        };
        assert_eq!(waiting(""), Waiting::Nothing);
        assert_eq!(waiting("-- remark"), Waiting::Nothing);
        assert_eq!(waiting("select 1;"), Waiting::Nothing);
        assert_eq!(waiting("select"), Waiting::Statement);
        assert_eq!(waiting("select ("), Waiting::Parenthesis);
        assert_eq!(waiting("select '"), Waiting::Quote);
        assert_eq!(waiting("select \""), Waiting::Identifier);
        assert_eq!(waiting("do $a$"), Waiting::DollarQuote);
        assert_eq!(waiting("/*"), Waiting::Comment);
    }

    #[test]
    fn a_statement_knows_the_line_on_which_it_begins() {
        let mut splitter = Splitter::new();
        splitter.feed("-- remark");
        splitter.feed("");
        splitter.feed("select");
        assert_eq!(
            splitter.feed("1;"),
            [Piece::Statement {
                text: "select\n1".to_owned(),
                line: 3
            }]
        );
    }

    proptest! {
        /// Whatever a string holds, quoting it hides it: the statements come out as they went in.
        #[test]
        fn any_text_survives_as_a_quoted_string(texts in prop::collection::vec("[ -~\n;'ä]{0,20}", 1..5)) {
            let statements: Vec<String> =
                texts.iter().map(|text| format!("select '{}'", text.replace('\'', "''"))).collect();
            let joined: String = statements.join(";\n") + ";";
            prop_assert_eq!(split(&joined), statements);
        }

        #[test]
        fn any_text_without_the_tag_survives_a_dollar_quote(text in "[ -#%-~\n;]{0,40}") {
            let statement = format!("do $q$ {text} $q$");
            prop_assert_eq!(split(&format!("{statement};")), [statement]);
        }

        /// What comes out stood in the text, as it is: nothing is lost within a statement.
        #[test]
        fn a_statement_is_a_piece_of_the_text(text in r"(?s)[^\\<>]{0,200}") {
            for found in split(&text) {
                let found = found.trim_start_matches('<').trim_end_matches('>');
                prop_assert!(text.contains(found), "{found:?}");
            }
        }

        #[test]
        fn any_input_is_taken(text in "(?s).{0,200}") {
            split(&text);
        }
    }
}
