//! Carries out backslash commands.

use super::args::Format;
use super::connect::Endpoint;
use super::copy::{Copy, Direction, FileSink, FileSource, Place};
use super::describe::{self, Describe, Kind};
use super::editor::{private_file, state_directory};
use super::error::{plain, printable};
use super::exit::Exit;
use super::input::Input;
use super::interpreter::{Flow, Interpreter};
use super::meta::{self, Meta};
use super::printer::{self, Collector};
use super::session::{NoCopySource, QueryError, Receiver, Session};
use super::splitter::Splitter;
use std::io::{self, Write};

/// `\i` within `\i` within ...: deeper than any script means.
const DEEPEST_INCLUDE: usize = 16;

impl Interpreter {
    /// Carries out one backslash command.
    pub(super) async fn command(
        &mut self,
        text: &str,
        line: usize,
        splitter: &mut Splitter,
        input: &mut Input,
    ) -> Flow {
        let meta = match Meta::parse(text) {
            Ok(meta) => meta,
            Err(error) => {
                let place = input
                    .name()
                    .map(|name| format!("{name}:{line}: "))
                    .unwrap_or_default();
                self.printer.say(&format!("{place}{error}\n"));
                return Flow::Fail(Exit::Usage);
            }
        };
        match meta {
            Meta::Quit => Flow::Quit,
            Meta::Help => self.show(meta::help().trim_end()).await,
            Meta::SqlHelp(command) => {
                let text = sql_help(&command, self.session.parameter("server_version"));
                self.show(&text).await
            }
            Meta::Describe(describe) => self.describe(&describe, input.is_person()).await,
            Meta::Expanded(wanted) => {
                self.printer.expanded = wanted.unwrap_or(!self.printer.expanded);
                let state = if self.printer.expanded { "on" } else { "off" };
                tell(input, &format!("Expanded display is {state}."))
            }
            Meta::Timing(wanted) => {
                self.timing = wanted.unwrap_or(!self.timing);
                tell(
                    input,
                    &format!("Timing is {}.", if self.timing { "on" } else { "off" }),
                )
            }
            Meta::Format(wanted) => {
                self.printer.format = wanted.unwrap_or(self.printer.format);
                tell(
                    input,
                    &format!("Output format is {}.", self.printer.format.name()),
                )
            }
            Meta::Include(path) => self.include(&path).await,
            Meta::Output(path) => match self.printer.redirect(path.as_deref()) {
                Ok(()) => Flow::On,
                Err(error) => {
                    self.file_trouble(path.as_deref().unwrap_or("standard output"), &error)
                }
            },
            Meta::Echo(text) => self.show(&text).await,
            Meta::Copy(copy) => self.copy(&copy, input).await,
            Meta::Connect(database) => self.connect(database, input).await,
            Meta::ConnectionInfo => self.show(&self.connection_info()).await,
            Meta::Go { expanded } => self.go(expanded, splitter, input).await,
            Meta::Print => self.show(&printable(splitter.buffer())).await,
            Meta::Reset => {
                splitter.reset();
                tell(input, "Query buffer reset (cleared).")
            }
            Meta::Edit => edit(splitter, input).await,
        }
    }

    async fn show(&mut self, text: &str) -> Flow {
        let shown = self.printer.line(text).map_err(QueryError::Output);
        self.settle(shown, None, "", true).await
    }

    /// `\g`, `\gx`.
    async fn go(&mut self, expanded: bool, splitter: &mut Splitter, input: &mut Input) -> Flow {
        let Some((sql, line)) = splitter.take() else {
            return Flow::On;
        };
        let before = self.printer.expanded;
        self.printer.expanded |= expanded;
        let flow = self.statement(&sql, line, input).await;
        self.printer.expanded = before;
        flow
    }

    async fn include(&mut self, path: &str) -> Flow {
        if self.depth == DEEPEST_INCLUDE {
            self.printer
                .say(&format!("{path}: files include each other too deeply\n"));
            return Flow::Fail(Exit::Usage);
        }
        let mut file = match Input::file(path) {
            Ok(file) => file,
            Err(error) => return self.file_trouble(path, &error),
        };
        self.depth += 1;
        let flow = Box::pin(self.consume(&mut file)).await;
        self.depth -= 1;
        // `\q` in a file ends that file.
        if flow == Flow::Quit { Flow::On } else { flow }
    }

    /// `\c`: the old session stays until the new one is there.
    async fn connect(&mut self, database: Option<String>, input: &Input) -> Flow {
        let mut endpoint: Endpoint = self.session.endpoint().clone();
        if let Some(database) = database.filter(|name| name != "-") {
            endpoint.database = database;
        }
        match Session::open(endpoint, &mut self.printer).await {
            Ok(session) => {
                std::mem::replace(&mut self.session, session).close().await;
                self.forget_catalog();
                tell(input, &self.connection_info())
            }
            Err(error) => {
                self.printer
                    .say(&format!("{error}\nPrevious connection kept.\n"));
                Flow::Fail(Exit::Connection)
            }
        }
    }

    fn connection_info(&self) -> String {
        let endpoint = self.session.endpoint();
        let protection = if endpoint.tls.is_some() {
            "TLS 1.3, the server has proved the cluster key"
        } else {
            "not encrypted"
        };
        format!(
            "You are connected to database \"{}\" as user \"{}\" at {} (PostgreSQL {}, process {}; {protection}).",
            endpoint.database,
            endpoint.user,
            endpoint.target,
            printable(
                self.session
                    .parameter("server_version")
                    .unwrap_or("unknown")
            ),
            self.session.process_id().unwrap_or_default(),
        )
    }

    /// `\copy`.
    async fn copy(&mut self, copy: &Copy, input: &mut Input) -> Flow {
        let sql = copy.sql();
        let is_person = input.is_person();
        let result = match (&copy.place, copy.direction) {
            (Place::Here, Direction::From) => self.run_here(&sql, input).await,
            (Place::Here, Direction::To) => {
                self.session
                    .run(&sql, &mut self.printer, &mut NoCopySource)
                    .await
            }
            (Place::File(path), Direction::From) => match FileSource::open(path) {
                Ok(mut source) => {
                    let before = self.printer.show(source.progress());
                    let result = self.session.run(&sql, &mut self.printer, &mut source).await;
                    self.printer.show(&before);
                    result
                }
                Err(error) => return self.file_trouble(path, &error),
            },
            (Place::File(path), Direction::To) => match FileSink::create(path) {
                Ok(mut sink) => {
                    let before = self.printer.show(sink.progress());
                    let result = self.copy_out(&sql, &mut sink).await;
                    self.printer.show(&before);
                    match result {
                        Err(QueryError::Output(error)) => return self.file_trouble(path, &error),
                        result => result,
                    }
                }
                Err(error) => return self.file_trouble(path, &error),
            },
        };
        self.settle(result, Some(&sql), "", is_person).await
    }

    async fn copy_out(&mut self, sql: &str, sink: &mut FileSink) -> Result<(), QueryError> {
        let mut collector = Collector::copy(&self.printer, sink);
        self.session
            .run(sql, &mut collector, &mut NoCopySource)
            .await?;
        let tag = std::mem::take(&mut collector.tag);
        sink.flush().map_err(QueryError::Output)?;
        self.printer.complete(&tag).map_err(QueryError::Output)
    }

    fn file_trouble(&self, path: &str, error: &io::Error) -> Flow {
        self.printer.say(&format!("{path}: {}\n", plain(error)));
        Flow::Fail(Exit::Usage)
    }

    /// `\d` and its like.
    async fn describe(&mut self, command: &Describe, is_person: bool) -> Flow {
        let result = match &command.pattern {
            Some(pattern) if command.kind == Kind::Relations => {
                self.describe_each(pattern, command.more).await
            }
            _ => self.list(command).await,
        };
        let found = *result.as_ref().unwrap_or(&true);
        match self.settle(result.map(drop), None, "", is_person).await {
            Flow::On if !found => {
                let pattern = command.pattern.as_deref().unwrap_or("*");
                self.printer
                    .say(&format!("Did not find anything named \"{pattern}\".\n"));
                Flow::Fail(Exit::Sql)
            }
            flow => flow,
        }
    }

    /// Whether there was anything; without a pattern an empty list is an answer.
    async fn list(&mut self, command: &Describe) -> Result<bool, QueryError> {
        let found = self.ask(&command.list()).await?;
        if found.rows.is_empty() && command.pattern.is_some() {
            return Ok(false);
        }
        self.printer
            .table(found.columns, found.rows)
            .map_err(QueryError::Output)?;
        Ok(true)
    }

    async fn describe_each(&mut self, pattern: &str, more: bool) -> Result<bool, QueryError> {
        let found = self.ask(&describe::matching_relations(pattern)).await?;
        let any = !found.rows.is_empty();
        for row in found.rows {
            let Ok([Some(oid), Some(schema), Some(name), Some(kind)]) =
                <[Option<String>; 4]>::try_from(row)
            else {
                continue;
            };
            let Ok(oid) = oid.parse() else { continue };
            let heading = describe::heading(&kind, &schema, &name);
            self.describe_one(oid, &heading, &kind, more).await?;
        }
        Ok(any)
    }

    /// The columns; for a reader of tables also a heading and what stands below.
    async fn describe_one(
        &mut self,
        oid: u32,
        heading: &str,
        kind: &str,
        more: bool,
    ) -> Result<(), QueryError> {
        let columns = self.ask(&describe::columns(oid, more)).await?;
        if self.printer.format != Format::Table {
            return self
                .printer
                .table(columns.columns, columns.rows)
                .map_err(QueryError::Output);
        }
        self.printer
            .titled_table(&printable(heading), columns.columns, columns.rows)
            .map_err(QueryError::Output)?;
        for (title, sql) in describe::footers(oid, kind, more) {
            let lines: Vec<String> = self
                .ask(&sql)
                .await?
                .rows
                .into_iter()
                .flatten()
                .flatten()
                .collect();
            if lines.is_empty() {
                continue;
            }
            let text = format!("{title}:\n    {}", lines.join("\n").replace('\n', "\n    "));
            self.printer
                .line(&printable(&text))
                .map_err(QueryError::Output)?;
        }
        self.printer.line("").map_err(QueryError::Output)
    }
}

/// To a person what he has just set; a script knows.
fn tell(input: &Input, text: &str) -> Flow {
    if input.is_person() {
        printer::say(&format!("{text}\n"));
    }
    Flow::On
}

/// Where PostgreSQL's manual, in the server's version, explains a command.
fn sql_help(command: &str, server_version: Option<&str>) -> String {
    let major = server_version.and_then(|version| version.split(['.', ' ']).next());
    let manual = format!(
        "https://www.postgresql.org/docs/{}",
        major.unwrap_or("current")
    );
    let words: Vec<String> = command.split_whitespace().map(str::to_lowercase).collect();
    if words.is_empty()
        || words
            .iter()
            .any(|word| !word.chars().all(|c| c.is_ascii_alphabetic()))
    {
        return format!("All SQL commands: {manual}/sql-commands.html");
    }
    format!(
        "{}: {manual}/sql-{}.html",
        command.to_uppercase(),
        words.concat()
    )
}

/// `\e`: the buffer in the person's own editor; what comes back is taken as if it were typed.
async fn edit(splitter: &mut Splitter, input: &mut Input) -> Flow {
    if !input.is_person() {
        printer::say("\\e: there is no terminal\n");
        return Flow::Fail(Exit::Usage);
    }
    let text = splitter.buffer().to_owned();
    match edited(&text).await {
        Ok(text) => {
            splitter.reset();
            input.prepend(text.trim_end());
            Flow::On
        }
        Err(error) => {
            printer::say(&format!("\\e: {error}\n"));
            Flow::Fail(Exit::Usage)
        }
    }
}

async fn edited(text: &str) -> io::Result<String> {
    let directory = state_directory().ok_or_else(|| io::Error::other("no home directory"))?;
    let path = directory.join(format!("edit-{}.sql", std::process::id()));
    let written = private_file(&path).and_then(|mut file| {
        file.set_len(0)?;
        writeln!(file, "{text}")
    });
    let outcome = match written {
        Ok(()) => run_editor(&path).await,
        Err(error) => Err(error),
    };
    // Statements hold data: nothing is left behind.
    std::fs::remove_file(&path).ok();
    outcome
}

async fn run_editor(path: &std::path::Path) -> io::Result<String> {
    let editor = ["VISUAL", "EDITOR"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    let editor = editor
        .filter(|editor| !editor.trim().is_empty())
        .unwrap_or_else(|| "vi".to_owned());
    // Through the shell, as git and psql do: `EDITOR="code --wait"`.
    let status = tokio::process::Command::new("/bin/sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(path)
        .status()
        .await?;
    if !status.success() {
        return Err(io::Error::other(format!("{editor}: {status}")));
    }
    std::fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_points_into_the_manual_of_the_servers_version() {
        assert_eq!(
            sql_help("create table", Some("15.18 (Debian 15.18-0+deb12u1)")),
            "CREATE TABLE: https://www.postgresql.org/docs/15/sql-createtable.html"
        );
        assert_eq!(
            sql_help("", None),
            "All SQL commands: https://www.postgresql.org/docs/current/sql-commands.html"
        );
    }
}
