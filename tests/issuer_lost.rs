//! The node with the issuing CA's key is lost for good: another one becomes the issuer, with the cluster key, and
//! takes over what only an issuer may do, the members of managed etcd among it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod common;
#[path = "common/fleet.rs"]
mod fleet;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::ok;
use fleet::Machine;
use palisade_testkit::{poll, temp_dir};

/// Time for nodes on a busy machine; nothing waits this long unless it fails.
const PATIENCE: Duration = Duration::from_mins(2);

/// What the operator keeps elsewhere.
struct Kept<'a>(&'a Path);

impl Kept<'_> {
    /// A command to a machine's daemon, signed by the superuser.
    fn command(&self, machine: &Machine, args: &[&str]) -> Command {
        let mut command = machine.command(args);
        command.env("PALISADE_CREDENTIALS", self.0.join("admin.credentials"));
        command
    }

    fn join(&self, by: &Machine, machine: &mut Machine) {
        let token = self.0.join("token");
        let token = token.to_str().unwrap();
        drop(std::fs::remove_file(token));
        ok(&mut self.command(by, &["enroll", "create", "-o", token]));
        ok(&mut machine.placed(&["join", token]));
        machine.start("serving at");
    }

    /// Waits until these are the members of etcd, and vote.
    fn until_voters(&self, machine: &Machine, names: &[&str]) {
        let mut status = serde_json::Value::Null;
        let found = poll("the voters", PATIENCE, || {
            let output = self.command(machine, &["status", "--json"]).output().ok()?;
            status = serde_json::from_slice(&output.stdout).ok()?;
            let members = status["store"]["members"].as_array()?;
            let voting =
                |member: &&serde_json::Value| member["learner"] == false && member["live"] == true;
            let mut voters: Vec<&str> = members
                .iter()
                .filter(voting)
                .filter_map(|member| member["name"].as_str())
                .collect();
            voters.sort_unstable();
            (voters == names && members.len() == names.len()).then_some(())
        });
        assert!(found.is_ok(), "{names:?}: {status:#}\n{}", machine.log());
    }
}

#[test]
fn another_node_becomes_the_issuer_and_changes_etcds_members() {
    let temp = temp_dir().unwrap();
    let kept = Kept(temp.path());
    let [mut one, mut two, mut three, mut four] =
        ["one", "two", "three", "four"].map(|name| Machine::new(temp.path(), name));
    ok(&mut one.placed(&["init"]));
    one.start("serving at");
    for name in ["admin.credentials", "cluster_private.key"] {
        std::fs::copy(one.private(name), temp.path().join(name)).unwrap();
    }
    kept.join(&one, &mut two);
    kept.join(&one, &mut three);
    let first = ["palisade_node_1", "palisade_node_2", "palisade_node_3"];
    kept.until_voters(&one, &first);

    one.stop();
    std::fs::remove_dir_all(&one.dir).unwrap();
    ok(&mut kept.command(&two, &["node", "remove", "1", "--yes"]));
    let key = temp.path().join("cluster_private.key");
    let rotate = ["ca", "rotate", "--as-cluster-key", key.to_str().unwrap()];
    ok(&mut kept.command(&two, &rotate));
    // Two are left, of which one votes.
    kept.until_voters(&two, &["palisade_node_2"]);

    // A new machine gets its certificates from the new issuer, and its place among the members.
    kept.join(&two, &mut four);
    let then = ["palisade_node_2", "palisade_node_3", "palisade_node_4"];
    kept.until_voters(&three, &then);
    for machine in [&mut four, &mut three, &mut two] {
        machine.stop();
    }
}
