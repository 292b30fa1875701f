//! Certificates, end to end: issued, used at the gateway and at PostgreSQL's own port, revoked, and the
//! CA that signs them renewed under open sessions or rescued after its end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Cluster, Doors, OpenSession, Process, fails, issuer_at, ok, palisade};
use palisade_daemon::author::ClusterAuthor;
use palisade_daemon::layout::Layout;
use palisade_daemon::ledger::Ledger;
use palisade_daemon::pki::{self, Pki};
use palisade_daemon::store::Store;
use palisade_ledger::{Change, Hash};
use palisade_link::x509::{self, IssuingCa, Request};
use palisade_testkit::{free_port, poll};
use time::OffsetDateTime;

/// For what the nodes do by themselves within a moment.
const SOON: Duration = Duration::from_mins(2);

/// A cluster whose PostgreSQL listens itself, too.
struct Open {
    cluster: Cluster,
    direct: u16,
    daemon: Process,
}

impl Open {
    fn start() -> Self {
        let mut cluster = Cluster::up();
        for name in ["billing", "backup"] {
            cluster.add_user(name, "select,set_transaction");
        }
        let rules = cluster.path("rules");
        let text = "hostssl all billing,backup,nightly all cert\nhostssl all all all auto\n";
        std::fs::write(&rules, text).unwrap();
        cluster.run(&["hba", "set", rules.to_str().unwrap()]);
        cluster.stop();
        let (direct, api) = (free_port().unwrap(), free_port().unwrap());
        let mut command = palisade();
        command
            .arg("daemon")
            .env("PALISADE_NODE_DATA_DIRECTORY", cluster.dir())
            .env(
                "PALISADE_GATEWAY_LISTEN",
                format!("127.0.0.1:{}", cluster.port),
            )
            .env("PALISADE_API_LISTEN", format!("127.0.0.1:{api}"))
            .env("PALISADE_POSTGRES_LISTEN", "127.0.0.1")
            .env("PALISADE_POSTGRES_PORT", direct.to_string());
        let daemon = Process::start(&mut command, &cluster.path("daemon.log"), "serving at");
        Self {
            cluster,
            direct,
            daemon,
        }
    }

    /// Issues a certificate; the path without its ending.
    fn issue(&self, args: &[&str], prefix: &str) -> PathBuf {
        let prefix = self.cluster.path(prefix);
        let mut command = self.cluster.command(&["ca", "issue"]);
        ok(command.args(args).arg("-o").arg(&prefix));
        prefix
    }

    /// A psql with a client certificate and sslmode=verify-full.
    fn psql(&self, port: u16, user: &str, prefix: &Path) -> Command {
        let conninfo = format!(
            "host=127.0.0.1 port={port} dbname=main user={user} sslmode=verify-full sslrootcert={root} \
             sslcert={prefix}.crt sslkey={prefix}.key",
            root = self.cluster.dir().join("root.crt").display(),
            prefix = prefix.display(),
        );
        let mut command = Command::new("psql");
        command
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", &conninfo])
            .stdin(Stdio::null());
        command
    }

    fn logs_in(&self, port: u16, user: &str, prefix: &Path) -> bool {
        let mut psql = self.psql(port, user, prefix);
        let said = psql
            .args(["-c", "SELECT 'in as ' || session_user"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&said.stdout).trim() == format!("in as {user}")
    }

    fn session(&self, port: u16, user: &str, prefix: &Path) -> OpenSession {
        let mut session = OpenSession::open(&mut self.psql(port, user, prefix));
        session.send("SELECT 'ready';");
        session.expect("ready");
        session
    }

    fn gateway(&self) -> u16 {
        self.cluster.port
    }

    fn list(&self) -> serde_json::Value {
        serde_json::from_str(&self.cluster.run(&["ca", "list", "--json"])).unwrap()
    }
}

fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    let found = poll(what, SOON, || holds().then_some(()));
    assert!(found.is_ok(), "{what} did not come about");
}

/// "revocation by CRL to PostgreSQL [...] and at once in the gateway".
#[test]
fn a_certificate_opens_both_doors_until_it_is_revoked() {
    let open = Open::start();
    let billing = open.issue(&["--user", "billing"], "billing");
    let backup = open.issue(&["--user", "backup", "--days", "30"], "backup");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(billing.with_extension("key"))
            .unwrap()
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    for (user, prefix) in [("billing", &billing), ("backup", &backup)] {
        for port in [open.gateway(), open.direct] {
            assert!(
                open.logs_in(port, user, prefix),
                "{user} at {port}: {}",
                open.daemon.log()
            );
        }
    }
    // In nobody else's name.
    for port in [open.gateway(), open.direct] {
        assert!(!open.logs_in(port, "backup", &billing));
        assert!(!open.logs_in(port, "admin", &billing));
    }
    let mut sessions =
        [open.gateway(), open.direct].map(|port| open.session(port, "billing", &billing));
    let mut other = open.session(open.gateway(), "backup", &backup);
    let said = open.cluster.run(&[
        "ca",
        "revoke",
        billing.with_extension("crt").to_str().unwrap(),
        "--reason",
        "laptop stolen",
    ]);
    assert!(said.contains("(billing)"), "{said}");
    assert!(
        !open.logs_in(open.gateway(), "billing", &billing),
        "at once"
    );
    for session in &mut sessions {
        session.send("SELECT 1;");
        session.expect("FATAL");
    }
    soon("PostgreSQL refuses it", || {
        !open.logs_in(open.direct, "billing", &billing)
    });
    // The others are as they were, and a new certificate opens the doors again.
    other.send("SELECT 'still here';");
    other.expect("still here");
    assert!(open.logs_in(open.direct, "backup", &backup));
    let again = open.issue(&["--user", "billing"], "again");
    for port in [open.gateway(), open.direct] {
        assert!(open.logs_in(port, "billing", &again));
    }
    let list = open.list();
    let line = |subject: &str, revoked: bool| {
        let lines = list.as_array().unwrap();
        lines
            .iter()
            .any(|line| line["subject"] == subject && line["revoked"].is_string() == revoked)
    };
    assert!(line("billing", true) && line("billing", false) && line("backup", false));
    assert!(
        list.as_array()
            .unwrap()
            .iter()
            .all(|line| line["kind"] == "server" || line["by"] == "admin")
    );
    // The node's own leaf is there, by the node.
    assert!(
        list.as_array()
            .unwrap()
            .iter()
            .any(|line| line["holder"] == 1)
    );
    let inspected = fails(
        open.cluster
            .command(&["ca", "inspect"])
            .arg(billing.with_extension("crt")),
    );
    assert!(
        inspected.contains("it was revoked") && inspected.contains("laptop stolen"),
        "{inspected}"
    );
}

/// A tool's or service's certificate is not a user's, even where its name becomes one later.
#[test]
fn a_certificate_that_is_older_than_its_user_opens_no_door() {
    let open = Open::start();
    let tool = open.issue(&["--tool", "nightly", "--days", "30"], "tool");
    let service = open.issue(&["--service", "nightly"], "service");
    open.cluster.add_user("nightly", "select,set_transaction");
    let own = open.issue(&["--user", "nightly"], "own");
    let prefix = open.cluster.path("another");
    let mut another = open.cluster.command(&["ca", "issue", "--tool", "nightly"]);
    let said = fails(another.arg("-o").arg(&prefix));
    assert!(said.contains("nightly is a user"), "{said}");
    for port in [open.gateway(), open.direct] {
        soon("the user's own", || open.logs_in(port, "nightly", &own));
    }
    for old in [&tool, &service] {
        assert!(!open.logs_in(open.gateway(), "nightly", old), "at once");
        soon("PostgreSQL refuses it", || {
            !open.logs_in(open.direct, "nightly", old)
        });
    }
    assert!(open.logs_in(open.direct, "nightly", &own));
}

/// "`inspect FILE [--for HOST]` says in words what a certificate is and what is wrong with it (the seed's step 5)"
#[test]
fn the_seeds_certificates_by_one_command_and_inspected() {
    let cluster = Cluster::up();
    let (prefix, root) = (cluster.path("n1.etcd"), cluster.path("rootCA.crt"));
    let args = [
        "--host",
        "n1",
        "--host",
        "10.0.0.1",
        "--host",
        "127.0.0.1",
        "--etcd",
    ];
    let mut issue = cluster.command(&["ca", "issue"]);
    issue
        .args(args)
        .arg("-o")
        .arg(&prefix)
        .arg("--root")
        .arg(&root);
    ok(&mut issue);
    let said = fails(&mut issue);
    assert!(said.contains("is there already"), "{said}");
    let certificate = cluster.path("n1.etcd.crt");
    let verified = Command::new("openssl")
        .args(["verify", "-verify_hostname", "n1", "-CAfile"])
        .args([
            &root,
            &PathBuf::from("-untrusted"),
            &certificate,
            &certificate,
        ])
        .output()
        .unwrap();
    assert!(verified.status.success(), "{verified:?}");
    let inspect = |args: &[&str]| {
        let mut command = cluster.command(&["ca", "inspect"]);
        command.arg(&certificate).args(args);
        command
    };
    let said = ok(&mut inspect(&["--for", "n1"]));
    assert!(said.contains("nothing is wrong with it for n1"), "{said}");
    assert!(
        said.contains("n1, 10.0.0.1, 127.0.0.1") && said.contains("server, client"),
        "{said}"
    );
    let said = fails(&mut inspect(&["--for", "n2"]));
    assert!(said.contains("it does not name n2"), "{said}");
    assert!(
        said.contains("remedy: issue one that does: palisade ca issue --host n2"),
        "{said}"
    );
    let key = cluster.path("n1.etcd.key");
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&key, readable).unwrap();
    let json = inspect(&["--json"]).output().unwrap();
    assert!(!json.status.success());
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["faults"][0]["kind"], "key_exposed");
    // Somebody else's certificate, made by hand.
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "10000", "-subj", "/CN=n1",
        ])
        .args([
            "-addext",
            "basicConstraints=CA:FALSE",
            "-keyout",
            "hand.key",
            "-out",
            "hand.crt",
        ])
        .current_dir(cluster.path(""))
        .output()
        .unwrap();
    assert!(made.status.success());
    let said = fails(
        cluster
            .command(&["ca", "inspect"])
            .arg(cluster.path("hand.crt")),
    );
    for fault in [
        "it has no subjectAltName",
        "does not lead to this cluster's root",
        "good for 10000 days",
    ] {
        assert!(said.contains(fault), "{said}");
    }
}

/// "a CSR asking for CA:TRUE or other SANs gets a plain leaf"
#[test]
fn a_request_gets_what_its_asker_may_have_and_others_can_trust_it() {
    let cluster = Cluster::up();
    let made = Command::new("openssl")
        .args([
            "req",
            "-new",
            "-nodes",
            "-newkey",
            "rsa:2048",
            "-subj",
            "/CN=admin",
            "-keyout",
            "w.key",
        ])
        .args([
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "subjectAltName=DNS:bank.example",
        ])
        .args(["-out", "w.csr"])
        .current_dir(cluster.path(""))
        .output()
        .unwrap();
    assert!(made.status.success());
    let mut issue = cluster.command(&["ca", "issue", "--tool", "w"]);
    issue
        .arg("--csr")
        .arg(cluster.path("w.csr"))
        .arg("-o")
        .arg(cluster.path("w.out"));
    ok(&mut issue);
    let json = ok(cluster
        .command(&["ca", "inspect", "--json"])
        .arg(cluster.path("w.out.crt")));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let leaf = &json["certificates"][0];
    assert_eq!(leaf["subject"], "CN=w");
    assert_eq!(
        (
            leaf["ca"].as_bool(),
            leaf["hosts"].as_array().unwrap().len()
        ),
        (Some(false), 0)
    );
    assert!(!cluster.path("w.out.key").exists());
    cluster.run(&["ca", "export", "-o", cluster.path("out").to_str().unwrap()]);
    for name in ["root.crt", "issuing.crt", "crl.pem"] {
        assert!(cluster.path("out").join(name).exists(), "{name}");
    }
}

/// "`ca rotate` in phases [...], and never drops a session"
#[test]
fn the_issuing_ca_is_rotated_under_open_sessions() {
    let open = Open::start();
    let billing = open.issue(&["--user", "billing"], "billing");
    let doors = [open.gateway(), open.direct];
    let before = doors.map(issuer_at);
    assert!(
        before[0].contains("issuing") && before[0] == before[1],
        "{before:?}"
    );
    let mut sessions = doors.map(|port| open.session(port, "billing", &billing));
    let mut admin = OpenSession::open(&mut open.cluster.psql("admin"));
    admin.send("SELECT 'ready';");
    admin.expect("ready");
    let output = open.cluster.command(&["ca", "rotate"]).output().unwrap();
    let said = common::said(&output);
    assert!(output.status.success(), "{said}\n{}", open.daemon.log());
    for phase in [
        "added:",
        "proved:",
        "cut over:",
        "kept: 1 certificates rest on the old CA (billing)",
    ] {
        assert!(said.contains(phase), "{said}");
    }
    for port in doors {
        soon("the door shows the new leaf", || {
            let now = issuer_at(port);
            now.contains("issuing") && now != before[0]
        });
    }
    for session in sessions.iter_mut().chain([&mut admin]) {
        session.send("SELECT 'still here';");
        session.expect("still here");
    }
    // Old and new certificates open both doors, until the old CA goes.
    let new = open.issue(&["--user", "billing"], "new");
    for port in doors {
        for prefix in [&billing, &new] {
            assert!(open.logs_in(port, "billing", prefix), "{port}");
        }
    }
    let said = open
        .cluster
        .run(&["ca", "rotate", "--retire-now", "--retire"]);
    assert!(said.contains("in order"), "{said}");
    assert!(!open.logs_in(open.gateway(), "billing", &billing));
    for session in &mut sessions {
        session.send("SELECT 1;");
        session.expect("FATAL");
    }
    soon("PostgreSQL takes no certificate of the old CA", || {
        !open.logs_in(open.direct, "billing", &billing)
    });
    for port in doors {
        soon("the new one is good", || {
            open.logs_in(port, "billing", &new)
        });
    }
    admin.send("SELECT 'to the end';");
    admin.expect("to the end");
    let shown = open.cluster.run(&["ca", "show", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["issuing"].as_array().unwrap().len(), 1);
    assert_eq!(shown["issuing"][0]["state"], "signs");
    let list = open.list();
    let good = |line: &serde_json::Value| {
        line["holder"] == 1 && !line["issuer"].as_str().unwrap().contains("retired")
    };
    assert!(list.as_array().unwrap().iter().any(good));
}

/// The same over three nodes that share their ledger by etcd, whose certificates change, too.
#[test]
fn three_nodes_get_another_ca_under_open_sessions() {
    let temp = palisade_testkit::temp_dir().unwrap();
    let dir = temp.path().join("cluster");
    let mut up = Doors::new(3).up(&dir);
    up.args(["--nodes", "3"]);
    let process = Process::start(&mut up, &temp.path().join("log"), "Ctrl-C stops");
    let log = process.log();
    let port = |line: &str| {
        line.split(" at 127.0.0.1:")
            .nth(1)?
            .split(',')
            .next()?
            .parse()
            .ok()
    };
    let nodes = log
        .lines()
        .filter(|line| line.contains("node ") && line.contains(" at 127.0.0.1:"));
    let doors: Vec<u16> = nodes.filter_map(port).collect();
    assert_eq!(doors.len(), 3, "{log}");
    let command = |args: &[&str]| {
        let mut command = palisade();
        command.args(args).env("PALISADE_DIR", &dir);
        command.env(
            "PALISADE_CREDENTIALS",
            dir.join("private/admin.credentials"),
        );
        command
    };
    let psql = |port: u16, user: &str, certificate: &Path| {
        let mut command = Command::new("psql");
        command.args(["-X", "-q", "-A", "-t"]).arg(format!(
            "host=127.0.0.1 port={port} dbname=main user={user} sslmode=verify-full sslrootcert={} sslcert={} sslkey={}",
            dir.join("root.crt").display(),
            certificate.with_extension("crt").display(),
            certificate.with_extension("key").display(),
        ));
        command
    };
    let session = |port: u16, user: &str, certificate: &Path| {
        let mut session = OpenSession::open(&mut psql(port, user, certificate));
        session.send("SELECT 'ready';");
        session.expect("ready");
        session
    };
    let admin = dir.join("private/admin.crt");
    let mut sessions: Vec<_> = doors
        .iter()
        .map(|port| session(*port, "admin", &admin))
        .collect();
    let before = issuer_at(doors[0]);
    let output = command(&["ca", "rotate"]).output().unwrap();
    let said = common::said(&output);
    assert!(output.status.success(), "{said}\n{}", process.log());
    for phase in ["proved: 3 nodes", "cut over:", "retired:"] {
        assert!(said.contains(phase), "{said}");
    }
    for port in &doors {
        let now = issuer_at(*port);
        assert!(now.contains("issuing") && now != before, "{now}");
    }
    for session in &mut sessions {
        session.send("SELECT 'still here';");
        session.expect("still here");
    }
    // The ledger goes on: etcd's members know each other by the new certificates. And a revocation on
    // one node ends the sessions on another.
    let file = temp.path().join("billing");
    let out = file.to_str().unwrap();
    let credentials = temp.path().join("billing.credentials");
    ok(command(&[
        "user",
        "add",
        "-u",
        "billing",
        "--privileges",
        "select",
        "-s",
    ])
    .arg(&credentials));
    ok(&mut command(&[
        "ca", "issue", "--user", "billing", "-o", out,
    ]));
    soon("the third node has it in its inventory", || {
        let mut psql = psql(doors[2], "billing", &file);
        let said = psql.args(["-c", "SELECT 'in'"]).stdin(Stdio::null());
        said.output().unwrap().stdout.starts_with(b"in")
    });
    let mut billing = session(doors[2], "billing", &file);
    ok(&mut command(&["ca", "revoke", &format!("{out}.crt")]));
    billing.send("SELECT 1;");
    billing.expect("FATAL");
    for name in ["node-2", "node-3"] {
        soon("every node has the list", || {
            let list = |dir: &Path| std::fs::read(dir.join("crl.pem")).unwrap_or_default();
            list(&dir.join(name)) == list(&dir)
        });
    }
}

/// "which stops and rolls back when a node can't prove": its PostgreSQL does not answer.
#[test]
fn a_rotation_that_can_not_be_proved_rolls_back() {
    let open = Open::start();
    let before = issuer_at(open.gateway());
    let mut admin = OpenSession::open(&mut open.cluster.psql("admin"));
    admin.send("SELECT 'ready';");
    admin.expect("ready");
    let pid =
        std::fs::read_to_string(open.cluster.dir().join("postgres/data/postmaster.pid")).unwrap();
    let pid = pid.lines().next().unwrap().trim().parse().unwrap();
    let postmaster = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(postmaster, rustix::process::Signal::STOP).unwrap();
    let output = open.cluster.command(&["ca", "rotate"]).output().unwrap();
    rustix::process::kill_process(postmaster, rustix::process::Signal::CONT).unwrap();
    let said = common::said(&output);
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains("node 1 can't prove the candidate: PostgreSQL at"),
        "{said}"
    );
    assert!(said.contains("rolled back"), "{said}");
    let shown = open.cluster.run(&["ca", "show", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["issuing"].as_array().unwrap().len(), 1);
    for port in [open.gateway(), open.direct] {
        soon("the old leaf is shown", || issuer_at(port) == before);
    }
    assert!(!open.cluster.dir().join("private/candidate.key").exists());
    admin.send("SELECT 'still here';");
    admin.expect("still here");
}

/// "`palisade ca rescue` for a cluster whose every certificate has expired"
#[test]
fn an_expired_cluster_is_rescued() {
    let mut cluster = Cluster::up();
    cluster.sql("admin", "CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
    let said = fails(&mut cluster.command(&["ca", "rescue"]));
    assert!(said.contains("must be stopped"), "{said}");
    cluster.stop();
    expire(&Layout::new(cluster.dir()));
    let up = |cluster: &Cluster| {
        let mut command = palisade();
        command.args(["up", "--dir"]).arg(cluster.dir());
        command.args(["--listen", &format!("127.0.0.1:{}", cluster.port)]);
        command
    };
    let said = fails(&mut up(&cluster));
    assert!(said.contains("palisade ca rescue"), "{said}");
    let said = ok(&mut cluster.command(&["ca", "rescue"]));
    assert!(said.contains("a new issuing CA is ready"), "{said}");
    cluster.start();
    assert_eq!(cluster.sql("admin", "SELECT n FROM t"), "1");
    let shown = cluster.run(&["ca", "show", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["issuing"].as_array().unwrap().len(), 1);
    let status = cluster.run(&["status"]);
    assert!(!status.contains("PROBLEM"), "{status}");
}

/// As if the cluster had been made two years ago, with an issuing CA for one.
fn expire(layout: &Layout) {
    let cluster = ClusterAuthor::new(pki::read_secret_key(&layout.cluster_private_key()).unwrap());
    let then = OffsetDateTime::now_utc() - time::Duration::days(730);
    let until = Some(then + time::Duration::days(365));
    let (old, key) = IssuingCa::create_until(cluster.key(), &[0x44, 1], then, until).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let ledger = Ledger::open(
            Store::open(&layout.private()).unwrap(),
            &cluster.key().public(),
        )
        .unwrap();
        let before: Vec<_> = ledger.now().issuing_cas().map(Hash::of).collect();
        let certificate = old.certificate().to_vec();
        cluster
            .append(&ledger, Change::IssuingCaAdd { certificate })
            .await
            .unwrap();
        for certificate in before {
            cluster
                .append(&ledger, Change::IssuingCaRemove { certificate })
                .await
                .unwrap();
        }
    });
    let write = |name: &str, text: &str| {
        let path = layout.private().join(name);
        palisade_daemon::files::write_private(&path, text.as_bytes()).unwrap();
    };
    write("issuing.crt", &x509::certificate_pem(old.certificate()));
    write("issuing.key", &x509::pem("PRIVATE KEY", &key));
    let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let request = Request {
        common_name: "localhost",
        hosts: &hosts,
        now: then,
        lifetime: time::Duration::days(90),
        serial: &[8],
    };
    let pki = Pki::load(layout).unwrap();
    pki.write_server(&old.server(&request).unwrap()).unwrap();
    for path in [layout.serving_certificate(), layout.serving_key()] {
        std::fs::remove_file(path).unwrap();
    }
}
