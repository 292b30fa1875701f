//! The part of the model that is about nodes: who joins how, and whose certificates hold.

use std::collections::{BTreeMap, BTreeSet};

use palisade_keys::SecretKey;
use palisade_ledger::{Author, Change, Issued, NewNode, NewToken, Proof, State, join_message};
use proptest::prelude::*;

use crate::Move;
use crate::common::{
    self, address, cluster_key, issued, key, node_id, public, rotate, token, token_id,
};

/// Authors above this number are nodes.
pub(crate) const NODES: u32 = 100;
/// Ids that histories speak of; more nodes than that seldom come to be.
const IDS: u32 = 5;
/// Keys that nodes have, two of which users have as well.
const KEYS: [&str; 8] = ["k1", "k2", "k3", "k4", "k5", "k6", "u1", "u4"];
const TOKENS: [&str; 3] = ["t0", "t1", "t2"];
const SECRETS: [&str; 2] = ["s0", "s1"];

#[derive(Clone, Debug)]
pub(crate) enum FleetMove {
    Add(u32, &'static str),
    /// `signer` is the name of the key that signs the proof.
    Join {
        id: u32,
        key: &'static str,
        secret: Secret,
        signer: &'static str,
    },
    Approve(u32),
    Remove(u32),
    Rotate(u32, &'static str),
    Port(u32, u16),
    Host(u32, bool),
    Token(&'static str, bool),
    Revoke(&'static str),
    Secret(Option<&'static str>),
    Issue(u8, Option<u32>),
    RevokeCertificate(u8),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Secret {
    Token(&'static str),
    Cluster,
}

#[derive(Clone, Debug, PartialEq)]
struct Member {
    key: &'static str,
    pending: bool,
    port: u16,
    host: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Ticket {
    approval: bool,
    used: bool,
    revoked: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet {
    nodes: BTreeMap<u32, Member>,
    last: u32,
    tokens: BTreeMap<&'static str, Ticket>,
    secret: Option<&'static str>,
    issued: BTreeMap<u8, Option<u32>>,
    revoked: BTreeSet<u8>,
}

impl Fleet {
    pub(crate) fn has_key(&self, key: &str) -> bool {
        self.nodes.values().any(|node| node.key == key)
    }

    pub(crate) fn members(&self) -> usize {
        self.nodes.values().filter(|node| !node.pending).count()
    }

    fn is_member(&self, id: u32) -> bool {
        self.nodes.get(&id).is_some_and(|node| !node.pending)
    }

    pub(crate) fn sensible(&self, step: &FleetMove, is_users: impl Fn(&str) -> bool) -> bool {
        let is_new = |key: &str| !self.has_key(key) && !is_users(key);
        let usable = |name| {
            let token = self.tokens.get(name);
            token.is_some_and(|token| !token.used && !token.revoked)
        };
        match step {
            FleetMove::Add(id, key) => *id == self.last + 1 && is_new(key),
            FleetMove::Join {
                id,
                key,
                secret,
                signer,
            } => {
                let proven = match secret {
                    Secret::Token(name) => usable(*name) && signer == name,
                    Secret::Cluster => self.secret == Some(signer),
                };
                proven && *id == self.last + 1 && is_new(key)
            }
            FleetMove::Approve(id) => self.nodes.get(id).is_some_and(|node| node.pending),
            FleetMove::Remove(id) | FleetMove::Port(id, _) | FleetMove::Host(id, _) => {
                self.nodes.contains_key(id)
            }
            FleetMove::Rotate(id, key) => self.nodes.contains_key(id) && is_new(key),
            FleetMove::Token(name, _) => !self.tokens.contains_key(name),
            FleetMove::Revoke(name) => usable(*name),
            FleetMove::Secret(secret) => *secret != self.secret,
            FleetMove::Issue(serial, holder) => {
                !self.issued.contains_key(serial)
                    && !self.revoked.contains(serial)
                    && holder.is_none_or(|id| self.is_member(id))
            }
            FleetMove::RevokeCertificate(serial) => !self.revoked.contains(serial),
        }
    }

    /// What a node may: join as itself; then, as a member, change its key and port, drop a name, and
    /// say what was issued.
    pub(crate) fn authorized(&self, node: u32, step: &FleetMove) -> bool {
        match step {
            FleetMove::Join { id, .. } => *id == node,
            FleetMove::Rotate(id, _) | FleetMove::Port(id, _) => *id == node && self.is_member(*id),
            FleetMove::Host(id, host) => {
                let has = self.nodes.get(id).is_some_and(|node| node.host);
                *id == node && self.is_member(*id) && (has || !host)
            }
            FleetMove::Issue(_, holder) => self.is_member(node) && holder.is_some(),
            FleetMove::Add(..)
            | FleetMove::Approve(_)
            | FleetMove::Remove(_)
            | FleetMove::Token(..)
            | FleetMove::Revoke(_)
            | FleetMove::Secret(_)
            | FleetMove::RevokeCertificate(_) => false,
        }
    }

    pub(crate) fn apply(&mut self, step: &FleetMove) {
        match step.clone() {
            FleetMove::Add(id, key) => self.add(id, key, false),
            FleetMove::Join {
                id, key, secret, ..
            } => {
                let token = match secret {
                    Secret::Token(name) => self.tokens.get_mut(name),
                    Secret::Cluster => None,
                };
                let pending = token.is_some_and(|token| {
                    token.used = true;
                    token.approval
                });
                self.add(id, key, pending);
            }
            FleetMove::Approve(id) => self.node(id, |node| node.pending = false),
            FleetMove::Remove(id) => {
                self.nodes.remove(&id);
                let held = self
                    .issued
                    .iter()
                    .filter(|(_, holder)| **holder == Some(id));
                self.revoked.extend(held.map(|(serial, _)| serial));
            }
            FleetMove::Rotate(id, key) => self.node(id, |node| node.key = key),
            FleetMove::Port(id, port) => self.node(id, |node| node.port = port),
            FleetMove::Host(id, host) => self.node(id, |node| node.host = host),
            FleetMove::Token(name, approval) => {
                let token = Ticket {
                    approval,
                    ..Ticket::default()
                };
                self.tokens.insert(name, token);
            }
            FleetMove::Revoke(name) => {
                if let Some(token) = self.tokens.get_mut(name) {
                    token.revoked = true;
                }
            }
            FleetMove::Secret(secret) => self.secret = secret,
            FleetMove::Issue(serial, holder) => {
                self.issued.insert(serial, holder);
            }
            FleetMove::RevokeCertificate(serial) => {
                self.revoked.insert(serial);
            }
        }
    }

    fn add(&mut self, id: u32, key: &'static str, pending: bool) {
        self.last = id;
        let (port, host) = (7433, true);
        let node = Member {
            key,
            pending,
            port,
            host,
        };
        self.nodes.insert(id, node);
    }

    fn node(&mut self, id: u32, edit: impl FnOnce(&mut Member)) {
        if let Some(node) = self.nodes.get_mut(&id) {
            edit(node);
        }
    }

    /// Who signs for a node: its key, when it joins the one that it brings.
    pub(crate) fn signer(&self, node: u32, step: &Move) -> (Author, SecretKey) {
        let name = match (self.nodes.get(&node), step) {
            (Some(node), _) => node.key,
            (None, Move::Fleet(FleetMove::Join { key, .. })) => key,
            (None, _) => "k1",
        };
        (Author::Node(node_id(node)), key(name))
    }

    pub(crate) fn agrees_with(&self, state: &State) {
        let named = |of: &palisade_keys::PublicKey| {
            let name = KEYS.iter().find(|name| public(name) == *of);
            *name.expect("a key of the model")
        };
        let nodes: BTreeMap<u32, Member> = state
            .nodes()
            .map(|node| {
                assert_eq!(state.node_by_key(&node.key), Some(node));
                let member = Member {
                    key: named(&node.key),
                    pending: node.pending,
                    port: node.address.port(),
                    host: !node.hosts.is_empty(),
                };
                (node.id.get(), member)
            })
            .collect();
        assert_eq!(nodes, self.nodes);
        assert_eq!(state.next_node_id().get(), self.last + 1);
        for name in TOKENS {
            let ticket = state.token(token_id(name)).map(|token| Ticket {
                approval: token.approval,
                used: token.used_by.is_some(),
                revoked: token.revoked,
            });
            assert_eq!(ticket.as_ref(), self.tokens.get(name));
        }
        assert_eq!(state.join_secret().copied(), self.secret.map(public));
        let revoked: BTreeSet<u8> = state.revocations().map(|(serial, _)| serial[0]).collect();
        assert_eq!(revoked, self.revoked);
        assert_eq!(state.issued().len(), self.issued.len());
        // A key says who somebody is: it has one owner.
        for node in state.nodes() {
            assert_eq!(state.user_by_key(&node.key), None);
        }
        for user in state.users() {
            let owner = user.public_key.and_then(|key| state.user_by_key(&key));
            assert!(user.public_key.is_none() || owner == Some(user));
        }
    }
}

/// What a user with `system` may.
pub(crate) fn may_a_user(step: &FleetMove) -> bool {
    !matches!(step, FleetMove::Join { .. } | FleetMove::Rotate(..))
}

fn node(id: u32, key: &str) -> NewNode {
    NewNode {
        key: public(key),
        store: None,
        ..common::node(id)
    }
}

pub(crate) fn change(step: &FleetMove) -> Change {
    let set = |id: u32, port: Option<u16>, host: Option<bool>| {
        let own = |host: bool| host.then(|| format!("db{id}.example.com"));
        Change::NodeSet {
            id: node_id(id),
            address: port.map(|port| address(&format!("node{id}.example.com:{port}"))),
            hosts: host.map(|host| own(host).into_iter().collect()),
            store: None,
        }
    };
    match step.clone() {
        FleetMove::Add(id, key) => Change::NodeAdd {
            node: node(id, key),
        },
        FleetMove::Join {
            id,
            key: name,
            secret,
            signer,
        } => {
            let node = node(id, name);
            let message = join_message(&cluster_key().public(), &node);
            Change::NodeJoin {
                node,
                proof: match secret {
                    Secret::Token(name) => Proof::Token(token_id(name)),
                    Secret::Cluster => Proof::Secret,
                },
                signature: *key(signer).sign(&message).as_bytes(),
            }
        }
        FleetMove::Approve(id) => Change::NodeApprove { id: node_id(id) },
        FleetMove::Remove(id) => Change::NodeRemove { id: node_id(id) },
        FleetMove::Rotate(id, key) => rotate(id, key),
        FleetMove::Port(id, port) => set(id, Some(port), None),
        FleetMove::Host(id, host) => set(id, None, Some(host)),
        FleetMove::Token(name, approval) => Change::TokenCreate {
            token: NewToken {
                approval,
                ..token(name)
            },
        },
        FleetMove::Revoke(name) => Change::TokenRevoke { id: token_id(name) },
        FleetMove::Secret(name) => Change::SecretSet {
            key: name.map(public),
        },
        FleetMove::Issue(serial, holder) => Change::CertificateIssued {
            certificate: Issued {
                holder: holder.map(node_id),
                kind: palisade_ledger::CertificateKind::IssuingCa,
                ..issued(&[serial])
            },
        },
        FleetMove::RevokeCertificate(serial) => Change::CertificateRevoke {
            serial: vec![serial],
            reason: String::new(),
        },
    }
}

fn some_key() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&KEYS[..])
}

/// Mostly right: the proof of what there is from the beginning, and the key of the id's number.
fn join(id: impl Strategy<Value = u32>) -> impl Strategy<Value = FleetMove> {
    let secret = prop_oneof![
        6 => Just((Secret::Token("t0"), "t0")),
        3 => Just((Secret::Cluster, "s0")),
        1 => proptest::sample::select(&TOKENS[..]).prop_map(|name| (Secret::Token(name), name)),
        1 => proptest::sample::select(&SECRETS[..]).prop_map(|name| (Secret::Cluster, name)),
        // A token's holder who takes it for another, or for the secret.
        1 => Just((Secret::Token("t0"), "t1")),
        1 => Just((Secret::Cluster, "t1")),
    ];
    let other = proptest::option::weighted(0.2, some_key());
    (id, other, secret).prop_map(|(id, other, (secret, signer))| FleetMove::Join {
        id,
        key: other.unwrap_or(KEYS[id as usize]),
        secret,
        signer,
    })
}

pub(crate) fn any_move() -> impl Strategy<Value = FleetMove> {
    let id = || 1..=IDS;
    let token = || proptest::sample::select(&TOKENS[..]);
    prop_oneof![
        2 => (id(), some_key()).prop_map(|(id, key)| FleetMove::Add(id, key)),
        1 => join(id()),
        4 => (3..=IDS).prop_map(FleetMove::Approve),
        1 => id().prop_map(FleetMove::Remove),
        1 => (id(), some_key()).prop_map(|(id, key)| FleetMove::Rotate(id, key)),
        1 => (id(), 7433..7436_u16).prop_map(|(id, port)| FleetMove::Port(id, port)),
        1 => (id(), any::<bool>()).prop_map(|(id, host)| FleetMove::Host(id, host)),
        3 => (token(), any::<bool>()).prop_map(|(name, ask)| FleetMove::Token(name, ask)),
        1 => token().prop_map(FleetMove::Revoke),
        1 => proptest::option::of(proptest::sample::select(&SECRETS[..])).prop_map(FleetMove::Secret),
        2 => (1..20_u8, proptest::option::of(id())).prop_map(|(s, of)| FleetMove::Issue(s, of)),
        1 => (1..20_u8).prop_map(FleetMove::RevokeCertificate),
    ]
}

pub(crate) fn author() -> impl Strategy<Value = u32> {
    NODES + 1..=NODES + IDS
}

/// Two nodes, and two ways to join.
pub(crate) fn begin() -> [FleetMove; 4] {
    [
        FleetMove::Add(1, "k1"),
        FleetMove::Add(2, "k2"),
        FleetMove::Token("t0", true),
        FleetMove::Secret(Some("s0")),
    ]
}

/// What a node does about itself, with its number as an author.
pub(crate) fn own_move() -> impl Strategy<Value = (u32, FleetMove)> {
    let id = prop_oneof![3 => Just(3), 2 => Just(4), 2 => 1..=IDS];
    id.prop_flat_map(|id| {
        let step = prop_oneof![
            6 => join(Just(id)),
            1 => some_key().prop_map(move |key| FleetMove::Rotate(id, key)),
            1 => (7433..7436_u16).prop_map(move |port| FleetMove::Port(id, port)),
            1 => any::<bool>().prop_map(move |host| FleetMove::Host(id, host)),
            1 => (1..20_u8, Just(id)).prop_map(|(s, of)| FleetMove::Issue(s, Some(of))),
        ];
        (Just(NODES + id), step)
    })
}
