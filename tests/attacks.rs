//! Attacks on a whole running cluster, door by door; SECURITY.md names each. What a single crate's
//! doors withstand is tested in that crate.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod common;

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Cluster, Doors, OpenSession, Process, fails, ok, palisade, said};
use palisade_testkit::{poll, temp_dir};

/// What a refusal by PostgreSQL or by a guard says.
const REFUSED: &[&str] = &[
    "permission denied",
    "must be ",
    "must have ",
    "is not allowed",
];

/// What a session hears whose statement was refused, or which was ended before it.
const OUT: &[&str] = &[
    "permission denied",
    "must be ",
    "terminating connection",
    "server closed the connection",
];

fn refused(cluster: &Cluster, user: &str, statements: &[&str]) {
    for sql in statements {
        let told = cluster.sql_fails(user, sql);
        assert!(
            REFUSED.iter().any(|sign| told.contains(sign)),
            "{user}: {sql}: {told}"
        );
    }
}

/// psql on the gateway with a connection string of one's own choice behind the usual one.
fn connect(cluster: &Cluster, more: &str) -> Command {
    let mut command = Command::new("psql");
    let root = cluster.dir().join("root.crt");
    command
        .env("PGPASSWORD", "correct horse")
        .args(["-X", "-q", "-A", "-t", "-w", "-c", "SELECT session_user"])
        .arg(format!(
            "host=127.0.0.1 port={} dbname=main sslmode=verify-full sslrootcert={} {more}",
            cluster.port,
            root.display()
        ))
        .stdin(Stdio::null());
    command
}

// Door: the gateway before login.
#[test]
fn a_stranger_gets_no_further_than_the_door() {
    let cluster = Cluster::up();
    cluster.add_user("alice", "select");
    let startup = b"\0\0\0\x1f\0\x03\0\0user\0admin\0database\0x\0\0";
    let encrypt = [0, 0, 0, 8, 4, 210, 22, 47];
    let ask = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(("127.0.0.1", cluster.port)).unwrap();
        let patience = Some(Duration::from_mins(1));
        stream.set_read_timeout(patience).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        String::from_utf8_lossy(&answer).into_owned()
    };
    assert!(ask(startup).contains("encrypted connections only"));
    let injected = ask(&[encrypt.as_slice(), startup].concat());
    assert!(injected.contains("unencrypted data"), "{injected}");
    for odd in [
        b"\0\0\0\0xxxx".as_slice(),
        b"\x7f\xff\xff\xffxxxx",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        assert!(ask(odd).contains("out of bounds"));
    }
    // Roles that are no users of the ledger, the bootstrap superuser above all, are strangers, too.
    let stranger = |user: &str| fails(&mut connect(&cluster, &format!("user={user}")));
    let unknown = stranger("nobody");
    for role in [
        "palisade",
        "palisade_owner",
        "palisade_keys",
        "postgres",
        "pg_monitor",
    ] {
        assert_eq!(stranger(role).replace(role, "nobody"), unknown);
    }
    // A certificate in the superuser's name with a key of one's own; a user's own with another name.
    let key = cluster.path("own.key");
    let certificate = cluster.path("own.crt");
    for kind in [
        ["-algorithm", "ed25519"].as_slice(),
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    ] {
        ok(Command::new("openssl")
            .args(["genpkey", "-out"])
            .arg(&key)
            .args(kind));
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        ok(Command::new("openssl")
            .args([
                "req",
                "-new",
                "-x509",
                "-subj",
                "/CN=admin",
                "-days",
                "5",
                "-key",
            ])
            .arg(&key)
            .arg("-out")
            .arg(&certificate));
        let pair = format!("sslcert={} sslkey={}", certificate.display(), key.display());
        let told = fails(connect(&cluster, &format!("user=admin {pair}")).env_remove("PGPASSWORD"));
        assert!(told.contains("no password supplied"), "{told}");
    }
    let (own, key) = (cluster.admin("crt"), cluster.admin("key"));
    let pair = format!(
        "user=alice sslcert={} sslkey={}",
        own.display(),
        key.display()
    );
    let told = fails(connect(&cluster, &pair).env("PGPASSWORD", "wrong"));
    assert!(told.contains("authentication failed"), "{told}");
}

// Door: the session.
#[test]
fn a_session_stays_its_users_own() {
    let cluster = Cluster::up();
    cluster.add_user("alice", "select");
    for option in [
        "session_authorization=palisade",
        "role=palisade",
        "role=palisade_owner",
        "session_replication_role=replica",
        "session_preload_libraries=x",
        "allow_system_table_mods=on",
        "log_min_messages=panic",
    ] {
        let told = fails(&mut connect(
            &cluster,
            &format!("user=alice options='-c {option}'"),
        ));
        assert!(told.contains("permission denied"), "{option}: {told}");
    }
    for database in ["postgres", "template0", "template1", "replication"] {
        fails(&mut connect(
            &cluster,
            &format!("user=alice dbname={database}"),
        ));
    }
    assert_eq!(ok(&mut connect(&cluster, "user=alice")).trim(), "alice");
}

// Door: PostgreSQL's rights. The side doors one by one are in the agent's attacks_*.rs; here the real
// cluster is asked, with a user who reads and one who holds nearly everything but `select`.
#[test]
fn no_statement_leads_out_of_ones_rights() {
    let cluster = Cluster::up();
    cluster.add_user("reader", "select,set_transaction");
    cluster.add_user(
        "definer",
        "create,alter,index,drop,insert,system,set_transaction",
    );
    cluster.sql(
        "admin",
        "CREATE TABLE secret (s text); INSERT INTO secret VALUES ('x')",
    );
    for user in ["reader", "definer"] {
        refused(
            &cluster,
            user,
            &[
                "SELECT * FROM pg_authid",
                "SELECT * FROM palisade.users",
                "SELECT * FROM palisade.acls",
                "UPDATE palisade.objects SET name = 'x'",
                "SELECT pg_read_file('PG_VERSION')",
                "COPY (SELECT 1) TO PROGRAM 'id'",
                "COPY (SELECT 1) TO '/tmp/x'",
                "SELECT lo_creat(1)",
                "LOAD 'plpgsql'",
                "SET ROLE palisade",
                "SET ROLE admin",
                "SET SESSION AUTHORIZATION palisade",
                "SELECT set_config('session_authorization', 'palisade', false)",
                "SET session_replication_role = replica",
                "ALTER SYSTEM SET log_statement = 'all'",
                "ALTER DATABASE main SET search_path = x",
                "ALTER ROLE reader SUPERUSER",
                "ALTER ROLE reader VALID UNTIL 'infinity'",
                "CREATE ROLE eve",
                "CREATE DATABASE eve",
                "GRANT palisade_owner TO reader",
                "CREATE EXTENSION dblink",
                "CREATE EXTENSION postgres_fdw",
                "CREATE EXTENSION adminpack",
                "CREATE EXTENSION plperl",
                "CREATE PUBLICATION p FOR ALL TABLES",
                "SELECT pg_create_logical_replication_slot('s', 'pgoutput')",
                "ALTER EVENT TRIGGER palisade_start DISABLE",
                "DROP EVENT TRIGGER palisade_end",
                "DROP SCHEMA palisade CASCADE",
                "DROP FUNCTION palisade.guard_start()",
                "CREATE FUNCTION palisade.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
                "CREATE TABLE pg_catalog.t (n int)",
                "SELECT palisade.on_start('reader', 'REFRESH MATERIALIZED VIEW')",
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'palisade'",
                "BEGIN; LOCK TABLE palisade.objects",
                "COMMENT ON DATABASE main IS 'x'",
            ],
        );
    }
    assert!(
        cluster
            .sql_fails("reader", "SELECT palisade.on_end('x', 'y')")
            .contains("event trigger")
    );
    assert!(
        cluster
            .sql_fails("reader", "BEGIN; PREPARE TRANSACTION 'x'")
            .contains("disabled")
    );
    refused(
        &cluster,
        "definer",
        &["SELECT * FROM secret", "COPY secret TO STDOUT"],
    );
    // Other users' statements are not shown.
    let others = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'palisade' AND query !~ 'insufficient privilege'";
    assert_eq!(cluster.sql("reader", others), "0");
    // "ALTER ROLE" on oneself is possible in PostgreSQL; it is drift, found and undone.
    cluster.sql("reader", "ALTER ROLE reader PASSWORD 'mine'");
    cluster.sql("reader", "ALTER ROLE reader SET search_path = x");
    poll("the role as it was", Duration::from_mins(1), || {
        let sql = "SELECT rolpassword IS DISTINCT FROM 'mine' AND NOT EXISTS (SELECT 1 FROM pg_db_role_setting) \
                   FROM pg_authid WHERE rolname = 'reader'";
        (ok(cluster.bootstrap_psql().args(["-c", sql])).trim() == "t").then_some(())
    })
    .unwrap();
    assert!(cluster.run(&["status"]).contains("mended"));
}

// Names that mean something to PostgreSQL, to a shell or in pg_ident.conf are names like others.
#[test]
fn a_name_is_only_a_name() {
    let cluster = Cluster::up();
    cluster.sql("admin", "CREATE TABLE t (n int)");
    let longest = "x".repeat(63);
    let taken = [
        "current_user",
        "samegroup",
        "postgres",
        "Admin",
        "..x",
        "emoji😀",
        "$(id)",
        &longest,
    ];
    for name in taken {
        cluster.run(&[
            "user",
            "add",
            "-u",
            name,
            "--privileges",
            "select,set_transaction",
            "-s",
            "-",
        ]);
        cluster.run(&["acl", "set", "public.t", name, "insert,select"]);
    }
    let roles = ok(cluster
        .bootstrap_psql()
        .args(["-c", "SELECT rolname FROM pg_roles WHERE rolcanlogin"]));
    for name in taken {
        assert!(roles.lines().any(|line| line == name), "{name} in {roles}");
    }
    let too_long = "x".repeat(64);
    for name in [
        "palisade",
        "Palisade_owner",
        "pg_monitor",
        "public",
        "none",
        "all",
        "replication",
        "+group",
        "@file",
        "/regexp",
        "a b",
        "a\"b",
        "a'b",
        "a,b",
        "a\nb",
        "a\u{1b}[31m",
        "",
        ">[HAL_9000]<",
        &too_long,
    ] {
        fails(&mut cluster.command(&["user", "add", &format!("--username={name}"), "-s", "-"]));
    }
    assert!(cluster.run(&["status"]).contains("healthy"));
}

// A user may say NOTIFY as often as he likes: it holds up no change of rights.
#[test]
fn a_flood_of_notifications_holds_up_no_change() {
    let cluster = Cluster::up();
    cluster.add_user("alice", "select");
    cluster.sql("admin", "CREATE TABLE t (n int)");
    let mut flood = OpenSession::open(&mut cluster.psql("alice"));
    for _ in 0..5000 {
        flood.send("NOTIFY palisade_changed, 'x';");
    }
    cluster.run(&["acl", "set", "public.t", "alice", "get_acl"]);
    refused(&cluster, "alice", &["SELECT * FROM t"]);
}

/// A command as another user of the operating system.
fn as_os_user(name: &str, script: &str) -> Command {
    let id = |flag: &str| -> u32 {
        let told = ok(Command::new("id").args([flag, name]));
        told.trim().parse().unwrap()
    };
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .current_dir("/")
        .uid(id("-u"))
        .gid(id("-g"));
    command
}

// Doors: PostgreSQL's own socket, the control socket, the cluster key and files.
#[test]
fn other_users_of_the_machine_find_every_door_shut() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can try as somebody else");
        return;
    }
    let cluster = Cluster::up();
    let dir = cluster.dir().display().to_string();
    for user in ["nobody", "postgres"] {
        for script in [
            format!("psql -X -h {dir}/postgres/run -U palisade -d main -c 'SELECT 1'"),
            format!("psql -X -h {dir}/postgres/run -U palisade -d postgres -c 'SELECT 1'"),
            format!("psql -X -h {dir}/postgres/run -U admin -d main -c 'SELECT 1'"),
            format!(
                "PALISADE_DIR={dir} {} status",
                env!("CARGO_BIN_EXE_palisade")
            ),
            format!("ls {dir}/private"),
            format!("cat {dir}/private/cluster_private.key"),
            format!("cat {dir}/private/ledger.redb"),
            format!("touch {dir}/x"),
            format!("echo >> {dir}/users.cfg"),
            format!("mv {dir}/users.cfg {dir}/y"),
        ] {
            let output = as_os_user(user, &script).output().unwrap();
            assert!(
                !output.status.success(),
                "{user}: {script}: {}",
                said(&output)
            );
        }
    }
    let mode = |path: &str| fs::metadata(cluster.dir().join(path)).unwrap().mode() & 0o777;
    assert_eq!(
        (mode("private"), mode("control.sock"), mode("postgres/run")),
        (0o700, 0o600, 0o700)
    );
    for file in fs::read_dir(cluster.dir().join("private")).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().mode() & 0o777;
        assert!(
            mode == 0o600 || file.file_name() == "issuing.crt",
            "{file:?} {mode:o}"
        );
    }
}

/// One HTTP request on the control socket; the whole answer.
fn control(cluster: &Cluster, method: &str, path: &str, body: &[u8]) -> String {
    let mut stream = UnixStream::connect(cluster.dir().join("control.sock")).unwrap();
    let patience = Some(Duration::from_mins(1));
    stream.set_read_timeout(patience).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // A body that is refused unread may not be taken whole.
    drop(stream.write_all(body));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

// Door: the control socket. "Reaching the socket gives no right to change anything."
#[test]
fn whoever_reaches_the_control_socket_without_a_key_changes_nothing() {
    let cluster = Cluster::up();
    cluster.add_user("alice", "select");
    let before = control(&cluster, "GET", "/v1/head", b"");
    let mut stream = UnixStream::connect(cluster.dir().join("control.sock")).unwrap();
    write!(stream, "GET /v1/entries?from=1 HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let body = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap()
        + 4;
    let entries = &answer[body..];
    let last = entries
        .windows(2)
        .rposition(|window| window == [0xd2, 0x84])
        .unwrap();
    let mut forged = entries[last..].to_vec();
    for (name, entry, status) in [
        ("garbage", b"garbage".as_slice(), "403"),
        ("replayed", &entries[last..], "409"),
        ("twice in one", &entries[last..].repeat(2), "403"),
        ("too large", &vec![0; 20 << 20], "413"),
    ] {
        let told = control(&cluster, "POST", "/v1/entries", entry);
        assert!(
            told.starts_with(&format!("HTTP/1.1 {status}")),
            "{name}: {told}"
        );
    }
    let length = forged.len();
    forged[length - 1] ^= 1;
    assert!(!control(&cluster, "POST", "/v1/entries", &forged).contains(" 200 "));
    for command in ["stop", "purge_all"] {
        let unsigned =
            format!(r#"{{"command":"\"{command}\"","uid":1,"challenge":"x","signature":"AAAA"}}"#);
        let told = control(&cluster, "POST", "/v1/commands", unsigned.as_bytes());
        assert!(told.starts_with("HTTP/1.1 4"), "{told}");
    }
    // Half a request holds nobody up, here or at the gateway.
    let half: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = UnixStream::connect(cluster.dir().join("control.sock")).unwrap();
            write!(
                stream,
                "POST /v1/entries HTTP/1.1\r\nhost: x\r\ncontent-length: 999\r\n\r\nx"
            )
            .unwrap();
            stream
        })
        .collect();
    let tail = |answer: &str| answer.lines().last().unwrap().to_owned();
    assert_eq!(
        tail(&control(&cluster, "GET", "/v1/head", b"")),
        tail(&before)
    );
    assert_eq!(cluster.sql("alice", "SELECT 1"), "1");
    drop(half);
}

// Door: the user list. Who may write it can make himself a superuser, so others may not.
#[test]
fn a_user_list_that_others_may_write_is_not_followed() {
    let cluster = Cluster::up();
    let path = cluster.dir().join("users.cfg");
    let text = fs::read_to_string(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    fs::write(
        &path,
        text.replace("\"admin\"", "\"eve\"")
            .replace("\"uid\": 1", "\"uid\": 77"),
    )
    .unwrap();
    cluster.run(&["reload"]);
    poll("a word in the log", Duration::from_mins(1), || {
        cluster.log().contains("chmod go-w").then_some(())
    })
    .unwrap();
    assert!(!cluster.run(&["user", "list"]).contains("eve"));
}

// "with PALISADE_LOG=trace": secrets are in no log, argument list or environment, and a name that a
// stranger chose forges no line of the log.
#[test]
fn the_log_tells_no_secret_and_takes_no_orders() {
    let temp = temp_dir().unwrap();
    let (dir, log) = (temp.path().join("cluster"), temp.path().join("log"));
    let doors = Doors::new(1);
    let mut up = doors.up(&dir);
    up.env("PALISADE_LOG", "trace");
    let node = Process::start(&mut up, &log, "Ctrl-C stops");
    let admin = dir.join("private/admin.credentials");
    let password = temp.path().join("password");
    fs::write(&password, "correct horse\n").unwrap();
    fs::set_permissions(&password, Permissions::from_mode(0o600)).unwrap();
    let alice = temp.path().join("alice.credentials");
    ok(palisade()
        .args([
            "user",
            "add",
            "-u",
            "alice",
            "--privileges",
            "select",
            "--dir",
        ])
        .arg(&dir)
        .arg("--as")
        .arg(&admin)
        .arg("--password-file")
        .arg(&password)
        .arg("-s")
        .arg(&alice));
    let port = doors.gateway;
    let psql = |user: &str, password: &str| {
        let mut command = Command::new("psql");
        command
            .env("PGPASSWORD", password)
            .args(["-X", "-w", "-c", "SELECT 1"]);
        command.arg(format!(
            "host=127.0.0.1 port={port} dbname=main sslmode=require user='{user}'"
        ));
        command
    };
    ok(&mut psql("alice", "correct horse"));
    fails(&mut psql("alice", "wrong horse"));
    fails(&mut psql(
        "eve\n2026-01-01T00:00:00Z  INFO forged\u{1b}[31m",
        "x",
    ));
    let mut told = node.log();
    told.push_str(&fs::read_to_string(dir.join("postgres/postgres.log")).unwrap());
    assert!(told.contains("forged"));
    assert!(
        !told.contains('\u{1b}')
            && !told
                .lines()
                .any(|line| line.contains("INFO forged") && !line.contains("eve"))
    );
    for file in ["environ", "cmdline"] {
        let bytes = fs::read(format!("/proc/{}/{file}", node.pid())).unwrap_or_else(|error| {
            // The daemon hides its memory, and with it its environment, from all but root.
            assert!(!rustix::process::geteuid().is_root(), "{error}");
            Vec::new()
        });
        told.push_str(&String::from_utf8_lossy(&bytes));
    }
    let key = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        let found = text
            .split('"')
            .map(str::trim)
            .find(|word| word.starts_with('S') && word.len() == 45);
        found
            .unwrap_or_else(|| panic!("no key in {}", path.display()))
            .to_owned()
    };
    let cluster_key = dir.join("private/cluster_private.key");
    let secrets = [
        key(&admin),
        key(&alice),
        key(&cluster_key),
        "correct horse".to_owned(),
        "wrong horse".to_owned(),
        "SCRAM-SHA-256$".to_owned(),
        "PRIVATE KEY".to_owned(),
    ];
    for secret in secrets {
        assert!(!told.contains(&secret), "{secret}");
    }
}

// What follows got through when it was written; what is still ignored does.

/// A user who may make tables of her own, and `kept`, which a foreign key refers to.
fn keeper() -> Cluster {
    let cluster = Cluster::up();
    cluster.sql(
        "admin",
        "CREATE TABLE kept (id int PRIMARY KEY, s text); INSERT INTO kept VALUES (1, 'treasure'); \
         CREATE TABLE refers (id int REFERENCES kept)",
    );
    cluster.add_user(
        "maker",
        "create,alter,drop,index,select,insert,update,delete,set_transaction",
    );
    cluster
}

// A cascade runs as the owner of the table, and so would the functions in the user's own table: the two don't
// come together, in whichever order.
#[test]
fn a_cascade_lends_no_rights_to_a_users_function() {
    let cluster = keeper();
    cluster.run(&["acl", "set", "public.kept", "maker", "get_acl"]);
    cluster.sql(
        "maker",
        "CREATE SCHEMA m; \
         CREATE FUNCTION m.peek() RETURNS int LANGUAGE plpgsql AS $$ BEGIN \
             RAISE NOTICE 'seen: %', (SELECT s FROM public.kept); RETURN NULL; \
         EXCEPTION WHEN insufficient_privilege THEN RETURN NULL; END $$; \
         CREATE TABLE m.parent (id int PRIMARY KEY); \
         CREATE TABLE m.child (id int REFERENCES m.parent ON DELETE SET DEFAULT); \
         CREATE TABLE m.alone (id int DEFAULT m.peek())",
    );
    let both =
        "CREATE TABLE m.both (id int DEFAULT m.peek() REFERENCES m.parent ON DELETE SET DEFAULT)";
    let told = cluster.sql_fails("maker", both);
    assert!(told.contains("a foreign key together"), "{told}");
    refused(
        &cluster,
        "maker",
        &[
            "ALTER TABLE m.child ALTER id SET DEFAULT m.peek()",
            "ALTER TABLE m.alone ADD FOREIGN KEY (id) REFERENCES m.parent ON DELETE SET DEFAULT",
        ],
    );
    let delete = "INSERT INTO m.parent VALUES (1); INSERT INTO m.child VALUES (1); \
                  DELETE FROM m.parent; SELECT 'left: ' || count(id) FROM m.child";
    assert_eq!(cluster.sql("maker", delete), "left: 0");
}

// quote_all_identifiers changes how a regrole is written, and so what a guard compares.
#[test]
fn a_setting_changes_nothing_that_a_guard_reads() {
    let cluster = Cluster::up();
    cluster.sql(
        "admin",
        "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    );
    cluster.add_user("maker", "create,set_transaction");
    let replace = "CREATE OR REPLACE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 666'";
    refused(
        &cluster,
        "maker",
        &[
            replace,
            &format!("SET quote_all_identifiers = on; {replace}"),
        ],
    );
    assert_eq!(cluster.sql("admin", "SELECT f()"), "1");
}

// Taking a role away leaves a session that has taken it on by SET ROLE.
#[test]
fn a_role_taken_on_goes_with_the_right() {
    let cluster = keeper();
    let mut session = OpenSession::open(&mut cluster.psql("maker"));
    session.send("\\set ON_ERROR_STOP 0");
    session.send("SET ROLE palisade_keys; SELECT s FROM public.kept;");
    session.expect("treasure");
    cluster.run(&["acl", "set", "public.kept", "maker", "get_acl"]);
    session.send("UPDATE public.kept SET s = 'taken';");
    session.expect_any(OUT);
    assert_eq!(cluster.sql("admin", "SELECT s FROM kept"), "treasure");
}

// A transaction with an old snapshot sees the old rights.
#[test]
fn a_right_that_is_gone_is_gone_for_old_snapshots() {
    let cluster = keeper();
    let mut session = OpenSession::open(&mut cluster.psql("maker"));
    session.send("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 'began';");
    session.expect("began");
    cluster.run(&[
        "user",
        "set",
        "maker",
        "--privileges",
        "create,alter,index,select,set_transaction",
    ]);
    session.send("DROP TABLE public.refers; COMMIT;");
    session.expect_any(OUT);
    let told = cluster.sql("admin", "SELECT to_regclass('refers') IS NOT NULL");
    assert_eq!(told, "t");
}

// A guard reads the table's name in the statement; each of these names means a table that is not hers to read.
#[test]
fn a_table_is_known_by_each_of_its_names() {
    let cluster = Cluster::up();
    cluster.sql(
        "admin",
        "CREATE TABLE kept (s text); INSERT INTO kept VALUES ('treasure')",
    );
    cluster.sql(
        "admin",
        "CREATE TABLE k\u{e4}pt (s text); INSERT INTO k\u{e4}pt VALUES ('treasure')",
    );
    let longest = "x".repeat(63);
    cluster.sql(
        "admin",
        &format!("CREATE TABLE {longest} (s text); INSERT INTO {longest} VALUES ('treasure')"),
    );
    cluster.add_user("indexer", "index,alter,set_transaction");
    let told: Vec<String> = [
        &format!("CREATE INDEX ON {longest}y ((s::int))"),
        "CREATE INDEX ON kept /* */ ((s::int))",
        "CREATE INDEX ON public.kept ((s::int))",
        "CREATE INDEX ON main.public.kept ((s::int))",
        "CREATE INDEX ON U&\"kept\" ((s::int))",
        "CREATE INDEX ON k\u{e4}pt ((s::int))",
        "ALTER TABLE main.public .kept ADD CHECK (s::int > 0)",
    ]
    .into_iter()
    .map(|sql| format!("{sql}: {}", cluster.sql_fails("indexer", sql)))
    .filter(|told| told.contains("treasure") || !REFUSED.iter().any(|sign| told.contains(sign)))
    .collect();
    assert!(told.is_empty(), "{told:#?}");
}

// EXPLAIN ANALYZE makes the table, and fires no event trigger.
#[test]
fn explain_makes_no_table_without_create() {
    let cluster = Cluster::up();
    cluster.add_user("alterer", "select,alter,index,set_transaction");
    cluster.sql("admin", "CREATE TABLE kept (id int)");
    for what in ["TABLE", "MATERIALIZED VIEW"] {
        let told = cluster.sql_fails(
            "alterer",
            &format!("EXPLAIN ANALYZE CREATE {what} public.made AS SELECT 1"),
        );
        assert!(
            told.contains("permission denied for schema public"),
            "{told}"
        );
    }
    for allowed in [
        "ALTER TABLE kept ADD UNIQUE (id)",
        "CREATE INDEX ON kept (id)",
    ] {
        cluster.sql("alterer", allowed);
    }
}

// Whoever alters a table must not have others write into it what they may read and she may not.
#[test]
fn a_default_does_not_read_for_who_alters() {
    let cluster = Cluster::up();
    cluster.sql(
        "admin",
        "CREATE TABLE kept (s text); CREATE TABLE notes (id int, note text)",
    );
    cluster.add_user("alterer", "select,alter,set_transaction");
    cluster.run(&["acl", "set", "public.kept", "alterer", "get_acl"]);
    refused(
        &cluster,
        "alterer",
        &[
            "ALTER TABLE public.notes ALTER note SET DEFAULT table_to_xml('public.kept', true, false, '')::text",
        ],
    );
}

// A temporary child makes ALTER TABLE fail for everyone, and DROP TABLE want CASCADE.
#[test]
fn a_temporary_child_needs_a_right_on_its_parent() {
    let cluster = keeper();
    cluster.run(&["acl", "set", "public.kept", "maker", "get_acl"]);
    cluster.sql("admin", "CREATE TABLE notes (id int)");
    cluster.run(&["acl", "set", "public.notes", "maker", "get_acl"]);
    refused(
        &cluster,
        "maker",
        &["CREATE TEMP TABLE child () INHERITS (public.notes)"],
    );
}

// PostgreSQL's log quotes statements and the values in them.
#[test]
fn the_log_of_postgresql_is_private() {
    let cluster = Cluster::up();
    let log = fs::metadata(cluster.dir().join("postgres/postgres.log")).unwrap();
    assert_eq!(log.mode() & 0o077, 0);
}
