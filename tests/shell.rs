//! The shell at a terminal: the real binary on a pseudo-terminal, against PostgreSQL over TLS.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use expectrl::session::OsSession;
use expectrl::{Eof, Expect};
use palisade_keys::{Credentials, SecretKey};
use palisade_link::x509::{IssuingCa, Request};
use palisade_testkit::{Postgres, TempDir, poll};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// What is awaited comes at once; on a busy machine within this.
const PATIENCE: Duration = Duration::from_mins(2);

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(Zeroizing::new([seed; 32])).unwrap()
}

/// A PostgreSQL whose certificate proves cluster key 1, and the files of the user `alice`.
struct Server {
    postgres: Postgres,
    files: TempDir,
}

impl Server {
    fn start() -> Self {
        let now = OffsetDateTime::now_utc();
        let (ca, _) = IssuingCa::create(&key(1), &[1], now).unwrap();
        let request = Request {
            common_name: "gateway",
            hosts: &["127.0.0.1".to_owned()],
            now,
            lifetime: time::Duration::hours(1),
            serial: &[2],
        };
        let leaf = ca.server(&request).unwrap();
        let postgres = Postgres::builder()
            .tcp()
            .setting("ssl", "on")
            .file("server.crt", leaf.chain_pem().as_bytes())
            .file("server.key", leaf.expose_key_pem().as_bytes())
            .hba("local all all trust\nhostssl all all 127.0.0.1/32 trust\n")
            .start()
            .unwrap();
        postgres
            .psql("create role alice login; create database main owner alice")
            .unwrap();
        postgres
            .psql_as(
                "alice",
                "main",
                "create table orders (number int, customer text)",
            )
            .unwrap();
        let files = palisade_testkit::temp_dir().unwrap();
        let credentials = Credentials {
            username: "alice".to_owned(),
            secret_key: key(2),
        };
        let path = |name: &str| files.path().join(name);
        std::fs::write(path("cluster.key"), key(1).public().to_string()).unwrap();
        std::fs::write(path("alice.key"), credentials.expose_json().as_str()).unwrap();
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(path("alice.key"), private).unwrap();
        Self { postgres, files }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn shell(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
        command.env_clear().env("HOME", self.files.path());
        command.arg("shell");
        command.arg(format!("--cluster=127.0.0.1:{}", self.postgres.port()));
        for (option, file) in [
            ("--cluster-public-key-file", "cluster.key"),
            ("--user-credentials-file", "alice.key"),
        ] {
            command.arg(format!("{option}={}", self.path(file).display()));
        }
        command
    }

    /// At a terminal of this kind.
    fn at_terminal(&self, term: &str) -> Terminal {
        self.runs_at_terminal(term, &[])
    }

    fn runs_at_terminal(&self, term: &str, arguments: &[&str]) -> Terminal {
        let mut command = self.shell();
        command.env("TERM", term).args(arguments);
        let mut session = OsSession::spawn(command).unwrap();
        session.set_expect_timeout(Some(PATIENCE));
        session.get_process_mut().set_window_size(100, 30).unwrap();
        Terminal {
            session,
            shown: String::new(),
            all: String::new(),
            answered: 0,
            asked: 0,
        }
    }
}

/// A person's side of a terminal.
struct Terminal {
    session: OsSession,
    /// Shown and not yet looked at.
    shown: String,
    /// Shown since the beginning.
    all: String,
    /// How many questions for the cursor's place are answered.
    answered: usize,
    asked: usize,
}

impl Terminal {
    /// Types a text and the Enter key.
    fn enter(&mut self, text: &str) {
        self.press(&format!("{text}\r"));
    }

    fn press(&mut self, key: &str) {
        self.session.send(key).unwrap();
    }

    /// Waits until this is shown; answers on the way when the editor asks where the cursor is.
    fn shows(&mut self, text: &str) {
        let found = poll(text, PATIENCE, || {
            self.read();
            self.shown.find(text)
        });
        match found {
            Ok(at) => drop(self.shown.drain(..at + text.len())),
            Err(error) => panic!("{error}\n{}", self.shown.escape_debug()),
        }
    }

    fn read(&mut self) {
        let mut part = [0; 4096];
        while let Ok(length @ 1..) = self.session.try_read(&mut part) {
            let part = String::from_utf8_lossy(&part[..length]).into_owned();
            self.asked += part.matches(CURSOR_QUERY).count();
            self.shown.push_str(&part);
            self.all.push_str(&part);
        }
        while self.answered < self.asked {
            self.answered += 1;
            self.press("\x1b[1;1R");
        }
    }

    /// Waits for the program's end.
    fn ends(mut self) {
        self.session.expect(Eof).unwrap();
    }

    /// Waits for the program's end: what stands on the screen then.
    fn screen(mut self) -> String {
        let rest = self.session.expect(Eof).unwrap();
        let rest = rest.get(0).unwrap_or_default();
        self.all.push_str(&String::from_utf8_lossy(rest));
        let mut lines = vec![Vec::new()];
        let mut column = 0;
        for c in self.all.chars() {
            let line = lines.last_mut().unwrap();
            match c {
                '\r' => column = 0,
                '\n' => lines.push(Vec::new()),
                c => {
                    line.resize(line.len().max(column + 1), ' ');
                    line[column] = c;
                    column += 1;
                }
            }
        }
        let lines = lines.iter().map(|line| line.iter().collect::<String>());
        let lines: Vec<_> = lines.map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n")
    }
}

/// "Device Status Report" of ECMA-48: a terminal answers with the cursor's line and column.
const CURSOR_QUERY: &str = "\x1b[6n";
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";

/// "greets with its version, prompt, history, multi-line statements"
#[test]
fn a_dumb_terminal_has_prompts_that_tell_what_is_open() {
    let server = Server::start();
    let mut terminal = server.at_terminal("dumb");
    terminal.shows("palisade shell version ");
    terminal.shows("main=> ");
    terminal.enter("select (1 +");
    terminal.shows("main(> ");
    terminal.enter("41)");
    terminal.shows("main-> ");
    terminal.enter("as answer;");
    terminal.shows("     42");
    terminal.shows("main=> ");
    terminal.enter("begin;");
    terminal.shows("main=*> ");
    terminal.enter("nonsense;");
    terminal.shows("ERROR:  syntax error at or near \"nonsense\"");
    terminal.shows("LINE 1: nonsense");
    terminal.shows("main=!> ");
    terminal.enter("rollback;");
    terminal.shows("main=> ");
    terminal.enter("help");
    terminal.shows("Ctrl-D quits");
    terminal.shows("main=> ");
    // Not while a statement is open: there it is a word of it.
    terminal.enter("select 1 as");
    terminal.shows("main-> ");
    terminal.enter("exit");
    terminal.shows("main-> ");
    terminal.enter(";");
    terminal.shows("exit");
    terminal.shows("main=> ");
    terminal.enter("exit");
    terminal.ends();
}

/// "completion of SQL words, tables and columns"; "history"
#[test]
fn the_editor_completes_and_remembers() {
    let server = Server::start();
    let mut terminal = server.at_terminal("xterm");
    terminal.shows("palisade shell version ");
    terminal.shows("main=> ");
    terminal.press("insert into ord\t");
    terminal.shows("orders");
    terminal.enter(" values (7, 'seven');");
    terminal.shows("INSERT 0 1");
    terminal.press("select cust\t");
    terminal.shows("cust");
    terminal.press(CTRL_C);
    terminal.shows("main=> ");
    terminal.press("select number * 6 as product\nfrom orders;");
    terminal.press("\r");
    terminal.shows("     42");
    terminal.press(CTRL_D);
    terminal.ends();
    let history = std::fs::read_to_string(server.path(".local/state/palisade/shell-history"));
    let history = history.unwrap();
    assert!(history.contains("values (7, 'seven');"), "{history}");
}

/// A script that is long enough for a bar once its first statement has ended.
fn long_script(server: &Server) -> String {
    let script = "select pg_sleep(0.7);\nselect 'next' as step;\ncopy orders from stdin;\n1\tone\n2\ttwo\n\\.\n\
                  drop table if exists t;\n\\copy orders to '/dev/null'\nselect 'last' as step;\n";
    std::fs::write(server.path("long.sql"), script).unwrap();
    server.path("long.sql").to_str().unwrap().to_owned()
}

/// "a progress bar on long loads": it stands below the results and is gone at the end.
#[test]
fn a_long_script_shows_how_far_it_is() {
    let server = Server::start();
    let script = long_script(&server);
    let all = std::fs::metadata(&script).unwrap().len();
    let mut terminal = server.runs_at_terminal("dumb", &["-f", &script]);
    terminal.shows("(1 row)");
    terminal.shows("%  ");
    terminal.shows(&format!(" B of {all} B, "));
    terminal.shows(" B/s");
    let screen = terminal.screen();
    assert_eq!(
        screen,
        " pg_sleep\n----------\n\n(1 row)\n\n step\n------\n next\n(1 row)\n\nCOPY 2\n\
         NOTICE:  table \"t\" does not exist, skipping\nDROP TABLE\nCOPY 2\n step\n------\n last\n(1 row)\n\n"
    );
}

/// Data for COPY comes from standard input here.
#[test]
fn nothing_moves_where_nobody_looks() {
    let server = Server::start();
    let script = long_script(&server);
    let output = server.shell().args(["-f", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "NOTICE:  table \"t\" does not exist, skipping\n"
    );
    let json = ["--format=json", "-f", &script];
    let screen = server.runs_at_terminal("dumb", &json).screen();
    assert!(screen.contains("{\"step\":\"last\"}"), "{screen}");
    assert!(!screen.contains("B/s"), "{screen}");
}

/// Ctrl-C cancels the running statement, not the session.
#[test]
fn ctrl_c_cancels_the_running_statement() {
    let server = Server::start();
    let mut terminal = server.at_terminal("dumb");
    terminal.shows("main=> ");
    terminal.enter("select pg_sleep(600);");
    server.wait_for_sleep();
    terminal.press(CTRL_C);
    terminal.shows("ERROR:  canceling statement due to user request");
    terminal.enter("select 40 + 2 as answer;");
    terminal.shows("     42");
    terminal.press(CTRL_D);
    terminal.ends();
}

#[test]
fn an_interrupted_script_cancels_its_statement_and_says_so() {
    let server = Server::start();
    let mut command = server.shell();
    command.args(["-c", "select pg_sleep(600)", "-c", "select 'never'"]);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    server.wait_for_sleep();
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "ERROR:  canceling statement due to user request\n"
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let server = Server::start();
    let mut command = server.shell();
    command.args([
        "--format=csv",
        "-c",
        "select * from generate_series(1, 300000)",
    ]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

impl Server {
    fn wait_for_sleep(&self) {
        let sql = "select 1 from pg_stat_activity where query like 'select pg_sleep(600)%'";
        poll("the statement to run", PATIENCE, || {
            self.postgres.psql(sql).ok().filter(|rows| rows == "1")
        })
        .unwrap();
    }
}
