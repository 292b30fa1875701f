//! Three machines that are one cluster.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "shared by several tests, each of which uses a part"
)]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use palisade_testkit::{TempDir, poll, temp_dir};

use super::common::{fails, ok};
use super::fleet::{Machine, secret_file};

/// Time for nodes on a busy machine; nothing waits this long unless it fails.
pub const PATIENCE: Duration = Duration::from_mins(2);

pub struct Fleet {
    pub machines: Vec<Machine>,
    temp: TempDir,
}

impl Fleet {
    /// Three machines, of which the second and the third joined by a token each.
    pub fn of_three() -> Self {
        Self::configured(temp_dir().unwrap(), |_| {})
    }

    /// The same in this directory, each with a configuration that `set` has changed.
    pub fn configured(temp: TempDir, set: impl Fn(&mut serde_json::Value)) -> Self {
        let machines = ["one", "two", "three"].map(|name| Machine::new(temp.path(), name));
        let mut fleet = Self {
            machines: machines.into(),
            temp,
        };
        ok(&mut fleet.machines[0].placed(&["init"]));
        configure(&fleet.machines[0], &set);
        fleet.machines[0].start("serving at");
        for nth in 1..3 {
            let token = fleet.path("token");
            let token = token.to_str().unwrap();
            drop(std::fs::remove_file(token));
            fleet.run(0, &["enroll", "create", "-o", token]);
            ok(&mut fleet.machines[nth].placed(&["join", token]));
            // "single use": by the next machine it is refused.
            let other = Machine::new(fleet.temp.path(), "other");
            let refused = fails(&mut other.placed(&["join", token]));
            assert!(refused.contains("used already"), "{refused}");
            drop(std::fs::remove_dir_all(&other.dir));
            configure(&fleet.machines[nth], &set);
            fleet.machines[nth].start("serving at");
        }
        fleet.until(0, "three voters", |status| {
            live(status) == [1, 2, 3] && voters(status) == 3
        });
        fleet
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// A command to the daemon of a machine, signed by the superuser.
    pub fn command(&self, nth: usize, args: &[&str]) -> Command {
        let mut command = self.machines[nth].command(args);
        command.env(
            "PALISADE_CREDENTIALS",
            self.machines[0].private("admin.credentials"),
        );
        command
    }

    pub fn run(&self, nth: usize, args: &[&str]) -> String {
        ok(&mut self.command(nth, args))
    }

    pub fn status(&self, nth: usize) -> serde_json::Value {
        let output = self.command(nth, &["status", "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    pub fn until(&self, nth: usize, what: &str, fine: impl Fn(&serde_json::Value) -> bool) {
        let found = poll(what, PATIENCE, || {
            let status = self.status(nth);
            fine(&status).then_some(())
        });
        assert!(
            found.is_ok(),
            "{what}: {:#}\n{}",
            self.status(nth),
            self.machines[nth].log()
        );
    }

    pub fn add_user(&self, name: &str) {
        let password = self.path("password");
        secret_file(&password, "correct horse\n");
        let credentials = self.path(&format!("{name}.credentials"));
        let (password, credentials) = (password.to_str().unwrap(), credentials.to_str().unwrap());
        let options = ["--password-file", password, "-s", credentials];
        let user = ["user", "add", "-u", name, "--privileges", "select"];
        self.run(0, &[&user[..], &options].concat());
    }

    /// A psql of a user, by his password, at the gateway of a machine.
    pub fn psql(&self, nth: usize, user: &str) -> Command {
        let conninfo = format!(
            "host=127.0.0.1 port={} dbname=main user={user} sslmode=verify-full sslrootcert={}",
            self.machines[nth].gateway,
            self.machines[nth].dir.join("root.crt").display()
        );
        let mut command = Command::new("psql");
        command
            .env("PGPASSWORD", "correct horse")
            .args(["-X", "-q", "-A", "-t", "-v", "VERBOSITY=verbose", &conninfo])
            .stdin(Stdio::null());
        command
    }

    pub fn can_log_in(&self, nth: usize, user: &str) -> bool {
        let output = self.psql(nth, user).args(["-c", "SELECT 1"]).output();
        output.unwrap().status.success()
    }

    pub fn until_log_in(&self, nth: usize, user: &str, may: bool) {
        let what = format!("{user} at node {}: {may}", nth + 1);
        let found = poll(&what, PATIENCE, || {
            (self.can_log_in(nth, user) == may).then_some(())
        });
        assert!(found.is_ok(), "{what}\n{}", self.machines[nth].log());
    }
}

/// Changes the configuration of a machine, which takes it up when it starts.
pub fn configure(machine: &Machine, set: impl Fn(&mut serde_json::Value)) {
    let path = machine.dir.join("palisade.cfg");
    let text = std::fs::read_to_string(&path).unwrap();
    // Comments stand before it.
    let (_, body) = text.split_once('{').unwrap();
    let mut config = serde_json::from_str(&format!("{{{body}")).unwrap();
    set(&mut config);
    std::fs::write(&path, config.to_string()).unwrap();
}

/// The ids of the live members.
pub fn live(status: &serde_json::Value) -> Vec<u64> {
    let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
    let live = nodes
        .iter()
        .filter(|node| node["live"] == true && node["pending"] == false);
    live.filter_map(|node| node["id"].as_u64()).collect()
}

pub fn voters(status: &serde_json::Value) -> usize {
    let members = status["store"]["members"].as_array();
    members.map_or(0, |members| {
        members
            .iter()
            .filter(|member| member["learner"] == false && member["live"] == true)
            .count()
    })
}
