//! The control socket against who reaches it without a right: commands that are replayed, borrowed or
//! forged, and entries that come next in the chain but are signed by the wrong key.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod common;

use common::{Cluster, Process};
use palisade_keys::{Credentials, PublicKey, SecretKey, Zeroizing};
use palisade_ledger::{Author, Change, Entry, Hash, Millis, Uid, sign};
use palisade_link::api::{Challenge, Command, SignedCommand};
use palisade_link::client::Client;

fn credentials(path: &std::path::Path) -> Credentials {
    Credentials::from_json(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A command as its author signs it.
fn signed(key: &SecretKey, uid: u32, cluster: PublicKey, challenge: &Challenge) -> SignedCommand {
    SignedCommand::sign(&Command::PurgeAll, uid, &cluster, challenge, key).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_needs_its_own_challenge_and_its_authors_key() {
    let mut cluster = Cluster::up();
    cluster.sql("admin", "CREATE TABLE t (n int)");
    cluster.stop();
    let mut daemon = cluster.daemon();
    daemon.env("PALISADE_SECURITY_ENABLE_PURGE_ALL", "true");
    daemon.env("PALISADE_SECURITY_ENABLE_STOP", "true");
    let _daemon = Process::start(&mut daemon, &cluster.path("daemon.log"), "serving at");
    let client = Client::new(cluster.dir().join("control.sock"));
    let admin = credentials(&cluster.admin("credentials")).secret_key;
    let stranger = SecretKey::from_seed(Zeroizing::new([3; 32])).unwrap();
    let key = std::fs::read_to_string(cluster.dir().join("cluster_public.key")).unwrap();
    let key: PublicKey = key.trim().parse().unwrap();
    let challenge = || async { client.challenge().await.unwrap() };

    let forged = signed(&stranger, 1, key, &challenge().await);
    let nobody = signed(&stranger, 77, key, &challenge().await);
    let mut own = challenge().await;
    own.challenge = "0".repeat(64);
    let invented = signed(&admin, 1, key, &own);
    let elsewhere = signed(&admin, 1, stranger.public(), &challenge().await);
    let mut other_node = challenge().await;
    other_node.node += 1;
    let other_node = signed(&admin, 1, key, &other_node);
    let mut other_command = signed(&admin, 1, key, &challenge().await);
    other_command.command = r#""stop""#.to_owned();
    let unsigned = "not signed by a user";
    for (bad, reason) in [
        (&forged, unsigned),
        (&nobody, unsigned),
        (&invented, "the challenge is unknown"),
        (&elsewhere, unsigned),
        (&other_node, "signed for another node"),
        (&other_command, unsigned),
    ] {
        let told = client.command(bad).await.unwrap_err().to_string();
        assert!(told.contains(reason), "{bad:?}: {told}");
    }
    assert_eq!(cluster.sql("admin", "SELECT count(*) FROM t"), "0");

    let good = signed(&admin, 1, key, &challenge().await);
    client.command(&good).await.unwrap();
    cluster.sql("admin", "CREATE TABLE t (n int)");
    let replayed = client.command(&good).await.unwrap_err().to_string();
    assert!(replayed.contains("challenge"), "{replayed}");
    assert_eq!(cluster.sql("admin", "SELECT count(*) FROM t"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_comes_next_needs_its_authors_signature() {
    let cluster = Cluster::up();
    let alice = credentials(&cluster.add_user("alice", "select")).secret_key;
    let client = Client::new(cluster.dir().join("control.sock"));
    let head = client.head().await.unwrap();
    let mut prev = [0; 32];
    for (byte, pair) in prev.iter_mut().zip(head.hash.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    }
    let uid = Uid::new(2).unwrap();
    let entry = |author| Entry {
        seq: head.seq + 1,
        prev: Hash(prev),
        // The time of a log line of an hour from now would be refused; one of the past is, too.
        time: Millis(u64::try_from(now_millis()).unwrap()),
        author,
        change: Change::UserSet {
            uid,
            superuser: Some(true),
            default_privileges: None,
        },
    };
    let admin = Author::User(Uid::FIRST);
    for author in [Author::Cluster, admin, Author::User(uid)] {
        let bytes = sign(&entry(author), &alice).unwrap();
        let error = client.append(bytes).await.unwrap_err().to_string();
        let told = error.contains("signature") || error.contains("needs the privilege");
        assert!(told, "{author}: {error}");
    }
    assert_eq!(client.head().await.unwrap(), head);
}

fn now_millis() -> i128 {
    #[expect(
        clippy::disallowed_methods,
        reason = "an entry's time is checked against the real clock"
    )]
    let now: time::OffsetDateTime = std::time::SystemTime::now().into();
    now.unix_timestamp_nanos() / 1_000_000
}
