//! The ledger moves to an etcd that is there, and from there to another.

use std::process::Command;

use palisade_testkit::etcd::{Authority, Etcd, KeyKind, Leaf};
use palisade_testkit::{poll, temp_dir};

use super::common::{OpenSession, Process, fails, ok, palisade};
use super::fleet::Machine;
use super::hosts::PATIENCE;

/// Issue 3: "Moving from embedded to etcd is one command with no downtime for logged-in sessions; so is moving between
/// two etcd clusters."
#[test]
fn the_ledger_moves_between_two_etcds_under_an_open_session() {
    let dir = temp_dir().unwrap();
    let ca = Authority::make(dir.path(), "rootCA", KeyKind::Ec).unwrap();
    let services = ca.issue(&Leaf::client("services")).unwrap();
    let etcd = || Etcd::builder().authority(ca.clone()).start().unwrap();
    let (first, second) = (etcd(), etcd());

    let machine = Machine::new(dir.path(), "node");
    ok(&mut machine.placed(&["init", "--store", "embedded"]));
    let mut daemon = palisade();
    daemon
        .args(["daemon", "-c"])
        .arg(machine.dir.join("palisade.cfg"))
        .env("PALISADE_STORE_CA_FILE", ca.certificate())
        .env("PALISADE_STORE_CERT_FILE", &services.certificate)
        .env("PALISADE_STORE_KEY", &services.key);
    let log = machine.dir.with_extension("log");
    let daemon = Process::start(&mut daemon, &log, "serving at");
    let credentials = machine.private("admin.credentials");
    let signed = |args: &[&str]| {
        let mut command = machine.command(args);
        command.env("PALISADE_CREDENTIALS", &credentials);
        command
    };
    let said = fails(&mut signed(&["store", "members"]));
    assert!(said.contains("there is no etcd"), "{said}");
    let said = fails(&mut signed(&["store", "move"]));
    assert!(said.contains("where is the ledger to go?"), "{said}");

    let mut session = OpenSession::open(&mut psql(&machine));
    for (round, etcd) in [&first, &second].into_iter().enumerate() {
        let endpoints = etcd.endpoints().join(",");
        ok(&mut signed(&[
            "store",
            "move",
            "--store-endpoints",
            &endpoints,
        ]));
        session.send(&format!("SELECT 'round {round}';"));
        session.expect(&format!("round {round}"));
        let file = dir.path().join(format!("user{round}.credentials"));
        let name = format!("user{round}");
        ok(signed(&["user", "add", "-u", &name, "--privileges", "select", "-s"]).arg(&file));
        let status = ok(&mut signed(&["status", "--json"]));
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let head = status["head"]["seq"].as_u64().unwrap();
        let there = poll("the entry in etcd", PATIENCE, || {
            let keys = etcd.etcdctl(&["get", "--prefix", "--keys-only", "/palisade/"]);
            keys.unwrap()
                .contains(&format!("/ledger/{head:020}"))
                .then_some(())
        });
        there.unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()));
    }
    // Nothing more goes to the first.
    let left = first
        .etcdctl(&["get", "--prefix", "--keys-only", "/palisade/"])
        .unwrap();
    let now = second
        .etcdctl(&["get", "--prefix", "--keys-only", "/palisade/"])
        .unwrap();
    assert!(left.matches("/ledger/").count() < now.matches("/ledger/").count());
    // An etcd that does not answer is no place to go: everything stays as it is.
    let said = fails(&mut signed(&[
        "store",
        "move",
        "--store-endpoints",
        "https://127.0.0.1:1",
    ]));
    assert!(said.contains("127.0.0.1:1"), "{said}");
    session.send("SELECT 'still here';");
    session.expect("still here");
}

fn psql(machine: &Machine) -> Command {
    let private = |name: &str| machine.private(name).display().to_string();
    let mut command = Command::new("psql");
    command.args(["-X", "-q", "-A", "-t"]).arg(format!(
        "host=127.0.0.1 port={} dbname=main user=admin sslmode=verify-full sslrootcert={} sslcert={} sslkey={}",
        machine.gateway,
        machine.dir.join("root.crt").display(),
        private("admin.crt"),
        private("admin.key"),
    ));
    command
}
