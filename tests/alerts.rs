//! Alerts of a real cluster: a program and a webhook are told of what happens, each thing once; figures for
//! Prometheus say the same.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod common;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use common::{Cluster, ok, pager};
use palisade_testkit::poll;
use palisade_testkit::receiver::{Post, Web};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_mins(1);
const TOKEN: &str = "a-token-that-nobody-may-see";

fn secret(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// The notices that the program was given, one a line.
fn told(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn of_kind(file: &Path, kind: &str) -> Vec<Value> {
    told(file)
        .into_iter()
        .filter(|notice| notice["kind"] == kind)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn humans_are_told_of_each_thing_once() {
    let scratch = palisade_testkit::temp_dir().unwrap();
    let (program, said) = (scratch.path().join("page"), scratch.path().join("said"));
    pager(&program, &said);
    let commands = format!("page={}", program.display());
    let cluster = Cluster::up_with(&[("PALISADE_ALERTS_COMMANDS", &commands)]);

    // Whom to tell.
    cluster.run(&["alert", "add", "command", "pager", "page"]);
    let web = Web::start(None, "204 No Content").unwrap();
    let url = format!("{}/hook", web.url());
    let token = cluster.path("token");
    secret(&token, TOKEN);
    cluster.run(&[
        "alert",
        "add",
        "webhook",
        "ops",
        &url,
        "--token-file",
        token.to_str().unwrap(),
    ]);
    let list = cluster.run(&["alert", "list"]);
    assert!(list.contains("pager") && list.contains(&url), "{list}");
    assert!(
        !cluster.run(&["ledger", "log", "--json"]).contains(TOKEN),
        "in the ledger a secret is sealed"
    );

    // A test reaches the one that is named, and no other.
    cluster.run(&["alert", "test", "ops"]);
    let Post { head, body } = web.nth(0, PATIENCE).unwrap();
    assert!(
        head.contains(&format!("authorization: Bearer {TOKEN}")),
        "{head}"
    );
    assert!(body.contains("\"kind\":\"test\""), "{body}");
    assert!(told(&said).is_empty());
    cluster.run(&["alert", "test", "pager"]);
    assert_eq!(of_kind(&said, "test").len(), 1);

    // Drift, by a hand in PostgreSQL.
    ok(cluster
        .bootstrap_psql()
        .args(["-c", "create role by_hand superuser"]));
    poll("drift is told", PATIENCE, || {
        (!of_kind(&said, "drift").is_empty()).then_some(())
    })
    .unwrap();
    let body = web.nth(1, PATIENCE).unwrap().body;
    assert!(body.contains("\"kind\":\"drift\""), "{body}");

    // A certificate that can't be loaded, and one that can again: told when it begins and when it is over.
    let certificate = cluster.dir().join("server.crt");
    let kept = std::fs::read(&certificate).unwrap();
    std::fs::write(&certificate, "no certificate").unwrap();
    let state = |wanted: &str| {
        poll(wanted, PATIENCE, || {
            let renewal = of_kind(&said, "certificate_renewal");
            renewal
                .iter()
                .any(|notice| notice["state"] == wanted)
                .then_some(())
        })
        .unwrap();
    };
    state("raised");
    let figures = palisade_link::client::Client::new(cluster.dir().join("control.sock"))
        .metrics()
        .await
        .unwrap();
    assert!(
        figures.contains("palisade_alarms{kind=\"certificate_renewal\"} 1.0"),
        "{figures}"
    );
    assert!(
        figures.contains("palisade_node_up{node=\"1\"} 1.0"),
        "{figures}"
    );
    std::fs::write(&certificate, kept).unwrap();
    state("over");
    assert_eq!(of_kind(&said, "certificate_renewal").len(), 2, "each once");
    let drift = of_kind(&said, "drift").into_iter();
    let drift: Vec<_> = { drift }
        .map(|notice| notice["subject"].to_string())
        .collect();
    let subjects: BTreeSet<_> = drift.iter().collect();
    assert_eq!(drift.len(), subjects.len(), "none again: {drift:?}");
    assert!(!cluster.log().contains(TOKEN));

    nobody_looks_around_by_alerts(&cluster);

    // Removed, it is told no more.
    cluster.run(&["alert", "remove", "ops", "--yes"]);
    let refused = common::fails(&mut cluster.command(&["alert", "test", "ops"]));
    assert!(refused.contains("there is no alert ops"), "{refused}");
}

// Who may add alerts does not look around behind the firewall by them: why is in the log alone.
fn nobody_looks_around_by_alerts(cluster: &Cluster) {
    let nobody = Web::start(None, "204 No Content").unwrap().url();
    cluster.run(&["alert", "add", "webhook", "around", &nobody]);
    let refused = common::fails(&mut cluster.command(&["alert", "test", "around"]));
    assert!(
        refused.contains("was not sent; the log of node 1 says why"),
        "{refused}"
    );
    for detail in ["connect", "Connection", "os error"] {
        assert!(!refused.contains(detail), "{refused}");
    }
    let log = cluster.log();
    assert!(
        log.contains("a test of an alert could not be sent"),
        "{log}"
    );
}
