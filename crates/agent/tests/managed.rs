//! The server that the daemon makes, starts, stops, and finds again.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    reason = "a test"
)]

mod common;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

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
        let status = Command::new("chown")
            .args(["-R", "postgres"])
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

/// Only root has something to lose to PostgreSQL's user.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not root: this was not tried");
    }
    root
}

fn give(path: &Path) {
    let mut chown = Command::new("chown");
    chown.args(["-h", "postgres"]).arg(path);
    assert!(chown.status().unwrap().success());
}

// The number in postmaster.pid is the word of PostgreSQL's user.
#[tokio::test]
async fn a_forged_process_id_ends_no_process_of_anothers() {
    if !is_root() {
        return;
    }
    let directory = directory();
    let mut agent = Agent::new(config(directory.path())).unwrap();
    agent.start().await.unwrap();
    agent.stop().await.unwrap();
    let data = directory.path().join("postgres/data");
    let mut victim = Command::new("sleep");
    let mut victim = victim.arg("600").current_dir(&data).spawn().unwrap();
    let file = data.join("postmaster.pid");
    for number in [victim.id().to_string(), "self".to_owned(), "-1".to_owned()] {
        std::fs::write(&file, format!("{number}\n{}\n", data.display())).unwrap();
        give(&file);
        let started = agent.start().await;
        assert!(victim.try_wait().unwrap().is_none(), "{number}");
        if started.is_ok() {
            agent.stop().await.unwrap();
        }
        std::fs::remove_file(&file).ok();
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
}

// What PostgreSQL's user puts into his directory is not read, copied or changed by root.
#[tokio::test]
async fn links_in_the_data_directory_lead_root_nowhere() {
    if !is_root() {
        return;
    }
    let directory = directory();
    let users = state(USERS);
    let mut agent = Agent::new(config(directory.path())).unwrap();
    agent.start().await.unwrap();
    agent.apply(&users).await.unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "top secret").unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    let data = directory.path().join("postgres/data");
    let plant = |name: &str| {
        let link = data.join(name);
        std::fs::remove_file(&link).ok();
        symlink(&secret, &link).unwrap();
        give(&link);
    };
    for name in ["pg_hba.conf", "pg_ident.conf", "pg_hba.conf.old"] {
        plant(name);
    }
    for name in ["palisade.conf", "palisade.key", "palisade.crt"] {
        plant(name);
    }
    agent.mend(&users).await.unwrap();
    assert!(agent.check_drift(&users).await.unwrap().is_clean());
    agent.stop().await.unwrap();
    plant("postmaster.pid");
    // It is for PostgreSQL to say what it thinks of this; what it may not read stays unread.
    drop(agent.start().await);
    drop(agent.stop().await);
    std::fs::remove_file(data.join("postmaster.pid")).ok();
    plant("PG_VERSION");
    let told = agent.start().await.unwrap_err().to_string();
    assert!(!told.contains("top secret"), "{told}");
    let found = std::fs::metadata(&secret).unwrap();
    assert_eq!((found.uid(), found.mode() & 0o7777), (0, 0o600));
    for place in [data, directory.path().join("postgres/conf")] {
        for entry in std::fs::read_dir(place).unwrap() {
            let path = entry.unwrap().path();
            if std::fs::symlink_metadata(&path).unwrap().is_file() {
                let text = std::fs::read(&path).unwrap();
                let text = String::from_utf8_lossy(&text).into_owned();
                assert!(!text.contains("top secret"), "{}", path.display());
            }
        }
    }
}

// Where PostgreSQL's user could exchange what is below, root writes nothing.
#[tokio::test]
async fn a_directory_of_the_servers_user_is_no_place_for_root() {
    if !is_root() {
        return;
    }
    let directory = directory();
    let place = config(directory.path());
    std::fs::create_dir(&place.directory).unwrap();
    give(&place.directory);
    let told = start_error(place.clone()).await;
    assert!(matches!(told, Error::Theirs { .. }), "{told}");
    assert_eq!(std::fs::read_dir(place.directory).unwrap().count(), 0);
}

// The name in /tmp can be foretold: whoever is there first gains nothing.
#[tokio::test]
async fn a_socket_directory_that_somebody_else_made_is_refused() {
    let directory = directory();
    let long = directory.path().join("x".repeat(120)).join("postgres");
    std::fs::create_dir_all(&long).unwrap();
    let found = std::fs::metadata(&long).unwrap();
    let name = format!("palisade-{:x}-{:x}", found.dev(), found.ino());
    let socket = std::env::temp_dir().join(name);
    let victim = directory.path().join("victim");
    std::fs::create_dir(&victim).unwrap();
    std::fs::set_permissions(&victim, PermissionsExt::from_mode(0o755)).unwrap();
    symlink(&victim, &socket).unwrap();
    let told = start_error(config(long.parent().unwrap())).await;
    std::fs::remove_file(&socket).unwrap();
    let found = std::fs::metadata(&victim).unwrap();
    let own = rustix::process::geteuid().as_raw();
    assert_eq!((found.uid(), found.mode() & 0o7777), (own, 0o755), "{told}");
    if is_root() {
        std::fs::create_dir(&socket).unwrap();
        std::os::unix::fs::chown(&socket, Some(64_999), None).unwrap();
        let told = start_error(config(long.parent().unwrap())).await;
        std::fs::remove_dir(&socket).unwrap();
        assert!(matches!(told, Error::WrongOwner { .. }), "{told}");
    }
}
