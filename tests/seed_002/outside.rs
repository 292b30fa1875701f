//! Commands that read the ledger in etcd, sign, and append there, without a daemon. Issue 3: "options everywhere, as
//! flags, configuration and environment".

use std::path::{Path, PathBuf};
use std::process::Command;

use palisade_testkit::etcd::{Authority, Etcd, KeyKind, Leaf, Pair};
use palisade_testkit::{TempDir, poll, temp_dir};

use super::common::{Process, fails, ok, palisade};
use super::fleet::{Machine, json};
use super::hosts::PATIENCE;

/// A node whose ledger lies in an etcd, and an operator elsewhere, who has a certificate for it.
struct Place {
    ca: Authority,
    etcd: Etcd,
    services: Pair,
    tools: Pair,
    machine: Machine,
    /// What the operator has of the cluster: its public key's file, and his own credentials.
    key: PathBuf,
    credentials: PathBuf,
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = temp_dir().unwrap();
        let ca = Authority::make(dir.path(), "rootCA", KeyKind::Ec).unwrap();
        let machine = Machine::new(dir.path(), "node");
        ok(&mut machine.placed(&["init", "--store", "embedded"]));
        let key = dir.path().join("palisade.key");
        std::fs::copy(machine.dir.join("cluster_public.key"), &key).unwrap();
        Self {
            etcd: Etcd::builder().authority(ca.clone()).start().unwrap(),
            services: ca.issue(&Leaf::client("services")).unwrap(),
            tools: ca.issue(&Leaf::client("tools")).unwrap(),
            credentials: machine.private("admin.credentials"),
            machine,
            key,
            ca,
            dir,
        }
    }

    fn daemon(&self) -> Process {
        let mut daemon = palisade();
        daemon
            .args(["daemon", "-c"])
            .arg(self.machine.dir.join("palisade.cfg"))
            .env("PALISADE_STORE_CA_FILE", self.ca.certificate())
            .env("PALISADE_STORE_CERT_FILE", &self.services.certificate)
            .env("PALISADE_STORE_KEY", &self.services.key);
        let log = self.machine.dir.with_extension("log");
        Process::start(&mut daemon, &log, "serving at")
    }

    /// The ledger is in etcd, and no daemon runs.
    fn without_a_daemon() -> Self {
        let place = Self::new();
        let daemon = place.daemon();
        place.move_to(&place.etcd);
        daemon.stop();
        place
    }

    /// Moves the ledger there, as the operator of the node.
    fn move_to(&self, etcd: &Etcd) {
        let mut command = self.machine.command(&["store", "move"]);
        command
            .args(["--store-endpoints", &etcd.endpoints().join(",")])
            .env("PALISADE_CREDENTIALS", &self.credentials);
        ok(&mut command);
    }

    /// A command of the operator elsewhere, with flags.
    fn flags(&self, etcd: &Etcd, args: &[&str]) -> Command {
        let mut command = palisade();
        command
            .args(args)
            .args(["--store-endpoints", &etcd.endpoints().join(",")])
            .arg("--store-ca-file")
            .arg(self.ca.certificate())
            .arg("--store-cert-file")
            .arg(&self.tools.certificate)
            .arg("--store-key")
            .arg(&self.tools.key)
            .arg("--cluster-public-key-file")
            .arg(&self.key)
            .arg("--as")
            .arg(&self.credentials)
            .env("HOME", self.dir.path());
        command.env_remove("XDG_DATA_HOME");
        command
    }

    /// The same, with the environment.
    fn environment(&self, args: &[&str]) -> Command {
        let mut command = palisade();
        command
            .args(args)
            .env("PALISADE_STORE_ENDPOINTS", self.etcd.endpoints().join(","))
            .env("PALISADE_STORE_CA_FILE", self.ca.certificate())
            .env("PALISADE_STORE_CERT_FILE", &self.tools.certificate)
            .env("PALISADE_STORE_KEY", &self.tools.key)
            .env("PALISADE_CLUSTER_PUBLIC_KEY_FILE", &self.key)
            .env("PALISADE_CREDENTIALS", &self.credentials)
            .env("PALISADE_DIR", self.dir.path().join("no-node-lives-here"));
        command
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Number of the last entry that the node has applied.
    fn applied(&self) -> u64 {
        let output = self.machine.command(&["status", "--json"]).output();
        let status: serde_json::Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
        status["applied"].as_u64().unwrap_or_default()
    }
}

fn write(path: &str, text: &str) {
    std::fs::write(path, text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(Path::new(path), mode).unwrap();
}

/// Number of the last entry, as `status` of the store says it.
fn last(command: &mut Command) -> u64 {
    let status: serde_json::Value = serde_json::from_str(&ok(command)).unwrap();
    status["entries"].as_u64().unwrap() - 1
}

/// Every command that changes the ledger changes it in etcd, by flags and by the environment, with the daemon up and
/// with it down; and the daemon follows.
#[test]
fn every_command_signs_and_appends_without_a_daemon() {
    let place = Place::new();
    let daemon = place.daemon();
    place.move_to(&place.etcd);
    // With flags, while the node is up: it follows.
    let alice = place.path("alice.credentials");
    let add = [
        "user",
        "add",
        "-u",
        "alice",
        "--privileges",
        "select",
        "-s",
        &alice,
    ];
    ok(&mut place.flags(&place.etcd, &add));
    ok(&mut place.flags(
        &place.etcd,
        &["acl", "set", "public", "alice", "select,insert"],
    ));
    let head = last(&mut place.flags(&place.etcd, &["status", "--json"]));
    let followed = poll("the node to follow", PATIENCE, || {
        (place.applied() >= head).then_some(())
    });
    followed.unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()));
    let can = ok(&mut place.machine.command(&["can", "alice", "insert", "public"]));
    assert!(can.contains("yes"), "{can}");
    daemon.stop();

    // With the environment, while no daemon of the cluster runs.
    let run = |args: &[&str]| ok(&mut place.environment(args));
    run(&["user", "disable", "alice"]);
    run(&["user", "enable", "alice"]);
    run(&["user", "set", "alice", "--superuser=off"]);
    write(&place.path("password"), "correct horse battery staple\n");
    run(&[
        "user",
        "passwd",
        "--password-file",
        &place.path("password"),
        "--as",
        &alice,
    ]);
    run(&["acl", "set", "public", "alice", "select"]);
    run(&["acl", "unset", "public", "alice"]);
    let rules = run(&["hba", "show"]);
    write(
        &place.path("rules.conf"),
        &format!("{rules}# signed straight into etcd\n"),
    );
    run(&["hba", "set", &place.path("rules.conf")]);
    run(&["secret", "rotate", "-o", &place.path("new.secret")]);
    run(&["secret", "withdraw", "--yes"]);
    run(&["enroll", "create", "-o", &place.path("node.token")]);
    let tokens: serde_json::Value =
        serde_json::from_str(&run(&["enroll", "list", "--json"])).unwrap();
    run(&["enroll", "revoke", tokens[0]["id"].as_str().unwrap()]);
    run(&["alert", "add", "command", "pager", "page"]);
    run(&["alert", "remove", "pager", "--yes"]);
    run(&["user", "remove", "alice", "--yes"]);
    let key = place.machine.private("cluster_private.key");
    let mut by_key =
        place.environment(&["user", "add", "-u", "bob", "--privileges", "select", "-s"]);
    ok(by_key
        .arg(place.path("bob.credentials"))
        .arg("--as-cluster-key")
        .arg(key));
    assert!(run(&["hba", "show"]).contains("signed straight into etcd"));
    let said = run(&["ledger", "verify"]);
    assert!(said.contains("verified"), "{said}");
    let head = last(&mut place.environment(&["status", "--json"]));
    // What only a running node can do is not done by etcd.
    let said = fails(&mut place.environment(&["node", "rotate", "--yes"]));
    assert!(said.contains("no daemon answers"), "{said}");

    // The node takes up all of it.
    let daemon = place.daemon();
    let followed = poll("the node to follow", PATIENCE, || {
        (place.applied() >= head).then_some(())
    });
    followed.unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()));
    let users = ok(&mut place.machine.command(&["user", "list"]));
    assert!(users.contains("bob") && !users.contains("alice"), "{users}");
    daemon.stop();
}

/// A node is added, listed and removed the same way: its identity is asked for over its own link, and the entry
/// goes straight into etcd. It becomes a member when a daemon of the cluster is there again.
#[test]
fn a_node_is_added_and_removed_without_a_daemon() {
    let place = Place::without_a_daemon();
    let run = |args: &[&str]| ok(&mut place.environment(args));
    let secret = place.machine.private("cluster.secret");
    let mut second = Machine::new(place.dir.path(), "second");
    ok(&mut second.placed(&["init", "--secret", secret.to_str().unwrap()]));
    second.start("waiting to be added");
    let (address, fingerprint) = (second.address(), second.fingerprint());
    let add = ["node", "add", &address, "--fingerprint", &fingerprint];
    let said = run(&add);
    assert!(
        said.contains(&format!("node 2 at {address} is a member")),
        "{said}"
    );
    let said = fails(&mut place.environment(&add));
    assert!(said.contains("is node 2 already"), "{said}");
    let listed = || -> Vec<String> {
        let nodes = json(&mut place.environment(&["node", "list", "--json"]));
        let nodes = nodes.as_array().unwrap().iter();
        let prints = nodes.map(|node| node["fingerprint"].as_str().unwrap().to_owned());
        prints.collect()
    };
    assert_eq!(listed().get(1), Some(&fingerprint));
    run(&["node", "remove", "2", "--yes"]);
    assert_eq!(listed().len(), 1);
    let said = run(&["ledger", "verify"]);
    assert!(said.contains("verified"), "{said}");
    let daemon = place.daemon();
    let said = ok(&mut place.machine.command(&["node", "list"]));
    assert!(!said.contains(&address), "{said}");
    daemon.stop();
}

/// "The chain is verified first; a command never trusts what etcd says beyond that."
#[test]
fn what_etcd_says_is_not_believed() {
    let place = Place::without_a_daemon();
    let add = |name: &str| {
        let file = place.path(name);
        let words = [
            "user",
            "add",
            "-u",
            name,
            "--privileges",
            "select",
            "-s",
            &file,
        ];
        place.flags(&place.etcd, &words)
    };
    ok(&mut add("carol"));

    // The operator says whose cluster it is.
    let (other, private) = (place.path("other.key"), place.path("other.secret"));
    ok(palisade().args(["keygen", "-p", &other, "-s", &private]));
    let mut foreign = place.environment(&["user", "list"]);
    let said = fails(foreign.env("PALISADE_CLUSTER_PUBLIC_KEY_FILE", &other));
    assert!(said.contains("no ledger of this cluster"), "{said}");
    // Who may not, may not here either; nothing is written.
    let before = last(&mut place.environment(&["status", "--json"]));
    let mut carol = place.environment(&["user", "disable", "admin"]);
    let said = fails(carol.env("PALISADE_CREDENTIALS", place.path("carol")));
    assert!(said.contains("user_manage"), "{said}");
    let said = fails(&mut place.environment(&["user", "disable", "admin"]));
    assert!(said.contains("superuser"), "{said}");
    assert_eq!(last(&mut place.environment(&["status", "--json"])), before);

    // etcd's owner takes the last entry away and puts the head back: where a node lives, that is seen.
    let keys = place
        .etcd
        .etcdctl(&["get", "--prefix", "--keys-only", "/palisade/"])
        .unwrap();
    let line = keys.lines().find(|key| key.contains("/ledger/")).unwrap();
    let prefix = line.split("ledger/").next().unwrap();
    let entry = |seq: u64| format!("{prefix}ledger/{seq:020}");
    let head = |command: &mut Command| -> String {
        let status: serde_json::Value = serde_json::from_str(&ok(command)).unwrap();
        format!(
            "{} {}",
            status["entries"].as_u64().unwrap() - 1,
            status["head"].as_str().unwrap()
        )
    };
    let daemon = place.daemon();
    let caught_up = poll("the node to follow", PATIENCE, || {
        (place.applied() >= before).then_some(())
    });
    caught_up.unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()));
    daemon.stop();
    let now = head(&mut place.environment(&["status", "--json"]));
    let log = ok(&mut place.environment(&["ledger", "log", "--json"]));
    let earlier: serde_json::Value =
        serde_json::from_str(log.lines().rev().nth(1).unwrap()).unwrap();
    let earlier = format!("{} {}", earlier["seq"], earlier["hash"].as_str().unwrap());
    let last_entry: u64 = now.split(' ').next().unwrap().parse().unwrap();
    place.etcd.etcdctl(&["del", &entry(last_entry)]).unwrap();
    // Half done, it is no ledger.
    let said = fails(&mut add("dave"));
    assert!(said.contains("tampered"), "{said}");
    place
        .etcd
        .etcdctl(&["put", &format!("{prefix}head"), &earlier])
        .unwrap();
    let mut here = add("dave");
    let said = fails(here.env("PALISADE_DIR", &place.machine.dir));
    assert!(said.contains("was turned back"), "{said}");
    assert!(
        said.contains(&format!("entry {last_entry} was seen here")),
        "{said}"
    );
    // An entry that nobody signed.
    place
        .etcd
        .etcdctl(&["put", &entry(last_entry), "no entry"])
        .unwrap();
    let said = fails(&mut add("dave"));
    assert!(said.contains("does not verify"), "{said}");
}

/// Nobody listens at an etcd that the ledger has left: nothing is appended there.
#[test]
fn an_etcd_that_the_ledger_has_left_takes_nothing() {
    let place = Place::new();
    let daemon = place.daemon();
    place.move_to(&place.etcd);
    let second = Etcd::builder().authority(place.ca.clone()).start().unwrap();
    place.move_to(&second);
    let file = place.path("erin.credentials");
    let add = [
        "user",
        "add",
        "-u",
        "erin",
        "--privileges",
        "select",
        "-s",
        &file,
    ];
    let said = fails(&mut place.flags(&place.etcd, &add));
    assert!(
        said.contains("the ledger has moved") && said.contains(&second.endpoints()[0]),
        "{said}"
    );
    assert!(
        !Path::new(&file).exists(),
        "what was refused leaves nothing"
    );
    ok(&mut place.flags(&second, &add));
    // A node that is named is asked, whatever the environment says of etcd.
    let address = place.machine.address();
    let users = ["user", "list", "--node", &address];
    let known = poll("the node to know her", PATIENCE, || {
        ok(&mut place.environment(&users))
            .contains("erin")
            .then_some(())
    });
    known.unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()));
    assert!(
        !ok(&mut place.environment(&["user", "list"])).contains("erin"),
        "the old etcd"
    );
}
