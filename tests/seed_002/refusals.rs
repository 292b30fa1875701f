//! What goes wrong with hand-made certificates, each told in its own words. Issue 3: "a key others may read, a
//! certificate that does not match its key, a wrong CA, an expired one and a SAN that lacks the host are
//! told apart in the error".

use std::os::unix::fs::PermissionsExt as _;

use palisade_testkit::etcd::{Authority, Etcd, KeyKind, Leaf, Pair};
use palisade_testkit::{TempDir, temp_dir};

use super::common::{fails, ok, palisade};
use super::hosts::PATIENCE;

struct Trial {
    ca: Authority,
    other: Authority,
    tools: Pair,
    _dir: TempDir,
}

impl Trial {
    fn new() -> Self {
        let dir = temp_dir().unwrap();
        let authority = |name| Authority::make(dir.path(), name, KeyKind::Ec).unwrap();
        let (ca, other) = (authority("rootCA"), authority("otherCA"));
        Self {
            tools: ca.issue(&Leaf::client("tools")).unwrap(),
            ca,
            other,
            _dir: dir,
        }
    }
}

/// `palisade store members`, with these files.
fn members(ca: &Authority, pair: &Pair, endpoints: &str) -> std::process::Command {
    let mut command = palisade();
    command
        .args(["store", "members", "--store-endpoints", endpoints])
        .arg("--store-ca-file")
        .arg(ca.certificate())
        .arg("--store-cert-file")
        .arg(&pair.certificate)
        .arg("--store-key")
        .arg(&pair.key);
    command
}

/// What is wrong with our own files is told before anybody is asked.
#[test]
fn each_fault_of_our_own_files_has_its_own_words() {
    const NOBODY: &str = "https://127.0.0.1:1";
    let trial = Trial::new();
    let tools = &trial.tools;
    // "Ensure that the ... .key file is only accessible to the ... user."
    let mode = |mode| {
        std::fs::set_permissions(&tools.key, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o644);
    let exposed = fails(&mut members(&trial.ca, tools, NOBODY));
    assert!(exposed.contains("chmod 600"), "{exposed}");
    mode(0o600);

    let mixed = Pair {
        certificate: tools.certificate.clone(),
        key: trial.ca.issue(&Leaf::client("another")).unwrap().key,
    };
    let mismatch = fails(&mut members(&trial.ca, &mixed, NOBODY));
    assert!(mismatch.contains("is not of the key"), "{mismatch}");

    let mut short = Leaf::client("short");
    short.days = 0;
    let short = trial.ca.issue(&short).unwrap();
    let expired = palisade_testkit::poll("its end", PATIENCE, || {
        let said = fails(&mut members(&trial.ca, &short, NOBODY));
        said.contains("expired on").then_some(said)
    });
    assert!(expired.is_ok());

    let nobody = fails(&mut members(&trial.ca, tools, NOBODY));
    assert!(nobody.contains("nobody answers"), "{nobody}");
    let unencrypted = fails(&mut members(&trial.ca, tools, "http://n1.example:2379"));
    assert!(unencrypted.contains("is not encrypted"), "{unencrypted}");
}

#[test]
fn each_fault_between_us_and_etcd_has_its_own_words() {
    let trial = Trial::new();
    let etcd = Etcd::builder().authority(trial.ca.clone()).start().unwrap();
    let endpoints = etcd.endpoints().join(",");
    ok(&mut members(&trial.ca, &trial.tools, &endpoints));

    let wrong_ca = fails(&mut members(&trial.other, &trial.tools, &endpoints));
    assert!(wrong_ca.contains("was not issued by the CA"), "{wrong_ca}");

    let foreign = trial.other.issue(&Leaf::client("tools")).unwrap();
    let refused = fails(&mut members(&trial.ca, &foreign, &endpoints));
    assert!(refused.contains("refuses our certificate"), "{refused}");

    // "These names must include the etcd server hostname, IP address and local IP."
    let mut lacking = Leaf::server("server");
    lacking.sans = vec!["DNS:n1".to_owned()];
    let etcd = Etcd::builder()
        .authority(trial.ca.clone())
        .server_certificate(lacking)
        .start()
        .unwrap();
    let endpoints = etcd.endpoints().join(",");
    let lacking = fails(&mut members(&trial.ca, &trial.tools, &endpoints));
    assert!(lacking.contains("does not name 127.0.0.1"), "{lacking}");
}

/// The files for a host are written whole, for a host that there is, and over nothing.
#[test]
fn the_files_for_a_host_replace_nothing() {
    let dir = temp_dir().unwrap();
    let env = |args: &[&str]| {
        let mut command = palisade();
        command
            .args(["store", "env", "--hosts", "n1,n2,n3"])
            .args(args)
            .current_dir(dir.path());
        command
    };
    let said = fails(&mut env(&["--node", "n9"]));
    assert!(
        said.contains("n9 is none of the hosts: n1, n2, n3"),
        "{said}"
    );
    let shown = ok(&mut env(&["--node", "n1"]));
    ok(&mut env(&["--node", "n1", "--out", "."]));
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(shown, format!("{}\n{}", read("etcd"), read("palisade.env")));
    fails(&mut env(&["--node", "n2", "--out", "."]));
    assert!(read("etcd").contains("ETCD_NAME=n1"));
    ok(&mut env(&["--node", "n2", "--out", ".", "--force"]));
    assert!(read("etcd").contains("ETCD_NAME=n2"));
}
