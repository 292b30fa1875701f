//! Who may do what in the managed etcd: attacks, each of which must fail. Against the real etcd.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod etcd;

use std::collections::BTreeSet;
use std::io::BufRead as _;
use std::path::Path;
use std::process::{Command, Stdio};

use etcd::{PATIENCE, PREFIX, World, run, settle, wanted};
use palisade_agent::etcd::{STORE_HOST, Server, Start, renew};
use palisade_link::x509::Purpose;

/// Issue 3: "no plaintext listener, client and peer certificates required". A user of the database called `root`,
/// or `palisade_node_1`, has a certificate of the same CA: etcd takes it for nobody.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_enters_without_a_certificate_made_for_etcd() {
    let world = World::new(31);
    let node = world.first().await;
    let endpoint = node.endpoint();
    let refused = |command: &mut Command| {
        let (done, said) = run(command);
        assert!(!done, "{command:?}\n{said}");
        said
    };

    // A refusal at the handshake is a time-out to etcdctl.
    let get = |who: &str| {
        let mut command = world.etcdctl(who, &endpoint);
        command.args(["--command-timeout=2s", "get"]);
        command
    };

    // Without TLS.
    let plain = endpoint.replace("https://", "http://");
    let mut bare = Command::new("etcdctl");
    bare.env("ETCDCTL_API", "3").args([
        "--dial-timeout=2s",
        "--command-timeout=2s",
        "--endpoints",
        &plain,
        "get",
        "x",
    ]);
    refused(&mut bare);
    // Without a certificate.
    let mut bare = Command::new("etcdctl");
    bare.env("ETCDCTL_API", "3")
        .arg("--cacert")
        .arg(world.path("root.crt"));
    bare.args([
        "--dial-timeout=2s",
        "--command-timeout=2s",
        "--endpoints",
        &endpoint,
        "get",
        "x",
    ]);
    refused(&mut bare);
    // With one of another cluster, which says everything right.
    let foreign = World::new(32);
    world.write("foreign", &foreign.identity("root"));
    refused(get("foreign").arg(PREFIX));
    // With a user's of this cluster, by the name of etcd's root and of a node.
    for name in ["root", "palisade_node_1"] {
        world.write("user", &world.leaf(name, Purpose::User, &[]).0);
        refused(get("user").arg(PREFIX));
    }
    // With a service's, and a server's.
    let service = world
        .leaf("root", Purpose::Service, &["localhost", "127.0.0.1"])
        .0;
    world.write("service", &service);
    refused(get("service").arg(PREFIX));
    world.write(
        "server",
        &world.leaf("root", Purpose::Server, &[STORE_HOST]).0,
    );
    refused(get("server").arg(PREFIX));
    // With one for etcd, but of no user of etcd.
    world.write("stranger", &world.identity("palisade_node_9"));
    let said = refused(get("stranger").arg(PREFIX));
    assert!(said.contains("permission denied"), "{said}");

    // The same at the door for members.
    let peers = format!("https://{}/members", node.config.advertise.peer);
    let ask = |who: &str| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--http1.1", "--show-error", "--fail"])
            .args(["--max-time", "5", "--cacert"])
            .arg(world.path("root.crt"))
            .arg("--cert")
            .arg(world.path(&format!("{who}.crt")))
            .arg("--key")
            .arg(world.path(&format!("{who}.key")))
            .arg(&peers);
        curl
    };
    for who in ["foreign", "user", "service", "server"] {
        refused(&mut ask(who));
    }
    let (done, said) = run(&mut ask("palisade_node_1"));
    assert!(done && said.contains("palisade_node_1"), "{said}");
    // TLS below 1.2 is not spoken.
    let mut old = Command::new("openssl");
    old.args([
        "s_client",
        "-tls1_1",
        "-connect",
        &node.config.advertise.client.to_string(),
    ]);
    refused(&mut old);
    // And the one it is made for enters.
    let key = format!("{PREFIX}head");
    let (done, said) = run(world
        .etcdctl("palisade_node_1", &endpoint)
        .args(["put", &key, "1"]));
    assert!(done, "{said}");
}

/// Issue 3: "etcd's own RBAC is on: one identity per node, rights on its prefix only".
#[tokio::test(flavor = "multi_thread")]
async fn a_nodes_identity_reaches_the_ledgers_prefix_and_nothing_else() {
    let world = World::new(33);
    let mut nodes = vec![world.first().await, world.node(2)];
    settle(&world, &mut nodes, 1).await;
    let endpoint = nodes[0].endpoint();
    let two = |args: &[&str]| run(world.etcdctl("palisade_node_2", &endpoint).args(args));
    let head = format!("{PREFIX}head");
    assert!(two(&["put", &head, "1"]).0);
    assert!(two(&["get", "--prefix", PREFIX]).0);

    let above = PREFIX.trim_end_matches('/');
    let attempts: [&[&str]; 21] = [
        &["put", "/palisade/other/head", "1"],
        &["put", above, "1"],
        &["get", "/palisade/other/head"],
        &["get", "--prefix", "/palisade/"],
        &["get", "--from-key", PREFIX],
        &["del", "--prefix", "/"],
        &["user", "list"],
        &["user", "get", "root"],
        &["user", "add", "mallory", "--no-password"],
        &["user", "delete", "palisade_node_1"],
        &["user", "grant-role", "palisade_node_2", "root"],
        &["role", "list"],
        &["role", "get", "root"],
        &["role", "add", "more"],
        &[
            "role",
            "grant-permission",
            "palisade-node",
            "--prefix=true",
            "readwrite",
            "/",
        ],
        &["auth", "disable"],
        &[
            "member",
            "add",
            "m",
            "--peer-urls=https://127.0.0.1:1",
            "--learner",
        ],
        &["member", "remove", "1"],
        &["snapshot", "save", "/dev/null"],
        &["defrag"],
        &["endpoint", "hashkv"],
    ];
    for attempt in attempts {
        let (done, said) = two(attempt);
        assert!(!done, "{attempt:?}\n{said}");
        assert!(
            said.contains("permission denied") || said.contains("no such"),
            "{said}"
        );
    }
    // What etcd lets every client do is put right or does no harm: compaction takes history, never a key;
    // a false alarm that there is no space is taken back.
    assert!(two(&["put", &head, "2"]).0);
    assert!(two(&["compact", "3"]).0);
    assert!(two(&["get", &head]).1.contains('2'));
}

/// Any client may say that there is no space left, which stops all writes: the master takes it back.
#[tokio::test(flavor = "multi_thread")]
async fn a_false_alarm_stops_writes_only_until_the_next_look() {
    use etcd_client::{AlarmAction, AlarmOptions, AlarmType};
    let world = World::new(38);
    let mut nodes = vec![world.first().await, world.node(2)];
    let report = settle(&world, &mut nodes, 1).await;
    let member = u64::from_str_radix(&report.members[0].id, 16).unwrap();
    let head = format!("{PREFIX}head");
    let mut one = world.connect("palisade_node_1", &nodes[..1]).await.client();
    let mut two = world.connect("palisade_node_2", &nodes[..1]).await.client();
    let mut options = AlarmOptions::new();
    options.with_member(member);
    let alarm = two.alarm(AlarmAction::Activate, AlarmType::Nospace, Some(options));
    alarm.await.unwrap();
    let said = one.put(head.as_str(), "1", None).await.unwrap_err();
    assert!(said.to_string().contains("space exceeded"), "{said}");
    let mut root = world.root(&nodes[..1]).await;
    let report = root.reconcile(&wanted(&nodes)).await.unwrap();
    assert!(
        report.done.iter().any(|told| told.contains("false alarm")),
        "{report:?}"
    );
    one.put(head.as_str(), "1", None).await.unwrap();
}

/// A removed node is out at once: its user is gone, on the connection that it has, too; what it watches
/// ends with the restart that the report asks for.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_nodes_watch_ends() {
    let world = World::new(34);
    let mut nodes = vec![world.first().await, world.node(2)];
    settle(&world, &mut nodes, 1).await;
    let endpoint = nodes[0].endpoint();
    let head = format!("{PREFIX}head");
    let mut watch = world.etcdctl("palisade_node_2", &endpoint);
    let mut watch = watch
        .args(["watch", "--prefix", PREFIX])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = std::io::BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut lines = lines.map(Result::unwrap);
    let put = |value: &str| {
        run(world
            .etcdctl("palisade_node_1", &endpoint)
            .args(["put", &head, value]))
    };
    // The watch is in place once it shows something.
    let shown = std::thread::spawn(move || lines.next().map(|_| lines));
    while !shown.is_finished() {
        assert!(put("1").0);
    }
    let lines = shown.join().unwrap().unwrap();

    let mut open = world.connect("palisade_node_2", &nodes).await.client();
    assert!(open.get(head.as_str(), None).await.is_ok());
    nodes.truncate(1);
    let mut root = world.root(&nodes).await;
    let report = root.reconcile(&wanted(&nodes)).await.unwrap();
    assert!(report.evicted, "{report:?}");
    let (done, said) = run(world
        .etcdctl("palisade_node_2", &endpoint)
        .args(["get", &head]));
    assert!(!done && said.contains("permission denied"), "{said}");

    let said = open.get(head.as_str(), None).await.unwrap_err().to_string();
    assert!(said.contains("permission denied"), "{said}");
    let server = nodes[0].server.as_ref().unwrap();
    server.drop_connections().await;
    server.ready(PATIENCE).await.unwrap();
    assert!(put("after").0);
    // etcdctl connects again, is refused, and ends.
    let seen: Vec<String> = tokio::task::spawn_blocking(move || lines.collect())
        .await
        .unwrap();
    assert!(!seen.iter().any(|line| line == "after"), "{seen:?}");
    watch.wait().unwrap();
}

/// Issue 3: "revocation by CRL to ... etcd", without a restart, at both doors.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_is_refused_without_a_restart() {
    let world = World::new(35);
    let node = world.first().await;
    let endpoint = node.endpoint();
    let (leaf, serial) = world.leaf(
        "palisade_node_1",
        Purpose::Store,
        &[STORE_HOST, "127.0.0.1"],
    );
    world.write("stolen", &leaf);
    let get = || run(world.etcdctl("stolen", &endpoint).args(["get", PREFIX]));
    let peers = format!("https://{}/members", node.config.advertise.peer);
    let members = || {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--http1.1",
            "--show-error",
            "--fail",
            "--max-time",
            "5",
            "--cacert",
        ])
        .arg(world.path("root.crt"))
        .arg("--cert")
        .arg(world.path("stolen.crt"))
        .arg("--key")
        .arg(world.path("stolen.key"))
        .arg(&peers);
        run(&mut curl)
    };
    assert!(get().0);
    let (done, said) = members();
    assert!(done, "{said}");
    world.revoke(&[serial]);
    assert!(!get().0);
    assert!(!members().0);
    // Others go on; the list can be taken back.
    assert!(
        run(world
            .etcdctl("palisade_node_1", &endpoint)
            .args(["get", PREFIX]))
        .0
    );
    world.revoke(&[]);
    assert!(get().0);
}

/// Issue 3: "renewal at 2/3 of life without restart".
#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let world = World::new(36);
    let node = world.first().await;
    let pid = || std::fs::read_to_string(node.config.directory.join("etcd.pid")).unwrap();
    let before = pid();
    let shown = |address: &str| {
        let script = "openssl s_client -connect \"$1\" -cert \"$2.crt\" -key \"$2.key\" </dev/null 2>/dev/null | openssl x509 -noout -serial";
        let mut openssl = Command::new("sh");
        openssl
            .args(["-c", script, "sh", address])
            .arg(world.path("palisade_node_1"));
        let (done, said) = run(&mut openssl);
        assert!(done, "{said}");
        u8::from_str_radix(said.trim().strip_prefix("serial=").unwrap(), 16).unwrap()
    };
    let doors =
        [&node.config.advertise.client, &node.config.advertise.peer].map(ToString::to_string);
    for door in &doors {
        assert_eq!(shown(door), node.serial);
    }
    let hosts = ["localhost", "127.0.0.1", STORE_HOST];
    let (leaf, serial) = world.leaf("palisade_node_1", Purpose::Store, &hosts);
    world.write("palisade_node_1", &leaf);
    renew(&node.config.files, &node.config.directory).unwrap();
    for door in &doors {
        assert_eq!(shown(door), serial);
    }
    assert_eq!(pid(), before);
}

/// Who owns what is in a directory, and the directory.
fn owners(path: &Path) -> BTreeSet<u32> {
    use std::os::unix::fs::MetadataExt as _;
    let found = std::fs::symlink_metadata(path).unwrap();
    let mut all = BTreeSet::from([found.uid()]);
    if found.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            all.extend(owners(&entry.unwrap().path()));
        }
    }
    all
}

/// The OS user that the node's etcd runs as.
fn runs_as(node: &etcd::Node) -> u32 {
    let pid = std::fs::read_to_string(node.config.directory.join("etcd.pid")).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("Uid:"));
    let mut ids = line.unwrap().split_whitespace().skip(1);
    let id = ids.next().unwrap();
    assert!(ids.all(|other| other == id), "{status}");
    id.parse().unwrap()
}

/// Started by root, etcd is nobody who could do more than keep its data; what a start before made as root is
/// handed over.
#[tokio::test(flavor = "multi_thread")]
async fn it_runs_as_a_user_who_has_its_data_and_its_certificate_alone() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let world = World::new(38);
    let mut node = world.first().await;
    let user = runs_as(&node);
    let own = std::fs::metadata(world.dir.path()).unwrap().uid();
    if own != 0 {
        assert_eq!(user, own);
        return;
    }
    assert_ne!(user, 0);
    let directory = node.config.directory.clone();
    let (data, tls) = (node.config.data(), directory.join("tls"));
    assert_eq!(owners(&data), BTreeSet::from([user]));
    for name in ["member.crt", "member.key"] {
        let copy = std::fs::metadata(tls.join(name)).unwrap();
        assert_eq!((copy.uid(), copy.mode() & 0o7777), (user, 0o600), "{name}");
    }
    let as_user = |script: &str| {
        let group = format!("--regid={}", std::fs::metadata(&data).unwrap().gid());
        let mut command = Command::new("setpriv");
        command
            .args([&format!("--reuid={user}"), &group, "--clear-groups", "--"])
            .args(["sh", "-c", script])
            .current_dir("/");
        run(&mut command).0
    };
    let path = |path: &Path| path.display().to_string();
    assert!(as_user(&format!("cat {}/member.key", path(&tls))));
    for closed in [
        format!("cat {}", path(&node.config.files.key)),
        format!("touch {}/made", path(&directory)),
        format!("touch {}/made", path(&tls)),
        format!("rm -f {}/etcd.pid", path(&directory)),
        format!("mv {} {}", path(&data), path(&directory.join("elsewhere"))),
    ] {
        assert!(!as_user(&closed), "{closed}");
    }

    // As an earlier version left it: everything root's.
    node.server.take().unwrap().stop().await;
    std::fs::remove_dir_all(&tls).unwrap();
    let mode = |mode: u32| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(&directory, mode(0o700)).unwrap();
    std::os::unix::fs::symlink(world.path("root.crt"), data.join("link")).unwrap();
    assert!(run(Command::new("chown").args(["-hR", "0:0"]).arg(&directory)).0);
    node.start(Start::Again).await;
    node.server.as_ref().unwrap().ready(PATIENCE).await.unwrap();
    assert_eq!(runs_as(&node), user);
    assert_eq!(owners(&data), BTreeSet::from([user]));
    assert_eq!(owners(&world.path("root.crt")), BTreeSet::from([0]));

    // What belongs to a third is nobody's to hand over.
    node.server.take().unwrap().stop().await;
    assert!(run(Command::new("chown").arg("1").arg(&data)).0);
    let error = Server::start(node.config.clone(), Start::Again).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("belongs to the OS user number 1"), "{error}");
}

/// A key that others may read, and a missing revocation list, stop the start: nothing fails open.
#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_start_with_an_exposed_key_or_without_a_revocation_list() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new(37);
    let node = world.node(1);
    let key = &node.config.files.key;
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = Server::start(node.config.clone(), Start::First)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("chmod 600"), "{error}");
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::remove_file(&node.config.files.revoked).unwrap();
    let error = Server::start(node.config.clone(), Start::First)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("revoked.crl"), "{error}");
}
