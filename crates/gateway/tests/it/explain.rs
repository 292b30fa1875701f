//! `palisade explain login` tells what a login then does.

use std::net::IpAddr;

use palisade_gateway::{Attempt, Verdict, explain};
use palisade_hba::Method;

use crate::support::{Account, Door, fails, ok};

const ALICE: Account<'_> = Account {
    name: "alice",
    password: Some("pencil"),
    key: Some(2),
    restricted: false,
};
const BOB: Account<'_> = Account {
    name: "bob",
    password: None,
    key: Some(5),
    ..ALICE
};

#[test]
fn what_is_explained_is_what_happens() {
    let door = Door::with(
        "hostssl all bob all scram-sha-256\n\
         hostssl all alice 127.0.0.2/32 reject\n\
         hostssl all alice 127.0.0.0/8 key\n\
         hostssl all carol all trust\n",
        &[ALICE, BOB],
    );
    door.add(&[Account {
        name: "carol",
        key: Some(6),
        ..BOB
    }]);
    let explained = |user: &str, address: &str, tls| {
        let attempt = Attempt {
            user: user.to_owned(),
            database: "postgres".to_owned(),
            address: address.parse::<IpAddr>().unwrap(),
            tls,
        };
        let found = explain(&door.state(), &[], true, &attempt);
        (
            found.rule.map(|(line, _)| line),
            found.method,
            found.verdict,
        )
    };
    let key = Verdict::Asked {
        nothing: false,
        key: true,
        certificate: false,
        password: false,
    };
    let here = "127.0.0.1";
    assert_eq!(
        explained("alice", here, true),
        (Some(3), Some(Method::Key), key)
    );
    assert_eq!(key.to_string(), "let in with the user's key");
    ok(&door.psql(
        &door.conninfo("alice", &door.key_files("alice", 2)),
        None,
        "select 1",
    ));
    let (line, _, verdict) = explained("alice", "127.0.0.2", true);
    assert_eq!((line, verdict), (Some(2), Verdict::Rejected));
    assert!(door.connect_from("127.0.0.2", "alice", "pencil").is_err());
    assert_eq!(explained("bob", here, true).2, Verdict::NothingToShow);
    fails(&door.psql(&door.conninfo("bob", ""), Some("pencil"), "select 1"));
    let trusted = explained("carol", here, true).2;
    assert_eq!(trusted.to_string(), "let in without a proof");
    ok(&door.psql(&door.conninfo("carol", ""), None, "select 1"));
    assert_eq!(explained("alice", here, false).2, Verdict::PlaintextRefused);
    assert_eq!(explained("alice", "192.0.2.1", true).2, Verdict::NoRule);
    assert_eq!(explained("mallory", here, true).2, Verdict::NoRule);
    door.disable("carol");
    assert_eq!(explained("carol", here, true).2, Verdict::MayNotLogIn);
    fails(&door.psql(&door.conninfo("carol", ""), None, "select 1"));
}

/// A missing database is refused behind the proof, so it is not "let in".
#[test]
fn another_database_is_no_way_in() {
    let door = Door::with("hostssl all all all scram-sha-256\n", &[ALICE]);
    let verdict = |database: &str, tls| {
        let attempt = Attempt {
            user: "alice".to_owned(),
            database: database.to_owned(),
            address: "127.0.0.1".parse().unwrap(),
            tls,
        };
        explain(&door.state(), &[], true, &attempt).verdict
    };
    assert!(matches!(verdict("postgres", true), Verdict::Asked { .. }));
    assert_eq!(verdict("nodb", true), Verdict::OtherDatabase);
    assert_eq!(
        Verdict::OtherDatabase.to_string(),
        "fails, after the proof: the cluster manages another database"
    );
    let nodb = door.conninfo("alice", "dbname=nodb");
    let error = fails(&door.psql(&nodb, Some("pencil"), "select 1"));
    assert!(error.contains("\"nodb\" does not exist"), "{error}");
    // What comes before the database is told first.
    assert_eq!(verdict("nodb", false), Verdict::PlaintextRefused);
    door.disable("alice");
    assert_eq!(verdict("nodb", true), Verdict::MayNotLogIn);
}

#[test]
fn every_verdict_reads_as_a_sentence() {
    let asked = |key, certificate, password| Verdict::Asked {
        nothing: false,
        key,
        certificate,
        password,
    };
    assert_eq!(
        asked(true, true, true).to_string(),
        "let in with the user's key, or a certificate of the cluster's CA in the user's name, or the password"
    );
    assert_eq!(Verdict::NoRule.to_string(), "refused: no rule matches");
    assert_eq!(
        Verdict::UnknownUser.to_string(),
        "fails: there is no such user"
    );
}
