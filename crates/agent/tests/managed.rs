//! The server that the daemon makes, starts, stops, and finds again.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{Session, state};
use palisade_agent::{Agent, Config, Error};
use palisade_testkit::temp_dir;

const USERS: &str = "+root* - +dev:select,insert,create";

/// A directory that the server's OS user can get to.
fn directory() -> palisade_testkit::TempDir {
    let directory = temp_dir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

fn config(directory: &Path) -> Config {
    let mut config = Config::new(directory.join("postgres"), "main");
    config.settings = vec![
        ("fsync".into(), "off".into()),
        ("shared_buffers".into(), "16MB".into()),
    ];
    config
}

#[tokio::test]
async fn a_second_start_loses_nothing_even_after_a_killed_daemon() {
    let directory = directory();
    let users = state(USERS);
    let mut agent = Agent::new(config(directory.path())).unwrap();
    agent.start().await.unwrap();
    agent.apply(&users).await.unwrap();
    let endpoint = agent.endpoint().unwrap().clone();
    let dev = Session::open(&endpoint, "dev").await.unwrap();
    dev.ok("create table t as select 1 as a").await;
    assert!(agent.is_running());
    agent.stop().await.unwrap();
    assert!(!agent.is_running());

    agent.start().await.unwrap();
    let dev = Session::open(&endpoint, "dev").await.unwrap();
    assert_eq!(dev.ok("select a from t").await, ["1"]);
    // The daemon is killed: nobody stops the server.
    std::mem::drop(agent);
    let mut agent = Agent::new(config(directory.path())).unwrap();
    agent.start().await.unwrap();
    assert!(agent.check_drift(&users).await.unwrap().is_clean());
    let dev = Session::open(&endpoint, "dev").await.unwrap();
    assert_eq!(dev.ok("select a from t").await, ["1"]);

    assert_eq!(
        agent.purge_all(&users).await.unwrap(),
        ["schema \"public\"", "\"public\".\"t\""]
    );
    assert!(
        dev.run("select a from t")
            .await
            .unwrap_err()
            .starts_with("42P01")
    );
    dev.ok("create table t (a int)").await;
    agent.reload().await.unwrap();
    agent.stop().await.unwrap();
}

async fn start_error(config: Config) -> Error {
    Agent::new(config).unwrap().start().await.unwrap_err()
}

// "A port in use, a missing postgres, a full disk, a directory of someone else: one clear line and what to do."
#[tokio::test]
async fn what_stands_in_the_way_is_told_with_its_remedy() {
    let directory = directory();
    let mut missing = config(directory.path());
    missing.programs = Some("/nonexistent".into());
    let told = start_error(missing).await.to_string();
    assert!(
        told.contains("sudo apt-get install -y postgresql"),
        "{told}"
    );

    let foreign = config(directory.path());
    std::fs::create_dir_all(foreign.directory.join("data")).unwrap();
    std::fs::write(foreign.directory.join("data/letters"), "mine").unwrap();
    let told = start_error(foreign).await;
    assert!(matches!(told, Error::ForeignDirectory { .. }), "{told}");

    let old = config(&directory.path().join("old"));
    let data = old.directory.join("data");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("PG_VERSION"), "9.6\n").unwrap();
    if rustix::process::geteuid().is_root() {
        let told = start_error(old.clone()).await;
        assert!(matches!(told, Error::WrongOwner { .. }), "{told}");
        let status = std::process::Command::new("chown")
            .arg("postgres")
            .arg(&data)
            .status();
        assert!(status.unwrap().success());
    }
    let told = start_error(old).await;
    assert!(matches!(told, Error::WrongVersion { .. }), "{told}");

    if rustix::process::geteuid().is_root() {
        let closed = directory.path().join("closed");
        std::fs::create_dir(&closed).unwrap();
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
        let told = start_error(config(&closed)).await;
        assert!(matches!(told, Error::Unreachable { .. }), "{told}");
    }

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut busy = config(&directory.path().join("busy"));
    let none = directory.path().join("none");
    busy.tcp = Some(palisade_agent::Tcp {
        addresses: vec!["127.0.0.1".into()],
        port: taken.local_addr().unwrap().port(),
        certificate: none.clone(),
        key: none.clone(),
        ca: none,
        lists: None,
    });
    let told = start_error(busy).await;
    assert!(matches!(told, Error::PortInUse { .. }), "{told}");
}

#[tokio::test]
async fn a_long_directory_gets_a_short_socket() {
    let directory = directory();
    let long = directory.path().join("x".repeat(120));
    let mut agent = Agent::new(config(&long)).unwrap();
    agent.start().await.unwrap();
    let socket = agent.endpoint().unwrap().socket();
    assert!(socket.as_os_str().len() <= 107);
    agent.stop().await.unwrap();
    std::fs::remove_dir_all(socket.parent().unwrap()).unwrap();
}
