//! `init`, `join`, `enroll`, `secret`, `node` and `status`: what each refuses, and what it leaves behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod common;
#[path = "common/fleet.rs"]
mod fleet;

use std::process::Command;

use common::{Cluster, fails, ok, palisade, said};
use fleet::{Machine, json, mode, secret_file};
use palisade_testkit::{poll, temp_dir};

const SECRET: &str = "a secret that nobody guesses";

/// Fails with this exit status; what was said.
fn refused(command: &mut Command, status: i32) -> String {
    let output = command.output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(status),
        "{command:?}\n{}",
        said(&output)
    );
    said(&output)
}

fn text(path: &std::path::Path) -> String {
    path.to_str().unwrap().to_owned()
}

// "It's 0600 permissioned" (the seed's three secrets on disk)
#[test]
fn init_shows_the_fingerprint_and_leaves_its_secrets_to_the_owner() {
    let temp = temp_dir().unwrap();
    let machine = Machine::new(temp.path(), "one");
    let shown = ok(&mut machine.placed(&["init", "--store", "embedded"]));
    let fingerprint = machine.stolen_key().public().fingerprint().to_string();
    assert!(shown.contains(&fingerprint), "{shown}");
    for name in [
        "node.key",
        "seal.key",
        "cluster_private.key",
        "cluster.secret",
        "admin.credentials",
    ] {
        assert_eq!(mode(&machine.private(name)), 0o600, "{name}");
    }
    assert_eq!(mode(&machine.dir.join("private")), 0o700);
    // A second time would be another cluster in the place of the first.
    let said = refused(&mut machine.placed(&["init"]), 1);
    assert!(said.contains("holds a node of a cluster already"), "{said}");
    let again = machine.stolen_key().public().fingerprint().to_string();
    assert_eq!(again, fingerprint);
}

#[test]
fn init_refuses_weak_open_and_misplaced_secrets_and_foreign_directories() {
    let temp = temp_dir().unwrap();
    let path = |name: &str| temp.path().join(name);
    let machine = Machine::new(temp.path(), "two");
    let init = |file: &str| machine.placed(&["init", "--secret", &text(&path(file))]);

    secret_file(&path("weak"), "hunter2\n");
    let said = refused(&mut init("weak"), 2);
    assert!(said.contains("at least 20 characters"), "{said}");
    std::fs::write(path("open"), SECRET).unwrap();
    let said = refused(&mut init("open"), 4);
    assert!(said.contains("chmod 600"), "{said}");
    refused(&mut init("missing"), 4);
    assert!(!machine.dir.exists(), "a refusal leaves nothing");

    std::fs::create_dir(&machine.dir).unwrap();
    std::fs::write(machine.dir.join("thesis.tex"), "mine").unwrap();
    secret_file(&path("good"), SECRET);
    let said = refused(&mut init("good"), 4);
    assert!(said.contains("not Palisade's"), "{said}");
    std::fs::remove_file(machine.dir.join("thesis.tex")).unwrap();

    ok(&mut init("good"));
    assert_eq!(mode(&machine.private("join.secret")), 0o600);
    let said = refused(&mut machine.command(&["status"]), 1);
    assert!(said.contains(&machine.fingerprint()), "{said}");
    let said = refused(&mut init("good"), 1);
    assert!(said.contains("waits to be added"), "{said}");
}

#[test]
fn join_refuses_what_is_no_ticket() {
    let temp = temp_dir().unwrap();
    let machine = Machine::new(temp.path(), "two");
    let file = temp.path().join("token");
    secret_file(&file, "palisade-join-AAAA@127.0.0.1:1\n");
    let said = refused(&mut machine.placed(&["join", &text(&file)]), 2);
    assert!(said.contains("not an enrollment token"), "{said}");
    let said = refused(&mut machine.placed(&["join", "127.0.0.1:1"]), 2);
    assert!(said.contains("lets nobody in"), "{said}");
    let said = refused(&mut machine.placed(&["join", "not-there"]), 4);
    assert!(said.contains("not-there"), "{said}");
    // A token in a file that others may read is everybody's.
    std::fs::write(&file, "palisade-join-AAAA@127.0.0.1:1\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&file, mode).unwrap();
    let said = refused(&mut machine.placed(&["join", &text(&file)]), 4);
    assert!(said.contains("chmod 600"), "{said}");
    secret_file(&file, SECRET);
    let secret = text(&file);
    let said = refused(
        &mut machine.placed(&["join", "127.0.0.1:1", "--secret", &secret]),
        3,
    );
    assert!(said.contains("nobody answers"), "{said}");
}

#[test]
fn a_cluster_of_one_answers_every_command_and_refuses_what_is_wrong() {
    let cluster = Cluster::up();
    let alice = text(&cluster.add_user("alice", "select"));
    nodes(&cluster);
    objects(&cluster);
    tokens(&cluster, &alice);
    joining(&cluster);
    secrets(&cluster, &alice);
    over_the_network(&cluster, &alice);
    adding(&cluster, &alice);
}

// An access control list for what is not there is no error, but may be a slip: it is told.
fn objects(cluster: &Cluster) {
    let set = |object: &str| {
        let output = cluster
            .command(&["acl", "set", object, "alice", "select"])
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    let told = set("public.ordres");
    assert!(
        told.contains("has no public.ordres") && told.contains("palisade acl unset"),
        "{told}"
    );
    let told = set("public");
    assert!(!told.contains("warning"), "{told}");
    cluster.run(&["acl", "unset", "public.ordres", "alice"]);
    cluster.run(&["acl", "unset", "public", "alice"]);
}

fn own(cluster: &Cluster) -> (String, String) {
    let nodes = json(&mut cluster.command(&["node", "list", "--json"]));
    let node = &nodes.as_array().unwrap()[0];
    let field = |name: &str| node[name].as_str().unwrap().to_owned();
    (field("address"), field("fingerprint"))
}

// "one form everywhere"; "its exit status tells health"
fn nodes(cluster: &Cluster) {
    let (address, fingerprint) = own(cluster);
    let output = cluster.command(&["status", "--json"]).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["nodes"][0]["fingerprint"], fingerprint.as_str());
    assert_eq!(status["nodes"][0]["address"], address.as_str());
    assert_eq!(status["master"], 1);
    assert_eq!(status["healthy"], output.status.success());
    let table = cluster.run(&["node", "list"]);
    assert!(
        table.contains(&fingerprint) && table.contains("member"),
        "{table}"
    );
    let said = refused(&mut cluster.command(&["node", "remove", "1", "--yes"]), 1);
    assert!(said.contains("only member"), "{said}");
    let said = refused(&mut cluster.command(&["node", "remove", "7", "--yes"]), 1);
    assert!(said.contains("there is no node 7"), "{said}");
    let said = refused(&mut cluster.command(&["node", "remove", "db1"]), 2);
    assert!(said.contains("neither a node's number"), "{said}");
}

// "single use, expiring, stored hashed"
fn tokens(cluster: &Cluster, alice: &str) {
    let file = cluster.path("t.token");
    let create = |more: &[&str]| {
        let mut command = cluster.command(&["enroll", "create", "-o", &text(&file)]);
        command.args(more);
        command
    };
    let said = refused(&mut create(&["--as", alice]), 1);
    assert!(said.contains("privilege system"), "{said}");
    assert!(!file.exists(), "the token of a refused change is of no use");
    refused(&mut create(&["--expires", "0h"]), 2);
    refused(&mut create(&["--expires", "soon"]), 2);
    ok(&mut create(&["--note", "rack 4"]));
    assert_eq!(mode(&file), 0o600);
    let said = refused(&mut create(&[]), 4);
    assert!(said.contains("exists already"), "{said}");

    let ledger = cluster.path("ledger.cbor");
    cluster.run(&["ledger", "export", &text(&ledger)]);
    let token = std::fs::read_to_string(&file).unwrap();
    let secret = token.trim().strip_prefix("palisade-join-").unwrap();
    let secret = secret.split('@').next().unwrap();
    let bytes = base64(secret);
    let (key, seed) = bytes.split_at(32);
    let ledger = std::fs::read(&ledger).unwrap();
    let holds = |what: &[u8]| ledger.windows(what.len()).any(|window| window == what);
    assert!(holds(key), "the cluster's key is in its genesis");
    assert!(!holds(seed), "the token's secret is not in the ledger");

    let list = json(&mut cluster.command(&["enroll", "list", "--json"]));
    let id = list[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        (&list[0]["standing"], &list[0]["note"]),
        (&"good".into(), &"rack 4".into())
    );
    let said = refused(
        &mut cluster.command(&["enroll", "revoke", &id, "--as", alice]),
        1,
    );
    assert!(said.contains("privilege system"), "{said}");
    cluster.run(&["enroll", "revoke", &id]);
    let list = json(&mut cluster.command(&["enroll", "list", "--json"]));
    assert_eq!(list[0]["standing"], "revoked");
    let said = refused(
        &mut cluster.command(&["enroll", "revoke", &"0".repeat(16)]),
        1,
    );
    assert!(said.contains("there is no token"), "{said}");
    let said = refused(
        &mut cluster.command(&["enroll", "approve", "9", "--yes"]),
        1,
    );
    assert!(said.contains("there is no node 9"), "{said}");
    let said = refused(
        &mut cluster.command(&["enroll", "approve", "1", "--yes"]),
        1,
    );
    assert!(said.contains("a member already"), "{said}");
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .unwrap()
}

fn joining(cluster: &Cluster) {
    let machine = Machine::new(&cluster.path(""), "joiner");
    // The token that was revoked above.
    let revoked = text(&cluster.path("t.token"));
    let said = refused(&mut machine.placed(&["join", &revoked]), 1);
    assert!(said.contains("no longer good"), "{said}");
    // "A node that joins while the store is Embedded is refused with that remedy"
    let good = text(&cluster.path("good.token"));
    cluster.run(&["enroll", "create", "-o", &good]);
    let said = refused(&mut machine.placed(&["join", &good]), 1);
    assert!(said.contains("palisade store move managed"), "{said}");
    // "expiring"
    let short = text(&cluster.path("short.token"));
    cluster.run(&["enroll", "create", "--expires", "1s", "-o", &short]);
    let expired = poll(
        "the token's end",
        std::time::Duration::from_secs(30),
        || {
            let list = cluster.run(&["enroll", "list"]);
            list.contains("expired").then_some(())
        },
    );
    expired.unwrap();
    let said = refused(&mut machine.placed(&["join", &short]), 1);
    assert!(said.contains("expired"), "{said}");
    // A token of another cluster, changed to lead here: the cluster can't prove that key.
    let token = std::fs::read_to_string(&good).unwrap();
    let (head, place) = token.split_once('@').unwrap();
    let other = base64(head.strip_prefix("palisade-join-").unwrap());
    let other: Vec<u8> = other.iter().map(|byte| byte ^ 1).collect();
    let forged = {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(other)
    };
    let file = cluster.path("forged.token");
    secret_file(&file, &format!("palisade-join-{forged}@{place}"));
    let said = refused(&mut machine.placed(&["join", &text(&file)]), 1);
    assert!(said.contains("does not prove that it belongs"), "{said}");
    let rest = json(&mut cluster.command(&["node", "list", "--json"]));
    assert_eq!(rest.as_array().unwrap().len(), 1);
}

// "secret rotate: one command"; the secret is printed once, or goes to a file of mode 0600
fn secrets(cluster: &Cluster, alice: &str) {
    let file = cluster.path("new.secret");
    let said = refused(
        &mut cluster.command(&["secret", "rotate", "-o", &text(&file), "--as", alice]),
        1,
    );
    assert!(said.contains("privilege system"), "{said}");
    assert!(!file.exists());
    let first = cluster.run(&["secret", "rotate"]);
    cluster.run(&["secret", "rotate", "-o", &text(&file)]);
    assert_eq!(mode(&file), 0o600);
    let second = std::fs::read_to_string(&file).unwrap();
    assert_ne!(first, second);
    let log = cluster.run(&["ledger", "log", "--json"]);
    for secret in [first, second] {
        assert!(!log.contains(secret.trim()), "a secret in the ledger");
    }
    let said = refused(&mut cluster.command(&["secret", "withdraw"]), 2);
    assert!(said.contains("no terminal"), "{said}");
}

// "over HTTPS to any node"; "the identity of a caller is what TLS proved"
fn over_the_network(cluster: &Cluster, alice: &str) {
    let (address, _) = own(cluster);
    let remote = |args: &[&str], credentials: &str, key: &str| {
        let mut command = palisade();
        command
            .args(args)
            .args(["--node", &address, "--as", credentials]);
        command.args(["--cluster-public-key-file", key]);
        command
    };
    let key = text(&cluster.dir().join("cluster_public.key"));
    let admin = text(&cluster.admin("credentials"));
    let here = cluster.run(&["user", "list"]);
    assert_eq!(ok(&mut remote(&["user", "list"], &admin, &key)), here);
    assert!(ok(&mut remote(&["status"], alice, &key)).contains(&address));
    // What others' passwords are checked with is not for every user.
    let said = refused(&mut remote(&["user", "list"], alice, &key), 1);
    assert!(
        said.contains("system or user_manage") && said.contains("without --node"),
        "{said}"
    );
    by_cluster_key(cluster, &address, &here);
    // A change over the network is an entry like any other.
    ok(&mut remote(&["user", "disable", "alice"], &admin, &key));
    // Who may not log in is nobody, at once.
    let said = refused(&mut remote(&["status"], alice, &key), 1);
    assert!(said.contains("does not know you"), "{said}");
    ok(&mut remote(&["user", "enable", "alice"], &admin, &key));
    let said = refused(&mut remote(&["user", "disable", "admin"], alice, &key), 1);
    assert!(said.contains("user_manage"), "{said}");
    // What is a user's own he changes over the network all the same.
    let file = text(&cluster.path("alice.password"));
    secret_file(
        cluster.path("alice.password").as_path(),
        "correct horse battery staple\n",
    );
    let passwd = ["user", "passwd", "--password-file", &file];
    ok(&mut remote(&passwd, alice, &key));
    let passwd = ["user", "passwd", "admin", "--password-file", &file];
    let said = refused(&mut remote(&passwd, alice, &key), 1);
    assert!(said.contains("a password is its owner's"), "{said}");
    let entry = cluster.run(&["ledger", "log"]);
    let entry = entry.lines().rev().nth(1).unwrap_or_default().to_owned();
    assert!(entry.contains("alice"), "{entry}");
    let renewed = text(&cluster.path("renewed.credentials"));
    ok(&mut remote(&["user", "key", "-s", &renewed], alice, &key));
    ok(&mut remote(&["status"], &renewed, &key));
    let said = refused(&mut remote(&["status"], alice, &key), 1);
    assert!(said.contains("does not know you"), "{said}");
    std::fs::copy(&renewed, alice).unwrap();
    // Another cluster's key: nothing is said to this one.
    let other = text(&cluster.path("other.key"));
    let private = text(&cluster.path("other_private.key"));
    ok(palisade().args(["keygen", "-p", &other, "-s", &private]));
    let said = refused(&mut remote(&["user", "list"], alice, &other), 1);
    assert!(said.contains("does not prove that it belongs"), "{said}");
    // A key that the ledger does not know.
    let stranger = cluster.path("stranger.credentials");
    let list = text(&cluster.path("list.cfg"));
    ok(palisade().args([
        "user",
        "add",
        "-u",
        "alice",
        "-p",
        &list,
        "-s",
        &text(&stranger),
    ]));
    let said = refused(&mut remote(&["user", "list"], &text(&stranger), &key), 1);
    assert!(said.contains("does not know you"), "{said}");
    let mut nobody = palisade();
    nobody.args(["user", "list", "--node", &address]);
    let said = refused(nobody.args(["--cluster-public-key-file", &key]), 2);
    assert!(said.contains("--as"), "{said}");
}

// HTTPS with the cluster key alone: it reads and appends, and is no user.
fn by_cluster_key(cluster: &Cluster, address: &str, here: &str) {
    let public = text(&cluster.dir().join("cluster_public.key"));
    let private = text(&cluster.dir().join("private/cluster_private.key"));
    let with = |args: &[&str], private: &str| {
        let mut command = palisade();
        command
            .args(args)
            .args(["--node", address, "--as-cluster-key", private]);
        command.args(["--cluster-public-key-file", &public]);
        command
    };
    assert_eq!(ok(&mut with(&["user", "list"], &private)), here);
    assert!(ok(&mut with(&["status"], &private)).contains(address));
    ok(&mut with(
        &["acl", "set", "public", "alice", "select,insert"],
        &private,
    ));
    ok(&mut with(&["acl", "unset", "public", "alice"], &private));
    let said = refused(&mut with(&["node", "rotate", "--yes"], &private), 2);
    assert!(said.contains("the cluster key is no user"), "{said}");
    // Another key is nobody's.
    let (other, public) = (cluster.path("odd.key"), cluster.path("odd.public"));
    ok(palisade().args(["keygen", "-p", &text(&public), "-s", &text(&other)]));
    let said = refused(&mut with(&["user", "list"], &text(&other)), 1);
    assert!(said.contains("does not know you"), "{said}");
}

// "shows the fingerprint, asks, --fingerprint to give it beforehand; refuses without a terminal"
fn adding(cluster: &Cluster, alice: &str) {
    let (address, fingerprint) = own(cluster);
    let said = refused(&mut cluster.command(&["node", "add", &address]), 1);
    assert!(said.contains("is node 1 already"), "{said}");
    let said = refused(&mut cluster.command(&["node", "add", "127.0.0.1:1"]), 3);
    assert!(said.contains("nobody answers"), "{said}");
    let gateway = format!("127.0.0.1:{}", cluster.port);
    let said = fails(&mut cluster.command(&["node", "add", &gateway]));
    assert!(said.contains("api.listen"), "{said}");

    let secret = cluster.path("new.secret");
    let mut machine = Machine::new(&cluster.path(""), "added");
    ok(&mut machine.placed(&["init", "--secret", &text(&secret)]));
    machine.start("waiting to be added");
    let address = machine.address();
    let add = |more: &[&str]| {
        let mut command = cluster.command(&["node", "add", &address]);
        command.args(more);
        command
    };
    let right = machine.fingerprint();
    for more in [&[][..], &["--yes"]] {
        let said = refused(&mut add(more), 2);
        assert!(said.contains("nobody is here to compare"), "{said}");
        assert!(said.contains(&right), "{said}");
    }
    let said = refused(&mut add(&["--fingerprint", &fingerprint]), 1);
    assert!(
        said.contains(&format!("is {right}, not {fingerprint}")),
        "{said}"
    );
    refused(&mut add(&["--fingerprint", "SHA256:abc"]), 2);
    let said = refused(&mut add(&["--fingerprint", &right, "--as", alice]), 1);
    assert!(said.contains("privilege system"), "{said}");
    let nodes = json(&mut cluster.command(&["node", "list", "--json"]));
    assert_eq!(nodes.as_array().unwrap().len(), 1, "nothing was done");
}
