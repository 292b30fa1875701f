use proptest::prelude::*;

use super::*;

const READY: &[u8] = b"Z\0\0\0\x05I";
const SYNC: &[u8] = b"S\0\0\0\x04";
const FLUSH: &[u8] = b"H\0\0\0\x04";
const EXECUTE: &[u8] = b"E\0\0\0\x09\0\0\0\0\0";
const PARSE: &[u8] = b"P\0\0\0\x09\0a\0\0\0";
const ERROR: &[u8] = b"E\0\0\0\x05\0";

fn query(sql: &str) -> Vec<u8> {
    let mut out = Outgoing::default();
    out.query(sql);
    out.0
}

fn complete(tag: &str) -> Vec<u8> {
    let length = u32::try_from(tag.len() + 5).unwrap().to_be_bytes();
    [b"C", length.as_slice(), tag.as_bytes(), b"\0"].concat()
}

/// Feeds the client's bytes; gives what goes to PostgreSQL, and what was left.
fn client(machine: &mut Machine, bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let taken = machine.client(bytes).unwrap();
    (mem::take(&mut machine.to_server), bytes[taken..].to_vec())
}

/// Feeds PostgreSQL's bytes; gives what goes to the client, and to PostgreSQL.
fn server(machine: &mut Machine, bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    assert_eq!(machine.server(bytes), Ok(bytes.len()));
    (
        mem::take(&mut machine.to_client),
        mem::take(&mut machine.to_server),
    )
}

/// The types of the messages.
fn kinds(mut bytes: &[u8]) -> String {
    let mut kinds = String::new();
    while let Some(found) = message(bytes, 10_000).unwrap() {
        kinds.push(char::from(found.kind));
        bytes = &bytes[found.length..];
    }
    assert!(bytes.is_empty());
    kinds
}

/// "each simple Query is turned into Parse/Bind/Describe/Execute/Sync (so PostgreSQL itself refuses
/// several statements in one)"
#[test]
fn a_query_is_one_statement() {
    let mut machine = Machine::new();
    let two = [query("select 1"), query("select 2")].concat();
    let (sent, left) = client(&mut machine, &two);
    assert_eq!(kinds(&sent), "PBDEH");
    assert!(sent.starts_with(b"P\0\0\0\x10\0select 1\0\0\0B"));
    assert_eq!(left, query("select 2"), "it waits for its turn");
    let answer = [
        b"1\0\0\0\x042\0\0\0\x04T\0\0\0\x06\0\0D\0\0\0\x06\0\0".as_slice(),
        &complete("SELECT 1"),
    ]
    .concat();
    let (told, sent) = server(&mut machine, &answer);
    assert_eq!((kinds(&told).as_str(), sent.as_slice()), ("TDC", SYNC));
    assert!(!machine.is_idle());
    assert_eq!(server(&mut machine, READY), (READY.to_vec(), Vec::new()));
    assert!(machine.is_idle());
}

/// "when `CommandComplete` says BEGIN or START TRANSACTION the gateway rolls back and answers 42501"
#[test]
fn a_block_is_rolled_back_before_anything_is_done_in_it() {
    for tag in ["BEGIN", "START TRANSACTION"] {
        let mut machine = Machine::new();
        client(&mut machine, &query(tag));
        let answer = [
            b"1\0\0\0\x042\0\0\0\x04n\0\0\0\x04".as_slice(),
            &complete(tag),
        ]
        .concat();
        let (told, sent) = server(&mut machine, &answer);
        assert!(told.is_empty());
        assert_eq!(sent, [SYNC, &query("ROLLBACK")].concat());
        let (sent, left) = client(&mut machine, &query("select 1"));
        assert!(sent.is_empty() && !left.is_empty());
        let rolled_back = [b"Z\0\0\0\x05T".as_slice(), &complete("ROLLBACK"), READY].concat();
        let (told, _) = server(&mut machine, &rolled_back);
        assert_eq!(kinds(&told), "EZ");
        assert!(told.windows(7).any(|part| part == b"C42501\0"));
        assert!(machine.is_idle());
    }
}

/// BEGIN, INSERT, COMMIT and Sync in one piece: nothing behind BEGIN reaches PostgreSQL.
#[test]
fn a_pipeline_can_not_outrun_the_check() {
    let mut machine = Machine::new();
    let pipeline = [PARSE, EXECUTE, PARSE, EXECUTE, PARSE, EXECUTE, SYNC].concat();
    let (sent, left) = client(&mut machine, &pipeline);
    assert_eq!(sent, [PARSE, EXECUTE, FLUSH].concat());
    let (told, sent) = server(
        &mut machine,
        &[b"1\0\0\0\x04", &complete("BEGIN")[..]].concat(),
    );
    assert_eq!((kinds(&told).as_str(), kinds(&sent).as_str()), ("1", "SQ"));
    let rolled_back = [b"Z\0\0\0\x05T".as_slice(), &complete("ROLLBACK"), READY].concat();
    let (told, _) = server(&mut machine, &rolled_back);
    assert_eq!(kinds(&told), "E", "as after any error in a batch");
    let (sent, left) = client(&mut machine, &left);
    assert_eq!(sent, SYNC, "all up to the client's Sync is passed over");
    assert!(left.is_empty());
    let (told, _) = server(&mut machine, READY);
    assert_eq!(told, READY);
}

#[test]
fn an_error_in_a_batch_waits_for_the_clients_sync() {
    let mut machine = Machine::new();
    client(&mut machine, PARSE);
    let (told, sent) = server(&mut machine, ERROR);
    assert_eq!((told.as_slice(), sent.len()), (ERROR, 0));
    let (sent, _) = client(&mut machine, &[EXECUTE, &query("x"), SYNC].concat());
    assert_eq!(sent, SYNC);
    server(&mut machine, READY);
    assert!(machine.is_idle());
}

/// libpq sends its Sync before it knows that the statement copies, and again behind the data.
#[test]
fn copy_in_goes_both_ways_of_asking() {
    let mut machine = Machine::new();
    client(&mut machine, &query("copy t from stdin"));
    let (told, _) = server(
        &mut machine,
        b"1\0\0\0\x042\0\0\0\x04n\0\0\0\x04G\0\0\0\x07\0\0\0",
    );
    assert_eq!(kinds(&told), "G");
    let data = b"d\0\0\0\x051c\0\0\0\x04";
    let passed = [data.as_slice(), FLUSH].concat();
    assert_eq!(client(&mut machine, data).0, passed);
    let (told, sent) = server(&mut machine, &complete("COPY 1"));
    assert_eq!((kinds(&told).as_str(), sent.as_slice()), ("C", SYNC));
    server(&mut machine, READY);

    client(&mut machine, &[EXECUTE, SYNC].concat());
    server(&mut machine, b"G\0\0\0\x07\0\0\0");
    let (sent, _) = client(&mut machine, &[SYNC, data, SYNC].concat());
    assert_eq!(sent, passed);
    server(&mut machine, &complete("COPY 1"));
    assert_eq!(client(&mut machine, SYNC).0, SYNC);
    server(&mut machine, READY);
    assert!(machine.is_idle());
}

/// PostgreSQL passes a Query over when the batch before it has failed: that must be known first.
#[test]
fn a_query_behind_a_batch_waits_for_its_answers() {
    let mut machine = Machine::new();
    let both = [PARSE, &query("select 1")].concat();
    let (sent, left) = client(&mut machine, &both);
    assert_eq!((sent, &left), ([PARSE, FLUSH].concat(), &query("select 1")));
    assert_eq!(
        client(&mut machine, &left),
        (Vec::new(), left.clone()),
        "asked once"
    );
    assert_eq!(server(&mut machine, b"1\0\0\0\x04").0, b"1\0\0\0\x04");
    let (sent, left) = client(&mut machine, &left);
    assert_eq!((kinds(&sent).as_str(), left.len()), ("PBDEH", 0));

    let mut machine = Machine::new();
    let (_, left) = client(&mut machine, &both);
    server(&mut machine, ERROR);
    assert_eq!(
        client(&mut machine, &left),
        (Vec::new(), Vec::new()),
        "passed over"
    );
}

#[test]
fn a_block_that_was_not_seen_to_begin_ends_the_session() {
    let mut machine = Machine::new();
    client(&mut machine, SYNC);
    assert_eq!(machine.server(b"Z\0\0\0\x05T"), Err(Violation::InBlock));
    assert_eq!(
        Machine::new().client(b"Q\0\0\0\x03"),
        Err(Violation::Length)
    );
    assert_eq!(Machine::new().server(b"D\0\0\0\0"), Err(Violation::Length));
}

#[test]
fn terminate_takes_nothing_with_it() {
    let mut machine = Machine::new();
    let (sent, left) = client(
        &mut machine,
        &[b"X\0\0\0\x04".as_slice(), &query("x")].concat(),
    );
    assert!(machine.terminated && machine.is_idle());
    assert!(sent.is_empty());
    assert_eq!(left, query("x"));
}

proptest! {
    /// However the client's bytes are cut, what goes on is the same; and an Execute is always the
    /// last statement that goes on before its answer.
    #[test]
    fn pieces_do_not_matter(
        which in proptest::collection::vec(0_usize..6, 1..12),
        cut in 1_usize..9,
    ) {
        let messages = [query("select 1"), PARSE.to_vec(), EXECUTE.to_vec(), SYNC.to_vec(), FLUSH.to_vec(), b"d\0\0\0\x05x".to_vec()];
        let bytes: Vec<u8> = which.iter().flat_map(|index| messages[*index].clone()).collect();
        let mut whole = Machine::new();
        let taken = whole.client(&bytes).unwrap();
        let mut pieces = Machine::new();
        let mut waiting: Vec<u8> = Vec::new();
        for piece in bytes.chunks(cut) {
            waiting.extend_from_slice(piece);
            let taken = pieces.client(&waiting).unwrap();
            waiting.drain(..taken);
        }
        prop_assert_eq!(&whole.to_server, &pieces.to_server);
        prop_assert_eq!(&bytes[taken..], waiting.as_slice());
        let sent = kinds(&whole.to_server);
        prop_assert!(sent.matches('E').count() <= 1, "{}", sent);
        if sent.contains('E') {
            prop_assert!(sent.ends_with("EH"), "{}", sent);
        }
    }

    #[test]
    fn any_bytes_are_taken_without_harm(up in proptest::collection::vec(any::<u8>(), 0..60), down in proptest::collection::vec(any::<u8>(), 0..60)) {
        let mut machine = Machine::new();
        machine.client(&up).ok();
        machine.server(&down).ok();
        machine.client(&up).ok();
    }
}
