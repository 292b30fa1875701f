use std::process::Command;

use palisade_keys::{PublicKey, SecretKey, Zeroizing};
use time::Duration;

use super::*;
use crate::x509::{IssuingCa, Purpose, Request, certificate_pem, user_certificate};

fn cluster(byte: u8) -> SecretKey {
    SecretKey::from_seed(Zeroizing::new([byte; 32])).unwrap()
}

fn now() -> OffsetDateTime {
    time::macros::datetime!(2026-06-01 12:00 UTC)
}

struct Case {
    ca: IssuingCa,
    public: PublicKey,
    issuing: [Vec<u8>; 1],
}

impl Case {
    fn new() -> Self {
        let key = cluster(1);
        let made = now() - Duration::days(400);
        let (ca, _) = IssuingCa::create(&key, &[0x41], made).unwrap();
        Self {
            public: key.public(),
            issuing: [ca.certificate().to_vec()],
            ca,
        }
    }

    fn leaf(
        &self,
        purpose: Purpose,
        hosts: &[&str],
        from: OffsetDateTime,
        days: i64,
    ) -> Vec<Vec<u8>> {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let terms = Request {
            common_name: "n1",
            hosts: &hosts,
            now: from,
            lifetime: Duration::days(days),
            serial: &[0x51, 1],
        };
        self.ca.leaf(purpose, &terms).unwrap().chain
    }

    /// The kinds of the faults.
    fn faults<'a>(
        &'a self,
        chain: &[Vec<u8>],
        change: impl FnOnce(&mut Context<'a>),
    ) -> Vec<&'static str> {
        let mut context = Context {
            now: now(),
            host: Some("n1"),
            key: None,
            cluster: Some(&self.public),
            issuing: &self.issuing,
            revoked: &|_| None,
        };
        change(&mut context);
        let report = inspect(chain, &context).unwrap();
        for fault in &report.faults {
            assert!(!fault.what.is_empty() && !fault.remedy.is_empty());
        }
        report.faults.iter().map(|fault| fault.kind).collect()
    }
}

/// "`inspect FILE [--for HOST]` says in words what a certificate is and what is wrong with it"
#[test]
fn each_fault_is_found() {
    let (other, foreign) = ([vec![1]], cluster(2).public());
    let case = Case::new();
    let good = case.leaf(Purpose::Server, &["n1", "10.0.0.1"], now(), 90);
    let none: [&str; 0] = [];
    assert_eq!(case.faults(&good, |_| ()), none);
    assert_eq!(case.faults(&good, |c| c.host = Some("10.0.0.1")), none);
    assert_eq!(
        case.faults(&good, |c| c.host = Some("n2")),
        ["host_not_named"]
    );
    assert_eq!(
        case.faults(&good, |c| c.host = Some("10.0.0.2")),
        ["host_not_named"]
    );
    assert_eq!(
        case.faults(&good, |c| c.key = Some(b"other")),
        ["key_mismatch"]
    );
    assert_eq!(
        case.faults(&good, |c| c.revoked =
            &|serial| (serial == [0x51, 1]).then(|| "lost".into())),
        ["revoked"]
    );
    assert_eq!(case.faults(&good[..1], |_| ()), ["chain_incomplete"]);
    assert_eq!(case.faults(&good, |c| c.issuing = &[]), none);
    assert_eq!(case.faults(&good, |c| c.issuing = &other), ["ca_retired"]);
    assert_eq!(
        case.faults(&good, |c| c.cluster = Some(&foreign)),
        ["not_this_cluster"]
    );
    let swapped = [good[1].clone(), good[0].clone()];
    let found = case.faults(&swapped, |_| ());
    assert!(
        found.contains(&"ca_as_leaf") && found.contains(&"chain_order"),
        "{found:?}"
    );
    let old = case.leaf(Purpose::Server, &["n1"], now() - Duration::days(100), 90);
    assert_eq!(case.faults(&old, |_| ()), ["expired"]);
    let new = case.leaf(Purpose::Server, &["n1"], now() + Duration::days(2), 90);
    assert_eq!(case.faults(&new, |_| ()), ["not_yet"]);
    let ending = case.leaf(Purpose::Server, &["n1"], now() - Duration::days(85), 90);
    assert_eq!(case.faults(&ending, |_| ()), ["near_end"]);
    let long = case.leaf(Purpose::Server, &["n1"], now(), 400);
    assert_eq!(case.faults(&long, |_| ()), ["long"]);
    let too_long = case.leaf(Purpose::Server, &["n1"], now(), 1000);
    assert_eq!(case.faults(&too_long, |_| ()), ["too_long"]);
    let client = case.leaf(Purpose::Tool, &[], now(), 90);
    let found = case.faults(&client, |_| ());
    assert_eq!(found, ["wrong_usage", "no_san"]);
    assert_eq!(case.faults(&client, |c| c.host = None), none);
    let own = user_certificate("alice", &cluster(7), &[9], now(), Duration::days(90)).unwrap();
    let found = case.faults(&own.chain, |c| c.host = None);
    assert_eq!(
        found,
        ["not_this_cluster", "ed25519_signature", "self_signed"]
    );
}

/// The certificates that people make with openssl, the seed's way and worse.
#[test]
fn openssls_certificates_are_judged() {
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str, args: &[&str]| {
        let output = Command::new("openssl")
            .args([
                "req", "-x509", "-nodes", "-keyout", "key", "-out", name, "-subj", "/CN=n1",
            ])
            .args(args)
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        certificates(&std::fs::read(dir.path().join(name)).unwrap()).unwrap()
    };
    let no_ca = ["-addext", "basicConstraints=critical,CA:FALSE"];
    let case = Case::new();
    let faults = |chain: &[Vec<u8>]| {
        let now = OffsetDateTime::now_utc();
        case.faults(chain, |c| (c.now, c.cluster) = (now, None))
    };
    let args = |more: &[&'static str]| [no_ca.as_slice(), more].concat();
    let weak = make(
        "a",
        &args(&[
            "-newkey",
            "rsa:1024",
            "-sha256",
            "-addext",
            "subjectAltName=DNS:n1",
        ]),
    );
    assert_eq!(faults(&weak), ["weak_key", "self_signed"]);
    let sha1 = make(
        "b",
        &args(&[
            "-newkey",
            "rsa:2048",
            "-sha1",
            "-addext",
            "subjectAltName=DNS:n1",
        ]),
    );
    assert_eq!(faults(&sha1), ["weak_signature", "self_signed"]);
    let bare = make("c", &args(&["-newkey", "rsa:2048", "-sha256"]));
    assert_eq!(faults(&bare), ["no_san", "self_signed"]);
    let star = make(
        "d",
        &args(&[
            "-newkey",
            "rsa:2048",
            "-addext",
            "subjectAltName=DNS:*.example,DNS:n1",
        ]),
    );
    assert_eq!(faults(&star), ["wildcard", "self_signed"]);
    let dns = make(
        "e",
        &args(&[
            "-newkey",
            "rsa:2048",
            "-addext",
            "subjectAltName=DNS:10.0.0.1,DNS:n1",
        ]),
    );
    assert_eq!(faults(&dns), ["address_as_name", "self_signed"]);
    // Ten thousand days, as the seed has it; and openssl's own default of a self-signed one: a CA.
    let root = make("f", &["-newkey", "rsa:2048", "-days", "10000"]);
    assert!(faults(&root).contains(&"ca_as_leaf"));
    let long = make(
        "g",
        &args(&[
            "-newkey",
            "rsa:2048",
            "-days",
            "10000",
            "-addext",
            "subjectAltName=DNS:n1",
        ]),
    );
    assert_eq!(faults(&long), ["too_long", "self_signed"]);
}

#[test]
fn other_files_are_told_apart() {
    let read = |text: &str| certificates(text.as_bytes()).err().unwrap();
    assert_eq!(read("hello"), ReadError::Empty);
    let key = crate::x509::pem("PRIVATE KEY", b"x");
    assert_eq!(read(&key), ReadError::PrivateKey);
    let request = crate::x509::pem("CERTIFICATE REQUEST", b"x");
    assert_eq!(read(&request), ReadError::Request);
    let junk = certificate_pem(b"junk");
    let chain = certificates(junk.as_bytes()).unwrap();
    let context = Context {
        now: now(),
        host: None,
        key: None,
        cluster: None,
        issuing: &[],
        revoked: &|_| None,
    };
    assert!(matches!(
        inspect(&chain, &context),
        Err(ReadError::Certificate { .. })
    ));
}

#[test]
fn the_key_of_a_certificate_is_known() {
    let case = Case::new();
    let terms = Request {
        common_name: "n1",
        hosts: &["n1".to_owned()],
        now: now(),
        lifetime: Duration::days(90),
        serial: &[7],
    };
    let leaf = case.ca.server(&terms).unwrap();
    let right = key_spki(leaf.expose_key_pem().as_bytes()).unwrap();
    let none: [&str; 0] = [];
    assert_eq!(case.faults(&leaf.chain, |c| c.key = Some(&right)), none);
    let other = case.ca.server(&terms).unwrap();
    let wrong = key_spki(other.expose_key_pem().as_bytes()).unwrap();
    assert_eq!(
        case.faults(&leaf.chain, |c| c.key = Some(&wrong)),
        ["key_mismatch"]
    );
}
