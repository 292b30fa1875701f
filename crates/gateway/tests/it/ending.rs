//! "It ends a session at once when its user, certificate or rule is gone."

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use palisade_gateway::Limits;
use palisade_keys::ScramVerifier;
use palisade_ledger::{Change, Privileges};
use rustls::pki_types::UnixTime;

use crate::raw::{self, Raw, login_of, query, sqlstate};
use crate::support::{Account, DEFAULT_RULES, Door, LIFETIME, PATIENCE, fails, secret_key};

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

fn login(door: &Door, user: &str) -> Raw<impl Read + Write + use<>> {
    let mut client = raw::tls(door.address, &door.cluster_key(), false, true);
    let heard = client.scram(&login_of(user), "pencil");
    assert_eq!(heard.last().unwrap().0, 'Z');
    client
}

/// PostgreSQL's processes that serve a user.
fn processes(door: &Door, user: &str) -> Vec<PathBuf> {
    let sql = format!("select pid from pg_stat_activity where usename = '{user}'");
    let said = door.postgres.psql(&sql).unwrap();
    said.lines()
        .map(|pid| Path::new("/proc").join(pid))
        .collect()
}

/// Waits for the end of processes. It is looked for without starting any, which would take its time
/// on a busy machine.
fn gone(processes: &[PathBuf]) {
    palisade_testkit::poll("the backends' end", PATIENCE, || {
        processes.iter().all(|path| !path.exists()).then_some(())
    })
    .unwrap();
}

/// Waits until so many sessions are left. A client hears of its session's end a moment before.
fn left(door: &Door, count: usize) {
    palisade_testkit::poll("the sessions' end", PATIENCE, || {
        (door.observer.sessions().len() == count).then_some(())
    })
    .unwrap();
}

#[track_caller]
fn ends<S: Read + Write>(client: &mut Raw<S>) {
    let (kind, body) = client.message();
    assert_eq!(kind, 'E');
    assert_eq!(sqlstate(&body), "57P01");
    assert!(client.is_closed());
}

#[track_caller]
fn lives<S: Read + Write>(client: &mut Raw<S>) {
    client.say(&query("select 1"));
    client.until('Z');
}

/// "Disable a user: the open sessions end (57P01) and no login passes, within one second, measured."
#[test]
fn a_disabled_user_is_out_within_a_second() {
    let door = Door::with(DEFAULT_RULES, &[ALICE, BOB]);
    let mut idle: Vec<_> = (0..5).map(|_| login(&door, "alice")).collect();
    let mut other = login(&door, "bob");
    let mut asleep = login(&door, "alice");
    asleep.say(&query("select pg_sleep(3600)"));
    // This one's connection goes back to the pool: it must not be handed out again.
    let mut gone_by_itself = login(&door, "alice");
    gone_by_itself.say(raw::TERMINATE);
    palisade_testkit::poll("the pooled connection", PATIENCE, || {
        (door.observer.idle_connections() == 1).then_some(())
    })
    .unwrap();
    palisade_testkit::poll("the sleeper", PATIENCE, || {
        let sql = "select count(*) from pg_stat_activity where query ~ '^select pg_sleep'";
        (door.postgres.psql(sql).unwrap() == "1").then_some(())
    })
    .unwrap();
    let processes = processes(&door, "alice");
    assert_eq!(processes.len(), 7);
    door.disable("alice");
    for client in &mut idle {
        ends(client);
    }
    // What PostgreSQL answers to the cancellation may come first.
    let last = asleep.until('E').pop().unwrap();
    let last = match sqlstate(&last.1).as_str() {
        "57014" => asleep.until('E').pop().unwrap(),
        _ => last,
    };
    assert_eq!(sqlstate(&last.1), "57P01");
    gone(&processes);
    // Not even the first attempt passes.
    fails(&door.psql(&door.conninfo("alice", ""), Some("pencil"), "select 1"));
    fails(&door.psql(
        &door.conninfo("alice", &door.key_files("alice", 2)),
        None,
        "select 1",
    ));
    lives(&mut other);
    assert_eq!(
        door.figure("sessions_ended_total", Some("user_disabled")),
        6
    );
    left(&door, 1);
}

#[test]
fn a_client_that_does_not_read_is_out_as_fast() {
    let door = Door::open_with(DEFAULT_RULES, |config| {
        config.limits.end_within = Limits::default().end_within;
    });
    door.add(&[ALICE]);
    let mut client = login(&door, "alice");
    client.say(&query(
        "select repeat('x', 1000000) from generate_series(1, 200)",
    ));
    palisade_testkit::poll("a full pipe", PATIENCE, || {
        let sql = "select count(*) from pg_stat_activity where wait_event = 'ClientWrite'";
        (door.postgres.psql(sql).unwrap() == "1").then_some(())
    })
    .unwrap();
    let processes = processes(&door, "alice");
    door.disable("alice");
    left(&door, 0);
    gone(&processes);
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).ok();
}

/// The farewell never stands inside of another message.
#[test]
fn a_client_in_the_middle_of_a_result_gets_whole_messages() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let mut client = login(&door, "alice");
    client.say(&query(
        "select repeat('x', 300000) from generate_series(1, 100000)",
    ));
    for _ in 0..20 {
        client.message();
    }
    let processes = processes(&door, "alice");
    std::thread::scope(|scope| {
        door.disable("alice");
        // What is on its way to it takes it some time; the session is over before.
        scope.spawn(|| {
            let last = client.until('E').pop().unwrap();
            assert_eq!(sqlstate(&last.1), "57P01");
            assert!(client.is_closed());
        });
        left(&door, 0);
        gone(&processes);
    });
}

#[test]
fn a_removed_user_is_out_and_a_new_one_of_the_same_name_is_another() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let mut client = login(&door, "alice");
    door.change(Change::UserRemove {
        uid: door.uid("alice"),
    });
    ends(&mut client);
    fails(&door.psql(&door.conninfo("alice", ""), Some("pencil"), "select 1"));
}

#[test]
fn a_session_ends_with_the_credential_that_opened_it() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let uid = door.uid("alice");
    let keyed = door.held("alice", &door.key_files("alice", 2), None);
    let certified = door.held("alice", &door.certificate_files("alice", 8), None);
    let again = door.held("alice", &door.certificate_files("alice", 9), None);
    let mut by_password = login(&door, "alice");
    assert_eq!(door.observer.sessions().len(), 4);

    door.change(Change::CertificateRevoke {
        serial: vec![8],
        reason: "lost".to_owned(),
    });
    certified.ends(&door);
    lives(&mut by_password);
    // What was issued to who had the old key goes with it.
    door.change(Change::UserKey {
        uid,
        public_key: secret_key(99).public(),
    });
    keyed.ends(&door);
    again.ends(&door);
    lives(&mut by_password);
    let verifier = ScramVerifier::derive("other", &[9; 16], 4096).unwrap();
    door.change(Change::UserPassword {
        uid,
        verifier: Some(verifier),
    });
    ends(&mut by_password);
    assert_eq!(
        door.figure("sessions_ended_total", Some("credential_gone")),
        4
    );
}

/// `user_certificate_minutes` bounds what a stolen certificate is good for, not only when it opens the door.
#[test]
fn a_session_ends_with_the_life_of_its_certificate() {
    let later = Arc::new(AtomicU64::new(0));
    let looks = Arc::new(AtomicU64::new(0));
    let (clock, looked) = (Arc::clone(&later), Arc::clone(&looks));
    let door = Door::open_with(DEFAULT_RULES, |config| {
        config.clock = Arc::new(move || {
            looked.fetch_add(1, Ordering::SeqCst);
            let now = UnixTime::now().as_secs() + clock.load(Ordering::SeqCst);
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(now))
        });
    });
    door.add(&[ALICE]);
    let files = door.certificate_files("alice", 8);
    let mut certified = door.held("alice", &files, None);
    let mut keyed = door.held("alice", &door.key_files("alice", 2), None);
    let life = LIFETIME.whole_seconds().unsigned_abs();
    later.store(life - 600, Ordering::SeqCst);
    // At each look the time is asked for each of the two.
    let before = looks.load(Ordering::SeqCst);
    palisade_testkit::poll("two looks", PATIENCE, || {
        (looks.load(Ordering::SeqCst) >= before + 4).then_some(())
    })
    .unwrap();
    assert_eq!(certified.ask("select 1").as_deref(), Some("1"));
    later.store(life + 600, Ordering::SeqCst);
    palisade_testkit::poll("the session's end", PATIENCE, || {
        (door.observer.sessions().len() == 1).then_some(())
    })
    .unwrap();
    certified.ends(&door);
    assert_eq!(keyed.ask("select 1").as_deref(), Some("1"));
}

#[test]
fn a_session_ends_with_its_rule_and_not_with_another() {
    let door = Door::with(DEFAULT_RULES, &[ALICE, BOB]);
    let (mut alice, mut bob) = (login(&door, "alice"), login(&door, "bob"));
    let rules = |text: &str| {
        door.change(Change::HbaSet {
            text: text.to_owned(),
        });
    };
    rules("hostssl all bob all reject\nhostssl all all all scram-sha-256\n");
    ends(&mut bob);
    lives(&mut alice);
    rules("hostssl all all 127.0.0.0/8 scram-sha-256\n");
    lives(&mut alice);
    rules("hostssl all all all key\n");
    ends(&mut alice);
}

#[test]
fn a_session_ends_when_its_right_to_transactions_is_taken() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let mut client = login(&door, "alice");
    lives(&mut client);
    let set = |privileges| {
        door.change(Change::UserSet {
            uid: door.uid("alice"),
            superuser: None,
            default_privileges: Some(privileges),
        });
    };
    set(Privileges::SELECT | Privileges::INSERT | Privileges::SET_TRANSACTION);
    lives(&mut client);
    set(Privileges::SELECT);
    ends(&mut client);
    let mut restricted = login(&door, "alice");
    set(Privileges::SELECT | Privileges::SET_TRANSACTION);
    lives(&mut restricted);
    set(Privileges::DENIED);
    ends(&mut restricted);
}

/// A login that is under way when its user is disabled.
#[test]
fn a_login_does_not_slip_past_a_change() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let mut client = raw::tls(door.address, &door.cluster_key(), false, true);
    client.say(&login_of("alice"));
    client.until('R');
    door.disable("alice");
    let heard = client.scram_answer("pencil");
    assert_eq!(heard.last().unwrap().0, 'E');
    assert!(client.is_closed());
}

/// PostgreSQL's error in the middle of an upload reaches a client that goes on sending.
#[test]
fn an_error_overtakes_an_upload() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let mut client = login(&door, "alice");
    client.say(&query("create temp table t (x int)"));
    client.until('Z');
    client.say(&query("copy t from stdin"));
    client.until('G');
    client.say(&raw::message(b'd', b"not a number\n"));
    let data = raw::message(b'd', &b"1\n".repeat(30_000));
    for _ in 0..100 {
        client.say(&data);
    }
    assert_eq!(client.error(), "22P02");
    client.until('Z');
    lives(&mut client);
}

#[test]
fn no_session_begins_after_a_shutdown() {
    let mut door = Door::with(DEFAULT_RULES, &[ALICE]);
    let mut client = raw::tls(door.address, &door.cluster_key(), false, true);
    client.say(&login_of("alice"));
    client.until('R');
    door.stop();
    palisade_testkit::poll("the end of the listener", PATIENCE, || {
        std::net::TcpStream::connect(door.address)
            .is_err()
            .then_some(())
    })
    .unwrap();
    let heard = client.scram_answer("pencil");
    assert_ne!(heard.last().unwrap().0, 'Z');
    assert!(door.observer.sessions().is_empty());
}

#[test]
fn a_shutdown_says_goodbye() {
    let mut door = Door::with(DEFAULT_RULES, &[ALICE]);
    let mut client = login(&door, "alice");
    door.stop();
    ends(&mut client);
}

/// Who waits for it hears the end of TLS, not only that of TCP.
#[test]
fn who_terminates_and_stays_hears_a_goodbye() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let mut client = login(&door, "alice");
    client.say(raw::TERMINATE);
    // rustls gives an error at an end without `close_notify`.
    assert_eq!(client.stream.read(&mut [0; 16]).unwrap(), 0);
}
