//! The manual "Security: the trust model in one page" (quptime), replayed on Palisade: three nodes, real
//! daemons, real PostgreSQL, real etcd. Sentences in quotes are the manual's; its commands are ours by the
//! names of design section 10. What the manual calls "not defended" is tried here, and defended.
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

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{fails, ok, palisade, said};
use expectrl::{Eof, Expect as _, Session};
use fleet::{Machine, identity, json, mode, now, secret_file, status};
use palisade_keys::{Credentials, SecretKey, Zeroizing};
use palisade_ledger::{Author, Change, Entry, Hash, Millis, NodeId, Uid, sign};
use palisade_link::api::{HeadReply, SignedCommand};
use palisade_link::client::Client;
use palisade_link::https::{Connection, OpenError};
use palisade_link::peer::Expect;
use palisade_testkit::{TempDir, poll, temp_dir};
use tokio::runtime::Runtime;

/// Time for three nodes on a busy machine; nothing waits this long unless it fails.
const PATIENCE: Duration = Duration::from_mins(1);

struct Walk {
    one: Machine,
    two: Machine,
    three: Machine,
    runtime: Runtime,
    temp: TempDir,
}

#[test]
fn the_trust_model_in_one_page() {
    let mut walk = Walk::first_node();
    walk.the_second_is_added_by_its_fingerprint();
    walk.a_random_host_does_not_enroll();
    walk.the_third_joins_by_the_secret();
    walk.a_token_is_good_once_and_a_human_may_have_to_approve();
    walk.secrets_on_disk();
    walk.the_ledger_in_etcd_is_verified_without_a_daemon();
    walk.every_call_is_pinned();
    walk.a_compromised_peer_forges_nothing();
    walk.the_control_socket_gives_no_right();
    walk.a_flood_of_handshakes();
    walk.a_compromised_master_rewrites_nothing();
    walk.the_secret_is_rotated_by_one_command();
    walk.an_identity_is_rotated();
    walk.the_manuals_own_rotation();
}

impl Walk {
    /// `qu init --advertise this-host.example.com:9901`
    fn first_node() -> Self {
        let temp = temp_dir().unwrap();
        let machine = |name: &str| Machine::new(temp.path(), name);
        let mut walk = Self {
            one: machine("one"),
            two: machine("two"),
            three: machine("three"),
            runtime: Runtime::new().unwrap(),
            temp,
        };
        let shown = ok(&mut walk.one.placed(&["init"]));
        walk.one.start("serving at");
        // "by running `qu status` on the remote side"
        let fingerprint = walk.one.fingerprint();
        assert!(shown.contains(&fingerprint), "{shown}");
        walk.until("the store", |status| {
            status["store"]["kind"] == "managed" && status["store"]["quorum"] == true
        });
        walk
    }

    fn admin(&self) -> PathBuf {
        self.one.private("admin.credentials")
    }

    /// A command at the first node, signed by the superuser.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.one.command(args);
        command.env("PALISADE_CREDENTIALS", self.admin());
        command
    }

    fn run(&self, args: &[&str]) -> String {
        ok(&mut self.command(args))
    }

    /// A command at another node over HTTPS, by the superuser.
    fn at(&self, machine: &Machine, args: &[&str]) -> Command {
        let mut command = palisade();
        command
            .args(args)
            .args(["--node", &machine.address(), "--as"])
            .arg(self.admin())
            .arg("--cluster-public-key-file")
            .arg(self.one.dir.join("cluster_public.key"));
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// Waits until the first node's status is as it should be.
    fn until(&self, what: &str, fine: impl Fn(&serde_json::Value) -> bool) {
        until_at(&self.one, what, fine);
    }

    fn until_live(&self, ids: &[u64]) {
        self.until(&format!("nodes {ids:?} to live"), |status| {
            let nodes = status["nodes"].as_array().unwrap();
            let live = |id: &u64| {
                let of = |node: &&serde_json::Value| node["id"] == *id;
                nodes
                    .iter()
                    .find(of)
                    .is_some_and(|node| node["live"] == true)
            };
            ids.iter().all(live)
        });
    }

    /// The nodes, without their certificates, which each gets when it is ready for them.
    fn nodes(&self) -> Vec<serde_json::Value> {
        let nodes = json(&mut self.command(&["node", "list", "--json"]));
        let mut nodes = nodes.as_array().unwrap().clone();
        for node in &mut nodes {
            let node = node.as_object_mut().unwrap();
            node.remove("certificates_until").unwrap();
        }
        nodes
    }

    /// The head that a node has, asked with this key.
    fn head(&self, machine: &Machine, key: &SecretKey) -> Result<HeadReply, String> {
        let client = self.call(machine, key);
        let asked = async { client.head().await };
        self.runtime
            .block_on(asked)
            .map_err(|error| error.to_string())
    }

    /// A session with a node, in which this key was proved.
    fn call(&self, machine: &Machine, key: &SecretKey) -> Client {
        let expect = Expect::Node(machine.stolen_key().public());
        let own = identity(key);
        let address = machine.address();
        let open = Connection::open(&address, &expect, Some(own.leaf()), PATIENCE);
        Client::https(self.runtime.block_on(open).unwrap())
    }
}

/// Waits until a node's status is as it should be.
fn until_at(machine: &Machine, what: &str, fine: impl Fn(&serde_json::Value) -> bool) {
    let mut last = String::new();
    let found = poll(what, PATIENCE, || {
        let output = machine.command(&["status", "--json"]).output().unwrap();
        last = said(&output);
        let status = serde_json::from_slice(&output.stdout).ok()?;
        fine(&status).then_some(())
    });
    assert!(found.is_ok(), "{what}: {last}\n{}", machine.log());
}

/// An entry that comes next, as whoever has `key` signs it.
fn entry(head: &HeadReply, author: Author, key: &SecretKey, change: Change) -> Vec<u8> {
    let mut prev = [0; 32];
    for (byte, pair) in prev.iter_mut().zip(head.hash.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    }
    let millis = now().unix_timestamp_nanos() / 1_000_000;
    let entry = Entry {
        seq: head.seq + 1,
        prev: Hash(prev),
        time: Millis(u64::try_from(millis).unwrap()),
        author,
        change,
    };
    sign(&entry, key).unwrap()
}

/// Answers questions at a terminal; gives what was shown, and the exit status.
fn at_a_terminal(mut command: Command, answers: &[(&str, &str)]) -> (String, i32) {
    command.stdin(Stdio::inherit());
    let mut session = Session::spawn(command).unwrap();
    session.set_expect_timeout(Some(PATIENCE));
    let mut shown = String::new();
    for (question, answer) in answers {
        let found = session.expect(question).unwrap();
        shown.push_str(&String::from_utf8_lossy(found.before()));
        session.send_line(answer).unwrap();
    }
    let end = session.expect(Eof).unwrap();
    shown.push_str(&String::from_utf8_lossy(end.as_bytes()));
    match session.get_process().wait().unwrap() {
        expectrl::process::unix::WaitStatus::Exited(_, status) => (shown, status),
        other => panic!("{other:?}: {shown}"),
    }
}

impl Walk {
    /// "It fetches the remote's cert, prints the fingerprint, and asks for confirmation. This is
    /// identical to SSH's first-connection prompt." "MITM on the cluster's inter-node link. Defended:
    /// ... out-of-band fingerprint verification at `qu node add`."
    fn the_second_is_added_by_its_fingerprint(&mut self) {
        let secret = self.one.private("cluster.secret");
        let secret = secret.to_str().unwrap();
        let shown = ok(&mut self.two.placed(&["init", "--secret", secret]));
        self.two.start("waiting to be added");
        let fingerprint = self.two.fingerprint();
        assert!(shown.contains(&fingerprint), "{shown}");
        let address = self.two.address();

        // Somebody in between has another key, and so has another machine at that address.
        let mut impostor = Machine::new(self.temp.path(), "impostor");
        ok(&mut impostor.placed(&["init", "--secret", secret]));
        impostor.start("waiting to be added");
        let said = fails(&mut self.command(&[
            "node",
            "add",
            &impostor.address(),
            "--fingerprint",
            &fingerprint,
        ]));
        assert!(said.contains("somebody stands in between"), "{said}");
        drop(impostor);
        // "If you skip verification, you trust the network at that moment." Not by accident:
        let said = fails(&mut self.command(&["node", "add", &address, "--yes"]));
        assert!(said.contains("nobody is here to compare"), "{said}");

        let (shown, status) =
            at_a_terminal(self.command(&["node", "add", &address]), &[("[y/N] ", "n")]);
        assert_eq!(status, 1, "{shown}");
        assert!(shown.contains(&fingerprint), "{shown}");
        assert_eq!(self.nodes().len(), 1, "nothing was done");
        let (shown, status) =
            at_a_terminal(self.command(&["node", "add", &address]), &[("[y/N] ", "y")]);
        assert_eq!(status, 0, "{shown}\n{}", self.two.log());
        // "After the prompt, the cert is pinned and the window closes."
        assert_eq!(self.nodes()[1]["fingerprint"], fingerprint.as_str());
        self.until_live(&[1, 2]);
        assert!(!self.two.private("join.secret").exists());
    }

    /// "A random internet host enrolling itself as a peer. Defended: pre-shared cluster secret on every
    /// `Join`."
    fn a_random_host_does_not_enroll(&self) {
        let before = self.nodes();
        let host = Machine::new(self.temp.path(), "random");
        let address = self.one.address();
        let file = self.path("guess");
        secret_file(&file, "correct horse battery staple\n");
        let guess = file.to_str().unwrap();
        let said = fails(&mut host.placed(&["join", &address, "--secret", guess]));
        assert!(said.contains("wrong, or no longer good"), "{said}");
        // It knows no secret at all, and asks for the ledger, or for a change to it.
        let stranger = SecretKey::from_seed(Zeroizing::new([66; 32])).unwrap();
        let client = self.call(&self.one, &stranger);
        let entry = entry(
            &self.public_head(),
            Author::Node(NodeId::FIRST),
            &stranger,
            Change::NodeRemove { id: NodeId::FIRST },
        );
        let refused = self.runtime.block_on(async {
            [
                client.head().await.err().map(|e| e.to_string()),
                client.entries(0).await.err().map(|e| e.to_string()),
                client.append(entry).await.err().map(|e| e.to_string()),
                client.status().await.err().map(|e| e.to_string()),
                client.hello().await.err().map(|e| e.to_string()),
            ]
        });
        for refusal in refused {
            let refusal = refusal.expect("a stranger was answered");
            assert!(refusal.contains("does not know you"), "{refusal}");
        }
        assert_eq!(self.nodes(), before);
    }

    /// "`Join` performs a ... comparison of the inbound `ClusterSecret`": here the secret is never
    /// sent; a key that is derived from it signs the session.
    fn the_third_joins_by_the_secret(&mut self) {
        let secret = self.one.private("cluster.secret");
        let secret = secret.to_str().unwrap();
        let address = self.two.address();
        let cluster = self.one.dir.join("cluster_public.key");
        let cluster = std::fs::read_to_string(cluster).unwrap();
        let cluster: palisade_keys::PublicKey = cluster.trim().parse().unwrap();
        let print = cluster.fingerprint().to_string();
        // The cluster's key is compared first, where it is known.
        let wrong = self.two.fingerprint();
        let join = |print: &str| {
            self.three
                .placed(&["join", &address, "--secret", secret, "--fingerprint", print])
        };
        let said = fails(&mut join(&wrong));
        assert!(said.contains("somebody stands in between"), "{said}");
        let shown = ok(&mut join(&print));
        assert!(shown.contains("node 3"), "{shown}");
        self.three.start("serving at");
        self.until_live(&[1, 2, 3]);
        // "full cluster state", the same on every node, each fingerprint by the one form.
        let table = self.run(&["node", "list"]);
        for machine in [&self.one, &self.two, &self.three] {
            assert!(table.contains(&machine.fingerprint()), "{table}");
            assert_eq!(ok(&mut self.at(machine, &["node", "list"])), table);
        }
    }

    /// "single use, expiring, stored hashed, optional human approval, first claim wins" (the issue)
    fn a_token_is_good_once_and_a_human_may_have_to_approve(&self) {
        let token = self.path("db4.token");
        let file = token.to_str().unwrap();
        self.run(&[
            "enroll",
            "create",
            "--approval",
            "--note",
            "db4",
            "-o",
            file,
        ]);
        let first = Machine::new(self.temp.path(), "first").with_another_name();
        let waiting = first
            .placed(&["join", file])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let tokens = || json(&mut self.command(&["enroll", "list", "--json"]));
        let claimed = poll("the claim", PATIENCE, || {
            let token = &tokens()[0];
            (token["waiting"] == true).then(|| token["used_by"].as_u64().unwrap())
        });
        let node = claimed.unwrap().to_string();
        // A second claim, at another node: the first one won.
        let second = Machine::new(self.temp.path(), "second");
        let said = fails(&mut second.placed(&["join", file]));
        assert!(said.contains("used already"), "{said}");
        // Who waits may read nothing, and write nothing.
        let own = first.stolen_key();
        let said = self.head(&self.two, &own).unwrap_err();
        assert!(said.contains("waits for approval"), "{said}");
        let print = own.public().fingerprint().to_string();
        let wrong = self.two.fingerprint();
        let said = fails(&mut self.command(&["enroll", "approve", &node, "--fingerprint", &wrong]));
        assert!(said.contains("somebody stands in between"), "{said}");
        // It chose its names itself: who approves it sees for whom it will speak.
        let mut approve = self.command(&["enroll", "approve", &node, "--fingerprint", &print]);
        let approved = approve.output().unwrap();
        let said = common::said(&approved);
        assert!(approved.status.success(), "{said}");
        let named = "Certificates for it will also name 127.0.0.2.";
        assert!(said.contains(named), "{said}");
        let joined = waiting.wait_with_output().unwrap();
        assert!(joined.status.success(), "{}", common::said(&joined));
        assert!(common::said(&joined).contains(&print));
        self.run(&["node", "remove", &node, "--yes"]);
        let said = self.head(&self.one, &own).unwrap_err();
        assert!(said.contains("does not know you"), "{said}");
    }

    /// "The three secrets on disk": "live under 0600 permissions in the data directory". "Data
    /// directory owned by that user". "It's 0600 permissioned" (the control socket).
    fn secrets_on_disk(&self) {
        for machine in [&self.one, &self.two, &self.three] {
            assert_eq!(mode(&machine.private("node.key")), 0o600);
            assert_eq!(mode(&machine.private("seal.key")), 0o600);
            assert_eq!(mode(&machine.dir.join("private")), 0o700);
            assert_eq!(mode(&machine.dir.join("control.sock")), 0o600);
        }
        assert_eq!(mode(&self.one.private("cluster.secret")), 0o600);
        // Here the secret lies on the first node alone, and the others need none.
        for machine in [&self.two, &self.three] {
            assert!(!machine.private("cluster.secret").exists());
        }
    }

    /// "shardmanctl --store-ca-file --store-cert-file --store-key --store-endpoints status" (design,
    /// section 10), here on the managed etcd with a node's own certificate.
    fn the_ledger_in_etcd_is_verified_without_a_daemon(&self) {
        let status = status(&mut self.command(&["status", "--json"]));
        let endpoints: Vec<&str> = status["store"]["endpoints"]
            .as_array()
            .unwrap()
            .iter()
            .map(|endpoint| endpoint.as_str().unwrap())
            .collect();
        let etcd = self.one.private("etcd");
        let outside = |words: &[&str], key: PathBuf| {
            let mut command = palisade();
            command
                .args(words)
                .args(["--store-endpoints", &endpoints.join(",")])
                .arg("--store-ca-file")
                .arg(self.one.dir.join("root.crt"))
                .arg("--store-cert-file")
                .arg(etcd.join("member.crt"))
                .arg("--store-key")
                .arg(etcd.join("member.key"))
                .arg("--cluster-public-key-file")
                .arg(key);
            command
        };
        let key = || self.one.dir.join("cluster_public.key");
        let told = json(&mut outside(&["status", "--json"], key()));
        let prints = |nodes: &serde_json::Value| -> Vec<serde_json::Value> {
            let nodes = nodes.as_array().unwrap().iter();
            nodes.map(|node| node["fingerprint"].clone()).collect()
        };
        assert_eq!(prints(&told["nodes"]), prints(&status["nodes"]));
        let verified = ok(&mut outside(&["ledger", "verify"], key()));
        assert!(verified.starts_with("verified: "), "{verified}");
        let other = self.path("other.key");
        let private = self.path("other_private.key");
        ok(palisade()
            .arg("keygen")
            .arg("-p")
            .arg(&other)
            .arg("-s")
            .arg(private));
        // Below another cluster's name there is nothing, and nothing of ours is believed by its key.
        fails(&mut outside(&["status"], other));
    }

    /// "Eavesdropping on cluster traffic. Defended: TLS 1.3 only, fingerprint-pinned per peer." "If the
    /// caller knows which `NodeID` it expected, a strict verifier ensures the fingerprint matches that
    /// specific entry — not just any trusted peer."
    fn every_call_is_pinned(&self) {
        let openssl = |version: &str| {
            Command::new("openssl")
                .args(["s_client", "-connect", &self.two.address(), version])
                .args(["-servername", "node.palisade.internal"])
                .stdin(Stdio::null())
                .output()
                .unwrap()
        };
        let old = said(&openssl("-tls1_2"));
        assert!(!old.contains("BEGIN CERTIFICATE"), "{old}");
        let new = said(&openssl("-tls1_3"));
        assert!(new.contains("BEGIN CERTIFICATE"), "{new}");

        let own = identity(&self.one.stolen_key());
        let other = Expect::Node(self.three.stolen_key().public());
        let address = self.two.address();
        let open = Connection::open(&address, &other, Some(own.leaf()), PATIENCE);
        let error = self.runtime.block_on(open).unwrap_err();
        assert!(matches!(error, OpenError::WrongKey { .. }), "{error}");
        // "An adversary who gets your private key can impersonate you": that is what node rotate is for.
        assert!(self.head(&self.two, &self.one.stolen_key()).is_ok());
    }

    fn public_head(&self) -> HeadReply {
        let log = self.run(&["ledger", "verify", "--json"]);
        let proof: serde_json::Value = serde_json::from_str(&log).unwrap();
        HeadReply {
            seq: proof["entries"].as_u64().unwrap() - 1,
            hash: proof["head"].as_str().unwrap().to_owned(),
            applied: true,
        }
    }

    /// What somebody who broke into a node would like to write down, in every name.
    fn forgeries(&self, node: u32, key: &SecretKey) -> Vec<Vec<u8>> {
        let head = self.public_head();
        let node = Author::Node(NodeId::new(node).unwrap());
        let changes = [
            Change::UserDisabled {
                uid: Uid::FIRST,
                disabled: true,
            },
            Change::NodeRemove { id: NodeId::FIRST },
            Change::SecretSet {
                key: Some(key.public()),
            },
            Change::HbaSet {
                text: "host all all all trust\n".to_owned(),
            },
        ];
        let authors = [node, Author::User(Uid::FIRST), Author::Cluster];
        let pairs = authors
            .iter()
            .flat_map(|author| changes.iter().map(move |change| (author, change)));
        pairs
            .map(|(author, change)| entry(&head, *author, key, change.clone()))
            .collect()
    }

    fn no_node_takes(&self, node: u32, key: &SecretKey, machines: &[&Machine]) {
        let before = self.public_head();
        for forged in self.forgeries(node, key) {
            for machine in machines {
                // Over HTTPS as the node that it is, and at the node's own socket.
                let https = self.call(machine, key);
                let socket = Client::new(machine.dir.join("control.sock"));
                for client in [https, socket] {
                    let asked = async { client.append(forged.clone()).await };
                    let error = self.runtime.block_on(asked).unwrap_err().to_string();
                    let told = ["signature", "needs", "may not", "not known", "author"];
                    assert!(told.iter().any(|word| error.contains(word)), "{error}");
                }
            }
        }
        let after = self.public_head();
        // Nodes sign certificates' entries meanwhile; none of these changed a right.
        assert!(after.seq >= before.seq);
        let users = json(&mut self.command(&["user", "list", "--json"]));
        assert_eq!(users[0]["disabled"], false);
        assert!(!self.run(&["hba", "show"]).contains("all all all trust"));
    }

    /// "A compromised peer issuing forged cluster-config mutations. Not defended." Here it is.
    fn a_compromised_peer_forges_nothing(&self) {
        let stolen = self.two.stolen_key();
        self.no_node_takes(2, &stolen, &[&self.one, &self.two, &self.three]);
        assert_eq!(self.nodes().len(), 3);
    }

    /// "Anyone who can read+write the socket can: propose cluster mutations ..., read full cluster
    /// state ..., trigger test alerts." Here he can read.
    fn the_control_socket_gives_no_right(&self) {
        let said = fails(&mut self.one.command(&["node", "remove", "2", "--yes"]));
        assert!(said.contains("must be signed"), "{said}");
        let client = Client::new(self.one.dir.join("control.sock"));
        let nobody = SecretKey::from_seed(Zeroizing::new([67; 32])).unwrap();
        let remove = Change::NodeRemove { id: NodeId::FIRST };
        let entry = entry(
            &self.public_head(),
            Author::User(Uid::FIRST),
            &nobody,
            remove,
        );
        let admin = Credentials::from_json(&std::fs::read_to_string(self.admin()).unwrap());
        let cluster = std::fs::read_to_string(self.one.dir.join("cluster_public.key")).unwrap();
        let cluster = cluster.trim().parse().unwrap();
        self.runtime.block_on(async {
            assert!(client.append(entry).await.is_err());
            let challenge = client.challenge().await.unwrap();
            let command = palisade_link::api::Command::RotateNode;
            let sign = |key| SignedCommand::sign(&command, 1, &cluster, &challenge, key).unwrap();
            let error = client.command(&sign(&nobody)).await.unwrap_err();
            assert!(error.to_string().contains("not signed"), "{error}");
            // One that is signed for this node is good for no other.
            let signed = sign(&admin.unwrap().secret_key);
            let other = Client::new(self.two.dir.join("control.sock"));
            assert!(other.command(&signed).await.is_err());
        });
        assert!(client_reads(&self.runtime, &client));
    }

    /// "`DoS` by handshake flood. Not directly defended at the application layer."
    fn a_flood_of_handshakes(&self) {
        let flood = self.runtime.block_on(async {
            let mut flood = Vec::new();
            for _ in 0..400 {
                let socket = tokio::net::TcpSocket::new_v4().unwrap();
                socket.bind("127.0.0.66:0".parse().unwrap()).unwrap();
                let address = self.one.address().parse().unwrap();
                let connect = socket.connect(address);
                if let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_secs(5), connect).await
                {
                    flood.push(stream);
                }
            }
            flood
        });
        assert!(flood.len() > 100, "{}", flood.len());
        // Who comes from elsewhere is served, and the nodes see each other.
        let served = poll("an answer from elsewhere", PATIENCE, || {
            let output = self.at(&self.one, &["status"]).output().unwrap();
            said(&output).contains("live, master").then_some(())
        });
        assert!(served.is_ok());
        self.until_live(&[1, 2, 3]);
        drop(flood);
    }

    /// "A compromised peer becoming master. ... The master can rewrite `cluster.yaml` arbitrarily. This
    /// is the worst-case blast radius from one compromised node." Here the master has no authority that
    /// its entries don't prove.
    fn a_compromised_master_rewrites_nothing(&mut self) {
        let before = self.run(&["user", "list"]);
        self.until("three voters", |status| {
            let members = status["store"]["members"].as_array().unwrap();
            let votes = members.iter().filter(|member| member["learner"] == false);
            votes.count() == 3
        });
        self.one.stop();
        // The one with the smallest number, or, while that one has only just come, the other.
        until_at(&self.three, "another master", |status| {
            let found = status["master"].as_u64().unwrap_or(1);
            found != 1 && found != 0
        });
        let status = self.three.command(&["status", "--json"]).output().unwrap();
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        let master = u32::try_from(status["master"].as_u64().unwrap()).unwrap();
        let stolen = match master {
            2 => self.two.stolen_key(),
            _ => self.three.stolen_key(),
        };
        let at_three = |walk: &Self, args: &[&str]| ok(&mut walk.at(&walk.three, args));
        let head = at_three(self, &["ledger", "verify", "--json"]);
        let proof: serde_json::Value = serde_json::from_str(&head).unwrap();
        let head = HeadReply {
            seq: proof["entries"].as_u64().unwrap() - 1,
            hash: proof["head"].as_str().unwrap().to_owned(),
            applied: true,
        };
        let disable = Change::UserDisabled {
            uid: Uid::FIRST,
            disabled: true,
        };
        for author in [Author::Node(NodeId::new(master).unwrap()), Author::Cluster] {
            let forged = entry(&head, author, &stolen, disable.clone());
            for machine in [&self.two, &self.three] {
                let client = self.call(machine, &stolen);
                let asked = async { client.append(forged.clone()).await };
                assert!(self.runtime.block_on(asked).is_err(), "{author}");
            }
        }
        assert_eq!(at_three(self, &["user", "list"]), before);
        // And the cluster goes on without its first node: a signed change is taken.
        let mut last = String::new();
        let created = poll("a change to be taken", PATIENCE, || {
            let output = self
                .at(&self.three, &["enroll", "create"])
                .output()
                .unwrap();
            last = said(&output);
            output.status.success().then_some(())
        });
        assert!(created.is_ok(), "{last}\n{}", self.three.log());
        self.one.start("serving at");
        self.until_live(&[1, 2, 3]);
        let tokens = |machine: &Machine| ok(&mut self.at(machine, &["enroll", "list"]));
        let told = poll("the first to catch up", PATIENCE, || {
            (tokens(&self.one) == tokens(&self.three)).then_some(())
        });
        assert!(told.is_ok());
    }

    /// "There is no built-in command to rotate the cluster secret. The hard part isn't generating a new
    /// one — it's distributing it consistently across every node." "Restart each daemon one at a time".
    fn the_secret_is_rotated_by_one_command(&self) {
        let old = self.path("old.secret");
        std::fs::copy(self.one.private("cluster.secret"), &old).unwrap();
        let new = self.path("new.secret");
        self.run(&["secret", "rotate", "-o", new.to_str().unwrap()]);
        assert_eq!(mode(&new), 0o600);
        let host = Machine::new(self.temp.path(), "fourth");
        let join = |machine: &Machine, file: &PathBuf| {
            let file = file.to_str().unwrap();
            host.placed(&["join", &machine.address(), "--secret", file])
        };
        for machine in [&self.one, &self.two, &self.three] {
            let refused = poll("the old secret to be refused", PATIENCE, || {
                let output = join(machine, &old).output().unwrap();
                assert!(!output.status.success(), "{}", said(&output));
                said(&output).contains("no longer good").then_some(())
            });
            assert!(refused.is_ok());
        }
        ok(&mut join(&self.three, &new));
        assert_eq!(self.nodes().len(), 4);
        self.run(&["node", "remove", &host.address(), "--yes"]);
        assert_eq!(self.nodes().len(), 3);
    }

    /// "To roll a node's RSA keypair (e.g., the private key was on a laptop that got stolen)": here by
    /// one command, without leaving.
    fn an_identity_is_rotated(&mut self) {
        let stolen = self.three.stolen_key();
        let open = self.call(&self.one, &stolen);
        assert!(self.runtime.block_on(async { open.head().await }).is_ok());
        let before = self.three.fingerprint();
        ok(&mut self.at(&self.three, &["node", "rotate", "--yes"]));
        let fresh = poll("the new key", PATIENCE, || {
            let now = self.three.fingerprint();
            (now != before).then_some(now)
        })
        .unwrap();
        let nodes = self.nodes();
        assert_eq!(nodes[2]["id"], 3, "the number stays");
        assert_eq!(nodes[2]["fingerprint"], fresh.as_str());
        // The old key opens nothing any more, and what it had open is closed.
        let closed = poll("the old session's end", PATIENCE, || {
            let connection = open.connection().unwrap();
            (!connection.is_open()).then_some(())
        });
        assert!(closed.is_ok());
        for machine in [&self.one, &self.two] {
            let refused = poll("the old key to be nobody's", PATIENCE, || {
                self.head(machine, &stolen).err()
            });
            assert!(refused.unwrap().contains("does not know you"));
        }
        self.until_live(&[1, 2, 3]);
    }

    /// `systemctl stop`, `rm -rf`, `qu init --advertise --secret '<existing cluster secret>'`, `start`;
    /// `qu node remove <old-node-id>`, `qu node add`. "The new `node_id` is a fresh UUID; the old one is
    /// gone for good."
    fn the_manuals_own_rotation(&mut self) {
        let stolen = self.three.stolen_key();
        self.three.stop();
        std::fs::remove_dir_all(&self.three.dir).unwrap();
        let secret = self.path("new.secret");
        let init = ["init", "--secret", secret.to_str().unwrap()];
        ok(&mut self.three.placed(&init));
        self.three.start("waiting to be added");
        self.run(&["node", "remove", "3", "--yes"]);
        let fingerprint = self.three.fingerprint();
        let address = self.three.address();
        self.run(&["node", "add", &address, "--fingerprint", &fingerprint]);
        let nodes = self.nodes();
        assert_eq!(nodes.len(), 3);
        assert_eq!(nodes[2]["id"], 6, "no number is given twice");
        assert!(self.head(&self.one, &stolen).is_err());
        self.until_live(&[1, 2, 6]);
    }
}

fn client_reads(runtime: &Runtime, client: &Client) -> bool {
    runtime.block_on(async { client.status().await.is_ok() && client.entries(0).await.is_ok() })
}
