//! "unknown user and wrong key or password look and take the same"

use std::time::{Duration, Instant};

use palisade_link::x509::user_certificate;

use crate::raw::{self, Message, login_of};
use crate::support::{Account, Door, fails, now, secret_key};

fn account<'a>(name: &'a str, password: Option<&'a str>) -> Account<'a> {
    Account {
        name,
        password,
        // A key has one owner.
        key: name.bytes().next().map(|letter| letter + 100),
        restricted: false,
    }
}

/// Plaintext, so that every byte can be compared.
fn door() -> Door {
    let door = Door::open_with("host all all all scram-sha-256\n", |config| {
        config.encrypt_traffic = false;
    });
    door.add(&[
        account("alice", Some("pencil")),
        account("carol", Some("pencil")),
        account("nopwd", None),
    ]);
    door.disable("carol");
    door
}

/// Four ways to fail, with names of the same length: a wrong password, no such user, a disabled user
/// with the right password, a user without one.
const FAILURES: [(&str, &str); 4] = [
    ("alice", "wrong"),
    ("nobod", "pencil"),
    ("carol", "pencil"),
    ("nopwd", "pencil"),
];

fn attempt(door: &Door, user: &str, password: &str) -> Vec<Message> {
    let mut client = raw::tcp(door.address);
    let heard = client.scram(&login_of(user), password);
    assert!(client.is_closed());
    heard
}

/// What must not differ: all but the random nonce and the salt.
fn shape(user: &str, heard: &[Message]) -> Vec<(char, usize, String)> {
    let mut shape = Vec::new();
    for (kind, body) in heard {
        let text = String::from_utf8_lossy(body).replace(user, "USER");
        let text = match body.get(..4) {
            Some([0, 0, 0, 11]) => text.rsplit_once(',').unwrap().1.to_owned(),
            _ => text,
        };
        shape.push((*kind, body.len(), text));
    }
    shape
}

#[test]
fn every_failure_is_byte_for_byte_the_same() {
    let door = door();
    let shapes: Vec<_> = FAILURES
        .iter()
        .map(|(user, password)| shape(user, &attempt(&door, user, password)))
        .collect();
    let kinds: String = shapes[0].iter().map(|(kind, _, _)| *kind).collect();
    assert_eq!(kinds, "RRE");
    for other in &shapes[1..] {
        assert_eq!(*other, shapes[0]);
    }
    assert!(shapes[0][2].2.contains("C28P01"), "{}", shapes[0][2].2);
}

#[test]
fn salts_stay_the_same_for_everybody() {
    let door = door();
    let salt = |user: &str| {
        let heard = attempt(&door, user, "wrong");
        let text = String::from_utf8(heard[1].1[4..].to_vec()).unwrap();
        text.split(',').nth(1).unwrap().to_owned()
    };
    for (user, _) in FAILURES {
        assert_eq!(salt(user), salt(user));
    }
    let before = salt("alice");
    door.disable("alice");
    assert_eq!(salt("alice"), before, "being disabled does not show");
}

/// Runs an exchange that ends with a guessed proof: the server's time alone, for no key is derived
/// here.
fn guess(door: &Door, user: &str) -> Duration {
    let mut client = raw::tcp(door.address);
    #[expect(clippy::disallowed_methods, reason = "measures real time")]
    let began = Instant::now();
    client.say(&login_of(user));
    client.message();
    client.say(&raw::message(
        b'p',
        b"SCRAM-SHA-256\0\0\0\0\x0cn,,n=,r=abcd",
    ));
    let (_, challenge) = client.message();
    let challenge = String::from_utf8(challenge[4..].to_vec()).unwrap();
    let nonce = challenge.split(',').next().unwrap();
    let proof = "A".repeat(43);
    client.say(&raw::message(
        b'p',
        format!("c=biws,{nonce},p={proof}=").as_bytes(),
    ));
    assert_eq!(client.error(), "28P01");
    began.elapsed()
}

/// What each of these failures takes when nothing else holds it up.
fn undisturbed(failures: &[&dyn Fn() -> Duration]) -> Vec<Duration> {
    const ROUNDS: usize = 100;
    let mut times = vec![Vec::new(); failures.len()];
    for _ in 0..ROUNDS {
        // Taken in turns, so that whatever else this machine does meets them all.
        for (failure, times) in failures.iter().zip(&mut times) {
            times.push(failure());
        }
    }
    // Whatever else this machine does makes some longer and none shorter.
    let low = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[ROUNDS / 10]
    };
    times.iter_mut().map(low).collect()
}

/// All of these failures take the same time.
fn assert_alike(failures: &[&dyn Fn() -> Duration]) {
    // A difference that is there shows every time; one that the machine made does not.
    let mut seen = Vec::new();
    let alike = (0..20).any(|_| {
        let times = undisturbed(failures);
        let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        let alike = *most < *least * 13 / 10;
        seen.push(times);
        alike
    });
    assert!(alike, "{seen:?}");
}

#[test]
fn every_failure_takes_the_same_time() {
    let door = door();
    let guesses = FAILURES.map(|(user, _)| {
        let door = &door;
        move || guess(door, user)
    });
    assert_alike(&guesses.each_ref().map(|guess| guess as _));
}

#[test]
fn wrong_keys_and_unknown_users_take_the_same_time() {
    let door = Door::with(
        "hostssl all all 127.0.0.1 255.255.255.255 key\n",
        &[account("alice", None), account("carol", None)],
    );
    door.disable("carol");
    let knocks = [("alice", 3), ("nobod", 3), ("carol", b'c' + 100)].map(|(user, key)| {
        let day = time::Duration::days(1);
        let leaf = user_certificate(user, &secret_key(key), &[key], now(), day).unwrap();
        let door = &door;
        move || {
            let cluster = door.cluster_key();
            let mut client = raw::tls_as(door.address, &cluster, Some(&leaf), false, false);
            let stream = &mut client.stream;
            stream.conn.complete_io(&mut stream.sock).unwrap();
            #[expect(clippy::disallowed_methods, reason = "measures real time")]
            let began = Instant::now();
            client.say(&login_of(user));
            assert_eq!(client.error(), "28000");
            began.elapsed()
        }
    });
    assert_alike(&knocks.each_ref().map(|knock| knock as _));
}

#[test]
fn wrong_keys_and_unknown_users_look_the_same() {
    let door = Door::with(
        "hostssl all all 127.0.0.1 255.255.255.255 key\n",
        &[account("alice", None), account("carol", None)],
    );
    door.disable("carol");
    let mut seen = Vec::new();
    for (user, key) in [("alice", 3), ("nobod", 3), ("carol", b'c' + 100)] {
        let conninfo = door.conninfo(user, &door.key_files(user, key));
        let error = fails(&door.psql(&conninfo, None, "select 1"));
        seen.push(error.replace(user, "USER"));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
}
