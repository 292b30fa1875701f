//! Cancel requests: the right key reaches the right session, and no other does anything.

use std::io::{Read, Write};

use crate::raw::{self, Raw, cancel_request, key_data, login_of, query, sqlstate, startup};
use crate::support::{Account, DEFAULT_RULES, Door, PATIENCE};

const ALICE: Account<'_> = Account {
    name: "alice",
    password: Some("pencil"),
    key: Some(2),
    restricted: false,
};

fn asleep(door: &Door, startup: &[u8]) -> (Raw<impl Read + Write + use<>>, u32, Vec<u8>) {
    let mut client = raw::tls(door.address, &door.cluster_key(), false, true);
    let heard = client.scram(startup, "pencil");
    let (process, key) = key_data(&heard);
    client.say(&query("select pg_sleep(3600)"));
    palisade_testkit::poll("the sleeper", PATIENCE, || {
        let sql = format!(
            "select count(*) from pg_stat_activity where pid = {process} and wait_event = 'PgSleep'"
        );
        (door.postgres.psql(&sql).unwrap() == "1").then_some(())
    })
    .unwrap();
    (client, process, key)
}

fn sleeps(door: &Door, process: u32) -> bool {
    let sql = format!("select wait_event from pg_stat_activity where pid = {process}");
    door.postgres.psql(&sql).unwrap() == "PgSleep"
}

/// Sends a request and waits until the server has dealt with it.
fn cancel(door: &Door, process: u32, key: &[u8]) {
    let mut client = raw::tcp(door.address);
    client.say(&cancel_request(process, key));
    assert!(client.is_closed(), "a cancel request is not answered");
}

#[test]
fn the_key_of_a_session_cancels_its_statement() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let newer = startup((3 << 16) + 2, b"user\0alice\0database\0postgres\0\0");
    for startup in [login_of("alice"), newer] {
        let (mut client, process, key) = asleep(&door, &startup);
        cancel(&door, process, &key);
        let error = client.until('E').pop().unwrap();
        assert_eq!(sqlstate(&error.1), "57014");
        client.until('Z');
    }
    assert_eq!(door.figure("cancels_total", None), 2);
    // The same, asked for inside of TLS.
    let (mut client, process, key) = asleep(&door, &login_of("alice"));
    let mut other = raw::tls(door.address, &door.cluster_key(), false, true);
    other.say(&cancel_request(process, &key));
    assert!(other.is_closed());
    client.until('E');
}

/// "cancel with wrong key does nothing"
#[test]
fn no_other_key_does_anything() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let (_client, process, key) = asleep(&door, &login_of("alice"));
    let (other, other_process, other_key) = asleep(&door, &login_of("alice"));
    let mut wrong = key.clone();
    wrong[3] ^= 1;
    cancel(&door, process, &wrong);
    cancel(&door, process, &other_key);
    cancel(&door, other_process, &key);
    cancel(&door, process, &[key.clone(), key.clone()].concat());
    cancel(&door, process + 1_000_000, &key);
    assert!(sleeps(&door, process) && sleeps(&door, other_process));
    assert_eq!(door.figure("cancels_total", None), 0);
    assert_eq!(door.figure("cancels_unknown_total", None), 5);
    // A session's key ends with it, also when its process serves another session.
    drop(other);
    cancel(&door, process, &key);
    assert_eq!(door.figure("cancels_total", None), 1);
}

#[test]
fn a_reused_process_has_a_new_key() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let mut client = raw::tls(door.address, &door.cluster_key(), false, true);
    let old = key_data(&client.scram(&login_of("alice"), "pencil"));
    client.say(raw::TERMINATE);
    client.is_closed();
    let (_client, process, key) = palisade_testkit::poll("reuse", PATIENCE, || {
        let before = door.figure("backends_reused_total", None);
        let found = asleep(&door, &login_of("alice"));
        (door.figure("backends_reused_total", None) > before).then_some(found)
    })
    .unwrap();
    assert_ne!(key, old.1);
    cancel(&door, process, &old.1);
    assert!(sleeps(&door, process));
}
