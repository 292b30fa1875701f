//! The CA of a cluster of three machines: another one under open sessions, none when a node can't prove
//! it, and a new one when every certificate has expired.
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

use std::process::Command;

use common::{OpenSession, fails, issuer_at, ok, palisade, said};
use fleet::{json, now, secret_file};
use nodes_fleet::{Fleet, PATIENCE, live, voters};
use palisade_daemon::layout::Layout;
use palisade_daemon::pki::{self, Pki};
use palisade_keys::SecretKey;
use palisade_ledger::{Author, Change, Entry, Hash, Millis, sign};
use palisade_link::client::Client;
use palisade_link::x509::{self, IssuingCa, Request};
use palisade_testkit::poll;
use serde_json::Value;

fn issuers(fleet: &Fleet) -> Vec<String> {
    let machines = fleet.machines.iter();
    machines.map(|machine| issuer_at(machine.gateway)).collect()
}

fn session(fleet: &Fleet, nth: usize) -> OpenSession {
    fleet.until_log_in(nth, "alice", true);
    let mut session = OpenSession::open(&mut fleet.psql(nth, "alice"));
    session.send("SELECT 'in';");
    session.expect("in");
    session
}

fn all_go_on(sessions: &mut [OpenSession]) {
    for session in sessions {
        session.send("SELECT 'still here';");
        session.expect("still here");
    }
}

/// The issuing CAs of the ledger.
fn issuing(fleet: &Fleet, nth: usize) -> Vec<Value> {
    let shown = json(&mut fleet.command(nth, &["ca", "show", "--json"]));
    shown["issuing"].as_array().unwrap().clone()
}

/// "prove on every node by a real handshake, cut over, retire [...], which stops and rolls back when a node
/// can't prove, and never drops a session"
#[test]
fn three_nodes_get_another_ca_or_keep_the_one_that_they_have() {
    let fleet = Fleet::of_three();
    fleet.add_user("alice");
    let mut sessions: Vec<_> = (0..3).map(|nth| session(&fleet, nth)).collect();
    a_silent_node_stops_the_rotation(&fleet, &mut sessions);
    then_the_next_rotation_succeeds(&fleet, &mut sessions);
}

fn a_silent_node_stops_the_rotation(fleet: &Fleet, sessions: &mut [OpenSession]) {
    let before = issuers(fleet);
    assert!(before.iter().all(|issuer| issuer.contains("issuing")));
    assert!(before.iter().all(|issuer| *issuer == before[0]));
    let frozen = fleet.machines[2].freeze();
    let said = fails(&mut fleet.command(0, &["ca", "rotate"]));
    assert!(
        said.contains("node 3 can't prove the candidate: "),
        "{said}"
    );
    assert!(
        said.contains("rolled back: the old CA signs as before"),
        "{said}"
    );
    // The others go on while it is silent, and it does when it is back.
    all_go_on(&mut sessions[..2]);
    assert!(fleet.can_log_in(0, "alice") && fleet.can_log_in(1, "alice"));
    drop(frozen);
    for nth in 0..3 {
        fleet.until(nth, "node 3 to be back", |status| live(status) == [1, 2, 3]);
        let caught_up = poll("the rolled back ledger", PATIENCE, || {
            (issuing(fleet, nth).len() == 1).then_some(())
        });
        assert!(caught_up.is_ok(), "{}", fleet.machines[nth].log());
    }
    all_go_on(sessions);
    assert_eq!(issuers(fleet), before);
    for machine in &fleet.machines {
        assert!(!machine.private("candidate.key").exists());
    }
    assert_eq!(issuing(fleet, 0)[0]["state"], "signs");
}

fn then_the_next_rotation_succeeds(fleet: &Fleet, sessions: &mut [OpenSession]) {
    let before = issuers(fleet);
    let output = fleet.command(0, &["ca", "rotate"]).output().unwrap();
    let said = said(&output);
    assert!(
        output.status.success(),
        "{said}\n{}",
        fleet.machines[0].log()
    );
    for (node, others) in [(1, "2, 3"), (2, "1, 3"), (3, "1, 2")] {
        let doors = "gateway, API, etcd, etcd's peer port";
        let line = format!("proved: node {node} at {doors}; met by nodes {others}");
        assert!(said.contains(&line), "{said}");
    }
    for phase in ["3 nodes proved the candidate", "cut over:", "retired:"] {
        assert!(said.contains(phase), "{said}");
    }
    for (now, before) in issuers(fleet).iter().zip(&before) {
        assert!(now.contains("issuing") && now != before, "{now}");
    }
    all_go_on(sessions);
    // etcd's members know each other by the new certificates, too, and the ledger goes on.
    let shown = issuing(fleet, 1);
    assert_eq!(
        (shown.len(), &shown[0]["state"]),
        (1, &Value::from("signs"))
    );
    assert_certified(fleet);
    fleet.until(0, "three voters", |status| voters(status) == 3);
    fleet.run(1, &["user", "disable", "alice"]);
    for session in sessions {
        session.send("SELECT 1;");
        session.expect("57P01");
    }
}

/// Every node has a certificate for its doors and one for its etcd, by the CA that signs.
fn assert_certified(fleet: &Fleet) {
    let mut list = Value::Null;
    let found = poll("certificates of every node", PATIENCE, || {
        list = json(&mut fleet.command(0, &["ca", "list", "--json"]));
        let signs = issuing(fleet, 0).pop()?;
        let signs = signs["sha256"].as_str()?;
        let lines = list.as_array()?;
        let has = |node: u64, kind: &str| {
            lines.iter().any(|line| {
                let issuer = line["issuer"].as_str().unwrap_or("?");
                line["holder"] == node && line["kind"] == kind && signs.starts_with(issuer)
            })
        };
        (1..=3)
            .all(|node| has(node, "server") && has(node, "store"))
            .then_some(())
    });
    assert!(found.is_ok(), "{list:#}\n{:#?}", issuing(fleet, 0));
}

/// "`palisade ca rescue` for a cluster whose every certificate has expired": etcd's members, too, which can't
/// reach each other before they have new ones.
#[test]
fn three_nodes_whose_every_certificate_has_expired_are_rescued() {
    let mut fleet = Fleet::of_three();
    fleet.add_user("alice");
    grow_old(&mut fleet);
    for machine in &fleet.machines {
        let mut inspect = palisade();
        inspect
            .args(["ca", "inspect"])
            .arg(machine.dir.join("server.crt"));
        let said = fails(&mut inspect);
        assert!(said.contains("it expired"), "{said}");
    }
    let said = fails(&mut daemon(&fleet));
    assert!(said.contains("palisade ca rescue"), "{said}");
    let said = ok(&mut fleet.machines[0].command(&["ca", "rescue"]));
    assert!(said.contains("a new issuing CA is ready"), "{said}");
    // The others need nothing but the first.
    for machine in &mut fleet.machines {
        machine.start("serving at");
    }
    for nth in 0..3 {
        fleet.until(nth, "the cluster to be well", |status| {
            live(status) == [1, 2, 3] && voters(status) == 3 && status["store"]["quorum"] == true
        });
        fleet.until_log_in(nth, "alice", true);
    }
    assert_certified(&fleet);
    let shown = issuing(&fleet, 2);
    assert_eq!(
        (shown.len(), &shown[0]["state"]),
        (1, &Value::from("signs"))
    );
    assert!(!fleet.machines[0].private("rescue.entries").exists());
    fleet.run(2, &["user", "disable", "alice"]);
    for nth in 0..3 {
        fleet.until_log_in(nth, "alice", false);
    }
}

fn daemon(fleet: &Fleet) -> Command {
    let mut command = palisade();
    command
        .args(["daemon", "-c"])
        .arg(fleet.machines[0].dir.join("palisade.cfg"));
    command
}

/// As if the cluster had been made two years ago, with an issuing CA for one, and was switched off since.
fn grow_old(fleet: &mut Fleet) {
    let first = Layout::new(&fleet.machines[0].dir);
    let cluster = pki::read_secret_key(&first.cluster_private_key()).unwrap();
    let then = now() - time::Duration::days(730);
    let until = Some(then + time::Duration::days(365));
    let (old, key) = IssuingCa::create_until(&cluster, &[0x44, 1], then, until).unwrap();
    let young = Pki::load(&first).unwrap().issuing().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = Client::new(fleet.machines[0].dir.join("control.sock"));
    let certificate = old.certificate().to_vec();
    let changes = [
        Change::IssuingCaAdd { certificate },
        Change::IssuingCaRemove {
            certificate: Hash::of(young.certificate()),
        },
    ];
    for change in changes {
        runtime.block_on(append(&client, &cluster, &change));
    }
    for nth in 0..3 {
        let known = poll("the old CA", PATIENCE, || {
            let shown = issuing(fleet, nth);
            (shown.len() == 1 && shown[0]["serial"].as_str()?.contains("44")).then_some(())
        });
        assert!(known.is_ok(), "{:#?}", issuing(fleet, nth));
    }
    for machine in &mut fleet.machines {
        machine.stop();
    }
    secret_file(
        &first.private().join("issuing.key"),
        &x509::pem("PRIVATE KEY", &key),
    );
    let pem = x509::certificate_pem(old.certificate());
    std::fs::write(first.private().join("issuing.crt"), pem).unwrap();
    for machine in &fleet.machines {
        age(&Layout::new(&machine.dir), &old, then);
    }
}

async fn append(client: &Client, cluster: &SecretKey, change: &Change) {
    let mut refused = String::new();
    // The nodes write entries of their own meanwhile.
    for _ in 0..50 {
        let head = client.head().await.unwrap();
        let mut prev = [0; 32];
        for (byte, pair) in prev.iter_mut().zip(head.hash.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        }
        let millis = now().unix_timestamp_nanos() / 1_000_000;
        let entry = Entry {
            seq: head.seq + 1,
            prev: Hash(prev),
            time: Millis(u64::try_from(millis).unwrap()),
            author: Author::Cluster,
            change: change.clone(),
        };
        match client.append(sign(&entry, cluster).unwrap()).await {
            Ok(_) => return,
            Err(error) => refused = error.to_string(),
        }
    }
    panic!("{change:?}: {refused}");
}

/// Puts leaves that have expired in place of what a node shows at its doors and to etcd.
fn age(layout: &Layout, old: &IssuingCa, then: time::OffsetDateTime) {
    let hosts = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let request = Request {
        common_name: "127.0.0.1",
        hosts: &hosts,
        now: then,
        lifetime: time::Duration::days(90),
        serial: &[8],
    };
    let leaf = old.server(&request).unwrap();
    Pki::load(layout).unwrap().write_server(&leaf).unwrap();
    for path in [layout.serving_certificate(), layout.serving_key()] {
        std::fs::remove_file(path).unwrap();
    }
    let directory = layout.etcd_keys();
    std::fs::write(directory.join("member.crt"), leaf.chain_pem()).unwrap();
    secret_file(&directory.join("member.key"), &leaf.expose_key_pem());
}
