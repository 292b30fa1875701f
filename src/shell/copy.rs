//! `\copy`: COPY between a table and a file of this machine, with a progress bar.

use super::progress::Progress;
use super::session::CopySource;
use bytes::Bytes;
use std::fs::File;
use std::io::{self, Read, Write};

/// As much is read from the file at once: long enough for few messages, short enough for a smooth bar.
const PART: usize = 64 * 1024;

/// A `\copy` command, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Copy {
    /// The table with its columns, or the query in parentheses: as typed.
    pub(super) what: String,
    pub(super) direction: Direction,
    pub(super) place: Place,
    /// All behind the file's name: as typed.
    pub(super) options: String,
}

/// Which way the rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Into the table.
    From,
    /// Out of it.
    To,
}

/// Where the rows are on this side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    File(String),
    /// `stdin` or `stdout`: where the statements come from, where the results go.
    Here,
}

/// Why a `\copy` is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum CopyError {
    #[error("expected TABLE or (QUERY), then `from` or `to`, then a file")]
    Shape,
    #[error("unterminated quote or parenthesis")]
    Open,
    #[error("`program` is not supported: use a pipe into `palisade shell`")]
    Program,
    #[error("`from` reads stdin, `to` writes stdout")]
    Standard,
}

impl Copy {
    /// Understands what follows `\copy`.
    pub(super) fn parse(text: &str) -> Result<Self, CopyError> {
        let tokens = tokens(text)?;
        let split = tokens
            .iter()
            .position(|token| is(token.text, "from") || is(token.text, "to"))
            .filter(|position| *position > 0)
            .ok_or(CopyError::Shape)?;
        let word = tokens.get(split).ok_or(CopyError::Shape)?;
        let direction = if is(word.text, "from") {
            Direction::From
        } else {
            Direction::To
        };
        let file = tokens.get(split + 1).ok_or(CopyError::Shape)?;
        if is(file.text, "program") {
            return Err(CopyError::Program);
        }
        let here = match direction {
            Direction::From => is(file.text, "stdin") || is(file.text, "pstdin"),
            Direction::To => is(file.text, "stdout") || is(file.text, "pstdout"),
        };
        if !here && (is(file.text, "stdin") || is(file.text, "stdout")) {
            return Err(CopyError::Standard);
        }
        Ok(Self {
            what: text.get(..word.start).unwrap_or_default().trim().to_owned(),
            direction,
            place: if here {
                Place::Here
            } else {
                Place::File(unquoted(file.text))
            },
            options: text
                .get(file.start + file.text.len()..)
                .unwrap_or_default()
                .trim()
                .trim_end_matches(';')
                .to_owned(),
        })
    }

    /// The statement for the server.
    pub(super) fn sql(&self) -> String {
        let direction = match self.direction {
            Direction::From => "FROM STDIN",
            Direction::To => "TO STDOUT",
        };
        format!("COPY {} {direction} {}", self.what, self.options)
            .trim_end()
            .to_owned()
    }
}

fn is(token: &str, word: &str) -> bool {
    token.eq_ignore_ascii_case(word)
}

fn unquoted(token: &str) -> String {
    token
        .strip_prefix('\'')
        .and_then(|inner| inner.strip_suffix('\''))
        .map_or_else(|| token.to_owned(), |inner| inner.replace("''", "'"))
}

/// A word, a quoted string or a parenthesis with all that is in it.
struct Token<'a> {
    start: usize,
    text: &'a str,
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, CopyError> {
    let mut tokens = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        if quote == Some(c) {
            quote = None;
        } else if quote.is_none() {
            match c {
                '\'' | '"' => quote = Some(c),
                '(' => depth += 1,
                ')' => depth = depth.checked_sub(1).ok_or(CopyError::Open)?,
                _ => {}
            }
        }
        let blank = c.is_whitespace() && quote.is_none() && depth == 0;
        match (start, blank) {
            (None, false) => start = Some(at),
            (Some(from), true) => {
                tokens.push(Token {
                    start: from,
                    text: text.get(from..at).unwrap_or_default(),
                });
                start = None;
            }
            _ => {}
        }
    }
    if quote.is_some() || depth > 0 {
        return Err(CopyError::Open);
    }
    if let Some(from) = start {
        tokens.push(Token {
            start: from,
            text: text.get(from..).unwrap_or_default(),
        });
    }
    Ok(tokens)
}

/// Reads a file for COPY FROM STDIN.
pub(super) struct FileSource {
    file: File,
    progress: Progress,
}

impl FileSource {
    /// Opens it; its length is the bar's.
    pub(super) fn open(path: &str) -> io::Result<Self> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        if meta.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let total = meta.is_file().then_some(meta.len());
        Ok(Self {
            file,
            progress: Progress::of(total),
        })
    }

    /// How much of it is read.
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }
}

impl CopySource for FileSource {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut part = vec![0; PART];
        let length = self.file.read(&mut part)?;
        part.truncate(length);
        self.progress.add(length);
        Ok((length > 0).then(|| part.into()))
    }
}

/// Writes COPY TO STDOUT into a file.
pub(super) struct FileSink {
    file: io::BufWriter<File>,
    progress: Progress,
}

impl FileSink {
    /// Creates the file, or empties the one that is there.
    pub(super) fn create(path: &str) -> io::Result<Self> {
        let file = io::BufWriter::new(File::create(path)?);
        Ok(Self {
            file,
            progress: Progress::of(None),
        })
    }

    /// How much is written.
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }
}

impl Write for FileSink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.file.write(data)?;
        self.progress.add(written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (String, Place) {
        let copy = Copy::parse(text).unwrap();
        (copy.sql(), copy.place)
    }

    #[test]
    fn becomes_copy_from_stdin_or_to_stdout() {
        let file = |name: &str| Place::File(name.to_owned());
        assert_eq!(
            parse(" t from 'a b.csv' csv header"),
            ("COPY t FROM STDIN csv header".to_owned(), file("a b.csv"))
        );
        assert_eq!(
            parse(" s.\"My from\" (a, b) FROM data.txt with (format csv);"),
            (
                "COPY s.\"My from\" (a, b) FROM STDIN with (format csv)".to_owned(),
                file("data.txt")
            )
        );
        assert_eq!(
            parse(" (select a from t) to '/tmp/it''s'"),
            (
                "COPY (select a from t) TO STDOUT".to_owned(),
                file("/tmp/it's")
            )
        );
        assert_eq!(
            parse(" t(a) to stdout"),
            ("COPY t(a) TO STDOUT".to_owned(), Place::Here)
        );
        assert_eq!(
            parse("t from STDIN"),
            ("COPY t FROM STDIN".to_owned(), Place::Here)
        );
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (text, error) in [
            ("", CopyError::Shape),
            ("t", CopyError::Shape),
            ("from 'x'", CopyError::Shape),
            ("t to", CopyError::Shape),
            ("t from 'x", CopyError::Open),
            ("(select 1 to 'x'", CopyError::Open),
            ("t from program 'ls'", CopyError::Program),
            ("t from stdout", CopyError::Standard),
        ] {
            assert_eq!(Copy::parse(text), Err(error), "{text}");
        }
    }

    #[tokio::test]
    async fn a_file_comes_whole() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let contents = vec![b'x'; PART + 17];
        file.write_all(&contents).unwrap();
        let mut source = FileSource::open(file.path().to_str().unwrap()).unwrap();
        let mut read = Vec::new();
        while let Some(part) = source.next().await.unwrap() {
            read.extend_from_slice(&part);
        }
        assert_eq!(read, contents);
    }
}
