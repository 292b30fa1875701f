//! The command line as it is run: golden commands, and files under attack.
//!
//! `tests/cmd/*.trycmd` are files of commands with what they answer; `TRYCMD=overwrite` writes them
//! anew after a wanted change.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

const PALISADE: &str = env!("CARGO_BIN_EXE_palisade");

/// `palisade`, without what the environment may say, in this directory.
fn palisade(dir: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(PALISADE);
    command.args(args).current_dir(dir.path()).env_clear();
    command
}

fn run(dir: &TempDir, args: &[&str]) -> Output {
    palisade(dir, args).output().unwrap()
}

fn ok(dir: &TempDir, args: &[&str]) -> String {
    let output = run(dir, args);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// What is said when it fails, with the exit status that it fails with.
fn fails(dir: &TempDir, status: i32, args: &[&str]) -> String {
    let output = run(dir, args);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{args:?}: {error}");
    error
}

/// A shell line in which `$palisade` is the program.
fn shell(dir: &TempDir, line: &str) -> Output {
    Command::new("sh")
        .args(["-c", line])
        .env("palisade", PALISADE)
        .current_dir(dir.path())
        .output()
        .unwrap()
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn names(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn add(dir: &TempDir, name: &str) -> String {
    let secret = format!("{name}.credentials");
    ok(
        dir,
        &["user", "add", "-u", name, "-p", "users.cfg", "-s", &secret],
    )
}

#[test]
fn golden_commands() {
    trycmd::TestCases::new()
        .env("PALISADE_DIR", "/nonexistent")
        .env("NO_COLOR", "1")
        .case("tests/cmd/*.trycmd");
}

// "It must be kept private and only the daemon requires it."
#[test]
fn a_secret_is_its_owners_alone_from_the_first_byte() {
    let dir = TempDir::new().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut widest = 0;
            while !done.load(Ordering::Relaxed) {
                for entry in fs::read_dir(dir.path()).unwrap().flatten() {
                    // A file that was renamed meanwhile is seen under its new name.
                    if let Ok(metadata) = entry.metadata() {
                        widest |= metadata.mode() & 0o077;
                    }
                }
            }
            widest
        });
        for round in 0..20 {
            let line = format!("umask 0; exec $palisade keygen -p - -s {round}.key");
            assert!(shell(&dir, &line).status.success());
        }
        done.store(true, Ordering::Relaxed);
        assert_eq!(watcher.join().unwrap(), 0);
    });
    assert_eq!(mode(dir.path().join("7.key")), 0o600);
}

#[test]
fn the_public_half_is_for_everybody_and_the_secret_is_not() {
    let dir = TempDir::new().unwrap();
    let line = "umask 022; $palisade keygen -p public -s secret";
    assert!(shell(&dir, line).status.success());
    assert_eq!(mode(dir.path().join("public")), 0o644);
    assert_eq!(mode(dir.path().join("secret")), 0o600);
    let public = fs::read_to_string(dir.path().join("public")).unwrap();
    let secret = fs::read_to_string(dir.path().join("secret")).unwrap();
    let secret = palisade_keys::SecretKey::from_text(&secret).unwrap();
    assert_eq!(public.trim_end().parse(), Ok(secret.public()));
}

#[test]
fn nothing_is_overwritten_without_force_and_both_are_with_it() {
    let dir = TempDir::new().unwrap();
    ok(&dir, &["keygen", "-p", "public", "-s", "secret"]);
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    let before = (read("public"), read("secret"));
    for (public, secret) in [
        ("public", "other"),
        ("other", "secret"),
        ("public", "secret"),
    ] {
        let error = fails(&dir, 4, &["keygen", "-p", public, "-s", secret]);
        assert!(error.contains("exists already"), "{error}");
    }
    assert_eq!(names(&dir), ["public", "secret"]);
    assert_eq!((read("public"), read("secret")), before);
    ok(&dir, &["keygen", "-p", "public", "-s", "secret", "--force"]);
    assert_ne!(read("public"), before.0);
    assert_ne!(read("secret"), before.1);
    assert_eq!(names(&dir), ["public", "secret"]);
}

#[test]
fn both_keys_are_written_or_none() {
    let dir = TempDir::new().unwrap();
    for (public, secret) in [
        ("public", "nowhere/secret"),
        ("nowhere/public", "secret"),
        ("public", "/proc/palisade-test.key"),
        ("/proc/palisade-test.key", "secret"),
        ("same", "same"),
        ("./same", "same"),
    ] {
        let output = run(&dir, &["keygen", "-p", public, "-s", secret, "--force"]);
        assert!(!output.status.success());
        assert!(names(&dir).is_empty(), "{:?}", names(&dir));
    }
}

#[test]
fn a_link_at_the_target_is_not_followed() {
    let dir = TempDir::new().unwrap();
    let elsewhere = TempDir::new().unwrap();
    let victim = elsewhere.path().join("victim");
    // Leading nowhere: nothing is made at a place that a link chose.
    symlink(&victim, dir.path().join("secret")).unwrap();
    fails(&dir, 4, &["keygen", "-p", "public", "-s", "secret"]);
    fails(
        &dir,
        4,
        &["keygen", "-p", "public", "-s", "secret", "--force"],
    );
    assert!(!victim.exists());
    // Leading to a file: it is not replaced, and its mode does not become ours.
    fs::write(&victim, "precious").unwrap();
    fails(
        &dir,
        4,
        &["keygen", "-p", "public", "-s", "secret", "--force"],
    );
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert_eq!(names(&dir), ["secret"]);
}

#[test]
fn a_full_disk_leaves_everything_as_it_was() {
    let dir = TempDir::new().unwrap();
    add(&dir, "alice");
    let before = fs::read(dir.path().join("users.cfg")).unwrap();
    let lines = [
        // No byte can be written to any file.
        "trap '' XFSZ; ulimit -f 0; exec $palisade user add -u bob -p users.cfg -s bob.credentials",
        "trap '' XFSZ; ulimit -f 0; exec $palisade keygen -p public -s secret",
        // The secret can't be shown: the user is not added, for nobody would have his key.
        "exec $palisade user add -u bob -p users.cfg -s - > /dev/full",
        "exec $palisade keygen -p public -s - > /dev/full",
    ];
    for line in lines {
        let output = shell(&dir, line);
        assert_eq!(output.status.code(), Some(4), "{line}");
        assert_eq!(names(&dir), ["alice.credentials", "users.cfg"], "{line}");
        assert_eq!(fs::read(dir.path().join("users.cfg")).unwrap(), before);
    }
}

// "The user adder tool will update the users.cfg, preserving our user named “Alice”."
#[test]
fn many_at_once_lose_no_user() {
    const ADDERS: usize = 24;
    let dir = TempDir::new().unwrap();
    let children: Vec<_> = (0..ADDERS)
        .map(|n| {
            let (name, secret) = (format!("user{n}"), format!("user{n}.credentials"));
            palisade(
                &dir,
                &["user", "add", "-u", &name, "-p", "users.cfg", "-s", &secret],
            )
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
    }
    let text = fs::read_to_string(dir.path().join("users.cfg")).unwrap();
    let list = palisade_ledger::users_cfg::UsersCfg::parse(&text).unwrap();
    assert_eq!(list.users().len(), ADDERS);
    let uids: std::collections::BTreeSet<u32> =
        list.users().iter().map(|user| user.uid.get()).collect();
    assert_eq!(uids, (1..=24).collect());
    for user in list.users() {
        let path = dir.path().join(format!("{}.credentials", user.username));
        let text = fs::read_to_string(path).unwrap();
        let credentials = palisade_keys::Credentials::from_json(&text).unwrap();
        assert_eq!(credentials.secret_key.public(), user.public_key);
    }
}

#[test]
fn a_damaged_list_is_left_as_it_is_and_its_fault_placed() {
    let dir = TempDir::new().unwrap();
    add(&dir, "alice");
    let path = dir.path().join("users.cfg");
    let good = fs::read_to_string(&path).unwrap();
    for (from, to, place) in [
        ("\"uid\": 1", "\"uid\": 0", "line 4, column "),
        ("\"false\"", "\"maybe\"", "line 6, column "),
        ("]\n}", "]\n", "line 13, column 0"),
        ("\"users\"", "\"user\"", "line 2, column "),
    ] {
        let damaged = good.replacen(from, to, 1);
        fs::write(&path, &damaged).unwrap();
        let args = [
            "user",
            "add",
            "-u",
            "bob",
            "-p",
            "users.cfg",
            "-s",
            "bob.credentials",
        ];
        let error = fails(&dir, 4, &args);
        assert!(error.contains(place), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
        assert_eq!(names(&dir), ["alice.credentials", "users.cfg"]);
    }
}

#[test]
fn a_list_keeps_its_mode_its_owner_and_its_link() {
    let dir = TempDir::new().unwrap();
    add(&dir, "alice");
    let path = dir.path().join("users.cfg");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let root = fs::metadata(&path).unwrap().uid() == 0;
    if root {
        std::os::unix::fs::chown(&path, Some(65534), Some(65534)).unwrap();
    }
    add(&dir, "bob");
    let after = fs::metadata(&path).unwrap();
    assert_eq!(after.mode() & 0o7777, 0o640);
    if root {
        assert_eq!((after.uid(), after.gid()), (65534, 65534));
    }
    // Through a link the file that it leads to is changed, and the link stays one.
    fs::create_dir(dir.path().join("real")).unwrap();
    fs::rename(&path, dir.path().join("real/list")).unwrap();
    symlink("real/list", &path).unwrap();
    add(&dir, "carol");
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    let text = fs::read_to_string(dir.path().join("real/list")).unwrap();
    assert!(
        text.contains("\"carol\"") && text.contains("\"alice\""),
        "{text}"
    );
    // A link that leads nowhere chooses no place.
    fs::remove_file(&path).unwrap();
    symlink("/nonexistent/users.cfg", &path).unwrap();
    let args = [
        "user",
        "add",
        "-u",
        "dave",
        "-p",
        "users.cfg",
        "-s",
        "dave.credentials",
    ];
    let error = fails(&dir, 4, &args);
    assert!(error.contains("leads nowhere"), "{error}");
    assert!(!dir.path().join("dave.credentials").exists());
}

#[test]
fn a_name_can_not_become_json() {
    let dir = TempDir::new().unwrap();
    for name in [
        "a\",\"superuser\":\"true",
        "a\\",
        "a\nb",
        "a b",
        "",
        "\u{1b}[2J",
    ] {
        let args = [
            "user",
            "add",
            "-u",
            name,
            "-p",
            "users.cfg",
            "-s",
            "x.credentials",
        ];
        let error = fails(&dir, 2, &args);
        assert!(!error.contains('\u{1b}'), "{error:?}");
        assert!(names(&dir).is_empty());
    }
    add(&dir, "jürgen");
    let text = fs::read_to_string(dir.path().join("users.cfg")).unwrap();
    assert!(text.contains("\"username\": \"jürgen\""), "{text}");
}

#[test]
fn a_secret_that_others_may_read_is_not_used() {
    let dir = TempDir::new().unwrap();
    add(&dir, "alice");
    let path = dir.path().join("alice.credentials");
    for wide in [0o640, 0o604, 0o620, 0o644] {
        fs::set_permissions(&path, fs::Permissions::from_mode(wide)).unwrap();
        let error = fails(
            &dir,
            4,
            &["user", "cert", "--credentials", "alice.credentials"],
        );
        assert!(
            error.contains("hint: chmod 600 alice.credentials"),
            "{error}"
        );
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    ok(
        &dir,
        &["user", "cert", "--credentials", "alice.credentials"],
    );
    assert_eq!(mode(dir.path().join("alice.key")), 0o600);
    assert_eq!(mode(dir.path().join("alice.crt")) & 0o400, 0o400);
}

#[test]
fn a_certificate_does_not_replace_the_credentials_it_is_made_from() {
    let dir = TempDir::new().unwrap();
    let add = [
        "user",
        "add",
        "-u",
        "alice",
        "-p",
        "users.cfg",
        "-s",
        "alice.key",
    ];
    ok(&dir, &add);
    let before = fs::read(dir.path().join("alice.key")).unwrap();
    for force in [None, Some("--force")] {
        let args = ["user", "cert", "--credentials", "alice.key"];
        let args: Vec<&str> = args.into_iter().chain(force).collect();
        let error = fails(&dir, 2, &args);
        assert!(error.contains("--out DIR"), "{error}");
    }
    assert_eq!(fs::read(dir.path().join("alice.key")).unwrap(), before);
    assert_eq!(names(&dir), ["alice.key", "users.cfg"]);
}

#[test]
fn a_pair_is_what_openssl_takes() {
    let dir = TempDir::new().unwrap();
    add(&dir, "alice");
    ok(
        &dir,
        &["user", "cert", "--credentials", "alice.credentials"],
    );
    let output = Command::new("openssl")
        .args(["x509", "-in", "alice.crt", "-noout", "-subject", "-pubkey"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(
        shown.contains("CN = alice") || shown.contains("CN=alice"),
        "{shown}"
    );
    let output = Command::new("openssl")
        .args(["pkey", "-in", "alice.key", "-pubout"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let public = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains(&public), "{shown}\n{public}");
}

#[test]
fn a_reader_that_goes_away_is_no_news() {
    let dir = TempDir::new().unwrap();
    let mut child = palisade(&dir, &["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn rules_are_read_from_standard_input() {
    let dir = TempDir::new().unwrap();
    let mut child = palisade(&dir, &["hba", "check", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"hostssl all all all auto\n").unwrap();
    drop(input);
    assert!(child.wait_with_output().unwrap().status.success());
}

/// What is generated does not depend on who generates it. (`cargo xtask generate --check` compares it
/// with the copies in the repository.)
#[test]
fn generated_files_depend_on_nothing_but_the_program() {
    let (plain, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    ok(&plain, &["generate", "."]);
    let output = palisade(&other, &["generate", "."])
        .env("PALISADE_DIR", "/somewhere/else")
        .env("PALISADE_CREDENTIALS", "/somewhere/secret")
        .env("PALISADE_CLUSTER", "somewhere:1")
        .env("COLUMNS", "40")
        .output()
        .unwrap();
    assert!(output.status.success());
    let mut stack = vec![plain.path().to_path_buf()];
    let mut count = 0;
    while let Some(path) = stack.pop() {
        if path.is_dir() {
            stack.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        let name = path.strip_prefix(plain.path()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("somewhere"), "{}", name.display());
        assert_eq!(text, fs::read_to_string(other.path().join(name)).unwrap());
        count += 1;
    }
    assert!(count > 30, "{count}");
}
