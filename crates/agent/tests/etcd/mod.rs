//! A managed etcd of several members on loopback, with certificates of the cluster's own CA.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared by several tests, each of which uses a part"
)]

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use palisade_agent::etcd::{
    Cluster, Config, Files, OwnMember, Report, STORE_HOST, STORE_ROOT, Server, Start, Wanted,
    own_member, store_user,
};
use palisade_keys::{SecretKey, Zeroizing};
use palisade_ledger::{NodeAddress, NodeId, StoreAddress};
use palisade_link::x509::{self, IssuingCa, Leaf, Purpose, Request, Revoked};
use palisade_testkit::{TempDir, free_port, temp_dir};
use time::OffsetDateTime;

/// Nothing waits this long unless it fails. etcd itself wants members to be connected for 5 seconds before it changes them.
pub const PATIENCE: Duration = Duration::from_mins(2);
/// The ledger's prefix.
pub const PREFIX: &str = "/palisade/00112233aabbccdd/";

pub fn now() -> OffsetDateTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates are checked against the real clock"
    )]
    std::time::SystemTime::now().into()
}

pub fn id(number: u32) -> NodeId {
    NodeId::new(number).unwrap()
}

/// The cluster's CA, and a directory for all of a test.
pub struct World {
    pub cluster: SecretKey,
    ca: IssuingCa,
    serial: AtomicU8,
    pub dir: TempDir,
}

impl World {
    pub fn new(seed: u8) -> Self {
        let cluster = SecretKey::from_seed(Zeroizing::new([seed; 32])).unwrap();
        let (ca, _) = IssuingCa::create(&cluster, &[5], now()).unwrap();
        let dir = temp_dir().unwrap();
        let root = x509::root_certificate(&cluster, now() - time::Duration::minutes(5)).unwrap();
        std::fs::write(dir.path().join("root.crt"), x509::certificate_pem(&root)).unwrap();
        let world = Self {
            cluster,
            ca,
            serial: AtomicU8::new(10),
            dir,
        };
        world.revoke(&[]);
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the revocation list.
    pub fn revoke(&self, serials: &[u8]) {
        let revoked: Vec<Revoked> = serials
            .iter()
            .map(|serial| Revoked {
                serial: vec![*serial],
                at: now(),
            })
            .collect();
        let until = now() + time::Duration::days(7);
        let list = self.ca.revocation_list(&revoked, now(), until).unwrap();
        let path = self.path("revoked.crl");
        let fresh = self.path("revoked.new");
        std::fs::write(&fresh, x509::revocation_list_pem(&list)).unwrap();
        std::fs::rename(fresh, path).unwrap();
    }

    /// A leaf and its serial number.
    pub fn leaf(&self, name: &str, purpose: Purpose, hosts: &[&str]) -> (Leaf, u8) {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let request = Request {
            common_name: name,
            hosts: &hosts,
            now: now(),
            lifetime: time::Duration::days(1),
            serial: &[serial],
        };
        (self.ca.leaf(purpose, &request).unwrap(), serial)
    }

    /// A client of etcd.
    pub fn identity(&self, name: &str) -> Leaf {
        self.leaf(name, Purpose::Store, &[STORE_HOST]).0
    }

    /// Writes a leaf to `<name>.crt` and `<name>.key`.
    pub fn write(&self, name: &str, leaf: &Leaf) {
        private(&self.path(&format!("{name}.crt")), &leaf.chain_pem());
        private(&self.path(&format!("{name}.key")), &leaf.expose_key_pem());
    }

    /// etcdctl with the certificate of these files.
    pub fn etcdctl(&self, who: &str, endpoints: &str) -> Command {
        let mut command = Command::new("etcdctl");
        command
            .env("ETCDCTL_API", "3")
            .arg("--cacert")
            .arg(self.path("root.crt"))
            .arg("--cert")
            .arg(self.path(&format!("{who}.crt")))
            .arg("--key")
            .arg(self.path(&format!("{who}.key")))
            .args([
                "--dial-timeout=3s",
                "--command-timeout=5s",
                "--endpoints",
                endpoints,
            ]);
        command
    }

    /// A node with its certificate, not started.
    pub fn node(&self, number: u32) -> Node {
        let address = || -> NodeAddress {
            format!("127.0.0.1:{}", free_port().unwrap())
                .parse()
                .unwrap()
        };
        let advertise = StoreAddress {
            peer: address(),
            client: address(),
        };
        let name = store_user(id(number));
        let hosts = ["localhost", "127.0.0.1", STORE_HOST];
        let (leaf, serial) = self.leaf(&name, Purpose::Store, &hosts);
        self.write(&name, &leaf);
        Node {
            config: Config {
                node: id(number),
                cluster_key: self.cluster.public(),
                directory: self.path(&format!("etcd-{number}")),
                listen_peer: advertise.peer.to_string().parse().unwrap(),
                listen_client: advertise.client.to_string().parse().unwrap(),
                advertise,
                files: Files {
                    certificate: self.path(&format!("{name}.crt")),
                    key: self.path(&format!("{name}.key")),
                    ca: self.path("root.crt"),
                    revoked: self.path("revoked.crl"),
                },
                program: None,
                os_user: None,
            },
            serial,
            server: None,
        }
    }

    /// A cluster of one, with rights asked for.
    pub async fn first(&self) -> Node {
        let mut node = self.node(1);
        node.start(Start::First).await;
        let nodes = std::slice::from_ref(&node);
        let mut cluster = self.root(nodes).await;
        cluster.reconcile(&wanted(nodes)).await.unwrap();
        node
    }

    /// A connection as etcd's root.
    pub async fn root(&self, nodes: &[Node]) -> Cluster {
        self.connect(STORE_ROOT, nodes).await
    }

    pub async fn connect(&self, who: &str, nodes: &[Node]) -> Cluster {
        let endpoints: Vec<NodeAddress> = nodes
            .iter()
            .map(|node| node.config.advertise.client.clone())
            .collect();
        Cluster::connect(&endpoints, &self.cluster.public(), &self.identity(who))
            .await
            .unwrap()
    }
}

fn private(path: &Path, text: &str) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let fresh = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = file.open(&fresh).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    std::fs::rename(fresh, path).unwrap();
}

/// A node with its member.
pub struct Node {
    pub config: Config,
    pub serial: u8,
    pub server: Option<Server>,
}

impl Node {
    pub async fn start(&mut self, start: Start) {
        let first = start == Start::First;
        let server = Server::start(self.config.clone(), start).await.unwrap();
        if first {
            server.ready(PATIENCE).await.unwrap();
        }
        self.server = Some(server);
    }

    pub fn endpoint(&self) -> String {
        self.config.client_url()
    }

    /// Does what etcd's list says of its own member.
    pub async fn follow(&mut self, world: &World, founder: &NodeAddress) {
        let who = store_user(self.config.node);
        let endpoints = [self.config.advertise.client.clone(), founder.clone()];
        let identity = world.identity(&who);
        let connected = Cluster::connect(&endpoints, &world.cluster.public(), &identity).await;
        let Ok(mut cluster) = connected else { return };
        let Ok(members) = cluster.members().await else {
            return;
        };
        match own_member(&self.config, &members) {
            OwnMember::Run => {}
            OwnMember::Join => {
                if let Some(server) = self.server.take() {
                    server.stop().await;
                }
                self.config.clean().unwrap();
                self.start(Start::Join(members)).await;
            }
            OwnMember::Leave => {
                if let Some(server) = self.server.take() {
                    server.stop().await;
                }
                self.config.clean().unwrap();
            }
            OwnMember::Lost => panic!("the data of {who} is gone"),
        }
    }
}

pub fn wanted(nodes: &[Node]) -> Wanted {
    Wanted {
        nodes: nodes
            .iter()
            .map(|node| (node.config.node, node.config.advertise.clone(), true))
            .collect(),
        prefix: PREFIX.to_owned(),
    }
}

/// The master's and the nodes' loop, until `count` vote and nothing is left to do.
pub fn settle<'a>(
    world: &'a World,
    nodes: &'a mut [Node],
    count: usize,
) -> Pin<Box<dyn Future<Output = Report> + 'a>> {
    Box::pin(until_settled(world, nodes, count))
}

async fn until_settled(world: &World, nodes: &mut [Node], count: usize) -> Report {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let mut cluster = world.root(nodes).await;
        let report = cluster.reconcile(&wanted(nodes)).await;
        if let Ok(report) = &report {
            let voters = report.members.iter().filter(|member| !member.learner);
            let all_live = report
                .members
                .iter()
                .all(|member| member.live == Some(true));
            if voters.count() == count && report.waiting.is_none() && all_live {
                return report.clone();
            }
        }
        assert!(tokio::time::Instant::now() < until, "{report:#?}");
        let founder = nodes[0].config.advertise.client.clone();
        for node in nodes.iter_mut() {
            node.follow(world, &founder).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Runs to the end; what was said, and whether it worked.
pub fn run(command: &mut Command) -> (bool, String) {
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}
