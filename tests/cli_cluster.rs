//! The command line on a real cluster: many at once, questions at a terminal, own keys.
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
use std::process::Stdio;

use common::{Cluster, fails, ok, palisade};
use expectrl::process::unix::WaitStatus;
use expectrl::{Eof, Expect as _, Session};

fn users(cluster: &Cluster) -> serde_json::Value {
    serde_json::from_str(&cluster.run(&["user", "list", "--json"])).unwrap()
}

/// Answers questions at a terminal; gives what was shown and the exit status.
fn at_a_terminal(mut command: std::process::Command, answers: &[(&str, &str)]) -> (String, i32) {
    // The terminal, not the nothing that a test's command reads from.
    command.stdin(Stdio::inherit());
    let mut session = Session::spawn(command).unwrap();
    session.set_expect_timeout(Some(std::time::Duration::from_mins(1)));
    let mut shown = String::new();
    for (question, answer) in answers {
        let found = session.expect(question).unwrap();
        shown.push_str(&String::from_utf8_lossy(found.before()));
        session.send_line(answer).unwrap();
    }
    let end = session.expect(Eof).unwrap();
    shown.push_str(&String::from_utf8_lossy(end.as_bytes()));
    match session.get_process().wait().unwrap() {
        WaitStatus::Exited(_, status) => (shown, status),
        other => panic!("{other:?}: {shown}"),
    }
}

#[test]
fn users_added_at_once_are_all_there_each_with_a_uid_of_its_own() {
    const ADDERS: usize = 8;
    let cluster = Cluster::up();
    let children: Vec<_> = (0..ADDERS)
        .map(|n| {
            let secret = cluster.path(&format!("user{n}.credentials"));
            cluster
                .command(&["user", "add", "-u", &format!("user{n}"), "-s"])
                .arg(secret)
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
    }
    let users = users(&cluster);
    let uids: BTreeSet<u64> = users
        .as_array()
        .unwrap()
        .iter()
        .map(|user| user["uid"].as_u64().unwrap())
        .collect();
    assert_eq!(uids.len(), ADDERS + 1);

    own_key_and_password(&cluster);
    questions_at_a_terminal(&cluster);
    refusals_leave_no_files(&cluster);
}

/// "own public key or password: that user" (the design's table of authors)
fn own_key_and_password(cluster: &Cluster) {
    let own = cluster.path("user0.credentials");
    let own = own.to_str().unwrap();
    // A new key in place of the old: the old one signs nothing any more.
    let old = cluster.path("old.credentials");
    std::fs::copy(own, &old).unwrap();
    cluster.run(&["user", "key", "-s", own, "--force", "--as", own]);
    let error =
        fails(&mut cluster.command(&["user", "passwd", "--none", "--as", old.to_str().unwrap()]));
    assert!(error.contains("not the key of user user0"), "{error}");
    // The new one does, and logs in.
    let dir = cluster.path("pair");
    std::fs::create_dir(&dir).unwrap();
    let line = cluster.run(&[
        "user",
        "cert",
        "--credentials",
        own,
        "--out",
        dir.to_str().unwrap(),
    ]);
    let psql = format!("{} -X -A -t -c 'select current_user'", line.trim_end());
    let answer = ok(std::process::Command::new("sh").args(["-c", &psql]));
    assert_eq!(answer.trim(), "user0");
    // Somebody else's password is not to be changed, not even by a superuser.
    let error = fails(&mut cluster.command(&["user", "passwd", "user0", "--none"]));
    assert!(error.contains("its owner's"), "{error}");
}

fn questions_at_a_terminal(cluster: &Cluster) {
    let own = cluster.path("user1.credentials");
    let passwd = || {
        let mut command = cluster.command(&["user", "passwd", "--as"]);
        command.arg(&own);
        command
    };
    let (shown, status) = at_a_terminal(
        passwd(),
        &[
            ("New password: ", "correct horse"),
            ("Again: ", "correct house"),
        ],
    );
    assert_eq!(status, 2, "{shown}");
    assert!(shown.contains("differ"), "{shown}");
    let (shown, status) = at_a_terminal(
        passwd(),
        &[
            ("New password: ", "correct horse"),
            ("Again: ", "correct horse"),
        ],
    );
    assert_eq!(status, 0, "{shown}");
    assert!(!shown.contains("horse"), "the password was shown: {shown}");
    assert_eq!(cluster.sql("user1", "select current_user"), "user1");

    let remove = || cluster.command(&["user", "remove", "user2"]);
    let (shown, status) = at_a_terminal(remove(), &[("[y/N] ", "n")]);
    assert_eq!(status, 1, "{shown}");
    let (shown, status) = at_a_terminal(remove(), &[("[y/N] ", "y")]);
    assert_eq!(status, 0, "{shown}");
    assert!(
        users(cluster)
            .as_array()
            .unwrap()
            .iter()
            .all(|user| user["name"] != "user2")
    );

    // "both asked twice"
    let purge = || cluster.command(&["purge-all"]);
    let (shown, status) = at_a_terminal(purge(), &[("to go on: ", "wrong")]);
    assert_eq!(status, 1, "{shown}");
    let (shown, status) = at_a_terminal(purge(), &[("to go on: ", "palisade"), ("[y/N] ", "")]);
    assert_eq!(status, 1, "{shown}");
    assert!(shown.contains("nothing was done"), "{shown}");
    let (shown, _) = at_a_terminal(purge(), &[("to go on: ", "palisade"), ("[y/N] ", "y")]);
    assert!(shown.contains("enable_purge_all"), "{shown}");
}

fn refusals_leave_no_files(cluster: &Cluster) {
    let secret = cluster.path("new.credentials");
    let own = cluster.path("user3.credentials");
    let mut command = cluster.command(&["user", "add", "-u", "new", "-s"]);
    let error = fails(command.arg(&secret).arg("--as").arg(&own));
    assert!(error.contains("needs the privilege user_manage"), "{error}");
    assert!(!secret.exists());
    // Nobody answers at all.
    let mut command = palisade();
    command.args(["user", "add", "-u", "new", "--dir", "/nonexistent", "-s"]);
    fails(command.arg(&secret).arg("--as").arg(&own));
    assert!(!secret.exists());
}
