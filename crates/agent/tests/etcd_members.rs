//! The members of the managed etcd: growth, removal, crashes. Against the real etcd.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod etcd;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use etcd::{PATIENCE, PREFIX, World, id, run, settle};
use palisade_agent::etcd::{Cluster, ServerState, Start};

fn names(report: &palisade_agent::etcd::Report) -> Vec<&str> {
    let mut names: Vec<&str> = report
        .members
        .iter()
        .filter(|member| !member.learner)
        .map(|member| member.name.as_str())
        .collect();
    names.sort_unstable();
    names
}

/// Issue 3: "grows it as nodes join: learner, then voter, three or five voters, the others clients; a
/// removed node leaves it". All the while entries are appended, and none that etcd took is lost.
#[tokio::test(flavor = "multi_thread")]
async fn it_grows_to_three_and_five_and_shrinks_while_appends_go_on() {
    let world = Arc::new(World::new(21));
    let mut nodes = vec![world.first().await];
    let stop = Arc::new(AtomicBool::new(false));
    let taken = Arc::new(AtomicU64::new(0));
    let writer = {
        let (world, stop, taken) = (world.clone(), stop.clone(), taken.clone());
        let endpoint = nodes[0].endpoint();
        tokio::task::spawn_blocking(move || {
            let mut seq = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let key = format!("{PREFIX}ledger/{seq:020}");
                let (done, _) = run(world
                    .etcdctl("palisade_node_1", &endpoint)
                    .args(["put", &key, "x"]));
                // One that was not taken is tried again under the same number.
                if done {
                    seq += 1;
                    taken.store(seq, Ordering::Relaxed);
                }
            }
        })
    };
    // A second node alone is no reason to have two voters.
    nodes.push(world.node(2));
    let report = settle(&world, &mut nodes, 1).await;
    assert_eq!(names(&report), ["palisade_node_1"]);

    nodes.push(world.node(3));
    let report = settle(&world, &mut nodes, 3).await;
    assert_eq!(
        names(&report),
        ["palisade_node_1", "palisade_node_2", "palisade_node_3"]
    );

    nodes.push(world.node(4));
    nodes.push(world.node(5));
    nodes.push(world.node(6));
    let report = settle(&world, &mut nodes, 5).await;
    assert_eq!(report.members.len(), 5);
    assert!(!nodes[5].config.has_data(), "the sixth is a client");
    let before_removal = taken.load(Ordering::Relaxed);
    assert!(before_removal > 0);

    // Two nodes and the spare one are removed from the cluster.
    let mut removed: Vec<_> = nodes.drain(3..).collect();
    let report = settle(&world, &mut nodes, 3).await;
    assert_eq!(
        names(&report),
        ["palisade_node_1", "palisade_node_2", "palisade_node_3"]
    );
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();

    let gone = &mut removed[0];
    let mut state = gone.server.as_ref().unwrap().state();
    let left = state.wait_for(|state| *state == ServerState::Removed);
    tokio::time::timeout(PATIENCE, left).await.unwrap().unwrap();
    assert!(gone.config.has_data());
    let founder = nodes[0].config.advertise.client.clone();
    gone.follow(&world, &founder).await;
    assert!(!gone.config.has_data() && gone.server.is_none());

    let total = taken.load(Ordering::Relaxed);
    assert!(total > before_removal, "appends went on");
    let endpoint = nodes[2].endpoint();
    let (_, listed) = run(world.etcdctl("palisade_node_3", &endpoint).args([
        "get",
        "--prefix",
        "--keys-only",
        PREFIX,
    ]));
    for seq in 0..total {
        assert!(
            listed.contains(&format!("{PREFIX}ledger/{seq:020}")),
            "{seq} of {total}"
        );
    }
    let (_, users) = run(world
        .etcdctl("palisade_node_1", &endpoint)
        .args(["user", "list"]));
    assert!(users.contains("permission denied"), "{users}");
    for node in nodes {
        node.server.unwrap().stop().await;
    }
}

/// A member that crashes is started again, an etcd that an earlier daemon left is ended first, and a
/// second one on the same ports is told so.
#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_member_comes_back_and_a_leftover_one_is_ended() {
    let world = World::new(22);
    let mut node = world.first().await;
    let pid_file = node.config.directory.join("etcd.pid");
    let pid = || std::fs::read_to_string(&pid_file).unwrap();
    let before = pid();
    assert!(run(std::process::Command::new("kill").args(["-KILL", &before])).0);
    let mut state = node.server.as_ref().unwrap().state();
    let down = state.wait_for(|state| matches!(state, ServerState::Down { .. }));
    tokio::time::timeout(PATIENCE, down).await.unwrap().unwrap();
    node.server.as_ref().unwrap().ready(PATIENCE).await.unwrap();
    assert_ne!(pid(), before);

    let other = palisade_agent::etcd::Server::start(
        palisade_agent::etcd::Config {
            directory: world.path("etcd-other"),
            ..node.config.clone()
        },
        Start::First,
    );
    let error = other.await.unwrap_err().to_string();
    assert!(error.contains("is in use"), "{error}");

    node.server.take().unwrap().stop().await;
    // What a killed daemon leaves: a process that works in the directory, and its number.
    let mut leftover = std::process::Command::new("sleep")
        .arg("1000")
        .current_dir(&node.config.directory)
        .spawn()
        .unwrap();
    std::fs::write(&pid_file, leftover.id().to_string()).unwrap();
    let reaper = std::thread::spawn(move || leftover.wait().unwrap());
    node.start(Start::Again).await;
    assert!(!reaper.join().unwrap().success());
    node.server.as_ref().unwrap().ready(PATIENCE).await.unwrap();
    let mode = |path: &std::path::Path| {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(path).unwrap().mode() & 0o777
    };
    // Started by root, etcd runs as another user, who passes through.
    let root = rustix::process::geteuid().is_root();
    let closed = if root { 0o710 } else { 0o700 };
    assert_eq!(mode(&node.config.directory), closed);
    assert_eq!(mode(&node.config.data()), 0o700);
}

/// Without a majority nothing is appended and no member is changed: it says so, and does not wait for ever.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_it_says_so() {
    let world = World::new(23);
    let mut nodes = vec![world.first().await, world.node(2), world.node(3)];
    settle(&world, &mut nodes, 3).await;
    for node in &mut nodes[1..] {
        node.server.take().unwrap().stop().await;
    }
    let own = [nodes[0].config.advertise.client.clone()];
    let identity = world.identity("palisade_node_1");
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        // It has a leader until it notices that nobody follows.
        match Cluster::connect(&own, &world.cluster.public(), &identity).await {
            Err(error) => {
                assert!(error.to_string().contains("majority"), "{error}");
                break;
            }
            Ok(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
        assert!(tokio::time::Instant::now() < until);
    }
    // A node that starts alone runs, does not serve, and can be stopped.
    nodes[0].server.take().unwrap().stop().await;
    nodes[0].start(Start::Again).await;
    let server = nodes[0].server.take().unwrap();
    let error = server.ready(Duration::from_secs(2)).await.unwrap_err();
    assert!(error.to_string().contains("majority"), "{error}");
    server.stop().await;
    // With a second one it serves.
    for node in &mut nodes[..2] {
        node.start(Start::Again).await;
    }
    for node in &nodes[..2] {
        node.server.as_ref().unwrap().ready(PATIENCE).await.unwrap();
    }
    assert_eq!(nodes[0].config.node, id(1));
}
