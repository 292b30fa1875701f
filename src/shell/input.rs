//! Where lines come from: a text, a file, standard input, or a person at the editor.

use super::editor::{Answer, Editor, Question};
use super::session::CopySource;
use bytes::Bytes;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use tokio::sync::mpsc;

/// Lines that are read ahead.
const AHEAD: usize = 256;

/// Inline COPY data goes out in parts of about this size.
const PART: usize = 64 * 1024;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A line, without its end.
    Line(String),
    /// Ctrl-C at the editor: forget what was typed.
    Interrupted,
    /// There is no more.
    End,
}

enum Source {
    /// All there is has been put into the queue.
    Nothing,
    Lines(mpsc::Receiver<io::Result<String>>),
    Person(Editor),
}

/// A source of lines.
pub(super) struct Input {
    queue: VecDeque<String>,
    source: Source,
    /// What a line that was read ahead met with.
    failed: Option<io::Error>,
    /// For messages: the file's name.
    name: Option<String>,
}

impl Input {
    /// The argument of `-c`.
    pub(super) fn text(text: &str) -> Self {
        Self {
            queue: lines(text),
            source: Source::Nothing,
            failed: None,
            name: None,
        }
    }

    /// A file; `-` is standard input.
    pub(super) fn file(path: &str) -> io::Result<Self> {
        if path == "-" {
            return Ok(Self::reader(io::stdin(), None));
        }
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Self::reader(file, Some(path.to_owned())))
    }

    /// Standard input that is no terminal.
    pub(super) fn stdin() -> Self {
        Self::reader(io::stdin(), None)
    }

    /// A person.
    pub(super) fn person(editor: Editor) -> Self {
        Self {
            queue: VecDeque::new(),
            source: Source::Person(editor),
            failed: None,
            name: None,
        }
    }

    /// Reads on a thread of its own, which the process does not wait for when it ends: a read from a
    /// pipe may block for ever.
    fn reader(reader: impl Read + Send + 'static, name: Option<String>) -> Self {
        let (sender, receiver) = mpsc::channel(AHEAD);
        std::thread::spawn(move || {
            for (index, line) in BufReader::new(reader).lines().enumerate() {
                let line = line.map(|line| without_mark(line, index));
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            queue: VecDeque::new(),
            source: Source::Lines(receiver),
            failed: None,
            name,
        }
    }

    /// Data for COPY comes from standard input: the argument of `-c` holds none.
    fn has_no_data(&self) -> bool {
        matches!(self.source, Source::Nothing)
    }

    /// A person is there to go on after an error.
    pub(super) fn is_person(&self) -> bool {
        matches!(self.source, Source::Person(_))
    }

    /// The file's name.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Puts a text before all that is to come.
    pub(super) fn prepend(&mut self, text: &str) {
        for line in lines(text).into_iter().rev() {
            self.queue.push_front(line);
        }
    }

    /// The next line. Loses nothing when it is dropped half-way.
    pub(super) async fn next(&mut self, question: Question) -> io::Result<Next> {
        loop {
            if let Some(line) = self.queue.pop_front() {
                return Ok(Next::Line(line));
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            match &mut self.source {
                Source::Nothing => return Ok(Next::End),
                Source::Lines(receiver) => {
                    return receiver
                        .recv()
                        .await
                        .map_or(Ok(Next::End), |line| line.map(Next::Line));
                }
                Source::Person(editor) => match editor.ask(question.clone()).await? {
                    Answer::Text(text) => self.queue = lines(&text),
                    Answer::Interrupted => return Ok(Next::Interrupted),
                    Answer::End => return Ok(Next::End),
                },
            }
        }
    }

    /// A line that is already here.
    fn at_hand(&mut self) -> Option<String> {
        if let Some(line) = self.queue.pop_front() {
            return Some(line);
        }
        match &mut self.source {
            Source::Lines(receiver) => match receiver.try_recv().ok()? {
                Ok(line) => Some(line),
                Err(error) => {
                    self.failed = Some(error);
                    None
                }
            },
            Source::Nothing | Source::Person(_) => None,
        }
    }
}

fn lines(text: &str) -> VecDeque<String> {
    text.split('\n').map(str::to_owned).collect()
}

/// Without a line end of Windows' and, on the first line, a byte order mark.
fn without_mark(mut line: String, index: usize) -> String {
    if line.ends_with('\r') {
        line.pop();
    }
    if index == 0 && line.starts_with('\u{feff}') {
        line.remove(0);
    }
    line
}

/// The lines that follow a COPY FROM STDIN, to `\.` or the end; with `-c` standard input.
pub(super) struct InlineSource<'a> {
    input: &'a mut Input,
    stdin: Option<Input>,
    ended: bool,
}

impl<'a> InlineSource<'a> {
    /// Over the input that the statement came from.
    pub(super) fn new(input: &'a mut Input) -> Self {
        Self {
            input,
            stdin: None,
            ended: false,
        }
    }
}

impl CopySource for InlineSource<'_> {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        if self.input.has_no_data() && self.stdin.is_none() {
            self.stdin = Some(Input::stdin());
        }
        let input = self.stdin.as_mut().unwrap_or(self.input);
        let question = Question {
            prompt: ">> ".to_owned(),
            raw: true,
        };
        let mut line = match input.next(question).await? {
            Next::Line(line) => Some(line),
            Next::Interrupted => return Err(io::Error::other("canceled by the user")),
            Next::End => None,
        };
        let mut part = String::new();
        loop {
            match line {
                Some(text) if text != "\\." => {
                    part.push_str(&text);
                    part.push('\n');
                }
                Some(_) => {
                    self.ended = true;
                    break;
                }
                None => {
                    self.ended = part.is_empty();
                    break;
                }
            }
            if part.len() >= PART {
                break;
            }
            line = input.at_hand();
        }
        Ok((!part.is_empty()).then(|| part.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question {
            prompt: String::new(),
            raw: false,
        }
    }

    #[tokio::test]
    async fn lines_come_in_order_and_a_prepended_text_first() {
        let mut input = Input::text("a\nb");
        assert_eq!(
            input.next(question()).await.unwrap(),
            Next::Line("a".to_owned())
        );
        input.prepend("x\ny");
        for line in ["x", "y", "b"] {
            assert_eq!(
                input.next(question()).await.unwrap(),
                Next::Line(line.to_owned())
            );
        }
        assert_eq!(input.next(question()).await.unwrap(), Next::End);
    }

    #[tokio::test]
    async fn a_file_may_come_from_windows() {
        let mut input = Input::reader("\u{feff}a\r\nb".as_bytes(), None);
        for line in ["a", "b"] {
            assert_eq!(
                input.next(question()).await.unwrap(),
                Next::Line(line.to_owned())
            );
        }
    }

    #[tokio::test]
    async fn copy_data_ends_at_its_mark_and_the_statements_go_on() {
        let mut input = Input::reader("1\ta\n2\tb\n\\.\nselect 1;".as_bytes(), None);
        let mut source = InlineSource::new(&mut input);
        let mut data = Vec::new();
        while let Some(part) = source.next().await.unwrap() {
            data.extend_from_slice(&part);
        }
        assert_eq!(data, b"1\ta\n2\tb\n");
        assert_eq!(
            input.next(question()).await.unwrap(),
            Next::Line("select 1;".to_owned())
        );
    }

    #[tokio::test]
    async fn damaged_data_is_an_error_and_never_an_end() {
        let mut input = Input::reader(&b"1\n\xff\n2\n\\.\n"[..], None);
        let mut source = InlineSource::new(&mut input);
        let outcome = loop {
            match source.next().await {
                Ok(Some(_)) => {}
                other => break other,
            }
        };
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn an_empty_line_is_data() {
        let mut input = Input::reader("\n\\.".as_bytes(), None);
        let mut source = InlineSource::new(&mut input);
        assert_eq!(source.next().await.unwrap(), Some("\n".into()));
        assert_eq!(source.next().await.unwrap(), None);
    }
}
