//! etcd as a child that ends when we do.
//!
//! The kernel ends it when the thread that started it ends (`PR_SET_PDEATHSIG`, by way of `setpriv`), so that thread is
//! its own and waits for the child. Where there is no `setpriv`, the next daemon ends what was left.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::error::EtcdError;
use super::log::Log;
use crate::error::Error;
use crate::os::{Leftover, OsUser};
use crate::programs;

/// A member that leads hands that over first.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// A running etcd.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    ended: watch::Receiver<Option<ExitStatus>>,
    log: Arc<Log>,
}

impl Process {
    /// Starts `program` in `directory` as `user`.
    pub(super) async fn start(
        program: &Path,
        arguments: &[String],
        directory: &Path,
        user: &OsUser,
    ) -> Result<Self, EtcdError> {
        // The file /etc/default/etcd and whoever started us have no say: its environment is empty.
        let mut command = command(program)?;
        command
            .args(arguments)
            .current_dir(directory)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        user.runs(&mut command);
        let log = Arc::new(Log::default());
        let (started, has_started) = oneshot::channel();
        let (ending, ended) = watch::channel(None);
        let kept = log.clone();
        let failed = || EtcdError::file("run", program);
        std::thread::Builder::new()
            .name("etcd".to_owned())
            .spawn(move || keep(command, &kept, started, &ending))
            .map_err(failed())?;
        let pid = match has_started.await {
            Ok(started) => started.map_err(failed())?,
            Err(_) => return Err(EtcdError::NoProgram),
        };
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(EtcdError::NoProgram)?;
        let file = pid_file(directory);
        let text = pid.as_raw_nonzero().to_string();
        std::fs::write(&file, text).map_err(EtcdError::file("write", &file))?;
        Ok(Self { pid, ended, log })
    }

    /// What it says.
    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Waits until it ends, and tells how.
    pub(super) async fn ended(&mut self) -> ExitStatus {
        match self.ended.wait_for(Option::is_some).await {
            Ok(status) => status.unwrap_or_default(),
            // Its thread is gone, and it with it.
            Err(_) => ExitStatus::from_raw(9),
        }
    }

    /// Ends it: SIGTERM, and SIGKILL if that takes too long.
    pub(super) async fn stop(mut self) {
        kill_process(self.pid, Signal::TERM).ok();
        if timeout(STOP_WITHIN, self.ended()).await.is_err() {
            kill_process(self.pid, Signal::KILL).ok();
            self.ended().await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.has_ended() {
            kill_process(self.pid, Signal::KILL).ok();
        }
    }
}

fn command(program: &Path) -> Result<Command, Error> {
    let Ok(Some(setpriv)) = programs::find("setpriv") else {
        return programs::command(program);
    };
    let mut command = programs::command(&setpriv)?;
    // SIGKILL: etcd writes ahead, and one that hands over leadership first might outlive our successor's start.
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    Ok(command)
}

/// The thread of a process.
fn keep(
    mut command: Command,
    log: &Arc<Log>,
    started: oneshot::Sender<std::io::Result<u32>>,
    ending: &watch::Sender<Option<ExitStatus>>,
) {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            started.send(Err(error)).ok();
            return;
        }
    };
    started.send(Ok(child.id())).ok();
    let reader = child.stderr.take().and_then(|stderr| {
        let log = log.clone();
        let thread = std::thread::Builder::new().name("etcd log".to_owned());
        thread.spawn(move || log.follow(stderr)).ok()
    });
    let status = child.wait();
    // All that it said is there before anybody hears that it ended.
    reader.map(std::thread::JoinHandle::join);
    ending.send_replace(Some(status.unwrap_or_default()));
}

fn pid_file(directory: &Path) -> PathBuf {
    directory.join("etcd.pid")
}

/// Ends an etcd that a killed daemon left in this directory.
pub(super) async fn end_leftover(directory: &Path) -> Result<(), EtcdError> {
    let text = std::fs::read_to_string(pid_file(directory)).unwrap_or_default();
    let leftover = Leftover {
        program: "etcd",
        number: &text,
        directory,
        signals: [Signal::TERM, Signal::KILL],
        within: STOP_WITHIN,
    };
    let ended = leftover.end().await;
    ended.map_err(|pid| EtcdError::NotStopped { pid })
}
