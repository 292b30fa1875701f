//! The throwaway server itself, against the PostgreSQL that is installed here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use palisade_testkit::{Error, Postgres, Shutdown, poll};
use std::time::Duration;

#[test]
fn answers_over_its_socket_and_is_gone_on_drop() {
    let postgres = Postgres::start().unwrap();
    assert_eq!(
        postgres.psql("select 1 + 1; select 'a', 'b'").unwrap(),
        "2\na|b"
    );
    let (data, pid) = (postgres.data_dir(), postgres.pid().unwrap());
    drop(postgres);
    assert!(!data.exists());
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn an_error_in_sql_is_told_in_psqls_words() {
    let postgres = Postgres::start().unwrap();
    let Err(Error::Failed { output, .. }) = postgres.psql("select no_such_column") else {
        panic!("no error");
    };
    assert!(
        output.contains("column \"no_such_column\" does not exist"),
        "{output}"
    );
}

#[test]
fn listens_on_loopback_with_its_own_rules_when_asked() {
    let postgres = Postgres::builder()
        .superuser("palisade")
        .tcp()
        .setting("work_mem", "7MB")
        .hba("local all all trust\nhost all all 127.0.0.1/32 reject\n")
        .start()
        .unwrap();
    assert_eq!(
        postgres.psql("select current_user; show work_mem").unwrap(),
        "palisade\n7MB"
    );
    assert!(std::net::TcpStream::connect(("127.0.0.1", postgres.port())).is_ok());
    let refused = postgres
        .command("psql")
        .unwrap()
        .args(["-h", "127.0.0.1", "-c", "select 1"])
        .output();
    let message = String::from_utf8(refused.unwrap().stderr).unwrap();
    assert!(
        message.contains("pg_hba.conf rejects connection"),
        "{message}"
    );
}

#[test]
fn keeps_its_data_over_a_stop_and_a_crash() {
    let mut postgres = Postgres::builder()
        .setting("synchronous_commit", "on")
        .start()
        .unwrap();
    postgres
        .psql("create table t (x int); insert into t values (1)")
        .unwrap();
    for how in [Shutdown::Fast, Shutdown::Immediate, Shutdown::Kill] {
        postgres.stop(how).unwrap();
        assert_eq!(postgres.pid(), None);
        // After a SIGKILL the postmaster's children notice by themselves and hold the memory until then.
        poll("the start", Duration::from_mins(1), || {
            postgres.start_again().ok().or_else(|| {
                postgres.stop(Shutdown::Kill).ok();
                None
            })
        })
        .unwrap();
        assert_eq!(postgres.psql("select x from t").unwrap(), "1");
    }
}

#[test]
fn a_bad_setting_is_told_with_the_servers_log() {
    let error = Postgres::builder()
        .setting("no_such", "1")
        .start()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("unrecognized configuration parameter \"no_such\""),
        "{error}"
    );
}

#[test]
fn is_gone_when_the_process_that_started_it_was_killed() {
    const CHILD: &str = "PALISADE_TESTKIT_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let postgres = Postgres::start().unwrap();
        std::fs::write(
            std::env::var_os(CHILD).unwrap(),
            postgres.data_dir().to_str().unwrap(),
        )
        .unwrap();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
            .unwrap();
    }
    let note = tempfile::NamedTempFile::new().unwrap();
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "is_gone_when_the_process_that_started_it_was_killed",
        ])
        .env(CHILD, note.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(!status.success());
    let data = std::fs::read_to_string(note.path()).unwrap();
    assert!(!data.is_empty());
    poll("the end of the server", Duration::from_mins(1), || {
        (!std::path::Path::new(&data).exists()).then_some(())
    })
    .unwrap();
}
