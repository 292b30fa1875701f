//! Processes: started as the right OS user, ended when dropped, and what they cost by /proc.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use palisade_testkit::{OsUser, poll};

/// Time for a server to come up on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
/// `USER_HZ`, the unit of times in /proc (proc(5)); 100 on every Linux that PostgreSQL is packaged for.
const TICKS_PER_SECOND: u64 = 100;

/// The one clock of the benchmarks.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// A command as the servers' OS user, cut off from our settings and standard input.
pub(super) fn command(program: &Path, user: Option<OsUser>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("PALISADE_") || name_text.starts_with("PG") {
            command.env_remove(&name);
        }
    }
    if let Some(user) = user {
        user.runs(&mut command);
    }
    // libpq looks for a client certificate at home; ours is another user's.
    command.env("HOME", "/nonexistent");
    command.current_dir("/").stdin(Stdio::null());
    command
}

/// Runs it to its end; standard output, or all that it said as an error.
pub(super) fn output(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("can't run {command:?}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}\n{text}{errors}", output.status))
}

/// A server that runs until this is dropped.
pub(super) struct Server(Child);

impl Server {
    /// Starts it with both outputs in the file `log`, and waits until `sign` stands there.
    pub(super) fn start(command: &mut Command, log: &Path, sign: &str) -> Result<Self, String> {
        let file = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let both = file
            .try_clone()
            .map_err(|error| format!("{}: {error}", log.display()))?;
        let child = command.stdout(both).stderr(file).spawn();
        let mut server = Self(child.map_err(|error| format!("can't start {command:?}: {error}"))?);
        let said = || std::fs::read_to_string(log).unwrap_or_default();
        let runs = poll(sign, PATIENCE, || {
            if said().contains(sign) {
                return Some(true);
            }
            // An error here shows as the end of the patience.
            server.0.try_wait().ok().flatten().map(|_| false)
        });
        match runs {
            Ok(true) => Ok(server),
            Ok(false) => Err(format!("{command:?} ended:\n{}", said())),
            Err(error) => Err(format!("{command:?}: {error}:\n{}", said())),
        }
    }

    /// CPU time that it took so far, in user and kernel mode, all its threads together.
    pub(super) fn cpu(&self) -> Result<Duration, String> {
        let stat = self.read("stat")?;
        // proc(5): fields 14 and 15; the name in parentheses, field 2, may hold anything.
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest);
        let ticks: Option<u64> = fields.and_then(|fields| {
            let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
            Some(times.next()?.ok()? + times.next()?.ok()?)
        });
        let ticks = ticks.ok_or_else(|| format!("can't read {stat:?}"))?;
        Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }

    /// Its resident memory in KiB.
    pub(super) fn memory_kib(&self) -> Result<u32, String> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok())
            .ok_or_else(|| "no VmRSS in /proc".to_owned())
    }

    fn read(&self, name: &str) -> Result<String, String> {
        let path = format!("/proc/{}/{name}", self.0.id());
        std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGINT: in good order. Where it does not work there is nothing left to stop.
        if let Ok(None) = self.0.try_wait() {
            let pid = i32::try_from(self.0.id()).ok();
            if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
                rustix::process::kill_process(pid, rustix::process::Signal::INT).ok();
            }
        }
        self.0.wait().ok();
    }
}
