//! "simple and extended protocol, COPY both ways, LISTEN/NOTIFY, large rows, pipelining all work with
//! psql, pgbench, psycopg 3 and asyncpg."

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Account, DEFAULT_RULES, Door, clean, ok};

const FREE: Account<'_> = Account {
    name: "alice",
    password: Some("pencil"),
    key: Some(2),
    restricted: false,
};
const RESTRICTED: Account<'_> = Account {
    restricted: true,
    ..FREE
};

/// A Python with the drivers of `requirements.txt`, made once for all tests.
fn python() -> PathBuf {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/requirements.txt");
    let wanted = fs::read_to_string(&requirements).unwrap();
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let venv = directory.join("drivers");
    let program = venv.join("bin/python");
    let lock = File::create(directory.join("drivers.lock")).unwrap();
    lock.lock().unwrap();
    let made = venv.join("requirements.txt");
    if fs::read_to_string(&made).is_ok_and(|have| have == wanted) {
        return program;
    }
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command:?}: {error}");
    };
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&venv));
    run(Command::new(&program)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "-r",
        ])
        .arg(&requirements));
    fs::write(made, wanted).unwrap();
    program
}

fn script(name: &str) -> Command {
    let mut command = Command::new(python());
    clean(&mut command);
    command.arg(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/python")
            .join(name),
    );
    command
}

fn psycopg(account: Account<'_>, more: &[&str]) {
    let door = Door::with(DEFAULT_RULES, &[account]);
    let conninfo = door.conninfo("alice", "password=pencil");
    let said = ok(&script("with_psycopg.py")
        .arg(conninfo)
        .args(more)
        .output()
        .unwrap());
    assert_eq!(said.lines().count(), 9, "{said}");
}

#[test]
fn psycopg_3() {
    psycopg(FREE, &[]);
}

#[test]
fn psycopg_3_restricted() {
    psycopg(RESTRICTED, &["restricted"]);
}

fn asyncpg(account: Account<'_>, more: &[&str]) {
    let door = Door::with(DEFAULT_RULES, &[account]);
    let port = door.address.port().to_string();
    let root = door.files.path().join("root.crt");
    let mut command = script("with_asyncpg.py");
    command.args([port.as_str(), "pencil"]).arg(root).args(more);
    let said = ok(&command.output().unwrap());
    assert_eq!(said.lines().count(), 7, "{said}");
}

#[test]
fn asyncpg_free() {
    asyncpg(FREE, &[]);
}

#[test]
fn asyncpg_restricted() {
    asyncpg(RESTRICTED, &["restricted"]);
}

#[test]
fn pgbench_in_every_mode() {
    let door = Door::with(DEFAULT_RULES, &[FREE]);
    let conninfo = door.conninfo("alice", "password=pencil");
    let pgbench = |more: &[&str]| {
        ok(&door
            .program("pgbench")
            .args(more)
            .arg(&conninfo)
            .output()
            .unwrap())
    };
    pgbench(&["-i", "-q", "-s", "1"]);
    for mode in ["simple", "extended", "prepared"] {
        let said = pgbench(&["-n", "-M", mode, "-c", "8", "-j", "2", "-t", "50"]);
        assert!(
            said.contains("number of transactions actually processed: 400/400"),
            "{said}"
        );
        let said = pgbench(&["-n", "-S", "-M", mode, "-c", "4", "-t", "100"]);
        assert!(said.contains("number of failed transactions: 0"), "{said}");
    }
    // A login for each transaction.
    let said = pgbench(&["-n", "-S", "-C", "-c", "4", "-t", "25"]);
    assert!(said.contains("processed: 100/100"), "{said}");
    // Many statements on their way at once.
    let file = door.files.path().join("pipeline.sql");
    fs::write(
        &file,
        "\\startpipeline\nselect 1;\nselect 2;\nselect 3;\n\\endpipeline\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let said = pgbench(&["-n", "-M", "extended", "-c", "2", "-t", "50", "-f", file]);
    assert!(said.contains("processed: 100/100"), "{said}");
}

#[test]
fn psql_does_all_that_it_does() {
    let door = Door::with(DEFAULT_RULES, &[FREE]);
    let alice = door.conninfo("alice", "");
    let ask = |sql: &str| ok(&door.psql(&alice, Some("pencil"), sql));
    ask("create table t (x int, y text)");
    let rows: Vec<String> = (0..1000).map(|n| format!("{n}\tline {n}\n")).collect();
    fs::write(door.files.path().join("rows"), rows.concat()).unwrap();
    ask("\\copy t from 'rows'");
    assert_eq!(ask("select count(*), max(x) from t"), "1000|999");
    ask("\\copy t to 'back'");
    let back = fs::read_to_string(door.files.path().join("back")).unwrap();
    assert_eq!(back.lines().count(), 1000);
    assert_eq!(ask("select length(repeat('x', 50000000))"), "50000000");
    assert_eq!(ask("select repeat('x', 50000000)").len(), 50_000_000);
    let heard = ask("listen a; notify a, 'b'; select 1");
    assert!(heard.contains("notification \"a\""), "{heard}");
    assert_eq!(
        ask("begin; insert into t values (-1); rollback; select min(x) from t"),
        "0"
    );
}
