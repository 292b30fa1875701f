//! Runs statements one after the other and decides what an error means for those that follow.
//!
//! Backslash commands are carried out in `commands`.

use super::complete::{Catalog, SharedCatalog};
use super::editor::Question;
use super::error::plain;
use super::exit::Exit;
use super::input::{InlineSource, Input, Next};
use super::printer::{Collector, Printer};
use super::session::{NoCopySource, QueryError, Session, Transaction};
use super::splitter::{Piece, Splitter, Waiting};
use std::io;
use std::sync::PoisonError;
use tokio::time::Instant;

/// What to do after a piece of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Go on.
    On,
    /// Leave; all is well.
    Quit,
    /// Leave this input for an error; a person goes on all the same.
    Fail(Exit),
    /// Leave the shell for an error.
    Abort(Exit),
}

/// A session with its settings.
pub(super) struct Interpreter {
    pub(super) session: Session,
    pub(super) printer: Printer,
    pub(super) timing: bool,
    /// How many `\i` are open.
    pub(super) depth: usize,
    catalog: SharedCatalog,
    catalog_is_stale: bool,
}

impl Interpreter {
    /// Over a session that is logged in.
    pub(super) fn new(session: Session, printer: Printer, catalog: SharedCatalog) -> Self {
        Self {
            session,
            printer,
            timing: false,
            depth: 0,
            catalog,
            catalog_is_stale: true,
        }
    }

    /// Says goodbye to the server.
    pub(super) async fn close(self) {
        self.session.close().await;
    }

    /// Runs an input to its end, and shows how far it is.
    pub(super) async fn consume(&mut self, input: &mut Input) -> Flow {
        let before = self.printer.show(input.progress());
        let flow = self.run_all(input).await;
        self.printer.show(&before);
        flow
    }

    async fn run_all(&mut self, input: &mut Input) -> Flow {
        let mut splitter = Splitter::new();
        loop {
            let line = match self.next(input, splitter.waiting()).await {
                Ok(Next::Line(line)) => line,
                Ok(Next::Interrupted) if input.is_person() => {
                    splitter.reset();
                    continue;
                }
                Ok(Next::Interrupted) => return Flow::Abort(Exit::Interrupted),
                Ok(Next::End) => break,
                Err(error) => {
                    let name = input.name().unwrap_or("standard input");
                    self.printer
                        .say(&format!("can't read {name}: {}\n", plain(&error)));
                    return Flow::Fail(Exit::Usage);
                }
            };
            let line = match spelled_out(&line) {
                Some(command) if input.is_person() && splitter.waiting() == Waiting::Nothing => {
                    command.to_owned()
                }
                _ => line,
            };
            for piece in splitter.feed(&line) {
                let flow = match piece {
                    Piece::Statement { text, line } => self.statement(&text, line, input).await,
                    Piece::Meta { text, line } => {
                        self.command(&text, line, &mut splitter, input).await
                    }
                };
                match flow {
                    Flow::On => {}
                    Flow::Fail(_) if input.is_person() => {}
                    other => return other,
                }
            }
        }
        if input.is_person() {
            return Flow::Quit;
        }
        match splitter.take() {
            Some((text, line)) => self.statement(&text, line, input).await,
            None => Flow::On,
        }
    }

    async fn next(&mut self, input: &mut Input, waiting: Waiting) -> io::Result<Next> {
        let question = if input.is_person() {
            self.refresh_catalog().await;
            Question {
                prompt: self.prompt(waiting),
                raw: false,
            }
        } else {
            Question {
                prompt: String::new(),
                raw: false,
            }
        };
        tokio::select! {
            next = input.next(question) => next,
            () = self.session.interrupted() => Ok(Next::Interrupted),
        }
    }

    /// `main=> `; the sign before `>` tells what is open, `*` an open transaction, `!` a failed one.
    fn prompt(&self, waiting: Waiting) -> String {
        let sign = match waiting {
            Waiting::Nothing => '=',
            Waiting::Statement => '-',
            Waiting::Parenthesis => '(',
            Waiting::Quote => '\'',
            Waiting::Identifier => '"',
            Waiting::DollarQuote => '$',
            Waiting::Comment => '*',
        };
        let transaction = match self.session.transaction() {
            Transaction::Idle => "",
            Transaction::Open => "*",
            Transaction::Failed => "!",
        };
        format!("{}{sign}{transaction}> ", self.session.endpoint().database)
    }

    /// Runs one statement and shows what comes of it.
    pub(super) async fn statement(&mut self, sql: &str, line: usize, input: &mut Input) -> Flow {
        let place = input
            .name()
            .map(|name| format!("{name}:{line}: "))
            .unwrap_or_default();
        let is_person = input.is_person();
        let start = Instant::now();
        let result = self.run_here(sql, input).await;
        self.catalog_is_stale |= changes_catalog(sql);
        let flow = self.settle(result, Some(sql), &place, is_person).await;
        if self.timing && flow == Flow::On {
            let milliseconds = start.elapsed().as_secs_f64() * 1000.0;
            self.printer.say(&format!("Time: {milliseconds:.3} ms\n"));
        }
        flow
    }

    /// Runs a statement whose data, if it takes any, comes with the statements.
    pub(super) async fn run_here(
        &mut self,
        sql: &str,
        input: &mut Input,
    ) -> Result<(), QueryError> {
        let mut source = InlineSource::new(input);
        let before = source.progress().map(|shown| self.printer.show(shown));
        let result = self.session.run(sql, &mut self.printer, &mut source).await;
        if let Some(before) = before {
            self.printer.show(&before);
        }
        result
    }

    /// Says what went wrong, if anything did, and decides how to go on.
    pub(super) async fn settle(
        &mut self,
        result: Result<(), QueryError>,
        sql: Option<&str>,
        place: &str,
        is_person: bool,
    ) -> Flow {
        // What came before an error belongs before its message.
        let result = match self.printer.flush() {
            Err(error) if result.is_ok() => Err(QueryError::Output(error)),
            _ => result,
        };
        match result {
            Ok(()) => Flow::On,
            Err(QueryError::Server(error)) => {
                self.printer.say(&format!("{place}{}", error.render(sql)));
                Flow::Fail(if error.is_want_of_right() {
                    Exit::Right
                } else {
                    Exit::Sql
                })
            }
            Err(QueryError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                // The reader has seen enough (`| head`).
                Flow::Abort(Exit::Done)
            }
            Err(QueryError::Output(error)) => {
                self.printer
                    .say(&format!("can't write the result: {error}\n"));
                Flow::Abort(Exit::Usage)
            }
            Err(QueryError::Lost { last_word, source }) => {
                if let Some(error) = last_word {
                    self.printer.say(&format!("{place}{}", error.render(None)));
                }
                let cause = plain(&source);
                self.printer.say(&format!(
                    "The connection to the cluster was lost: {cause}\n"
                ));
                if is_person {
                    self.reset().await
                } else {
                    Flow::Abort(Exit::Connection)
                }
            }
        }
    }

    /// Tries once to get a person back in, as psql does.
    async fn reset(&mut self) -> Flow {
        self.printer.say("Attempting reset: ");
        match Session::open(self.session.endpoint().clone(), &mut self.printer).await {
            Ok(session) => {
                self.printer.say("Succeeded.\n");
                self.session = session;
                Flow::Fail(Exit::Connection)
            }
            Err(error) => {
                self.printer.say(&format!("Failed.\n{error}\n"));
                Flow::Abort(Exit::Connection)
            }
        }
    }

    /// Asks the catalogue for ourselves.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<Collector<'static>, QueryError> {
        let mut collector = Collector::rows(&self.printer);
        self.session
            .run(sql, &mut collector, &mut NoCopySource)
            .await?;
        Ok(collector)
    }

    /// After a reconnection, or when the catalogue must have changed.
    pub(super) fn forget_catalog(&mut self) {
        self.catalog_is_stale = true;
    }

    /// Reads the names for completion anew, outside transactions: nothing of the person's is touched.
    async fn refresh_catalog(&mut self) {
        if !self.catalog_is_stale || self.session.transaction() != Transaction::Idle {
            return;
        }
        self.catalog_is_stale = false;
        // A user who may not read the catalogue has no completion of names, and no error for it.
        if let Ok(found) = self.ask(&Catalog::query()).await {
            let mut catalog = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
            *catalog = Catalog::from_rows(found.rows);
        }
    }
}

/// What a person types who does not know the backslash yet; none of it is SQL.
fn spelled_out(line: &str) -> Option<&'static str> {
    match line.trim().trim_end_matches(';').trim_end() {
        "exit" | "quit" => Some("\\q\n"),
        "help" => Some("\\?\n"),
        _ => None,
    }
}

/// Whether names may have changed: DDL, or what names mean without a schema.
fn changes_catalog(sql: &str) -> bool {
    let word = sql
        .split(|c: char| !c.is_ascii_alphabetic())
        .next()
        .unwrap_or_default();
    [
        "create", "alter", "drop", "set", "reset", "commit", "end", "import", "call", "do",
    ]
    .iter()
    .any(|verb| word.eq_ignore_ascii_case(verb))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_leaving_and_help_are_understood() {
        for (line, command) in [
            ("exit", "\\q\n"),
            (" quit; \n", "\\q\n"),
            ("help\n", "\\?\n"),
        ] {
            assert_eq!(spelled_out(line), Some(command), "{line}");
        }
        for line in ["", "exit now", "SELECT 1", "quit quit", "HELP ME"] {
            assert_eq!(spelled_out(line), None, "{line}");
        }
    }

    #[test]
    fn ddl_makes_the_completion_read_the_catalogue_again() {
        assert!(changes_catalog("CREATE TABLE t ()"));
        assert!(changes_catalog("drop table t"));
        assert!(changes_catalog("set search_path = a"));
        assert!(!changes_catalog("select 1"));
        assert!(!changes_catalog("settle"));
    }
}
