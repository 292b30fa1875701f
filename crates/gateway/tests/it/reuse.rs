//! An idle connection to PostgreSQL serves the same user again, and nothing of before is left in it.

use palisade_ledger::{Change, Privileges};

use crate::raw::{self, login_of, query, startup};
use crate::support::{Account, DEFAULT_RULES, Door, PATIENCE, ok};

const ALICE: Account<'_> = Account {
    name: "alice",
    password: Some("pencil"),
    key: Some(2),
    restricted: false,
};
const BOB: Account<'_> = Account {
    name: "bob",
    key: Some(5),
    ..ALICE
};

fn reused(door: &Door) -> i64 {
    door.figure("backends_reused_total", None)
}

/// Waits until every connection of ended sessions is either kept or gone.
fn settled(door: &Door) {
    palisade_testkit::poll("idle connections", PATIENCE, || {
        let sql = "select count(*) from pg_stat_activity where usename <> 'postgres'";
        let connections = door.postgres.psql(sql).unwrap();
        (door.observer.sessions().is_empty()
            && connections == door.observer.idle_connections().to_string())
        .then_some(())
    })
    .unwrap();
}

#[test]
fn nothing_of_a_session_is_left_in_its_connection() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    door.postgres
        .psql("create role helper; grant helper to alice")
        .unwrap();
    let alice = door.conninfo("alice", "");
    let ask = |sql: &str| ok(&door.psql(&alice, Some("pencil"), sql));
    let first = ask("select pg_backend_pid();
        set search_path = pg_temp; set timezone = 'Asia/Tokyo'; set my.secret = 'x';
        create temp table t (x int);
        prepare p as select 1;
        declare c cursor with hold for select 1;
        listen channel;
        select pg_advisory_lock(7);
        set role helper;
        set application_name = 'other'");
    let pid = first.lines().next().unwrap().to_owned();
    settled(&door);
    let second = ask("select pg_backend_pid(), current_user, session_user,
        current_setting('search_path'), current_setting('timezone') <> 'Asia/Tokyo',
        coalesce(current_setting('my.secret', true), ''), to_regclass('t') is null,
        (select count(*) from pg_prepared_statements), (select count(*) from pg_cursors),
        (select count(*) from pg_listening_channels()),
        (select count(*) from pg_locks where locktype = 'advisory'),
        current_setting('application_name')");
    assert_eq!(
        second,
        format!("{pid}|alice|alice|\"$user\", public|t||t|0|0|0|0|psql")
    );
    assert_eq!(reused(&door), 1);
}

/// What a new client is told of the parameters is what they are.
#[test]
fn reported_parameters_are_those_of_a_fresh_session() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let cluster = door.cluster_key();
    let parameters = |heard: &[raw::Message]| -> Vec<String> {
        let mut all: Vec<String> = heard
            .iter()
            .filter(|(kind, _)| *kind == 'S')
            .map(|(_, body)| String::from_utf8_lossy(body).into_owned())
            .collect();
        all.sort();
        all
    };
    let mut client = raw::tls(door.address, &cluster, false, true);
    let fresh = parameters(&client.scram(&login_of("alice"), "pencil"));
    client.say(&query(
        "set timezone = 'Asia/Tokyo'; set datestyle = 'German'",
    ));
    client.until('Z');
    client.say(raw::TERMINATE);
    settled(&door);
    let mut client = raw::tls(door.address, &cluster, false, true);
    let again = parameters(&client.scram(&login_of("alice"), "pencil"));
    assert_eq!(reused(&door), 1);
    assert_eq!(again, fresh);
    assert!(fresh.len() > 8, "{fresh:?}");
}

#[test]
fn a_connection_serves_one_user_database_and_set_of_parameters() {
    let door = Door::with(DEFAULT_RULES, &[ALICE, BOB]);
    door.postgres.psql("create database other").unwrap();
    let run = |conninfo: String| {
        ok(&door.psql(&conninfo, Some("pencil"), "select 1"));
        settled(&door);
        reused(&door)
    };
    assert_eq!(run(door.conninfo("alice", "")), 0);
    assert_eq!(run(door.conninfo("bob", "")), 0);
    assert_eq!(run(door.conninfo("alice", "dbname=other")), 0);
    assert_eq!(run(door.conninfo("alice", "application_name=x")), 0);
    assert_eq!(run(door.conninfo("alice", "options='-c work_mem=8MB'")), 0);
    assert_eq!(run(door.conninfo("alice", "application_name=x")), 1);
    assert_eq!(run(door.conninfo("bob", "")), 2);
}

#[test]
fn a_change_of_the_user_retires_his_connections() {
    let door = Door::with(DEFAULT_RULES, &[ALICE, BOB]);
    for user in ["alice", "bob"] {
        ok(&door.psql(&door.conninfo(user, ""), Some("pencil"), "select 1"));
    }
    settled(&door);
    door.change(Change::UserSet {
        uid: door.uid("alice"),
        superuser: None,
        default_privileges: Some(Privileges::SELECT | Privileges::SET_TRANSACTION),
    });
    palisade_testkit::poll("alice's connection", PATIENCE, || {
        let sql = "select count(*) from pg_stat_activity where usename = 'alice'";
        (door.postgres.psql(sql).unwrap() == "0").then_some(())
    })
    .unwrap();
    ok(&door.psql(&door.conninfo("bob", ""), Some("pencil"), "select 1"));
    assert_eq!(reused(&door), 1, "bob's stayed");
    ok(&door.psql(&door.conninfo("alice", ""), Some("pencil"), "select 1"));
    assert_eq!(reused(&door), 1);
}

/// What was left busy, in a transaction, or in the middle of something is not kept.
#[test]
fn only_an_idle_connection_is_kept() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let cluster = door.cluster_key();
    let begin = query("begin");
    let parse = raw::message(b'P', b"\0select 1\0\0\0");
    let sleep = query("select pg_sleep(3)");
    let copy = query("copy pg_class to stdout");
    for (last, wait) in [
        (begin.clone(), true),
        (parse, false),
        (sleep, false),
        (copy, false),
        (b"Q\0\0\0\x01".to_vec(), false),
        (b"?\0\0\0\x04".to_vec(), false),
    ] {
        let mut client = raw::tls(door.address, &cluster, false, true);
        client.scram(&login_of("alice"), "pencil");
        if wait {
            client.say(&last);
            client.until('Z');
            client.say(raw::TERMINATE);
        } else {
            // At once: what is over by then would be idle.
            client.say(&[last.as_slice(), raw::TERMINATE].concat());
        }
        while !client.is_closed() {}
        let left = || {
            let sql = "select count(*) from pg_stat_activity where usename = 'alice'";
            (door.postgres.psql(sql).unwrap() == "0").then_some(())
        };
        palisade_testkit::poll("its end", PATIENCE, left).unwrap();
    }
    assert_eq!(reused(&door), 0);
    // Closed without a word: not kept either.
    let mut client = raw::tls(door.address, &cluster, false, true);
    client.scram(&login_of("alice"), "pencil");
    drop(client);
    ok(&door.psql(&door.conninfo("alice", ""), Some("pencil"), "select 1"));
    assert_eq!(reused(&door), 0);
}

#[test]
fn a_dead_connection_is_not_handed_out() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let alice = door.conninfo("alice", "");
    ok(&door.psql(&alice, Some("pencil"), "select 1"));
    settled(&door);
    door.postgres
        .psql(
            "select pg_terminate_backend(pid, 60000) from pg_stat_activity where usename = 'alice'",
        )
        .unwrap();
    ok(&door.psql(&alice, Some("pencil"), "select 1"));
    assert_eq!(reused(&door), 0);
}

/// Who logs in and leaves leaves nothing behind that would have to be discarded.
#[test]
fn a_connection_that_nobody_used_is_not_reset() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let cluster = door.cluster_key();
    palisade_testkit::poll("reuse", PATIENCE, || {
        let mut client = raw::tls(door.address, &cluster, false, true);
        client.scram(&login_of("alice"), "pencil");
        client.say(raw::TERMINATE);
        (reused(&door) > 0).then_some(())
    })
    .unwrap();
    let sql = "select count(*) from pg_stat_activity where usename = 'alice' and query <> ''";
    assert_eq!(door.postgres.psql(sql).unwrap(), "0");
}

#[test]
fn kept_connections_are_bounded_and_give_way() {
    let door = Door::open_with(DEFAULT_RULES, |config| {
        config.pool.idle = 3;
        config.pool.idle_per_key = 2;
    });
    door.add(&[ALICE, BOB]);
    let cluster = door.cluster_key();
    let mut clients = Vec::new();
    for user in ["alice", "alice", "alice", "alice", "bob", "bob"] {
        let mut client = raw::tls(door.address, &cluster, false, true);
        client.scram(&login_of(user), "pencil");
        client.say(&query("select 1"));
        client.until('Z');
        clients.push(client);
    }
    for mut client in clients {
        client.say(raw::TERMINATE);
        while !client.is_closed() {}
    }
    settled(&door);
    let sql = "select count(*) from pg_stat_activity where usename <> 'postgres'";
    assert_eq!(door.postgres.psql(sql).unwrap(), "3");
    // When PostgreSQL is full, an idle connection of another kind gives way.
    door.postgres
        .psql("alter role alice connection limit 2")
        .unwrap();
    let other = startup(
        3 << 16,
        b"user\0alice\0database\0postgres\0work_mem\x008MB\0\0",
    );
    let mut first = raw::tls(door.address, &cluster, false, true);
    assert_eq!(first.scram(&other, "pencil").last().unwrap().0, 'Z');
}
