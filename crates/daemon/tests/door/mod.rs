//! A node's API on loopback, over a ledger with users and nodes of every kind.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "shared by several tests, each of which uses a part"
)]

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use palisade_daemon::api::{Bounds, Door, Services};
use palisade_daemon::author::ClusterAuthor;
use palisade_daemon::control::{Allowed, Control, Wires};
use palisade_daemon::ledger::Ledger;
use palisade_daemon::store::Store;
use palisade_daemon::system;
use palisade_keys::{SecretKey, Zeroizing};
use palisade_ledger::{
    Author, Change, Entry, Millis, NewNode, NewToken, NewUser, NodeId, Privileges, Proof, State,
    TokenId, Uid, UserName, join_message, sign,
};
use palisade_link::api::{CertificateReply, Done, Hello, Identity, Status};
use palisade_link::https::{Connection, OpenError};
use palisade_link::node::NodeIdentity;
use palisade_link::peer::{self, Expect};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

pub const WITHIN: Duration = Duration::from_mins(1);

pub fn key(byte: u8) -> SecretKey {
    SecretKey::from_seed(Zeroizing::new([byte; 32])).unwrap()
}

/// Keys by what their owners are.
pub const CLUSTER: u8 = 1;
pub const OWN: u8 = 11;
pub const MEMBER: u8 = 12;
pub const PENDING: u8 = 13;
pub const READER: u8 = 21;
pub const OPERATOR: u8 = 22;
pub const DISABLED: u8 = 23;
pub const MANAGER: u8 = 24;
pub const STRANGER: u8 = 31;
pub const TOKEN: u8 = 41;

pub fn author() -> ClusterAuthor {
    ClusterAuthor::new(key(CLUSTER))
}

pub fn identity(byte: u8) -> NodeIdentity {
    NodeIdentity::new(&key(byte), &[7; 8], system::now()).unwrap()
}

pub fn node(id: u32, byte: u8) -> NewNode {
    NewNode {
        id: NodeId::new(id).unwrap(),
        key: key(byte).public(),
        seal: [byte; 32],
        address: format!("10.0.0.{id}:7433").parse().unwrap(),
        hosts: Vec::new(),
        store: None,
    }
}

fn user(uid: u32, name: &str, byte: u8, privileges: Privileges) -> Change {
    Change::UserAdd {
        user: NewUser {
            uid: Uid::new(uid).unwrap(),
            name: UserName::new(name).unwrap(),
            disabled: byte == DISABLED,
            superuser: false,
            default_privileges: privileges,
            public_key: Some(key(byte).public()),
            password: None,
        },
    }
}

pub fn token(id: u8, byte: u8, approval: bool) -> Change {
    Change::TokenCreate {
        token: NewToken {
            id: TokenId([id; 8]),
            key: key(byte).public(),
            expires: Millis(system::millis().0 + 3_600_000),
            approval,
            note: String::new(),
        },
    }
}

/// A node's own joining, by a token, to follow `state`.
pub fn joining(state: &State, new: NewNode, byte: u8, token: u8, secret: u8) -> Vec<u8> {
    let message = join_message(state.cluster_key(), &new);
    let entry = Entry {
        seq: state.head().seq + 1,
        prev: state.head().hash,
        time: system::millis().max(state.time()),
        author: Author::Node(new.id),
        change: Change::NodeJoin {
            signature: *key(secret).sign(&message).as_bytes(),
            node: new,
            proof: Proof::Token(TokenId([token; 8])),
        },
    };
    sign(&entry, &key(byte)).unwrap()
}

/// The ledger of a cluster, with a member of every kind.
pub async fn ledger(dir: &std::path::Path) -> Ledger {
    let genesis = author().genesis("test", "main").unwrap();
    let store = Store::open(dir).unwrap();
    let ledger = Ledger::begin(store, &key(CLUSTER).public(), &genesis).unwrap();
    for change in [
        Change::NodeAdd { node: node(1, OWN) },
        Change::NodeAdd {
            node: node(2, MEMBER),
        },
        user(1, "reader", READER, Privileges::SELECT),
        user(2, "operator", OPERATOR, Privileges::SYSTEM),
        user(3, "disabled", DISABLED, Privileges::SYSTEM),
        user(4, "manager", MANAGER, Privileges::USER_MANAGE),
        token(9, TOKEN, true),
    ] {
        author().append(&ledger, change).await.unwrap();
    }
    let entry = joining(&ledger.now(), node(3, PENDING), PENDING, 9, TOKEN);
    ledger.append(entry).await.unwrap();
    ledger
}

/// A node's API, and the ledger behind it.
pub struct World {
    pub ledger: Ledger,
    pub address: String,
    task: JoinHandle<()>,
    applied: watch::Sender<u64>,
    _dir: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl World {
    pub async fn new() -> Self {
        Self::shown_as(OWN).await
    }

    /// A node with a copy of the ledger, and this key.
    pub async fn shown_as(byte: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = ledger(dir.path()).await;
        let (commands, _) = mpsc::channel(1);
        let (applied, follow) = watch::channel(u64::MAX);
        let control = Control::new(
            ledger.clone(),
            Allowed {
                stop: false,
                purge_all: false,
            },
            Arc::new(Status::default),
            Wires {
                commands,
                applied: follow,
                reload: Arc::new(Notify::new()),
                node: Some(NodeId::FIRST),
            },
        );
        let tls = peer::server_config(&identity(byte), None).unwrap();
        let door = Door::new(
            services(byte).router(&control),
            Arc::new(ArcSwap::new(tls)),
            Some(ledger.state()),
            Bounds::default(),
        );
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self {
            ledger,
            address: format!("127.0.0.1:{port}"),
            task: tokio::spawn(door.serve(listener)),
            applied,
            _dir: dir,
        }
    }

    pub async fn change(&self, change: Change) {
        author().append(&self.ledger, change).await.unwrap();
    }

    /// A session in which this key was proved, or none.
    pub async fn open(&self, byte: Option<u8>) -> Result<Connection, OpenError> {
        let own = byte.map(identity);
        let expect = Expect::Node(key(OWN).public());
        let leaf = own.as_ref().map(NodeIdentity::leaf);
        Connection::open(&self.address, &expect, leaf, WITHIN).await
    }
}

fn services(byte: u8) -> Services {
    Services {
        identity: Arc::new(move || Identity {
            key: key(byte).public().to_string(),
            seal: String::new(),
            address: String::new(),
            hosts: Vec::new(),
            store: None,
            member: true,
            version: String::new(),
            cluster: Some(key(CLUSTER).public().to_string()),
        }),
        hello: Arc::new(Hello::default),
        certificates: Arc::new(|_, _| {
            Box::pin(async { Ok(CertificateReply { chain: Vec::new() }) })
        }),
        ca_proofs: Arc::new(|_| Box::pin(async { Ok(Done::default()) })),
        root: Arc::new(|| Ok(Vec::new())),
        lists: Arc::new(|| Ok(Vec::new())),
        metrics: Arc::new(String::new),
    }
}

/// Connections that say nothing, from another address of this machine.
pub async fn silent(port: u16, from: &str, count: usize) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for _ in 0..count {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        let to = format!("127.0.0.1:{port}").parse().unwrap();
        open.push(socket.connect(to).await.unwrap());
    }
    open
}
