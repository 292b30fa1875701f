//! Users without `set_transaction`: everything works but a transaction block.

use crate::raw::{self, login_of, message, query, sqlstate};
use crate::support::{Account, DEFAULT_RULES, Door, fails, ok};

const ALICE: Account<'_> = Account {
    name: "alice",
    password: Some("pencil"),
    key: Some(2),
    restricted: true,
};

#[test]
fn statements_work_one_at_a_time() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let alice = door.conninfo("alice", "");
    let ask = |sql: &str| door.psql(&alice, Some("pencil"), sql);
    ok(&ask("create table t (x int primary key, y text)"));
    ok(&ask("insert into t values (1, 'one'), (2, 'two')"));
    assert_eq!(ok(&ask("select x, y from t order by x")), "1|one\n2|two");
    assert_eq!(ok(&ask("")), "");
    assert_eq!(ok(&ask("copy t to stdout")), "1\tone\n2\ttwo");
    assert_eq!(ok(&ask("vacuum t")), "");
    assert!(fails(&ask("insert into t values (1, 'again')")).contains("23505"));
    assert!(fails(&ask("selec 1")).contains("42601"));
    // Large rows pass in parts.
    assert_eq!(
        ok(&ask("select length(repeat('x', 20000000)), repeat('y', 3)")),
        "20000000|yyy"
    );
    assert_eq!(ok(&ask("select repeat('x', 5000000)")).len(), 5_000_000);
    let error = fails(&ask("select 1; select 2"));
    assert!(
        error.contains("42601"),
        "PostgreSQL refuses several in one: {error}"
    );
}

#[test]
fn a_transaction_block_is_refused() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let alice = door.conninfo("alice", "");
    let ask = |sql: &str| door.psql(&alice, Some("pencil"), sql);
    ok(&ask("create table t (x int)"));
    for begin in [
        "begin",
        "BEGIN ISOLATION LEVEL SERIALIZABLE",
        "start transaction",
        "/* */ begin -- x",
        " \n; begin",
        "begin;",
        "begin; insert into t values (1); commit",
        "insert into t values (1); begin",
        "begin\\; commit",
    ] {
        let error = fails(&ask(begin));
        assert!(
            error.contains("42501") || error.contains("42601"),
            "{begin}: {error}"
        );
    }
    assert_eq!(door.postgres.psql("select count(*) from t").unwrap(), "0");
    // Without a block, these do nothing.
    ok(&ask("commit"));
    ok(&ask("rollback"));
    assert!(fails(&ask("savepoint s")).contains("25P01"));
}

/// The session goes on after a refusal, outside of any block.
#[test]
fn the_session_goes_on_after_a_refusal() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let mut client = raw::tls(door.address, &door.cluster_key(), false, true);
    client.scram(&login_of("alice"), "pencil");
    for _ in 0..3 {
        client.say(&query("begin"));
        let heard = client.until('Z');
        assert_eq!(sqlstate(&heard[0].1), "42501");
        assert_eq!((heard.len(), heard[1].1.as_slice()), (2, b"I".as_slice()));
        client.say(&query("select 1"));
        assert_eq!(client.until('Z').len(), 4);
    }
    // Several at once, answered in turn.
    client.say(&[query("select 1"), query("begin"), query("select 2")].concat());
    assert_eq!(client.until('Z').len(), 4);
    assert_eq!(client.until('Z').len(), 2);
    assert_eq!(client.until('Z').len(), 4);
}

/// A block that is begun, filled and committed in one packet.
#[test]
fn a_pipeline_commits_nothing() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    door.postgres
        .psql("create table t (x int); grant all on t to alice")
        .unwrap();
    let step = |sql: &str| {
        [
            message(b'P', format!("\0{sql}\0\0\0").as_bytes()),
            message(b'B', b"\0\0\0\0\0\0\0\0"),
            message(b'E', b"\0\0\0\0\0"),
        ]
        .concat()
    };
    let sync = message(b'S', b"");
    let flush = message(b'H', b"");
    let mut client = raw::tls(door.address, &door.cluster_key(), false, true);
    client.scram(&login_of("alice"), "pencil");
    for pipeline in [
        [
            step("begin"),
            step("insert into t values (1)"),
            step("commit"),
            sync.clone(),
        ]
        .concat(),
        [
            step("insert into t values (2)"),
            step("begin"),
            step("commit"),
            sync.clone(),
        ]
        .concat(),
        [
            step("begin"),
            flush,
            step("insert into t values (3)"),
            step("commit and chain"),
            sync.clone(),
        ]
        .concat(),
    ] {
        client.say(&pipeline);
        let heard = client.until('Z');
        let error = heard.iter().find(|(kind, _)| *kind == 'E').unwrap();
        assert_eq!(sqlstate(&error.1), "42501");
        assert_eq!(heard.last().unwrap().1, b"I");
    }
    assert_eq!(door.postgres.psql("select count(*) from t").unwrap(), "0");
    // A prepared BEGIN that is executed later.
    let named = [
        message(b'P', b"b\0begin\0\0\0"),
        message(b'B', b"p\0b\0\0\0\0\0\0\0"),
        sync.clone(),
    ]
    .concat();
    client.say(&named);
    client.until('Z');
    let named = [
        message(b'B', b"p\0b\0\0\0\0\0\0\0"),
        message(b'E', b"p\0\0\0\0\0"),
        sync.clone(),
    ];
    client.say(&named.concat());
    assert_eq!(client.error(), "42501");
    client.until('Z');
    // A pipeline without a block works, and is one implicit transaction as in PostgreSQL.
    client.say(
        &[
            step("insert into t values (4)"),
            step("insert into t values (5)"),
            sync,
        ]
        .concat(),
    );
    let kinds: String = client.until('Z').iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, "12C12CZ");
    assert_eq!(door.postgres.psql("select count(*) from t").unwrap(), "2");
}

#[test]
fn copy_in_works_and_fails_as_it_should() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    door.postgres
        .psql("create table t (x int); grant all on t to alice")
        .unwrap();
    let mut client = raw::tls(door.address, &door.cluster_key(), false, true);
    client.scram(&login_of("alice"), "pencil");
    let data = message(b'd', b"1\n2\n");
    for (after, ends) in [
        (message(b'c', b""), "CZ"),
        (message(b'f', b"no\0"), "EZ"),
        (message(b'd', b"x\n"), "EZ"),
        // Another statement instead of data: the copy fails.
        (query("begin"), "EZ"),
    ] {
        client.say(&query("copy t from stdin"));
        client.until('G');
        client.say(&[data.clone(), after].concat());
        if ends == "EZ" {
            client.say(&message(b'c', b""));
        }
        let kinds: String = client.until('Z').iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, ends);
    }
    assert_eq!(door.postgres.psql("select count(*) from t").unwrap(), "2");
    client.say(&query("select 1"));
    assert_eq!(client.until('Z').len(), 4);
}

#[test]
fn a_restricted_connection_is_reused_too() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let alice = door.conninfo("alice", "");
    ok(&door.psql(&alice, Some("pencil"), "select 1"));
    palisade_testkit::poll("reuse", crate::support::PATIENCE, || {
        ok(&door.psql(&alice, Some("pencil"), "select 1"));
        (door.figure("backends_reused_total", None) > 0).then_some(())
    })
    .unwrap();
}

/// A client that goes away in the middle of a message leaves nothing behind.
#[test]
fn half_a_message_holds_no_session() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    for last in [
        b"Q\0\0".to_vec(),
        query("select 1")[..9].to_vec(),
        message(b'P', b"\0select 1\0\0\0"),
        query("copy (select 1) to stdout"),
        query("selec"),
        b"Q\0\0\0\x01".to_vec(),
    ] {
        let mut client = raw::tls(door.address, &door.cluster_key(), false, true);
        client.scram(&login_of("alice"), "pencil");
        client.say(&last);
        drop(client);
        palisade_testkit::poll("its end", crate::support::PATIENCE, || {
            let sql = "select count(*) from pg_stat_activity where usename = 'alice'";
            let gone = door.postgres.psql(sql).unwrap() == "0";
            (gone && door.observer.sessions().is_empty()).then_some(())
        })
        .unwrap_or_else(|error| panic!("{}: {error}", last.escape_ascii()));
    }
}
