//! The machine: OS users, and processes that an earlier daemon left.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::time::{Instant, sleep};

use crate::error::Error;
use crate::programs;

/// Between two looks at a process that is not our child.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// An OS user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OsUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) name: String,
}

impl OsUser {
    /// The user of this name, asked of the name service.
    pub(crate) fn named(name: &str) -> Result<Self, Error> {
        let number = |option: &str| id(&[option, name]).and_then(|text| text.parse().ok());
        match (number("-u"), number("-g")) {
            (Some(uid), Some(gid)) => Ok(Self {
                uid,
                gid,
                name: name.to_owned(),
            }),
            _ => Err(Error::NoOsUser {
                name: name.to_owned(),
            }),
        }
    }

    /// Makes a command run as this user, if it isn't our own.
    pub(crate) fn runs(&self, command: &mut Command) {
        if rustix::process::geteuid().is_root() {
            command.uid(self.uid).gid(self.gid);
        }
    }
}

/// The name of the user that we run as.
pub(crate) fn own_name() -> Result<String, Error> {
    id(&["-un"]).ok_or_else(|| Error::NoOsUser {
        name: rustix::process::geteuid().as_raw().to_string(),
    })
}

/// Who the server runs as: a configured user, `postgres` when we are root, else ourselves.
pub(crate) fn server_user(configured: Option<&str>) -> Result<OsUser, Error> {
    let own = own_name()?;
    let root = rustix::process::geteuid().is_root();
    match configured {
        Some(name) if name != own && !root => Err(Error::NotRoot {
            name: name.to_owned(),
        }),
        Some(name) => OsUser::named(name),
        None if root => OsUser::named("postgres"),
        None => OsUser::named(&own),
    }
}

/// Who etcd runs as: when we are root `etcd`, which its package makes, or PostgreSQL's user; else ourselves.
pub(crate) fn store_user(postgres: Option<&str>) -> Result<OsUser, Error> {
    if !rustix::process::geteuid().is_root() {
        return OsUser::named(&own_name()?);
    }
    OsUser::named("etcd").or_else(|_| server_user(postgres))
}

fn id(arguments: &[&str]) -> Option<String> {
    let program = programs::find("id").ok()??;
    let mut command = programs::command(&program).ok()?;
    let answer = command.args(arguments).output().ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    (answer.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

/// A server that a killed daemon may have left.
pub(crate) struct Leftover<'a> {
    /// For people.
    pub(crate) program: &'static str,
    /// Its process id as it was written down; nothing, or no number: there is none.
    pub(crate) number: &'a str,
    /// Where it works.
    pub(crate) directory: &'a Path,
    /// What asks it to end, and what makes it.
    pub(crate) signals: [Signal; 2],
    /// How long it may take after each.
    pub(crate) within: Duration,
}

impl Leftover<'_> {
    /// Ends it; else returns its number.
    pub(crate) async fn end(&self) -> Result<(), i32> {
        let Some(pid) = self.number.trim().parse().ok().and_then(Pid::from_raw) else {
            return Ok(());
        };
        let number = pid.as_raw_nonzero().get();
        // The number may be another process's by now: only one that works in this directory is ours.
        let works_in = std::fs::read_link(format!("/proc/{number}/cwd"));
        let (Ok(works_in), Ok(own)) = (works_in, std::fs::canonicalize(self.directory)) else {
            return Ok(());
        };
        if works_in != own || pid == rustix::process::getpid() {
            return Ok(());
        }
        let program = self.program;
        tracing::warn!(
            pid = number,
            "{program} of an earlier daemon still runs: stopping it"
        );
        for signal in self.signals {
            kill_process(pid, signal).ok();
            let until = Instant::now() + self.within;
            while Instant::now() < until {
                if test_kill_process(pid).is_err() {
                    return Ok(());
                }
                sleep(LOOK_EVERY).await;
            }
        }
        Err(number)
    }
}

/// Can this user get to the directory? PostgreSQL's own message for it names the wrong thing.
pub(crate) fn check_reachable(path: &Path, user: &OsUser) -> Result<(), Error> {
    for above in path.ancestors().skip(1) {
        let Ok(found) = std::fs::metadata(above) else {
            continue;
        };
        let bit = if found.uid() == user.uid {
            0o100
        } else if found.gid() == user.gid {
            0o010
        } else {
            0o001
        };
        if user.uid != 0 && found.mode() & bit == 0 {
            return Err(Error::Unreachable {
                path: above.to_owned(),
                user: user.name.clone(),
            });
        }
    }
    Ok(())
}
