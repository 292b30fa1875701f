//! A ledger that was forked, and the two ways out of it.

use std::path::PathBuf;
use std::process::Command;

use palisade_testkit::etcd::{Authority, Etcd, KeyKind, Leaf, Pair};
use palisade_testkit::{TempDir, poll, temp_dir};

use super::common::{Process, fails, ok, pager, palisade};
use super::fleet::{Machine, status};
use super::hosts::PATIENCE;

const STATUS: [&str; 2] = ["status", "--json"];

/// A node whose directory was put back from a backup and used alone, while etcd holds what it did before.
struct Forked {
    ca: Authority,
    etcd: Etcd,
    services: Pair,
    machine: Machine,
    dir: TempDir,
}

impl Forked {
    fn new() -> Self {
        let forked = Self::begun();
        let (node, backup) = (forked.machine.dir.clone(), forked.path("backup"));
        ok(Command::new("cp").arg("-a").args([&node, &backup]));
        let daemon = forked.daemon(true);
        forked.add("theirs");
        daemon.stop();
        std::fs::remove_dir_all(&node).unwrap();
        ok(Command::new("cp").arg("-a").args([&backup, &node]));
        let daemon = forked.daemon(false);
        forked.add("mine1");
        forked.add("mine2");
        daemon.stop();
        forked
    }

    /// The node, before all that.
    fn begun() -> Self {
        let dir = temp_dir().unwrap();
        let ca = Authority::make(dir.path(), "rootCA", KeyKind::Ec).unwrap();
        let forked = Self {
            etcd: Etcd::builder().authority(ca.clone()).start().unwrap(),
            services: ca.issue(&Leaf::client("services")).unwrap(),
            machine: Machine::new(dir.path(), "node"),
            ca,
            dir,
        };
        ok(&mut forked.machine.placed(&["init", "--store", "embedded"]));
        pager(&forked.path("page"), &forked.path("paged"));
        // Its PostgreSQL is made at the first start.
        let daemon = forked.daemon(false);
        ok(&mut forked.signed(&["alert", "add", "command", "pager", "page"]));
        daemon.stop();
        forked
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn daemon(&self, shared: bool) -> Process {
        if shared {
            self.daemon_of(&self.machine, Some(&self.etcd), "endpoints")
        } else {
            self.daemon_of(&self.machine, None, "embedded")
        }
    }

    /// A daemon whose configuration names this etcd, or none; and where its ledger lies then.
    fn daemon_of(&self, machine: &Machine, etcd: Option<&Etcd>, kind: &str) -> Process {
        let mut daemon = palisade();
        daemon
            .args(["daemon", "-c"])
            .arg(machine.dir.join("palisade.cfg"))
            .env("PALISADE_STORE_CA_FILE", self.ca.certificate())
            .env("PALISADE_STORE_CERT_FILE", &self.services.certificate)
            .env("PALISADE_STORE_KEY", &self.services.key);
        let page = format!("page={}", self.path("page").display());
        daemon.env("PALISADE_ALERTS_COMMANDS", page);
        if let Some(etcd) = etcd {
            daemon.env("PALISADE_STORE_ENDPOINTS", etcd.endpoints().join(","));
        }
        let log = machine.dir.with_extension("log");
        let daemon = Process::start(&mut daemon, &log, "serving at");
        let attached = poll("the ledger's store", PATIENCE, || {
            let status = status(&mut machine.command(&STATUS));
            let store = &status["store"];
            let forked = store["problem"]
                .as_str()
                .unwrap_or_default()
                .contains("forked");
            (store["kind"] == kind && (forked || store["quorum"] == true)).then_some(())
        });
        attached.unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()));
        daemon
    }

    fn signed(&self, args: &[&str]) -> Command {
        let mut command = self.machine.command(args);
        command.env(
            "PALISADE_CREDENTIALS",
            self.machine.private("admin.credentials"),
        );
        command
    }

    fn add_command(&self, name: &str) -> Command {
        let mut command = self.signed(&["user", "add", "-u", name, "--privileges", "select", "-s"]);
        command.arg(self.path(&format!("{name}.credentials")));
        command
    }

    fn add(&self, name: &str) {
        ok(&mut self.add_command(name));
    }

    /// `ledger resolve`, with the options of etcd.
    fn resolve(&self, more: &[&str]) -> Command {
        let mut command = self.signed(&["ledger", "resolve"]);
        command
            .args(more)
            .args(["--store-endpoints", &self.etcd.endpoints().join(",")])
            .arg("--store-ca-file")
            .arg(self.ca.certificate())
            .arg("--store-cert-file")
            .arg(&self.services.certificate)
            .arg("--store-key")
            .arg(&self.services.key);
        command
    }

    fn users(&self) -> String {
        ok(&mut self.machine.command(&["user", "list"]))
    }
}

/// Two members that follow two ledgers, both validly signed, say so of each other, and somebody is told.
#[test]
fn members_with_different_ledgers_notice_it() {
    let cluster = Forked::begun();
    let two = Machine::new(cluster.dir.path(), "two");
    let one = cluster.daemon(false);
    let mut to_etcd = cluster.signed(&["store", "move"]);
    ok(to_etcd.args(["--store-endpoints", &cluster.etcd.endpoints().join(",")]));
    let token = cluster.path("two.token");
    ok(cluster.signed(&["enroll", "create", "-o"]).arg(&token));
    ok(&mut two.placed(&["join", token.to_str().unwrap()]));
    let other = cluster.daemon_of(&two, None, "endpoints");
    let parted = |machine: &Machine, who: &str| {
        let problems = status(&mut machine.command(&STATUS))["problems"].to_string();
        problems.contains(&format!("{who}: the ledger there is another one"))
    };
    let alive = poll("both to be there", PATIENCE, || {
        let status = status(&mut cluster.machine.command(&STATUS));
        let nodes = status["nodes"].as_array()?;
        let live = nodes.iter().filter(|node| node["live"] == true);
        (live.count() == 2).then_some(())
    });
    alive.unwrap_or_else(|error| panic!("{error}\n{}\n{}", one.log(), other.log()));
    assert!(!parted(&cluster.machine, "node 2") && !parted(&two, "node 1"));
    other.stop();
    // The second follows another etcd, to which it brings its ledger; there each entry is as good as any.
    cluster.add("theirs");
    let elsewhere = Etcd::builder().authority(cluster.ca.clone());
    let elsewhere = elsewhere.start().unwrap();
    let other = cluster.daemon_of(&two, Some(&elsewhere), "endpoints");
    let mut mine = two.command(&["user", "add", "-u", "mine", "-s"]);
    mine.arg(cluster.path("mine.credentials")).env(
        "PALISADE_CREDENTIALS",
        cluster.machine.private("admin.credentials"),
    );
    ok(&mut mine);
    let told = poll("both to say so", PATIENCE, || {
        let both = parted(&cluster.machine, "node 2") && parted(&two, "node 1");
        let paged = std::fs::read_to_string(cluster.path("paged")).unwrap_or_default();
        (both && paged.contains("the ledger there is another one")).then_some(())
    });
    told.unwrap_or_else(|error| panic!("{error}\n{}\n{}", one.log(), other.log()));
    other.stop();
    one.stop();
}

/// Both ends are shown, and who signed; nothing is done unasked; the node follows etcd again.
#[test]
fn a_forked_node_gives_up_its_own_end() {
    let forked = Forked::new();
    let daemon = forked.daemon(true);
    let paged = poll("a human to be told", PATIENCE, || {
        let paged = std::fs::read_to_string(forked.path("paged")).ok()?;
        paged.contains("fork").then_some(paged)
    });
    let paged = paged.unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()));
    assert_eq!(paged.lines().count(), 1, "{paged}");
    let said = fails(&mut forked.add_command("late"));
    assert!(
        said.contains("forked") && said.contains("palisade ledger resolve"),
        "{said}"
    );
    let said = fails(&mut forked.resolve(&[]));
    for expected in [
        "the two part at entry",
        "theirs",
        "mine1",
        "mine2",
        "admin",
        "--keep",
    ] {
        assert!(said.contains(expected), "{expected} in\n{said}");
    }
    let (file, keep) = (
        forked.path("given-up.cbor"),
        ["--keep", "store", "--export"],
    );
    let keep = [&keep[..], &[file.to_str().unwrap()]].concat();
    // The daemon has it open.
    let said = fails(&mut forked.resolve(&[&keep[..], &["--yes", "--yes"]].concat()));
    assert!(said.contains("stop it first"), "{said}");
    daemon.stop();
    // Nobody is here to ask, and once is not twice.
    fails(&mut forked.resolve(&keep));
    fails(&mut forked.resolve(&[&keep[..], &["--yes"]].concat()));
    assert!(!file.exists());
    ok(&mut forked.resolve(&[&keep[..], &["--yes", "--yes"]].concat()));
    let given_up = std::fs::read(&file).unwrap();
    assert_eq!(palisade_ledger::split(&given_up).unwrap().len(), 2);

    let daemon = forked.daemon(true);
    let follows = poll("the node to follow", PATIENCE, || {
        let users = forked.users();
        (users.contains("theirs") && !users.contains("mine")).then_some(())
    });
    follows.unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()));
    forked.add("late");
    let said = ok(&mut forked.resolve(&[]));
    assert!(said.contains("no fork"), "{said}");
    daemon.stop();
}

/// etcd's end is given up, and the node puts its own in its place, while it runs.
#[test]
fn a_forked_etcd_gives_up_its_end() {
    let forked = Forked::new();
    let daemon = forked.daemon(true);
    let file = forked.path("given-up.cbor");
    let keep = [
        "--keep",
        "node",
        "--export",
        file.to_str().unwrap(),
        "--yes",
        "--yes",
    ];
    ok(&mut forked.resolve(&keep));
    assert_eq!(
        palisade_ledger::split(&std::fs::read(&file).unwrap())
            .unwrap()
            .len(),
        1
    );
    let users = forked.users();
    assert!(
        users.contains("mine2") && !users.contains("theirs"),
        "{users}"
    );
    let mended = poll("entries to be taken again", PATIENCE, || {
        forked
            .add_command("late")
            .output()
            .unwrap()
            .status
            .success()
            .then_some(())
    });
    mended.unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()));
    let mut there = palisade();
    there
        .args(["user", "list", "--cluster-public-key-file"])
        .arg(forked.machine.dir.join("cluster_public.key"))
        .env("PALISADE_DIR", forked.path("nowhere"))
        .env(
            "PALISADE_STORE_ENDPOINTS",
            forked.etcd.endpoints().join(","),
        )
        .env("PALISADE_STORE_CA_FILE", forked.ca.certificate())
        .env("PALISADE_STORE_CERT_FILE", &forked.services.certificate)
        .env("PALISADE_STORE_KEY", &forked.services.key);
    let there = ok(&mut there);
    assert!(there.contains("mine1") && there.contains("late"), "{there}");
    daemon.stop();
}
