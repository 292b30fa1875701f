//! The line editor, on a thread of its own: it blocks while a person thinks.

use super::complete::{SharedCatalog, SqlCompleter};
use super::printer;
use super::splitter::{Splitter, Waiting};
use reedline::{
    ColumnarMenu, DefaultHinter, Emacs, FileBackedHistory, KeyCode, KeyModifiers, MenuBuilder,
    Prompt, PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus, Reedline,
    ReedlineEvent, ReedlineMenu, Signal, ValidationResult, Validator, default_emacs_keybindings,
};
use std::borrow::Cow;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

/// As many statements are kept.
const HISTORY: usize = 10_000;

const MENU: &str = "completion";

/// What is asked of the person next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// Such as `main=> `.
    pub(super) prompt: String,
    /// Each line counts by itself: data for COPY.
    pub(super) raw: bool,
}

/// What came.
#[derive(Debug)]
pub(super) enum Answer {
    /// One or more lines.
    Text(String),
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D.
    End,
}

/// The editor as the session sees it.
pub(super) struct Editor {
    questions: std::sync::mpsc::Sender<Question>,
    answers: mpsc::UnboundedReceiver<io::Result<Answer>>,
    asked: bool,
}

impl Editor {
    /// Starts the thread.
    pub(super) fn start(catalog: SharedCatalog) -> Self {
        let (questions, asked) = std::sync::mpsc::channel::<Question>();
        let (answer, answers) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let mut reading = Reading::choose(catalog);
            for question in asked {
                if answer.send(reading.answer(&question)).is_err() {
                    return;
                }
            }
        });
        Self {
            questions,
            answers,
            asked: false,
        }
    }

    /// Asks and waits. Loses nothing when it is dropped half-way: the same question stays open.
    pub(super) async fn ask(&mut self, question: Question) -> io::Result<Answer> {
        if !self.asked {
            self.asked = self.questions.send(question).is_ok();
        }
        let answer = self.answers.recv().await;
        self.asked = false;
        answer.unwrap_or(Ok(Answer::End))
    }
}

/// How lines are read from a terminal.
enum Reading {
    /// With editing, history and completion.
    Edited {
        editor: Box<Reedline>,
        raw: Arc<AtomicBool>,
    },
    /// As the terminal gives them: one that can't move its cursor, or does not say where it is.
    Plain,
}

impl Reading {
    fn choose(catalog: SharedCatalog) -> Self {
        if std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
            return Self::Plain;
        }
        let raw = Arc::new(AtomicBool::new(false));
        let editor = Box::new(line_editor(catalog, Arc::clone(&raw)));
        Self::Edited { editor, raw }
    }

    fn answer(&mut self, question: &Question) -> io::Result<Answer> {
        if let Self::Edited { editor, raw } = std::mem::replace(self, Self::Plain) {
            raw.store(question.raw, Ordering::Relaxed);
            // Data is no statement: the empty prefix keeps all of it out of the history.
            let kept_out = if question.raw { "" } else { " " };
            let mut editor = editor.with_history_exclusion_prefix(Some(kept_out.to_owned()));
            let answer = match editor.read_line(&Shown(question.prompt.clone())) {
                Ok(Signal::Success(text)) => Some(Answer::Text(text)),
                Ok(Signal::CtrlC) => Some(Answer::Interrupted),
                // Nothing is bound to the other signals.
                Ok(_) => Some(Answer::End),
                Err(error) => {
                    printer::say(&format!("line editing is not possible here: {error}\n"));
                    None
                }
            };
            // The process does not wait for this thread when it ends: what is to be kept is kept now. A
            // history that can't be written is no reason to stop a person.
            editor.sync_history().ok();
            if let Some(answer) = answer {
                let editor = Box::new(editor);
                *self = Self::Edited { editor, raw };
                return Ok(answer);
            }
        }
        printer::say(&question.prompt);
        let mut line = String::new();
        if io::stdin().read_line(&mut line)? == 0 {
            return Ok(Answer::End);
        }
        let line = line.strip_suffix('\n').unwrap_or(&line);
        Ok(Answer::Text(line.to_owned()))
    }
}

fn line_editor(catalog: SharedCatalog, raw: Arc<AtomicBool>) -> Reedline {
    let mut keys = default_emacs_keybindings();
    keys.add_binding(
        KeyModifiers::NONE,
        KeyCode::Tab,
        ReedlineEvent::UntilFound(vec![
            ReedlineEvent::Menu(MENU.to_owned()),
            ReedlineEvent::MenuNext,
        ]),
    );
    keys.add_binding(
        KeyModifiers::SHIFT,
        KeyCode::BackTab,
        ReedlineEvent::MenuPrevious,
    );
    // What is typed while a statement runs comes with the line ends of a cooked terminal.
    keys.add_binding(
        KeyModifiers::CONTROL,
        KeyCode::Char('j'),
        ReedlineEvent::Enter,
    );
    let editor = Reedline::create()
        .with_completer(Box::new(SqlCompleter(catalog)))
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(
            ColumnarMenu::default().with_name(MENU),
        )))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_hinter(Box::new(DefaultHinter::default()))
        .with_validator(Box::new(Statement { raw }))
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_ansi_colors(std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
        .use_bracketed_paste(true);
    match history() {
        Some(history) => editor.with_history(Box::new(history)),
        None => editor,
    }
}

/// The history, readable by its owner alone: statements hold data. Without a place for it there is none.
fn history() -> Option<FileBackedHistory> {
    let file = state_directory()?.join("shell-history");
    private_file(&file).ok()?;
    FileBackedHistory::with_file(HISTORY, file).ok()
}

/// `$XDG_STATE_HOME/palisade` or `~/.local/state/palisade` (XDG Base Directory), made at need.
pub(super) fn state_directory() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let directory = absolute("XDG_STATE_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".local/state")))?
        .join("palisade");
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .ok()?;
    Some(directory)
}

/// Makes sure that the file is there, and that a new one is readable by its owner alone.
pub(super) fn private_file(path: &Path) -> io::Result<std::fs::File> {
    std::fs::OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

/// Enter ends a statement, or else begins its next line.
struct Statement {
    raw: Arc<AtomicBool>,
}

impl Validator for Statement {
    fn validate(&self, text: &str) -> ValidationResult {
        if self.raw.load(Ordering::Relaxed) || is_complete(text) {
            ValidationResult::Complete
        } else {
            ValidationResult::Incomplete
        }
    }
}

/// Nothing is open: all has been parted into statements and commands.
fn is_complete(text: &str) -> bool {
    let mut splitter = Splitter::new();
    let mut last_is_command = false;
    for line in text.split('\n') {
        let pieces = splitter.feed(line);
        last_is_command = matches!(pieces.last(), Some(super::splitter::Piece::Meta { .. }));
    }
    last_is_command || splitter.waiting() == Waiting::Nothing
}

/// A prompt that is only text.
struct Shown(String);

impl Prompt for Shown {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0)
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        // As wide as the prompt, so that the lines of a statement stand below each other.
        Cow::Owned(format!("{:>width$}", "-> ", width = self.0.chars().count()))
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let failing = match search.status {
            PromptHistorySearchStatus::Passing => "",
            PromptHistorySearchStatus::Failing => "failing ",
        };
        Cow::Owned(format!("({failing}search: {}) ", search.term))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enter_ends_what_is_complete() {
        for text in [
            "",
            "select 1;",
            "\\d",
            "select 1 \\g",
            "select 1;\nselect 2;",
            "-- remark",
        ] {
            assert!(is_complete(text), "{text}");
        }
        for text in [
            "select 1",
            "select ';",
            "select (;",
            "select 1; select 2",
            "/* ;",
        ] {
            assert!(!is_complete(text), "{text}");
        }
    }

    #[test]
    fn the_next_line_stands_below_the_first() {
        let prompt = Shown("main=> ".to_owned());
        assert_eq!(prompt.render_prompt_multiline_indicator(), "    -> ");
    }
}
