//! Three nodes that are one cluster: what holds on one holds on all, and what holds without one or two.
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
mod nodes_fleet;

use common::{Cluster, Doors, OpenSession, Process, fails, ok, palisade, said};
use fleet::{Machine, json, secret_file, status};
use nodes_fleet::{Fleet, PATIENCE, live, voters};
use palisade_testkit::{poll, temp_dir};

#[test]
fn what_holds_on_one_node_holds_on_all_three() {
    let mut fleet = Fleet::of_three();
    a_user_who_is_disabled_on_one_is_out_on_all(&fleet);
    a_node_takes_new_keys_without_leaving(&fleet);
    it_goes_on_without_one_and_refuses_mutations_without_two(&mut fleet);
    a_removed_node_is_out(&fleet);
}

// "a removed node, a disabled user is out now, on every node, open sessions included"; "mutations sent to
// any node reach the ledger"
fn a_user_who_is_disabled_on_one_is_out_on_all(fleet: &Fleet) {
    fleet.add_user("alice");
    let mut sessions: Vec<OpenSession> = (0..3)
        .map(|nth| {
            fleet.until_log_in(nth, "alice", true);
            let mut session = OpenSession::open(&mut fleet.psql(nth, "alice"));
            session.send("SELECT 'in';");
            session.expect("in");
            session
        })
        .collect();
    fleet.run(2, &["user", "disable", "alice"]);
    for session in &mut sessions {
        session.send("SELECT 1;");
        session.expect("57P01");
    }
    for nth in 0..3 {
        fleet.until_log_in(nth, "alice", false);
    }
    fleet.run(1, &["user", "enable", "alice"]);
    for nth in 0..3 {
        fleet.until_log_in(nth, "alice", true);
    }
}

// "`palisade node rotate` (new identity without leaving)"
fn a_node_takes_new_keys_without_leaving(fleet: &Fleet) {
    let before = fleet.machines[1].fingerprint();
    let key = fleet.machines[1].stolen_key();
    let token = fleet.path("hook.token");
    secret_file(&token, "a-token-that-nobody-may-see");
    let hook = [
        "alert",
        "add",
        "webhook",
        "ops",
        "http://127.0.0.1:9/",
        "--token-file",
    ];
    let add = [&hook[..], &[token.to_str().unwrap()]].concat();
    fleet.run(0, &add);
    fleet.run(0, &["alert", "add", "command", "pager", "page"]);
    let rotated = fleet
        .command(1, &["node", "rotate", "--yes"])
        .output()
        .unwrap();
    assert!(rotated.status.success(), "{}", said(&rotated));
    // What it can't send any more is named, and how that is mended.
    let names = "node 2 can't send these alerts, whose secrets are sealed to its old keys: ops\n";
    assert!(said(&rotated).contains(names), "{}", said(&rotated));
    let cannot_send =
        || json(&mut fleet.command(0, &["alert", "list", "--json"]))[0]["cannot_send"].clone();
    assert_eq!(cannot_send(), serde_json::json!([2]));
    fleet.run(0, &["alert", "remove", "ops", "--yes"]);
    fleet.run(0, &add);
    assert_eq!(cannot_send(), serde_json::json!([]));
    let after = fleet.machines[1].fingerprint();
    assert_ne!(before, after);
    assert_ne!(fleet.machines[1].stolen_key().public(), key.public());
    // Asked by its new key alone, it lives.
    for nth in [0, 2] {
        fleet.until(nth, "the renewed node", |status| {
            let node = &status["nodes"][1];
            node["fingerprint"] == *after && node["live"] == true && node["reason"].is_null()
        });
    }
    fleet.run(1, &["user", "disable", "alice"]);
    fleet.run(0, &["user", "enable", "alice"]);
}

// "without quorum: `no quorum: refusing mutation`, while logins go on from the last verified state"
fn it_goes_on_without_one_and_refuses_mutations_without_two(fleet: &mut Fleet) {
    fleet.machines[2].stop();
    fleet.until(0, "node 3 to be given up", |status| live(status) == [1, 2]);
    fleet.run(0, &["user", "disable", "alice"]);
    fleet.until_log_in(1, "alice", false);
    fleet.run(1, &["user", "enable", "alice"]);
    fleet.until_log_in(0, "alice", true);

    fleet.machines[1].stop();
    fleet.until(0, "the quorum to be missed", |status| {
        status["store"]["quorum"] == false
    });
    let refused = fails(&mut fleet.command(0, &["user", "disable", "alice"]));
    assert!(
        refused.contains("no quorum: refusing mutation"),
        "{refused}"
    );
    assert!(fleet.can_log_in(0, "alice"));
    assert!(
        !fleet
            .command(0, &["status"])
            .output()
            .unwrap()
            .status
            .success()
    );

    fleet.machines[1].start("serving at");
    fleet.machines[2].start("serving at");
    fleet.until(0, "the cluster to be well", |status| {
        status["store"]["quorum"] == true && live(status) == [1, 2, 3] && voters(status) == 3
    });
    fleet.run(0, &["user", "disable", "alice"]);
    for nth in 0..3 {
        fleet.until_log_in(nth, "alice", false);
    }
    fleet.run(2, &["user", "enable", "alice"]);
}

// "Removing a node closes its open connections everywhere and revokes its certificates."
fn a_removed_node_is_out(fleet: &Fleet) {
    fleet.until_log_in(2, "alice", true);
    let mut session = OpenSession::open(&mut fleet.psql(2, "alice"));
    session.send("SELECT 'in';");
    session.expect("in");
    let removed = fleet
        .command(0, &["node", "remove", "3", "--yes"])
        .output()
        .unwrap();
    assert!(removed.status.success(), "{}", said(&removed));
    let names = "node 3 knows the secrets of these alerts: ops\n";
    assert!(said(&removed).contains(names), "{}", said(&removed));
    fleet.until(0, "two nodes", |status| live(status) == [1, 2]);
    let told = poll("node 3 to know", PATIENCE, || {
        fleet.machines[2]
            .log()
            .contains("removed from its cluster")
            .then_some(())
    });
    assert!(told.is_ok(), "{}", fleet.machines[2].log());
    // It serves nobody any more, and says why.
    session.send("SELECT 1;");
    session.expect("57P01");
    fleet.until_log_in(2, "alice", false);
    let status = said(&fleet.command(2, &["status"]).output().unwrap());
    assert!(status.contains("removed from its cluster"), "{status}");
    fleet.until(0, "etcd to be of those who stay", |status| {
        let members = status["store"]["members"].as_array();
        members.is_some_and(|members| {
            !members
                .iter()
                .any(|member| member["name"] == "palisade_node_3")
        })
    });
    fleet.run(1, &["user", "disable", "alice"]);
    fleet.until_log_in(0, "alice", false);
}

// "from an empty machine to three secured nodes by `palisade up --nodes 3`"
#[test]
fn up_starts_three_nodes_and_starts_them_again() {
    let temp = temp_dir().unwrap();
    let dir = temp.path().join("cluster");
    let doors = Doors::new(3);
    let up = |args: &[&str]| {
        let mut command = doors.up(&dir);
        command.args(args);
        Process::start(&mut command, &temp.path().join("up.log"), "Ctrl-C stops")
    };
    let nodes = || {
        let mut command = palisade();
        command.args(["status", "--json"]).env("PALISADE_DIR", &dir);
        let status: serde_json::Value =
            serde_json::from_slice(&command.output().unwrap().stdout).unwrap_or_default();
        // Nodes that live may still be without a leader among etcd's members.
        let quorum = status["store"]["quorum"] == true;
        if quorum { live(&status) } else { Vec::new() }
    };
    let running = up(&["--nodes", "3"]);
    assert!(
        running.log().contains("node 3 at 127.0.0.1:"),
        "{}",
        running.log()
    );
    assert!(
        poll("three nodes", PATIENCE, || (nodes() == [1, 2, 3])
            .then_some(()))
        .is_ok()
    );
    running.stop();
    let running = up(&[]);
    let again = poll("three nodes again", PATIENCE, || {
        (nodes() == [1, 2, 3]).then_some(())
    });
    assert!(again.is_ok(), "{}", running.log());
    let mut add = palisade();
    add.args(["user", "add", "-u", "bob", "--privileges", "select", "-s"])
        .arg(temp.path().join("bob.credentials"))
        .env("PALISADE_DIR", &dir)
        .env(
            "PALISADE_CREDENTIALS",
            dir.join("private/admin.credentials"),
        );
    ok(&mut add);
}

// "Moving from embedded to etcd is one command with no downtime for logged-in sessions"
#[test]
fn the_ledger_moves_to_etcd_under_an_open_session() {
    let cluster = Cluster::up();
    cluster.add_user("alice", "select");
    let mut session = OpenSession::open(&mut cluster.psql("alice"));
    session.send("SELECT 'before';");
    session.expect("before");
    cluster.run(&["store", "move", "managed"]);
    session.send("SELECT 'behind';");
    session.expect("behind");
    let status = status(&mut cluster.command(&["status", "--json"]));
    assert_eq!(status["store"]["kind"], "managed", "{status:#}");
    cluster.run(&["user", "disable", "alice"]);
    session.send("SELECT 1;");
    session.expect("terminating connection");
    let refused = fails(&mut cluster.command(&["store", "move", "managed"]));
    assert!(refused.contains("kept there already"), "{refused}");
}

// QuasarDB's manual, 2.3.7: "The node will authenticate itself with the cluster private key and be
// recognized as a special user."
#[test]
fn a_node_with_the_cluster_key_and_the_users_joins_as_the_reserved_user() {
    let temp = temp_dir().unwrap();
    let [mut one, mut two] = ["one", "two"].map(|name| Machine::new(temp.path(), name));
    ok(&mut one.placed(&["init"]));
    one.start("serving at");
    let config = std::fs::read_to_string(one.dir.join("palisade.cfg")).unwrap();
    let body = config.split_once('{').unwrap().1;
    let mut config: serde_json::Value = serde_json::from_str(&format!("{{{body}")).unwrap();
    let ports = |name: &str| {
        let port = palisade_testkit::free_port().unwrap();
        (name.to_owned(), format!("127.0.0.1:{port}"))
    };
    config["api"] = serde_json::json!({ "listen": [two.address()] });
    config["gateway"] = serde_json::json!({ "listen": [format!("127.0.0.1:{}", two.gateway)] });
    config["store"] = serde_json::json!({ "managed":
        std::collections::BTreeMap::from([ports("peer"), ports("client")]) });
    config["node"] = serde_json::json!({ "data_directory": two.dir, "join": [one.address()] });
    std::fs::create_dir(&two.dir).unwrap();
    std::fs::write(two.dir.join("palisade.cfg"), config.to_string()).unwrap();
    two.start("serving at");
    assert!(
        two.log().contains("joined the cluster as >[HAL_9000]<"),
        "{}",
        two.log()
    );
    let nodes = json(&mut two.command(&["node", "list", "--json"]));
    assert_eq!(nodes.as_array().unwrap().len(), 2);
}
