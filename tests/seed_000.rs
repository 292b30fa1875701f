//! The QuasarDB tutorial "A secured cluster", step by step on Palisade. Sentences in quotes are the
//! manual's; the commands are its commands with the names of design section 10.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use common::{Process, fails, ok, palisade};
use palisade_testkit::{TempDir, free_port, temp_dir};

// The tutorial's directory: two keys, two users, a configuration.
struct Tutorial {
    temp: TempDir,
    port: u16,
    api: u16,
}

impl Tutorial {
    /// Steps 2.3.1 to 2.3.3.
    fn new() -> Self {
        let tutorial = Self {
            temp: temp_dir().unwrap(),
            port: free_port().unwrap(),
            api: free_port().unwrap(),
        };
        // "To generate a key pair you use the quasardb cluster key generator"
        let (public, private) = (
            tutorial.path("cluster_public.key"),
            tutorial.path("cluster_private.key"),
        );
        ok(palisade().args(["keygen", "-p", &public, "-s", &private]));
        // "We will create an user named “alice” and add that to the user file."
        tutorial.add_user("alice");
        // "The user adder tool will update the users.cfg, preserving our user named “Alice”."
        tutorial.add_user("bob");
        tutorial.configure();
        tutorial
    }

    fn path(&self, name: &str) -> String {
        self.temp.path().join(name).to_str().unwrap().to_owned()
    }

    fn add_user(&self, name: &str) {
        let (list, key) = (
            self.path("users.cfg"),
            self.path(&format!("{name}_private.key")),
        );
        ok(palisade().args(["user", "add", "-u", name, "-p", &list, "-s", &key]));
    }

    /// "To generate a default configuration, we use the –gen-config switch from the daemon. In this
    /// generated configuration file, we need to update the security section of this file."
    fn configure(&self) {
        let text = ok(palisade().args(["daemon", "--gen-config"]));
        for name in [
            "enabled",
            "encrypt_traffic",
            "enable_stop",
            "enable_purge_all",
            "cluster_private_file",
            "user_list",
        ] {
            assert!(text.contains(&format!("\"{name}\"")), "{name} in\n{text}");
        }
        let changes = [
            (
                "\"cluster_private_file\": null",
                "cluster_private_file",
                self.path("cluster_private.key"),
            ),
            ("\"user_list\": null", "user_list", self.path("users.cfg")),
            (
                "\"data_directory\": \"/var/lib/palisade\"",
                "data_directory",
                self.path("data"),
            ),
            ("127.0.0.1:5433", "", format!("127.0.0.1:{}", self.port)),
            ("127.0.0.1:7433", "", format!("127.0.0.1:{}", self.api)),
        ];
        let mut text = text;
        for (from, name, to) in changes {
            assert_eq!(text.matches(from).count(), 1, "{from} once in\n{text}");
            let to = if name.is_empty() {
                to
            } else {
                format!("\"{name}\": \"{to}\"")
            };
            text = text.replace(from, &to);
        }
        std::fs::write(self.path("palisade.cfg"), text).unwrap();
    }

    /// "We now need to run the daemon with our updated configuration"
    fn daemon(&self) -> Process {
        let mut command = palisade();
        command.args(["daemon", "-c", &self.path("palisade.cfg")]);
        Process::start(&mut command, Path::new(&self.path("log")), "serving at")
    }

    fn shell(&self, key: &str, credentials: Option<&str>) -> std::process::Command {
        let mut command = palisade();
        command.arg("shell");
        command.arg(format!("--cluster-public-key-file={}", self.path(key)));
        if let Some(file) = credentials {
            command.arg(format!("--user-credentials-file={}", self.path(file)));
        }
        command.arg(format!("--cluster=127.0.0.1:{}", self.port));
        command
    }
}

#[test]
fn the_tutorial_works_as_written() {
    let tutorial = Tutorial::new();
    // "It is very important that the private key remains unaccessible to third parties."
    for key in [
        "cluster_private.key",
        "alice_private.key",
        "bob_private.key",
    ] {
        let mode = std::fs::metadata(tutorial.path(key))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
    let daemon = tutorial.daemon();
    // "When security is properly setup, the following lines should appear in the log"
    let log = daemon.log();
    let key = tutorial.path("cluster_private.key");
    assert!(
        log.contains(&format!(
            "successfully loaded cluster private key from \"{key}\""
        )),
        "{log}"
    );
    let list = tutorial.path("users.cfg");
    assert!(
        log.contains(&format!("successfully loaded 2 users from \"{list}\"")),
        "{log}"
    );

    // "You will see that the credential file contains both the private key and the user name."
    let credentials = std::fs::read_to_string(tutorial.path("alice_private.key")).unwrap();
    assert!(credentials.contains("\"alice\"") && credentials.contains("\"secret_key\""));

    // "To securely connect as alice / bob"
    for user in ["alice", "bob"] {
        let file = format!("{user}_private.key");
        let mut shell = tutorial.shell("cluster_public.key", Some(&file));
        let said = ok(shell.args(["--format", "csv", "-c", "SELECT session_user"]));
        assert!(said.contains(user), "{said}");
    }

    // "If either the cluster key or the user key are invalid, you will have the following error"
    ok(palisade().args([
        "keygen",
        "-p",
        &tutorial.path("other_public.key"),
        "-s",
        &tutorial.path("other_private.key"),
    ]));
    let refused = "Can't connect to cluster: Login failed for the user.";
    let said = fails(
        tutorial
            .shell("other_public.key", Some("alice_private.key"))
            .args(["-c", "SELECT 1"]),
    );
    assert!(said.contains(refused), "{said}");
    let bob = std::fs::read_to_string(tutorial.path("bob_private.key")).unwrap();
    std::fs::write(tutorial.path("mallory.key"), bob.replace("bob", "alice")).unwrap();
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(tutorial.path("mallory.key"), mode).unwrap();
    let said = fails(
        tutorial
            .shell("cluster_public.key", Some("mallory.key"))
            .args(["-c", "SELECT 1"]),
    );
    assert!(said.contains(refused), "{said}");

    // "If you connect to the cluster without specifying any credentials, you will have the
    // following error"
    let said = fails(
        tutorial
            .shell("cluster_public.key", None)
            .args(["-c", "SELECT 1"]),
    );
    assert!(
        said.contains("Can't connect to cluster: Invalid reply from the remote host."),
        "{said}"
    );
    drop(daemon);
}

// "When succesfully connected, you should be greeted by the shell prompt: quasardb shell version ..."
#[test]
fn the_shell_greets_with_its_version() {
    let tutorial = Tutorial::new();
    let _daemon = tutorial.daemon();
    // The terminal is its standard input.
    let mut shell = std::process::Command::new(env!("CARGO_BIN_EXE_palisade"));
    shell.args(
        tutorial
            .shell("cluster_public.key", Some("alice_private.key"))
            .get_args(),
    );
    let mut session = expectrl::session::OsSession::spawn(shell).unwrap();
    session.set_expect_timeout(Some(std::time::Duration::from_mins(1)));
    let version = format!("palisade shell version {}", env!("CARGO_PKG_VERSION"));
    expectrl::Expect::expect(&mut session, version).unwrap();
    // The line editor asks a terminal where its cursor is before it draws the prompt.
    expectrl::Expect::expect(&mut session, "\u{1b}[6n").unwrap();
    expectrl::Expect::send(&mut session, "\u{1b}[1;1R").unwrap();
    expectrl::Expect::expect(&mut session, "=>").unwrap();
}

// "You will need to restart the daemon for the new user to be accounted." Not here: "users.cfg
// changes take effect without a restart".
#[test]
fn a_user_added_to_the_list_is_accounted_without_a_restart() {
    let tutorial = Tutorial::new();
    let _daemon = tutorial.daemon();
    tutorial.add_user("www");
    let found = palisade_testkit::poll(
        "www to be accounted",
        std::time::Duration::from_secs(30),
        || {
            let mut shell = tutorial.shell("cluster_public.key", Some("www_private.key"));
            let output = shell.args(["-c", "SELECT session_user"]).output().unwrap();
            output.status.success().then_some(())
        },
    );
    assert!(found.is_ok());
}

// "If the daemon fails to load either the key or the user file, ensure the daemon has proper read
// access to these files and that the path is valid."
#[test]
fn a_key_or_list_that_cannot_be_loaded_stops_the_daemon_with_reason_and_remedy() {
    let tutorial = Tutorial::new();
    let config = tutorial.path("palisade.cfg");
    let run = || fails(palisade().args(["daemon", "-c", &config]));
    let list = std::fs::read_to_string(tutorial.path("users.cfg")).unwrap();

    std::fs::write(
        tutorial.path("users.cfg"),
        list.replacen("\"uid\": 1", "\"uid\": 0", 1),
    )
    .unwrap();
    let said = run();
    assert!(said.contains("users.cfg: line 4, column "), "{said}");
    assert!(said.contains("hint: "), "{said}");

    std::fs::remove_file(tutorial.path("users.cfg")).unwrap();
    let said = run();
    assert!(said.contains("users.cfg: No such file"), "{said}");
    std::fs::write(tutorial.path("users.cfg"), list).unwrap();

    // "as does a private key that others may read"
    let key = tutorial.path("cluster_private.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = run();
    assert!(said.contains(&format!("chmod 600 {key}")), "{said}");
    std::fs::remove_file(&key).unwrap();
    let said = run();
    assert!(said.contains("cluster_private.key: No such file"), "{said}");
}

// 2.3.7: "make sure that the private key as well as the user directory are present in the node you
// want to add": the users are those of the list that travels with the key.
#[test]
fn the_user_list_travels_with_the_key() {
    let tutorial = Tutorial::new();
    let other = Tutorial {
        temp: temp_dir().unwrap(),
        port: free_port().unwrap(),
        api: free_port().unwrap(),
    };
    for file in ["cluster_private.key", "users.cfg"] {
        std::fs::copy(tutorial.path(file), other.path(file)).unwrap();
    }
    other.configure();
    let _daemon = other.daemon();
    // Alice's credentials and the public key are those of the first machine.
    let mut shell = palisade();
    shell
        .arg("shell")
        .arg(format!(
            "--cluster-public-key-file={}",
            tutorial.path("cluster_public.key")
        ))
        .arg(format!(
            "--user-credentials-file={}",
            tutorial.path("alice_private.key")
        ))
        .arg(format!("--cluster=127.0.0.1:{}", other.port))
        .args(["-c", "SELECT session_user"]);
    assert!(ok(&mut shell).contains("alice"));
}
