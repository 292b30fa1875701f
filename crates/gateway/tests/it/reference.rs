//! "Behave like the reference, provably": the same bytes to PostgreSQL itself, through the gateway, and
//! through the gateway in a restricted session, are answered the same.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use proptest::prelude::*;

use crate::raw::{self, Message, Raw, login_of, message, query};
use crate::support::{Account, DEFAULT_RULES, Door};

const ALICE: Account<'_> = Account {
    name: "alice",
    password: Some("pencil"),
    key: Some(2),
    restricted: false,
};
const BOB: Account<'_> = Account {
    name: "bob",
    restricted: true,
    key: Some(5),
    ..ALICE
};

fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{sql}\0\0\0").as_bytes())
}

fn bind(portal: &str, name: &str) -> Vec<u8> {
    message(b'B', format!("{portal}\0{name}\0\0\0\0\0\0\0").as_bytes())
}

fn describe(kind: char, name: &str) -> Vec<u8> {
    message(b'D', format!("{kind}{name}\0").as_bytes())
}

fn execute(portal: &str, rows: u8) -> Vec<u8> {
    let mut body = format!("{portal}\0\0\0\0").into_bytes();
    body.push(rows);
    message(b'E', &body)
}

fn close(kind: char, name: &str) -> Vec<u8> {
    message(b'C', format!("{kind}{name}\0").as_bytes())
}

fn sync() -> Vec<u8> {
    message(b'S', b"")
}

fn flush() -> Vec<u8> {
    message(b'H', b"")
}

/// What is compared: of errors and notices without the lines of PostgreSQL's source.
fn comparable((kind, body): Message) -> (char, Vec<u8>) {
    if !matches!(kind, 'E' | 'N') {
        return (kind, body);
    }
    let kept: Vec<&[u8]> = body
        .split(|byte| *byte == 0)
        .filter(|field| matches!(field.first(), Some(b'S' | b'C' | b'M' | b'D' | b'H' | b'P')))
        .collect();
    (kind, kept.join(&b'\n'))
}

/// Says all at once, and a last word behind it; gives the answers up to that of the last word.
fn answers<S: Read + Write>(client: &mut Raw<S>, script: &[Vec<u8>]) -> Vec<(char, Vec<u8>)> {
    const LAST: &[u8] = b"\0\x01\0\0\0\x04last";
    client.say(&script.concat());
    client.say(&[sync(), query("select 'last'")].concat());
    let mut heard = Vec::new();
    loop {
        heard.extend(client.until('Z').into_iter().map(comparable));
        if heard
            .iter()
            .any(|(kind, body)| *kind == 'D' && body == LAST)
        {
            return heard;
        }
    }
}

struct Three {
    door: Door,
}

impl Three {
    fn new() -> Self {
        Self {
            door: Door::with(DEFAULT_RULES, &[ALICE, BOB]),
        }
    }

    fn through(&self, user: &str, script: &[Vec<u8>]) -> Vec<(char, Vec<u8>)> {
        let mut client = raw::tls(self.door.address, &self.door.cluster_key(), false, true);
        client.scram(&login_of(user), "pencil");
        answers(&mut client, script)
    }

    fn straight(&self, script: &[Vec<u8>]) -> Vec<(char, Vec<u8>)> {
        let name = format!(".s.PGSQL.{}", self.door.postgres.port());
        let stream = UnixStream::connect(self.door.postgres.socket_dir().join(name)).unwrap();
        stream
            .set_read_timeout(Some(crate::support::PATIENCE))
            .unwrap();
        let mut client = Raw { stream };
        client.say(&login_of("alice"));
        client.until('Z');
        answers(&mut client, script)
    }

    #[track_caller]
    fn agree(&self, script: &[Vec<u8>]) {
        let straight = self.straight(script);
        assert_eq!(self.through("alice", script), straight, "free");
        assert_eq!(self.through("bob", script), straight, "restricted");
    }
}

#[test]
fn simple_queries_are_answered_as_by_postgresql() {
    let three = Three::new();
    for sql in [
        "select 1 as a, 'x'::text as b, null as c, now() is not null",
        "",
        " ; ",
        "select",
        "values (1), (2), (3)",
        "selec 1",
        "select 1 / 0",
        "select no_such from pg_class",
        "show server_version",
        "set work_mem = '8MB'",
        "set application_name = 'here'",
        "create temp table t (x int)",
        "explain (costs off) select 1",
        "do $$ begin raise notice 'hello'; raise warning 'there'; end $$",
        "do $$ begin raise exception 'no' using errcode = 'P0002', hint = 'h', detail = 'd'; end $$",
        "copy (values (1, 'a'), (2, null)) to stdout",
        "commit",
        "rollback",
        "savepoint s",
        "listen a",
        "notify a",
        "prepare p as select 1",
        "execute nothing",
        "declare c cursor with hold for select 1",
        "vacuum pg_class",
        "discard all",
        "select repeat('x', 100000)",
        "select generate_series(1, 3000)",
        "/* begin */ select 'begin' -- begin",
    ] {
        three.agree(&[query(sql)]);
    }
}

#[test]
fn the_extended_protocol_is_answered_as_by_postgresql() {
    let three = Three::new();
    let select = || {
        [
            parse("", "select 1"),
            bind("", ""),
            describe('P', ""),
            execute("", 0),
        ]
        .concat()
    };
    let scripts: Vec<Vec<Vec<u8>>> = vec![
        vec![select(), sync()],
        vec![select(), select(), select(), sync()],
        vec![select(), flush(), select(), sync(), select(), sync()],
        vec![
            parse("s", "select 2"),
            describe('S', "s"),
            sync(),
            bind("p", "s"),
            execute("p", 0),
            sync(),
        ],
        // An error: what follows is passed over until the Sync.
        vec![
            parse("", "selec"),
            bind("", ""),
            execute("", 0),
            sync(),
            query("select 3"),
        ],
        vec![
            select(),
            parse("", "select 1/0"),
            bind("", ""),
            execute("", 0),
            select(),
            sync(),
        ],
        vec![
            bind("", "nothing"),
            execute("", 0),
            query("select 1"),
            sync(),
        ],
        // Portals that are fetched in parts.
        vec![
            parse("", "select generate_series(1, 5)"),
            bind("p", ""),
            execute("p", 2),
            execute("p", 2),
            execute("p", 2),
            sync(),
        ],
        vec![parse("", ""), bind("", ""), execute("", 0), sync()],
        vec![
            parse("x", "select 1"),
            close('S', "x"),
            close('P', "none"),
            sync(),
        ],
        vec![sync(), sync(), flush(), sync()],
        // A statement that changes the data, then an error: nothing of the batch stays.
        vec![
            query("create temp table t (x int)"),
            parse("", "insert into t values (1)"),
            bind("", ""),
            execute("", 0),
            parse("", "select 1/0"),
            bind("", ""),
            execute("", 0),
            sync(),
            query("select count(*) from t"),
        ],
        vec![
            parse("", "copy (values (1), (2)) to stdout"),
            bind("", ""),
            execute("", 0),
            sync(),
        ],
        vec![parse("", "select 1; select 2"), sync()],
    ];
    for script in scripts {
        three.agree(&script);
    }
}

proptest! {
    // Each case logs in three times.
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the messages and their order: the same answers.
    #[test]
    fn any_conversation_is_answered_as_by_postgresql(which in proptest::collection::vec(0_usize..16, 1..24)) {
        static THREE: std::sync::OnceLock<Three> = std::sync::OnceLock::new();
        let three = THREE.get_or_init(Three::new);
        let messages = [
            query("select 1"),
            query("selec"),
            query("copy (values (1)) to stdout"),
            parse("", "select 2"),
            parse("", "selec"),
            parse("n", "select generate_series(1, 4)"),
            bind("", ""),
            bind("p", "n"),
            describe('P', ""),
            describe('S', "n"),
            execute("", 0),
            execute("p", 3),
            close('P', "p"),
            flush(),
            sync(),
            message(b'd', b"stray"),
        ];
        // A Query drops the unnamed statement in PostgreSQL; here it is one itself. So it is
        // dropped for both, which only an odd client could tell.
        let mut script = Vec::new();
        for index in which {
            script.push(messages[index].clone());
            if index < 3 {
                script.push(close('S', ""));
            }
        }
        let straight = three.straight(&script);
        prop_assert_eq!(three.through("alice", &script), straight.clone());
        // Where a Query stands in a batch that has failed, PostgreSQL passes it over.
        prop_assert_eq!(three.through("bob", &script), straight);
    }
    /// Whatever a restricted client says, and in whatever order: no block stays open, and the session
    /// goes on.
    #[test]
    fn no_conversation_leads_into_a_block(which in proptest::collection::vec(0_usize..16, 1..14)) {
        static THREE: std::sync::OnceLock<Three> = std::sync::OnceLock::new();
        let three = THREE.get_or_init(Three::new);
        let messages = [
            query("begin"),
            query("start transaction read only"),
            query("commit and chain"),
            query("begin; select 1; commit"),
            query("select 1"),
            parse("", "begin"),
            parse("b", "start transaction"),
            parse("", "commit"),
            parse("", "selec"),
            bind("", ""),
            bind("", "b"),
            execute("", 0),
            execute("", 1),
            flush(),
            sync(),
            message(b'd', b"stray"),
        ];
        let script: Vec<Vec<u8>> = which.into_iter().map(|index| messages[index].clone()).collect();
        for (kind, body) in three.through("bob", &script) {
            prop_assert!(kind != 'Z' || body == b"I");
            prop_assert!(kind != 'C' || (body != b"BEGIN\0" && body != b"START TRANSACTION\0"));
        }
    }
}
