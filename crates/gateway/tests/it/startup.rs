//! What strangers may try before they are logged in.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use crate::raw::{self, GSSENC_REQUEST, SSL_REQUEST, login_of, startup};
use crate::support::{Account, DEFAULT_RULES, Door, PATIENCE, fails, ok};

const ALICE: Account<'_> = Account {
    name: "alice",
    password: Some("pencil"),
    key: Some(2),
    restricted: false,
};

/// "bytes after `SSLRequest` before the handshake are refused"
#[test]
fn plaintext_behind_a_request_for_encryption_is_refused() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    for request in [SSL_REQUEST, GSSENC_REQUEST] {
        let mut client = raw::tcp(door.address);
        client.say(&[request, &login_of("alice")].concat());
        assert_eq!(client.error(), "08P01", "and no S or N before it");
        assert!(client.is_closed());
    }
    assert_eq!(
        door.figure("refusals_total", Some("plaintext_injection")),
        2
    );
    // Later than that it is no TLS.
    let mut client = raw::tcp(door.address);
    client.say(SSL_REQUEST);
    assert_eq!(client.hear(1), b"S");
    client.say(&login_of("alice"));
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut client.stream, &mut answer).ok();
    assert_ne!(answer.first(), Some(&b'R'), "{}", answer.escape_ascii());
    assert_eq!(door.figure("logins_total", Some("scram-sha-256")), 0);
}

#[test]
fn encryption_is_asked_for_once_of_each_kind() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let mut client = raw::tcp(door.address);
    client.say(GSSENC_REQUEST);
    assert_eq!(client.hear(1), b"N");
    client.say(GSSENC_REQUEST);
    assert_eq!(client.error(), "08P01");
    let cluster = door.cluster_key();
    // Behind a refused GSSAPI, TLS is there.
    let mut client = raw::tcp(door.address);
    client.say(GSSENC_REQUEST);
    assert_eq!(client.hear(1), b"N");
    client.say(SSL_REQUEST);
    assert_eq!(client.hear(1), b"S");
    // In TLS, nothing more of the kind.
    for request in [SSL_REQUEST, GSSENC_REQUEST] {
        let mut client = raw::tls(door.address, &cluster, false, false);
        client.say(request);
        assert_eq!(client.error(), "08P01");
    }
}

#[test]
fn tls_may_begin_at_once_if_it_says_postgresql() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let cluster = door.cluster_key();
    let mut client = raw::tls(door.address, &cluster, true, true);
    let heard = client.scram(&login_of("alice"), "pencil");
    assert_eq!(heard.last().unwrap().0, 'Z');
    let mut client = raw::tls(door.address, &cluster, true, false);
    client.say(&login_of("alice"));
    assert_eq!(client.error(), "08P01");
}

#[test]
fn tls_1_2_is_refused() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let old = door.conninfo("alice", "ssl_max_protocol_version=TLSv1.2");
    let error = fails(&door.psql(&old, Some("pencil"), "select 1"));
    assert!(error.contains("protocol version"), "{error}");
}

#[test]
fn replication_is_refused() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    for kind in ["database", "true"] {
        let asked = door.conninfo("alice", &format!("replication={kind}"));
        let error = fails(&door.psql(&asked, Some("pencil"), "IDENTIFY_SYSTEM"));
        assert!(
            error.contains("replication connections are not served here"),
            "{error}"
        );
    }
    let asked = door.conninfo("alice", "replication=false");
    ok(&door.psql(&asked, Some("pencil"), "select 1"));
}

#[test]
fn a_malformed_startup_packet_is_refused() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let cluster = door.cluster_key();
    let long = "a".repeat(64);
    let long = format!("user\0{long}\0\0");
    for (parameters, code) in [
        (b"user\0alice\0user\0postgres\0\0".as_slice(), "08P01"),
        (b"user\0alice\0database\0a\0database\0postgres\0\0", "08P01"),
        (b"user\0al\xffice\0\0", "08P01"),
        (b"user\0alice\0\0user\0postgres\0\0", "08P01"),
        (b"user\0alice\0", "08P01"),
        (b"database\0postgres\0\0", "28000"),
        (long.as_bytes(), "28000"),
    ] {
        let mut client = raw::tls(door.address, &cluster, false, false);
        client.say(&startup(3 << 16, parameters));
        assert_eq!(client.error(), code, "{}", parameters.escape_ascii());
        assert!(client.is_closed());
    }
    // What follows the packet's length is no part of it.
    let mut client = raw::tls(door.address, &cluster, false, false);
    let mut packet = login_of("alice");
    packet.extend_from_slice(b"user\0postgres\0\0");
    client.say(&packet);
    assert_eq!(
        client.error(),
        "08P01",
        "the rest is no authentication response"
    );
    for version in [2 << 16, 4 << 16, 0, u32::MAX] {
        let mut client = raw::tls(door.address, &cluster, false, false);
        client.say(&startup(version, b"user\0alice\0\0"));
        assert_eq!(client.error(), "0A000");
    }
}

#[test]
fn a_length_out_of_bounds_is_not_waited_for() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    for length in [0_u32, 4, 7, 10_001, 0x7fff_ffff, u32::MAX] {
        let mut client = raw::tcp(door.address);
        client.say(&length.to_be_bytes());
        client.say(&[0, 3, 0, 0]);
        // Lengths of TLS records and of HTTP are no different. The client does not wait as long as the server
        // would for the rest.
        assert_eq!(client.error(), "08P01", "{length}");
    }
    let mut client = raw::tcp(door.address);
    client.say(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(client.error(), "08P01");
}

/// "protocol 3.2 / grease answered by `NegotiateProtocolVersion`"
#[test]
fn newer_protocols_are_negotiated() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let cluster = door.cluster_key();
    let parameters = b"user\0alice\0database\0postgres\0_pq_.test_protocol_negotiation\0\0\0";
    let mut client = raw::tls(door.address, &cluster, false, true);
    client.say(&startup((3 << 16) + 9999, parameters));
    let (kind, body) = client.message();
    assert_eq!(kind, 'v');
    assert_eq!(
        body,
        b"\0\x03\0\x02\0\0\0\x01_pq_.test_protocol_negotiation\0"
    );
    let of = |minor: u32| {
        let mut client = raw::tls(door.address, &cluster, false, true);
        let startup = startup((3 << 16) + minor, b"user\0alice\0database\0postgres\0\0");
        let heard = client.scram(&startup, "pencil");
        assert!(heard.iter().all(|(kind, _)| *kind != 'v'));
        raw::key_data(&heard).1.len()
    };
    assert_eq!(of(0), 4);
    assert_eq!(of(2), 32, "longer cancel keys, as protocol 3.2 has them");
}

/// "slow-loris startup"
#[test]
fn a_slow_client_is_cut_off_wherever_it_stands() {
    let door = Door::open_with(DEFAULT_RULES, |config| {
        // Long enough for the beginnings below on a busy machine.
        config.limits.login_within = Duration::from_secs(8);
    });
    door.add(&[ALICE]);
    let cluster = door.cluster_key();
    // What drips would take an hour: no byte buys more time.
    let cut = |mut stream: TcpStream, drip: &[u8]| {
        let mut bytes = drip.iter().chain(std::iter::repeat_n(&0, 20_000));
        if !drip.is_empty() {
            palisade_testkit::poll("the end", PATIENCE, || {
                std::thread::park_timeout(Duration::from_millis(150));
                stream.write_all(&[*bytes.next().unwrap()]).err()
            })
            .unwrap();
        }
        let mut client = raw::Raw { stream };
        while !client.is_closed() {}
    };
    let mut slow_startup = startup(3 << 16, b"user\0alice\0application_name\0");
    slow_startup[..4].copy_from_slice(&9999_u32.to_be_bytes());
    let tcp = || raw::tcp(door.address);
    let tls = || raw::tls(door.address, &cluster, false, false);
    std::thread::scope(|scope| {
        scope.spawn(|| cut(tcp().stream, b""));
        scope.spawn(|| cut(tcp().stream, &slow_startup));
        // In the TLS handshake.
        scope.spawn(|| {
            let mut client = tcp();
            client.say(SSL_REQUEST);
            assert_eq!(client.hear(1), b"S");
            let hello = [0x16, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb, 3, 3];
            cut(client.stream, &hello);
        });
        // Before the startup packet, and before the password.
        scope.spawn(|| cut(tls().stream.sock, b""));
        scope.spawn(|| {
            let mut client = tls();
            client.say(&login_of("alice"));
            client.until('R');
            cut(client.stream.sock, b"");
        });
    });
    let counted = || (door.figure("refusals_total", Some("deadline")) == 5).then_some(());
    palisade_testkit::poll("the count", PATIENCE, counted).unwrap();
}

/// "a flood of half-open or handshaking clients from one address leaves others able to log in"
#[test]
fn a_flood_from_one_address_leaves_others_able_to_log_in() {
    let door = Door::open_with(DEFAULT_RULES, |config| {
        config.limits.handshakes_per_address = 20;
    });
    door.add(&[ALICE]);
    // Half open, in the middle of TLS, and behind it: all of them before their login.
    let mut crowd = Vec::new();
    for number in 0..60 {
        let Ok(mut stream) = TcpStream::connect(door.address) else {
            continue;
        };
        match number % 3 {
            0 => {}
            1 => drop(stream.write_all(SSL_REQUEST)),
            _ => drop(stream.write_all(&[0x16, 3, 1, 1, 0])),
        }
        crowd.push(stream);
    }
    let turned_away = || door.figure("refusals_total", Some("crowded"));
    palisade_testkit::poll("the crowd", PATIENCE, || {
        (turned_away() >= 40).then_some(())
    })
    .unwrap();
    let here = fails(&door.psql(&door.conninfo("alice", ""), Some("pencil"), "select 1"));
    assert!(
        here.contains("error response during SSL exchange") || here.contains("server closed"),
        "{here}"
    );
    let elsewhere = door.connect_from("127.0.0.2", "alice", "pencil").unwrap();
    assert_eq!(elsewhere, "alice");
    drop(crowd);
    palisade_testkit::poll("room", PATIENCE, || {
        let psql = door.psql(&door.conninfo("alice", ""), Some("pencil"), "select 1");
        psql.status.success().then_some(())
    })
    .unwrap();
}

/// A crowd that runs handshake after handshake, as fast as it can.
#[test]
fn a_flood_of_handshakes_leaves_others_able_to_log_in() {
    let door = Door::open_with(DEFAULT_RULES, |config| {
        config.limits.handshakes_per_address = 20;
    });
    door.add(&[ALICE]);
    let cluster = door.cluster_key();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let mut client = raw::tls(door.address, &cluster, false, false);
                    client.stream.write_all(&login_of("alice")).ok();
                }
            });
        }
        // Taken before the crowd is stopped, so that a failure does not leave it running.
        let who: Vec<_> = (0..5)
            .map(|_| door.connect_from("127.0.0.2", "alice", "pencil").ok())
            .collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(
            who.iter().all(|who| who.as_deref() == Some("alice")),
            "{who:?}"
        );
    });
}
