//! The manual of the QuasarDB user adder: every example, on Palisade. Sentences in quotes are the
//! manual's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod common;

use std::path::Path;
use std::process::Command;

use common::{fails, ok, palisade};
use palisade_keys::{Credentials, PublicKey};
use palisade_ledger::Privileges;
use palisade_ledger::users_cfg::{FileUser, UsersCfg};

fn add(dir: &Path, args: &[&str]) -> Command {
    let mut command = palisade();
    command.current_dir(dir).args(["user", "add"]).args(args);
    command
}

fn users(text: &str) -> Vec<FileUser> {
    UsersCfg::parse(text).unwrap().users().to_vec()
}

fn in_file(dir: &Path) -> Vec<FileUser> {
    users(&std::fs::read_to_string(dir.join("users.cfg")).unwrap())
}

// "To add an user named “alice”, with an UID of 100, select as default privileges, to the user
// files contained in /etc/qdbd/users.cfg and store the private key in the local file"
#[test]
fn a_user_is_added_to_the_file_and_the_key_stored() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    ok(&mut add(
        dir,
        &[
            "-u",
            "alice",
            "--uid=100",
            "--privileges=2",
            "-p",
            "users.cfg",
            "-s",
            "alice_private.key",
        ],
    ));
    let users = in_file(dir);
    let alice = &users[0];
    assert_eq!((alice.uid.get(), alice.username.as_str()), (100, "alice"));
    assert_eq!(alice.default_privileges, Privileges::SELECT);
    assert!(!alice.superuser && !alice.disabled);
    let text = std::fs::read_to_string(dir.join("alice_private.key")).unwrap();
    let credentials = Credentials::from_json(&text).unwrap();
    assert_eq!(credentials.username, "alice");
    assert_eq!(credentials.secret_key.public(), alice.public_key);
}

// "... and output the private key to the console"
#[test]
fn the_private_key_can_go_to_the_console() {
    let dir = tempfile::tempdir().unwrap();
    let said = ok(&mut add(
        dir.path(),
        &[
            "-u",
            "alice",
            "--uid=100",
            "--privileges=2",
            "-p",
            "users.cfg",
            "-s",
            "-",
        ],
    ));
    let credentials = Credentials::from_json(&said).unwrap();
    assert_eq!(
        credentials.secret_key.public(),
        in_file(dir.path())[0].public_key
    );
}

// "To generate a key pair for an user “alice”, with an UID of 100, select as default privileges,
// and output everything on the console"
#[test]
fn everything_can_go_to_the_console() {
    let dir = tempfile::tempdir().unwrap();
    let said = ok(&mut add(
        dir.path(),
        &[
            "-u",
            "alice",
            "--uid=100",
            "--privileges=2",
            "-p",
            "-",
            "-s",
            "-",
        ],
    ));
    let mut values = serde_json::Deserializer::from_str(&said).into_iter::<serde_json::Value>();
    let list = values.next().unwrap().unwrap().to_string();
    let credentials = values.next().unwrap().unwrap().to_string();
    let credentials = Credentials::from_json(&credentials).unwrap();
    assert_eq!(users(&list)[0].public_key, credentials.secret_key.public());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

// "To add a superuser “root”"
#[test]
fn a_superuser_is_added() {
    let dir = tempfile::tempdir().unwrap();
    ok(&mut add(
        dir.path(),
        &[
            "-u",
            "root",
            "--uid=1",
            "--superuser=on",
            "-p",
            "users.cfg",
            "-s",
            "root_private.key",
        ],
    ));
    assert!(in_file(dir.path())[0].superuser);
}

// "If the provided output file for the public key already exists, the new user will be added to
// the existing file." "The UID must be unique accross all users. The UID may not be 0."
#[test]
fn the_file_keeps_its_users_and_refuses_what_the_manual_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let manual = manual();
    std::fs::write(dir.join("users.cfg"), &manual).unwrap();
    ok(&mut add(
        dir,
        &["-u", "alice", "-p", "users.cfg", "-s", "alice.key"],
    ));
    let users = in_file(dir);
    assert_eq!(users[..3], self::users(&manual)[..]);
    // "Without --uid it takes the next free one, without --privileges select alone."
    assert_eq!(users[3].uid.get(), 21);
    assert_eq!(users[3].default_privileges, Privileges::SELECT);

    let before = std::fs::read(dir.join("users.cfg")).unwrap();
    for args in [
        ["-u", "zero", "--uid=0", "--privileges=2"],
        ["-u", "twice", "--uid=10", "--privileges=2"],
        ["-u", "quant", "--uid=77", "--privileges=2"],
        ["-u", ">[HAL_9000]<", "--uid=77", "--privileges=2"],
        ["-u", "flags", "--uid=77", "--privileges=32768"],
        ["-u", "flags", "--uid=77", "--privileges=fly"],
    ] {
        let mut command = add(dir, &args);
        fails(command.args(["-p", "users.cfg", "-s", "none.key"]));
        assert_eq!(
            std::fs::read(dir.join("users.cfg")).unwrap(),
            before,
            "{args:?}"
        );
        assert!(!dir.join("none.key").exists(), "{args:?}");
    }

    // "a damaged file (which it leaves untouched, naming line and column)"
    std::fs::write(
        dir.join("users.cfg"),
        manual.replace("\"uid\": 10,", "\"uid\": ten,"),
    )
    .unwrap();
    let said = fails(&mut add(
        dir,
        &["-u", "late", "-p", "users.cfg", "-s", "none.key"],
    ));
    assert!(said.contains("line 12, column "), "{said}");
    assert!(
        std::fs::read_to_string(dir.join("users.cfg"))
            .unwrap()
            .contains("ten")
    );
}

// "To allow an user, by default, to select, insert, and set_transaction the default_privileges
// values should thus be 16390 (2 + 4 + 16384)."
#[test]
fn privileges_are_numbers_or_names() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let both = [("a", "16390"), ("b", "select,insert,set_transaction")];
    for (name, privileges) in both {
        ok(&mut add(
            dir,
            &[
                "-u",
                name,
                "--privileges",
                privileges,
                "-p",
                "users.cfg",
                "-s",
                &format!("{name}.key"),
            ],
        ));
    }
    assert!(
        in_file(dir)
            .iter()
            .all(|user| user.default_privileges.bits() == 16390)
    );
}

// The example of the manual's introduction.
fn manual() -> String {
    let user = |uid: u32, name: &str, superuser: bool, privileges: u32, key: &str| {
        let key: PublicKey = key.parse().unwrap();
        format!(
            r#"        {{
            "uid": {uid},
            "username": "{name}",
            "disabled": "false",
            "superuser": "{superuser}",
            "default_privileges": {privileges},
            "public_key": "{key}"
        }}"#
        )
    };
    format!(
        "{{\n    \"users\": [\n{},\n{},\n{}\n    ]\n}}\n",
        user(
            1,
            "root",
            true,
            0,
            "PoCzwwX8Gdq7Mzz/RG6rH6vRhX84/RupFvVOjXauOEBM="
        ),
        user(
            10,
            "quant",
            false,
            30,
            "Pr0vI41GyHTjJX5ufc+ga0KDdzEfd5OZ6J6F5V42AHj4="
        ),
        user(
            20,
            "pnl",
            false,
            2,
            "PIsIvNyuiaNCQspxpz6LCDdUpP3AbKlFa3iOsj1QKgBQ="
        ),
    )
}
