//! "Configuring Secure Communications with etcd", step by step on Palisade, with the real openssl, etcd
//! and etcdctl. Sentences in quotes are the manual's; what an extraction of it lost (the section
//! `alt_names`, the variables) is filled in.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/fleet.rs"]
mod fleet;
mod forked;
mod hosts;
mod managed;
mod moving;
mod outside;
mod refusals;

use common::{Cluster, Process, ok, palisade};
use fleet::Machine;
use hosts::{Hosts, variables};
use palisade_testkit::poll;

/// 2.7.1, 2.7.2 and 2.7.3.
#[test]
fn the_manual_works_as_written() {
    let hosts = Hosts::new();
    // "1. If the CA does not exist, generate a self-signed root certificate."
    hosts.sh("openssl genrsa -out rootCA.key 4096");
    hosts.sh_with(
        "openssl req -x509 -new -key rootCA.key -days 10000 -out rootCA.crt",
        "RU\nMoscow Region\nMoscow\nTest\n.\nrootCA\n.\n",
    );
    for name in ["n1", "n2", "n3"] {
        // "2. Prepare the following openssl configuration file for each etcd host"
        hosts.write_san_conf(name);
        // "3. Using the configuration files prepared, generate private keys and certificate requests for etcd hosts"
        hosts.sh(&format!("openssl genrsa -out {name}.etcd.key 4096"));
        hosts.sh(&format!(
            "openssl req -config {name}.san.conf -new -key {name}.etcd.key -out {name}.etcd.csr -subj \"/C=RU/ST=Moscow Region/L=Moscow/O=Test/CN={name}\""
        ));
        // "4. Sign the certification request"
        hosts.sh(&format!(
            "openssl x509 -extfile {name}.san.conf -extensions req_ext -req -in {name}.etcd.csr -CA rootCA.crt -CAkey rootCA.key -CAcreateserial -out {name}.etcd.crt -days 10000"
        ));
        // "5. Check the certificates to ensure they contain correct X509v3 Subject Alternative Name fields."
        let text = hosts.sh(&format!("openssl x509 -in {name}.etcd.crt -noout -text"));
        let names = format!("DNS:{name}, IP Address:127.0.0.1");
        assert!(
            text.contains("X509v3 Subject Alternative Name") && text.contains(&names),
            "{text}"
        );
        let said =
            ok(&mut hosts.palisade(&["ca", "inspect", &format!("{name}.etcd.crt"), "--for", name]));
        assert!(said.contains(name), "{said}");
    }
    // "6. Generate client certificates for Shardman services and client tools. These certificates do not need to
    // contain the subjectAltName header". (Its `openssl x509 genrsa` is a slip: that is `openssl genrsa`.)
    for name in ["shardman_services", "shardman_tools"] {
        hosts.sh(&format!("openssl genrsa -out {name}.key 4096"));
        hosts.sh(&format!(
            "openssl req -new -key {name}.key -out {name}.csr -subj \"/C=RU/ST=Moscow Region/L=Moscow/O=Test/CN={name}\""
        ));
        hosts.sh(&format!(
            "openssl x509 -req -in {name}.csr -CA rootCA.crt -CAkey rootCA.key -CAcreateserial -out {name}.crt -days 10000"
        ));
    }
    configured_and_used(&hosts);
}

/// The same, with one command of Palisade in place of each openssl ritual.
#[test]
fn the_manual_works_with_the_clusters_own_ca() {
    let hosts = Hosts::new();
    let cluster = Cluster::up();
    let issue = |args: &[&str]| {
        let mut command = cluster.command(&["ca", "issue"]);
        ok(command.args(args).current_dir(hosts.path("")));
    };
    for name in ["n1", "n2", "n3"] {
        let out = format!("{name}.etcd");
        issue(&["--host", name, "--host", "127.0.0.1", "--etcd", "-o", &out]);
        ok(&mut hosts.palisade(&["ca", "inspect", &format!("{name}.etcd.crt"), "--for", name]));
    }
    issue(&["--service", "shardman_services", "-o", "shardman_services"]);
    issue(&[
        "--tool",
        "shardman_tools",
        "-o",
        "shardman_tools",
        "--root",
        "rootCA.crt",
    ]);
    configured_and_used(&hosts);
}

/// 2.7.2 and 2.7.3.
fn configured_and_used(hosts: &Hosts) {
    for name in ["n1", "n2", "n3"] {
        // "1. On each etcd node, put rootCA.crt, nX.etcd.crt and nX.etcd.key in the location accessible to the etcd
        // daemon" "Ensure that the nX.etcd.key file is only accessible to the etcd daemon user."
        hosts.sh(&format!(
            "mkdir {name}.etc && cp rootCA.crt {name}.etcd.crt {name}.etcd.key {name}.etc && chmod 600 {name}.etc/{name}.etcd.key"
        ));
        // "2. Specify the following configuration for etcd daemons in /etc/default/etcd"
        hosts.write_env(name);
        let text = hosts.read(&format!("{name}.env/etcd"));
        for comment in [
            "# unqualified first name",
            "# where we actually listen for peers",
            "# where we actually listen for clients",
            "# advertise where this machine is listening for clients",
            "# --initial flags are used during bootstrapping and ignored afterwards, so it is",
            "# advertise where this machine is listening for peer",
        ] {
            assert!(text.contains(comment), "{comment} in\n{text}");
        }
    }
    // "3. Restart etcd services on all etcd cluster nodes"
    let _etcd: Vec<Process> = ["n1", "n2", "n3"].map(|name| hosts.start_etcd(name)).into();

    // "4. To check the new configuration, use the following command"
    let endpoints = hosts.endpoints();
    let etcdctl = || {
        let mut command = std::process::Command::new("etcdctl");
        command
            .env("ETCDCTL_API", "3")
            .current_dir(hosts.path(""))
            .arg(format!("--endpoints={endpoints}"))
            .args([
                "--cacert",
                "rootCA.crt",
                "--cert",
                "n1.etcd.crt",
                "--key",
                "n1.etcd.key",
            ]);
        command
    };
    let listed = poll("three members that have started", hosts::PATIENCE, || {
        let output = etcdctl()
            .args(["member", "list", "-w", "table"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let started =
            text.matches("| started |").count() == 3 && text.matches("https://").count() == 6;
        started.then_some(text)
    });
    let expected = listed.unwrap();
    let store = hosts.store_options("n1.etcd");
    let members = || {
        let mut command = hosts.palisade(&["store", "members"]);
        command.args(&store);
        command
    };
    assert_eq!(ok(&mut members()), expected);
    let head = expected.lines().nth(1).unwrap();
    let columns: Vec<&str> = head
        .split('|')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(
        columns,
        [
            "ID",
            "STATUS",
            "NAME",
            "PEER ADDRS",
            "CLIENT ADDRS",
            "IS LEARNER"
        ]
    );
    let json: serde_json::Value = serde_json::from_str(&ok(members().arg("--json"))).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 3);

    the_daemon_uses_it(hosts, &mut etcdctl());
}

/// Steps 5 to 7, and 2.7.3.
fn the_daemon_uses_it(hosts: &Hosts, etcdctl: &mut std::process::Command) {
    // "5. On each Shardman cluster node, put rootCA.crt, shardman_services.crt and shardman_services.key in a location
    // accessible to the postgres user" "Ensure that the shardman_services.key file is only accessible to the postgres user."
    hosts.sh("mkdir shardman && cp rootCA.crt shardman_*.crt shardman_*.key shardman && chmod 600 shardman/*.key");
    let mut machine = Machine::new(&hosts.path(""), "node");
    ok(&mut machine.placed(&["init", "--store", "embedded"]));
    // "6. Edit the shardmand configuration file ... as follows" "7. Restart shardmand@cluster0 services"
    let mut daemon = palisade();
    daemon
        .args(["daemon", "-c"])
        .arg(machine.dir.join("palisade.cfg"))
        .envs(variables(&hosts.read("n1.env/palisade.env")));
    let log = machine.dir.with_extension("log");
    let daemon = Process::start(&mut daemon, &log, "serving at");
    let credentials = machine.private("admin.credentials");
    let run = |args: &[&str]| {
        let mut command = machine.command(args);
        command.env("PALISADE_CREDENTIALS", &credentials);
        ok(&mut command)
    };
    let status = || -> serde_json::Value {
        let output = machine.command(&["status", "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    };
    let attached = poll("the ledger in etcd", hosts::PATIENCE, || {
        let store = &status()["store"];
        (store["kind"] == "endpoints" && store["quorum"] == true).then(|| store.clone())
    });
    let store = attached.unwrap_or_else(|error| panic!("{error}: {}\n{}", status(), daemon.log()));
    assert_eq!(store["endpoints"].as_array().unwrap().len(), 3, "{store}");
    run(&[
        "user",
        "add",
        "-u",
        "alice",
        "--privileges",
        "select",
        "-s",
        hosts.path("alice.credentials").to_str().unwrap(),
    ]);
    // Every entry lies in etcd, with the head.
    let head = status()["head"]["seq"].as_u64().unwrap();
    let keys = ok(etcdctl.args(["get", "--prefix", "--keys-only", "/palisade/"]));
    assert!(
        keys.contains(&format!("/ledger/{head:020}")),
        "{head} in\n{keys}"
    );
    assert!(keys.lines().any(|key| key.ends_with("/head")), "{keys}");

    // "When using Shardman tools, be sure to add --store-ca-file, --store-cert-file and --store-key options to
    // shardmanctl command. For example, the following command gets the cluster status"
    let mut tools = machine.command(&["store", "members"]);
    let shown = ok(tools
        .args(hosts.store_options("shardman/shardman_tools"))
        .current_dir(hosts.path("")));
    assert_eq!(shown.matches("| started |").count(), 3, "{shown}");
    let mut tools = palisade();
    tools
        .args(["status", "--cluster-public-key-file"])
        .arg(machine.dir.join("cluster_public.key"))
        .args(hosts.store_options("shardman/shardman_tools"))
        .current_dir(hosts.path(""));
    let shown = ok(&mut tools);
    for expected in ["its ledger verifies", "member", &format!("entry {head}")] {
        assert!(shown.contains(expected), "{expected} in\n{shown}");
    }
    daemon.stop();
    machine.stop();
}
