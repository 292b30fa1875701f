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

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use common::{Cluster, ok};
use palisade_testkit::poll;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_mins(1);
const TOKEN: &str = "a-token-that-nobody-may-see";

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
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

/// A web server on loopback that takes every POST; head and body of each.
fn web_server() -> (u16, mpsc::Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (send, posts) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if stream.read_line(&mut head).unwrap() == 0 {
                    break;
                }
            }
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let answer = b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n";
            stream.get_mut().write_all(answer).unwrap();
            if send.send((head, String::from_utf8(body).unwrap())).is_err() {
                return;
            }
        }
    });
    (port, posts)
}

#[tokio::test(flavor = "multi_thread")]
async fn humans_are_told_of_each_thing_once() {
    let scratch = palisade_testkit::temp_dir().unwrap();
    let (program, said) = (scratch.path().join("page"), scratch.path().join("said"));
    let script = format!("#!/bin/sh\n{{ cat; echo; }} >> {}\n", said.display());
    write(&program, &script, 0o755);
    let commands = format!("page={}", program.display());
    let cluster = Cluster::up_with(&[("PALISADE_ALERTS_COMMANDS", &commands)]);

    // Whom to tell.
    cluster.run(&["alert", "add", "command", "pager", "page"]);
    let (port, posts) = web_server();
    let url = format!("http://127.0.0.1:{port}/hook");
    let token = cluster.path("token");
    write(&token, TOKEN, 0o600);
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
    let (head, body) = posts.recv_timeout(PATIENCE).unwrap();
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
    let (_, body) = posts.recv_timeout(PATIENCE).unwrap();
    assert!(body.contains("\"kind\":\"drift\""), "{body}");
    let before = of_kind(&said, "drift").len();

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
    assert_eq!(of_kind(&said, "drift").len(), before, "and none again");
    assert!(!cluster.log().contains(TOKEN));

    // Removed, it is told no more.
    cluster.run(&["alert", "remove", "ops", "--yes"]);
    let refused = common::fails(&mut cluster.command(&["alert", "test", "ops"]));
    assert!(refused.contains("there is no alert ops"), "{refused}");
}
