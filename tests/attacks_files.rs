//! Attacks on the files of a running cluster by the OS user that PostgreSQL runs as, who owns the data directory and
//! nothing else; SECURITY.md names each.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    reason = "tests"
)]

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{Cluster, ok, said};
use palisade_testkit::poll;

/// Only root can try as somebody else, and has something to lose to him.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not root: this was not tried");
    }
    root
}

/// A shell of PostgreSQL's OS user.
fn as_postgres(script: &str) -> Command {
    let id = |flag: &str| -> u32 {
        let told = ok(Command::new("id").args([flag, "postgres"]));
        told.trim().parse().unwrap()
    };
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .current_dir("/")
        .uid(id("-u"))
        .gid(id("-g"));
    command
}

/// Whether a plain file directly in `directory` holds `secret`.
fn leaked(directory: &Path, secret: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // What comes and goes meanwhile is the server's own.
        let plain = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file());
        if plain
            && fs::read(&path).is_ok_and(|text| String::from_utf8_lossy(&text).contains(secret))
        {
            found.push(path.display().to_string());
        }
    }
    found
}

// Whoever runs code as PostgreSQL's user reads nothing of root's through the daemon, and becomes owner of nothing.
#[test]
fn the_servers_user_leads_root_nowhere() {
    if !is_root() {
        return;
    }
    let mut cluster = Cluster::up();
    let dir = cluster.dir();
    let (data, conf) = (dir.join("postgres/data"), dir.join("postgres/conf"));
    let key = dir.join("private/cluster_private.key");
    let text = fs::read_to_string(&key).unwrap();
    let secret = text
        .split('"')
        .find(|word| word.len() == 45 && word.starts_with('S'));
    let secret = secret.unwrap_or(text.trim()).to_owned();
    let victim = cluster.path("victim");
    fs::write(&victim, "root's").unwrap();
    fs::set_permissions(&victim, Permissions::from_mode(0o600)).unwrap();
    // What the daemon writes for the server is in a directory where its user changes no name.
    for script in [
        format!("ln -s {} {}/x", key.display(), conf.display()),
        format!("ln -sf {} {}/pg_hba.conf", key.display(), conf.display()),
        format!("rm -f {}/pg_hba.conf", conf.display()),
        format!("mv {} {}.x", conf.display(), conf.display()),
        format!("mv {} {}.x", data.display(), data.display()),
        format!("ls {}", conf.display()),
        format!("touch {}/postgres/x", dir.display()),
    ] {
        let output = as_postgres(&script).output().unwrap();
        assert!(!output.status.success(), "{script}: {}", said(&output));
    }
    // In his own he plants links for all that was ever read or written there, and swaps what appears.
    let (linked, swapped) = (key.display(), victim.display());
    let mut hand = as_postgres(&format!(
        "cd {} && for f in pg_hba.conf pg_ident.conf palisade.conf palisade.key palisade.crt; do \
           ln -sf {linked} $f; ln -sf {linked} $f.old; done; \
         while :; do for f in .tmp* .new*; do [ -e \"$f\" ] && ln -sfn {swapped} \"$f\"; done; done",
        data.display()
    ))
    .spawn()
    .unwrap();
    let hba = conf.join("pg_hba.conf");
    for nth in 0..5 {
        let compiled = fs::read_to_string(&hba).unwrap();
        ok(&mut as_postgres(&format!(
            "echo '# mine' >> {}",
            hba.display()
        )));
        cluster.add_user(&format!("user{nth}"), "select");
        poll("the compiled file", Duration::from_mins(1), || {
            let now = fs::read_to_string(&hba).unwrap_or_default();
            (!now.contains("# mine") && !now.is_empty()).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}: {compiled}"));
    }
    assert_eq!(cluster.sql("user0", "SELECT 1"), "1");
    for directory in [&data, &conf] {
        assert_eq!(leaked(directory, &secret), [""; 0]);
    }
    // A start reads and writes more of them.
    cluster.stop();
    cluster.start();
    assert_eq!(cluster.sql("user0", "SELECT 1"), "1");
    hand.kill().unwrap();
    hand.wait().unwrap();
    for directory in [&data, &conf] {
        assert_eq!(leaked(directory, &secret), [""; 0]);
    }
    for path in [&victim, &key] {
        let found = fs::metadata(path).unwrap();
        assert_eq!(
            (found.uid(), found.mode() & 0o7777),
            (0, 0o600),
            "{}",
            path.display()
        );
    }
    for path in [&conf, &dir.join("postgres")] {
        assert_eq!(fs::metadata(path).unwrap().uid(), 0, "{}", path.display());
    }
}

// Keys in memory are not for core files, of the daemon or of its servers.
#[test]
fn no_core_file_is_written() {
    let cluster = Cluster::up();
    let file = cluster.dir().join("postgres/data/postmaster.pid");
    let text = fs::read_to_string(file).unwrap();
    let server = text.lines().next().unwrap().to_owned();
    let status = fs::read_to_string(format!("/proc/{server}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    for process in [server.as_str(), parent.unwrap().trim()] {
        let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        let words: Vec<&str> = core.unwrap().split_whitespace().collect();
        assert_eq!(words[4..6], ["0", "0"], "{process}");
    }
}
