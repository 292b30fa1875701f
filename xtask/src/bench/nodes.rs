//! `cargo xtask bench nodes`: three nodes on this machine: how long until they stand, and how long a disabled
//! user's sessions live on.
//!
//! ```text
//!   palisade user disable bob   from the start of the command
//!      |-> entry signed -> etcd -> node 1, 2, 3 -> each gateway ends bob's session
//!                                                  to the last session's end
//! ```

use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use palisade_testkit::{TempDir, free_port, poll, temp_dir};
use serde_json::json;

use super::client::{self, Client, Target};
use super::process::{Server, command, now, output};
use super::scram::Password;
use crate::report::Report;

const USAGE: &str = "usage: cargo xtask bench nodes [--runs N] [--json]";
/// Disabled and enabled again so often.
const RUNS: usize = 100;
const NODES: u16 = 3;
const USER: &str = "bob";
const DATABASE: &str = "main";
const PASSWORD: &str = "correct horse battery staple";
/// For an enabled user to get in everywhere again, and for sessions to end.
const PATIENCE: Duration = Duration::from_secs(30);

struct Nodes {
    temp: TempDir,
    binary: std::path::PathBuf,
    port: u16,
    _server: Server,
}

/// Measures, in the release build that this is.
pub(super) fn run(words: &[&str], binary: &Path, report: &mut Report) -> Result<(), String> {
    let (mut runs, mut as_json) = (RUNS, false);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--json" => as_json = true,
            "--runs" => {
                let number = words.next().and_then(|word| word.parse().ok());
                runs = number
                    .filter(|runs| *runs > 0)
                    .ok_or_else(|| format!("--runs takes a number above 0\n{USAGE}"))?;
            }
            _ => return Err(format!("what is `{word}`?\n{USAGE}")),
        }
    }
    report.trouble("palisade up --nodes 3, from an empty directory");
    let (nodes, up) = Nodes::up(binary)?;
    nodes.add_user()?;
    let mut times = Vec::with_capacity(runs);
    for run in 1..=runs {
        if run % 10 == 0 {
            report.trouble(&format!("{run} of {runs}"));
        }
        times.push(nodes.disable()?);
    }
    times.sort_unstable();
    let of = |percent: usize| {
        let index = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(index).copied().unwrap_or_default().as_secs_f64() * 1000.0
    };
    let (p50, p99) = (of(50), of(99));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    if as_json {
        let all = json!({
            "up_seconds": up.as_secs_f64(), "runs": runs, "disable_ms": { "p50": p50, "p99": p99, "max": of(100) },
            "load_after": load.trim(),
        });
        report.line(&format!("{all:#}"));
        return Ok(());
    }
    report.line(&format!("load after: {}", load.trim()));
    report.line(&format!(
        "three nodes from an empty directory: {:.1} s",
        up.as_secs_f64()
    ));
    report.line(&format!(
        "user disable to the last of three sessions ended, {runs} runs: p50 {p50:.0} ms, p99 {p99:.0} ms, max {:.0} ms",
        of(100)
    ));
    Ok(())
}

impl Nodes {
    fn up(binary: &Path) -> Result<(Self, Duration), String> {
        let text = |error: palisade_testkit::Error| error.to_string();
        let temp = temp_dir().map_err(text)?;
        let port = free_port().map_err(text)?;
        let mut up = command(binary, None);
        up.args(["up", "--nodes", &NODES.to_string(), "--dir"])
            .arg(temp.path().join("cluster"))
            .args(["--listen", &format!("127.0.0.1:{port}")]);
        let begun = now();
        let server = Server::start(&mut up, &temp.path().join("log"), "Ctrl-C stops")?;
        let took = begun.elapsed();
        Ok((
            Self {
                temp,
                binary: binary.to_owned(),
                port,
                _server: server,
            },
            took,
        ))
    }

    fn command(&self, words: &[&str]) -> Command {
        let dir = self.temp.path().join("cluster");
        let mut command = command(&self.binary, None);
        command
            .args(words)
            .env(
                "PALISADE_CREDENTIALS",
                dir.join("private/admin.credentials"),
            )
            .env("PALISADE_DIR", dir);
        command
    }

    fn add_user(&self) -> Result<(), String> {
        use std::os::unix::fs::PermissionsExt as _;
        let file = self.temp.path().join("password");
        let text = |error: std::io::Error| error.to_string();
        std::fs::write(&file, PASSWORD).map_err(text)?;
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&file, mode).map_err(text)?;
        let file = file.display().to_string();
        let words = [
            "user",
            "add",
            "-u",
            USER,
            "--privileges",
            "select,set_transaction",
            "--password-file",
            &file,
        ];
        output(&mut self.command(&words)).map(drop)
    }

    /// One session on each node, then the user is disabled: the time until the last session's end.
    fn disable(&self) -> Result<Duration, String> {
        let tls = client::tls()?;
        let (ended, ends) = mpsc::channel();
        for node in 0..NODES {
            let target = Target {
                port: self.port + node,
                user: USER,
                database: DATABASE,
                tls: tls.clone(),
            };
            let session = poll("a log-in", PATIENCE, || {
                Client::login(&target, &mut Password::new(PASSWORD)).ok()
            });
            let mut session = session.map_err(|error| format!("node {}: {error}", node + 1))?;
            let ended = ended.clone();
            std::thread::spawn(move || {
                session.wait_for_end();
                // The other side waits for all of them.
                ended.send(()).ok();
            });
        }
        drop(ended);
        let begun = now();
        let mut disable = self.command(&["user", "disable", USER]);
        let child = disable.spawn().map_err(|error| error.to_string())?;
        for _ in 0..NODES {
            ends.recv_timeout(PATIENCE)
                .map_err(|_| "a session of the disabled user goes on".to_owned())?;
        }
        let took = begun.elapsed();
        let done = child
            .wait_with_output()
            .map_err(|error| error.to_string())?;
        if !done.status.success() {
            return Err(format!("user disable: {}", done.status));
        }
        output(&mut self.command(&["user", "enable", USER]))?;
        Ok(took)
    }
}
