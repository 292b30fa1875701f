//! Joining, against who has no right to: each proof that is replayed, borrowed, late or foreign.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod door;

use std::net::IpAddr;
use std::time::Duration;

use door::{CLUSTER, MEMBER, STRANGER, TOKEN, World, author, joining, key, node, token};
use palisade_daemon::files;
use palisade_daemon::identity::Place;
use palisade_daemon::join::{Admission, NoEntry, Session, Way, adopt, await_approval, join};
use palisade_daemon::layout::Layout;
use palisade_daemon::system;
use palisade_keys::PublicKey;
use palisade_ledger::{Change, Millis, State, StoreConfig, TokenId, session_message};
use palisade_link::api::{Adopt, JoinKind, JoinProof, encode};
use palisade_link::client::Client;

const SECRET: &str = "a secret that nobody guesses";
const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// The state of a cluster whose ledger is shared, with a fresh token 5 and a secret.
async fn state() -> State {
    let dir = tempfile::tempdir().unwrap();
    let ledger = door::ledger(dir.path()).await;
    let derived =
        palisade_keys::SecretKey::from_passphrase(SECRET, key(CLUSTER).public().as_bytes())
            .unwrap();
    for change in [
        token(5, TOKEN + 1, false),
        token(6, TOKEN + 2, false),
        Change::TokenRevoke {
            id: TokenId([6; 8]),
        },
        Change::SecretSet {
            key: Some(derived.public()),
        },
        Change::StoreSet {
            store: StoreConfig::Managed,
        },
    ] {
        author().append(&ledger, change).await.unwrap();
    }
    State::clone(&ledger.now())
}

fn kind(token: u8) -> JoinKind {
    JoinKind::Token(TokenId([token; 8]).to_string())
}

/// What a joiner with this key shows in a session with this exporter.
fn proof(state: &State, kind: &JoinKind, secret: u8, exporter: u8, joiner: u8) -> String {
    let own = key(joiner).public();
    let message = session_message(state.cluster_key(), &[exporter; 32], &own);
    JoinProof::new(kind, &message, &key(secret)).to_header()
}

fn admit(state: &State, header: Option<&str>, exporter: u8, joiner: u8) -> Result<(), NoEntry> {
    at(
        &Admission::default(),
        state,
        header,
        (exporter, joiner),
        system::millis(),
    )
}

fn at(
    admission: &Admission,
    state: &State,
    header: Option<&str>,
    (exporter, joiner): (u8, u8),
    time: Millis,
) -> Result<(), NoEntry> {
    let own = key(joiner).public();
    let session = Session {
        key: Some(&own),
        exporter: &[exporter; 32],
        address: HERE,
    };
    let admitted = admission.admit(state, header, session, Duration::ZERO, time);
    admitted.map(drop)
}

// "replayed, second, foreign and expired claims are refused, each by a test"
#[tokio::test]
async fn a_proof_is_good_for_its_own_session_key_secret_and_time_alone() {
    let state = state().await;
    let good = proof(&state, &kind(5), TOKEN + 1, 1, STRANGER);
    assert_eq!(admit(&state, Some(&good), 1, STRANGER), Ok(()));
    // Replayed: in another session, or by another node that saw it.
    assert_eq!(admit(&state, Some(&good), 2, STRANGER), Err(NoEntry::Wrong));
    assert_eq!(admit(&state, Some(&good), 1, MEMBER), Err(NoEntry::Wrong));
    // By another secret; of a token that nobody made, and of one that was revoked: all the same answer.
    for (token, secret) in [(5, TOKEN), (7, TOKEN + 1), (6, TOKEN + 2)] {
        let header = proof(&state, &kind(token), secret, 1, STRANGER);
        let refused = admit(&state, Some(&header), 1, STRANGER);
        assert_eq!(refused, Err(NoEntry::Wrong), "{token}");
    }
    // Second: the token was claimed by the node that waits.
    let second = proof(&state, &kind(9), TOKEN, 1, STRANGER);
    assert_eq!(
        admit(&state, Some(&second), 1, STRANGER),
        Err(NoEntry::Used)
    );
    // Expired.
    let late = Millis(system::millis().0 + 3_700_000);
    let refused = at(
        &Admission::default(),
        &state,
        Some(&good),
        (1, STRANGER),
        late,
    );
    assert_eq!(refused, Err(NoEntry::Expired));
    // Foreign: made for another cluster.
    let own = key(STRANGER).public();
    let message = session_message(&key(CLUSTER + 1).public(), &[1; 32], &own);
    let foreign = JoinProof::new(&kind(5), &message, &key(TOKEN + 1)).to_header();
    assert_eq!(
        admit(&state, Some(&foreign), 1, STRANGER),
        Err(NoEntry::Wrong)
    );
    // Nothing, and nonsense.
    assert_eq!(admit(&state, None, 1, STRANGER), Err(NoEntry::Unproved));
    assert_eq!(admit(&state, Some("AAAA"), 1, STRANGER), Err(NoEntry::Form));
    // The cluster key lets in, and nothing else by its name.
    let cluster = proof(&state, &JoinKind::ClusterKey, CLUSTER, 1, STRANGER);
    assert_eq!(admit(&state, Some(&cluster), 1, STRANGER), Ok(()));
    let forged = proof(&state, &JoinKind::ClusterKey, STRANGER, 1, STRANGER);
    assert_eq!(
        admit(&state, Some(&forged), 1, STRANGER),
        Err(NoEntry::Wrong)
    );
}

// "attempts limited"
#[tokio::test]
async fn failed_attempts_are_limited_and_then_even_the_right_one_waits() {
    let state = state().await;
    let admission = Admission::default();
    let now = system::millis();
    let wrong = proof(&state, &kind(5), TOKEN, 1, STRANGER);
    let mut refused = 0;
    while at(&admission, &state, Some(&wrong), (1, STRANGER), now) == Err(NoEntry::Wrong) {
        refused += 1;
        assert!(refused < 100, "there is no limit");
    }
    let good = proof(&state, &kind(5), TOKEN + 1, 1, STRANGER);
    let waits = at(&admission, &state, Some(&good), (1, STRANGER), now);
    assert_eq!(waits, Err(NoEntry::TooMany));
}

// A token's id is no secret: who fails with it, from wherever, does not keep its owner out.
#[tokio::test]
async fn nobody_blocks_anothers_token() {
    let state = state().await;
    let admission = Admission::default();
    let try_it = |header: &str, joiner: u8, from: u32| {
        let own = key(joiner).public();
        let session = Session {
            key: Some(&own),
            exporter: &[1; 32],
            address: IpAddr::V4(from.into()),
        };
        let now = system::millis();
        let admitted = admission.admit(&state, Some(header), session, Duration::ZERO, now);
        admitted.map(drop)
    };
    let wrong = proof(&state, &kind(5), TOKEN, 1, STRANGER + 1);
    for from in 1..500 {
        assert_eq!(try_it(&wrong, STRANGER + 1, from), Err(NoEntry::Wrong));
    }
    let good = proof(&state, &kind(5), TOKEN + 1, 1, STRANGER);
    assert_eq!(try_it(&good, STRANGER, 0x0a00_0001), Ok(()));
}

// "A node that joins while the store is Embedded is refused with that remedy"; and who proved one thing
// may do no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_joiner_sees_and_says_no_more_than_his_own_joining() {
    let world = World::new().await;
    world.change(token(5, TOKEN + 1, false)).await;
    let open = || async { Client::https(world.open(Some(STRANGER)).await.unwrap()) };
    let proved = |client: &Client| {
        let exporter = client.connection().unwrap().exporter();
        let own = key(STRANGER).public();
        let message = session_message(&key(CLUSTER).public(), exporter, &own);
        client
            .clone()
            .with_proof(&JoinProof::new(&kind(5), &message, &key(TOKEN + 1)))
    };
    let client = proved(&open().await);
    let refused = client.entries(0).await.unwrap_err().to_string();
    assert!(refused.contains("palisade store move managed"), "{refused}");
    let store = StoreConfig::Managed;
    world.change(Change::StoreSet { store }).await;
    assert!(!client.entries(0).await.unwrap().is_empty());
    // Nothing but the ledger, and nothing into it but his own joining.
    for refused in [
        client.status().await.map(drop),
        client.hello().await.map(drop),
        client.challenge().await.map(drop),
    ] {
        assert!(refused.is_err());
    }
    let state = world.ledger.now();
    let others = joining(&state, node(4, STRANGER + 1), STRANGER + 1, 5, TOKEN + 1);
    let waiting = joining(&state, node(4, STRANGER), STRANGER, 9, TOKEN);
    for entry in [others, waiting, b"nonsense".to_vec()] {
        let refused = client.append(entry).await.unwrap_err().to_string();
        assert!(refused.contains("nothing but its own joining"), "{refused}");
    }
    // His own goes as far as the ledger, which here has no quorum.
    let own = joining(&state, node(4, STRANGER), STRANGER, 5, TOKEN + 1);
    let refused = client.append(own).await.unwrap_err().to_string();
    assert!(
        refused.contains("no quorum: refusing mutation"),
        "{refused}"
    );
    // A proof that was seen on the wire is of no use in another session.
    let stolen = client.connection().unwrap().exporter().to_owned();
    let own = key(STRANGER).public();
    let message = session_message(&key(CLUSTER).public(), &stolen, &own);
    let replay = JoinProof::new(&kind(5), &message, &key(TOKEN + 1));
    let refused = open().await.with_proof(&replay).entries(0).await;
    assert!(refused.is_err());
}

// Members show nothing to a node that was removed, not even its removal: it must not wait for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_removed_waits_for_approval_no_longer() {
    let world = World::new().await;
    let id = |id| palisade_ledger::NodeId::new(id).unwrap();
    world.change(Change::NodeRemove { id: id(2) }).await;
    let moved = Change::NodeSet {
        id: id(1),
        address: Some(world.address.parse().unwrap()),
        hosts: None,
        store: None,
    };
    world.change(moved).await;
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path().join("node"));
    layout.create().unwrap();
    let own = key(door::PENDING).expose_text();
    files::write_private(&layout.node_key(), own.as_bytes()).unwrap();
    let cluster = key(CLUSTER).public();
    files::write_public(&layout.cluster_public_key(), cluster.to_string().as_bytes()).unwrap();
    files::write_private(&layout.pending(), b"waits").unwrap();
    let entries = world.ledger.entries(0, 1000).unwrap();
    let (mut state, genesis) = palisade_ledger::verify_genesis(&entries[0], &cluster).unwrap();
    let mut verified = vec![genesis];
    for bytes in &entries[1..] {
        let entry = palisade_ledger::verify(&state, bytes).unwrap();
        state.apply(&entry).unwrap();
        verified.push(entry);
    }
    let store = palisade_daemon::store::Store::open(&layout.private()).unwrap();
    store.append(&verified).unwrap();
    drop(store);
    let waiting = tokio::spawn(async move { await_approval(&layout).await });
    world.change(Change::NodeRemove { id: id(3) }).await;
    let ended = tokio::time::timeout(Duration::from_mins(1), waiting).await;
    let refused = ended.expect("it waits for ever").unwrap().unwrap_err();
    assert!(refused.to_string().contains("was refused"), "{refused}");
}

// Who has a copy of the ledger (a joiner was shown it, once) and no member's key is asked for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn who_shows_a_ledger_must_be_a_member_in_it() {
    let secret = palisade_keys::Zeroizing::new(SECRET.to_owned());
    let derived =
        palisade_keys::SecretKey::from_passphrase(SECRET, key(CLUSTER).public().as_bytes())
            .unwrap();
    for (byte, why) in [
        (STRANGER + 7, "no member of the cluster whose ledger"),
        (door::PENDING, "no member of the cluster whose ledger"),
        // As far as the ledger, which here has no quorum.
        (door::OWN, "no quorum"),
    ] {
        let world = World::shown_as(byte).await;
        let key = Some(derived.public());
        world.change(Change::SecretSet { key }).await;
        let store = StoreConfig::Managed;
        world.change(Change::StoreSet { store }).await;
        let dir = tempfile::tempdir().unwrap();
        let place = Place {
            address: "10.0.0.77:7433".parse().unwrap(),
            hosts: Vec::new(),
            store: None,
        };
        let way = Way::Secret(secret.clone());
        let there = [world.address.parse().unwrap()];
        let joined = join(&Layout::new(dir.path()), &place, None, way, &there).await;
        let refused = joined.unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
}

// "the waiting node takes it only if the chain verifies from its genesis, names its key as a member, and
// the cluster knows its secret"
#[tokio::test]
async fn a_waiting_node_takes_the_ledger_of_its_own_cluster_alone() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = door::ledger(dir.path()).await;
    let cluster = key(CLUSTER).public();
    let derived = palisade_keys::SecretKey::from_passphrase(SECRET, cluster.as_bytes()).unwrap();
    let change = Change::SecretSet {
        key: Some(derived.public()),
    };
    author().append(&ledger, change).await.unwrap();
    let pages = |upto: usize| Adopt {
        cluster_public_key: cluster.to_string(),
        entries: vec![encode(&ledger.entries(0, upto).unwrap().concat())],
    };
    let whole = pages(1000);
    let (own, caller) = (key(door::OWN).public(), key(MEMBER).public());
    let take = |own: PublicKey, secret: &str, caller: PublicKey, message: &Adopt| {
        adopt(&own, secret, &caller, &cluster, message)
            .map(|(entries, _)| entries.len())
            .map_err(|error| error.to_string())
    };
    assert!(take(own, SECRET, caller, &whole).is_ok());
    let refused = |result: Result<usize, String>, why: &str| {
        let error = result.unwrap_err();
        assert!(error.contains(why), "{error}");
    };
    refused(
        take(own, "another secret, as long", caller, &whole),
        "does not know this node's secret",
    );
    refused(
        take(key(STRANGER).public(), SECRET, caller, &whole),
        "does not name this node",
    );
    refused(
        take(key(door::PENDING).public(), SECRET, caller, &whole),
        "does not name this node",
    );
    refused(
        take(own, SECRET, key(STRANGER).public(), &whole),
        "does not name you",
    );
    // The chain before the secret was set; one entry changed; none at all.
    refused(
        take(own, SECRET, caller, &pages(5)),
        "does not know this node's secret",
    );
    let mut bytes = ledger.entries(0, 1000).unwrap().concat();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let forged = Adopt {
        entries: vec![encode(&bytes)],
        ..whole.clone()
    };
    assert!(take(own, SECRET, caller, &forged).is_err());
    let empty = Adopt {
        entries: Vec::new(),
        ..whole.clone()
    };
    refused(take(own, SECRET, caller, &empty), "empty");
    let other = key(CLUSTER + 1).public();
    assert!(adopt(&own, SECRET, &caller, &other, &whole).is_err());
}
