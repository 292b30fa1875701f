//! Alerts of three nodes, as they leave the machine: each thing is told once, by whoever is the master then.
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
mod nodes_fleet;

use std::collections::BTreeMap;
use std::process::Command;

use common::ok;
use fleet::{Machine, identity, secret_file};
use nodes_fleet::{Fleet, PATIENCE, configure, live, voters};
use palisade_daemon::store::etcd::{EtcdOptions, EtcdStore, Listed};
use palisade_daemon::store::shared::{Key, Outcome, Transaction, head_value, parse_head};
use palisade_keys::{Credentials, PublicKey};
use palisade_ledger::{Hash, Head};
use palisade_link::api::{AlarmKind, Hello};
use palisade_link::client::{Client, ClientError};
use palisade_link::https::Connection;
use palisade_link::peer::Expect;
use palisade_link::x509::user_certificate;
use palisade_testkit::receiver::{Tls, Web};
use palisade_testkit::{poll, temp_dir};
use serde_json::{Value, json as object};
use tokio::runtime::Runtime;

const TOKEN: &str = "a-token-that-nobody-may-see";

struct Scene {
    fleet: Fleet,
    web: Web,
    runtime: Runtime,
}

impl Scene {
    fn new() -> Self {
        let temp = temp_dir().unwrap();
        let tls = Tls::make(temp.path()).unwrap();
        let web = Web::start(Some(&tls), "204 No Content").unwrap();
        let authority = tls.authority().to_owned();
        let fleet = Fleet::configured(temp, |config| {
            config["alerts"] = object!({ "ca_file": authority, "refused_logins_per_minute": 5 });
        });
        let token = fleet.path("hook.token");
        secret_file(&token, TOKEN);
        let url = format!("{}/hook", web.url());
        let how = ["alert", "add", "webhook", "ops", &url, "--token-file"];
        fleet.run(0, &[&how[..], &[token.to_str().unwrap()]].concat());
        let runtime = Runtime::new().unwrap();
        Self {
            fleet,
            web,
            runtime,
        }
    }

    fn machine(&self, nth: usize) -> &Machine {
        &self.fleet.machines[nth]
    }

    /// All notices so far.
    fn notices(&self) -> Vec<Value> {
        let posts = self.web.posts().into_iter().map(|post| {
            let token = format!("authorization: Bearer {TOKEN}\r\n");
            assert!(post.head.contains(&token), "{}", post.head);
            serde_json::from_str(&post.body).unwrap()
        });
        posts.collect()
    }

    /// The states that were told of one kind, about a node.
    fn of(&self, kind: &str, node: u64) -> Vec<Value> {
        let mut notices = self.notices();
        notices.retain(|notice| notice["kind"] == kind && notice["node"] == node);
        notices
    }

    /// Waits until that is the last that was told of it, and by whom.
    fn until(&self, kind: &str, node: u64, state: &str) -> u64 {
        let what = format!("{kind} of node {node}: {state}");
        let found = poll(&what, PATIENCE, || {
            let last = self.of(kind, node).pop()?;
            (last["state"] == state).then(|| last["sender"].as_u64().unwrap())
        });
        match found {
            Ok(sender) => sender,
            Err(error) => panic!("{error}: {:#?}\n{}", self.notices(), self.logs()),
        }
    }

    fn logs(&self) -> String {
        let logs = self.fleet.machines.iter().map(Machine::log);
        logs.collect::<Vec<_>>().join("\n--------\n")
    }

    /// What a node says to the others. We ask with a key that was stolen from a third one.
    fn hello(&self, nth: usize) -> Option<Hello> {
        let machine = self.machine(nth);
        let expect = Expect::Node(machine.stolen_key().public());
        let own = identity(&self.machine((nth + 1) % 3).stolen_key());
        let asked = async {
            let address = machine.address();
            let open = Connection::open(&address, &expect, Some(own.leaf()), PATIENCE);
            Client::https(open.await?).hello().await
        };
        let hello: Result<Hello, ClientError> = self.runtime.block_on(asked);
        hello.ok()
    }

    /// Waits until a node knows of the last that was told: else it may tell it again when the one that told
    /// it is gone.
    fn heard(&self, nth: usize) {
        let heard = poll("what was told to be known", PATIENCE, || {
            let last = self.notices().pop()?;
            let hello = self.hello(nth)?;
            let mut told = hello.told.iter();
            told.any(|alarm| {
                alarm.kind.name() == last["kind"]
                    && alarm.subject == last["subject"]
                    && alarm.over == (last["state"] != "raised")
            })
            .then_some(())
        });
        assert!(
            heard.is_ok(),
            "{:#?}\n{:#?}",
            self.notices(),
            self.hello(nth)
        );
    }

    /// The figures that a node's API gives to an operator.
    fn figures(&self, nth: usize) -> BTreeMap<String, f64> {
        let machine = self.machine(nth);
        let credentials = self.machine(0).private("admin.credentials");
        let credentials = Credentials::from_json(&std::fs::read_to_string(credentials).unwrap());
        let user = credentials.unwrap();
        let hour = time::Duration::hours(1);
        let name = &user.username;
        let leaf = user_certificate(name, &user.secret_key, &[9; 8], fleet::now(), hour).unwrap();
        let expect = Expect::Cluster(self.cluster_key(), "127.0.0.1".to_owned());
        let asked = async {
            let address = machine.address();
            let open = Connection::open(&address, &expect, Some(&leaf), PATIENCE);
            Client::https(open.await?).metrics().await
        };
        let text: Result<String, ClientError> = self.runtime.block_on(asked);
        let text = text.unwrap_or_default();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let figures = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        figures.collect()
    }

    /// Waits until a figure is as it should be.
    fn figure(&self, nth: usize, name: &str, fine: impl Fn(f64) -> bool) {
        let name = format!("palisade_{name}");
        let found = poll(&name, PATIENCE, || {
            let figures = self.figures(nth);
            fine(*figures.get(&name)?).then_some(())
        });
        assert!(found.is_ok(), "{name}: {:#?}", self.figures(nth));
    }

    /// A thing is told in one alarm; its figures say the same.
    fn alarm_is_on(&self, nth: usize, kind: AlarmKind, on: bool) {
        let (kind, on) = (kind.name(), if on { 1.0 } else { 0.0 });
        #[expect(clippy::float_cmp, reason = "it is a whole number")]
        self.figure(nth, &format!("alarms{{kind=\"{kind}\"}}"), |value| {
            value == on
        });
    }

    fn counts(&self, nth: usize, kind: AlarmKind) {
        let name = format!("alarms_begun_total{{kind=\"{}\"}}", kind.name());
        self.figure(nth, &name, |value| value >= 1.0);
    }

    fn cluster_key(&self) -> PublicKey {
        let path = self.machine(0).dir.join("cluster_public.key");
        let text = std::fs::read_to_string(path).unwrap();
        text.trim().parse().unwrap()
    }

    /// Etcd, as who broke into a machine has it.
    fn thief(&self, nth: usize) -> EtcdStore {
        let machine = self.machine(nth);
        let status = self.fleet.status(nth);
        let endpoints = status["store"]["endpoints"].as_array().unwrap();
        let options = EtcdOptions {
            endpoints: endpoints
                .iter()
                .map(|url| url.as_str().unwrap().to_owned())
                .collect(),
            ca_file: Some(machine.dir.join("root.crt")),
            cert_file: Some(machine.private("etcd/member.crt")),
            key_file: Some(machine.private("etcd/member.key")),
        };
        let key = self.cluster_key();
        let store = EtcdStore::new(&options, &key);
        self.runtime.block_on(store).unwrap()
    }

    fn until_well(&self, nth: usize) {
        self.fleet.until(nth, "the cluster to be well", |status| {
            status["store"]["quorum"] == true && live(status) == [1, 2, 3] && voters(status) == 3
        });
    }
}

/// What the store shows under a key.
fn shown(listed: &Listed, key: &Key) -> Option<Vec<u8>> {
    let cells = &listed.listing.cells;
    let cell = cells.iter().find(|cell| cell.key == *key)?;
    Some(cell.value.clone())
}

impl Scene {
    /// Writes to etcd what `writes` makes of what is there, in one transaction; and waits until the nodes
    /// have put all back.
    fn tamper(&self, nth: usize, writes: impl Fn(&Listed, Head) -> Vec<(Key, Option<Vec<u8>>)>) {
        let thief = self.thief(nth);
        let list = || self.runtime.block_on(thief.list()).ok();
        let before = poll("the thief to have his way", PATIENCE, || {
            let listed = list()?;
            let head = parse_head(&shown(&listed, &Key::Head)?)?;
            let at = listed.listing.cells.iter();
            let at = { at }.find(|cell| cell.key == Key::Head)?.revision;
            let transaction = Transaction {
                guards: vec![(Key::Head, at)],
                writes: writes(&listed, head),
            };
            let done = self.runtime.block_on(thief.transact(transaction)).ok()?;
            matches!(done, Outcome::Committed(_)).then_some(listed)
        });
        let before = before.unwrap();
        let healed = poll("the chain to be put back", PATIENCE, || {
            let now = list()?;
            let mut entries = before.listing.cells.iter();
            let same = entries.all(|cell| match cell.key {
                Key::Entry(_) => shown(&now, &cell.key).as_ref() == Some(&cell.value),
                Key::Head | Key::Touch | Key::Other(_) => true,
            });
            let head = parse_head(&shown(&now, &Key::Head)?)?;
            let was = parse_head(&shown(&before, &Key::Head)?)?;
            (same && head.seq >= was.seq).then_some(())
        });
        assert!(healed.is_ok(), "{}", self.logs());
    }
}

#[test]
fn each_thing_is_told_once_by_whoever_is_the_master_then() {
    let mut scene = Scene::new();
    drift_on_another_node(&scene);
    a_burst_of_refused_logins(&scene);
    a_certificate_that_can_not_be_loaded(&scene);
    who_writes_to_etcd_with_a_stolen_identity(&scene);
    a_node_goes_and_comes(&mut scene);
    the_master_goes_and_the_next_one_and_the_quorum(&mut scene);
    all_comes_back(&mut scene);
    nothing_was_told_twice(&scene);
}

fn drift_on_another_node(scene: &Scene) {
    scene.alarm_is_on(2, AlarmKind::Drift, false);
    by_hand(scene.machine(2), "create role by_hand");
    scene.until("drift", 3, "raised");
    scene.alarm_is_on(2, AlarmKind::Drift, true);
    scene.figure(2, "drift_found_total", |found| found >= 1.0);
    by_hand(scene.machine(2), "drop role by_hand");
    scene.until("drift", 3, "over");
}

/// What an administrator of the machine does to its PostgreSQL.
fn by_hand(machine: &Machine, sql: &str) {
    let mut psql = Command::new("psql");
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h"])
        .arg(machine.dir.join("postgres/run"))
        .args(["-U", "palisade", "-d", "main", "-c", sql]);
    ok(&mut psql);
}

fn a_burst_of_refused_logins(scene: &Scene) {
    scene.fleet.add_user("alice");
    scene.fleet.until_log_in(1, "alice", true);
    // Until there were enough within one minute.
    let burst = poll("a burst to be told", PATIENCE, || {
        let mut psql = scene.fleet.psql(1, "alice");
        psql.env("PGPASSWORD", "guessed").args(["-c", "SELECT 1"]);
        assert!(!psql.output().unwrap().status.success());
        scene.of("refused_logins", 2).pop()
    });
    assert_eq!(burst.unwrap()["state"], "raised");
    scene.counts(1, AlarmKind::RefusedLogins);
    let refusals = poll("the gateway's count of refusals", PATIENCE, || {
        let figures = scene.figures(1);
        let name = "palisade_gateway_refusals_total";
        let all = figures.iter().filter(|(key, _)| key.starts_with(name));
        let sum: f64 = all.map(|(_, value)| value).sum();
        (sum >= 5.0).then_some(())
    });
    assert!(refusals.is_ok(), "{:#?}", scene.figures(1));
}

fn a_certificate_that_can_not_be_loaded(scene: &Scene) {
    let path = scene.machine(1).dir.join("server.crt");
    let kept = std::fs::read(&path).unwrap();
    std::fs::write(&path, "no certificate").unwrap();
    scene.until("certificate_renewal", 2, "raised");
    scene.alarm_is_on(1, AlarmKind::CertificateRenewal, true);
    std::fs::write(&path, kept).unwrap();
    scene.until("certificate_renewal", 2, "over");
    scene.alarm_is_on(1, AlarmKind::CertificateRenewal, false);
}

fn who_writes_to_etcd_with_a_stolen_identity(scene: &Scene) {
    let ledger = |sign: &str| {
        let notices = scene.notices().into_iter().filter(|notice| {
            notice["kind"] == "ledger" && notice["text"].as_str().unwrap().contains(sign)
        });
        notices.collect::<Vec<_>>()
    };
    let named = |sign: &str| {
        let found = poll(sign, PATIENCE, || (!ledger(sign).is_empty()).then_some(()));
        assert!(found.is_ok(), "{:#?}\n{}", scene.notices(), scene.logs());
    };
    // A rewritten entry.
    scene.tamper(2, |listed, _| {
        vec![(Key::Entry(3), shown(listed, &Key::Entry(4)))]
    });
    named("entry 3 was rewritten");
    // A deleted tail, with the head of the entry before: the store was turned back.
    scene.tamper(1, |listed, head| {
        let last = head.seq - 2;
        let hash = Hash::of(&shown(listed, &Key::Entry(last)).unwrap());
        vec![
            (Key::Entry(head.seq), None),
            (Key::Entry(head.seq - 1), None),
            (Key::Head, Some(head_value(Head { seq: last, hash }))),
        ]
    });
    named("was turned back");
    for nth in 0..3 {
        scene.counts(nth, AlarmKind::Ledger);
    }
    // Each node saw both, and the cluster goes on.
    scene.fleet.run(1, &["user", "disable", "alice"]);
    scene.fleet.run(2, &["user", "enable", "alice"]);
    for sign in ["entry 3 was rewritten", "was turned back"] {
        assert_eq!(ledger(sign).len(), 1, "{:#?}", ledger(sign));
    }
}

fn a_node_goes_and_comes(scene: &mut Scene) {
    scene.fleet.machines[2].stop();
    scene.until("node_down", 3, "raised");
    scene.figure(0, "node_up{node=\"3\"}", |value| value < 0.5);
    scene.alarm_is_on(0, AlarmKind::NodeDown, true);
    // When it comes back, its certificate is near its end.
    configure(scene.machine(2), |config| {
        config["alerts"]["certificate_days"] = object!(365);
    });
    scene.fleet.machines[2].start("serving at");
    scene.until("node_down", 3, "over");
    scene.until("certificate_expiry", 3, "raised");
    scene.alarm_is_on(2, AlarmKind::CertificateExpiry, true);
    let days = |days: u32| f64::from(days * 24 * 60 * 60);
    let name = "certificate_expires_in_seconds{node=\"3\"}";
    scene.figure(0, name, |value| value > 0.0 && value < days(365));
    scene.until_well(0);
    scene.alarm_is_on(0, AlarmKind::NodeDown, false);
}

/// A certificate is near its end all the while, which nobody repeats.
fn the_master_goes_and_the_next_one_and_the_quorum(scene: &mut Scene) {
    // Nothing is on its way that the next master might not know of.
    scene.until("refused_logins", 2, "over");
    scene.heard(1);
    scene.heard(2);
    scene.fleet.machines[0].stop();
    assert_ne!(scene.until("node_down", 1, "raised"), 1);
    scene.figure(1, "quorum", |value| value > 0.5);
    scene.heard(2);
    scene.fleet.machines[1].stop();
    // One is left, who knows what the two before it told.
    assert_eq!(scene.until("node_down", 2, "raised"), 3);
    assert_eq!(scene.until("quorum_lost", 3, "raised"), 3);
    scene.figure(2, "master", |value| value > 0.5);
    scene.figure(2, "quorum", |value| value < 0.5);
    scene.alarm_is_on(2, AlarmKind::QuorumLost, true);
}

fn all_comes_back(scene: &mut Scene) {
    for nth in [0, 1] {
        scene.fleet.machines[nth].start("serving at");
    }
    for nth in 0..3 {
        scene.until_well(nth);
    }
    for node in [1, 2] {
        scene.until("node_down", node, "over");
    }
    let over = poll("the quorum to be told of", PATIENCE, || {
        let last = scene.notices().into_iter().rev();
        let last = { last }.find(|notice| notice["kind"] == "quorum_lost")?;
        (last["state"] == "over").then_some(())
    });
    assert!(over.is_ok(), "{:#?}\n{}", scene.notices(), scene.logs());
    scene.figure(0, "quorum", |value| value > 0.5);
}

/// Beginnings and ends were told in turn, and what happened to the ledger once.
fn nothing_was_told_twice(scene: &Scene) {
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    for notice in scene.notices() {
        let word = |name: &str| notice[name].as_str().unwrap().to_owned();
        let (kind, state) = (word("kind"), word("state"));
        // What all nodes see is one thing, whoever says it.
        let node = match kind.as_str() {
            "ledger" | "quorum_lost" => Value::Null,
            _ => notice["node"].clone(),
        };
        let about = format!("{kind} {node} {}", word("subject"));
        let before = last.insert(about, state.clone());
        let fine = match state.as_str() {
            "raised" => before.as_deref().is_none_or(|before| before == "over"),
            "over" => before.as_deref() == Some("raised"),
            _ => before.is_none(),
        };
        assert!(
            fine,
            "{notice:#}\nbefore: {before:?}\n{:#?}",
            scene.notices()
        );
    }
}
