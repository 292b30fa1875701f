//! A data directory made by initdb once, and copied for each server: a copy takes a tenth of the time.

use crate::{Error, OsUser, dir, find_program};
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Changes whenever the arguments below do, so that a template of an older testkit is not taken.
const RECIPE: u32 = 1;

/// Makes `to` a fresh data directory whose superuser is `superuser`.
pub(crate) fn instantiate(to: &Path, superuser: &str, user: Option<OsUser>) -> Result<(), Error> {
    let template = obtain(superuser, user)?;
    let mut copy = Command::new("cp");
    copy.args(["-a", "--reflink=auto"])
        .arg(&template)
        .arg(to)
        .current_dir("/");
    run(copy, user, "cp")
}

/// The template for this version and superuser; made by whoever comes first.
fn obtain(superuser: &str, user: Option<OsUser>) -> Result<PathBuf, Error> {
    let initdb = find_program("initdb")?;
    let shared = dir::shared()?;
    let key = format!("{RECIPE}-{}-{superuser}", version(&initdb)?);
    let template = shared.join(format!("template-{key}"));
    if template.is_dir() {
        return Ok(template);
    }
    let lock_path = shared.join(format!("lock-{key}"));
    let lock = File::create(&lock_path).map_err(Error::file("make", &lock_path))?;
    lock.lock().map_err(Error::file("lock", &lock_path))?;
    if template.is_dir() {
        return Ok(template);
    }
    let workshop = dir::temp_dir()?;
    if let Some(user) = user {
        std::os::unix::fs::chown(workshop.path(), Some(user.uid), Some(user.gid))
            .map_err(Error::file("hand over", workshop.path()))?;
    }
    let data = workshop.path().join("data");
    let mut init = Command::new(initdb);
    init.arg("-D")
        .arg(&data)
        .args(["-U", superuser])
        .current_dir(workshop.path())
        .args([
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
            // 1 MiB instead of 16: less to copy for each test.
            "--wal-segsize=1",
        ]);
    run(init, user, "initdb")?;
    // Only root may rename a directory of somebody else's; and 0700 data under a public parent is private.
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700))
        .map_err(Error::file("set the mode of", &data))?;
    std::fs::rename(&data, &template).map_err(Error::file("put in place", &template))?;
    Ok(template)
}

/// `initdb (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)` gives `15.14`.
fn version(initdb: &Path) -> Result<String, Error> {
    let answer = Command::new(initdb)
        .arg("--version")
        .output()
        .map_err(Error::spawn("initdb"))?;
    let text = String::from_utf8_lossy(&answer.stdout);
    Ok(text
        .split_whitespace()
        .nth(2)
        .unwrap_or("unknown")
        .replace('/', "_"))
}

/// Runs a command as the server's user to its end.
fn run(mut command: Command, user: Option<OsUser>, program: &str) -> Result<(), Error> {
    if let Some(user) = user {
        user.runs(&mut command);
    }
    let done = command.output().map_err(Error::spawn(program))?;
    if done.status.success() {
        return Ok(());
    }
    Err(Error::Failed {
        program: program.to_owned(),
        status: done.status.to_string(),
        output: String::from_utf8_lossy(&done.stderr).into_owned(),
    })
}
