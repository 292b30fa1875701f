//! Where lines come from: a text, a file, standard input, or a person at the editor.

use super::editor::{Answer, Editor, Question};
use super::progress::Progress;
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
    Lines(mpsc::Receiver<io::Result<Line>>),
    Person(Editor),
}

/// A line that was read ahead.
struct Line {
    /// Without its end.
    text: String,
    /// As many as it has in the file.
    bytes: usize,
}

/// A source of lines.
pub(super) struct Input {
    queue: VecDeque<String>,
    source: Source,
    /// What a line that was read ahead met with.
    failed: Option<io::Error>,
    /// For messages: the file's name.
    name: Option<String>,
    /// How much of a file is done.
    progress: Progress,
}

impl Input {
    /// The argument of `-c`.
    pub(super) fn text(text: &str) -> Self {
        Self {
            queue: lines(text),
            source: Source::Nothing,
            failed: None,
            name: None,
            progress: Progress::default(),
        }
    }

    /// A file; `-` is standard input.
    pub(super) fn file(path: &str) -> io::Result<Self> {
        if path == "-" {
            return Ok(Self::stdin());
        }
        let file = File::open(path)?;
        let meta = file.metadata()?;
        if meta.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let total = meta.is_file().then_some(meta.len());
        Ok(Self::reader(file, Some(path.to_owned())).of(total))
    }

    /// Standard input that is no terminal.
    pub(super) fn stdin() -> Self {
        Self::reader(io::stdin(), None).of(stdin_length())
    }

    /// With a bar, if it is known where it ends: who writes into a pipe may take his time.
    fn of(mut self, total: Option<u64>) -> Self {
        if total.is_some() {
            self.progress = Progress::of(total);
        }
        self
    }

    /// A person.
    pub(super) fn person(editor: Editor) -> Self {
        Self {
            queue: VecDeque::new(),
            source: Source::Person(editor),
            failed: None,
            name: None,
            progress: Progress::default(),
        }
    }

    /// Reads on a thread of its own, which the process does not wait for when it ends: a read from a
    /// pipe may block for ever.
    fn reader(reader: impl Read + Send + 'static, name: Option<String>) -> Self {
        let (sender, receiver) = mpsc::channel(AHEAD);
        std::thread::spawn(move || {
            let mut reader = BufReader::new(reader);
            for index in 0.. {
                let line = match read_line(&mut reader, index) {
                    Ok(None) => return,
                    Ok(Some(line)) => Ok(line),
                    Err(error) => Err(error),
                };
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
            progress: Progress::default(),
        }
    }

    /// A person is there to go on after an error.
    pub(super) fn is_person(&self) -> bool {
        matches!(self.source, Source::Person(_))
    }

    /// The file's name.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// How much of it is done.
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
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
                    let Some(line) = receiver.recv().await.transpose()? else {
                        return Ok(Next::End);
                    };
                    self.progress.add(line.bytes);
                    return Ok(Next::Line(line.text));
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
                Ok(line) => {
                    self.progress.add(line.bytes);
                    Some(line.text)
                }
                Err(error) => {
                    self.failed = Some(error);
                    None
                }
            },
            Source::Nothing | Source::Person(_) => None,
        }
    }
}

/// How long standard input is, if it is a file.
fn stdin_length() -> Option<u64> {
    let stat = rustix::fs::fstat(io::stdin()).ok()?;
    let is_file = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
    u64::try_from(stat.st_size).ok().filter(|_| is_file)
}

fn lines(text: &str) -> VecDeque<String> {
    text.split('\n').map(str::to_owned).collect()
}

/// The next line without its end, be it of Windows', and, on the first one, a byte order mark.
fn read_line(reader: &mut impl BufRead, index: usize) -> io::Result<Option<Line>> {
    let mut text = String::new();
    let bytes = reader.read_line(&mut text)?;
    if bytes == 0 {
        return Ok(None);
    }
    for end in ['\n', '\r'] {
        if text.ends_with(end) {
            text.pop();
        }
    }
    if index == 0 && text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(Some(Line { text, bytes }))
}

/// The lines that follow a COPY FROM STDIN, to `\.` or the end; with `-c` standard input.
pub(super) struct InlineSource<'a> {
    input: &'a mut Input,
    stdin: Option<Input>,
    /// Of standard input, where the data comes from there.
    progress: Option<Progress>,
    ended: bool,
}

impl<'a> InlineSource<'a> {
    /// Over the input that the statement came from.
    pub(super) fn new(input: &'a mut Input) -> Self {
        // Data for COPY comes from standard input where there is none with the statements.
        let apart = matches!(input.source, Source::Nothing);
        Self {
            input,
            stdin: None,
            progress: apart.then(|| {
                stdin_length()
                    .map(|length| Progress::of(Some(length)))
                    .unwrap_or_default()
            }),
            ended: false,
        }
    }

    /// How much of it is done, if that is not the statements' own.
    pub(super) fn progress(&self) -> Option<&Progress> {
        self.progress.as_ref()
    }
}

impl CopySource for InlineSource<'_> {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        if let (Some(progress), None) = (&self.progress, &self.stdin) {
            let mut stdin = Input::reader(io::stdin(), None);
            stdin.progress = progress.clone();
            self.stdin = Some(stdin);
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
