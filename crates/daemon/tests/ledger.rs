//! The ledger service on the real store: what is acknowledged stays, what was turned back is noticed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

use std::path::Path;
use std::time::Duration;

use palisade_daemon::author::{AuthorError, ClusterAuthor, append_as};
use palisade_daemon::import::{ImportError, import};
use palisade_daemon::layout::Layout;
use palisade_daemon::ledger::{AppendError, Ledger, OpenError};
use palisade_daemon::pki::{self, Pki};
use palisade_daemon::store::{Store, StoreError};
use palisade_daemon::user_list::UserList;
use palisade_keys::{ScramVerifier, SecretKey, Zeroizing};
use palisade_ledger::{
    Author, Change, Continuity, Entry, Guard, Hash, Head, Millis, NewNode, NewToken, NewUser,
    NodeId, Privileges, Proof, Refusal, StoreConfig, TokenId, Uid, UserName, join_message, sign,
};
use palisade_link::x509::{IssuingCa, Request};

fn cluster() -> ClusterAuthor {
    ClusterAuthor::new(SecretKey::from_seed(Zeroizing::new([1; 32])).unwrap())
}

fn begin(dir: &Path) -> Ledger {
    let genesis = cluster().genesis("test", "main").unwrap();
    Ledger::begin(
        Store::open(dir).unwrap(),
        &cluster().key().public(),
        &genesis,
    )
    .unwrap()
}

/// The writer's thread closes the store when the last handle is gone.
async fn closed(dir: &Path) -> Store {
    for _ in 0..200 {
        match Store::open(dir) {
            Err(StoreError::InUse(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            store => return store.unwrap(),
        }
    }
    panic!("the store stays open")
}

async fn reopen(dir: &Path) -> Result<Ledger, OpenError> {
    Ledger::open(closed(dir).await, &cluster().key().public())
}

fn user(uid: u32) -> Change {
    Change::UserAdd {
        user: NewUser {
            uid: Uid::new(uid).unwrap(),
            name: UserName::new(format!("user{uid}")).unwrap(),
            disabled: false,
            superuser: uid == 1,
            default_privileges: Privileges::SELECT,
            public_key: None,
            password: None,
        },
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = begin(dir.path());
    let author = cluster();
    let appends = (1..=50).map(|uid| {
        let (ledger, author) = (ledger.clone(), author.clone());
        tokio::spawn(async move { author.append(&ledger, user(uid)).await })
    });
    // Some lose the race for the head more often than they try again; none is lost silently.
    let mut acknowledged = 0;
    for append in appends.collect::<Vec<_>>() {
        acknowledged += usize::from(append.await.unwrap().is_ok());
    }
    let state = ledger.now();
    assert_eq!(state.users().len(), acknowledged);
    drop(ledger);
    let again = reopen(dir.path()).await.unwrap().now();
    assert_eq!(again, state);
}

#[tokio::test]
async fn another_entry_of_a_number_is_another_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = begin(dir.path());
    let genesis = ledger.now().head();
    cluster().append(&ledger, user(1)).await.unwrap();
    let head = ledger.now().head();
    for (seq, hash, parts) in [
        (head.seq, head.hash, false),
        (head.seq, genesis.hash, true),
        (genesis.seq, genesis.hash, false),
        (genesis.seq, head.hash, true),
        // Who is ahead may be right.
        (head.seq + 1, genesis.hash, false),
    ] {
        let found = ledger.parts_from(seq, &hash.to_string()).unwrap();
        assert_eq!(found, parts, "{seq} {hash}");
    }
    assert!(ledger.parts_from(head.seq, "no hash").unwrap());
}

#[tokio::test]
async fn refused_entries_leave_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = begin(dir.path());
    let before = ledger.now();
    let mut entry = Entry {
        seq: 1,
        prev: before.head().hash,
        time: before.time(),
        author: Author::Cluster,
        change: user(1),
    };
    let stranger = SecretKey::from_seed(Zeroizing::new([2; 32])).unwrap();
    let forged = sign(&entry, &stranger).unwrap();
    assert!(matches!(
        ledger.append(forged).await,
        Err(AppendError::Refused(_))
    ));
    assert!(matches!(
        ledger.append(vec![0; 8]).await,
        Err(AppendError::Refused(_))
    ));
    entry.time = Millis(u64::MAX / 2_000_000);
    let ahead = sign(&entry, cluster().key()).unwrap();
    assert!(matches!(
        ledger.append(ahead).await,
        Err(AppendError::Ahead { .. })
    ));
    assert_eq!(ledger.now(), before);
    assert_eq!(ledger.entries(0, 10).unwrap().len(), 1);
}

/// The joiner writes the time of its entry: a token is expired by the clock of the node that takes it.
#[tokio::test]
async fn an_expired_token_joins_nobody_by_a_time_in_the_past() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = begin(dir.path());
    let token = SecretKey::from_seed(Zeroizing::new([3; 32])).unwrap();
    let joiner = SecretKey::from_seed(Zeroizing::new([4; 32])).unwrap();
    let now = ledger.now().time().0;
    let (past, expires) = (Millis(now - 7_200_000), Millis(now - 3_600_000));
    let next = |author, change| {
        let head = ledger.now().head();
        Entry {
            seq: head.seq + 1,
            prev: head.hash,
            time: past,
            author,
            change,
        }
    };
    let id = TokenId([5; 8]);
    let create = Change::TokenCreate {
        token: NewToken {
            id,
            key: token.public(),
            expires,
            approval: false,
            note: String::new(),
        },
    };
    let create = sign(&next(Author::Cluster, create), cluster().key()).unwrap();
    ledger.append(create).await.unwrap();
    let node = NewNode {
        id: NodeId::FIRST,
        key: joiner.public(),
        seal: [9; 32],
        address: "node1.example.com:7433".parse().unwrap(),
        hosts: Vec::new(),
        store: None,
    };
    let message = join_message(&cluster().key().public(), &node);
    let join = Change::NodeJoin {
        node,
        proof: Proof::Token(id),
        signature: *token.sign(&message).as_bytes(),
    };
    let join = sign(&next(Author::Node(NodeId::FIRST), join), &joiner).unwrap();
    assert!(matches!(
        ledger.append(join).await,
        Err(AppendError::Refused(Refusal::TokenExpired { .. }))
    ));
    assert_eq!(ledger.now().nodes().len(), 0);
}

#[tokio::test]
async fn a_store_put_back_from_a_backup_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = begin(dir.path());
    cluster().append(&ledger, user(1)).await.unwrap();
    drop(ledger);
    drop(closed(dir.path()).await);
    let backup = std::fs::read(dir.path().join("ledger.redb")).unwrap();

    let ledger = reopen(dir.path()).await.unwrap();
    cluster().append(&ledger, user(2)).await.unwrap();
    let (state, exported) = (ledger.now(), ledger.entries(0, 10).unwrap());
    drop(ledger);
    drop(closed(dir.path()).await);
    std::fs::write(dir.path().join("ledger.redb"), &backup).unwrap();

    let error = reopen(dir.path()).await.err().unwrap();
    let OpenError::Store(StoreError::Discontinued(Continuity::RolledBack { seen, shown })) = error
    else {
        panic!("{error}")
    };
    assert_eq!((seen.seq, shown.unwrap().seq), (2, 1));

    // "A longer valid chain held by any node heals a restored store."
    let key = cluster().key().public();
    let store = closed(dir.path()).await;
    let short = exported[..2].concat();
    assert!(matches!(
        import(&store, &key, &short),
        Err(ImportError::Discontinued(_))
    ));
    let mut damaged = exported.concat();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    assert!(matches!(
        import(&store, &key, &damaged),
        Err(ImportError::Entry { seq: 2, .. })
    ));
    let healed = import(&store, &key, &exported.concat()).unwrap();
    assert_eq!((healed.added, healed.head.seq), (1, 2));
    drop(store);
    assert_eq!(reopen(dir.path()).await.unwrap().now(), state);
}

#[tokio::test]
async fn a_rewritten_store_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = begin(dir.path());
    let head = cluster().append(&ledger, user(1)).await.unwrap();
    drop(ledger);
    drop(closed(dir.path()).await);

    // Another chain of the same length, signed by the very same cluster key.
    let other = tempfile::tempdir().unwrap();
    let ledger = begin(other.path());
    cluster().append(&ledger, user(7)).await.unwrap();
    drop(ledger);
    drop(closed(other.path()).await);
    std::fs::copy(
        other.path().join("ledger.redb"),
        dir.path().join("ledger.redb"),
    )
    .unwrap();

    let error = reopen(dir.path()).await.err().unwrap();
    let OpenError::Store(StoreError::Discontinued(Continuity::Forked { seen, .. })) = error else {
        panic!("{error}")
    };
    assert_eq!(seen, Head { ..head });
}

#[tokio::test]
async fn a_second_daemon_on_the_same_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _ledger = begin(dir.path());
    assert!(matches!(Store::open(dir.path()), Err(StoreError::InUse(_))));
}

#[tokio::test]
async fn a_user_list_is_taken_in_and_an_operators_change_stands() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = begin(dir.path());
    let path = dir.path().join("users.cfg");
    let text = r#"{"users": [
        {"uid": 1, "username": "root", "disabled": "false", "superuser": "true",
         "default_privileges": 0, "public_key": "PoCzwwX8Gdq7Mzz/RG6rH6vRhX84/RupFvVOjXauOEBM="},
        {"uid": 10, "username": "quant", "disabled": "false", "superuser": "false",
         "default_privileges": 30, "public_key": "Pr0vI41GyHTjJX5ufc+ga0KDdzEfd5OZ6J6F5V42AHj4="}]}"#;
    std::fs::write(&path, text).unwrap();
    let mut list = UserList::new(&path);
    let reading = list.read(&ledger, &cluster()).await.unwrap().unwrap();
    assert_eq!((reading.users, reading.appended), (2, 2));
    assert_eq!(list.read(&ledger, &cluster()).await.unwrap(), None);

    let uid = Uid::new(10).unwrap();
    let disable = Change::UserDisabled {
        uid,
        disabled: true,
    };
    cluster().append(&ledger, disable).await.unwrap();
    cluster().append(&ledger, user(5)).await.unwrap();
    let reading = UserList::new(&path)
        .read(&ledger, &cluster())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(reading.appended, 0, "the file says what it said before");
    assert_eq!(reading.missing, ["user5"]);
    assert!(ledger.now().user(uid).unwrap().disabled);

    std::fs::write(
        &path,
        text.replace("\"default_privileges\": 30", "\"default_privileges\": 2"),
    )
    .unwrap();
    let reading = list.read(&ledger, &cluster()).await.unwrap().unwrap();
    assert_eq!(reading.appended, 1);

    // "Guards: the last enabled superuser can't be disabled": not by a file either.
    std::fs::write(&path, text.replacen("\"false\"", "\"true\"", 1)).unwrap();
    let reading = list.read(&ledger, &cluster()).await.unwrap().unwrap();
    assert_eq!(reading.refused.len(), 1, "{reading:?}");
    assert!(!ledger.now().user(Uid::new(1).unwrap()).unwrap().disabled);

    std::fs::write(&path, text.replace("\"uid\": 10,", "\"uid\": 0,")).unwrap();
    let error = list
        .read(&ledger, &cluster())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("users.cfg: line 4, column "), "{error}");
}

#[tokio::test]
async fn certificates_are_made_once_and_a_replaced_one_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    layout.create().unwrap();
    let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let first = Pki::create(&layout, cluster().key())
        .unwrap()
        .server(&hosts, 90)
        .unwrap();
    let pki = Pki::load(&layout).unwrap();
    let second = pki.server(&hosts, 90).unwrap();
    assert_eq!(first.leaf.chain, second.leaf.chain);
    assert!(!pki.is_replaced(&second));
    let third = pki.renew(&hosts, 90).unwrap();
    assert_ne!(first.leaf.chain, third.leaf.chain);
    assert!(pki.is_replaced(&second));
    assert_eq!(
        pki::mock_secret(&layout).unwrap(),
        pki::mock_secret(&layout).unwrap()
    );
    let key = pki::read_public_key(&layout.cluster_public_key()).unwrap();
    assert_eq!(key, cluster().key().public());
}

fn secret(byte: u8) -> SecretKey {
    SecretKey::from_seed(Zeroizing::new([byte; 32])).unwrap()
}

/// Two users without a privilege, an operator and a node, each with the key of his number.
async fn people(ledger: &Ledger) {
    for (uid, name, privileges) in [
        (10, "alice", Privileges::NONE),
        (11, "bob", Privileges::NONE),
        (12, "operator", Privileges::USER_MANAGE | Privileges::SYSTEM),
    ] {
        let user = NewUser {
            uid: Uid::new(uid).unwrap(),
            name: UserName::new(name).unwrap(),
            disabled: false,
            superuser: false,
            default_privileges: privileges,
            public_key: Some(secret(u8::try_from(uid).unwrap()).public()),
            password: None,
        };
        let change = Change::UserAdd { user };
        cluster().append(ledger, change).await.unwrap();
    }
    let node = NewNode {
        id: NodeId::FIRST,
        key: secret(21).public(),
        seal: [9; 32],
        address: "node1.example.com:7433".parse().unwrap(),
        hosts: Vec::new(),
        store: None,
    };
    let change = Change::NodeAdd { node };
    cluster().append(ledger, change).await.unwrap();
}

async fn by(ledger: &Ledger, uid: u8, change: Change) -> Result<Head, AppendError> {
    let author = Author::User(Uid::new(uid.into()).unwrap());
    match append_as(ledger, author, &secret(uid), change).await {
        Err(AuthorError::Append(error)) => Err(error),
        result => Ok(result.unwrap()),
    }
}

async fn by_node(ledger: &Ledger, change: Change) -> Result<Head, AppendError> {
    let author = Author::Node(NodeId::FIRST);
    match append_as(ledger, author, &secret(21), change).await {
        Err(AuthorError::Append(error)) => Err(error),
        result => Ok(result.unwrap()),
    }
}

/// The password number `n` of this user.
fn password(uid: u8, n: u32) -> Change {
    let mut salt = vec![0; 12];
    salt.extend(n.to_be_bytes());
    Change::UserPassword {
        uid: Uid::new(uid.into()).unwrap(),
        verifier: Some(ScramVerifier::from_parts(4096, salt, [8; 32], [9; 32]).unwrap()),
    }
}

fn port(n: u32) -> Change {
    Change::NodeSet {
        id: NodeId::FIRST,
        address: Some(
            format!("node1.example.com:{}", 1000 + n % 1000)
                .parse()
                .unwrap(),
        ),
        hosts: None,
        store: None,
    }
}

/// A machine on which ten entries take a minute never comes to the bound; it would take this many.
const SLOWEST: u32 = 500;

/// Each entry stays for ever, and is verified by every reader: who needs no privilege for his own could
/// fill the ledger until nobody can be disabled any more.
#[tokio::test]
async fn who_manages_nothing_can_not_fill_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = begin(dir.path());
    people(&ledger).await;
    for node in [false, true] {
        let (mut taken, mut refused) = (0, None);
        while taken < SLOWEST && refused.is_none() {
            let result = if node {
                by_node(&ledger, port(taken)).await
            } else {
                by(&ledger, 10, password(10, taken)).await
            };
            match result {
                Ok(_) => taken += 1,
                Err(error) => refused = Some(error),
            }
        }
        assert!(taken >= 10, "{taken}");
        let error = refused.unwrap();
        let AppendError::TooOften { seconds, .. } = error else {
            panic!("{error}")
        };
        assert!((1..=6).contains(&seconds), "{error}");
        // Others have their own turns.
        by(&ledger, 11, password(11, taken + 1000 * u32::from(node)))
            .await
            .unwrap();
    }
    // Who was given a privilege is trusted with the ledger.
    for n in 0..20 {
        by(&ledger, 12, password(12, n)).await.unwrap();
    }
    let disable = Change::UserDisabled {
        uid: Uid::new(10).unwrap(),
        disabled: true,
    };
    by(&ledger, 12, disable).await.unwrap();
}

#[tokio::test]
async fn what_changes_nothing_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = begin(dir.path());
    people(&ledger).await;
    let before = ledger.now().head();
    let none = Change::UserPassword {
        uid: Uid::new(10).unwrap(),
        verifier: None,
    };
    let same = Change::UserKey {
        uid: Uid::new(10).unwrap(),
        public_key: secret(10).public(),
    };
    let at_home = Change::NodeSet {
        id: NodeId::FIRST,
        address: Some("node1.example.com:7433".parse().unwrap()),
        hosts: Some(Vec::new()),
        store: None,
    };
    for result in [
        by(&ledger, 10, none).await,
        by(&ledger, 10, same).await,
        by_node(&ledger, at_home).await,
    ] {
        let error = result.unwrap_err();
        assert!(
            matches!(error, AppendError::Refused(Refusal::Nothing(_))),
            "{error}"
        );
    }
    assert_eq!(ledger.now().head(), before);
}

/// `system` is not the right to choose where the ledger is kept, nor to bring a node that would keep a
/// ledger by itself.
#[tokio::test]
async fn an_operator_does_not_split_the_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = begin(dir.path());
    people(&ledger).await;
    for store in [StoreConfig::Managed, StoreConfig::Embedded] {
        let refused = by(&ledger, 12, Change::StoreSet { store }).await;
        assert!(matches!(
            refused,
            Err(AppendError::Refused(Refusal::Store(_)))
        ));
    }
    let node = NewNode {
        id: NodeId::new(2).unwrap(),
        key: secret(22).public(),
        seal: [9; 32],
        address: "node2.example.com:7433".parse().unwrap(),
        hosts: Vec::new(),
        store: None,
    };
    let add = Change::NodeAdd { node };
    let refused = by(&ledger, 12, add.clone()).await;
    assert!(matches!(
        refused,
        Err(AppendError::Refused(Refusal::NotShared))
    ));
    // Nor does the cluster key by mistake.
    cluster().append(&ledger, add).await.unwrap();
    let store = StoreConfig::Embedded;
    let refused = cluster().append(&ledger, Change::StoreSet { store }).await;
    assert!(matches!(
        refused,
        Err(AuthorError::Append(AppendError::Refused(Refusal::Shared(
            2
        ))))
    ));
}

/// What is an issuing CA by the ledger is one by every door: who has `system` could else end all
/// certificates, or have them made by a key of his own.
#[tokio::test]
async fn an_issuing_ca_is_what_the_cluster_key_certified() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = begin(dir.path());
    people(&ledger).await;
    let now = palisade_daemon::system::now();
    let (own, _) = IssuingCa::create(cluster().key(), &[1], now).unwrap();
    let (foreign, _) = IssuingCa::create(&secret(9), &[1], now).unwrap();
    let request = Request {
        common_name: "alice",
        hosts: &[],
        now,
        lifetime: time::Duration::hours(1),
        serial: &[2],
    };
    let leaf = own.user(&request).unwrap();
    let longer = [own.certificate(), &[0]].concat();
    for certificate in [
        vec![0x30, 0x00],
        b"no certificate".to_vec(),
        foreign.certificate().to_vec(),
        leaf.chain[0].clone(),
        longer,
    ] {
        for uid in [12, 0] {
            let change = Change::IssuingCaAdd {
                certificate: certificate.clone(),
            };
            let result = match uid {
                0 => cluster().append(&ledger, change).await,
                uid => by(&ledger, uid, change).await.map_err(AuthorError::from),
            };
            let error = result.unwrap_err();
            assert!(
                matches!(error, AuthorError::Append(AppendError::IssuingCa(_))),
                "{error}"
            );
        }
    }
    let certificate = own.certificate().to_vec();
    let remove = Change::IssuingCaRemove {
        certificate: Hash::of(&certificate),
    };
    by(&ledger, 12, Change::IssuingCaAdd { certificate })
        .await
        .unwrap();
    let refused = by(&ledger, 12, remove).await;
    assert!(matches!(
        refused,
        Err(AppendError::Refused(Refusal::Guard(Guard::ActiveCa)))
    ));
}
