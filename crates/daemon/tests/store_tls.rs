//! The options of a store in etcd: an operator's own certificates work as openssl makes them, and
//! what is wrong with files and peers is told apart.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    missing_docs,
    reason = "tests"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use palisade_daemon::files::FileError;
use palisade_daemon::store::etcd::{EtcdError, EtcdOptions, EtcdStore, Failure};
use palisade_keys::{PublicKey, SecretKey, Zeroizing};
use palisade_testkit::etcd::{Authority, Etcd, KeyKind, Leaf, Pair};

fn cluster() -> PublicKey {
    SecretKey::from_seed(Zeroizing::new([1; 32]))
        .unwrap()
        .public()
}

fn options(etcd: &Etcd, own: &Pair) -> EtcdOptions {
    EtcdOptions {
        endpoints: etcd.endpoints(),
        ca_file: etcd.ca_file(),
        cert_file: Some(own.certificate.clone()),
        key_file: Some(own.key.clone()),
    }
}

async fn failure(options: &EtcdOptions) -> EtcdError {
    EtcdStore::connect(options, &cluster()).await.err().unwrap()
}

fn other_ca(dir: &Path) -> Authority {
    let dir = dir.join("other");
    std::fs::create_dir(&dir).unwrap();
    Authority::make(&dir, "other", KeyKind::Ec).unwrap()
}

/// "The certificates that the seed makes with openssl work as they are": RSA 4096 in PKCS#1, a client
/// certificate without extensions (X.509 version 1); PKCS#8 and SEC 1 besides.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_as_the_seed_makes_them_work() {
    let dir = palisade_testkit::temp_dir().unwrap();
    let authority = Authority::make(dir.path(), "rootCA", KeyKind::Rsa(4096)).unwrap();
    let etcd = Etcd::builder()
        .authority(authority.clone())
        .start()
        .unwrap();
    for key in [KeyKind::Rsa(4096), KeyKind::Pkcs8, KeyKind::Ec] {
        let leaf = Leaf {
            key,
            ..Leaf::client("shardman_services")
        };
        let own = authority.issue(&leaf).unwrap();
        let store = EtcdStore::connect(&options(&etcd, &own), &cluster()).await;
        assert!(
            store
                .unwrap()
                .list()
                .await
                .unwrap()
                .listing
                .cells
                .is_empty()
        );
    }
}

/// "A key others may read, a certificate that does not match its key, a wrong CA, an expired one and a
/// SAN that lacks the host are told apart in the error."
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_apart() {
    let etcd = Etcd::builder().tls().start().unwrap();
    let authority = etcd.authority().unwrap();
    let own = authority.issue(&Leaf::client("node")).unwrap();
    let good = options(&etcd, &own);
    EtcdStore::connect(&good, &cluster()).await.unwrap();

    // A key that others may read.
    std::fs::set_permissions(&own.key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = failure(&good).await;
    assert!(
        matches!(error, EtcdError::File(FileError::Exposed { .. })),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("chmod 600") && text.contains("node.key"),
        "{text}"
    );
    std::fs::set_permissions(&own.key, std::fs::Permissions::from_mode(0o600)).unwrap();

    // A certificate that does not match its key.
    let second = authority.issue(&Leaf::client("second")).unwrap();
    let error = failure(&EtcdOptions {
        key_file: Some(second.key.clone()),
        ..good.clone()
    })
    .await;
    assert!(matches!(error, EtcdError::Mismatch { .. }), "{error}");

    // A wrong CA: theirs is not of ours, and ours not of theirs.
    let other = other_ca(etcd.directory());
    let error = failure(&EtcdOptions {
        ca_file: Some(other.certificate()),
        ..good.clone()
    })
    .await;
    assert!(
        matches!(error.failures()[..], [Failure::WrongCa(path)] if *path == other.certificate()),
        "{error}"
    );
    let stranger = other.issue(&Leaf::client("node")).unwrap();
    let error = failure(&options(&etcd, &stranger)).await;
    assert!(
        matches!(error.failures()[..], [Failure::RefusesUs { .. }]),
        "{error}"
    );
    assert!(error.to_string().contains("other.node.crt"), "{error}");

    // No certificate at all.
    let error = failure(&EtcdOptions {
        cert_file: None,
        key_file: None,
        ..good.clone()
    })
    .await;
    assert!(
        matches!(error.failures()[..], [Failure::RefusesUs { .. }]),
        "{error}"
    );

    // An own certificate that has expired.
    let short = authority
        .issue(&Leaf {
            days: 0,
            ..Leaf::client("short")
        })
        .unwrap();
    let expired = palisade_testkit::poll(
        "the end of a certificate",
        std::time::Duration::from_mins(1),
        || {
            let output = std::process::Command::new("openssl")
                .args(["x509", "-checkend", "0", "-noout", "-in"])
                .arg(&short.certificate)
                .output()
                .unwrap();
            (!output.status.success()).then_some(())
        },
    );
    expired.unwrap();
    let error = failure(&options(&etcd, &short)).await;
    assert!(matches!(error, EtcdError::OwnExpired { .. }), "{error}");

    // A SAN that lacks the host: 127.0.0.2 reaches nobody here, localhost and 127.0.0.1 are named.
    let lacking = Etcd::builder()
        .authority(authority.clone())
        .server_certificate(Leaf {
            sans: vec!["DNS:n1.example".to_owned()],
            ..Leaf::server("lacking")
        })
        .start()
        .unwrap();
    let error = failure(&options(&lacking, &own)).await;
    assert!(
        matches!(error.failures()[..], [Failure::NameMissing { host, .. }] if host == "127.0.0.1"),
        "{error}"
    );
    assert!(error.to_string().contains("n1.example"), "{error}");

    // A server's certificate that has expired.
    let expired = Etcd::builder()
        .authority(authority.clone())
        .server_certificate(Leaf {
            days: 0,
            ..Leaf::server("expired")
        })
        .start()
        .unwrap();
    let error = failure(&options(&expired, &own)).await;
    assert!(
        matches!(error.failures()[..], [Failure::Expired(_)]),
        "{error}"
    );

    // Nobody listens.
    let port = palisade_testkit::free_port().unwrap();
    let error = failure(&EtcdOptions {
        endpoints: vec![format!("https://127.0.0.1:{port}")],
        ..good.clone()
    })
    .await;
    assert!(
        matches!(error.failures()[..], [Failure::NotReachable(_)]),
        "{error}"
    );

    // No TLS on the way: refused before anybody is asked.
    let error = failure(&EtcdOptions {
        endpoints: vec!["http://n1.example:2379".to_owned()],
        ..good
    })
    .await;
    assert!(matches!(error, EtcdError::Options(_)), "{error}");
}

/// "etcd's own RBAC is on: one identity per node, rights on its prefix only": its refusal is told as one.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_etcd_itself_is_told() {
    let etcd = Etcd::builder().tls().start().unwrap();
    for command in [
        "user add root --no-password",
        "user grant-role root root",
        "user add node1 --no-password",
        "user add node2 --no-password",
        "role add palisade",
        "user grant-role node1 palisade",
    ] {
        etcd.etcdctl(&command.split(' ').collect::<Vec<_>>()).ok();
    }
    let prefix = palisade_daemon::store::etcd::prefix(&cluster());
    etcd.etcdctl(&[
        "role",
        "grant-permission",
        "palisade",
        "--prefix=true",
        "readwrite",
        &prefix,
    ])
    .unwrap();
    etcd.etcdctl(&["auth", "enable"]).unwrap();
    let authority = etcd.authority().unwrap();
    let first = authority.issue(&Leaf::client("node1")).unwrap();
    EtcdStore::connect(&options(&etcd, &first), &cluster())
        .await
        .unwrap();
    for name in ["node2", "stranger"] {
        let own = authority.issue(&Leaf::client(name)).unwrap();
        let error = failure(&options(&etcd, &own)).await;
        assert!(
            matches!(error.failures()[..], [Failure::Forbidden(_)]),
            "{name}: {error}"
        );
    }
}

/// Renewed files are used for the next connection, without a restart; files that are no good are not.
#[tokio::test(flavor = "multi_thread")]
async fn renewed_files_are_used_and_bad_ones_are_passed_over() {
    let mut etcd = Etcd::builder().tls().start().unwrap();
    let authority = etcd.authority().unwrap().clone();
    let own = authority.issue(&Leaf::client("node")).unwrap();
    let store = EtcdStore::connect(&options(&etcd, &own), &cluster())
        .await
        .unwrap();
    // Renewed: another pair in the same files, and the old one is refused from now on.
    let renewed = authority.issue(&Leaf::client("renewed")).unwrap();
    std::fs::copy(&renewed.certificate, &own.certificate).unwrap();
    std::fs::copy(&renewed.key, &own.key).unwrap();
    reconnects(&mut etcd, &store).await;
    // Half replaced: the pair that was good goes on.
    std::fs::write(&own.certificate, "garbage").unwrap();
    reconnects(&mut etcd, &store).await;
}

async fn reconnects(etcd: &mut Etcd, store: &EtcdStore) {
    tokio::task::block_in_place(|| {
        etcd.member(0).kill();
        etcd.member(0).start().unwrap();
        etcd.await_ready().unwrap();
    });
    let answers = async {
        while store.probe().await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), answers)
        .await
        .unwrap();
}

/// An etcd without TLS is taken on loopback alone.
#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_without_tls_is_taken_on_loopback() {
    let etcd = Etcd::builder().start().unwrap();
    let options = EtcdOptions {
        endpoints: etcd.endpoints(),
        ..EtcdOptions::default()
    };
    EtcdStore::connect(&options, &cluster()).await.unwrap();
}
