//! Every method of the rules, accepted and refused, with the psql that is installed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use palisade_ledger::{CertificateKind, Hash};

use crate::support::{Account, DEFAULT_RULES, Door, fails, millis, now, ok};

const ALICE: Account<'_> = Account {
    name: "alice",
    password: Some("pencil"),
    key: Some(2),
    restricted: false,
};
const BOB: Account<'_> = Account {
    name: "bob",
    password: None,
    key: Some(3),
    restricted: false,
};
const WHO: &str = "select session_user, current_user";

#[test]
fn a_password_over_tls_logs_in_as_the_user() {
    let door = Door::with("hostssl all all all scram-sha-256\n", &[ALICE]);
    let bound = door.conninfo("alice", "channel_binding=require");
    assert_eq!(ok(&door.psql(&bound, Some("pencil"), WHO)), "alice|alice");
    let unbound = door.conninfo("alice", "channel_binding=disable");
    assert_eq!(ok(&door.psql(&unbound, Some("pencil"), WHO)), "alice|alice");
    let error = fails(&door.psql(&bound, Some("wrong"), WHO));
    assert!(
        error.contains("password authentication failed for user \"alice\""),
        "{error}"
    );
    assert_eq!(door.figure("logins_total", Some("scram-sha-256")), 2);
    assert_eq!(door.figure("refusals_total", Some("password")), 1);
}

#[test]
fn the_users_own_key_logs_in_without_a_certificate_authority() {
    let door = Door::with("hostssl all all all key\n", &[ALICE, BOB]);
    let right = door.conninfo("alice", &door.key_files("alice", 2));
    assert_eq!(ok(&door.psql(&right, None, WHO)), "alice|alice");
    for (user, files) in [
        // Another user's key, a key that nobody registered, and none at all.
        ("alice", door.key_files("alice", 3)),
        ("alice", door.key_files("alice", 4)),
        ("alice", String::new()),
        // A certificate of the CA is no registered key; nor is the right password.
        ("alice", door.certificate_files("alice", 8)),
        ("nobody", door.key_files("nobody", 2)),
    ] {
        let error = fails(&door.psql(&door.conninfo(user, &files), Some("pencil"), WHO));
        assert!(
            error.contains(&format!(
                "certificate authentication failed for user \"{user}\""
            )),
            "{error}"
        );
    }
    // The name in a self-signed certificate means nothing; the key does.
    let named_bob = door.conninfo("alice", &door.key_files("bob", 2));
    assert_eq!(ok(&door.psql(&named_bob, None, WHO)), "alice|alice");
}

#[test]
fn a_certificate_of_the_cluster_logs_in_its_user_only() {
    let door = Door::with("hostssl all all all cert\n", &[ALICE, BOB]);
    let files = door.certificate_files("alice", 8);
    let right = door.conninfo("alice", &files);
    assert_eq!(ok(&door.psql(&right, None, WHO)), "alice|alice");
    let error = fails(&door.psql(&door.conninfo("bob", &files), None, WHO));
    assert!(
        error.contains("certificate authentication failed"),
        "{error}"
    );
    // Self-signed over the user's registered key: not of the CA.
    let key = door.conninfo("alice", &door.key_files("alice", 2));
    fails(&door.psql(&key, Some("pencil"), WHO));
    // A server's certificate of the same CA is not for clients.
    let server = door
        .ca
        .server(&crate::support::server_request("alice", 9))
        .unwrap();
    door.record("alice", 9, |_| {});
    let server = door.conninfo("alice", &door.write_leaf("server", &server));
    fails(&door.psql(&server, None, WHO));
    // Expired.
    let mut old = crate::support::request("alice", 10);
    old.now -= time::Duration::days(60);
    let old = door.ca.user(&old).unwrap();
    door.record("alice", 10, |_| {});
    let old = door.conninfo("alice", &door.write_leaf("old", &old));
    fails(&door.psql(&old, None, WHO));
    // Another cluster's CA, with the same name and serial number.
    let other = crate::support::secret_key(77);
    let (other, _) =
        palisade_link::x509::IssuingCa::create(&other, &[5], crate::support::now()).unwrap();
    let forged = other.user(&crate::support::request("alice", 8)).unwrap();
    let forged = door.conninfo("alice", &door.write_leaf("forged", &forged));
    fails(&door.psql(&forged, None, WHO));
    // Revoked.
    door.change(palisade_ledger::Change::CertificateRevoke {
        serial: vec![8],
        reason: "lost".to_owned(),
    });
    fails(&door.psql(&right, None, WHO));
}

/// A tool's certificate that is older than the user whose name it has, one that the CA's key signed past
/// the ledger, one that was issued to somebody else: none of them is the user.
#[test]
fn a_certificate_logs_in_only_as_what_the_inventory_says() {
    let door = Door::with("hostssl all all all cert\n", &[ALICE]);
    let other_ca = Hash::of(&door.add_issuing_ca());
    let attempt = |serial| {
        let files = door.unrecorded_files("bob", serial);
        door.psql(&door.conninfo("bob", &files), None, WHO)
    };
    // Before there is a bob.
    door.record("bob", 8, |issued| issued.kind = CertificateKind::Tool);
    door.record("bob", 9, |_| {});
    door.add(&[BOB]);
    for serial in [8, 9] {
        fails(&attempt(serial));
    }
    // In the name of a user that is there; 10 is nowhere.
    let kinds = [
        CertificateKind::Tool,
        CertificateKind::Service,
        CertificateKind::Server,
        CertificateKind::Store,
        CertificateKind::IssuingCa,
    ];
    for (serial, kind) in (11..).zip(kinds) {
        door.record("bob", serial, |issued| issued.kind = kind);
    }
    door.record("alice", 2, |_| {});
    door.record("bob, alice", 3, |_| {});
    door.record("bob", 4, |issued| issued.issuer = other_ca);
    door.record("bob", 1, |issued| {
        issued.until = millis(now() - time::Duration::seconds(1));
    });
    for serial in [10, 11, 12, 13, 14, 15, 2, 3, 4, 1] {
        let error = fails(&attempt(serial));
        assert!(
            error.contains("certificate authentication failed for user \"bob\""),
            "{serial}: {error}"
        );
    }
    door.record("bob", 7, |_| {});
    assert_eq!(ok(&attempt(7)), "bob|bob");
}

/// "the key or certificate that the client presented in TLS, else SCRAM; never less"
#[test]
fn auto_takes_the_best_that_was_shown() {
    let door = Door::with(DEFAULT_RULES, &[ALICE, BOB]);
    let logins = |proof| door.figure("logins_total", Some(proof));
    ok(&door.psql(
        &door.conninfo("alice", &door.key_files("alice", 2)),
        None,
        WHO,
    ));
    assert_eq!(logins("key"), 1);
    ok(&door.psql(
        &door.conninfo("alice", &door.certificate_files("alice", 8)),
        None,
        WHO,
    ));
    assert_eq!(logins("cert"), 1);
    ok(&door.psql(&door.conninfo("alice", ""), Some("pencil"), WHO));
    assert_eq!(logins("scram-sha-256"), 1);
    // "A wrong key under auto falls back to SCRAM, never to less."
    let wrong_key = door.conninfo("alice", &door.key_files("alice", 4));
    ok(&door.psql(&wrong_key, Some("pencil"), WHO));
    assert_eq!(logins("scram-sha-256"), 2);
    fails(&door.psql(&wrong_key, None, WHO));
    fails(&door.psql(&wrong_key, Some("wrong"), WHO));
    // Another user's certificate is no proof for this one.
    let others = door.conninfo("bob", &door.certificate_files("alice", 8));
    fails(&door.psql(&others, Some("pencil"), WHO));
    // No password is set: no password fits.
    fails(&door.psql(&door.conninfo("bob", ""), Some(""), WHO));
}

#[test]
fn trust_and_reject_do_what_they_say() {
    let door = Door::with(
        "hostssl postgres alice 127.0.0.0/8 trust\nhostssl all bob all reject\n",
        &[ALICE, BOB],
    );
    assert_eq!(
        ok(&door.psql(&door.conninfo("alice", ""), None, WHO)),
        "alice|alice"
    );
    let rejected = fails(&door.psql(&door.conninfo("bob", ""), None, WHO));
    let no_rule = fails(&door.psql(&door.conninfo("carol", ""), None, WHO));
    assert!(
        rejected.contains("28000") || rejected.contains("no rule of this cluster"),
        "{rejected}"
    );
    assert_eq!(rejected, no_rule, "a client can't tell one from the other");
    door.disable("alice");
    fails(&door.psql(&door.conninfo("alice", ""), None, WHO));
}

#[test]
fn clientcert_asks_for_a_certificate_beside_the_password() {
    let door = Door::with(
        "hostssl all all all scram-sha-256 clientcert=verify-full\n",
        &[ALICE],
    );
    let with = |files: &str| door.conninfo("alice", files);
    let right = with(&door.certificate_files("alice", 8));
    ok(&door.psql(&right, Some("pencil"), WHO));
    fails(&door.psql(&right, Some("wrong"), WHO));
    fails(&door.psql(&with(""), Some("pencil"), WHO));
    fails(&door.psql(&with(&door.key_files("alice", 2)), Some("pencil"), WHO));
    fails(&door.psql(
        &with(&door.certificate_files("bob", 9)),
        Some("pencil"),
        WHO,
    ));
}

#[test]
fn plaintext_is_refused_unless_the_daemon_allows_it() {
    let plain = |door: &Door, user: &str| {
        format!(
            "host=127.0.0.1 port={} user={user} dbname=postgres sslmode=disable",
            door.address.port()
        )
    };
    let rules = "host all all all auto\n";
    let door = Door::with(rules, &[ALICE]);
    let error = fails(&door.psql(&plain(&door, "alice"), Some("pencil"), WHO));
    assert!(
        error.contains("FATAL:  28000: this cluster takes encrypted connections only")
            || error.contains("this cluster takes encrypted connections only"),
        "{error}"
    );
    let unknown = fails(&door.psql(&plain(&door, "nobody"), Some("pencil"), WHO));
    assert_eq!(error, unknown);
    drop(door);
    let door = Door::open_with(rules, |config| config.encrypt_traffic = false);
    door.add(&[ALICE, BOB]);
    ok(&door.psql(&plain(&door, "alice"), Some("pencil"), WHO));
    fails(&door.psql(&plain(&door, "alice"), Some("wrong"), WHO));
    fails(&door.psql(&plain(&door, "bob"), Some(""), WHO));
    // TLS is there for who wants it.
    ok(&door.psql(&door.conninfo("alice", ""), Some("pencil"), WHO));
    // Only rules that allow plaintext do.
    door.change(palisade_ledger::Change::HbaSet {
        text: DEFAULT_RULES.to_owned(),
    });
    fails(&door.psql(&plain(&door, "alice"), Some("pencil"), WHO));
}

#[test]
fn a_renewed_server_certificate_is_shown_without_a_restart() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let bound = door.conninfo("alice", "channel_binding=require");
    ok(&door.psql(&bound, Some("pencil"), WHO));
    door.renew(9);
    ok(&door.psql(&bound, Some("pencil"), WHO));
}

#[test]
fn show_hba_file_passes_through_for_those_who_may_read_settings() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let alice = door.conninfo("alice", "");
    let error = fails(&door.psql(&alice, Some("pencil"), "SHOW hba_file"));
    assert!(error.contains("42501"), "{error}");
    door.postgres.psql("grant pg_monitor to alice").unwrap();
    let path = ok(&door.psql(&alice, Some("pencil"), "SHOW hba_file"));
    assert!(path.ends_with("pg_hba.conf"), "{path}");
}

/// Rules for the machine's own addresses mean those that it has. PostgreSQL's answers are the same.
#[test]
fn samehost_and_samenet_ask_the_machine() {
    let door = Door::with(
        "hostssl all alice samehost reject\nhostssl all bob samenet reject\nhostssl all all all scram-sha-256\n",
        &[
            ALICE,
            Account {
                password: Some("pencil"),
                ..BOB
            },
        ],
    );
    let logs_in = |address: &str, user: &str| door.connect_from(address, user, "pencil").is_ok();
    // 127.0.0.2 is a neighbour here, and no address of this machine's.
    let expected = [
        ("127.0.0.1", "alice", false),
        ("127.0.0.2", "alice", true),
        ("127.0.0.1", "bob", false),
        ("127.0.0.2", "bob", false),
    ];
    for (address, user, passes) in expected {
        assert_eq!(logs_in(address, user), passes, "{user} from {address}");
    }
}

/// A rule that rejects is not passed over because nobody can tell whether it matches.
#[test]
fn without_the_machines_addresses_nobody_gets_in_by_rules_that_need_them() {
    let readable = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&readable);
    let door = Door::open_with(DEFAULT_RULES, |config| {
        let own = Arc::clone(&config.interfaces);
        config.interfaces = Arc::new(move || {
            if switch.load(Ordering::Relaxed) {
                own()
            } else {
                Err(std::io::ErrorKind::PermissionDenied.into())
            }
        });
    });
    door.add(&[ALICE]);
    let logs_in = || door.connect_from("127.0.0.2", "alice", "pencil").is_ok();
    assert!(logs_in(), "nothing asks for them");
    door.change(palisade_ledger::Change::HbaSet {
        text: "hostssl all all samehost reject\nhostssl all all all auto\n".to_owned(),
    });
    assert!(!logs_in());
    readable.store(true, Ordering::Relaxed);
    assert!(logs_in());
}

#[test]
fn a_missing_database_is_told_to_who_is_logged_in() {
    let door = Door::with(DEFAULT_RULES, &[ALICE]);
    let elsewhere = door.conninfo("alice", "dbname=nowhere");
    let error = fails(&door.psql(&elsewhere, Some("pencil"), WHO));
    assert!(
        error.contains("database \"nowhere\" does not exist"),
        "{error}"
    );
    assert!(error.contains("this cluster manages"), "{error}");
    let error = fails(&door.psql(&elsewhere, Some("wrong"), WHO));
    assert!(error.contains("password authentication failed"), "{error}");
}

#[test]
fn a_rule_for_a_group_is_for_those_with_its_privilege() {
    let door = Door::with(
        "hostssl all +palisade_set_transaction all scram-sha-256\nhostssl all +bob all trust\n",
        &[ALICE, BOB],
    );
    let restricted = Account {
        name: "carol",
        restricted: true,
        key: Some(5),
        ..ALICE
    };
    door.add(&[restricted]);
    ok(&door.psql(&door.conninfo("alice", ""), Some("pencil"), WHO));
    let error = fails(&door.psql(&door.conninfo("carol", ""), Some("pencil"), WHO));
    assert!(error.contains("no rule of this cluster"), "{error}");
    // Everybody is a member of the role of his own name; bob is of the group above, too.
    fails(&door.psql(&door.conninfo("bob", ""), None, WHO));
    door.disable("bob");
    fails(&door.psql(&door.conninfo("bob", ""), None, WHO));
}
